"""Conversions of values, by the names of types that people write in files.

They are Python's own, where Python's give what the name promises. A text becomes a truth value only if it says one; a text is no list of
its letters; a date and time is read from ISO 8601.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from setpoint.data.functions.fields import kind_of
from setpoint.data.functions.kinds import nearest

Conversion = Callable[[Any], Any]

_TRUE: Final = frozenset({"true", "yes", "1", "on"})
_FALSE: Final = frozenset({"false", "no", "0", "off", ""})


def conversion(wanted: object) -> Conversion:
    """The conversion to a type given by name or class, or a function as it is. Raises `ValueError` for a name that is none."""
    if isinstance(wanted, type):
        return CONVERSIONS.get(wanted.__name__, wanted) if wanted.__module__ in ("builtins", "datetime") else wanted
    if callable(wanted):
        return wanted
    if isinstance(wanted, str) and wanted in CONVERSIONS:
        return CONVERSIONS[wanted]
    hint = nearest(str(wanted), CONVERSIONS)
    raise ValueError(f"there is no conversion to {wanted!r}{hint}; types are {', '.join(CONVERSIONS)}")


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(f"says neither of {', '.join(sorted(_TRUE))} nor of {', '.join(sorted(_FALSE - {''}))}")
        return word in _TRUE
    return bool(value)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001  # a date says nothing of a zone
    return datetime.fromisoformat(_text(value).strip())


def _date(value: Any) -> date:
    if isinstance(value, date):
        return value.date() if isinstance(value, datetime) else value
    return datetime.fromisoformat(_text(value).strip()).date()


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, bytes) else json.loads(_text(value))


def _dict(value: Any) -> dict[Any, Any]:
    if isinstance(value, str | bytes):
        raise ValueError("is text; use json to read it")
    return dict(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {kind_of(value)}, not text")
    return value


CONVERSIONS: Final[Mapping[str, Conversion]] = {
    "str": str, "string": str,
    "int": int, "integer": int,
    "float": float, "number": float,
    "bool": _bool, "boolean": _bool,
    "list": _list, "array": _list,
    "dict": _dict, "object": _dict,
    "datetime": _datetime,
    "date": _date,
    "decimal": lambda value: Decimal(str(value)),
    "json": _json,
}  # fmt: skip
"""Each type by name with the function that converts to it; they raise what Python raises."""
