"""Plain data without secrets: the only form in which anything reaches a store.

`redacted` turns typed data (msgspec structs, pydantic models, dataclasses, named tuples, enums, what JSON knows) into dicts, lists, texts
and numbers, and leaves out what must not be read: values of fields and keys that name a secret, pydantic's secret types, and what the rules
of `setpoint.secrets` find inside texts. Fields go by the names they have in the code, so a class that is written as a list hides no field.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from typing import Any, Final

import msgspec

from setpoint.secrets import REDACTED, asks_for_a_secret, names_a_secret, without_secrets

__all__ = ["REDACTED", "redacted"]

MAX_DEPTH: Final = 64
"""Levels of nesting that are looked at; what lies deeper is left out."""
MAX_PARTS: Final = 100_000
"""Items and fields in all that one value may have, however often the same list stands in it."""
MAX_TEXT: Final = 1 << 20
"""Characters of one text."""


def redacted(value: Any) -> Any:
    """The value as plain data that JSON can carry, without secrets.

    Sets become sorted lists, bytes base64, times ISO 8601, other objects their text. Raises `ValueError` for more than `MAX_PARTS` or
    `MAX_TEXT`, and what an object's own code raises.
    """
    return _Redaction().plain(value, 0)


class _Redaction:
    """One value on its way to plain data."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def plain(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str:
            return _text(value)
        if kind is float:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**64 else str(value)  # what JSON readers can hold
        if depth > MAX_DEPTH:
            return REDACTED
        if kind is dict:
            return self._mapping(value.items(), depth)
        if kind is list or kind is tuple:
            return self._sequence(value, depth)
        return self._object(value, depth)

    def _object(self, value: Any, depth: int) -> Any:
        """What is not of a plain type itself."""
        fields = _fields(value)
        if fields is not None:
            return self._mapping(fields, depth)
        match value:
            case Enum():
                return self.plain(value.value, depth + 1)
            case str():
                return _text(str(value))
            case Mapping():
                return self._mapping(value.items(), depth)
            case AbstractSet():
                return sorted(self._sequence(value, depth), key=msgspec.json.encode)
            case bytes() | bytearray() | memoryview():
                return _in_bounds(base64.b64encode(value).decode())
            case datetime() | date() | time():
                return value.isoformat()
            case int() | float():
                return self.plain(int(value) if isinstance(value, int) else float(value), depth)
            case Iterable() if hasattr(value, "__len__"):
                return self._sequence(value, depth)
        return REDACTED if hasattr(value, "get_secret_value") else _text(str(value))

    def _mapping(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in items:
            self._count()
            name = key if type(key) is str else str(key.value if isinstance(key, Enum) else key)
            secret = names_a_secret(name) and not _says_nothing(item)
            plain[_text(name)] = REDACTED if secret else self.plain(item, depth + 1)
        return plain

    def _sequence(self, items: Iterable[Any], depth: int) -> list[Any]:
        plain: list[Any] = []
        hidden = False  # the argument before says that this one is a secret
        for item in items:
            self._count()
            plain.append(REDACTED if hidden else self.plain(item, depth + 1))
            hidden = isinstance(item, str) and asks_for_a_secret(item)
        return plain

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {MAX_PARTS} parts")


def _fields(value: Any) -> Iterable[tuple[str, Any]] | None:
    """The named fields of a struct, dataclass, pydantic model or named tuple; None for anything else."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        return ((name, getattr(value, name)) for name in value.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return ((field.name, getattr(value, field.name)) for field in dataclasses.fields(kind))
    if hasattr(kind, "__pydantic_fields__"):
        return ((name, item) for name, item in value if not _excluded(kind, name))
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return zip(kind._fields, value, strict=True)
    return None


def _excluded(kind: Any, name: str) -> bool:
    """Whether the model says that this field is never written."""
    field = kind.__pydantic_fields__.get(name)
    return field is not None and bool(field.exclude)


def _says_nothing(item: Any) -> bool:
    """That a secret is missing, whether there is one, and for how long (``held(token_valid)``) are no secrets."""
    return item is None or isinstance(item, bool | float) or (isinstance(item, str) and not item)


def _text(text: str) -> str:
    """Without secrets, and without broken characters (as in a file name that is not Unicode), which no file could keep."""
    _in_bounds(text)
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return without_secrets(text)


def _in_bounds(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has a text of {len(text)} characters, which is more than {MAX_TEXT}")
    return text
