"""`file`: appends messages to a file, one a line.

A batch is one write followed by a flush to disk (fsync), so that what is acknowledged survives a power cut. When a write fails half way (a
full disk) the file is cut back to where it was and the batch is tried again. Where an earlier program was cut off in the middle of a line,
that line is ended before the first batch, so that it spoils no other. A file that was moved or deleted, as by a log rotation, is made anew
before the next batch. Codecs as Benthos names them: `lines` and `append`.
"""

from __future__ import annotations

import os
import stat
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
            self._file = await in_thread(lambda: _open(self._path, self._end))
        except OSError as error:
            raise ConnectError(f"{self._path} cannot be opened: {error.strerror}") from error

    def prepare(self, msg: Msg) -> bytes:
        return serialized(msg.payload) + self._end

    async def write(self, batch: Sequence[bytes]) -> int:
        data = b"".join(batch)
        file = self._file
        if file is None:
            raise ConnectError(f"{self._path} is not open")
        try:
            there = await in_thread(lambda: self._append(file, data))
        except OSError as error:
            raise WriteError(f"{self._path} cannot be written: {error.strerror}") from error
        if not there:
            await self.close()
            await self.connect()
            return await self.write(batch)
        return len(data)

    async def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            await in_thread(lambda: self._close(file))

    def _append(self, file: int, data: bytes) -> bool:
        """Writes, unless the file is no longer the one at its path."""
        with self._busy:
            if not _is_at(file, self._path):
                return False
            _append(file, data)
            return True

    def _close(self, file: int) -> None:
        with self._busy:
            os.close(file)


def _open(path: str, end: bytes) -> int:
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        if _is_regular(file):
            _keep_entry(folder)
            if end and _is_torn(path, end):
                _append(file, end)
    except BaseException:
        os.close(file)
        raise
    return file


def _is_regular(file: int) -> bool:
    return stat.S_ISREG(os.fstat(file).st_mode)


def _keep_entry(folder: str) -> None:
    """A new file is there after a power cut only when its folder was written as well."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_torn(path: str, end: bytes) -> bool:
    """Whether the last line has no end."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(end)))
        return size > 0 and file.read() != end


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _append(file: int, data: bytes) -> None:
    """Writes all of it or leaves the file as it was."""
    size = os.fstat(file).st_size if _is_regular(file) else None
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(file, view) :]
        if size is not None:
            os.fsync(file)
    except OSError:
        if size is not None:
            os.ftruncate(file, size)
        raise
