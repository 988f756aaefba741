"""Checking a file: everything that is wrong with it, without running any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from setpoint.configfile import Problem
from setpoint.data import definition as d
from setpoint.data.config.reading import Source, read


def top_keys(text: str) -> Mapping[str, Any]:
    """The keys at the top of a YAML or JSON text, with the nodes under them; none where it is no mapping, or cannot be parsed."""
    import yaml

    try:
        node = yaml.compose(text, yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def looks_like_machine(keys: Mapping[str, Any]) -> bool:
    """Whether a text with these keys at its top is a machine for records, rather than one for workers, a system or an agent's config. It
    may be full of errors."""
    if "instances" in keys:
        return False
    if keys.keys() & {"networks", "main_network", "execution_strategy", "data_mode", "template", "extends"}:
        return True
    return "states" in keys and not _of_workers(keys)


def _of_workers(keys: Mapping[str, Any]) -> bool:
    """Arcs of workers have events, and their states are phases."""
    import yaml

    states, arcs = keys["states"], keys.get("arcs")
    values = [value for _, value in states.value] if isinstance(states, yaml.MappingNode) else states.value
    bodies = [each for each in values if isinstance(each, yaml.MappingNode)]
    if any(key.value == "phase" for body in bodies for key, _ in body.value):
        return True
    if isinstance(states, yaml.MappingNode) and values and not bodies:
        return True  # name: phase
    entries = arcs.value if isinstance(arcs, yaml.SequenceNode) else ()
    return any(key.value == "event" for each in entries if isinstance(each, yaml.MappingNode) for key, _ in each.value)


def problems_of(source: Source, *, root: str | Path | None = None) -> list[Problem]:
    """Everything that is wrong with a file, text or mapping, in the order of the file.

    What reading it finds, what a plan refuses, what `setpoint.data.check` finds, and resources whose settings are not those of their type.
    Names of registered functions are taken on trust, since only the program that runs the machine knows them. No code of it runs.
    """
    loaded = read(source, trust=True, root=root)
    if loaded.definition is None:
        return list(loaded.problems)
    refused = list(_refused(loaded.definition))
    known = {_mark(problem) for problem in refused}
    findings = [one for one in _findings(loaded.definition) if "(trap)" not in one.message or _mark(one) not in known]
    found = dict.fromkeys((*refused, *findings, *_resources(loaded.definition)))
    return sorted(found, key=_mark)


def _problem(place: d.Place, message: str, *, hint: str = "", key: str = "", severity: str = "error") -> Problem:
    kind = "error" if severity == "error" else "warning"
    return Problem(message, place.line, place.column, key, hint=hint, severity=kind, source=place.file or "<config>")  # type: ignore[arg-type]


def _mark(problem: Problem) -> tuple[str, int, int]:
    return problem.source, problem.line, problem.column


def _refused(definition: d.Definition) -> Iterator[Problem]:
    """What a plan refuses. What only the program has, or what only a trusted file may run, is left out."""
    from setpoint.data.errors import PlanError
    from setpoint.data.functions import Functions
    from setpoint.data.functions.registry import HOLDERS
    from setpoint.data.plan import Plan
    from setpoint.data.resources import Manager

    known = Functions()

    def resolve(reference: d.FunctionRef, role: d.Role) -> d.Function:
        foreign = (
            isinstance(reference, d.Named) and reference.name not in known and "." not in reference.name.split(":")[0]
        )
        foreign |= isinstance(reference, d.Named) and ":" in reference.name
        if foreign or (isinstance(reference, d.Code) and reference.language == "python"):
            return lambda record: record
        if isinstance(reference, d.Named) and reference.name in HOLDERS:
            return lambda record: record  # its parts may be the program's
        return known.resolve(reference, role)

    try:
        Plan(definition, resolve=resolve, resources=Manager({}))
    except PlanError as error:
        for fault, place in zip(error.faults, error.places, strict=False):
            yield _problem(place, fault)


def _findings(definition: d.Definition) -> Iterator[Problem]:
    from setpoint.data.check import check

    for finding in check(definition):
        if finding.severity != "info":
            message = f"{finding.message} ({finding.code})"
            yield _problem(finding.place, message, hint=finding.hint, key=finding.subject, severity=finding.severity)


def _resources(definition: d.Definition) -> Iterator[Problem]:
    from setpoint.data.resources import faults

    for place, message in faults(definition.resources):
        yield _problem(place, message)
