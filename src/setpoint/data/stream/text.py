"""Plain text: each line is a record with one field. A position is a byte offset and a line number."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from setpoint.data.stream.binary import MAX_PIECE, ByteInput, Lines, Overlong
from setpoint.data.stream.parts import Chunk, Malformed, Position, Refused, shown


class TextLines:
    """Reads lines as records ``{field: line}``. A line that is not text in that encoding is malformed.

    Raises `ValueError` for an encoding that does not write a newline as one byte 10 (UTF-16, UTF-32).
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | BinaryIO,
        *,
        field: str = "text",
        skip_empty: bool = True,
        encoding: str = "utf-8",
    ) -> None:
        self._encoding = line_encoding(encoding)
        self._data = ByteInput(where)
        self._lines = Lines(self._data)
        self._field, self._skip_empty = field, skip_empty
        self.name = self._data.name

    def read(self, limit: int) -> Chunk | None:
        """The records of the next lines. Raises `OSError`."""
        first = self._lines.line
        lines = self._lines.take(limit)
        if not lines:
            return None
        records, places, malformed = [], [], []
        for number, line in enumerate(lines, first):
            try:
                if isinstance(line, Overlong):
                    raise ValueError(f"the line has {line.length} bytes; a record may have {MAX_PIECE}")
                text = line.decode(self._encoding).removesuffix("\r")
            except ValueError as error:
                malformed.append(Malformed(number, f"not text: {error}", shown(line)))
                continue
            if text.strip() or not self._skip_empty:
                records.append({self._field: text})
                places.append(number)
        field, position = self._field, {"offset": self._lines.offset, "line": self._lines.line}
        texts = [record[field] for record in records]
        return Chunk(records, position, places, malformed, lambda index: {field: texts[index]})

    def seek(self, position: Position) -> None:
        """Go on at a byte offset. Raises `ValueError` where the file is shorter."""
        self._lines.skip_to(position["offset"], position["line"])

    def acknowledge(self, position: Position) -> None:
        """A file forgets nothing."""

    def close(self) -> None:
        """Closes the file."""
        self._data.close()


class TextFormat:
    """Writes one field of each record as a line; a record that is a text is the line itself."""

    appends = True

    def __init__(self, *, field: str = "text") -> None:
        self._field = field

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, records: Sequence[Any]) -> tuple[bytes, Sequence[Refused]]:
        """The lines, and the records that have no such text."""
        lines, refused = [], []
        for index, record in enumerate(records):
            text = record.get(self._field) if isinstance(record, Mapping) else record
            if not isinstance(text, str):
                refused.append(Refused(index, f"has no text in field {self._field!r}"))
            elif "\n" in text:
                refused.append(
                    Refused(index, f"the text in {self._field!r} has a line break: it would be read as two records")
                )
            else:
                lines.append(text.encode("utf-8", "surrogatepass") + b"\n")
        return b"".join(lines), refused

    def tail(self) -> bytes:
        """Nothing."""
        return b""

    def state(self) -> Mapping[str, Any]:
        """Nothing to remember."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing was remembered."""


def line_encoding(encoding: str) -> str:
    """The encoding, if lines can be told by bytes in it. Raises `ValueError`."""
    try:
        plain = "\n".encode(encoding) == b"\n"
    except LookupError:
        plain = False
    if not plain:
        raise ValueError(f"lines cannot be read in encoding {encoding!r}: convert the file to UTF-8 first")
    return encoding
