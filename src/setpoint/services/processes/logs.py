"""Reading the log of a process: the last lines, and what is new.

A log is a folder: ``current``, which grows, and older files, named by when they were closed (``@<TAI64N>.s``; ``.u`` where the writer was
killed). A line is its time as TAI64N, a space, and the text. Whoever follows keeps the file open that it reads: the file can then be told
among the older ones by its inode, which cannot be given to another meanwhile, and what was written between two reads is read to the end
before the next file is begun. All of it blocks, though on what has just been written only for microseconds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from setpoint.services.processes import formats

CURRENT: Final = "current"
_BLOCK: Final = 65_536


class LogLine(msgspec.Struct, frozen=True):
    """One line: when it was written, in seconds since 1970 (None where somebody else wrote it), and its text."""

    at: float | None
    text: str


class LogCursor:
    """A place in a log that moves on. Begins at the end of what there is, or where the log begins.

    `missed` counts how often older files had gone before they were read. For one thread at a time.
    """

    def __init__(self, folder: Path, ahead: int, *, from_start: bool = False) -> None:
        self._folder = folder
        self._ahead = ahead
        self._fd = -1
        self._rest = b""
        self.missed = 0
        if not from_start and self._open(CURRENT):
            os.lseek(self._fd, _line_start(self._fd, os.fstat(self._fd).st_size), os.SEEK_SET)

    def read(self, limit: int = 1_000_000) -> list[LogLine]:
        """The lines since the last time, of about `limit` bytes at most; the rest comes next time. Half a line waits for its end."""
        lines: list[LogLine] = []
        while limit > 0:
            if self._fd < 0 and not self._open([*_older(self._folder), CURRENT][0]):
                break
            data = self._more(min(limit, _BLOCK))
            if data:
                limit -= len(data)
                *whole, self._rest = (self._rest + data).split(b"\n")
                lines += [parse(line, self._ahead) for line in whole]
            elif not self._move_on():
                break
            elif self._rest:  # the writer was killed in the middle of it
                lines.append(parse(self._rest, self._ahead))
                self._rest = b""
        return lines

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _more(self, size: int) -> bytes:
        data = os.read(self._fd, size)
        if not data and os.lseek(self._fd, 0, os.SEEK_CUR) > os.fstat(self._fd).st_size:
            os.lseek(self._fd, 0, os.SEEK_SET)  # somebody emptied it
            self._rest = b""
            return os.read(self._fd, size)
        return data

    def _move_on(self) -> bool:
        """Open the file after the one that was read to its end; whether there is one."""
        mine = os.fstat(self._fd)
        names = [*_older(self._folder), CURRENT]
        for place, name in enumerate(names):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self._folder / name), mine):
                    return name != CURRENT and not self._grown() and self._open(names[place + 1])
        if mine.st_nlink:  # being renamed just now
            return False
        self.missed += 1
        return self._open(names[0])

    def _grown(self) -> bool:
        """Whether something was added between the last read and the renaming."""
        return os.lseek(self._fd, 0, os.SEEK_CUR) < os.fstat(self._fd).st_size

    def _open(self, name: str) -> bool:
        try:
            fd = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        self.close()
        self._fd = fd
        return True

    def __del__(self) -> None:
        self.close()


def last_lines(folder: Path, count: int, ahead: int) -> list[LogLine]:
    """The last lines of a log, oldest first."""
    lines: list[LogLine] = []
    for name in reversed([*_older(folder), CURRENT]):
        if len(lines) >= count:
            break
        with contextlib.suppress(OSError):
            newest = list(_backwards(folder / name, count - len(lines)))
            lines += [parse(line, ahead) for line in newest]
    return lines[::-1]


def parse(line: bytes, ahead: int) -> LogLine:
    """One line without its line break."""
    at = formats.unlabel(line, ahead)
    text = line if at is None else line[formats.LABEL + 1 :]
    return LogLine(at, text.decode(errors="replace"))


def _older(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name[0] == "@")
    except OSError:
        return []


def _backwards(path: Path, count: int) -> Iterator[bytes]:
    """The last lines of a file, newest first. What follows the last line break is no line yet."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        first = True
        while end > 0 and count > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            head, *lines = (file.read(end - start) + rest).split(b"\n")
            end = start
            rest = head
            if first and lines:
                lines.pop()
                first = False
            if not start:
                lines.insert(0, head)
            yield from lines[::-1][:count]
            count -= len(lines)


def _line_start(fd: int, size: int) -> int:
    """Where the line begins that the end of a file is in."""
    start = max(0, size - _BLOCK)
    return start + os.pread(fd, size - start, start).rfind(b"\n") + 1
