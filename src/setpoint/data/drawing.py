"""A machine for records as machines of the model, for drawings: one for each network, its arcs under the words that people know them by.

What the model cannot say is put into the label: an arc through another network is ``via_<network>``, an arc back to the same state leads
through a state of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from setpoint.data import definition as d
from setpoint.machine import Arc, Guard, Machine, State, expression
from setpoint.machine.guards import ALWAYS
from setpoint.machine.guards import Named as NamedGuard
from setpoint.machine.model import NAME


def model_of(definition: d.Definition, network: str = "") -> Machine:
    """The network as a machine of the model (default: the one that records enter). Raises `KeyError`."""
    drawn = definition.network(network or definition.main_network)
    states = {
        state.name: State(name=identifier(state.name), final=state.final, doc=state.doc) for state in drawn.states
    }
    again: list[State] = []
    arcs: list[Arc] = []
    for state in drawn.states:
        for number, arc in enumerate(sorted(state.arcs, key=lambda arc: -arc.priority)):
            target = states.get((arc.push.return_state if arc.push else "") or arc.target)
            if target is None:
                continue
            source, event = states[state.name], identifier(_event(arc))
            if target is source:
                target = State(name=f"{source.name}_again_{number + 1}", doc="and back")
                again.append(target)
                arcs.append(Arc("again", target, source))
            arcs.append(Arc(event, source, target, when=_guard(arc), after=arc.after, priority=arc.priority))
    initial = states[drawn.start].name
    name = definition.name if drawn.name == definition.main_network else drawn.name
    return Machine(identifier(name), [*states.values(), *again], list(_distinct(arcs)), initial=initial)


def identifier(text: str) -> str:
    """The text as a name of the model: itself where it is one."""
    return text if NAME.match(text) else "n_" + re.sub("[^A-Za-z0-9_]", "_", text)


def _event(arc: d.ArcDef) -> str:
    if arc.name or arc.event:
        return arc.name or arc.event
    if arc.push is not None:
        return f"via_{arc.push.network}"
    return {"error": "on_error", "timeout": "on_timeout", "dropped": "on_dropped"}.get(arc.kind, "then")


def _guard(arc: d.ArcDef) -> Guard:
    match arc.condition:
        case None:
            return ALWAYS
        case Guard():
            return arc.condition
        case d.Code(text=text, language="expression"):
            return expression(text)
    name = str(getattr(arc.condition, "__name__", arc.condition))
    return NamedGuard(identifier(name.rpartition(":")[2]), _unknown, name, False)


def _distinct(arcs: list[Arc]) -> Iterator[Arc]:
    """The arcs without those that a drawing could not tell apart."""
    seen: set[Any] = set()
    for arc in arcs:
        key = (arc.event, arc.source.name, arc.target.name, str(arc.when))
        if key not in seen:
            seen.add(key)
            yield arc


def _unknown(record: Any) -> bool:
    raise AssertionError("the condition of a drawing is never asked")
