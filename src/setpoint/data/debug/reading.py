"""What somebody who looks at a record types: an expression, or a dotted path. Breakpoints ask it, watches show it.

An expression has the record's fields by their names and the record itself as ``record``, as in a machine's own conditions. What is no
expression but a path, as ``lines.0.sku``, is followed through mappings, lists and attributes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from setpoint.data.functions.expressions import evaluator
from setpoint.data.functions.fields import shown
from setpoint.machine import ExpressionError

PATH = re.compile(r"[^\W\d][\w-]*(\.[\w-]+)*")


def reading(text: str) -> Callable[[Any], Any]:
    """The value of the text as a function of the record. That and this raise `ExpressionError`, this for a text that is none."""
    try:
        value = evaluator(text)
    except ExpressionError:
        if not PATH.fullmatch(text.strip()):
            raise
        return lambda record: _followed(record, text.strip())
    return lambda record: _asked(value, record, text)


def put(record: Any, path: str, value: Any) -> Any:
    """The record with that value at a dotted path, changed in place; mappings that are not there are made.

    Raises `TypeError`, `ValueError` or `AttributeError` where the path leads through something that has no such place.
    """
    if isinstance(record, Mapping) and path in record:
        return _placed(record, path, value)
    *way, last = path.split(".")
    at = record
    for part in way:
        if isinstance(at, dict) and part not in at:
            at[part] = {}
        at = (
            at[part] if isinstance(at, Mapping) else at[_index(at, part)] if isinstance(at, list) else getattr(at, part)
        )
    _placed(at, last, value)
    return record


def _placed(owner: Any, name: str, value: Any) -> Any:
    if isinstance(owner, Mapping):
        owner[name] = value  # type: ignore[index]  # a mapping that cannot be changed says so
    elif isinstance(owner, list):
        owner[_index(owner, name)] = value
    else:
        setattr(owner, name, value)
    return owner


def _index(owner: list[Any], part: str) -> int:
    if not part.isdecimal() or int(part) >= len(owner):
        raise ValueError(f"the list has {len(owner)} items, and no {part!r} (the first is 0)")
    return int(part)


def _asked(value: Callable[[Any], Any], record: Any, text: str) -> Any:
    try:
        return value(record)
    except ExpressionError:
        raise
    except Exception as error:  # of a value in the record that computes in a way of its own
        raise ExpressionError(f"{text}: {type(error).__name__}: {error}") from error


def _followed(record: Any, path: str) -> Any:
    value = record
    for part in path.split("."):
        try:
            if isinstance(value, Mapping):
                value = value[part]
            elif isinstance(value, list | tuple):
                value = value[int(part)]
            else:
                raise KeyError(part)
        except (KeyError, ValueError, IndexError):
            raise ExpressionError(f"{path}: there is no {part!r} in {shown(value)}") from None
    return value
