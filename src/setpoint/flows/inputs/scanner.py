"""How bytes that come in chunks are cut into messages: the `scanner` of inputs.

One of three, as documented for Benthos: `lines` (the default), `csv` (each row a mapping by the names in the header row, or a list where
there is none; values are texts), `to_the_end` (all of it is one message). Each has `max_buffer_size`, in bytes, for one message: memory is
bounded whatever comes. What is longer, or is no row, is left out and reported; what follows it is read.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any, Final, Protocol, Self

from pydantic import Field, model_validator

from setpoint.flows.component import Fields
from setpoint.flows.inputs.lines import Lines

LONGEST: Final = 100_000_000


class Cutter(Protocol):
    """Takes chunks, gives the payloads of messages."""

    def feed(self, chunk: bytes) -> list[Any]:
        """The payloads that are complete with this chunk."""

    def end(self) -> list[Any]:
        """Those that are complete because nothing follows. The next chunk is the first of something new."""


class LinesScanner(Fields):
    """A message a line."""

    max_buffer_size: int = Field(default=65_536, ge=1, le=LONGEST)


class CsvScanner(Fields):
    """A message a row (RFC 4180)."""

    custom_delimiter: str = Field(default=",", min_length=1, max_length=1)
    parse_header_row: bool = True
    max_buffer_size: int = Field(default=65_536, ge=1, le=LONGEST)


class WholeScanner(Fields):
    """One message."""

    max_buffer_size: int = Field(default=10_000_000, ge=1, le=LONGEST)


class Scanner(Fields):
    """How a stream is cut into messages."""

    lines: LinesScanner | None = None
    csv: CsvScanner | None = None
    to_the_end: WholeScanner | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        """``csv:`` with nothing behind it means what ``csv: {}`` does."""
        if not isinstance(given, dict):
            return given
        return {name: {} if value is None else value for name, value in given.items()}

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) > 1:
            raise ValueError(
                f"a scanner is one of lines, csv and to_the_end, not {' and '.join(self.model_fields_set)}"
            )
        return self

    def start(self, failed: Callable[[str], None]) -> Cutter:
        """A cutter; `failed` is told what is left out."""
        if self.csv is not None:
            return Rows(self.csv, failed)
        if self.to_the_end is not None:
            return Whole(self.to_the_end.max_buffer_size, failed)
        return Lines((self.lines or LinesScanner()).max_buffer_size, failed)


class Whole:
    """Everything as one message."""

    def __init__(self, longest: int, failed: Callable[[str], None]) -> None:
        self._longest, self._failed = longest, failed
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Any]:
        self._size += len(chunk)
        if self._size > self._longest:
            self._chunks = []
        else:
            self._chunks.append(chunk)
        return []

    def end(self) -> list[Any]:
        whole, size = b"".join(self._chunks), self._size
        self._chunks, self._size = [], 0
        if size > self._longest:
            self._failed(f"{size} bytes are more than {self._longest} and were left out; raise max_buffer_size")
            return []
        return [whole] if whole else []


class Rows:
    """Rows of CSV. A quoted cell may have line ends in it, so a row is as many lines as it takes to close all quotes."""

    def __init__(self, fields: CsvScanner, failed: Callable[[str], None]) -> None:
        self._fields, self._failed = fields, failed
        self._lines = Lines(fields.max_buffer_size, failed)
        self._row = b""
        self._open = False
        self._names: list[str] | None = None

    def feed(self, chunk: bytes) -> list[Any]:
        return self._records(self._lines.feed(chunk))

    def end(self) -> list[Any]:
        found = self._records(self._lines.end())
        if self._open:
            self._failed("it ends inside a quoted cell; the row was left out")
        self._row, self._open, self._names = b"", False, None
        return found

    def _records(self, lines: list[bytes]) -> list[Any]:
        found = (self._record(row) for line in lines if (row := self._whole(line)))
        return [record for record in found if record is not None]

    def _whole(self, line: bytes) -> bytes:
        """The row that is complete with this line, or nothing."""
        self._row = self._row + b"\n" + line if self._open else line
        if line.count(b'"') % 2:
            self._open = not self._open
        if len(self._row) > self._fields.max_buffer_size:
            self._failed(f"a row is longer than {self._fields.max_buffer_size} bytes and was left out")
            self._open = False
            return b""
        return b"" if self._open else self._row

    def _record(self, row: bytes) -> Any:
        try:
            text = row.decode("utf-8-sig")
            [cells] = csv.reader([text], delimiter=self._fields.custom_delimiter, strict=True)
        except (UnicodeDecodeError, csv.Error, ValueError) as error:
            self._failed(f"a row of CSV cannot be read and was left out: {error}")
            return None
        if not self._fields.parse_header_row:
            return cells
        if self._names is None:
            self._names = cells
            return None
        if len(cells) != len(self._names):
            self._failed(f"a row has {len(cells)} cells, the header {len(self._names)}; it was left out")
            return None
        return dict(zip(self._names, cells, strict=True))
