"""Checking: what can be known to be wrong with a machine before it ever runs.

`check` looks at the machine alone. Guards are facts that may be true or false (`setpoint.machine.logic`); what an arc needs in order to
open is worked out from them, and the states are then searched as a graph. So a finding holds whatever the world does:

- ``never-open``: the guard contradicts itself;
- ``shadowed``: whenever the arc is open, one tried before it is open too;
- ``unreachable``: no way from the initial state, not counting arcs of the two kinds above;
- ``trap``: nothing leaves the state, and it is no state to end in;
- ``no-way-to-stop``: with every guard marked ``wanted=True`` false, no way leads on to a stopped or final state;
- ``livelock``: a round of arcs that are always open: it would move for ever;
- ``waits-for-ever``: a starting state that no time limit ends;
- ``overlap``: two arcs to different states are open for the same facts, and their order decides;
- ``undecided`` and ``opaque``: what the checker could not look into.

A finding is *exact* where it holds for every meaning of the guards, *bounded* where the search was given up, and *opaque* where it rests on
Python functions that cannot be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from setpoint.machine.guards import ALWAYS, Named
from setpoint.machine.logic import Formula, Terms, every, negated, search
from setpoint.machine.model import Arc, Machine, Phase, State
from setpoint.machine.seconds import Seconds, Setting

Severity = Literal["error", "warning", "info"]
Certainty = Literal["exact", "bounded", "opaque"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` found. `place` is a state's name or an arc's text; `witness` the shortest way of events to it from the
    initial state, empty where it begins there or there is no way."""

    code: str
    severity: Severity
    message: str
    place: str
    witness: tuple[str, ...] = ()
    certainty: Certainty = "exact"

    def __str__(self) -> str:
        way = f" [after {' → '.join(self.witness)}]" if self.witness else ""
        return f"{self.severity}: {self.place}: {self.message}{way} ({self.code}, {self.certainty})"


