"""Strategies: snapshots, positions and machines for property tests with hypothesis.

    @given(snapshots(Press))
    def test_it_never_runs_without_pressure(s): ...

A snapshot is built from the types that the worker declares in ``Worker[Spec, Desired, Observed]``: pydantic models, msgspec structs,
dataclasses, named tuples and what they are made of, with every constraint written there. Values are any of their type, the odd ones
included: empty texts, huge numbers, and infinity and NaN where the type does not exclude them, because devices do send them. What the
runtime guarantees holds: a worker that is not wanted sees its desired state say so.

Needs hypothesis: ``pip install 'setpoint[testing]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from setpoint.control import ChildSpec, Fact, Facts, Snapshot
from setpoint.control.intent import stopped_version, wants_stop
from setpoint.control.snapshot import Figures
from setpoint.machine import ALWAYS, Arc, Guard, Machine, Phase, Position, State, guard, held
from setpoint.machine.guards import Held
from setpoint.testing.sources import AnyWorker, Source, class_of, make, missing_arguments
from setpoint.testing.values import TEXTS, Strategy, st, values

__all__ = ["conditions", "facts", "machines", "positions", "snapshots", "specs", "truths", "values"]

SECONDS = st.floats(0, 1e6, allow_nan=False)


def specs(worker: Source) -> Strategy:
    """What a user may write for a worker: any value of the spec type it declares."""
    return values(class_of(worker).spec_type)


def snapshots(
    worker: Source,
    *,
    desired: Strategy | None = None,
    observed: Strategy | None = None,
    state: Strategy | None = None,
    types: Mapping[str, Source] | None = None,
    peers: Mapping[str, Source | None] | None = None,
) -> Strategy:
    """Any snapshot that the runtime may show a worker.

    `desired`, `observed` and `state` replace the strategy of that part. `types` are the classes of its children, by worker type, so that
    their facts have states that they know; `peers` the names it reads others by, with their classes where they are known.
    """
    kind = class_of(worker)
    wants = desired if desired is not None else values(kind.desired_type)
    sees = observed if observed is not None else values(kind.observed_type)
    where = state if state is not None else st.sampled_from(sorted(kind.machine.by_name))
    hands = None if isinstance(worker, type) and missing_arguments(worker) else make(worker)
    stranger, child = facts(), {name: facts(source) for name, source in (types or {}).items()}
    others = {name: facts(source) for name, source in (peers or {}).items()}
    counted = st.just(Figures()) | values(Figures)

    @st.composite
    def build(draw: st.DrawFn) -> Snapshot[Any, Any]:
        own, now = draw(wants), draw(where)
        wanted = draw(st.booleans()) and not wants_stop(own)
        in_force = own if wanted else stopped_version(own)
        children = {
            each.name: draw(child.get(each.worker_type, stranger))
            for each in _children(hands, in_force, now)
            if draw(st.integers(0, 3))  # now and then one has not come yet
        }
        known_others = {name: draw(fact) for name, fact in others.items() if draw(st.integers(0, 3))}
        return Snapshot(
            path="agent/worker",
            desired=in_force,
            observed=draw(sees),
            state=now,
            wanted=wanted,
            error=draw(st.just("") | TEXTS),
            children=known(children),
            peers=known(known_others),
            retry=draw(st.booleans()),
            figures=draw(counted),
        )

    return build()


def _children(worker: AnyWorker | None, desired: Any, state: str) -> Sequence[ChildSpec]:
    """The children it asks for; none where it cannot be asked, or cannot say."""
    try:
        return worker.children(desired, state) if worker is not None else ()
    except Exception:
        return ()


def known(facts: Mapping[str, Fact]) -> Facts:
    """`Facts` of these, by name."""
    return Facts({name: name for name in facts}, facts.__getitem__)


def facts(worker: Source | None = None) -> Strategy:
    """What others may know of a worker. Its state is one of the class's; of a class not known, any text."""
    if worker is None:
        placed = st.tuples(TEXTS, st.none() | st.sampled_from(Phase))
        seen = st.none()
    else:
        machine = class_of(worker).machine
        before = st.sampled_from(["to_be_created", "creating"]).map(lambda name: (name, None))
        placed = before | st.sampled_from([(each.name, each.phase) for each in machine.states])
        seen = st.none() | values(class_of(worker).observed_type)
    return st.builds(
        lambda place, reason, observed, stalled, age: Fact(
            "agent/other", "", place[0], place[1], reason, observed, stalled, age
        ),
        placed,
        TEXTS,
        seen,
        st.just("") | TEXTS,
        st.none() | SECONDS,
    )


