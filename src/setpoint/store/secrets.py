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


def redacted(value: Any) -> Any:
    """The value as plain data that JSON can carry, without secrets.

    Sets become sorted lists, bytes base64, times ISO 8601, other objects their text. Raises what an object's own code raises.
    """
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> Any:
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
        return _mapping(value.items(), depth)
    if kind is list or (kind is tuple):
        return _sequence(value, depth)
    return _object(value, depth)


def _object(value: Any, depth: int) -> Any:
    """What is not of a plain type itself."""
    fields = _fields(value)
    if fields is not None:
        return _mapping(fields, depth)
    match value:
        case Enum():
            return _plain(value.value, depth + 1)
        case str():
            return _text(str(value))
        case Mapping():
            return _mapping(value.items(), depth)
        case AbstractSet():
            return sorted(_sequence(value, depth), key=_order)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case int() | float():
            return _plain(int(value) if isinstance(value, int) else float(value), depth)
        case Iterable() if hasattr(value, "__len__"):
            return _sequence(value, depth)
    return REDACTED if hasattr(value, "get_secret_value") else _text(str(value))


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


def _mapping(items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in items:
        name = key if type(key) is str else str(key.value if isinstance(key, Enum) else key)
        secret = names_a_secret(name) and not _says_nothing(item)
        plain[_text(name)] = REDACTED if secret else _plain(item, depth + 1)
    return plain


def _says_nothing(item: Any) -> bool:
    """That a secret is missing, or whether there is one, is no secret."""
    return item is None or isinstance(item, bool) or (isinstance(item, str) and not item)


def _sequence(items: Iterable[Any], depth: int) -> list[Any]:
    plain: list[Any] = []
    hidden = False  # the argument before says that this one is a secret
    for item in items:
        plain.append(REDACTED if hidden else _plain(item, depth + 1))
        hidden = isinstance(item, str) and asks_for_a_secret(item)
    return plain


def _text(text: str) -> str:
    """Without secrets, and without broken characters (as in a file name that is not Unicode), which no file could keep."""
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return without_secrets(text)


def _order(value: Any) -> bytes:
    return msgspec.json.encode(value)
