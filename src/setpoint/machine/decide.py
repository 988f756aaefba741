"""The kernel: one pure function that says what a machine does next.

`decide(machine, position, snapshot, now)` tries the arcs out of the present state in order and either moves along the first that is
open, or stays and asks for the state's action. Time is an argument, effects are data, and all memory is in the `Position` that goes in
and the `Decision` that comes out: where the machine is, since when, and since when each ``held(...)`` guard of that state has been true.
An ``after=`` counts from when the state was entered, except after a time in which nobody ran the machine (`setpoint.machine.clocks`).

A decision also says when time alone could change it (`wake_at`), so that nothing ever has to poll. Each machine is compiled once into
rows of plain functions; a decision that depends on no clock and no text is made in advance and returned as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from setpoint.machine.guards import ALWAYS, Held, Judged, Moment, Test, judge
from setpoint.machine.model import Arc, Machine, Phase, Reason, State
from setpoint.machine.seconds import seconds_in_force

NOTHING_HELD: Mapping[str, float] = MappingProxyType({})


class Position(NamedTuple):
    """Where an instance of a machine is: state, since when, since when each held guard of this state has been true, and when the waits
    (``after=``) began that did not begin with the state (seconds of the clock that `now` comes from)."""

    state: str
    entered_at: float = 0.0
    held: Mapping[str, float] = NOTHING_HELD
    begun: Mapping[str, float] = NOTHING_HELD

    def began(self, arc: Arc) -> float:
        """From when the wait of an arc counts."""
        return self.begun.get(arc.clock, self.entered_at) if self.begun else self.entered_at


class Decision(NamedTuple):
    """What a machine does next: it moves (`arc` is set, no effects) or it stays (`arc` is None) and asks for `effects`."""

    state: str
    arc: Arc | None
    effects: tuple[str, ...]
    reason: str
    held: Mapping[str, float] = NOTHING_HELD
    wake_at: float | None = None

    @property
    def moved(self) -> bool:
        return self.arc is not None


class GuardError(Exception):
    """A guard or a reason raised instead of answering; the machine, state and arc are in the message, the cause is chained."""


class Way(NamedTuple):
    """One arc, compiled: its test (None: always open) and, where its text is fixed, the decision that takes it."""

    test: Test | None
    arc: Arc
    moved: Decision | None
    timed: bool


class Row(NamedTuple):
    """One state, compiled. `timed` rows have arcs with `after` or held guards; then `shared` are the leaves that several guards ask."""

    state: State
    ways: tuple[Way, ...]
    stay: Decision | None
    timed: bool
    held: tuple[tuple[str, Held, Test], ...]
    shared: Mapping[str, Test]


def compile_rows(machine: Machine) -> Mapping[str, Row]:
    """The machine as a table of rows, by state name."""
    return {state.name: _compile_row(machine, state) for state in machine.states}


def _compile_row(machine: Machine, state: State) -> Row:
    arcs = machine.outgoing(state.name)
    held = {str(node): node for arc in arcs for node in arc.when.walk() if isinstance(node, Held)}
    timed = bool(held) or any(arc.after is not None for arc in arcs)
    shared = _asked_twice(arcs) if held else {}
    once = frozenset(shared)
    clocks = tuple((key, node, node.part.compile(timed=True, once=once)) for key, node in held.items())
    return Row(state, tuple(_compile_way(arc, once) for arc in arcs), _stays(state, arcs), timed, clocks, shared)


def _asked_twice(arcs: tuple[Arc, ...]) -> dict[str, Test]:
    """The leaves that several guards of a state have in common. Guards are pure, so one answer serves them all."""
    leaves = [node for arc in arcs for node in arc.when.walk() if not node.parts() and node != ALWAYS]
    counts = Counter(map(str, leaves))
    return {str(leaf): leaf.compile(timed=False) for leaf in leaves if counts[str(leaf)] > 1}


def _compile_way(arc: Arc, once: frozenset[str]) -> Way:
    timed = arc.when.timed or any(str(node) in once for node in arc.when.walk())
    test = None if arc.when is ALWAYS else arc.when.compile(timed=timed, once=once)
    return Way(test, arc, _moved(arc), timed)


def _stays(state: State, arcs: tuple[Arc, ...]) -> Decision | None:
    """The decision to stay, where its reason is a fixed text."""
    text = state.reason
    if not text and arcs and state.phase not in (None, Phase.HEALTHY, Phase.STOPPED):
        return None  # nobody wrote a reason: what it waits for is worked out from the facts
    return Decision(state.name, None, (state.act,) if state.act else (), text) if isinstance(text, str) else None


def _moved(arc: Arc) -> Decision | None:
    text = arc.reason or arc.target.reason or arc.event.replace("_", " ")
    return Decision(arc.target.name, arc, (), text) if isinstance(text, str) else None


def decide(machine: Machine, position: Position, snapshot: Any, now: float) -> Decision:
    """What the machine does next. Pure: the same arguments always give the same decision.

    Raises `GuardError` when a guard or reason raises, `KeyError` when the machine has no such state.
    """
    row: Row = machine.table[position.state]
    try:
        if row.timed:
            return _decide_timed(row, position, snapshot, now)
        for test, arc, moved, _ in row.ways:
            if test is None or test(snapshot):
                return moved or _move(arc, snapshot)
        return row.stay or _stay(row, Moment(snapshot, {}))
    except Exception as error:
        place = f"state {position.state!r} of machine {machine.name!r}"
        culprit = _culprit(row, snapshot)
        raise GuardError(f"{culprit} of {place} raised {type(error).__name__}: {error}") from error


def _culprit(row: Row, snapshot: Any) -> str:
    """Which guard raised: asks again, which is safe because guards are pure, and costs nothing while none raises."""
    for way in row.ways:
        for node in way.arc.when.walk():
            try:
                if not node.parts():
                    bool(node.compile(timed=False)(snapshot))
            except Exception:
                return f"guard {node} of arc {way.arc}"
    return "a reason or setting"


def _decide_timed(row: Row, position: Position, snapshot: Any, now: float) -> Decision:
    moment, since, wakes = _clock(row, position, snapshot, now)
    for test, arc, moved, timed in row.ways:
        if test is not None and not test(moment if timed else snapshot):
            continue
        if arc.after is not None:
            due = position.began(arc) + seconds_in_force(arc.after, snapshot)
            if now < due:
                wakes.append(due)
                continue
        return moved or _move(arc, snapshot)
    stay = row.stay or _stay(row, moment)
    return stay._replace(held=since, wake_at=min(wakes, default=None))


def _clock(row: Row, position: Position, snapshot: Any, now: float) -> tuple[Moment, dict[str, float], list[float]]:
    """Run the clocks of the row's held guards, inner ones first: their answers, since when each is true, when each falls due.

    A guard that raises stops its clock, and raises where its answer is asked for: an open arc before it is still taken.
    """
    answers = _Answers(row.shared, snapshot)
    since: dict[str, float] = {}
    wakes: list[float] = []
    moment = Moment(snapshot, answers)
    for key, node, test in row.held:
        try:
            if not test(moment):
                answers[key] = False
                continue
            start = min(position.held.get(key, now), now)
            due = start + seconds_in_force(node.seconds, snapshot)
        except Exception as error:
            answers.errors[key] = error
            continue
        since[key] = start
        answers[key] = now >= due
        if now < due:
            wakes.append(due)
    return moment, since, wakes


class _Answers(dict[str, object]):
    """The answers of held guards and of shared leaves, by their texts. A shared leaf is asked when its answer is first needed; asking for
    the answer of a held guard that could not be had raises what it raised."""

    __slots__ = ("errors", "shared", "snapshot")

    def __init__(self, shared: Mapping[str, Test], snapshot: Any) -> None:
        self.shared = shared
        self.snapshot = snapshot
        self.errors: dict[str, Exception] = {}

    def __missing__(self, key: str) -> object:
        if key in self.errors:
            raise self.errors[key]
        answer = self[key] = self.shared[key](self.snapshot)
        return answer


def _move(arc: Arc, snapshot: Any) -> Decision:
    return Decision(
        arc.target.name, arc, (), text_of(arc.reason or arc.target.reason, snapshot) or arc.event.replace("_", " ")
    )


def _stay(row: Row, moment: Moment) -> Decision:
    state = row.state
    reason = text_of(state.reason, moment.snapshot) if state.reason else _what_it_waits_for(row, moment)
    return Decision(state.name, None, (state.act,) if state.act else (), reason)


def text_of(reason: Reason, snapshot: Any) -> str:
    """The text of a reason for this snapshot; what a function gives that is no text is made one."""
    if not callable(reason):
        return reason
    text: object = reason(snapshot)  # typed code gives nothing but a text; untyped code may
    return text if isinstance(text, str) else "" if text is None else str(text)


def _what_it_waits_for(row: Row, moment: Moment) -> str:
    """A reason where the author gave none: the facts that keep the ways forward shut."""
    waits = []
    for way in row.ways:
        if _is_way_out(row.state, way.arc):
            continue
        facts = _unmet(judge(way.arc.when, moment))
        waits.append(f"{way.arc.event} ({facts})" if facts else way.arc.event)
    return "waiting for " + " or ".join(waits) if waits else ""


def _is_way_out(state: State, arc: Arc) -> bool:
    """Ways that people do not wait for: being stopped while it starts or runs."""
    return arc.target.phase in (Phase.STOPPING, Phase.STOPPED) and state.phase is not Phase.STOPPING


def _unmet(node: Judged, *, wanted: bool = True) -> str:
    """The leaves that stand in the way, each with its fact."""
    if node.ok == wanted:
        return ""
    if node.kind == "leaf":
        return node.because or (f"not yet: {node.doc}" if wanted else f"still: {node.doc}")
    if node.kind == "held" and all(part.ok for part in node.parts):
        return node.text if wanted else f"still: {node.text}"  # true so far, but not for long enough
    if node.kind == "not":
        return _unmet(node.parts[0], wanted=not wanted)
    return ", ".join(text for part in node.parts if (text := _unmet(part, wanted=wanted)))


def moment_of(machine: Machine, position: Position, snapshot: Any, now: float) -> Moment:
    """The snapshot with the answers that the held guards of the present state give now."""
    return _clock(machine.table[position.state], position, snapshot, now)[0]
