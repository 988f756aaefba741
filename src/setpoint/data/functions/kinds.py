"""Kinds of value, by the names that people write in files: what `integer` means, and what equals what.

A truth value is no number, though Python counts it as one. `number` and `float` take whole numbers too, since a file does not tell 5 from
5.0. The names of JSON Schema and those of Python mean the same here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, Final

Test = Callable[[Any], bool]


def is_number(value: object) -> bool:
    """Whether the value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is(*types: type) -> Test:
    return lambda value: isinstance(value, types)


_TEXT, _BOOL, _LIST, _DICT, _NONE = _is(str), _is(bool), _is(list, tuple), _is(Mapping), _is(type(None))
KINDS: Final[Mapping[str, Test]] = {
    "str": _TEXT, "string": _TEXT,
    "int": _is_integer, "integer": _is_integer,
    "float": is_number, "number": is_number,
    "bool": _BOOL, "boolean": _BOOL,
    "list": _LIST, "array": _LIST,
    "dict": _DICT, "object": _DICT,
    "none": _NONE, "null": _NONE,
    "datetime": _is(datetime),
    "date": lambda value: isinstance(value, date) and not isinstance(value, datetime),
    "bytes": _is(bytes),
    "any": lambda value: True,
}  # fmt: skip
"""Each name with the test of what it names."""


def kind_test(name: object) -> Test:
    """The test for a kind given by name, by a Python type, or by a list of those. Raises `ValueError` for anything else."""
    if isinstance(name, list | tuple) and name:
        tests = [kind_test(one) for one in name]
        return lambda value: any(test(value) for test in tests)
    if isinstance(name, type):
        known = KINDS.get("none" if name is type(None) else name.__name__)
        return known if known is not None and name.__module__ in ("builtins", "datetime") else _is(name)
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    raise ValueError(f"there is no type {name!r}{nearest(str(name), KINDS)}; types are {', '.join(KINDS)}")


def kind_text(name: object) -> str:
    """A kind as it stands in a message."""
    if isinstance(name, list | tuple):
        return " or ".join(kind_text(one) for one in name)
    return name.__name__ if isinstance(name, type) else str(name)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, for the end of a message; empty if none is near."""
    near = get_close_matches(name[:60], [str(one) for one in known], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def frozen(value: object) -> object:
    """Something hashable that equals that of another value exactly when the two are equal, truth values being no numbers."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Mapping):
        return ("mapping", frozenset((key, frozen(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(frozen(item) for item in value))
    return value
