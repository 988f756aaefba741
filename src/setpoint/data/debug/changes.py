"""What differs between a record and the same record later, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from setpoint.data.functions.fields import MISSING

DEEPEST: Final = 30
"""So many levels of a record are compared; what is below is compared as a whole (and a record may contain itself)."""


class Change(NamedTuple):
    """One field that differs. `before` or `now` is `MISSING` where it is not there; the path of a whole record is empty."""

    path: str
    before: Any
    now: Any


def changes(before: Any, now: Any) -> list[Change]:
    """The fields that differ, in the order in which they stand in the record."""
    return list(_changes(before, now, "", DEEPEST))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type; NaN is NaN. Values that cannot be compared are the same only if they are one."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    try:
        return bool(one == other) or (one != one and other != other)
    except Exception:
        return False


def _changes(before: Any, now: Any, path: str, deep: int) -> Iterator[Change]:
    if deep and isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in (*before, *(key for key in now if key not in before)):
            yield from _changes(before.get(key, MISSING), now.get(key, MISSING), _below(path, key), deep - 1)
    elif deep and isinstance(before, list) and isinstance(now, list):
        for index in range(max(len(before), len(now))):
            old = before[index] if index < len(before) else MISSING
            new = now[index] if index < len(now) else MISSING
            yield from _changes(old, new, _below(path, index), deep - 1)
    elif not same(before, now):
        yield Change(path, before, now)


def _below(path: str, key: object) -> str:
    if isinstance(key, str) and key and not set(key) & set(".[]"):
        return f"{path}.{key}" if path else key
    return f"{path}[{key!r}]"
