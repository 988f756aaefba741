"""A definition, compiled: one row a state, with its functions resolved, its arcs in the order they are tried, its targets as numbers.

Everything that can be known before a record comes is worked out here: which functions are asynchronous, which want the context, whether a
state has to work on a copy, where a record that failed can still go.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from setpoint.data.context import Context
from setpoint.data.definition import (
    ArcDef,
    Code,
    DataMode,
    Definition,
    Function,
    FunctionRef,
    Named,
    Place,
    Push,
    Resolve,
    Retry,
    Role,
    StateDef,
    Unresolved,
)
from setpoint.data.faults import Fault, arc_name
from setpoint.data.result import FAILED
from setpoint.machine import Guard, Verdict


class Step(msgspec.Struct, frozen=True):
    """One function, ready to be called. A `check` refuses records, any other changes them."""

    call: Function
    name: str
    check: bool = False
    awaited: bool = False
    asks: bool = False


class Pushed(msgspec.Struct, frozen=True):
    """A push, with its ends as numbers of rows."""

    start: int
    back: int
    push: Push


class Way(msgspec.Struct, frozen=True):
    """One arc. `number` is its place among all arcs of its state, in the order they are tried."""

    number: int
    name: str
    text: str
    target: int
    priority: int = 0
    event: str = ""
    after: float | None = None
    test: Step | None = None
    steps: tuple[Step, ...] = ()
    push: Pushed | None = None
    retry: Retry | None = None
    resources: Mapping[str, str] = {}


class Row(msgspec.Struct):
    """One state. `label` is its name on paths; `failed` the row of its network's own end `failed`, -1 where it has none."""

    number: int
    network: str
    name: str
    label: str
    final: bool
    steps: tuple[Step, ...]
    arcs: tuple[Way, ...]
    ways: tuple[Way, ...]
    later: tuple[Way, ...]  # those that an event or time opens, while the record waits
    on_error: tuple[Way, ...]
    on_timeout: tuple[Way, ...]
    on_dropped: tuple[Way, ...]
    mode: DataMode
    works: bool  # whether anything here may change the record
    cleanup: bool
    failed: int = -1
    rescue: bool = False  # whether a state that runs on failure lies ahead
    retry: Retry | None = None
    timeout: float | None = None
    resources: Mapping[str, str] = {}

    @property
    def plain(self) -> bool:
        """Whether a loop that only calls functions can take a record through."""
        return not (
            self.retry
            or self.timeout
            or self.resources
            or self.later
            or self.mode is DataMode.REFERENCE
            or any(way.push or way.retry or way.resources for way in self.ways)
        )

    @property
    def awaits(self) -> bool:
        """Whether any function of it is asynchronous."""
        tests = [way.test for way in self.arcs if way.test]
        return any(step.awaited for step in (*self.steps, *tests, *(step for way in self.arcs for step in way.steps)))


