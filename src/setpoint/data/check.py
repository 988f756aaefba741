"""Checking: what can be known to be wrong with a machine for records before the first record.

Each network is looked at as a `Machine` of the model (`setpoint.machine.check`): its ways forward are arcs in the order in which they are
tried, conditions that are expressions are analysed, all others are facts that may be true or false. That finds states that cannot be
reached, arcs that are never open or always come too late, dead ends, and rounds without a way out. What only machines for records have is
looked at here: error arcs, pushes that come round to themselves, names of functions and resources, code that needs trust.

    unreachable, shadowed, never-open, trap, livelock, undecided     as the model calls them
    no-end            no final state: no record can ever end well
    no-way-out        a round of states from which no way leads to a final state
    push-cycle        networks that push into each other in a circle without a condition
    unused-network    a network that no record can come to
    unknown-function, unknown-resource, unused-resource
    trust             the machine runs Python out of the file
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple

from setpoint.data import definition as d
from setpoint.data.drawing import identifier
from setpoint.data.faults import arc_name
from setpoint.data.functions.registry import HOLDERS
from setpoint.machine import Arc, Guard, Machine, MachineError, State, expression
from setpoint.machine import check as check_model
from setpoint.machine.check import SEVERITIES, Severity
from setpoint.machine.guards import ALWAYS
from setpoint.machine.guards import Named as NamedGuard

_OF_THE_MODEL = frozenset(("unreachable", "shadowed", "never-open", "trap", "livelock", "undecided"))


class Finding(NamedTuple):
    """One thing that was found, and where in the file it stands. `subject` is the state or arc that it is about."""

    code: str
    severity: Severity
    message: str
    subject: str
    place: d.Place = d.NOWHERE
    hint: str = ""

    def __str__(self) -> str:
        return (
            f"{self.place}: {self.subject}: {self.message}"
            + (f"; {self.hint}" if self.hint else "")
            + f" ({self.code})"
        )


def check(
    definition: d.Definition, *, functions: Collection[str] | None = None, resources: Collection[str] | None = None
) -> list[Finding]:
    """Everything that can be known to be wrong with the machine, the gravest first.

    `functions` are all names that references may use, `resources` those of resources that the caller provides; without them such names
    are not looked up.
    """
    found = [
        *_unused_networks(definition),
        *_push_cycles(definition),
        *_resources(definition, resources),
        *_functions(definition, functions),
    ]
    for network in definition.networks:
        found += _network(definition, network)
    return sorted(found, key=lambda finding: (SEVERITIES.index(finding.severity), finding.place.line))


def references(definition: d.Definition) -> Iterator[tuple[d.FunctionRef, d.Place]]:
    """Every reference to a function, those within compositions too, with the place it is used at."""
    for network in definition.networks:
        for state in network.states:
            own = (*state.pre_validators, *state.transforms, *state.validators)
            yield from (pair for one in own for pair in _parts(one, state.place))
            for arc in state.arcs:
                on_arc = (*arc.transforms, *([] if arc.condition is None else [arc.condition]))
                yield from (pair for one in on_arc for pair in _parts(one, arc.place))


def _parts(reference: Any, place: d.Place) -> Iterator[tuple[d.FunctionRef, d.Place]]:
    at = getattr(reference, "place", d.NOWHERE)
    place = at if at.line else place
    yield reference, place
    if isinstance(reference, d.Named) and reference.name in HOLDERS:
        of = reference.params.get("of", ())
        for part in of if isinstance(of, list | tuple) else [of]:
            yield from _parts(part, place)


def _network(definition: d.Definition, network: d.NetworkDef) -> Iterator[Finding]:
    if not any(state.final for state in network.states):
        text = "no state is final: no record can ever end well in it"
        hint = "mark the states where records end with final: true"
        yield Finding("no-end", "error", text, _named(definition, network), network.place, hint)
        return
    model, places = _model(network)
    if model is None:
        return
    for finding in check_model(model):
        if finding.code in _OF_THE_MODEL and finding.place in places:
            subject, place = places[finding.place]
            trap = finding.code == "trap"
            text = "a dead end: it is not final, and no arc that could open leaves it" if trap else finding.message
            hint = "mark it final: true, or add an arc" if trap else ""
            yield Finding(finding.code, finding.severity, text, _named(definition, network, subject), place, hint)
    yield from _no_way_out(definition, network)


_Places = dict[str, tuple[str, d.Place]]


def _model(network: d.NetworkDef) -> tuple[Machine | None, _Places]:
    """The network as a machine of the model, with error arcs as arcs that may open; and names and places of its states and arcs."""
    names = {state.name: identifier(state.name) for state in network.states}
    if len(set(names.values())) < len(names):
        names = {name: f"state_{number}" for number, name in enumerate(names)}
    states = {state.name: State(name=names[state.name], final=state.final) for state in network.states}
    places: _Places = {states[state.name].name: (state.name, state.place) for state in network.states}
    arcs: list[Arc] = []
    again: list[State] = []  # the model has no arcs from a state to itself; here they lead through another one
    for state in network.states:
        for number, arc in enumerate(() if state.final else state.arcs):
            target = states.get(_lands_in(arc))
            if target is None:
                continue
            source, event = states[state.name], f"{arc.kind}_{number + 1}"
            if target is source:
                target = State(name=f"{source.name}_again_{number + 1}")
                again.append(target)
                arcs.append(Arc("again", target, source))
            # whether it failed is asked before any way on is looked at, and events count where no way is open
            first = 2**32 if arc.kind != "way" else -(2**32) if arc.waits else 0
            when = _guard(arc, state.name, f"{state.name}_{number}")
            arcs.append(Arc(event, source, target, when=when, priority=arc.priority + first))
            places[str(arcs[-1])] = (arc_name(state, arc), arc.place)
    try:
        return Machine(
            identifier(network.name), [*states.values(), *again], arcs, initial=states[network.start].name
        ), places
    except MachineError:
        return None, {}  # the plan refuses such a machine, and says why


def _lands_in(arc: d.ArcDef) -> str:
    """The state of its own network that an arc leads to in the end."""
    return (arc.push.return_state if arc.push else "") or arc.target


def _guard(arc: d.ArcDef, state: str, label: str) -> Guard:
    """What opens an arc: its expression where it has one, else a fact of its own; and, for an error arc, that the state failed so."""
    match arc.condition:
        case None:
            condition: Guard = ALWAYS
        case Guard():
            condition = arc.condition
        case d.Code(text=text, language="expression"):
            condition = expression(text)
        case _:
            condition = _fact(f"fact_{label}")
    if arc.kind == "way" and not arc.waits:
        return condition
    outside = arc.event or (f"after_{label}" if arc.waits else arc.kind)
    first = _fact(f"{outside}_in_{state}")
    return first if condition is ALWAYS else first & condition


def _unknown(record: Any) -> bool:
    raise AssertionError("a fact of the checker is never asked")


def _fact(name: str) -> Guard:
    """Something that may be true or false, for all that is known."""
    return NamedGuard(identifier(name), _unknown, name.replace("_", " "), False)


def _no_way_out(definition: d.Definition, network: d.NetworkDef) -> Iterator[Finding]:
    """States with arcs from which no final state can be reached."""
    sources: dict[str, set[str]] = {}
    for state in network.states:
        for arc in state.arcs:
            sources.setdefault(_lands_in(arc), set()).add(state.name)
    ends = {state.name for state in network.states if state.final}
    queue = list(ends)
    while queue:
        new = sources.get(queue.pop(), set()) - ends
        ends |= new
        queue += new
    for state in network.states:
        if state.name not in ends and state.arcs:
            text = "no way leads from here to a final state: a record goes round until a limit ends it"
            hint = "add an arc that leads on, or mark a state as final"
            yield Finding("no-way-out", "error", text, _named(definition, network, state.name), state.place, hint)


def _unused_networks(definition: d.Definition) -> Iterator[Finding]:
    pushes = {network.name: [push.network for push in _pushes(network)] for network in definition.networks}
    seen, queue = {definition.main_network}, [definition.main_network]
    while queue:
        new = set(pushes.get(queue.pop(), ())) - seen
        seen |= new
        queue += new
    for network in definition.networks:
        if network.name not in seen:
            text = "no record comes here: no arc pushes into it"
            yield Finding("unused-network", "warning", text, network.name, network.place, "remove it, or push into it")


def _push_cycles(definition: d.Definition) -> Iterator[Finding]:
    """Circles of networks in which the first arc that every record takes pushes again."""
    onward: dict[str, d.Push] = {}
    for network in definition.networks:
        start = next((state for state in network.states if state.name == network.start), None)
        ways = sorted((arc for arc in start.arcs if arc.kind == "way"), key=lambda arc: -arc.priority) if start else []
        if start and not start.final and ways and ways[0].push and ways[0].condition is None:
            onward[network.name] = ways[0].push
    reported: set[str] = set()
    for begin in onward:
        way = [begin]
        while way[-1] in onward and onward[way[-1]].network not in way:
            way.append(onward[way[-1]].network)
        if way[-1] in onward and way[-1] not in reported:
            circle = way[way.index(onward[way[-1]].network) :]
            reported.update(circle)
            text = f"the networks push into each other without end: {' → '.join([*circle, circle[0]])}"
            yield Finding(
                "push-cycle", "error", text, circle[0], onward[circle[0]].place, "give one of the arcs a condition"
            )


def _pushes(network: d.NetworkDef) -> Iterator[d.Push]:
    return (arc.push for state in network.states for arc in state.arcs if arc.push is not None)


def _resources(definition: d.Definition, provided: Collection[str] | None) -> Iterator[Finding]:
    defined = {resource.name: resource for resource in definition.resources}
    used: set[str] = set()
    for subject, names, place in _uses(definition):
        used.update(names)
        for name in names:
            if name not in defined and (provided is None or name not in provided):
                severity: Severity = "warning" if provided is None else "error"
                text = f"the resource {name!r} is not described" + ("" if provided is None else ", nor is it provided")
                remedy = "describe it under resources, or pass it to SimpleFSM(resources=…)"
                hint = _near(name, [*defined, *(provided or ())], remedy)
                yield Finding("unknown-resource", severity, text, subject, place, hint)
    for name, resource in defined.items():
        if name not in used:
            yield Finding("unused-resource", "info", "no state and no arc uses it", name, resource.place)


def _uses(definition: d.Definition) -> Iterator[tuple[str, Collection[str], d.Place]]:
    """What uses resources, and which."""
    for network in definition.networks:
        for state in network.states:
            yield _named(definition, network, state.name), state.resources.values(), state.place
            for arc in state.arcs:
                yield _named(definition, network, arc_name(state, arc)), arc.resources.values(), arc.place


def _functions(definition: d.Definition, known: Collection[str] | None) -> Iterator[Finding]:
    for reference, place in references(definition):
        match reference:
            case d.Code(text=text, language="python"):
                remark = "Python out of the file runs only if the file is trusted (--trust, trust=True)"
                yield Finding("trust", "warning", remark, text.strip().splitlines()[0][:60], place)
            case d.Named(name=name) if known is not None and ":" not in name and name not in known:
                hint = _near(name, known, "register it")
                yield Finding("unknown-function", "error", f"there is no function {name!r}", name, place, hint)


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def _named(definition: d.Definition, network: d.NetworkDef, subject: str = "") -> str:
    """A state, an arc or the network itself, with the network's name where there is more than one."""
    if not subject:
        return f"network {network.name}"
    return subject if len(definition.networks) == 1 else f"{network.name}: {subject}"
