"""How far an incremental reading of a table has come: the last value of its cursor columns, and which rows with that value were read.

Rows whose cursor equals the last value are asked for again each time, and those that were read already are passed over, by a digest of what
they say. So rows that share a value (a second in which much happened) are neither lost where a page ends between them, nor when one of them
comes later. A row that changed without its cursor changing is read again only as long as its cursor is the last value.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from setpoint.services.swap import candidate, swap

MOST_ALIKE: Final = 20_000
"""Rows with the same cursor at most; more could not be told apart at a bearable price."""


class PositionError(Exception):
    """The position cannot be read, kept, or made of these rows: says why."""


class Position(msgspec.Struct, frozen=True):
    """After which values of the cursor to go on, and the digests of the rows with these values that were read."""

    table: str
    columns: tuple[str, ...]
    after: tuple[int | float | str, ...] = ()
    seen: tuple[str, ...] = ()

    def unread(self, rows: Sequence[Any], keys: Sequence[tuple[Any, ...]]) -> list[int]:
        """Which of the rows were not read yet."""
        known = Counter(self.seen)
        fresh = []
        for number, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if known and key == self.after and known[digest := digest_of(row)]:
                known[digest] -= 1
            else:
                fresh.append(number)
        return fresh

    def moved(self, rows: Sequence[Any], keys: Sequence[tuple[Any, ...]]) -> Position:
        """The position after these rows, which were not read before. Raises `PositionError`."""
        last = keys[-1]
        for value in last:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise PositionError(
                    f"a cursor is a number, a text or a time; {', '.join(self.columns)} has {type(value).__name__}"
                )
        alike = [digest_of(row) for row, key in zip(rows, keys, strict=True) if key == last]
        seen = (*self.seen, *alike) if last == self.after else tuple(alike)
        if len(seen) > MOST_ALIKE:
            more = f"more than {MOST_ALIKE} rows have {', '.join(self.columns)} = {', '.join(map(str, last))}"
            raise PositionError(
                f"{more}: name a second column that tells them apart, column: [{', '.join(self.columns)}, id]"
            )
        return Position(self.table, self.columns, last, seen)

    def save(self, file: Path) -> None:
        """On the disk when it returns. Blocks. Raises `PositionError`."""
        try:
            swap(candidate(file, msgspec.json.encode(self)), file)
        except OSError as error:
            raise PositionError(f"the position cannot be kept in {file}: {error.strerror}") from error

    def resumed(self, file: Path) -> Position:
        """The one that was kept there, if it is of the same table and columns, else this one. Blocks. Raises `PositionError`."""
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=Position)
        except FileNotFoundError:
            return self
        except (OSError, msgspec.MsgspecError, UnicodeError) as error:
            raise PositionError(f"the position in {file} cannot be read ({error}); delete it to begin anew") from error
        return kept if (kept.table, kept.columns) == (self.table, self.columns) else self


def digest_of(row: Any) -> str:
    """What tells a row from others."""
    return hashlib.blake2b(msgspec.json.encode(row), digest_size=9).hexdigest()
