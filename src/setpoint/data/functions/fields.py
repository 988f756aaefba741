"""Fields of a record, by name or by dotted path.

A record's fields are the entries of a mapping. A path such as ``address.city`` means the field of that very name if the record has one,
else the field ``city`` of the mapping in the field ``address``. Nothing here changes what it is given: `put` and `without` give a new
record that shares what is beside the path with the old one, so a function built of them is safe in every data mode.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final

Record = Mapping[str, Any]


class Missing:
    """What a path that leads nowhere gives; there is one, `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def shown(value: object) -> str:
    """A value as it stands in a message: short, whatever it is."""
    return _short.repr(value)


def fields_of(record: object) -> dict[str, Any]:
    """The record's fields as a new dictionary. Raises `TypeError` for a record that has none."""
    if isinstance(record, Mapping):
        return dict(record)
    raise TypeError(f"the record is {kind_of(record)}, not a mapping of fields")


def kind_of(value: object) -> str:
    """What kind of thing a value is, for messages: ``a str``, ``None``."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def getter(path: str) -> Callable[[Record], Any]:
    """A function that reads the path from a record; it gives `MISSING` where the path leads nowhere."""
    if "." not in path:
        return lambda record: record.get(path, MISSING)
    parts = path.split(".")

    def get(record: Record) -> Any:
        if path in record:
            return record[path]
        value: Any = record
        for part in parts:
            if not isinstance(value, Mapping) or part not in value:
                return MISSING
            value = value[part]
        return value

    return get


def put(record: dict[str, Any], path: str, value: object) -> None:
    """Set the path in a record that is the caller's own at its top level; mappings on the way are replaced by changed copies.

    Mappings that are not there are made. Raises `ValueError` where something that is no mapping is in the way.
    """
    if path in record or "." not in path:
        record[path] = value
        return
    *way, last = path.split(".")
    at = record
    for part in way:
        inner = at.get(part, {})
        if not isinstance(inner, Mapping):
            raise ValueError(f"cannot set {path!r}: {part!r} is {kind_of(inner)}, not a mapping")
        at[part] = dict(inner)
        at = at[part]
    at[last] = value


def without(record: dict[str, Any], path: str) -> None:
    """Remove the path from a record that is the caller's own at its top level; does nothing where there is no such path."""
    if path in record:
        del record[path]
        return
    if getter(path)(record) is MISSING:
        return
    *way, last = path.split(".")
    at = record
    for part in way:
        at[part] = dict(at[part])
        at = at[part]
    del at[last]
