"""`file`: reads files one after the other, then ends.

Fields as documented for Benthos: `paths` (with wildcards, `**` among them), `scanner` (`setpoint.flows.inputs.scanner`), and
`delete_on_finish`, which deletes a file once all of its messages are delivered. Each message has the meta `path`, `mod_time_unix` and
`mod_time`. Files are touched in a thread, a chunk at a time, so that a disk that hangs stops this flow alone.

How far a file was read is not kept over a restart: what is there is read again, from the beginning. With `delete_on_finish` only what was
delivered goes, so nothing is lost, and a file that was being read when the agent was killed comes again as a whole.
"""

from __future__ import annotations

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
from setpoint.flows.inputs.scanner import Scanner
from setpoint.services.blocking import in_thread

CHUNK: Final = 64 * 1024


class File:
    """Reads files."""

    class Fields(ComponentFields):
        paths: Annotated[tuple[str, ...], Field(min_length=1)]
        scanner: Scanner = Scanner()
        delete_on_finish: bool = False

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._failed = context.failed
        self._cutter = fields.scanner.start(self._left_out)
        self._left: deque[str] | None = None
        self._file: FileIO | None = None
        self._at = 0
        self._meta: Meta = {}
        self._ready: list[Msg] = []
        self._ended: list[str] = []  # files read to their end since the last batch
        self._out: deque[list[str]] = deque()  # of each batch that is out the files that ended with it
        self._busy = (
            threading.Lock()
        )  # a reading that was given up may still be at it; its file must not be closed under it

    async def connect(self) -> None:
        if self._left is None:
            self._left = deque(await in_thread(self._find))

    def _find(self) -> list[str]:
        found: list[str] = []
        for pattern in self._fields.paths:
            matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
            files = [path for path in matches if os.path.isfile(path)]
            if not files:
                raise ConnectError(f"{pattern} is not there or is not a file")
            found += files
        return found

    async def read(self) -> list[Msg] | None:
        """The messages of the next chunk that has any. Cancelling it loses nothing."""
        while not self._ready:
            if self._file is None:
                if not self._left:
                    await self._let_go_of_the_last()
                    return None
                await self._open(self._left[0])
            await self._advance()
        ready, self._ready = self._ready, []
        self._out.append(self._ended)
        self._ended = []
        return ready

    async def _open(self, path: str) -> None:
        try:
            self._file = await in_thread(lambda: FileIO(path))
            modified = os.fstat(self._file.fileno()).st_mtime
        except OSError as error:
            raise ConnectError(f"{path} cannot be read: {error.strerror}") from error
        stamp = datetime.fromtimestamp(modified, UTC).isoformat().replace("+00:00", "Z")
        self._meta = {"path": path, "mod_time_unix": str(int(modified)), "mod_time": stamp}

    async def _advance(self) -> None:
        """Takes the next chunk of the file, or leaves the file at its end."""
        file, at = self._file, self._at
        assert file is not None
        try:
            chunk = await in_thread(lambda: self._chunk(file, at))
        except OSError as error:
            raise ConnectError(f"{file.name} cannot be read: {error.strerror}") from error
        self._at += len(chunk)
        payloads = self._cutter.feed(chunk) if chunk else self._cutter.end()
        self._ready += [Msg(payload, dict(self._meta)) for payload in payloads]
        if not chunk:
            assert self._left is not None
            self._ended.append(self._left.popleft())
            self._file, self._at = None, 0
            await in_thread(lambda: self._shut(file))

    def _chunk(self, file: FileIO, at: int) -> bytes:
        with self._busy:
            return os.pread(file.fileno(), CHUNK, at)

    def _shut(self, file: FileIO) -> None:
        with self._busy:
            file.close()

    def _left_out(self, reason: str) -> None:
        self._failed(f"{self._meta['path']}: {reason}")

    async def acknowledge(self) -> None:
        """The files that ended with the oldest batch may go."""
        await self._delete(self._out.popleft())

    async def _let_go_of_the_last(self) -> None:
        """At the end of the input: files that ended after the last message go with its batch, or now, where that was delivered."""
        ended, self._ended = self._ended, []
        if self._out:
            self._out[-1] += ended
        else:
            await self._delete(ended)

    async def _delete(self, paths: list[str]) -> None:
        for path in paths if self._fields.delete_on_finish else ():
            try:
                await in_thread(lambda path=path: os.unlink(path))  # type: ignore[misc]
            except FileNotFoundError:
                pass
            except OSError as error:
                self._failed(f"{path} cannot be deleted, and would be read again: {error.strerror}")

    async def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            await in_thread(lambda: self._shut(file))
