"""`file`: reads files line by line, one after the other, then ends.

Fields as documented for Benthos: `paths` (with wildcards, `**` among them), `scanner.lines` with `max_buffer_size` (longest line,
bytes), and `delete_on_finish`, which deletes a file once all of its lines are delivered. Each message has the meta `path`,
`mod_time_unix` and `mod_time`. Files are touched in a thread, a chunk at a time, so that a disk that hangs stops this flow alone.
"""

from __future__ import annotations

import contextlib
import glob
import os
import threading
from collections import deque
from datetime import UTC, datetime
from io import FileIO
from typing import Annotated, Final

from pydantic import Field

from setpoint.flows.component import ConnectError, Context, Meta, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.inputs.lines import Lines
from setpoint.services.blocking import in_thread

CHUNK: Final = 64 * 1024


class LinesScanner(ComponentFields):
    """How a stream is cut into lines."""

    max_buffer_size: int = Field(default=65_536, ge=1, le=100_000_000)


class Scanner(ComponentFields):
    """How a stream is cut into messages."""

    lines: LinesScanner = LinesScanner()


class File:
    """Reads lines of files."""

    class Fields(ComponentFields):
        paths: Annotated[tuple[str, ...], Field(min_length=1)]
        scanner: Scanner = Scanner()
        delete_on_finish: bool = False

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._lines = Lines(fields.scanner.lines.max_buffer_size, context.failed)
        self._left: deque[str] | None = None
        self._file: FileIO | None = None
        self._at = 0  # where to go on in the file after it had to be opened again
        self._meta: Meta = {}
        self._done: list[str] = []
        self._busy = (
            threading.Lock()
        )  # a reading that was given up may still be at it; its file must not be closed under it

    async def connect(self) -> None:
        if self._left is None:
            self._left = deque(await in_thread(self._find))

    def _find(self) -> list[str]:
        patterns = self._fields.paths
        found = [path for pattern in patterns for path in sorted(glob.glob(pattern, recursive=True)) or [pattern]]
        missing = [path for path in found if not os.path.isfile(path)]
        if missing:
            raise ConnectError(f"{missing[0]} is not there or is not a file")
        return found

    async def read(self) -> list[Msg] | None:
        """The lines of the next chunk, or of the next file."""
        if self._file is None:
            if not self._left:
                return None
            await self._open(self._left[0])
        file = self._file
        assert file is not None
        try:
            chunk = await in_thread(lambda: self._chunk(file))
        except OSError as error:
            raise ConnectError(f"{file.name} cannot be read: {error.strerror}") from error
        self._at += len(chunk)
        lines = self._lines.feed(chunk) if chunk else self._lines.end()
        if not chunk:
            await self._finish(file)
        return [Msg(line, dict(self._meta)) for line in lines]

    async def _open(self, path: str) -> None:
        try:
            self._file = await in_thread(lambda: FileIO(path))
            self._file.seek(self._at)
            modified = os.fstat(self._file.fileno()).st_mtime
        except OSError as error:
            raise ConnectError(f"{path} cannot be read: {error.strerror}") from error
        stamp = datetime.fromtimestamp(modified, UTC).isoformat().replace("+00:00", "Z")
        self._meta = {"path": path, "mod_time_unix": str(int(modified)), "mod_time": stamp}

    def _chunk(self, file: FileIO) -> bytes:
        with self._busy:
            return file.read(CHUNK)

    def _shut(self, file: FileIO) -> None:
        with self._busy:
            file.close()

    async def _finish(self, file: FileIO) -> None:
        assert self._left is not None
        self._done.append(self._left.popleft())
        self._file, self._at = None, 0
        await in_thread(lambda: self._shut(file))

    async def acknowledge(self) -> None:
        """All lines read so far were delivered: files read to their end may go."""
        done, self._done = self._done, []
        if self._fields.delete_on_finish:
            for path in done:
                with contextlib.suppress(FileNotFoundError):
                    await in_thread(lambda path=path: os.unlink(path))  # type: ignore[misc]

    async def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            await in_thread(lambda: self._shut(file))
