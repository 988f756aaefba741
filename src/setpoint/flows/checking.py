"""Checks one component of a flow: a mapping with one key that names its kind, and an optional `label`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo

from setpoint.flows.component import Context, Fields, Kind
from setpoint.flows.problems import FlowConfigError, FlowProblem, Path, shown, unknown
from setpoint.flows.scope import EMPTY, Scope
from setpoint.secrets import names_a_secret

Checked = TypeVar("Checked", bound=Fields)
_LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*\Z")
_RESERVED = frozenset({"input", "output", "done", "failed", "dropped"})


class ComponentConfig(msgspec.Struct, frozen=True):
    """One component of a flow: its kind, its label or the name made for it, what makes it, and its checked fields."""

    kind: str
    name: str
    make: Callable[[Any, Context], Any]
    fields: Fields
    path: Path


def component(
    section: object,
    path: Path,
    role: str,
    known: Mapping[str, Kind[Any]],
    problems: list[FlowProblem],
) -> ComponentConfig | None:
    """The one component of a section; None when it is not one, with the reasons added to `problems`.

    Without a label it is called like its kind.
    """
    chosen = chosen_kind(section, path, role, known, problems)
    return None if chosen is None else of_kind(chosen, path, role, known, problems)


def of_kind(
    chosen: Chosen,
    path: Path,
    role: str,
    known: Mapping[str, Kind[Any]],
    problems: list[FlowProblem],
    *,
    scope: Scope = EMPTY,
) -> ComponentConfig | None:
    """The component of a kind that was chosen; None as in `component`."""
    if chosen.kind not in known:
        problems.append(unknown((*path, chosen.kind), chosen.kind, role, known))
        return None
    kind, path = known[chosen.kind], (*path, chosen.kind)
    fields = checked_fields(kind.fields, chosen.values, path, problems, scope=scope)
    return None if fields is None else ComponentConfig(chosen.kind, chosen.name, kind.make, fields, path)


class Chosen(NamedTuple):
    """The kind that a section names, what it is called, and what is said of it."""

    kind: str
    name: str
    values: Any


def chosen_kind(
    section: object, path: Path, role: str, known: Iterable[str], problems: list[FlowProblem], *, name: str = "{}"
) -> Chosen | None:
    """The one kind that a section names; None when there is none, or several.

    Without a label it is called `name`, with the kind in the place of ``{}``.
    """
    if not isinstance(section, Mapping) or not section:
        got = "nothing" if section is None or section == {} else shown(section)
        problems.append(FlowProblem(path, f"expected one {role}, got {got}", f"one of {', '.join(sorted(known))}"))
        return None
    kinds = [key for key in section if key != "label"]
    if len(kinds) != 1:
        names = ", ".join(map(str, kinds)) or "none"
        problems.append(FlowProblem(path, f"expected exactly one {role}, got {names}"))
        return None
    label = section.get("label") or ""
    if label and not (isinstance(label, str) and _LABEL.match(label) and label not in _RESERVED):
        message = f"label {label!r} must be a letter followed by letters, digits or _, and none of {', '.join(sorted(_RESERVED))}"
        problems.append(FlowProblem((*path, "label"), message))
    kind = str(kinds[0])
    return Chosen(kind, str(label) or name.replace("{}", kind), section[kinds[0]])


def checked_fields(
    model: type[Checked], values: object, path: Path, problems: list[FlowProblem], *, scope: Scope = EMPTY
) -> Checked | None:
    """The values as fields; None when they are not, with the faults added to `problems`."""
    try:
        return model.model_validate({} if values is None else values, context=scope)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            where = tuple(part for part in fault["loc"] if not (isinstance(part, str) and part.startswith("function-")))
            raised = fault.get("ctx", {}).get("error")
            if isinstance(raised, FlowConfigError):  # of processors within a processor
                problems += [problem._replace(path=(*path, *where, *problem.path)) for problem in raised.problems]
            else:
                problems.append(_problem(model, path, where, fault))
        return None


def _problem(model: type[Fields], path: Path, where: Path, fault: Any) -> FlowProblem:
    if fault["type"] == "extra_forbidden":
        return unknown((*path, *where), where[-1], "field", _names(model, where[:-1]))
    message = fault["msg"].removeprefix("Value error, ")
    secret = any(isinstance(part, str) and names_a_secret(part) for part in where)
    if fault["type"] != "missing" and not secret and not isinstance(fault["input"], Mapping):
        message += f", got {shown(fault['input'])}" if shown(fault["input"]) not in message else ""
    return FlowProblem((*path, *where), message)


def _names(model: type[Fields], where: Path) -> list[str]:
    """The field names that would have been known at this place inside the model."""
    for part in where:
        if isinstance(part, str):
            field = next(
                (field for name, field in model.model_fields.items() if part in (name, *_written(name, field))), None
            )
            inner = _inner(field.annotation) if field else None
            if inner is None:
                return []
            model = inner
    return [name for known, field in model.model_fields.items() for name in _written(known, field)]


def _written(name: str, field: FieldInfo) -> list[str]:
    """How a field may be written."""
    if isinstance(field.validation_alias, AliasChoices):
        return [choice for choice in field.validation_alias.choices if isinstance(choice, str)]
    return [field.alias or name]


def _inner(annotation: Any) -> type[Fields] | None:
    """The model inside an annotation such as ``list[Address]`` or ``Deadband | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Fields):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _inner(part))), None)
