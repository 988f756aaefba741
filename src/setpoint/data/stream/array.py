"""A JSON array, element by element: no more of the file is in memory than a chunk. A position is a byte offset inside the array.

A file that holds one value other than an array gives one record. An element that is not JSON is malformed; reading goes on behind the next
comma that is outside of brackets and texts. What follows the array, or its missing end, is malformed too.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

import msgspec

from setpoint.data.stream.binary import MAX_PIECE, ByteInput
from setpoint.data.stream.jsonl import UNWRITABLE, encode_each
from setpoint.data.stream.parts import Chunk, Malformed, Position, Refused, shown

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_STRUCTURE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_scan = json.JSONDecoder(parse_constant=_no_number).raw_decode
_encoder = msgspec.json.Encoder()


class JsonArray:
    """Reads the elements of an array from a file, gzipped or not, or from standard input (``-``)."""

    def __init__(self, where: str | os.PathLike[str] | BinaryIO) -> None:
        self._data = ByteInput(where)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._offset = 0
        self._index = 0
        self._ended = self._done = self._inside = False
        self.name = self._data.name

    def read(self, limit: int) -> Chunk | None:
        """The next elements. Raises `OSError`; `UnicodeDecodeError` (a `ValueError`) where the file is not UTF-8."""
        if not self._inside and not self._done:
            return self._begin()
        if self._done:
            return None
        records: list[Any] = []
        places: list[int] = []
        malformed: list[Malformed] = []
        while len(records) + len(malformed) < limit and not self._done:
            element = self._element()
            if isinstance(element, Malformed):
                malformed.append(element)
            elif element:
                records += element
                places.append(self._index)
            self._index += 1
            if self._at > MAX_PIECE:
                self._forget()
        malformed += self._rest()
        self._forget()
        return Chunk(records, self._position(), places, malformed)

    def seek(self, position: Position) -> None:
        """Go on at a byte offset. Raises `ValueError` where the file is shorter."""
        self._data.skip_to(position["offset"])
        self._offset, self._index = position["offset"], position["index"]
        self._inside, self._done = True, position["done"]

    def acknowledge(self, position: Position) -> None:
        """A file forgets nothing."""

    def close(self) -> None:
        """Closes the file."""
        self._data.close()

    def _position(self) -> Position:
        return {"offset": self._offset, "index": self._index, "done": self._done}

    def _begin(self) -> Chunk | None:
        """Enters the array; for any other value, gives that."""
        if self._peek().startswith("\ufeff"):
            self._at += 1
        first = self._peek()
        if first == "[":
            self._at += 1
            self._inside = True
            if self._peek() == "]":
                self._at += 1
                self._done = True
            self._forget()
            return Chunk([], self._position(), (), self._rest())
        self._done = True
        if not first:
            return None
        value = self._value()
        if isinstance(value, Malformed):
            return Chunk([], self._position(), (), [value])
        self._forget()
        return Chunk(value, self._position(), [0], self._rest())

    def _element(self) -> list[Any] | Malformed:
        """The next element and the comma or bracket behind it; empty where there is no further one."""
        value = self._value()
        if isinstance(value, Malformed):
            self._resync()
            return value
        behind = self._peek()
        self._at += 1
        if behind == ",":
            return value
        if behind == "]":
            self._done = True
            return value
        self._at -= 1
        if not behind:
            self._done = True
            return Malformed(self._index, "the file ends inside the array", shown(_encoder.encode(value[0])))
        self._resync()
        return Malformed(
            self._index, f"expected a comma or the end of the array, found {behind!r}", shown(_encoder.encode(value[0]))
        )

    def _value(self) -> list[Any] | Malformed:
        """The value that begins here, in a list. Reads on while it may only be incomplete."""
        wanted = 4096
        if not self._peek():
            self._done = True
            return Malformed(self._index, "the file ends inside the array", "")
        while True:
            try:
                value, end = _scan(self._text, self._at)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", str(error))
                if not self._ended and len(self._text) - self._at < MAX_PIECE:
                    self._more(wanted)
                    wanted *= 2
                    continue
                return Malformed(self._index, f"not JSON: {reason}", shown(self._text[self._at : self._at + 200]))
            if end < len(self._text) or self._ended:
                self._at = end
                return [value]
            self._more(1)

    def _resync(self) -> None:
        """Goes on behind the next comma outside of brackets and texts, or to the end."""
        depth = 0
        while True:
            for found in _STRUCTURE.finditer(self._text, self._at):
                mark = found[0]
                depth += (mark in "[{") - (mark in "]}")
                if depth < 0 or (mark == "," and depth == 0):
                    self._at = found.end()
                    self._done = depth < 0
                    return
            self._at = len(self._text)
            self._forget()
            if self._ended:
                self._done = True
                return
            self._more(1)

    def _rest(self) -> Sequence[Malformed]:
        """What there is behind the end, once that is reached."""
        left = self._peek() if self._done else ""
        return (
            [Malformed(self._index, "there is more behind the end; write one array or JSON Lines", left)]
            if left
            else []
        )

    def _peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more(1)

    def _more(self, wanted: int) -> None:
        """At least so many more characters, unless the file ends."""
        before = len(self._text)
        parts = [self._text]
        length = before
        while length - before < wanted and not self._ended:
            block = self._data.read()
            self._ended = not block
            parts.append(self._decoder.decode(block, final=self._ended))
            length += len(parts[-1])
        self._text = "".join(parts)

    def _forget(self) -> None:
        """Lets go of what has been read, and counts its bytes."""
        self._offset += len(self._text[: self._at].encode())
        self._text, self._at = self._text[self._at :], 0


class JsonArrayFormat:
    """Writes one array. It cannot be appended to."""

    appends = False

    def __init__(self) -> None:
        self._any = False

    def head(self) -> bytes:
        """The bracket."""
        return b"["

    def encode(self, records: Sequence[Any]) -> tuple[bytes, Sequence[Refused]]:
        """The elements with the commas before them, and the records that JSON cannot say."""
        refused: list[Refused] = []
        try:
            pieces = list(map(_encoder.encode, records))
        except UNWRITABLE:
            pieces, refused = encode_each(records)
        data = b",\n".join(pieces)
        if pieces:
            data = (b",\n" if self._any else b"\n") + data
            self._any = True
        return data, refused

    def tail(self) -> bytes:
        """The bracket."""
        return b"\n]\n"

    def state(self) -> Mapping[str, Any]:
        """Whether there is an element."""
        return {"any": self._any}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on behind an element, or at the first."""
        self._any = state["any"]
