"""Reads a flow's configuration, in the shape Benthos uses, and says everything that is wrong with it at once.

::

    input:     {label: press, modbus: {…}}
    pipeline:  {processors: [{tag_processor: {…}}, {downsampler: {…}}]}
    output:    {uns: {}}

A component is a mapping with one key that names its kind, and an optional `label`. What no code reads is not accepted: unknown kinds,
fields and sections are faults, each with the path of keys that leads to it and, where there is one, the name that was probably meant.
`buffer`, `cache_resources` and `rate_limit_resources` may be there as long as they ask for nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo

from setpoint.flows.component import Context, Fields, Kind
from setpoint.secrets import names_a_secret

Path = tuple[str | int, ...]
SECTIONS = ("input", "pipeline", "output", "buffer", "cache_resources", "rate_limit_resources")
Checked = TypeVar("Checked", bound=Fields)
_LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*\Z")
_RESERVED = frozenset({"input", "output", "done", "failed", "dropped"})


class FlowProblem(NamedTuple):
    """One fault of a configuration: the keys that lead to it, what is wrong, and what may have been meant."""

    path: Path
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.path)
        return f"{where or '(top)'}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class FlowConfigError(ValueError):
    """The configuration is not one of a flow: `problems` lists every fault with the path to it."""

    def __init__(self, problems: Iterable[FlowProblem]) -> None:
        self.problems = list(problems)
        super().__init__(
            "the flow's configuration is not valid:\n" + "\n".join(f"  - {problem}" for problem in self.problems)
        )


class ComponentConfig(msgspec.Struct, frozen=True):
    """One component of a flow: its kind, its label or the name made for it, what makes it, and its checked fields."""

    kind: str
    name: str
    make: Callable[[Any, Context], Any]
    fields: Fields
    path: Path


class FlowConfig(msgspec.Struct, frozen=True):
    """A whole flow, checked."""

    input: ComponentConfig
    processors: tuple[ComponentConfig, ...]
    output: ComponentConfig


def parse(config: object) -> FlowConfig:
    """The checked configuration. Raises `FlowConfigError` with all faults at once."""
    from setpoint.flows.inputs import INPUTS
    from setpoint.flows.outputs import OUTPUTS
    from setpoint.flows.processors import PROCESSORS

    problems: list[FlowProblem] = []
    if not isinstance(config, Mapping):
        raise FlowConfigError(
            [FlowProblem((), f"expected a mapping with input, pipeline and output, got {_shown(config)}")]
        )
    problems += [_unknown((key,), key, "section", SECTIONS) for key in config if key not in SECTIONS]
    for section in ("buffer", "cache_resources", "rate_limit_resources"):
        problems += _refused(section, config.get(section))
    source = _component(config.get("input"), ("input",), "input", INPUTS, problems)
    processors = _processors(config.get("pipeline"), PROCESSORS, problems)
    sink = _component(config.get("output"), ("output",), "output", OUTPUTS, problems)
    problems += _same_names(processors)
    if problems or source is None or sink is None:
        raise FlowConfigError(problems)
    return FlowConfig(source, tuple(processors), sink)


def _refused(section: str, value: object) -> list[FlowProblem]:
    """Sections that may be there but must ask for nothing, because nothing would read them."""
    if not value or (
        section == "buffer" and isinstance(value, Mapping) and list(value) == ["none"] and not value["none"]
    ):
        return []
    hint = "flows wait for their output and lose nothing without one; remove it" if section == "buffer" else "remove it"
    return [FlowProblem((section,), f"{section} is not supported", hint)]


def _processors(section: object, known: Mapping[str, Kind[Any]], problems: list[FlowProblem]) -> list[ComponentConfig]:
    if section is None:
        return []
    if not isinstance(section, Mapping):
        problems.append(FlowProblem(("pipeline",), f"expected a mapping with processors, got {_shown(section)}"))
        return []
    for key in section:
        if key == "threads":
            problems.append(
                FlowProblem(("pipeline", key), "threads is not supported: messages keep their order", "remove it")
            )
        elif key != "processors":
            problems.append(_unknown(("pipeline", key), key, "field", ("processors",)))
    items = section.get("processors")
    if items is None:
        return []
    if not isinstance(items, list | tuple):
        problems.append(FlowProblem(("pipeline", "processors"), f"expected a list of processors, got {_shown(items)}"))
        return []
    found = (
        _component(item, ("pipeline", "processors", n), "processor", known, problems, n) for n, item in enumerate(items)
    )
    return [component for component in found if component is not None]


def _component(
    section: object,
    path: Path,
    role: str,
    known: Mapping[str, Kind[Any]],
    problems: list[FlowProblem],
    index: int | None = None,
) -> ComponentConfig | None:
    """The one component of a section; None when it is not one, with the reasons added to `problems`."""
    if not isinstance(section, Mapping) or not section:
        got = "nothing" if section is None or section == {} else _shown(section)
        problems.append(FlowProblem(path, f"expected one {role}, got {got}", f"one of {', '.join(sorted(known))}"))
        return None
    kinds = [key for key in section if key != "label"]
    if len(kinds) != 1:
        names = ", ".join(map(str, kinds)) or "none"
        problems.append(FlowProblem(path, f"expected exactly one {role}, got {names}"))
        return None
    kind = kinds[0]
    label = section.get("label") or ""
    if label and not (isinstance(label, str) and _LABEL.match(label) and label not in _RESERVED):
        message = f"label {label!r} must be a letter followed by letters, digits or _, and none of {', '.join(sorted(_RESERVED))}"
        problems.append(FlowProblem((*path, "label"), message))
    if kind not in known:
        problems.append(_unknown((*path, kind), kind, role, known))
        return None
    fields = checked_fields(known[kind].fields, section[kind], (*path, kind), problems)
    name = str(label) or (str(kind) if index is None else f"{kind}_{index}")
    return None if fields is None else ComponentConfig(kind, name, known[kind].make, fields, (*path, kind))


def checked_fields(model: type[Checked], values: object, path: Path, problems: list[FlowProblem]) -> Checked | None:
    """The values as fields; None when they are not, with the faults added to `problems`."""
    try:
        return model.model_validate({} if values is None else values)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            where = tuple(part for part in fault["loc"] if not (isinstance(part, str) and part.startswith("function-")))
            problems.append(_problem(model, path, where, fault))
        return None


def _problem(model: type[Fields], path: Path, where: Path, fault: Any) -> FlowProblem:
    if fault["type"] == "extra_forbidden":
        return _unknown((*path, *where), where[-1], "field", _names(model, where[:-1]))
    message = fault["msg"].removeprefix("Value error, ")
    secret = any(isinstance(part, str) and names_a_secret(part) for part in where)
    if fault["type"] != "missing" and not secret and not isinstance(fault["input"], Mapping):
        message += f", got {_shown(fault['input'])}" if _shown(fault["input"]) not in message else ""
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


def _unknown(path: Path, name: object, what: str, known: Iterable[str]) -> FlowProblem:
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names))}" if names else ""
    return FlowProblem(path, f"unknown {what} {name!r}", hint)


def _same_names(processors: list[ComponentConfig]) -> list[FlowProblem]:
    seen: dict[str, Path] = {}
    problems = []
    for component in processors:
        if component.name in seen:
            other = ".".join(map(str, seen[component.name]))
            problems.append(
                FlowProblem(component.path, f"the name {component.name!r} is also that of {other}", "change a label")
            )
        seen.setdefault(component.name, component.path)
    return problems


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
