"""Transformers built in: each factory takes what a file says and gives a function from a record to the record that goes on.

What is given is never changed: the new record shares with the old one what stays as it is. Fields are names or dotted paths, except where
a field is one of all (``*``). Fields that are absent are left alone unless it says otherwise.

Factories raise `ValueError` for settings that make no sense, so that a wrong one fails when the machine is loaded. A transformer raises
for a record that it cannot work on: `TypeError` for one without fields, `ValueError` for what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from setpoint.data.functions.conversions import conversion
from setpoint.data.functions.fields import MISSING, fields_of, getter, kind_of, put, shown, without
from setpoint.data.functions.kinds import frozen
from setpoint.data.functions.normalizations import normalization
from setpoint.data.functions.validators import names
from setpoint.data.result import Several

Transformer = Callable[[Any], Any]


def map_fields(field_map: Mapping[str, str], drop_unmapped: bool = False, copy_unmapped: bool = True) -> Transformer:
    """Renames or moves fields, source to target; the others stay, unless they are dropped."""
    targets = list(_mapping(field_map).values())
    if len(set(names(targets))) != len(targets):
        raise ValueError(f"two fields would go to one: {', '.join(targets)}")
    moves = [(source, getter(source), target) for source, target in field_map.items()]
    keep = copy_unmapped and not drop_unmapped

    def transform(record: Any) -> dict[str, Any]:
        given = fields_of(record)
        found = [(source, target, value) for source, get, target in moves if (value := get(given)) is not MISSING]
        made: dict[str, Any] = given if keep else {}
        if keep:
            for source, _, _ in found:
                without(made, source)
        for _, target, value in found:
            put(made, target, value)
        return made

    return transform


def normalize(normalizations: Mapping[str, str | Sequence[str]], fields: Sequence[str] | None = None) -> Transformer:
    """Rewrites texts, by the names of normalizations; ``*`` is for the fields not named. `fields` limits it to these."""
    ways = {name: normalization(wanted) for name, wanted in _mapping(normalizations).items()}
    others = ways.pop("*", None)
    only = None if fields is None else names(fields)

    def transform(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        for name in only if only is not None else _named_or_all(made, ways, all_too=others is not None):
            way, value = ways.get(name, others), getter(name)(made)
            if way is not None and isinstance(value, str):
                put(made, name, way(value))
        return made

    return transform


def convert_types(conversions: Mapping[str, Any], strict: bool = False) -> Transformer:
    """Converts fields to types by name, by class or by any function. None stays None.

    What cannot be converted stays as it is; with `strict` it raises.
    """
    ways = [(name, getter(name), conversion(wanted)) for name, wanted in _mapping(conversions).items()]

    def transform(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        for name, get, convert in ways:
            value = get(made)
            if value is None or value is MISSING:
                continue
            try:
                put(made, name, convert(value))
            except Exception as error:
                if strict:
                    raise ValueError(f"{name}: cannot convert {shown(value)}: {error}") from error
        return made

    return transform


def enrich(enrichments: Mapping[str, Any], overwrite: bool = False) -> Transformer:
    """Adds fields that are not there, or sets them with `overwrite`: values as they are, or functions (of Python) of the record."""
    ways = [(name, getter(name), value) for name, value in _mapping(enrichments).items()]

    def transform(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        for name, get, value in ways:
            if overwrite or get(made) is MISSING:
                put(made, name, value(record) if callable(value) else _own(value))
        return made

    return transform


def filter_fields(include: Sequence[str] | None = None, exclude: Sequence[str] | None = None) -> Transformer:
    """Keeps only these fields, or all but these."""
    if (include is None) == (exclude is None):
        raise ValueError("give either include or exclude, a list of fields")
    if include is not None:
        kept = [(name, getter(name)) for name in names(include)]

        def only(record: Any) -> dict[str, Any]:
            given, made = fields_of(record), dict[str, Any]()
            for name, get in kept:
                if (value := get(given)) is not MISSING:
                    put(made, name, value)
            return {key: made[key] for key in given if key in made} | made

        return only
    left_out = names(exclude)

    def all_but(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        for name in left_out:
            without(made, name)
        return made

    return all_but


def extract(field: str, pattern: str, types: Mapping[str, Any] | None = None, keep: bool = False) -> Transformer:
    """Makes fields of the named groups of a regular expression that describes a whole text, the field `field`.

    A group that took no part gives none. `types` converts some of them, as `convert_types` does but strictly. The text itself goes unless
    `keep`. Raises `ValueError` for a text that is not so.
    """
    [name] = names(field)
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"the pattern {shown(pattern)} cannot be read: {error}") from None
    if not compiled.groupindex:
        raise ValueError(f"the pattern has no named group, (?P<name>…): {shown(pattern)}")
    if strange := [one for one in types or {} if one not in compiled.groupindex]:
        raise ValueError(f"the pattern has no group {', '.join(strange)}; it has {', '.join(compiled.groupindex)}")
    get, convert = getter(name), convert_types(types or {}, strict=True)

    def transform(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        text = get(made)
        found = compiled.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            what = "is missing" if text is MISSING else f"{shown(text)} is not as the pattern says"
            raise ValueError(f"{name}: {what}")
        if not keep:
            without(made, name)
        made.update(convert({group: value for group, value in found.groupdict().items() if value is not None}))
        return made

    return transform


def replace_values(
    replacements: Mapping[str, Mapping[Any, Any]], default_replacements: Mapping[Any, Any] | None = None
) -> Transformer:
    """Replaces values by others, field by field; `default_replacements` are for the fields not named."""
    tables = {name: _table(table) for name, table in _mapping(replacements).items()}
    others = _table(default_replacements or {})

    def transform(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        for name in _named_or_all(made, tables, all_too=bool(others)):
            new = _replaced(getter(name)(made), tables.get(name, others))
            if new is not MISSING:
                put(made, name, _own(new))
        return made

    return transform


def flatten(fields: Sequence[str], depth: int = 1) -> Transformer:
    """Puts lists within the list of a field in their place, `depth` levels of them; 0 means all."""
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
        raise ValueError(f"depth is a whole number of at least 0 (0 flattens all levels), not {shown(depth)}")
    getters = [(name, getter(name)) for name in names(fields)]

    def transform(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        for name, get in getters:
            if isinstance(value := get(made), list):
                put(made, name, list(_flat(value, depth or -1)))
        return made

    return transform


def split_on(split_field: str, output_field: str | None = "records") -> Transformer:
    """A record for each item of a list in the field, each with the other fields.

    They are put, as a list, into the field `output_field` of a record that has nothing else; where that is None the record itself is split
    and each part goes on by itself. Raises `ValueError` for a record without such a list.
    """
    [name] = names(split_field)
    get = getter(name)

    def transform(record: Any) -> Any:
        given = fields_of(record)
        items = get(given)
        if items is MISSING:
            raise ValueError(f"{name}: is missing, so there is nothing to split on")
        if not isinstance(items, list | tuple):
            raise ValueError(f"{name}: is {kind_of(items)}, not a list to split on")
        parts = [_with(given, name, item) for item in items]
        return Several(parts) if output_field is None else {output_field: parts}

    return transform


def _named_or_all(record: Mapping[Any, Any], named: Iterable[str], *, all_too: bool) -> list[str]:
    """The fields named, and with `all_too` the record's others."""
    return [*named, *(key for key in record if all_too and isinstance(key, str) and key not in named)]


def _with(record: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    made = {key: _own(one) for key, one in record.items() if key != path}
    put(made, path, value)
    return {key: made[key] for key in record if key in made} | made


def _own(value: Any) -> Any:
    """The value, such that no two records share what one of them could change."""
    return deepcopy(value) if isinstance(value, list | dict | set) else value


def _flat(items: list[Any], depth: int) -> Iterable[Any]:
    for item in items:
        if isinstance(item, list) and depth:
            yield from _flat(item, depth - 1)
        else:
            yield item


def _table(table: object) -> dict[object, Any]:
    if not isinstance(table, Mapping):
        raise ValueError(f"expected a mapping of old values to new ones, got {shown(table)}")
    return {frozen(old): new for old, new in table.items()}


def _replaced(value: Any, table: Mapping[object, Any]) -> Any:
    try:
        return table.get(frozen(value), MISSING)
    except TypeError:  # not hashable, so not in any table
        return MISSING


def _mapping(given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"expected a mapping of fields, got {shown(given)}")
    return given