# positions and machines


def positions(machine: Machine, *, now: float = 1000.0) -> Strategy:
    """Any place an instance of the machine can be at by `now`: a state, entered before, with its clocks running or not."""

    @st.composite
    def build(draw: st.DrawFn) -> Position:
        state = draw(st.sampled_from(sorted(machine.by_name)))
        entered = draw(st.floats(0, now, allow_nan=False))
        clocks = {str(node) for arc in machine.outgoing(state) for node in arc.when.walk() if isinstance(node, Held)}
        running = draw(st.sets(st.sampled_from(sorted(clocks)))) if clocks else set()
        return Position(
            state, entered, {key: draw(st.floats(entered, now, allow_nan=False)) for key in sorted(running)}
        )

    return build()


def _fact_guard(name: str) -> Guard:
    @guard(name=name)
    def fact(snapshot: Mapping[str, Any]) -> bool:
        "the fact is true"
        return bool(snapshot[name])

    return fact


FACT_GUARDS = {name: _fact_guard(name) for name in ("fact_a", "fact_b", "fact_c")}


def conditions() -> Strategy:
    """Guards over a mapping with the facts ``fact_a``, ``fact_b`` and ``fact_c`` (see `truths`), composed, with and without time."""
    leaves = st.sampled_from([ALWAYS, *FACT_GUARDS.values()])
    return st.recursive(
        leaves,
        lambda parts: (
            st.builds(lambda a, b: a & b, parts, parts)
            | st.builds(lambda a, b: a | b, parts, parts)
            | st.builds(lambda a: ~a, parts)
            | st.builds(held, parts, st.integers(0, 9))
        ),
        max_leaves=4,
    )


def truths() -> Strategy:
    """Snapshots for the guards of `conditions`."""
    return st.fixed_dictionaries({name: st.booleans() for name in FACT_GUARDS})


NAMES = st.sampled_from(["idle", "open", "shut", "busy", "cold", "warm", "full", "empty", "slow", "fast", "up", "down"])


def machines(guards: Strategy | None = None) -> Strategy:
    """Any valid machine of up to five states, with these guards (default: `conditions`)."""
    waits = st.none() | st.integers(0, 9)
    ways = st.lists(
        st.tuples(
            st.integers(0, 4),
            st.integers(1, 4),
            NAMES,
            conditions() if guards is None else guards,
            waits,
            st.integers(-2, 2),
        ),
        max_size=8,
    )

    @st.composite
    def build(draw: st.DrawFn) -> Machine:
        phases = st.sampled_from(Phase) if draw(st.booleans()) else st.none()
        names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
        states = [State(draw(phases), name=each, act=draw(st.just("") | NAMES), reason=draw(TEXTS)) for each in names]
        arcs: dict[tuple[str, ...], Arc] = {}
        for start, step, event, when, after, priority in draw(ways):
            source, target = states[start % len(states)], states[(start + step) % len(states)]
            if source is not target:
                key = (event, source.name, target.name, str(when))
                arcs[key] = source.to(target, on=event, when=when, after=after, priority=priority)
        return Machine(draw(NAMES), states, arcs.values(), initial=draw(st.sampled_from(states)).name)

    return build()
