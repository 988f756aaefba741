"""Values of a type: a hypothesis strategy for anything that can be written in an annotation of a spec or an observation.

Pydantic models, msgspec structs, dataclasses, named tuples and what they are made of, with the constraints written there. Odd values are
among them on purpose: empty texts, huge numbers, and infinity and NaN where the type does not exclude them.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types
import msgspec
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

try:
    from hypothesis import reject
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "this part of setpoint.testing needs hypothesis, which is not installed: pip install 'setpoint[testing]'"
    ) from error

__all__ = ["TEXTS", "Strategy", "st", "values"]

Strategy = st.SearchStrategy[Any]

FEW = 4
"""Elements of a list or mapping at most."""
LONGEST_TEXT = 30
TEXTS = st.text(max_size=LONGEST_TEXT)
ODD_NUMBERS = (0.0, 1.0, -1.0, 1e-9, 1e308, math.inf, -math.inf, math.nan)
"""Numbers that devices and users do give, and that break what nobody tried with them."""
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
PLAIN = SCALARS | st.lists(SCALARS, max_size=FEW) | st.dictionaries(TEXTS, SCALARS, max_size=FEW)
"""Plain data, as in a config file."""


def values(kind: Any) -> Strategy:
    """Any value of a type, as it is written in an annotation. Raises `TypeError` for a type that cannot be made."""
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return PLAIN
    if kind is None or kind is type(None):
        return st.none()
    made = _of_generic(kind) if get_origin(kind) is not None else _of_class(kind)
    if made is not None:
        return made
    try:
        made = st.from_type(kind)
        made.validate()
    except Exception as error:
        raise TypeError(f"no strategy for {kind!r}: give one yourself ({type(error).__name__}: {error})") from error
    return made


def _of_class(kind: Any) -> Strategy | None:
    simple: Mapping[Any, Strategy] = {
        bool: st.booleans(),
        int: st.integers(-3, 3) | st.integers(),
        float: st.sampled_from(ODD_NUMBERS) | st.floats(),
        str: TEXTS,
        bytes: st.binary(max_size=LONGEST_TEXT),
        list: st.lists(PLAIN, max_size=FEW),
        dict: st.dictionaries(TEXTS, PLAIN, max_size=FEW),
    }
    if kind in simple:
        return simple[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type) and _is_record(kind):
        return st.deferred(lambda: _records(kind))  # a type may have itself inside
    return None


def _of_generic(kind: Any) -> Strategy | None:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _constrained(inner[0], inner[1:])
    if origin in (Union, types.UnionType):
        return st.one_of([values(each) for each in inner])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return st.tuples(*map(values, inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=FEW)
    if isinstance(origin, type) and issubclass(origin, Collection):
        elements = st.lists(values(inner[0]), max_size=FEW)
        if issubclass(origin, Set):
            return elements.map(set if origin is set else frozenset)
        return elements.map(tuple) if origin is tuple else elements
    return None


def _constrained(kind: Any, constraints: Sequence[Any]) -> Strategy:
    """Values within constraints of annotated-types, pydantic or msgspec; other metadata says nothing about values."""
    constraints = [*_flat(constraints)]
    known = [each for constraint in constraints for each in _constraints_of(constraint)]
    pattern = next((each.pattern for each in constraints if getattr(each, "pattern", None)), None)
    if pattern is not None and kind is str:
        return st.from_regex(pattern)
    bounded: Any = Annotated[kind, *known] if known else kind
    made = st.from_type(bounded) if known and kind in (int, float, str, bytes) else values(kind)
    if known and kind is float:
        odd = [number for number in ODD_NUMBERS if all(_allows(each, number) for each in known)]
        made = st.sampled_from(odd) | made if odd else made
    finite = any(getattr(each, "allow_inf_nan", None) is False for each in constraints)
    return made.filter(lambda value: abs(value) < math.inf) if finite else made


def _allows(constraint: Any, number: float) -> bool:
    """Whether a bound allows the number; one of another kind is taken to forbid it."""
    bounds = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}
    return any(
        compare(number, getattr(constraint, name)) for name, compare in bounds.items() if hasattr(constraint, name)
    )


def _flat(constraints: Iterable[Any]) -> Iterator[Any]:
    """The constraints, with those in pydantic's ``Field(...)`` and in groups of annotated-types one by one."""
    for each in constraints:
        if isinstance(each, FieldInfo):
            yield from _flat(each.metadata)
        elif isinstance(each, annotated_types.GroupedMetadata):
            yield from _flat(each)
        else:
            yield each


def _constraints_of(metadata: Any) -> list[Any]:
    if isinstance(metadata, annotated_types.BaseMetadata):
        return [metadata]
    if isinstance(metadata, msgspec.Meta):
        bounds = {
            "ge": annotated_types.Ge,
            "gt": annotated_types.Gt,
            "le": annotated_types.Le,
            "lt": annotated_types.Lt,
        }
        found: list[Any] = [
            bound(getattr(metadata, name)) for name, bound in bounds.items() if getattr(metadata, name) is not None
        ]
        if metadata.min_length is not None or metadata.max_length is not None:
            found += annotated_types.Len(metadata.min_length or 0, metadata.max_length)
        return found
    return []


def _is_record(kind: type) -> bool:
    return (
        issubclass(kind, BaseModel | msgspec.Struct)
        or dataclasses.is_dataclass(kind)
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


def _records(kind: Any) -> Strategy:
    """Instances of a class with typed fields."""

    def build(fields: dict[str, Any]) -> Any:
        try:
            return kind(**fields)
        except (ValidationError, ValueError):  # fields that do not go together
            reject()

    return st.fixed_dictionaries(dict(_fields(kind))).map(build)


def _fields(kind: Any) -> Iterator[tuple[str, Strategy]]:
    """The name and the values of each field."""
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            default = partial(field.get_default, call_default_factory=True)
            annotation: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            yield field.alias or name, _field(annotation, None if field.is_required() else default)
        return
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, msgspec.Struct):
        for each in msgspec.structs.fields(kind):
            yield each.name, _field(hints[each.name], _default(each.default, each.default_factory, msgspec.NODEFAULT))
    elif dataclasses.is_dataclass(kind):
        for part in dataclasses.fields(kind):
            if part.init:
                usual = _default(part.default, part.default_factory, dataclasses.MISSING)
                yield part.name, _field(hints[part.name], usual)
    else:
        for name in getattr(kind, "_fields", ()):
            yield name, values(hints.get(name, Any))


def _field(annotation: Any, default: Callable[[], Any] | None) -> Strategy:
    """The values of a field; often its default, except where there are few values anyway."""
    few = annotation is bool or get_origin(annotation) is Literal
    return values(annotation) if default is None or few else st.builds(default) | values(annotation)


def _default(value: Any, factory: Any, missing: Any) -> Callable[[], Any] | None:
    if value is not missing:
        return lambda: value
    return factory if factory is not missing else None
