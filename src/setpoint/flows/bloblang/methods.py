"""The methods of Bloblang that are translated: each takes what it stands behind and its arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from setpoint.flows.bloblang.run import Lambda, Node, Run, Value, applied
from setpoint.flows.bloblang.values import (
    DELETED,
    NOTHING,
    MappingError,
    equal,
    expected,
    inner,
    is_number,
    json_of,
    number_of,
    readable,
    text_of,
    tidy,
    type_of,
    without,
    written,
)

Given = Mapping[str, Node | Lambda]


_WHOLE: Final = re.compile(r"[+-]?\d{1,19}\Z", re.ASCII)


class Method(NamedTuple):
    """A method: the names of its arguments, how many are required, and what makes it of its target and them. `rest` takes any number."""

    names: tuple[str, ...]
    required: int
    make: Callable[[Value, Given], Value]
    rest: bool = False


def _plain(call: Callable[..., Any], *names: str, required: int | None = None, rest: bool = False) -> Method:
    """A method that is a function of its values; arguments that are not given are left out."""

    def make(target: Value, given: Given) -> Value:
        if not given:
            return lambda run, this: call(readable(target(run, this)))
        values = {name: node.value for name, node in given.items() if isinstance(node, Node)}
        if rest:
            return lambda run, this: call(readable(target(run, this)), *(value(run, this) for value in values.values()))
        return lambda run, this: call(
            readable(target(run, this)), **{name: value(run, this) for name, value in values.items()}
        )

    return Method(names, len(names) if required is None else required, make, rest)


def _or(target: Value, given: Given) -> Value:
    other = given["fallback"]
    assert isinstance(other, Node)
    fallback = other.value

    def chosen(run: Run, this: Any) -> Any:
        try:
            value = readable(target(run, this))
        except MappingError:
            return fallback(run, this)
        return fallback(run, this) if value is None or value is NOTHING or value is DELETED else value

    return chosen


def _catch(target: Value, given: Given) -> Value:
    fallback = applied(given["fallback"])

    def chosen(run: Run, this: Any) -> Any:
        try:
            return readable(target(run, this))
        except MappingError as error:
            return fallback(run, this, str(error))

    return chosen


def _map_each(target: Value, given: Given) -> Value:
    change = applied(given["query"])

    def mapped(run: Run, this: Any) -> Any:
        value = target(run, this)
        if type(value) is dict:
            pairs = ((key, part, change(run, this, {"key": key, "value": part})) for key, part in value.items())
            return {key: part if new is NOTHING else new for key, part, new in pairs if new is not DELETED}
        made = ((part, change(run, this, part)) for part in _array(value))
        return [part if new is NOTHING else new for part, new in made if new is not DELETED]

    return mapped


def _filter(target: Value, given: Given) -> Value:
    test = applied(given["test"])

    def kept(run: Run, this: Any) -> Any:
        value = target(run, this)
        if type(value) is dict:
            return {key: part for key, part in value.items() if test(run, this, {"key": key, "value": part}) is True}
        return [part for part in _array(value) if test(run, this, part) is True]

    return kept


def _array(value: Any) -> list[Any]:
    if type(value) is not list:
        raise expected("array", readable(value))
    return value


def _object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise expected("object", value)
    return value


def _number(value: Any, default: Any = NOTHING) -> Any:
    try:
        return number_of(value)
    except MappingError:
        if default is NOTHING:
            raise
        return default


def _int64(value: Any) -> int:
    if not is_number(value):
        value = int(text) if _WHOLE.match(text := text_of(value)) else text
    if type(value) is str or int(value) != value:
        raise MappingError(f"{written(value)[:40]!r} is no whole number")
    return int(value)


def _bool(value: Any, default: Any = NOTHING) -> Any:
    if type(value) is bool:
        return value
    if is_number(value):
        return value != 0
    if isinstance(value, str | bytes) and text_of(value) in ("true", "false"):
        return text_of(value) == "true"
    if default is not NOTHING:
        return default
    raise expected("bool", value)


def _of_text(change: Callable[..., Any]) -> Callable[..., Any]:
    """A method of texts; of bytes it gives bytes where it gives a text of texts."""

    def changed(value: Any, /, **given: Any) -> Any:
        out = change(text_of(value), **given)
        return out.encode() if type(value) is bytes and type(out) is str else out

    return changed


def _of_number(change: Callable[[float], float]) -> Callable[[Any], Any]:
    def changed(value: Any) -> Any:
        if not is_number(value):
            raise expected("number", value)
        return tidy(change(value))

    return changed


def _length(value: Any) -> int:
    """Of a text its bytes in UTF-8."""
    if type(value) is str:
        return len(value.encode())
    if isinstance(value, bytes | list | dict):
        return len(value)
    raise expected("string, array or object", value)


def _contains(target: Any, value: Any) -> bool:
    if isinstance(target, str | bytes):
        return isinstance(value, str | bytes) and text_of(value) in text_of(target)
    if isinstance(target, list | dict):
        return any(equal(part, value) for part in (target.values() if type(target) is dict else target))
    raise expected("string, array or object", target)


def _exists(value: Any, path: Any) -> bool:
    for name in text_of(path).split("."):
        there = name in value if type(value) is dict else type(value) is list and inner(value, name) is not None
        if not there:
            return False
        value = inner(value, name)
    return True


def _index(value: Any, index: Any) -> Any:
    parts, place = _array(value), _int64(index)
    if not -len(parts) <= place < len(parts):
        raise MappingError(f"index {place} is out of bounds of an array of {len(parts)}")
    return parts[place]


def _slice(value: Any, low: Any, high: Any = None) -> Any:
    """Of a text its bytes in UTF-8."""
    if not isinstance(value, str | bytes | list):
        raise expected("array or string", value)
    parts = value.encode() if type(value) is str else value
    first, last, _ = slice(_int64(low), None if high is None else _int64(high)).indices(len(parts))
    if first > last:
        raise MappingError(f"lower slice bound {first} must be lower than upper ({last})")
    cut = parts[first:last]
    return text_of(cut) if type(value) is str else cut


def _join(value: Any, delimiter: Any = "") -> str:
    return text_of(delimiter).join(text_of(part) for part in _array(value))


def _sum(value: Any) -> Any:
    if not all(is_number(part) for part in _array(value)):
        raise MappingError("expected numbers only in the array")
    return tidy(sum(value))


def _not_empty(value: Any) -> Any:
    if not isinstance(value, str | bytes | list | dict):
        raise expected("string, array or object", value)
    if not value:
        raise MappingError(f"{type_of(value)} value is empty")
    return value


def _not_null(value: Any) -> Any:
    if value is None:
        raise MappingError("value is null")
    return value


def _parse_json(value: Any) -> Any:
    try:
        return msgspec.json.decode(text_of(value))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MappingError(f"failed to parse value as JSON: {error}") from None


def _format_json(value: Any, indent: Any = "    ", no_indent: Any = False) -> bytes:
    text = json_of(value)
    if no_indent is True:
        return text
    lines = msgspec.json.format(text, indent=1).decode().split("\n")
    return "\n".join(
        text_of(indent) * (len(line) - len(line.lstrip(" "))) + line.lstrip(" ") for line in lines
    ).encode()


def _without(value: Any, *paths: Any) -> Any:
    return without(_object(value), [tuple(text_of(path).split(".")) for path in paths])


def _sort(value: Any) -> list[Any]:
    parts = _array(value)
    if all(is_number(part) for part in parts) or all(type(part) is str for part in parts):
        return sorted(parts)
    raise MappingError("only numbers, or only texts, can be sorted")


def _trim(text: str, cutset: Any = None) -> str:
    return text.strip() if cutset is None else text.strip(text_of(cutset))


def _capitalized(text: str) -> str:
    """Each word with a capital letter."""
    return "".join(
        letter.upper() if n == 0 or not (text[n - 1].isalnum() or text[n - 1] in "_'") else letter
        for n, letter in enumerate(text)
    )


METHODS: Final[dict[str, Method]] = {
    "abs": _plain(_of_number(abs)),
    "append": _plain(lambda value, *more: [*_array(value), *more], rest=True),
    "bool": _plain(_bool, "default", required=0),
    "capitalize": _plain(_of_text(_capitalized)),
    "catch": Method(("fallback",), 1, _catch),
    "ceil": _plain(_of_number(math.ceil)),
    "contains": _plain(_contains, "value"),
    "exists": _plain(_exists, "path"),
    "filter": Method(("test",), 1, _filter),
    "float64": _plain(number_of),
    "floor": _plain(_of_number(math.floor)),
    "format_json": _plain(_format_json, "indent", "no_indent", required=0),
    "has_prefix": _plain(_of_text(lambda text, value: text.startswith(text_of(value))), "value"),
    "has_suffix": _plain(_of_text(lambda text, value: text.endswith(text_of(value))), "value"),
    "index": _plain(_index, "index"),
    "int64": _plain(_int64),
    "join": _plain(_join, "delimiter", required=0),
    "keys": _plain(lambda value: sorted(_object(value))),
    "length": _plain(_length),
    "lowercase": _plain(_of_text(str.lower)),
    "map_each": Method(("query",), 1, _map_each),
    "not_empty": _plain(_not_empty),
    "not_null": _plain(_not_null),
    "number": _plain(_number, "default", required=0),
    "or": Method(("fallback",), 1, _or),
    "parse_json": _plain(_parse_json),
    "replace_all": _plain(_of_text(lambda text, old, new: text.replace(text_of(old), text_of(new))), "old", "new"),
    "reverse": _plain(lambda value: value[::-1] if type(value) is str else _array(value)[::-1]),
    "round": _plain(_of_number(lambda number: math.copysign(math.floor(abs(number) + 0.5), number))),
    "slice": _plain(_slice, "low", "high", required=1),
    "sort": _plain(_sort),
    "split": _plain(_of_text(lambda text, delimiter: text.split(text_of(delimiter))), "delimiter"),
    "string": _plain(written),
    "sum": _plain(_sum),
    "trim": _plain(_of_text(_trim), "cutset", required=0),
    "trim_prefix": _plain(_of_text(lambda text, prefix: text.removeprefix(text_of(prefix))), "prefix"),
    "trim_suffix": _plain(_of_text(lambda text, suffix: text.removesuffix(text_of(suffix))), "suffix"),
    "type": _plain(type_of),
    "uppercase": _plain(_of_text(str.upper)),
    "values": _plain(lambda value: [_object(value)[key] for key in sorted(value)]),
    "without": _plain(_without, rest=True),
}
