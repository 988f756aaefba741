"""The keywords of JSON Schema, each compiled to a check: a function of a value that gives the faults it finds, most often none.

A keyword asks nothing of a value of another kind: ``minimum`` says nothing of a text. What compiles a keyword is given the whole schema
that it stands in, since some look at their neighbours, and the place of that schema in the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, Final, NamedTuple, Protocol

from setpoint.data.functions.fields import kind_of, shown
from setpoint.data.functions.formats import FORMATS
from setpoint.data.functions.kinds import frozen, is_number, kind_text, nearest


class Fault(NamedTuple):
    """What is wrong with a value, and where in it."""

    path: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.text}" if self.path else self.text


Check = Callable[[Any], Iterable[Fault]]
NONE: Final[tuple[Fault, ...]] = ()


class Wrong(Exception):
    """What is wrong with the value of a keyword; becomes the ValueError that names its place."""


class Compiler(Protocol):
    """What a keyword that contains schemas has them compiled by."""

    def compile(self, schema: object, at: str) -> Check:
        """The check of a schema at a place of the document."""

    def reference(self, target: str) -> Check:
        """The check of what a local reference points to."""


def _is_integer(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list | tuple),
    "object": lambda value: isinstance(value, Mapping),
    "null": lambda value: value is None,
}


def _type(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    for name in names:
        if not isinstance(name, str) or name not in _TYPES:
            raise Wrong(f"there is no type {name!r}{nearest(str(name), _TYPES)}; types are {', '.join(_TYPES)}")
    tests = [_TYPES[name] for name in names]
    if len(tests) == 1:
        test = tests[0]
        return lambda value: NONE if test(value) else [Fault((), f"is {kind_of(value)}, not {names[0]}")]
    return lambda value: (
        NONE if any(t(value) for t in tests) else [Fault((), f"is {kind_of(value)}, not {kind_text(names)}")]
    )


def _required(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    names = _texts(schema["required"])
    return lambda value: (
        [Fault((name,), "is missing") for name in names if name not in value] if isinstance(value, Mapping) else NONE
    )


def _properties(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    checks = {
        name: compiler.compile(one, f"{at}/properties/{name}") for name, one in _mapping(schema["properties"]).items()
    }

    def check(value: Any) -> Iterable[Fault]:
        if not isinstance(value, Mapping):
            return NONE
        return [_in(name, fault) for name, one in checks.items() if name in value for fault in one(value[name])]

    return check


def _pattern_properties(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    checks = [
        (_regex(pattern), compiler.compile(one, f"{at}/patternProperties/{pattern}"))
        for pattern, one in _mapping(schema["patternProperties"]).items()
    ]

    def check(value: Any) -> Iterable[Fault]:
        if not isinstance(value, Mapping):
            return NONE
        return [
            _in(name, fault)
            for name, item in value.items()
            for pattern, one in checks
            if isinstance(name, str) and pattern.search(name)
            for fault in one(item)
        ]

    return check


def _additional_properties(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    named = frozenset(_mapping(schema.get("properties", {})))
    patterns = [_regex(pattern) for pattern in _mapping(schema.get("patternProperties", {}))]
    allowed = schema["additionalProperties"]
    of_others = compiler.compile(allowed, f"{at}/additionalProperties")

    def check(value: Any) -> Iterable[Fault]:
        if not isinstance(value, Mapping):
            return NONE
        others = [name for name in value if name not in named and not any(p.search(str(name)) for p in patterns)]
        if allowed is False:
            return [Fault((name,), "is not among the properties") for name in others]
        return [_in(name, fault) for name in others for fault in of_others(value[name])]

    return check


def _property_names(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    of_name = compiler.compile(schema["propertyNames"], f"{at}/propertyNames")
    return lambda value: (
        [_in(name, fault) for name in value for fault in of_name(name)] if isinstance(value, Mapping) else NONE
    )


def _dependent_required(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    needs = {name: _texts(others) for name, others in _mapping(schema["dependentRequired"]).items()}

    def check(value: Any) -> Iterable[Fault]:
        if not isinstance(value, Mapping):
            return NONE
        return [
            Fault((other,), f"is missing beside {name}")
            for name, others in needs.items()
            if name in value
            for other in others
            if other not in value
        ]

    return check


def _items(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    of_item = compiler.compile(schema["items"], f"{at}/items")
    first = len(schema["prefixItems"]) if isinstance(schema.get("prefixItems"), list) else 0
    return lambda value: (
        [_in(number, fault) for number, item in enumerate(value) if number >= first for fault in of_item(item)]
        if isinstance(value, list | tuple)
        else NONE
    )


def _prefix_items(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    if not isinstance(schema["prefixItems"], list):
        raise Wrong("expected a list of schemas")
    checks = [compiler.compile(one, f"{at}/prefixItems/{number}") for number, one in enumerate(schema["prefixItems"])]
    return lambda value: (
        [_in(number, fault) for number, (check, item) in enumerate(zip(checks, value)) for fault in check(item)]  # noqa: B905
        if isinstance(value, list | tuple)
        else NONE
    )


def _unique_items(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    if not isinstance(schema["uniqueItems"], bool):
        raise Wrong("expected true or false")
    if not schema["uniqueItems"]:
        return lambda value: NONE

    def check(value: Any) -> Iterable[Fault]:
        if not isinstance(value, list | tuple):
            return NONE
        return [] if len({frozen(item) for item in value}) == len(value) else [Fault((), "has an item twice")]

    return check


def _enum(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    return _among(schema["enum"]) if isinstance(schema["enum"], list) else _refuse("expected a list of values")


def _const(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    return _among([schema["const"]])


def _among(values: list[Any]) -> Check:
    allowed = {frozen(value) for value in values}
    text = ", ".join(map(shown, values))
    return lambda value: NONE if frozen(value) in allowed else [Fault((), f"{shown(value)} is not {text}")]


def _bound(keyword: str, holds: Callable[[Any, Any], bool], text: str) -> Keyword:
    def compiled(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
        bound = schema[keyword]
        if not is_number(bound) or bound != bound:
            raise Wrong(f"expected a number, got {shown(bound)}")
        return lambda value: (
            NONE if not is_number(value) or holds(value, bound) else [Fault((), f"{shown(value)} is {text} {bound}")]
        )

    return compiled


def _multiple_of(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    step = schema["multipleOf"]
    if not is_number(step) or not 0 < step < float("inf"):
        raise Wrong(f"expected a number above 0, got {shown(step)}")

    def check(value: Any) -> Iterable[Fault]:
        if not is_number(value) or _is_multiple(value, step):
            return NONE
        return [Fault((), f"{shown(value)} is no multiple of {step}")]

    return check


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        times = value / step
    except OverflowError:
        return False
    return (
        abs(times) < float("inf") and abs(times - round(times)) < 1e-9
    )  # 0.3 is three times 0.1, whatever binary fractions say


def _size(keyword: str, kinds: tuple[type[Sized], ...], holds: Callable[[int, int], bool], text: str) -> Keyword:
    def compiled(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
        bound = schema[keyword]
        if not isinstance(bound, int) or isinstance(bound, bool) or bound < 0:
            raise Wrong(f"expected a whole number of at least 0, got {shown(bound)}")
        return lambda value: (
            NONE
            if not isinstance(value, kinds) or holds(len(value), bound)
            else [Fault((), f"has a length of {len(value)}, {text} {bound}")]
        )

    return compiled


def _pattern(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    pattern = _regex(schema["pattern"])
    return lambda value: (
        NONE
        if not isinstance(value, str) or pattern.search(value)
        else [Fault((), f"{shown(value)} does not match {pattern.pattern}")]
    )


def _format(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    name = schema["format"]
    if not isinstance(name, str) or name not in FORMATS:
        raise Wrong(f"there is no format {name!r}{nearest(str(name), FORMATS)}; formats are {', '.join(FORMATS)}")
    reads = FORMATS[name]

    def check(value: Any) -> Iterable[Fault]:
        try:
            well = not isinstance(value, str) or reads(value) is not False
        except ValueError:
            well = False
        return NONE if well else [Fault((), f"{shown(value)} is not a {name}")]

    return check


def _all_of(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    checks = _schemas(compiler, schema, f"{at}/allOf")
    return lambda value: [fault for check in checks for fault in check(value)]


def _any_of(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    checks = _schemas(compiler, schema, f"{at}/anyOf")
    return lambda value: NONE if any(not list(check(value)) for check in checks) else [Fault((), "fits none of anyOf")]


def _one_of(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    checks = _schemas(compiler, schema, f"{at}/oneOf")

    def check(value: Any) -> Iterable[Fault]:
        fits = sum(not list(one(value)) for one in checks)
        return NONE if fits == 1 else [Fault((), f"fits {fits} of oneOf, not one")]

    return check


def _not(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    check = compiler.compile(schema["not"], f"{at}/not")
    return lambda value: NONE if list(check(value)) else [Fault((), "is what it must not be")]


def _ref(compiler: Compiler, schema: Mapping[str, Any], at: str) -> Check:
    return compiler.reference(schema["$ref"]) if isinstance(schema["$ref"], str) else _refuse("expected text")


def _in(step: str | int, fault: Fault) -> Fault:
    return Fault((step, *fault.path), fault.text)


def _refuse(text: str) -> Check:
    raise Wrong(text)


def _schemas(compiler: Compiler, schema: Mapping[str, Any], at: str) -> list[Check]:
    parts = schema[at.rsplit("/", 1)[1]]
    if not isinstance(parts, list) or not parts:
        raise Wrong("expected a list of schemas")
    return [compiler.compile(part, f"{at}/{number}") for number, part in enumerate(parts)]


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Wrong(f"expected a mapping, got {kind_of(value)}")
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Wrong(f"expected a list of names, got {shown(value)}")
    return value


def _regex(pattern: object) -> re.Pattern[str]:
    try:
        return re.compile(pattern) if isinstance(pattern, str) else _not_text(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Wrong(f"{shown(pattern)} is not a regular expression: {error}") from None


def _not_text(value: object) -> re.Pattern[str]:
    raise Wrong(f"expected text, got {shown(value)}")


Keyword = Callable[[Compiler, Mapping[str, Any], str], Check]

ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
)  # fmt: skip
"""Keywords that ask nothing of a value."""

KEYWORDS: Final[Mapping[str, Keyword]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "dependentRequired": _dependent_required,
    "minProperties": _size("minProperties", (Mapping,), lambda size, bound: size >= bound, "below"),
    "maxProperties": _size("maxProperties", (Mapping,), lambda size, bound: size <= bound, "above"),
    "items": _items,
    "prefixItems": _prefix_items,
    "uniqueItems": _unique_items,
    "minItems": _size("minItems", (list, tuple), lambda size, bound: size >= bound, "below"),
    "maxItems": _size("maxItems", (list, tuple), lambda size, bound: size <= bound, "above"),
    "minLength": _size("minLength", (str,), lambda size, bound: size >= bound, "below"),
    "maxLength": _size("maxLength", (str,), lambda size, bound: size <= bound, "above"),
    "minimum": _bound("minimum", lambda value, bound: value >= bound, "below"),
    "maximum": _bound("maximum", lambda value, bound: value <= bound, "above"),
    "exclusiveMinimum": _bound("exclusiveMinimum", lambda value, bound: value > bound, "not above"),
    "exclusiveMaximum": _bound("exclusiveMaximum", lambda value, bound: value < bound, "not below"),
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "format": _format,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "$ref": _ref,
}
"""Each keyword with what compiles it."""
