"""Validators built in: each factory takes what a file says and gives a check of one record.

A check answers True, or a `Verdict` that is not ok and says everything that is wrong. It never changes the record and never raises for what
is in it. Fields are names or dotted paths; a field that is absent passes every check but that for required fields.

Factories raise `ValueError` for settings that make no sense, so that a wrong one fails when the machine is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from setpoint.data.functions.fields import MISSING, Record, getter, kind_of, shown
from setpoint.data.functions.kinds import frozen, nearest
from setpoint.data.functions.schema import (
    FieldCheck,
    at_least,
    at_most,
    compile_record_schema,
    matching,
    of_kind,
)
from setpoint.machine import Verdict

Answer = bool | Verdict
Validator = Callable[[Any], Answer]
MOST_FAULTS: Final = 8
"""Faults of one record that a verdict names; the rest is counted."""


def verdict(faults: Sequence[object]) -> Answer:
    """True where there are no faults, else the verdict that names them."""
    if not faults:
        return True
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return Verdict(False, "; ".join(map(str, faults[:MOST_FAULTS])) + more)


def required(fields: Sequence[str], allow_none: bool = False) -> Validator:
    """The fields must be there, and must not be None unless `allow_none`."""
    getters = [(name, getter(name)) for name in names(fields)]

    def check(record: Record) -> list[str]:
        found = [(name, get(record)) for name, get in getters]
        faults = [f"{name}: is missing" for name, value in found if value is MISSING]
        return faults + [f"{name}: is None" for name, value in found if value is None and not allow_none]

    return _of_fields(check)


def schema(schema: object) -> Validator:
    """The record must fit a schema: JSON Schema, the form of fields, or a pydantic model (whose conversions count as fitting)."""
    if hasattr(schema, "model_validate"):
        return _pydantic(schema)
    check = compile_record_schema(schema)

    def fits(record: Any) -> Answer:
        faults = check(record)
        return verdict(faults) if faults else True

    return fits


def ranges(field_ranges: Mapping[str, Mapping[str, float]]) -> Validator:
    """Each field must be a number from `min` to `max`, both included, either of which may be left out."""
    bounds = {"min": at_least, "max": at_most}
    return _of_values({name: _options(name, asked, bounds) for name, asked in _mapping(field_ranges).items()})


def patterns(field_patterns: Mapping[str, str], flags: int | str | Sequence[str] = 0) -> Validator:
    """Each field must be text that begins with what its regular expression describes. `flags` by name, as ``ignorecase``."""
    return _of_values({name: [matching(asked, _flags(flags))] for name, asked in _mapping(field_patterns).items()})


def types(field_types: Mapping[str, object], strict: bool = False) -> Validator:
    """Each field must be of its type, or of one of its types; with `strict` there may be no other fields. Types by name or class."""
    known = frozenset(_mapping(field_types))
    of_values = _of_values({name: [of_kind(asked)] for name, asked in field_types.items()})
    if not strict:
        return of_values

    def check(record: Any) -> Answer:
        answer = of_values(record)
        if not isinstance(record, Mapping):
            return answer
        faults = [answer.because] if isinstance(answer, Verdict) else []
        return verdict(faults + [f"{name}: is not an expected field" for name in record if name not in known])

    return check


def lengths(field_lengths: Mapping[str, Mapping[str, int]]) -> Validator:
    """Each field must have a length within `min` and `max`, or of exactly `exact`."""
    bounds = {
        "min": _length(lambda size, bound: size >= bound, "below"),
        "max": _length(lambda size, bound: size <= bound, "above"),
        "exact": _length(lambda size, bound: size == bound, "not"),
    }
    return _of_values({name: _options(name, asked, bounds) for name, asked in _mapping(field_lengths).items()})


def unique(fields: Sequence[str], key: str | None = None) -> Validator:
    """Each field must be a list in which nothing is twice; with `key`, no two of its items have the same there."""
    get = getter(key) if key is not None else None

    def check(value: Any) -> str:
        if not isinstance(value, list | tuple | set | frozenset):
            return f"is {kind_of(value)}, not a list"
        items = value if get is None else [get(item) if isinstance(item, Mapping) else MISSING for item in value]
        if MISSING in items:
            return f"has an item without {key!r}"
        twice = _twice(items)
        return f"has {', '.join(twice)} more than once" if twice else ""

    return _of_values({name: [check] for name in names(fields)})


def dependencies(dependencies: Mapping[str, str | Sequence[str]]) -> Validator:
    """Where the field is, the fields it depends on must be, too."""
    needs = [
        (name, getter(name), [(other, getter(other)) for other in names(others)])
        for name, others in _mapping(dependencies).items()
    ]

    def check(record: Record) -> list[str]:
        return [
            f"{name}: needs {other}, which is missing"
            for name, get, others in needs
            if get(record) is not MISSING
            for other, get_other in others
            if get_other(record) is MISSING
        ]

    return _of_fields(check)


def names(fields: object) -> list[str]:
    """A list of names from a list of texts, or from one text. Raises `ValueError`."""
    given = [fields] if isinstance(fields, str) else fields
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ValueError(f"expected names of fields, got {shown(fields)}")
    return list(given)


def _of_fields(faults_of: Callable[[Record], list[str]]) -> Validator:
    def check(record: Any) -> Answer:
        if not isinstance(record, Mapping):
            return Verdict(False, f"the record is {kind_of(record)}, not a mapping of fields")
        faults = faults_of(record)
        return verdict(faults) if faults else True

    return check


def _of_values(checks: Mapping[str, Sequence[FieldCheck]]) -> Validator:
    fields = [(name, getter(name), tuple(of_field)) for name, of_field in checks.items()]

    def faults_of(record: Record) -> list[str]:
        faults = []
        for name, get, of_field in fields:
            value = get(record)
            if value is not MISSING:
                faults += [f"{name}: {text}" for one in of_field if (text := one(value))]
        return faults

    return _of_fields(faults_of)


def _options(name: str, asked: object, known: Mapping[str, Callable[[Any], FieldCheck]]) -> list[FieldCheck]:
    if not isinstance(asked, Mapping) or not asked:
        raise ValueError(f"field {name!r}: expected a mapping with {', '.join(known)}, got {shown(asked)}")
    for key in asked:
        if key not in known:
            raise ValueError(
                f"field {name!r}: there is no {key!r}{nearest(str(key), known)}; expected {', '.join(known)}"
            )
    try:
        return [known[key](bound) for key, bound in asked.items()]
    except ValueError as error:
        raise ValueError(f"field {name!r}: {error}") from None


def _length(holds: Callable[[int, int], bool], text: str) -> Callable[[Any], FieldCheck]:
    def bounded(bound: Any) -> FieldCheck:
        if not isinstance(bound, int) or isinstance(bound, bool) or bound < 0:
            raise ValueError(f"a length is a whole number of at least 0, not {shown(bound)}")

        def check(value: Any) -> str:
            if not hasattr(value, "__len__"):
                return f"is {kind_of(value)}, which has no length"
            return "" if holds(len(value), bound) else f"has a length of {len(value)}, {text} {bound}"

        return check

    return bounded


def _twice(items: Iterable[Any]) -> list[str]:
    seen: set[object] = set()
    twice: dict[object, str] = {}
    for item in items:
        same = frozen(item)
        if same in seen:
            twice[same] = shown(item)
        seen.add(same)
    return list(twice.values())


def _flags(flags: object) -> re.RegexFlag:
    if isinstance(flags, int) and not isinstance(flags, bool):
        return re.RegexFlag(flags)
    given = re.RegexFlag(0)
    for name in names(flags):
        if name.upper() not in re.RegexFlag.__members__:
            raise ValueError(
                f"there is no flag {name!r}{nearest(name.lower(), map(str.lower, re.RegexFlag.__members__))}"
            )
        given |= re.RegexFlag[name.upper()]
    return given


def _mapping(given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"expected a mapping of fields, got {shown(given)}")
    return given


def _pydantic(model: Any) -> Validator:
    from pydantic import ValidationError

    def check(record: Any) -> Answer:
        try:
            model.model_validate(record)
        except ValidationError as error:
            return verdict([f"{'.'.join(map(str, one['loc'])) or 'record'}: {one['msg']}" for one in error.errors()])
        return True

    return check
