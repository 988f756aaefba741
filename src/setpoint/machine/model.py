"""The model: states, the arcs between them, and the machine they make. Pure data, checked when it is made.

A `State` is named by the attribute it is assigned to in a class body, or by ``name=``. A control state has a `Phase`, from which health,
metrics, colours and shutdown derive; a data state has none. A state may *act*: while the machine stays in it, the named action is asked
for. An arc moves. No arc acts and no state moves, so a decision is one or the other by construction.

A `Machine` is valid once it exists: its constructor reports every fault at once (`MachineError`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Literal, get_args

from setpoint.machine.guards import ALWAYS, Guard, Held, Named
from setpoint.machine.seconds import RESUMES, Resume, Seconds, Setting


class Phase(StrEnum):
    """What a control state means, whatever its name: the vocabulary shared by health, metrics, colours and shutdown."""

    STOPPED = "stopped"
    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    FAILED = "failed"


Reason = str | Callable[[Any], str]
"""Why a machine is where it is: a text, or a pure function of the snapshot that gives one."""

Signal = Literal["", "restart", "removal"]
"""What the runtime is asked to do with a worker while it is in a state: nothing, make it anew, or let it go."""
SIGNALS: Final[tuple[Signal, ...]] = get_args(Signal)

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


class MachineError(ValueError):
    """The machine is not valid: lists every fault, with names."""

    def __init__(self, machine: str, faults: Iterable[str]) -> None:
        self.machine = machine
        self.faults = tuple(faults)
        super().__init__(f"machine {machine!r} is not valid:\n" + "\n".join(f"  - {fault}" for fault in self.faults))


@dataclass(frozen=True)
class State:
    """Where a machine can be. `act` names what is done while it stays there; `reason` says to people why it does.

    `final` marks a state that a data machine ends in. `signal` asks the runtime to make the worker anew (``"restart"``) or to remove it
    (``"removal"``, from a stopped state only) once it is here. Phase and signal are all that the runtimes know of what a state means.
    """

    phase: Phase | None = None
    name: str = field(default="", kw_only=True)
    act: str = field(default="", kw_only=True)
    reason: Reason = field(default="", kw_only=True)
    final: bool = field(default=False, kw_only=True)
    signal: Signal = field(default="", kw_only=True)
    doc: str = field(default="", kw_only=True)

    def __set_name__(self, owner: type, name: str) -> None:
        if not self.name:
            object.__setattr__(self, "name", name)

    def to(
        self,
        target: State,
        *,
        on: str,
        when: Guard = ALWAYS,
        after: Seconds | None = None,
        resume: Resume = "deadline",
        priority: int = 0,
        reason: Reason = "",
    ) -> Arc:
        """The arc from here to `target`, called `on`, open while `when` holds and once the machine has been here `after` seconds.

        `resume` says how that wait goes on after a time in which nobody ran the machine; by default such time counts.
        """
        return Arc(on, self, target, when=when, after=after, resume=resume, priority=priority, reason=reason)

    def __or__(self, other: State | Group) -> Group:
        return Group((self, *_states(other)))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Group:
    """Several states that share arcs: ``(idle | active).to(stopping, on="stop", when=~wanted)``."""

    states: tuple[State, ...]

    def to(self, target: State, **arc: Any) -> tuple[Arc, ...]:
        """One arc from each state of the group except `target` itself; arguments as in `State.to`."""
        return tuple(state.to(target, **arc) for state in self.states if state is not target)

    def __or__(self, other: State | Group) -> Group:
        return Group((*self.states, *_states(other)))

    def __iter__(self) -> Iterator[State]:
        return iter(self.states)


def _states(part: State | Group) -> tuple[State, ...]:
    return part.states if isinstance(part, Group) else (part,)


@dataclass(frozen=True)
class Arc:
    """A way from one state to another. Among open arcs the highest `priority` wins, then the first defined."""

    event: str
    source: State
    target: State
    when: Guard = field(default=ALWAYS, kw_only=True)
    after: Seconds | None = field(default=None, kw_only=True)
    resume: Resume = field(default="deadline", kw_only=True)
    priority: int = field(default=0, kw_only=True)
    reason: Reason = field(default="", kw_only=True)

    @property
    def clock(self) -> str:
        """The name of its wait among those of its source state, in what is stored. It outlives a change of the seconds."""
        return f"{self.event} -> {self.target} when {self.when}"

    def __str__(self) -> str:
        return f"{self.source} -{self.event}-> {self.target}"


Arcs = Iterable["Arc | Iterable[Arc]"]
"""Arcs as they are written: single ones and those of groups, in any mixture."""


@dataclass(frozen=True)
class Machine:
    """A set of states and the arcs between them. Valid by construction; `MachineError` lists all faults otherwise.

    `arcs` may be nested one level (a group's arcs). `initial` defaults to the first state.
    """

    name: str
    states: tuple[State, ...]
    arcs: tuple[Arc, ...]
    initial: str = ""
    version: str = "1"
    doc: str = ""

    def __init__(
        self,
        name: str,
        states: Iterable[State],
        arcs: Arcs = (),
        *,
        initial: str = "",
        version: str = "1",
        doc: str = "",
    ) -> None:
        for attribute, value in (
            ("name", name),
            ("states", tuple(states)),
            ("arcs", tuple(_flatten(arcs))),
            ("version", version),
            ("doc", doc),
        ):
            object.__setattr__(self, attribute, value)
        object.__setattr__(self, "initial", initial or (self.states[0].name if self.states else ""))
        faults = list(_faults(self))
        if faults:
            raise MachineError(name, faults)

    @cached_property
    def by_name(self) -> Mapping[str, State]:
        """Each state by its name."""
        return {state.name: state for state in self.states}

    @cached_property
    def _outgoing(self) -> Mapping[str, tuple[Arc, ...]]:
        found: dict[str, list[Arc]] = {state.name: [] for state in self.states}
        for arc in self.arcs:
            found[arc.source.name].append(arc)
        return {name: tuple(sorted(arcs, key=lambda arc: -arc.priority)) for name, arcs in found.items()}

    def outgoing(self, state: str) -> tuple[Arc, ...]:
        """The arcs out of a state, in the order in which they are tried. Raises `KeyError` for a state that is not here."""
        return self._outgoing[state]

    @cached_property
    def table(self) -> Mapping[str, Any]:
        """The compiled rows of `decide`, one a state, made at first use."""
        from setpoint.machine.decide import compile_rows

        return compile_rows(self)

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.states, self.arcs))

    def __repr__(self) -> str:
        return f"<Machine {self.name}: {len(self.states)} states, {len(self.arcs)} arcs>"


def _flatten(arcs: Arcs) -> Iterator[Arc]:
    for item in arcs:
        if isinstance(item, Arc):
            yield item
        else:
            yield from item


def _faults(machine: Machine) -> Iterator[str]:
    if not NAME.match(machine.name):
        yield f"the name {machine.name!r} must be a letter followed by letters, digits or _"
    if not machine.states:
        yield "it has no states"
        return
    counts = Counter(state.name for state in machine.states)
    yield from (f"state {name!r} is defined {count} times" for name, count in counts.items() if count > 1)
    for state in machine.states:
        yield from _state_faults(state)
    if machine.initial not in counts:
        yield f"the initial state {machine.initial!r} is not one of its states: {', '.join(counts)}"
    yield from _initial_faults(machine)
    yield from _guard_faults(machine)
    named: dict[str, list[State]] = {name: [] for name in counts}
    for state in machine.states:
        named[state.name].append(state)
    seen: set[tuple[str, str, str, str]] = set()
    for arc in machine.arcs:
        yield from _arc_faults(arc, named)
        key = (arc.event, arc.source.name, arc.target.name, str(arc.when))
        if key in seen:
            yield f"arc {arc} when {arc.when} is defined twice"
        seen.add(key)


def _state_faults(state: State) -> Iterator[str]:
    if not NAME.match(state.name):
        yield f"state {state.name!r}: a name is a letter followed by letters, digits or _"
    if state.act and not NAME.match(state.act):
        yield f"state {state.name!r}: act {state.act!r} is not the name of an action"

    if state.signal:
        yield from _signal_faults(state)


def _signal_faults(state: State) -> Iterator[str]:
    place = f"state {state.name!r}: signal {state.signal!r}"
    if state.signal not in SIGNALS:
        yield f"{place} is none of {', '.join(filter(None, SIGNALS))}"
    elif state.phase is None:
        yield f"{place} asks something of the control runtime, so the state needs a phase"
    elif state.signal == "removal" and state.phase is not Phase.STOPPED:
        yield f"{place} needs phase stopped, not {state.phase}: only what is at rest may be removed"
    elif state.signal == "removal" and state.act:
        yield f"{place}: it cannot act ({state.act}) as well: what is removed does nothing any more"


def _initial_faults(machine: Machine) -> Iterator[str]:
    for state in machine.states:
        if state.name == machine.initial and state.signal:
            yield f"the initial state {state.name!r} has signal {state.signal!r}: no instance would get any further"


def _guard_faults(machine: Machine) -> Iterator[str]:
    """Guards are known by their names in texts, clocks and files, so one name may stand for one guard only."""
    known: dict[str, Named] = {}
    clashes: dict[str, None] = {}
    for arc in machine.arcs:
        for node in arc.when.walk() if isinstance(arc.when, Guard) else ():
            if isinstance(node, Named):
                first = known.setdefault(node.name, node)
                if first != node or first.test != node.test:
                    clashes[node.name] = None
    yield from (f"two different guards are called {name!r}: use @guard(name='...') for one of them" for name in clashes)


def _arc_faults(arc: Arc, states: Mapping[str, list[State]]) -> Iterator[str]:
    if not NAME.match(arc.event):
        yield f"arc {arc}: event {arc.event!r} must be a letter followed by letters, digits or _"
    for role, state in (("source", arc.source), ("target", arc.target)):
        if state not in states.get(state.name, ()):
            yield f"arc {arc}: its {role} {state.name!r} is not a state of this machine"
    if arc.source == arc.target:
        yield f"arc {arc} leads back to its own state; a state that shall do something again acts (act=...)"
    if arc.source.final:
        yield f"arc {arc} leaves a final state"
    when: object = arc.when  # typed code cannot pass anything else; untyped code can
    if not isinstance(when, Guard):
        yield f"arc {arc}: when={when!r} is not a guard; decorate the function with @guard"
        return
    yield from _wait_faults(arc)


def _wait_faults(arc: Arc) -> Iterator[str]:
    if arc.resume not in RESUMES:
        yield f"arc {arc}: resume {arc.resume!r} is none of {', '.join(RESUMES)}"
    elif arc.after is None and arc.resume != "deadline":
        yield f"arc {arc}: resume {arc.resume!r} says how the wait of after= goes on, and there is no after="
    waits = [node.seconds for node in arc.when.walk() if isinstance(node, Held)]
    for seconds in [*waits, *([] if arc.after is None else [arc.after])]:
        value = seconds.default if isinstance(seconds, Setting) else seconds
        if not 0 <= value < float("inf"):
            yield f"arc {arc}: a wait of {value} s; expected a finite number of at least 0"
