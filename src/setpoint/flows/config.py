"""Reads a flow's configuration, in the shape Benthos uses, and says everything that is wrong with it at once.

::

    input:     {label: press, modbus: {…}}
    pipeline:  {processors: [{tag_processor: {…}}, {downsampler: {…}}]}
    output:    {uns: {}}
    dead_letter: {file: {path: failed.jsonl}}
    buffer:    {memory: {messages: 1000, overflow: drop_oldest}}
    cache_resources:      [{label: seen, memory: {default_ttl: 10m}}]
    rate_limit_resources: [{label: slow, local: {count: 10, interval: 1s}}]

A component is a mapping with one key that names its kind, and an optional `label`. What no code reads is not accepted: unknown kinds,
fields and sections are faults, each with the path of keys that leads to it and, where there is one, the name that was probably meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as File
from typing import Any, Literal, TypeVar

import msgspec
from pydantic import Field

from setpoint.flows.checking import ComponentConfig, checked_fields, chosen_kind, component
from setpoint.flows.component import Fields, Kind
from setpoint.flows.pipeline import Reader, Step, components, same_names
from setpoint.flows.problems import FlowConfigError, FlowProblem, Path, shown, unknown
from setpoint.flows.scope import CacheFields, LimitFields, LocalLimit, MemoryCache, Scope

__all__ = [
    "Buffer",
    "ComponentConfig",
    "FlowConfig",
    "FlowConfigError",
    "FlowProblem",
    "Path",
    "checked_fields",
    "parse",
]

SECTIONS = ("input", "pipeline", "output", "dead_letter", "buffer", "cache_resources", "rate_limit_resources")
Resource = TypeVar("Resource")


class Buffer(msgspec.Struct, frozen=True):
    """What a flow may hold between its input and its output, and what becomes of more than that."""

    limit_bytes: int
    messages: int
    overflow: Literal["block", "drop_oldest"]


class BufferFields(Fields):
    """The section `memory` of a `buffer`: `limit` in bytes of payload, `messages` in their number; whichever is reached first."""

    limit: int = Field(default=16 * 1024 * 1024, ge=1024)
    messages: int = Field(default=10_000, ge=1)
    overflow: Literal["block", "drop_oldest"] = "block"


class FlowConfig(msgspec.Struct, frozen=True):
    """A whole flow, checked.

    `steps` is the pipeline as it is written, `processors` are all that are in it, `switch`, `try` and `catch` taken apart; each is called
    like the state in which it works. `dead_letter` is the output for messages that failed, `buffer` is None where the input waits for the
    output.
    """

    input: ComponentConfig
    processors: tuple[ComponentConfig, ...]
    output: ComponentConfig
    dead_letter: ComponentConfig | None = None
    buffer: Buffer | None = None
    steps: tuple[Step, ...] = ()


def parse(config: object, *, base: File | None = None) -> FlowConfig:
    """The checked configuration. Raises `FlowConfigError` with all faults at once.

    `base` is the folder that relative paths of files which are read now start from; without one it is that of the process.
    """
    from setpoint.flows.inputs import INPUTS
    from setpoint.flows.outputs import OUTPUTS
    from setpoint.flows.processors import PROCESSORS

    problems: list[FlowProblem] = []
    if not isinstance(config, Mapping):
        raise FlowConfigError(
            [FlowProblem((), f"expected a mapping with input, pipeline and output, got {shown(config)}")]
        )
    problems += [unknown((key,), key, "section", SECTIONS) for key in config if key not in SECTIONS]
    source = component(config.get("input"), ("input",), "input", INPUTS, problems)
    steps = _pipeline(config.get("pipeline"), PROCESSORS, _scope(config, base or File(), problems), problems)
    sink = component(config.get("output"), ("output",), "output", OUTPUTS, problems)
    failed = config.get("dead_letter")
    dead_letter = None if failed is None else component(failed, ("dead_letter",), "output", OUTPUTS, problems)
    buffer = _buffer(config.get("buffer"), problems)
    problems += same_names(steps)
    if problems or source is None or sink is None:
        raise FlowConfigError(problems)
    return FlowConfig(source, tuple(components(steps)), sink, dead_letter, buffer, steps)


def _scope(config: Mapping[Any, Any], base: File, problems: list[FlowProblem]) -> Scope:
    def limits(values: object, path: Path) -> LocalLimit | None:
        fields = checked_fields(LimitFields, values, path, problems)
        return LocalLimit(fields) if fields else None

    def caches(values: object, path: Path) -> MemoryCache | None:
        fields = checked_fields(CacheFields, values, path, problems)
        return MemoryCache(fields) if fields else None

    return Scope(
        _labelled(config, "cache", {"memory": caches}, problems),
        _labelled(config, "rate limit", {"local": limits}, problems),
        base,
    )


def _labelled(
    config: Mapping[Any, Any],
    what: str,
    kinds: Mapping[str, Callable[[object, Path], Resource | None]],
    problems: list[FlowProblem],
) -> dict[str, Resource]:
    """The resources of a section such as `cache_resources`, by their labels."""
    section = f"{what.replace(' ', '_')}_resources"
    items = config.get(section) or []
    if not isinstance(items, list | tuple):
        problems.append(FlowProblem((section,), f"expected a list, each with a label, got {shown(items)}"))
        return {}
    found: dict[str, Resource] = {}
    for n, item in enumerate(items):
        chosen = chosen_kind(item, (section, n), what, kinds, problems, name="")
        if chosen is None:
            continue
        if not chosen.name or chosen.name in found:
            problems.append(FlowProblem((section, n, "label"), "each needs a label of its own"))
        if chosen.kind not in kinds:
            problems.append(unknown((section, n, chosen.kind), chosen.kind, what, kinds))
        elif (made := kinds[chosen.kind](chosen.values, (section, n, chosen.kind))) is not None:
            found[chosen.name] = made
    return found


def _pipeline(
    section: object, known: Mapping[str, Kind[Any]], scope: Scope, problems: list[FlowProblem]
) -> tuple[Step, ...]:
    if section is None:
        return ()
    if not isinstance(section, Mapping):
        problems.append(FlowProblem(("pipeline",), f"expected a mapping with processors, got {shown(section)}"))
        return ()
    for key in section:
        if key == "threads":
            if section[key] not in (-1, 1) or isinstance(section[key], bool):
                message = "more threads are not supported: messages keep their order"
                problems.append(FlowProblem(("pipeline", key), message, "remove it, or set 1 or -1"))
        elif key != "processors":
            problems.append(unknown(("pipeline", key), key, "field", ("processors", "threads")))
    return Reader(known, scope, problems).steps(section.get("processors"), ("pipeline", "processors"))


def _buffer(section: object, problems: list[FlowProblem]) -> Buffer | None:
    """The buffer; None for none, and where it is not one, with the reasons added to `problems`."""
    if section is None or section == {}:
        return None
    if not isinstance(section, Mapping) or len(section) != 1:
        message = f"expected one kind of buffer, got {shown(section)}"
        problems.append(FlowProblem(("buffer",), message, "one of memory, none"))
        return None
    kind, values = next(iter(section.items()))
    if kind not in ("memory", "none"):
        problems.append(unknown(("buffer", kind), kind, "buffer", ("memory", "none")))
        return None
    model = BufferFields if kind == "memory" else Fields
    fields = checked_fields(model, values, ("buffer", kind), problems)
    return Buffer(fields.limit, fields.messages, fields.overflow) if isinstance(fields, BufferFields) else None
