"""Plain data without secrets: the only form in which anything reaches a store.

`redacted` turns typed data (msgspec structs, pydantic models, dataclasses, named tuples, enums, what JSON knows) into dicts, lists, texts
and numbers, and leaves out what must not be read: values of fields and keys that name a secret, pydantic's secret types, pairs of such a
name and a value (``("Authorization", …)``, ``{"name": "DB_PASSWORD", "value": …}``), what a command's arguments say is one, and what the
rules of `setpoint.secrets` find inside texts. Fields go by the names they have in the code, so a class that is written as a list hides no
field. Values that are known to be secret, because a variable holds them, are left out wherever they are.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import msgspec

from setpoint.secrets import (
    LOGIN_OPTIONS,
    MAX_DEPTH,
    MIN_PART,
    REDACTED,
    asks_for_a_secret,
    hides,
    names_a_login,
    names_a_secret,
    without_password,
    without_secrets,
)

__all__ = ["REDACTED", "redacted"]

MAX_PARTS: Final = 100_000
"""Items and fields in all that one value may have, however often the same list stands in it."""
MAX_TEXT: Final = 1 << 20
"""Characters of one text."""


NO_SECRETS: Final[frozenset[str]] = frozenset()
_SAYS_NAME: Final = frozenset(
    word for n in ("name", "key", "header", "variable", "field") for word in (n, n.title(), n.upper())
)
_SAYS_VALUE: Final = frozenset(
    word for n in ("value", "values", "content", "default") for word in (n, n.title(), n.upper())
)
_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"}
)
MAX_NAME: Final = 100
"""Characters of a text that may be the name of a value beside it."""


def redacted(value: Any, secrets: frozenset[str] = NO_SECRETS) -> Any:
    """The value as plain data that JSON can carry, without secrets, and without these texts (see `setpoint.secrets.secrets_among`).

    Sets become sorted lists, bytes base64, times ISO 8601, other objects their text. Nesting is followed for `MAX_DEPTH` levels; what lies
    deeper is left out. Raises `ValueError` for more than `MAX_PARTS` or `MAX_TEXT`, and what an object's own code raises.
    """
    return _Redaction(secrets).plain(value, 0)


class _Redaction:
    """One value on its way to plain data."""

    __slots__ = ("_left", "_secrets")

    def __init__(self, secrets: frozenset[str]) -> None:
        self._left = MAX_PARTS
        self._secrets = secrets

    def plain(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is float or kind is int:
            return self._number(value)
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
                return self._text(str(value))
            case Mapping():
                return self._mapping(value.items(), depth)
            case AbstractSet():
                return sorted(self._items(value, depth), key=msgspec.json.encode)
            case bytes() | bytearray() | memoryview():
                return self._bytes(bytes(value))
            case datetime() | date() | time():
                return value.isoformat()
            case int() | float():
                return self.plain(int(value) if isinstance(value, int) else float(value), depth)
            case Iterable() if hasattr(value, "__len__"):
                return self._items(value, depth)
        return REDACTED if hasattr(value, "get_secret_value") else self._text(str(value))

    def _mapping(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        named = ""  # by a field of its own: {"name": …, "value": …}
        for key, item in items:
            self._count()
            name = key if type(key) is str else str(key.value if isinstance(key, Enum) else key)
            kept, ordinary = _key(name) if len(name) <= MAX_NAME and not self._secrets else (self._text(name), False)
            if ordinary:
                plain[kept] = self.plain(item, depth + 1)
                continue
            plain[kept] = REDACTED if hides(name, item) else self.plain(_entered(name, item), depth + 1)
            if name in _SAYS_NAME and type(item) is str and len(item) <= MAX_NAME:
                named = item
        if named and names_a_secret(named):
            plain |= {key: REDACTED for key in plain.keys() & _SAYS_VALUE if hides(named, plain[key])}
        return plain

    def _sequence(self, items: Sequence[Any], depth: int) -> list[Any]:
        if len(items) == 2 and _is_name(name := items[0]):
            name = name.decode(errors="replace") if isinstance(name, bytes) else name
            if hides(name, items[1]):
                self._count()
                return [self.plain(items[0], depth + 1), REDACTED]
        return self._items(items, depth)

    def _items(self, items: Iterable[Any], depth: int) -> list[Any]:
        plain: list[Any] = []
        before = ""  # the argument before this one
        for item in items:
            self._count()
            if before and (asks_for_a_secret(before) or before.lower() in _HEADERS):
                plain.append(REDACTED)
            else:
                plain.append(self.plain(without_password(item) if before in LOGIN_OPTIONS else item, depth + 1))
            before = item if isinstance(item, str) and len(item) <= MAX_NAME else ""
        return plain

    def _bytes(self, value: bytes) -> str:
        """Base64; text in it, if it is text, is looked through before."""
        text = value[: MAX_TEXT + 1].decode(errors="replace")
        kept = self._text(text)
        return _in_bounds(base64.b64encode(value if kept == text else kept.encode()).decode())

    def _number(self, value: int | float) -> Any:
        if self._secrets and str(value) in self._secrets and len(str(value)) >= MIN_PART:
            return REDACTED
        in_bounds = isinstance(value, float) or -(2**63) <= value < 2**64  # what JSON readers can hold
        return value if in_bounds else str(value)

    def _text(self, text: str) -> str:
        """Without secrets, and without broken characters (as in a file name that is not Unicode), which no file could keep."""
        _in_bounds(text)
        if not text.isascii():
            text = text.encode(errors="replace").decode()
        return without_secrets(text, self._secrets)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {MAX_PARTS} parts")


@lru_cache(maxsize=4096)
def _key(name: str) -> tuple[str, bool]:
    """A name as it is kept, and whether it says nothing of what goes by it or stands beside it."""
    ordinary = not (names_a_secret(name) or names_a_login(name) or hides(name, b"key") or name in _SAYS_NAME)
    return _Redaction(NO_SECRETS)._text(name), ordinary


def _is_name(item: object) -> bool:
    """Whether the first of two items may be the name of the second."""
    return type(item) in (str, bytes) and len(item) <= MAX_NAME  # type: ignore[arg-type]


def _entered(name: str, item: Any) -> Any:
    """What goes by this name, without its password if it is a user with a password."""
    if not isinstance(item, str | list | tuple) or not names_a_login(name):
        return item
    if isinstance(item, str):
        return without_password(item)
    return [item[0], REDACTED] if len(item) == 2 and all(isinstance(part, str) for part in item) else item


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


def _in_bounds(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has a text of {len(text)} characters, which is more than {MAX_TEXT}")
    return text
