"""What is wrong with a definition: every fault that would let a record get lost, with the place it was written at.

This is what must hold for a plan to exist at all. Whether all of it is reachable and sensible is a question for the checker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple, get_args

from setpoint.data.definition import (
    ArcDef,
    ArcKind,
    Backoff,
    Definition,
    Isolation,
    NetworkDef,
    Place,
    Push,
    Retry,
    StateDef,
)


class Fault(NamedTuple):
    """One thing that is wrong, and where."""

    text: str
    place: Place


_WHEN: Final[Mapping[str, str]] = {"error": "failed", "timeout": "ran out of time", "dropped": "dropped the record"}
Networks = Mapping[str, Mapping[str, StateDef]]


def faults_of(definition: Definition) -> Iterator[Fault]:
    """Every fault, in the order of the definition."""
    networks = {network.name: {state.name: state for state in network.states} for network in definition.networks}
    yield from _definition(definition, networks)
    resources = [resource.name for resource in definition.resources]
    yield from (
        Fault(f"resource {name!r} is defined {count} times", definition.place)
        for name, count in Counter(resources).items()
        if count > 1
    )
    for network in definition.networks:
        yield from _network(network)
        for state in network.states:
            yield from _state(network, state)
            for arc in state.arcs:
                yield from _arc(state, arc, networks[network.name])
                if arc.push:
                    yield from _push(f"arc {arc_name(state, arc)}", arc.push, networks, networks[network.name])


def arc_name(state: StateDef, arc: ArcDef) -> str:
    """An arc for people: ``read -accept-> check``."""
    label = arc.name or arc.event or (arc.kind if arc.kind != "way" else "")
    return f"{state.name} -{label}-> {arc.target}" if label else f"{state.name} -> {arc.target}"


def meant(name: str, known: Mapping[str, object] | list[str]) -> str:
    """What a wrong name probably was, or what there is to choose from."""
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"


def _definition(definition: Definition, networks: Networks) -> Iterator[Fault]:
    place = definition.place
    if not definition.networks:
        yield Fault("it has no networks", place)
    elif definition.main_network not in networks:
        yield Fault(f"there is no main network {definition.main!r}: {meant(definition.main, networks)}", place)
    counts = Counter(network.name for network in definition.networks)
    yield from (
        Fault(f"network {name!r} is defined {count} times", place) for name, count in counts.items() if count > 1
    )
    for name in ("max_transitions", "max_depth", "max_parts"):
        if getattr(definition, name) < 1:
            yield Fault(f"{name} is {getattr(definition, name)}; it must be at least 1", place)
    yield from _seconds("timeout", definition.timeout, place)


def _seconds(what: str, value: float | None, place: Place) -> Iterator[Fault]:
    if value is not None and not 0 < value < float("inf"):
        yield Fault(f"{what} is {value}; it must be a finite number of seconds above 0", place)


def _network(network: NetworkDef) -> Iterator[Fault]:
    name, place = network.name, network.place
    if not network.states:
        yield Fault(f"network {name!r} has no states", place)
        return
    counts = Counter(state.name for state in network.states)
    yield from (
        Fault(f"state {key!r} is defined {n} times in network {name!r}", place) for key, n in counts.items() if n > 1
    )
    starts = [state.name for state in network.states if state.start]
    if len(starts) > 1:
        yield Fault(f"network {name!r} has several start states: {', '.join(starts)}; records enter at one", place)
    if not any(state.final for state in network.states):
        yield Fault(f"network {name!r} has no final state: mark one with final=True (in a file: is_end: true)", place)


def _state(network: NetworkDef, state: StateDef) -> Iterator[Fault]:
    where, place = f"state {state.name!r}", state.place
    if not state.name or ":" in state.name:
        yield Fault(f"{where}: a name is not empty and has no colon in it", place)
    if not state.final and not any(arc.kind == "way" for arc in state.arcs):
        yield Fault(f"{where} is not final and has no way forward", place)
    if state.final and any(arc.kind == "way" for arc in state.arcs):
        yield Fault(f"{where} is final, so the arcs that lead on from it would never be taken", place)
    yield from _seconds(f"{where}: timeout", state.timeout, place)
    yield from _retry(where, state.retry)


def _arc(state: StateDef, arc: ArcDef, states: Mapping[str, StateDef]) -> Iterator[Fault]:
    where = f"arc {arc_name(state, arc)}"
    if arc.target not in states and not (arc.push and arc.push.return_state and not arc.target):
        yield Fault(f"{where}: there is no state {arc.target!r}: {meant(arc.target, states)}", arc.place)
    if arc.kind not in get_args(ArcKind):
        yield Fault(f"{where}: kind {arc.kind!r} is none of {', '.join(get_args(ArcKind))}", arc.place)
    if arc.waits and (arc.kind != "way" or (arc.event and arc.after is not None)):
        text = (
            "opens by an event or after a time, not both"
            if arc.event and arc.after is not None
            else (f"is taken when the state {_WHEN[arc.kind]}, so it can wait neither for an event nor for a time")
        )
        yield Fault(f"{where} {text}", arc.place)
    if arc.after is not None and not 0 < arc.after < float("inf"):
        yield Fault(f"{where}: after is {arc.after}; it must be a finite number of seconds above 0", arc.place)
    if arc.kind == "error" and arc.target == state.name and arc.condition is None:
        yield Fault(f"{where} leads a failed record back to where it failed, without end: use retry", arc.place)
    yield from _retry(where, arc.retry)


def _push(where: str, push: Push, networks: Networks, own: Mapping[str, StateDef]) -> Iterator[Fault]:
    if push.network not in networks:
        yield Fault(
            f"{where} pushes into network {push.network!r}, which is not there: {meant(push.network, networks)}",
            push.place,
        )
    elif push.state and push.state not in networks[push.network]:
        hint = meant(push.state, networks[push.network])
        yield Fault(
            f"{where} pushes into state {push.state!r}, which network {push.network!r} does not have: {hint}",
            push.place,
        )
    if push.return_state and push.return_state not in own:
        yield Fault(
            f"{where} returns to state {push.return_state!r}, which is not there: {meant(push.return_state, own)}",
            push.place,
        )
    if push.isolation not in get_args(Isolation):
        yield Fault(f"{where}: isolation {push.isolation!r} is none of {', '.join(get_args(Isolation))}", push.place)


def _retry(where: str, retry: Retry | None) -> Iterator[Fault]:
    if retry is None:
        return
    place = retry.place
    if retry.attempts < 1:
        yield Fault(f"{where}: retry has {retry.attempts} attempts; 1 means that it is not tried again", place)
    if retry.backoff not in get_args(Backoff):
        yield Fault(f"{where}: backoff {retry.backoff!r} is none of {', '.join(get_args(Backoff))}", place)
    for name in ("delay", "max_delay", "factor", "jitter"):
        if not 0 <= getattr(retry, name) < float("inf"):
            yield Fault(
                f"{where}: retry {name} is {getattr(retry, name)}; it must be a finite number, not below 0", place
            )
    if retry.jitter > 1:
        yield Fault(f"{where}: jitter is {retry.jitter}; it is a part of the delay, from 0 to 1", place)
