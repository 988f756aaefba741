"""Writing the log of one process: its output with times, in files of bounded size and number.

What the process wrote at once gets one time. Files are closed between two lines. What cannot be written, because the disk is full, is left
out and the process is not held up; as soon as there is room again, a line says how much is missing.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from setpoint.services.processes import formats

LINE_BYTES: Final = 65_536
"""A longer line is broken; as s6-log is told to do."""


class LogWriter:
    """A log that is written. Never raises for what the disk does."""

    def __init__(self, folder: str, *, size: int, files: int) -> None:
        self._folder, self._limit, self._files = folder, size, files
        self._fd = -1
        self._size = 0
        self._broken = False
        """The file ends in the middle of a line."""
        self._line = 0
        """Bytes that came of the line that has no end yet."""
        self._lost = 0
        self._why = ""

    def write(self, data: bytes) -> None:
        """Add what the process wrote."""
        stamp = formats.label(time.time_ns()) + b" "
        if not self._tell_loss(stamp):
            self._lost += len(data)
            return
        text = self._labelled(data, stamp)
        begin = 0
        while begin < len(text):
            end = self._fits(text, begin)
            if not (self._append(text[begin:end]) if end > begin else self._rotate()):
                self._lost += len(text) - begin
                return
            begin = end

    def close(self) -> None:
        """End the log. What the process had begun to write is a line."""
        if self._broken:
            self._append(b"\n")
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._line = 0

    def _labelled(self, data: bytes, stamp: bytes) -> bytes:
        """The data with the time before each line, and without lines that are too long."""
        first = data.find(b"\n")
        head = b"" if self._line else stamp
        if self._line + (first if first >= 0 else len(data)) > LINE_BYTES:
            head = b"\n" + stamp if self._line else stamp
            self._line = 0
        self._line = self._line + len(data) if first < 0 else len(data) - data.rfind(b"\n") - 1
        text = head + data.replace(b"\n", b"\n" + stamp)
        return text if self._line else text[: -len(stamp)]

    def _fits(self, text: bytes, begin: int) -> int:
        """How far the text goes into the file there is: whole lines, and at least one into an empty file."""
        whole = text.find(b"\n", begin) + 1 or len(text)
        if self._broken or whole - begin > self._limit:
            return whole if self._broken or not self._size else begin
        room = self._limit - self._size
        return (
            len(text) if len(text) - begin <= room else max(begin, text.rfind(b"\n", begin, begin + max(0, room)) + 1)
        )

    def _append(self, text: bytes) -> bool:
        """Write all of it, or nothing."""
        try:
            if self._fd < 0:
                self._open()
            view = memoryview(text)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self._why = error.strerror or str(error)
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            return False
        self._size += len(text)
        self._broken = text[-1:] != b"\n"
        return True

    def _open(self) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(f"{self._folder}/current", flags, 0o600)
        self._size = os.fstat(self._fd).st_size
        self._broken = bool(self._size) and os.pread(self._fd, 1, self._size - 1) != b"\n"
        if self._broken:  # a keeper was killed in the middle of a line
            self._size += os.write(self._fd, b"\n")
            self._broken = False

    def _rotate(self) -> bool:
        """Close this file under the present time, and delete the oldest ones; whether that is possible. A clock that was set back does
        not mix up their order."""
        try:
            older = sorted(name for name in os.listdir(self._folder) if name[0] == "@")
            name = formats.label(time.time_ns()).decode() + ".s"
            if older and name <= older[-1]:
                name = formats.label((formats.unlabel_ns(older[-1].encode()) or 0) + 1).decode() + ".s"
            os.rename(f"{self._folder}/current", f"{self._folder}/{name}")
            os.close(self._fd)
            self._fd, self._size = -1, 0
            for old in older[: max(0, len(older) + 1 - self._files)]:
                os.unlink(f"{self._folder}/{old}")
        except FileNotFoundError:  # somebody cleared the folder away
            self.close()
            self._size = 0
        except OSError as error:
            self._why = error.strerror or str(error)
            return False
        return True

    def _tell_loss(self, stamp: bytes) -> bool:
        """Say what is missing, once it can be said; whether the log can be written."""
        if not self._lost:
            return True
        head = b"\n" if self._broken else b""
        text = b"%s%ssetpoint: about %d bytes of output are missing here: %s\n" % (
            head,
            stamp,
            self._lost,
            self._why.encode(),
        )
        if not self._append(text):
            return False
        self._lost = self._line = 0
        return True
