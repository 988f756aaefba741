"""JSON Lines: one JSON value a line (``.jsonl``, ``.ndjson``). A position is a byte offset and a line number.

Blank lines are passed over. A line that is not one JSON value is malformed, also where the file ends in the middle of it; the lines around
it are read. NaN and infinity are not JSON: they are malformed in input and null in output.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from setpoint.data.stream.binary import MAX_PIECE, ByteInput, Lines, Overlong
from setpoint.data.stream.parts import Chunk, Malformed, Position, Refused, shown

_decode = msgspec.json.Decoder().decode
_encoder = msgspec.json.Encoder()
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
UNWRITABLE = (TypeError, ValueError, RecursionError, OverflowError)


class JsonLines:
    """Reads records from a file of JSON Lines, gzipped or not, or from standard input (``-``)."""

    def __init__(self, where: str | os.PathLike[str] | BinaryIO) -> None:
        self._data = ByteInput(where)
        self._lines = Lines(self._data)
        self.name = self._data.name

    def read(self, limit: int) -> Chunk | None:
        """The records of the next lines. Raises `OSError`."""
        first = self._lines.line
        lines = self._lines.take(limit)
        if not lines:
            return None
        position = {"offset": self._lines.offset, "line": self._lines.line}
        try:
            if type(lines[0]) is Overlong:
                raise ValueError
            records = list(map(_decode, lines))
        except UNREADABLE:
            return _mixed(lines, first, position)
        return Chunk(records, position, range(first, first + len(lines)), (), lambda index: _decode(lines[index]))

    def seek(self, position: Position) -> None:
        """Go on at a byte offset. Raises `ValueError` where the file is shorter."""
        self._lines.skip_to(position["offset"], position["line"])

    def acknowledge(self, position: Position) -> None:
        """A file forgets nothing."""

    def close(self) -> None:
        """Closes the file."""
        self._data.close()


def _mixed(lines: Sequence[bytes], first: int, position: Position) -> Chunk:
    """The chunk of lines of which some are no records."""
    records, places, kept, malformed = [], [], [], []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            if isinstance(line, Overlong):
                raise ValueError(f"the line has {line.length} bytes; a record may have {MAX_PIECE}")
            records.append(_decode(line))
        except UNREADABLE as error:
            malformed.append(Malformed(number, f"not JSON: {error}", shown(line)))
        else:
            places.append(number)
            kept.append(line)
    return Chunk(records, position, places, malformed, lambda index: _decode(kept[index]))


class JsonLinesFormat:
    """Writes one JSON value a line."""

    appends = True

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, records: Sequence[Any]) -> tuple[bytes, Sequence[Refused]]:
        """The lines, and the records that JSON cannot say."""
        try:
            return _encoder.encode_lines(records), ()
        except UNWRITABLE:
            pieces, refused = encode_each(records)
            return b"".join(piece + b"\n" for piece in pieces), refused

    def tail(self) -> bytes:
        """Nothing."""
        return b""

    def state(self) -> Mapping[str, Any]:
        """Nothing to remember."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing was remembered."""


def encode_each(records: Sequence[Any]) -> tuple[list[bytes], list[Refused]]:
    """Each record as JSON by itself, and those that JSON cannot say."""
    pieces, refused = [], []
    for index, record in enumerate(records):
        try:
            pieces.append(_encoder.encode(record))
        except UNWRITABLE as error:
            refused.append(Refused(index, f"cannot be written as JSON: {error}"))
    return pieces, refused
