"""Schemas: what a record must look like, written in a file in one of two forms, compiled once.

The form of fields names each field with what holds of it; a field that is absent is asked nothing but whether it is required::

    name: true                                       # must be there
    email: str                                       # if it is there, it is text
    age: {required: true, type: int, min: 0, max: 150}
    code: {pattern: "[A-Z]{3}", enum: [ABC, DEF]}    # the pattern is matched from the start

The other form is JSON Schema (`setpoint.data.functions.jsonschema`), recognised by what only it has on top: ``type: object``, a mapping
of schemas under ``properties``, a list under ``required``, ``$ref``, ``anyOf`` and the like.

What nothing here reads is refused when the schema is compiled. A check gives all faults of a record, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from setpoint.data.functions.fields import MISSING, getter, kind_of, shown
from setpoint.data.functions.jsonschema import compile_schema
from setpoint.data.functions.keywords import Fault
from setpoint.data.functions.kinds import frozen, is_number, kind_test, kind_text, nearest

RecordCheck = Callable[[Any], list[Fault]]
FieldCheck = Callable[[Any], str]
"""Gives what is wrong with the value of a field, or an empty text."""

_ONLY_JSON_SCHEMA: Final = frozenset(
    {"$schema", "$id", "$ref", "$defs", "allOf", "anyOf", "oneOf", "additionalProperties"}
)


def compile_record_schema(schema: object) -> RecordCheck:
    """The check that a schema of either form stands for. Raises `ValueError` that says what in the schema is wrong, and where."""
    if not isinstance(schema, Mapping):
        raise ValueError(f"a schema is a mapping, not {kind_of(schema)}")
    return compile_schema(schema) if is_json_schema(schema) else compile_fields(schema)


def is_json_schema(schema: Mapping[Any, Any]) -> bool:
    """Whether the schema is written in JSON Schema rather than in the form of fields."""
    properties, required = schema.get("properties"), schema.get("required")
    return (
        schema.get("type") == "object"
        or isinstance(required, list)
        or not _ONLY_JSON_SCHEMA.isdisjoint(schema)
        or (isinstance(properties, Mapping) and all(isinstance(one, Mapping | bool) for one in properties.values()))
    )


def compile_fields(schema: Mapping[Any, Any]) -> RecordCheck:
    """The check for a schema in the form of fields. Raises `ValueError`."""
    fields = [(name, getter(str(name)), *_field(str(name), asked)) for name, asked in schema.items()]

    def check(record: Any) -> list[Fault]:
        if not isinstance(record, Mapping):
            return [Fault((), f"the record is {kind_of(record)}, not a mapping of fields")]
        faults = []
        for name, get, required, checks in fields:
            value = get(record)
            if value is not MISSING:
                faults += [Fault((name,), text) for text in (one(value) for one in checks) if text]
            elif required:
                faults.append(Fault((name,), "is missing"))
        return faults

    return check


def _field(name: str, asked: object) -> tuple[bool, list[FieldCheck]]:
    """Whether the field is required, and the checks of its value."""
    if asked is True:
        return True, []
    if isinstance(asked, str | list):
        asked = {"type": asked}
    if not isinstance(asked, Mapping):
        raise ValueError(
            f"field {name!r}: expected true, a type, or a mapping of {', '.join(_CHECKS)}; got {shown(asked)}"
        )
    checks = []
    for key, wanted in asked.items():
        if key == "required":
            if not isinstance(wanted, bool):
                raise ValueError(f"field {name!r}: required is true or false, not {shown(wanted)}")
            continue
        if key not in _CHECKS:
            raise ValueError(f"field {name!r}: there is no {key!r}{nearest(str(key), ['required', *_CHECKS])}")
        try:
            checks.append(_CHECKS[key](wanted))
        except ValueError as error:
            raise ValueError(f"field {name!r}: {key}: {error}") from None
    return asked.get("required", False), checks


def of_kind(wanted: object) -> FieldCheck:
    """A check that a value is of a kind."""
    test, text = kind_test(wanted), kind_text(wanted)
    return lambda value: "" if test(value) else f"is {kind_of(value)}, not {text}"


def at_least(bound: object) -> FieldCheck:
    """A check that a value is a number and not below the bound. No number, nan included, is wrong and passes."""
    _must_be_number(bound)
    return lambda value: _not_number(value) or ("" if value >= bound else f"{shown(value)} is below {bound}")


def at_most(bound: object) -> FieldCheck:
    """A check that a value is a number and not above the bound."""
    _must_be_number(bound)
    return lambda value: _not_number(value) or ("" if value <= bound else f"{shown(value)} is above {bound}")


def matching(pattern: object, flags: int = 0) -> FieldCheck:
    """A check that a value is text that begins with what the regular expression describes. Raises `ValueError` for a wrong one."""
    if not isinstance(pattern, str):
        raise ValueError(f"a pattern is text, not {shown(pattern)}")
    try:
        match = re.compile(pattern, flags).match
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{shown(pattern)} is not a regular expression: {error}") from None

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"is {kind_of(value)}, not text"
        return "" if match(value) else f"{shown(value)} does not match {pattern}"

    return check


def one_of(values: object) -> FieldCheck:
    """A check that a value is one of those listed."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"expected a list of values, got {shown(values)}")
    allowed = {frozen(value) for value in values}
    text = ", ".join(map(shown, values))

    def check(value: Any) -> str:
        try:
            found = frozen(value) in allowed
        except TypeError:  # not hashable, so not equal to anything in a file
            found = False
        return "" if found else f"{shown(value)} is not one of {text}"

    return check


def _must_be_number(bound: object) -> None:
    if not is_number(bound) or bound != bound:
        raise ValueError(f"a bound is a number, not {shown(bound)}")


def _not_number(value: object) -> str:
    return "" if is_number(value) and value == value else f"{shown(value)} is not a number"


_CHECKS: Final[Mapping[str, Callable[[object], FieldCheck]]] = {
    "type": of_kind,
    "min": at_least,
    "max": at_most,
    "pattern": matching,
    "enum": one_of,
}
"""What the form of fields can ask of a field that is there."""
