"""Variables: what the specs of a subtree may name, and how a spec is written with them.

A spec given as plain data (mappings, lists, texts) may hold templates: ``{"address": "{{ .IP }}:{{ .PORT }}"}``. They are rendered for
each worker with what is in scope there, strictly: a variable that is missing is an error that says which ones there are. In scope are

    .IP, .PORT, …           the variables given with its own `ChildSpec` and with those above it; the nearest one wins
    .global.x               those of the whole tree, from the supervisor
    .location, .location_path   the levels of the plant, from the supervisor, completed by those given with a spec as ``location``
    .internal.id, .name, .parent, .type, .created_at   what the runtime knows

A rendered spec becomes the type that the worker declares in ``Worker[Spec, Desired, Observed]``; a spec that is given as an object of that
type is taken as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from setpoint.namespace.location import LocationError, location_path, merge
from setpoint.templates import Budget, Template, TemplateError, parse

RESERVED: Final = frozenset({"global", "internal", "location_path"})
"""Names that no variable of a user can have."""
MAX_STEPS: Final = 100_000
MAX_CHARACTERS: Final = 1_000_000
MAX_DEPTH: Final = 50


class SpecError(ValueError):
    """A spec cannot be used: where in it, what is wrong, and what to do."""


@dataclass(frozen=True)
class Scope:
    """What templates may name at one place of the tree. Location levels are numbered as in `setpoint.namespace.location`."""

    user: Mapping[str, Any] = field(default_factory=dict)
    everywhere: Mapping[str, Any] = field(default_factory=dict)
    location: Mapping[int, str] = field(default_factory=dict)

    def below(self, variables: Mapping[str, Any]) -> Scope:
        """The scope of a child that is given these variables. Raises `SpecError` for a name that is reserved, or a bad location."""
        if not variables:
            return self
        if taken := RESERVED & variables.keys():
            raise SpecError(f"the variable name {sorted(taken)[0]!r} is reserved; choose another")
        own = dict(variables)
        try:
            location = merge(self.location, own.pop("location")) if "location" in own else self.location
        except (LocationError, AttributeError, TypeError) as error:
            raise SpecError(f"the variable 'location': {error}") from None
        return dataclasses.replace(self, user={**self.user, **own}, location=location)

    def names(self, internal: Mapping[str, Any]) -> dict[str, Any]:
        """Everything a template may name."""
        levels = {str(level): value for level, value in self.location.items()}
        path = location_path(self.location) if self.location else ""
        return {
            **self.user,
            "global": dict(self.everywhere),
            "internal": dict(internal),
            "location": levels,
            "location_path": path,
        }


def rendered(spec: Any, scope: Scope, internal: Mapping[str, Any]) -> Any:
    """The spec with every template in it rendered; what is no plain data is returned as it is. Raises `SpecError`."""
    if not _dynamic(spec, set()):
        return spec
    return _render(spec, scope.names(internal), Budget(MAX_STEPS, MAX_CHARACTERS), "")


def _dynamic(value: Any, seen: set[int], depth: int = 0) -> bool:
    """Whether there is a template in it. A part that stands in several places, as with anchors in YAML, is looked at once."""
    if isinstance(value, str):
        return "{{" in value
    if not isinstance(value, Mapping | list | tuple) or id(value) in seen:
        return False
    if depth > MAX_DEPTH:
        raise SpecError(f"the spec is nested deeper than {MAX_DEPTH} levels")
    seen.add(id(value))
    children = value.values() if isinstance(value, Mapping) else value
    return any(_dynamic(child, seen, depth + 1) for child in children)


def _render(value: Any, names: Mapping[str, Any], budget: Budget, place: str) -> Any:
    budget.steps -= 1
    if budget.steps < 0:
        raise SpecError("the spec renders to more values than are allowed; use a smaller one")
    if isinstance(value, Mapping):
        return {
            key: _render(child, names, budget, f"{place}.{key}" if place else str(key)) for key, child in value.items()
        }
    if isinstance(value, list | tuple):
        return [_render(child, names, budget, f"{place}[{index}]") for index, child in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    try:
        return _template(value).render(names, budget)
    except TemplateError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise SpecError(f"{place or 'the spec'}: {error.message}{hint}") from None


@lru_cache(maxsize=1000)
def _template(text: str) -> Template:
    return parse(text)


def as_type(spec: Any, wanted: Any) -> Any:
    """Plain data as an object of the type that the worker declares. Raises `SpecError` with every fault and its place.

    An object that is no plain data, and a worker that declares no type, leave the spec as it is.
    """
    if wanted is Any or wanted is None or not _is_plain(spec):
        return spec
    data = {} if spec is None and _has_fields(wanted) else spec
    try:
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            return msgspec.convert(data, wanted, strict=False)
        return _adapter(wanted).validate_python(data)
    except msgspec.ValidationError as error:
        raise SpecError(str(error)) from None
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'the spec'}: {fault['msg']}" for fault in error.errors())
        raise SpecError("; ".join(faults)) from None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | Mapping | list | tuple)


def _has_fields(wanted: Any) -> bool:
    return isinstance(wanted, type) and (
        issubclass(wanted, BaseModel | msgspec.Struct) or dataclasses.is_dataclass(wanted)
    )


@lru_cache(maxsize=1000)
def _adapter(wanted: Any) -> TypeAdapter[Any]:
    return TypeAdapter(wanted)