def check(machine: Machine) -> list[Finding]:
    """Everything that can be known to be wrong with the machine, the gravest first; empty when there is nothing to say."""
    inquiry = _Inquiry(machine)
    found = [
        *inquiry.dead_arcs(),
        *inquiry.unreachable(),
        *inquiry.traps(),
        *inquiry.no_way_to_stop(),
        *inquiry.livelocks(),
        *inquiry.waits(),
        *inquiry.overlaps(),
        *inquiry.limits(),
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


@dataclass(frozen=True, slots=True)
class _Dead:
    """Why an arc is never taken: it contradicts itself (`by` is empty), or the arcs `by` are tried before it. Or it is not known."""

    by: tuple[Arc, ...] = ()
    known: bool = True


class _Inquiry:
    """One machine under question: which arcs can ever be taken, and how each state is reached."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.dead = _dead_arcs(machine, {})
        self.live = _live(machine, self.dead)
        self.ways = _ways(machine.initial, self.live)
        self.phased = any(state.phase is not None for state in machine.states)

    def witness(self, state: State) -> tuple[str, ...]:
        return self.ways.get(state.name, ())

    def dead_arcs(self) -> Iterator[Finding]:
        for arc, why in self.dead.items():
            way = self.witness(arc.source)
            if not why.known:
                text = f"too many facts in {arc.when}: whether it can ever be taken was not settled"
                yield Finding("undecided", "info", text, str(arc), way, "bounded")
            elif why.by:
                text = f"never taken: whenever it is open, {_either(why.by)} is open too and is tried first"
                yield Finding("shadowed", "warning", text, str(arc), way)
            else:
                yield Finding("never-open", "error", f"never open: {arc.when} contradicts itself", str(arc), way)

    def unreachable(self) -> Iterator[Finding]:
        for state in self.machine.states:
            if state.name in self.ways:
                continue
            sources = {arc.source.name for arc in self.machine.arcs if arc.target == state}
            why = f"only from {', '.join(sorted(sources))}" if sources else "no arc leads to it"
            text = f"cannot be reached from {self.machine.initial}: {why}"
            yield Finding("unreachable", "warning", text, state.name)

    def traps(self) -> Iterator[Finding]:
        for state in self.machine.states:
            if self.live[state.name] or state.final or state.signal or state.phase is Phase.STOPPED:
                continue
            way = self.witness(state)
            if state.phase is Phase.FAILED:
                text = "failed for good: nothing but a retry or a removal by hand leaves it, not even the wish to stop"
                yield Finding("trap", "info", text, state.name, way)
            else:
                remedy = "add an arc, or mark it final=True" if state.phase is None else "add an arc that leaves it"
                yield Finding("trap", "error", f"a trap: nothing ever leaves it; {remedy}", state.name, way)

    def no_way_to_stop(self) -> Iterator[Finding]:
        if not self.phased:
            return
        stopped = {state.name for state in self.machine.states if state.phase is Phase.STOPPED or state.final}
        if not stopped:
            yield Finding(
                "no-way-to-stop", "error", "no state has the phase stopped, and none is final", self.machine.name
            )
            return
        told = {node.name: False for node in _leaves(self.machine) if node.wanted}
        live = _live(self.machine, _dead_arcs(self.machine, told)) if told else self.live
        anew = {state.name: [self.machine.initial] for state in self.machine.states if state.signal == "restart"}
        ends = _leading_to(stopped, live, anew)
        for state in self.machine.states:
            if state.name in ends or state.name not in self.ways or not (self.live[state.name] or state.signal):
                continue  # unreachable states and traps have findings of their own
            without = f" while not {' and not '.join(told)}" if told else ""
            text = f"no way leads to a stopped or final state{without}"
            yield Finding("no-way-to-stop", "error", text, state.name, self.witness(state))

    def livelocks(self) -> Iterator[Finding]:
        """Rounds of states that each move on at once, whatever the facts."""
        onward = {name: arc for name in self.ways if (arc := _moves_at_once(self.live[name]))}
        seen: set[str] = set()
        for start in onward:
            round_: list[str] = []
            name = start
            while name in onward and name not in seen:
                seen.add(name)
                round_.append(name)
                name = onward[name].target.name
            if name in round_:
                states = round_[round_.index(name) :]
                text = f"moves for ever: {' → '.join([*states, name])} are always open one after another"
                yield Finding("livelock", "error", text, name, self.ways[name])

    def waits(self) -> Iterator[Finding]:
        for state in self.machine.states:
            arcs = [arc for arc in self.live[state.name] if arc.target.phase not in (Phase.STOPPING, Phase.STOPPED)]
            if state.phase is not Phase.STARTING or any(arc.after is not None or arc.when.timed for arc in arcs):
                continue
            text = "may wait for ever: no arc that leads on has after= or held(...)"
            yield Finding("waits-for-ever", "info", text, state.name, self.witness(state))

    def overlaps(self) -> Iterator[Finding]:
        """Pairs of arcs provably open together. Facts of Python guards may exclude each other, so they prove nothing."""
        for name in self.ways:
            arcs = [arc for arc in self.live[name] if arc.when is not ALWAYS]
            for number, first in enumerate(arcs):
                for second in arcs[number + 1 :]:
                    if first.target != second.target and first.priority == second.priority:
                        yield from self._overlap(first, second)

    def _overlap(self, first: Arc, second: Arc) -> Iterator[Finding]:
        terms = Terms()
        both = every([terms.formula(first.when), terms.formula(second.when)])
        if terms.opaque or not (found := search(both, terms)).possible:
            return
        facts = ", ".join(f"{name} = {_shown(value)}" for name, value in found.facts.items())
        text = (
            f"open together with {second}, e.g. {facts}: this one is tried first; say so with priority= if it is meant"
        )
        yield Finding("overlap", "info", text, str(first), self.witness(first.source))

    def limits(self) -> Iterator[Finding]:
        names = sorted({node.name for node in _leaves(self.machine)})
        if names:
            text = f"guards in Python were taken as facts that may be true or false: {', '.join(names)}"
            yield Finding("opaque", "info", text, self.machine.name, certainty="opaque")


def _leaves(machine: Machine) -> Iterator[Named]:
    for arc in machine.arcs:
        yield from (node for node in arc.when.walk() if isinstance(node, Named) and node != ALWAYS)


def _dead_arcs(machine: Machine, assumed: Mapping[str, bool]) -> dict[Arc, _Dead]:
    """The arcs that can never be taken, and those of which it is not known."""
    dead: dict[Arc, _Dead] = {}
    for state in machine.states:
        earlier: list[Arc] = []
        for arc in machine.outgoing(state.name):
            why = _why_dead(arc, [before for before in earlier if _no_later(before.after, arc.after)], assumed)
            if why is not None:
                dead[arc] = why
            if why is None or not why.known:
                earlier.append(arc)
    return dead


def _why_dead(arc: Arc, earlier: list[Arc], assumed: Mapping[str, bool]) -> _Dead | None:
    possible = _possible(arc, (), assumed)
    if possible is False:
        return _Dead()
    for before in earlier:
        if _possible(arc, (before,), assumed) is False:
            return _Dead((before,))
    if earlier and _possible(arc, earlier, assumed) is False:
        return _Dead(tuple(earlier))
    return None if possible else _Dead(known=False)


def _possible(arc: Arc, shut: Iterable[Arc], assumed: Mapping[str, bool]) -> bool | None:
    """Whether the arc's guard can be true while those of `shut` are not."""
    terms = Terms(assumed)
    formulas: list[Formula] = [terms.formula(arc.when), *(negated(terms.formula(other.when)) for other in shut)]
    return search(every(formulas), terms).possible


def _no_later(first: Seconds | None, second: Seconds | None) -> bool:
    """Whether a wait is over no later than another, whatever an instance sets."""
    if first is None or first == second:
        return True
    if second is None or isinstance(first, Setting) or isinstance(second, Setting):
        return first == 0
    return first <= second


def _live(machine: Machine, dead: Mapping[Arc, _Dead]) -> dict[str, list[Arc]]:
    return {
        state.name: [arc for arc in machine.outgoing(state.name) if arc not in dead or not dead[arc].known]
        for state in machine.states
    }


def _ways(start: str, live: Mapping[str, list[Arc]]) -> dict[str, tuple[str, ...]]:
    """Each state that can be reached, with the shortest way of events to it."""
    ways: dict[str, tuple[str, ...]] = {start: ()}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for arc in live[name]:
            if arc.target.name not in ways:
                ways[arc.target.name] = (*ways[name], arc.event)
                queue.append(arc.target.name)
    return ways


def _leading_to(ends: set[str], live: Mapping[str, list[Arc]], anew: Mapping[str, list[str]]) -> set[str]:
    """The states from which some way leads to one of `ends`; one that asks for a restart leads to the initial state."""
    sources: dict[str, set[str]] = {}
    for name, arcs in live.items():
        for target in [*(arc.target.name for arc in arcs), *anew.get(name, ())]:
            sources.setdefault(target, set()).add(name)
    found, queue = set(ends), deque(ends)
    while queue:
        for name in sources.get(queue.popleft(), set()) - found:
            found.add(name)
            queue.append(name)
    return found


def _moves_at_once(arcs: list[Arc]) -> Arc | None:
    """The first arc tried, where it is open whatever the facts."""
    if not arcs or arcs[0].after not in (None, 0):
        return None
    terms = Terms()
    shut = negated(terms.formula(arcs[0].when))
    return arcs[0] if search(shut, terms).possible is False else None


def _either(arcs: tuple[Arc, ...]) -> str:
    return str(arcs[0]) if len(arcs) == 1 else "one of " + ", ".join(str(arc) for arc in arcs)


def _shown(value: object) -> str:
    return (
        f"{float(value):g}"
        if isinstance(value, int | float | Fraction) and not isinstance(value, bool)
        else repr(value)
    )
