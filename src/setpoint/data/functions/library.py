"""The functions that are built in, by the names that files use: ``validators.RangeValidator``, ``transformers.map_fields``.

The part before the dot may be left out.

Each has two names. The long one takes its settings by name; the short one takes the fields themselves where the long one has a mapping of
them: ``RangeValidator`` with ``{field_ranges: {age: {min: 0}}}`` is ``range_check`` with ``{age: {min: 0}}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from setpoint.data.definition import Function, Role, Unresolved
from setpoint.data.functions import transformers, validators
from setpoint.data.functions.calling import check_params
from setpoint.data.functions.expressions import assignments
from setpoint.data.functions.fields import shown
from setpoint.data.functions.kinds import nearest

CHECKS: Final = frozenset({Role.CONDITION, Role.GATE, Role.VALIDATOR})
CHANGES: Final = frozenset({Role.TRANSFORM})


class BuiltIn(NamedTuple):
    """A factory of functions, the roles in which they serve, and whether its one argument is all params together."""

    make: Callable[..., Function]
    roles: frozenset[Role]
    whole: bool = False


def _check(make: Callable[..., Function], *, whole: bool = False) -> BuiltIn:
    return BuiltIn(make, CHECKS, whole)


def _change(make: Callable[..., Function], *, whole: bool = False) -> BuiltIn:
    return BuiltIn(make, CHANGES, whole)


VALIDATORS: Final[Mapping[str, BuiltIn]] = {
    "RequiredFieldsValidator": _check(validators.required),
    "required_fields": _check(validators.required),
    "SchemaValidator": _check(validators.schema),
    "schema": _check(validators.schema),
    "build_record_validator": _check(validators.schema, whole=True),
    "gate": _check(validators.schema, whole=True),
    "RangeValidator": _check(validators.ranges),
    "range_check": _check(validators.ranges, whole=True),
    "PatternValidator": _check(validators.patterns),
    "pattern": _check(validators.patterns, whole=True),
    "TypeValidator": _check(validators.types),
    "type_check": _check(validators.types, whole=True),
    "LengthValidator": _check(validators.lengths),
    "length": _check(validators.lengths, whole=True),
    "UniqueValidator": _check(validators.unique),
    "unique": _check(validators.unique),
    "DependencyValidator": _check(validators.dependencies),
    "depends_on": _check(validators.dependencies, whole=True),
}
TRANSFORMERS: Final[Mapping[str, BuiltIn]] = {
    "FieldMapper": _change(transformers.map_fields),
    "map_fields": _change(transformers.map_fields, whole=True),
    "ValueNormalizer": _change(transformers.normalize),
    "normalize": _change(transformers.normalize, whole=True),
    "TypeConverter": _change(transformers.convert_types),
    "convert_types": _change(transformers.convert_types, whole=True),
    "DataEnricher": _change(transformers.enrich),
    "enrich": _change(transformers.enrich, whole=True),
    "FieldFilter": _change(transformers.filter_fields),
    "filter_fields": _change(transformers.filter_fields),
    "PatternExtractor": _change(transformers.extract),
    "extract": _change(transformers.extract),
    "ValueReplacer": _change(transformers.replace_values),
    "replace_values": _change(transformers.replace_values, whole=True),
    "ArrayFlattener": _change(transformers.flatten),
    "flatten": _change(transformers.flatten),
    "DataSplitter": _change(transformers.split_on),
    "split_on": _change(transformers.split_on),
    "set": _change(assignments, whole=True),
}
BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    **VALIDATORS,
    **TRANSFORMERS,
    **{f"validators.{name}": one for name, one in VALIDATORS.items()},
    **{f"transformers.{name}": one for name, one in TRANSFORMERS.items()},
}
"""Every name with its factory."""


def built_in(name: str, role: Role, params: Mapping[str, Any]) -> Function:
    """The function built in under that name, with its settings. Raises `Unresolved`."""
    make, roles, whole = BUILT_IN[name]
    if role not in roles:
        kind = "changes records" if roles is CHANGES else "checks records"
        raise Unresolved(f"{name} {kind}, so it cannot be a {role}{_instead(role)}")
    if not whole:
        check_params(make, name, params)
    try:
        return make(params) if whole else make(**params)
    except (ValueError, TypeError) as error:
        raise Unresolved(f"{name}: {error}") from error


def unknown(name: str, known: Mapping[str, object]) -> Unresolved:
    """What to raise for a name that stands for nothing."""
    hint = nearest(name, {**known, **BUILT_IN})
    return Unresolved(
        f"there is no function {shown(name)}{hint}: register it (functions={{{shown(name)}: ...}}), or name it as module:function"
    )


def _instead(role: Role) -> str:
    names = TRANSFORMERS if role is Role.TRANSFORM else VALIDATORS
    return f"; there are {', '.join(name for name in names if name.islower())}"
