"""CSV and TSV (RFC 4180): a header names the fields, each row is a record. A position is a byte offset, a line number and the header.

In:  values are texts unless `types` says otherwise: a type by field (int, float, bool, json, str) or ``"infer"`` (whole numbers,
     decimals, true/false; an empty cell is null; 007 and 1e5 stay texts). A row that is short or long, badly quoted or of the wrong type
     is malformed, also one with a cell above Python's `csv.field_size_limit`. Without a header fields are col_0, col_1, … or those given.
Out: the columns are those given, or those of the records as they come. A field that turns up later makes a new column: the file is
     written beside its place anyway and its header is completed at the end. Where that cannot be (standard output, append) such a record
     is refused. Lists and mappings are written as JSON, null as an empty cell.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from setpoint.data.stream.binary import MAX_PIECE, ByteInput, Lines, Overlong
from setpoint.data.stream.parts import Chunk, Malformed, Position, Refused, shown
from setpoint.data.stream.text import line_encoding

_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)\.\d+", re.ASCII)
_TRUTH = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def _bool(text: str) -> bool:
    try:
        return _TRUTH[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is not true or false") from None


def _inferred(text: str) -> Any:
    if not text:
        return None
    if _WHOLE.fullmatch(text):
        return int(text) if len(text) < 300 else text
    if _DECIMAL.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text)


CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _bool,
    "json": msgspec.json.decode,
}


class Delimited:
    """Reads records from a file of rows, gzipped or not, or from standard input (``-``).

    `header`: True (the first row), False (no header: col_0, col_1, …) or the names of the fields (no header in the file). Raises
    `ValueError` for a type or an encoding that it does not know.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | BinaryIO,
        *,
        delimiter: str = ",",
        header: bool | Sequence[str] = True,
        types: str | Mapping[str, str] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self._encoding = line_encoding(encoding)
        self._convert = _converter(types)
        self._data = ByteInput(where)
        self._lines = Lines(self._data)
        self._first_row = header is True
        self._header = list(header) if not isinstance(header, bool) else []
        self._raw: list[bytes] = []
        self._fault = ""
        self._rows = csv.reader(self._texts(), delimiter=delimiter, strict=True)
        self.name = self._data.name

    def read(self, limit: int) -> Chunk | None:
        """The records of the next rows. Raises `OSError`; `ValueError` for a header with a name twice."""
        if self._first_row:
            self._read_header()
        records, places, kept, malformed = [], [], [], []
        for _ in range(limit):
            self._raw, self._fault = [], ""
            line = self._lines.line
            try:
                row = next(self._rows)
                if row:
                    records.append(self._record(row))
                    places.append(line)
                    kept.append(row)
            except StopIteration:
                if self._raw:
                    malformed.append(self._malformed(line, "the file ends inside a quoted cell"))
                break
            except (csv.Error, ValueError) as error:
                malformed.append(self._malformed(line, str(error)))
            if self._data.live:
                break
        if not records and not malformed and not self._raw:
            return None
        position = {"offset": self._lines.offset, "line": self._lines.line, "header": self._header}
        return Chunk(records, position, places, malformed, lambda index: self._record(kept[index]))

    def seek(self, position: Position) -> None:
        """Go on at a byte offset, with the header that was read before. Raises `ValueError` where the file is shorter."""
        self._lines.skip_to(position["offset"], position["line"])
        self._header, self._first_row = list(position["header"]), False

    def acknowledge(self, position: Position) -> None:
        """A file forgets nothing."""

    def close(self) -> None:
        """Closes the file."""
        self._data.close()

    def _texts(self) -> Iterator[str]:
        """The lines that the reader of rows asks for, one by one: it never reads ahead, so the offset is always that behind its row."""
        for line in self._lines.pieces():
            self._raw.append(line)
            if isinstance(line, Overlong):
                self._fault = f"the line has {line.length} bytes; a record may have {MAX_PIECE}"
                yield "\n"
                continue
            try:
                yield line.decode(self._encoding) + "\n"
            except UnicodeDecodeError as error:
                self._fault = f"not text: {error}"
                yield line.decode(self._encoding, "backslashreplace") + "\n"

    def _read_header(self) -> None:
        names = next(self._rows, [])
        self._header = [name or f"col_{number}" for number, name in enumerate(names)]
        twice = sorted({name for name in self._header if self._header.count(name) > 1})
        if twice:
            raise ValueError(f"{self.name}: the header has {', '.join(twice)} more than once; give names by header=[…]")
        self._first_row = False

    def _record(self, row: list[str]) -> dict[str, Any]:
        if self._fault:
            raise ValueError(self._fault)
        if not self._header:
            self._header = [f"col_{number}" for number in range(len(row))]
        if len(row) != len(self._header):
            raise ValueError(f"the row has {len(row)} cells, the header {len(self._header)}")
        return self._convert(dict(zip(self._header, row, strict=True)))

    def _malformed(self, line: int, reason: str) -> Malformed:
        return Malformed(line, reason, shown(b"\n".join(self._raw)))


