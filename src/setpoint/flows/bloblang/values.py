"""What Bloblang values are and how they behave: absence, truth, numbers, comparison, paths.

Values are those of JSON, and bytes for what is no text yet. Two more stand for absence: `DELETED` takes a thing away where it is assigned,
`NOTHING` leaves it as it is. What does not fit raises `MappingError`; `|` and `.catch()` take that as they take null.

Nothing here changes a value in place: `placed` and `without` copy what lies on the way, so that `this` stays what it was.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from setpoint.flows.component import MessageError


class MappingError(MessageError):
    """The mapping cannot be evaluated for this message: says why, and where it is known in which `line`."""

    line = 0


class Absent:
    """The type of `DELETED` and `NOTHING`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


DELETED: Final = Absent("delete")
NOTHING: Final = Absent("nothing")


class Unreadable:
    """Stands for `this` where the payload is no JSON: asking it for anything raises why."""

    def __init__(self, why: str) -> None:
        self.error = MappingError(f"the payload is no JSON: {why}")


def readable(value: Any) -> Any:
    """The value, which is no `Unreadable`. Raises `MappingError`."""
    if type(value) is Unreadable:
        raise value.error
    return value


_TYPES: Final[dict[type, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "bool",
    dict: "object",
    list: "array",
    bytes: "bytes",
    type(None): "null",
}
_SORTED: Final = msgspec.json.Encoder(order="sorted")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z")


def type_of(value: Any) -> str:
    """The name of the value's type, as `.type()` gives it."""
    return value.kind if isinstance(value, Absent) else _TYPES.get(type(value), type(value).__name__)


def expected(what: str, value: Any) -> MappingError:
    """The error for a value of the wrong type."""
    return MappingError(f"expected {what} value, got {type_of(value)}")


def tidy(number: float) -> int | float:
    """A number as it is written: whole ones without a fraction. Raises `MappingError` for what JSON cannot say."""
    if type(number) is int:
        return number
    if not math.isfinite(number):
        raise MappingError("the result is no finite number")
    return int(number) if number == int(number) and abs(number) < 2**53 else number


def is_number(value: Any) -> bool:
    """Whether it is a number; truth values are none."""
    return type(value) is int or type(value) is float


def number_of(value: Any) -> int | float:
    """The number, or the one that a text says. Raises `MappingError`."""
    if is_number(value):
        return tidy(value)
    if isinstance(value, str | bytes):
        if _NUMBER.match(text := text_of(value)):
            return tidy(float(text))
        raise MappingError(f"{text[:40]!r} is no number")
    raise expected("number", value)


def text_of(value: Any) -> str:
    """The text, or the bytes as text. Raises `MappingError`."""
    if type(value) is str:
        return value
    if type(value) is bytes:
        return value.decode("utf-8", errors="replace")
    raise expected("string", value)


def written(value: Any) -> str:
    """Any value as text: what `.string()` gives."""
    if isinstance(value, str | bytes):
        return text_of(value)
    if isinstance(value, Absent):
        raise expected("any", value)
    return json_of(value).decode()


def json_of(value: Any) -> bytes:
    """The value as JSON, keys sorted. Raises `MappingError`."""
    try:
        return _SORTED.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise MappingError(f"cannot be written as JSON: {error}") from None


def truth(value: Any) -> bool:
    """The truth value. Raises `MappingError` for all else, null included."""
    if type(value) is bool:
        return value
    raise expected("bool", value)


def _of_numbers(verb: str, compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def computed(left: Any, right: Any) -> Any:
        if not (is_number(left) and is_number(right)):
            raise MappingError(f"cannot {verb} types {type_of(left)} and {type_of(right)}")
        try:
            return tidy(compute(left, right))
        except ZeroDivisionError:
            raise MappingError("attempted to divide by zero") from None
        except OverflowError:
            raise MappingError("the result is no finite number") from None

    return computed


_sum: Final = _of_numbers("add", operator.add)


def _added(left: Any, right: Any) -> Any:
    """`+`: of numbers, or of texts."""
    if isinstance(left, str | bytes) and isinstance(right, str | bytes):
        return text_of(left) + text_of(right)
    return _sum(left, right)


def _remainder(left: Any, right: Any) -> int:
    """Of whole numbers, with the sign of the left one, as Go has it."""
    rest = abs(int(left)) % abs(int(right))
    return int(-rest if left < 0 else rest)


def equal(left: Any, right: Any) -> bool:
    """`==`: values of different types differ; bytes are compared as texts."""
    if type(left) is bytes or type(right) is bytes:
        left, right = (text_of(side) if type(side) is bytes else side for side in (left, right))
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compared(left: Any, right: Any) -> bool:
        if is_number(left) and is_number(right):
            return compare(left, right)
        if isinstance(left, str | bytes) and isinstance(right, str | bytes):
            return compare(text_of(left), text_of(right))
        raise MappingError(f"cannot compare types {type_of(left)} and {type_of(right)}")

    return compared


OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": _added,
    "-": _of_numbers("subtract", operator.sub),
    "*": _of_numbers("multiply", operator.mul),
    "/": _of_numbers("divide", operator.truediv),
    "%": _of_numbers("divide", _remainder),
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
}


def inner(value: Any, name: str) -> Any:
    """What the value has under that name or at that place; null where there is no such thing."""
    if type(value) is dict:
        return value.get(name)
    if type(value) is list:
        return value[int(name)] if name.isdecimal() and int(name) < len(value) else None
    if type(value) is Unreadable:
        raise value.error
    return None


def placed(root: Any, path: tuple[str, ...], value: Any) -> Any:
    """The root with that value at the end of the path, or without what was there where it is `DELETED`; the root given stays as it was."""
    name, rest = path[0], path[1:]
    if type(root) is list:
        return _placed_in_list(root, path, value)
    if root is NOTHING or root is None:
        root = {}
    if type(root) is Unreadable:
        raise root.error
    if type(root) is not dict:
        raise MappingError(f"cannot set {'.'.join(path)}: what it is part of is no object but {type_of(root)}")
    root = dict(root)
    if rest and (value is not DELETED or name in root):
        root[name] = placed(root.get(name), rest, value)
    elif not rest and value is DELETED:
        root.pop(name, None)
    elif not rest:
        root[name] = value
    return root


def _placed_in_list(root: list[Any], path: tuple[str, ...], value: Any) -> list[Any]:
    name, rest = path[0], path[1:]
    if not name.isdecimal() or int(name) >= len(root):
        raise MappingError(f"cannot set {'.'.join(path)}: the array has {len(root)} items and no place {name!r}")
    root, place = list(root), int(name)
    if rest:
        root[place] = placed(root[place], rest, value)
    elif value is DELETED:
        del root[place]
    else:
        root[place] = value
    return root


def without(value: Any, paths: list[tuple[str, ...]]) -> Any:
    """The object without what lies at these paths. What is within arrays stays."""
    if type(value) is not dict:
        return value
    gone = {path[0] for path in paths if len(path) == 1}
    below = {name: [path[1:] for path in paths if path[0] == name] for name in {path[0] for path in paths} - gone}
    return {
        name: without(part, below[name]) if name in below else part for name, part in value.items() if name not in gone
    }
