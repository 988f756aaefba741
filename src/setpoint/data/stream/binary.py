"""Bytes in: a file, gzipped or not, or standard input, block by block and line by line, with the offset of everything.

Memory is bounded whatever comes: blocks have a fixed size, and a line that is longer than `MAX_PIECE` is skipped to its end and given as
`Overlong`. A file is read ahead until there are as many lines as asked for; what is live (a pipe, a terminal) gives what is there.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

BLOCK: Final = 1 << 18
MAX_PIECE: Final = 8 << 20
"""Bytes of one record, at most."""
_ENOUGH: Final = 4 << 20
_BOM: Final = b"\xef\xbb\xbf"


class Overlong(bytes):
    """The beginning of a line that is longer than `MAX_PIECE`; `length` is that of the whole."""

    length: int


class Damaged(OSError):
    """The compressed file ends in the middle or is corrupt; what was read before is good."""


class ByteInput:
    """Blocks of bytes from a path (``-``: standard input; ``….gz``: uncompressed), or from an open binary file. Raises `OSError`."""

    def __init__(self, where: str | os.PathLike[str] | BinaryIO) -> None:
        self.name = "stdin" if where == "-" else str(getattr(where, "name", where))
        self._owned = isinstance(where, str | os.PathLike) and where != "-"
        self._file: Any
        self._zipped = isinstance(where, str | os.PathLike) and os.fspath(where).endswith(".gz")
        if not isinstance(where, str | os.PathLike):
            self._file = where
        elif where == "-":
            self._file = sys.stdin.buffer
        else:
            self._file = _opened(os.fspath(where))
        self.live = not self._regular()

    def read(self) -> bytes:
        """The next block; empty at the end."""
        try:
            return self._next_block()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(f"{self.name} is cut off or corrupt: {error}") from error

    def skip_to(self, offset: int) -> None:
        """Go on at that byte (of the uncompressed content). Raises `ValueError` where there are not so many."""
        if offset and self._file.seekable():
            size = offset if self._zipped else self._file.seek(0, os.SEEK_END)
            if self._file.seek(min(offset, size)) == offset:
                return
        else:
            while offset > 0 and (block := self._file.read(min(offset, BLOCK))):
                offset -= len(block)
        if offset:
            raise ValueError(
                f"{self.name} is shorter than it was when the stream was broken off: it cannot be resumed there"
            )

    def close(self) -> None:
        """Closes what was opened here."""
        if self._owned:
            self._file.close()

    def _next_block(self) -> bytes:
        if self.live and hasattr(self._file, "read1"):
            return bytes(self._file.read1(BLOCK))
        return bytes(self._file.read(BLOCK) or b"")

    def _regular(self) -> bool:
        if self._zipped:
            return True
        try:
            return stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        except (OSError, ValueError):
            return bool(self._file.seekable())


def _opened(path: str) -> gzip.GzipFile | io.FileIO:
    return gzip.open(path) if path.endswith(".gz") else io.FileIO(path)


class Lines:
    """The lines of an input, without their newlines. `offset` and `line` (from 1) are where the next one begins."""

    def __init__(self, data: ByteInput) -> None:
        self.data = data
        self.offset = 0
        self.line = 1
        self._ready: list[bytes] = []
        self._next = 0
        self._tail = b""
        self._begun = self._ended = self._unfinished = self._overlong = False

    def skip_to(self, offset: int, line: int) -> None:
        """Go on at a place that was once the next one. Raises `ValueError` where the input is shorter now."""
        self.data.skip_to(offset)
        self.offset, self.line = offset, line
        self._begun = offset > 0

    def take(self, limit: int) -> list[bytes]:
        """At most `limit` lines, none at the end. A line that is `Overlong` comes alone."""
        if len(self._ready) - self._next < limit:
            self._fill(limit)
        taken = self._ready[self._next : self._next + limit]
        if self._overlong:
            cut = next((at for at, piece in enumerate(taken) if type(piece) is Overlong), None)
            taken = taken if cut is None else taken[: cut or 1]
        self._next += len(taken)
        self.line += len(taken)
        self.offset += len(taken) + sum(map(_length, taken) if self._overlong else map(len, taken))
        if self._unfinished and self._next == len(self._ready) and taken:
            self.offset -= 1
        return taken

    def pieces(self) -> Iterator[bytes]:
        """One line after the other."""
        while line := self.take(1):
            yield line[0]

    def _fill(self, limit: int) -> None:
        self._ready, self._next = self._ready[self._next :], 0
        held = 0
        while len(self._ready) < limit and held < _ENOUGH and not self._ended:
            block = self.data.read()
            held += len(block)
            if not block:
                self._end()
                return
            self._split(block if self._begun else self._without_bom(block))
            if len(self._tail) > MAX_PIECE:
                self._skip()
            if self.data.live and self._ready:
                return

    def _split(self, block: bytes) -> None:
        pieces = (self._tail + block).split(b"\n")
        self._tail = pieces.pop()
        self._ready += pieces

    def _end(self) -> None:
        self._ended = True
        if self._tail:
            self._unfinished = True
            self._ready.append(self._tail)
            self._tail = b""

    def _without_bom(self, block: bytes) -> bytes:
        self._begun = True
        if not block.startswith(_BOM):
            return block
        self.offset += len(_BOM)
        return block[len(_BOM) :]

    def _skip(self) -> None:
        """Reads to the end of a line that is too long, keeping its beginning."""
        head = Overlong(self._tail[:BLOCK])
        head.length = len(self._tail)
        self._tail = b""
        self._overlong = True
        self._ready.append(head)
        while block := self.data.read():
            end = block.find(b"\n")
            if end >= 0:
                head.length += end
                self._split(block[end + 1 :])
                return
            head.length += len(block)
        self._ended = self._unfinished = True


def _length(line: bytes) -> int:
    return line.length if isinstance(line, Overlong) else len(line)