def _converter(types: str | Mapping[str, str] | None) -> Callable[[dict[str, str]], dict[str, Any]]:
    if types is None:
        return lambda row: row
    if types == "infer":
        return lambda row: {field: _inferred(text) for field, text in row.items()}
    if not isinstance(types, Mapping):
        raise ValueError(f"types {types!r}: write 'infer' or a type by field")
    unknown = sorted(set(types.values()) - set(CONVERSIONS))
    if unknown:
        raise ValueError(f"unknown type {', '.join(map(repr, unknown))}; there are {', '.join(CONVERSIONS)}")
    converts = {field: CONVERSIONS[name] for field, name in types.items()}

    def typed(row: dict[str, str]) -> dict[str, Any]:
        return {field: _value(converts.get(field), field, text) for field, text in row.items()}

    return typed


def _value(convert: Callable[[str], Any] | None, field: str, text: str) -> Any:
    if convert is None or convert is str:
        return text
    if not text:
        return None
    try:
        return convert(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error


class DelimitedFormat:
    """Writes rows. `columns` fixes them; otherwise they grow with the records, where `grows` (set by the sink) allows it."""

    appends = True
    grows = True

    def __init__(self, *, delimiter: str = ",", columns: Sequence[str] = (), header: bool = True) -> None:
        self._delimiter = delimiter
        self._fixed = bool(columns)
        self._header = header
        self._columns = dict.fromkeys(columns)
        self._written: int | None = None
        """How many columns the header in the file has; None before it is written."""

    def adopt(self, head: bytes) -> None:
        """Go on below rows that are there already; `head` begins with their header."""
        if self._header:
            first = next(csv.reader(io.StringIO(head.decode("utf-8", "replace")), delimiter=self._delimiter), [])
            self._columns = dict.fromkeys(first)
            self._fixed, self._written = True, len(first)

    def head(self) -> bytes:
        """Nothing yet: the header is written with the first records."""
        return b""

    def encode(self, records: Sequence[Any]) -> tuple[bytes, Sequence[Refused]]:
        """The rows, and the records that have no place in them."""
        rows, refused = [], []
        for index, record in enumerate(records):
            try:
                rows.append(self._row(record))
            except (TypeError, ValueError, RecursionError) as error:
                refused.append(Refused(index, str(error)))
        if rows and self._written is None:
            self._written = len(self._columns)
            if self._header:
                rows.insert(0, list(self._columns))
        return self._text(rows), refused

    def tail(self) -> bytes:
        """Nothing."""
        return b""

    def state(self) -> Mapping[str, Any]:
        """The columns, those that are in the header of the file first."""
        return {"columns": list(self._columns), "written": self._written, "fixed": self._fixed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with these columns."""
        self._columns = dict.fromkeys(state["columns"])
        self._written, self._fixed = state["written"], state["fixed"]

    def complete(self, source: BinaryIO, target: BinaryIO) -> None:
        """Copy the file with the whole header and with rows as long as it."""
        rows = csv.reader(io.TextIOWrapper(source, "utf-8", newline=""), delimiter=self._delimiter)
        if self._header:
            next(rows)
            target.write(self._text([list(self._columns)]))
        width = len(self._columns)
        for row in rows:
            target.write(self._text([row + [""] * (width - len(row))]))

    @property
    def incomplete(self) -> bool:
        """Whether columns came after the header was written."""
        return self._written is not None and self._written < len(self._columns)

    def _row(self, record: Any) -> list[str]:
        if not isinstance(record, Mapping):
            raise TypeError(f"is {type(record).__name__}, not a mapping: it has no columns")
        late = [field for field in record if field not in self._columns]
        if late and (self._fixed or (self._written is not None and not self.grows)):
            raise ValueError(f"has fields that are no columns of the file: {', '.join(map(str, late))}")
        if any(not isinstance(field, str) for field in late):
            raise TypeError(f"has a field whose name is not a text: {late}")
        cells = {field: _cell(value) for field, value in record.items()}
        self._columns.update(dict.fromkeys(late))
        return [cells.get(column, "") for column in self._columns]

    def _text(self, rows: Sequence[Sequence[str]]) -> bytes:
        out = io.StringIO()
        csv.writer(out, delimiter=self._delimiter).writerows(rows)
        return out.getvalue().encode("utf-8", "surrogatepass")


def _cell(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return repr(value)
    encoded = msgspec.json.encode(value).decode()
    return str(msgspec.json.decode(encoded)) if encoded.startswith('"') else encoded
