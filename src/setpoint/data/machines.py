"""A `Machine` of the model as a definition: one network, one function a state, the machine's arcs and guards.

The events ``error`` and ``dropped`` are kinds of arcs; all other arcs are ways forward. Records are worked on in place, and None from a
function drops the record: what a flow wants of its messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from setpoint.data.definition import NOWHERE, ArcDef, ArcKind, DataMode, Definition, Function, NetworkDef, StateDef
from setpoint.data.errors import PlanError
from setpoint.data.faults import Fault, meant
from setpoint.machine import ALWAYS, Arc, Machine

ON_ERROR: Final = "error"
ON_DROPPED: Final = "dropped"


def definition_of(machine: Machine, functions: Mapping[str, Function]) -> Definition:
    """The machine as a definition. Raises `PlanError` for what records cannot use: clocks, unknown states."""
    faults = [Fault(text, NOWHERE) for text in _faults(machine, functions)]
    states = tuple(
        StateDef(
            name=state.name,
            start=state.name == machine.initial,
            final=state.final,
            transforms=(functions[state.name],) if state.name in functions else (),
            arcs=tuple(_arc(arc) for arc in machine.outgoing(state.name)),
            doc=state.doc,
        )
        for state in machine.states
    )
    if faults:
        raise PlanError(machine.name, faults)
    return Definition(
        name=machine.name,
        networks=(NetworkDef(name="main", states=states),),
        version=machine.version,
        doc=machine.doc,
        data_mode=DataMode.DIRECT,
        none="drop",
    )


def _arc(arc: Arc) -> ArcDef:
    kinds: dict[str, ArcKind] = {ON_ERROR: "error", ON_DROPPED: "dropped"}
    condition = None if arc.when is ALWAYS else arc.when
    kind = kinds.get(arc.event, "way")
    return ArcDef(target=arc.target.name, name=arc.event, kind=kind, condition=condition, priority=arc.priority)


def _faults(machine: Machine, functions: Mapping[str, object]) -> Iterator[str]:
    for name, function in functions.items():
        if name not in machine.by_name:
            yield f"function for state {name!r}: there is no such state: {meant(name, machine.by_name)}"
        elif not callable(function):
            yield f"state {name!r}: {function!r} is not a function"
    for arc in machine.arcs:
        if arc.after is not None or arc.when.timed:
            yield f"arc {arc} waits for time (after, held): records do not wait; use it in a control machine"
    if not any(state.final for state in machine.states):
        yield "it has no final state: mark one with State(final=True)"
    for state in machine.states:
        forward = [arc for arc in machine.outgoing(state.name) if arc.event not in (ON_ERROR, ON_DROPPED)]
        if not state.final and not forward:
            yield f"state {state.name!r} is not final and has no way forward"
