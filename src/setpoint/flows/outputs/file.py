"""`file`: appends messages to a file, one a line.

A batch is one write followed by a flush to disk (fsync), so that what is acknowledged survives a power cut. When a write fails half way (a
full disk) the file is cut back to where it was and the batch is tried again. Codecs as Benthos names them: `lines` and `append`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from setpoint.flows.component import ConnectError, Context, Msg, WriteError, serialized
from setpoint.flows.component import Fields as ComponentFields
from setpoint.services.blocking import in_thread


class File:
    """Appends to one file."""

    class Fields(ComponentFields):
        path: str = Field(min_length=1)
        codec: Literal["lines", "append"] = "lines"

    def __init__(self, fields: Fields, context: Context) -> None:
        self._path = fields.path
        self._end = b"\n" if fields.codec == "lines" else b""
        self._file: int | None = None
        self._busy = (
            threading.Lock()
        )  # a write that was given up may still be at it; its file must not be closed under it

    async def connect(self) -> None:
        try:
            self._file = await in_thread(self._open)
        except OSError as error:
            raise ConnectError(f"{self._path} cannot be opened: {error.strerror}") from error

    def _open(self) -> int:
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def prepare(self, msg: Msg) -> bytes:
        return serialized(msg.payload) + self._end

    async def write(self, batch: Sequence[bytes]) -> int:
        data = b"".join(batch)
        file = self._file
        if file is None:
            raise ConnectError(f"{self._path} is not open")
        try:
            await in_thread(lambda: self._append(file, data))
        except OSError as error:
            raise WriteError(f"{self._path} cannot be written: {error.strerror}") from error
        return len(data)

    async def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            await in_thread(lambda: self._close(file))

    def _append(self, file: int, data: bytes) -> None:
        with self._busy:
            _append(file, data)

    def _close(self, file: int) -> None:
        with self._busy:
            os.close(file)


def _append(file: int, data: bytes) -> None:
    """Writes all of it or leaves the file as it was."""
    regular = os.fstat(file).st_size if os.path.isfile(f"/proc/self/fd/{file}") else None
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(file, view) :]
        if regular is not None:
            os.fsync(file)
    except OSError:
        if regular is not None:
            os.ftruncate(file, regular)
        raise
