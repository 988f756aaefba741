"""Laws of a worker's pure code: its machine, its guards and reasons, what it derives, and the children it names.

They are checked over generated values; a law that is broken is shown with the smallest example that breaks it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

from setpoint.control import ChildSpec, Snapshot
from setpoint.machine import Decision, Machine, Phase, Position, Setting, State, check, decide
from setpoint.machine.guards import Held
from setpoint.testing.case import Case
from setpoint.testing.sources import AnyWorker, make

NOW: Final = 1000.0
TEXTLESS: Final = (Phase.STOPPED, Phase.HEALTHY, None)
"""Phases in which nobody asks why."""


def valid(case: Case) -> Iterator[str]:
    for finding in check(case.machine):
        if finding.severity == "error":
            yield str(finding)


def decides(case: Case) -> Iterator[str]:
    """Asked of every state, whatever the state the snapshot was made for: what others are may be known late."""
    from setpoint.testing.strategies import snapshots

    whole = snapshots(case.source, desired=case.desired, observed=case.observed, types=case.types, peers=case.peers)

    def problem(snapshot: Snapshot[Any, Any]) -> str:
        everywhere = (snapshot._replace(state=name) for name in case.machine.by_name)
        return next(filter(None, (_decides_one(case.machine, here) for here in everywhere)), "")

    yield from _for_all(whole, problem, case.examples)


def waits(case: Case) -> Iterator[str]:
    """Asked of each wait by itself: few snapshots come as far as to need it."""
    from setpoint.testing.strategies import values

    held_for = (node.seconds for arc in case.machine.arcs for node in arc.when.walk() if isinstance(node, Held))
    after = (arc.after for arc in case.machine.arcs)
    settings = {str(each): each for each in (*held_for, *after) if isinstance(each, Setting)}
    desired = case.desired if case.desired is not None else values(case.kind.desired_type)

    def problem(wants: Any) -> str:
        for setting in settings.values():
            try:
                setting.of({"desired": wants})
            except Exception as error:
                return f"{type(error).__name__}: {error}"
        return ""

    if settings:
        yield from _for_all(desired, problem, case.examples // 2)


def _decides_one(machine: Machine, snapshot: Snapshot[Any, Any]) -> str:
    """What is wrong with how it decides on this snapshot, in its state: just entered, and entered long ago; "" when nothing is."""
    state = machine.by_name[snapshot.state]
    clocks = {str(node) for arc in machine.outgoing(state.name) for node in arc.when.walk() if isinstance(node, Held)}
    for position in (Position(state.name, NOW), Position(state.name, 0.0, dict.fromkeys(clocks, 0.0))):
        try:
            first = decide(machine, position, snapshot, NOW)
            second = decide(machine, position, copy.copy(snapshot), NOW)
        except Exception as error:
            return f"{error}"
        if first != second:
            return f"in {state.name} it decides {first} and then, asked again, {second}"
        if problem := _reason_problem(state, first):
            return problem
    return ""


def _reason_problem(state: State, decision: Decision) -> str:
    place = f"on the way from {state.name} to {decision.state}" if decision.moved else f"in {state.name}"
    reason: object = decision.reason
    if not isinstance(reason, str):
        return f"the reason {place} is {reason!r}; expected a text"
    if not reason.strip() and (decision.moved or state.phase not in TEXTLESS):
        return f"no reason is given {place}"
    return ""


def derives(case: Case) -> Iterator[str]:
    from setpoint.testing.strategies import specs

    worker = make(case.source)

    def problem(spec: Any) -> str:
        before = copy.deepcopy(spec)
        first, second = (_outcome(lambda: worker.derive_desired_state(spec)) for _ in range(2))
        if not _same(spec, before):
            return f"deriving changed the spec it was given from {before!r} to {spec!r}"
        return "" if _same(first, second) else f"derived first {first!r}, and then of the same spec {second!r}"

    yield from _for_all(specs(case.source), problem, case.examples // 2)


def names_children(case: Case) -> Iterator[str]:
    from setpoint.testing.strategies import values

    worker = make(case.source)
    desired = case.desired if case.desired is not None else values(case.kind.desired_type)

    def problem(wants: Any) -> str:
        return next(filter(None, (_children_problem(worker, wants, state) for state in case.machine.by_name)), "")

    yield from _for_all(desired, problem, case.examples // 2)


def _children_problem(worker: AnyWorker, wants: Any, state: str) -> str:
    try:
        first, second = list(worker.children(wants, state)), list(worker.children(wants, state))
    except Exception as error:
        return f"in {state} naming its children raises {type(error).__name__}: {error}"
    if strangers := [each for each in first if not isinstance(each, ChildSpec)]:
        return f"in {state} it wants {strangers[0]!r}; expected ChildSpecs"
    if first != second:
        return f"in {state} it wants {first!r}, and then, asked again, {second!r}"
    names = [each.name for each in first]
    return "" if len(names) == len(set(names)) else f"in {state} it wants two children of one name: {sorted(names)}"


class _Broken(AssertionError):
    """A law is broken by the example at hand."""


def _for_all(strategy: Any, problem: Callable[[Any], str], examples: int) -> Iterator[str]:
    """The problem with the smallest example that has one. The same examples are tried in every run."""
    from hypothesis import HealthCheck, Phase, given, settings

    found: list[str] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def law(example: Any) -> None:
        if text := problem(example):
            found[:] = [f"{text}\nfor {_shown(example)}"]  # the last one is the smallest
            raise _Broken(text)

    try:
        law()
    except _Broken:
        yield from found


def _shown(example: Any) -> str:
    """An example in words; of a snapshot, what its maker did not leave as it usually is."""
    if not isinstance(example, Snapshot):
        return repr(example)
    others = {"children": dict(example.children), "peers": dict(example.peers)}
    parts = {**example._asdict(), **others}
    shown = (
        "desired",
        "observed",
        "wanted",
        *(name for name in ("error", "children", "peers", "retry") if parts[name]),
    )
    return "a snapshot with " + ", ".join(f"{name} {parts[name]!r}" for name in shown)


def _outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or the kind and text of what it raises."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


def _same(one: Any, other: Any) -> bool:
    """Equal, or written the same: NaN is not equal to itself."""
    return bool(one == other) or repr(one) == repr(other)
