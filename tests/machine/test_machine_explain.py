"""Explaining: every way out, every leaf, and never at odds with the decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.machine.samples import Facts, alive, brief, machines, process, ready, snapshots

from setpoint.machine import Machine, Position, State, Verdict, decide, explain, guard, held
from setpoint.machine.guards import Guard, Judged

times = st.floats(0, 100)


def leaf_count(judged: Judged) -> int:
    return sum(map(leaf_count, judged.parts)) if judged.parts else 1


def guard_leaves(node: Guard) -> int:
    return sum(not part.parts() for part in node.walk())


@brief
@given(machines(), snapshots, times, times)
def test_an_explanation_agrees_with_the_decision(machine: Machine, snapshot: Facts, entered: float, now: float) -> None:
    """The first way that it shows open is the one taken; where none is, the machine stays."""
    for state in machine.states:
        position = Position(state.name, entered)
        decision, why = decide(machine, position, snapshot, now), explain(machine, position, snapshot, now)
        first = next(((way.event, way.target) for way in why.ways if way.open), None)
        assert first == (None if decision.arc is None else (decision.arc.event, decision.arc.target.name))
        assert (why.next, why.reason, why.acts, why.wake_at) == (
            decision.state, decision.reason, decision.effects, decision.wake_at,
        )  # fmt: skip


@brief
@given(machines(), snapshots)
def test_every_way_and_every_leaf_is_shown(machine: Machine, snapshot: Facts) -> None:
    """No short cuts: what was not asked is judged too."""
    for state in machine.states:
        why = explain(machine, Position(state.name), snapshot, 0)
        arcs = machine.outgoing(state.name)
        assert [way.event for way in why.ways] == [arc.event for arc in arcs]
        assert [leaf_count(way.guard) for way in why.ways] == [guard_leaves(arc.when) for arc in arcs]


def test_an_explanation_reads_as_a_ticked_tree() -> None:
    """Ways and guards as indented lines, with meanings and facts."""

    @guard
    def enough_disk(s: Facts) -> Verdict:
        "there is disk space"
        return Verdict(False, "3 GB are free")

    a, b = State(name="a"), State(name="b")
    machine = Machine("m", [a, b], [a.to(b, on="go", when=(alive | ~ready) & enough_disk & held(alive, 5))])
    why = explain(machine, Position("a"), {"alive": True, "ready": True}, 0)
    assert list(why.lines()) == [
        "✗ go → b",
        "  ✗ all of",
        "    ✓ any of",
        "      ✓ alive: the process is running",
        "      ✗ not",
        "        ✓ ready: it answers",
        "    ✗ enough_disk: there is disk space — 3 GB are free",
        "    ✗ held(alive, 5): for 5 s without a break",
        "      ✓ alive: the process is running",
    ]


def test_it_says_where_it_is_since_when_and_when_a_wait_is_over() -> None:
    """Times are of the clock of the caller."""
    a, b = State(name="a"), State(name="b")
    why = explain(Machine("m", [a, b], [a.to(b, on="go", after=5)]), Position("a", 10.0), {}, 12.0)
    assert (why.machine, why.state, why.phase, why.entered_at, why.wake_at) == ("m", "a", "", 10.0, 15.0)
    assert (why.ways[0].open, why.ways[0].opens_at) == (False, 15.0)


def test_the_phase_and_the_next_state_are_shown() -> None:
    """What it would do now."""
    why = explain(process(), Position("running"), {"wanted": True, "alive": False, "ready": False}, 0)
    assert (why.phase, why.next, why.reason) == ("healthy", "starting", "crashed")