class Compiler:
    """Makes rows of a definition, and collects what cannot be resolved in `faults`."""

    def __init__(self, definition: Definition, resolve: Resolve) -> None:
        self._definition, self._resolve = definition, resolve
        self.faults: list[Fault] = []
        self._numbers: dict[tuple[str, str], int] = {}
        for network in definition.networks:
            for state in network.states:
                self._numbers.setdefault((network.name, state.name), len(self._numbers))

    def rows(self) -> tuple[Row, ...]:
        """All states of all networks."""
        main = self._definition.main_network
        rows = []
        for network in self._definition.networks:
            for state in network.states:
                rows.append(self._row(network.name, state, "" if network.name == main else f"{network.name}:"))
        _look_ahead(rows)
        return tuple(rows)

    def _row(self, network: str, state: StateDef, prefix: str) -> Row:
        arcs = sorted(state.arcs, key=lambda arc: -arc.priority)
        ways = tuple(self._way(network, state, number, arc) for number, arc in enumerate(arcs))

        def of(kind: str, *, waits: bool = False) -> tuple[Way, ...]:
            return tuple(way for way, arc in zip(ways, arcs, strict=True) if arc.kind == kind and arc.waits == waits)

        steps = tuple(self._steps(state))
        works = any(not step.check for step in steps) or any(way.steps for way in ways)
        return Row(
            self._numbers[network, state.name], network, state.name, prefix + state.name, state.final, steps, ways, of("way"),
            of("way", waits=True), of("error"), of("timeout"), of("dropped"), state.data_mode or self._definition.data_mode, works,
            state.run_on_failure, retry=state.retry, timeout=state.timeout, resources=state.resources,
        )  # fmt: skip

    def _steps(self, state: StateDef) -> Iterator[Step]:
        gates = list(state.pre_validators)
        if state.schema is not None:
            gates.insert(0, Named("schema", {"schema": state.schema}, state.place))
        where = f"state {state.name!r}"
        for refs, role in ((gates, Role.GATE), (state.transforms, Role.TRANSFORM), (state.validators, Role.VALIDATOR)):
            for ref in refs:
                yield self._step(ref, role, where=where, place=state.place)

    def _way(self, network: str, state: StateDef, number: int, arc: ArcDef) -> Way:
        name = arc_name(state, arc)
        test, text = None, arc.name or arc.target
        if arc.condition is not None:
            test = self._step(arc.condition, Role.CONDITION, where=f"arc {name}", place=arc.place)
            text = f"{text} ({test.name})"
        steps = tuple(self._step(ref, Role.TRANSFORM, where=f"arc {name}", place=arc.place) for ref in arc.transforms)
        push = self._pushed(network, arc)
        target = push.back if push else self._numbers[network, arc.target]
        return Way(
            number, name, text, target, arc.priority, arc.event, arc.after, test, steps, push, arc.retry, arc.resources
        )

    def _pushed(self, network: str, arc: ArcDef) -> Pushed | None:
        push = arc.push
        if push is None:
            return None
        start = self._numbers[push.network, push.state or self._definition.network(push.network).start]
        return Pushed(start, self._numbers[network, push.return_state or arc.target], push)

    def _step(self, ref: FunctionRef, role: Role, *, where: str, place: Place) -> Step:
        check = role is Role.GATE or role is Role.VALIDATOR
        if isinstance(ref, Guard):
            return Step(_of_guard(ref, check=check), str(ref), check)
        try:
            call = self._resolve(ref, role)
            if not callable(call):
                raise Unresolved(f"{call!r} is not a function")
        except Unresolved as error:
            own = getattr(ref, "place", None)
            self.faults.append(Fault(f"{where}: {error}", own if isinstance(own, Place) and own.line else place))
            return Step(_missing, str(ref), check)
        return Step(call, name_of(ref), check, is_async(call), asks_context(call))


def _missing(record: Any) -> Any:
    raise AssertionError("a plan with faults does not run")


def _of_guard(guard: Guard, *, check: bool) -> Function:
    test = guard.compile(timed=False)
    if not check:
        return test

    def answer(record: Any) -> object:
        out = test(record)
        return out if isinstance(out, Verdict) else bool(out)

    return answer


def name_of(ref: object) -> str:
    """A function reference for people."""
    if isinstance(ref, Named | Code):
        return str(ref)
    return getattr(ref, "__name__", None) or type(ref).__name__


def is_async(function: object) -> bool:
    """Whether calling it gives something to await."""
    call = getattr(function, "__call__", None)  # noqa: B004
    wrapped = getattr(function, "func", None)  # a functools.partial
    return any(inspect.iscoroutinefunction(part) for part in (function, call, wrapped))


def asks_context(function: Callable[..., object]) -> bool:
    """Whether it has a second positional parameter for the context: a required one, or one that is called or annotated so."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return False  # a built-in one that does not say; those take one value
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(places) < 2:
        return False
    second = places[1]
    named = second.name in ("context", "ctx") or second.annotation in (Context, "Context", "Context | None")
    return second.default is second.empty or named


def _look_ahead(rows: Sequence[Row]) -> None:
    """Marks the end `failed` of each network, and the rows from which a state that runs on failure can be reached."""
    ends = {row.network: row.number for row in rows if row.final and row.name == FAILED}
    for row in rows:
        row.failed = ends.get(row.network, -1)
    changed = any(row.cleanup for row in rows)
    while changed:
        changed = False
        for row in reversed(rows):
            if not row.rescue and any(rows[way.target].cleanup or rows[way.target].rescue for way in row.ways):
                row.rescue = changed = True
