"""Checking: what is wrong with a machine is found before it runs, with a way to it and how certain that is."""

from __future__ import annotations

from functools import reduce
from itertools import product
from operator import or_
from typing import Any

import pytest
from hypothesis import given
from tests.machine.samples import (
    BRIDGE,
    Facts,
    alive,
    brief,
    guards,
    machines,
    process,
    ready,
    snapshots,
    thorough,
    wanted,
)

from setpoint.machine import (
    Finding,
    Guard,
    Machine,
    Phase,
    Position,
    Setting,
    State,
    check,
    decide,
    expression,
    guard,
    held,
    load,
    to_dict,
)  # fmt: skip
from setpoint.machine import guards as model_guards
from setpoint.machine.logic import Terms, search


def found(machine: Machine, code: str) -> list[Finding]:
    return [finding for finding in check(machine) if finding.code == code]


def chain(*conditions: Guard, **arc: Any) -> Machine:
    """a leads to b by the first guard, to c by the second, and so on; all are final but a."""
    start = State(name="a")
    ends = [State(name=name, final=True) for name in "bcdefgh"[: len(conditions)]]
    arcs = [start.to(end, on=f"to_{end}", when=when, **arc) for end, when in zip(ends, conditions, strict=True)]
    return Machine("chain", [start, *ends], arcs)


def test_a_sound_machine_has_no_errors_and_the_checker_says_what_it_could_not_see() -> None:
    """Python guards are opaque, and a start without a time limit may wait for ever; both are said, neither is a fault."""
    findings = check(process())
    assert {finding.severity for finding in findings} == {"info"}
    assert [finding.certainty for finding in findings if finding.code == "opaque"] == ["opaque"]
    assert "alive, wanted" in found(process(), "opaque")[0].message


def test_the_bridge_is_sound() -> None:
    """13 states and all their arcs: nothing worse than starts that may wait, by contract."""
    findings = check(load(BRIDGE))
    assert {finding.code for finding in findings} == {"waits-for-ever", "opaque"}
    assert found(load(BRIDGE), "waits-for-ever")[1].witness == ("start", "start_connection_up")


@pytest.mark.parametrize(
    "when",
    [
        alive & ~alive,
        expression("False"),
        expression("level == 1 and level == 2"),
        expression("level > 3") & expression("level < 2"),
        expression("mode in ['a', 'b']") & expression("mode == 'c'"),
        expression("x is None") & expression("x > 3"),
        expression("1 < level < 1"),
        held(alive, 5) & ~alive,
        (alive | ready) & ~alive & ~ready,
        expression("running") & ~expression("running"),
        expression("not (level > 3) and level == 4"),
    ],
)
def test_an_arc_that_can_never_open_is_an_error(when: Guard) -> None:
    """Whatever the facts, the guard is false; what only it leads to cannot be reached."""
    machine = chain(when, alive)
    assert [finding.place for finding in found(machine, "never-open")] == ["a -to_b-> b"]
    assert [finding.place for finding in found(machine, "unreachable")] == ["b"]
    assert check(machine)[0].severity == "error"


@pytest.mark.parametrize(
    "when",
    [
        alive & ~ready,
        expression("level > 3") & expression("level < 4"),
        expression("mode != 'a'") & expression("mode != 'b'"),
        expression("len(name) > 3") & expression("len(name) > 5"),
        held(alive, 5) & ~held(alive, 9),
        expression("level != level"),
        expression("not (level > 3) and not (level <= 3)"),  # not a number is neither
        expression("name < 'b'") & expression("name > 'a'"),
        expression("x is None") | expression("x > 3"),
    ],
)
def test_what_might_open_is_not_reported(when: Guard) -> None:
    """A finding holds whatever the world does, so doubt is for the arc."""
    assert not found(chain(when, alive), "never-open")


def test_an_arc_behind_one_that_is_always_open_is_shadowed() -> None:
    """The finding names the arc in the way."""
    machine = chain(model_guards.ALWAYS, alive)
    (finding,) = found(machine, "shadowed")
    assert (finding.place, finding.severity, finding.certainty) == ("a -to_c-> c", "warning", "exact")
    assert "a -to_b-> b" in finding.message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (alive, alive & ready),
        (alive | ready, ready),
        (expression("level > 1"), expression("level > 2")),
        (alive, held(alive, 5)),
    ],
)
def test_an_arc_that_implies_an_earlier_one_is_shadowed(first: Guard, second: Guard) -> None:
    """Whenever the second is open, so is the first; the other way round nothing is wrong."""
    assert [finding.place for finding in found(chain(first, second), "shadowed")] == ["a -to_c-> c"]
    assert not found(chain(second, first), "shadowed")


def test_several_arcs_can_shadow_together() -> None:
    """Either the one or the other is open, so what comes behind them never is tried."""
    machine = chain(alive, ~alive & ready, ~alive & ~ready, model_guards.ALWAYS)
    assert [finding.place for finding in found(machine, "shadowed")] == ["a -to_e-> e"]


def test_a_wait_can_keep_an_earlier_arc_from_shadowing() -> None:
    """An arc that opens later than this one leaves it time; a setting may be any time."""
    a, b, c = State(name="a"), State(name="b", final=True), State(name="c", final=True)

    def shadowed(first: Any, second: Any) -> bool:
        arcs = [a.to(b, on="x", when=alive, after=first), a.to(c, on="y", when=alive, after=second)]
        return bool(found(Machine("m", [a, b, c], arcs), "shadowed"))

    grace = Setting("grace_s", 5)
    assert shadowed(None, 5)
    assert shadowed(5, 5)
    assert shadowed(3, 5)
    assert shadowed(grace, grace)
    assert shadowed(0, grace)
    assert not shadowed(5, 3)
    assert not shadowed(5, None)
    assert not shadowed(3, grace)


def test_a_state_no_arc_leads_to_is_unreachable() -> None:
    """Also when only unreachable states lead to it."""
    a, b, c = State(name="a", final=True), State(name="b"), State(name="c")
    machine = Machine("m", [a, b, c], [b.to(c, on="x"), c.to(b, on="y")])
    assert [finding.place for finding in found(machine, "unreachable")] == ["b", "c"]
    assert "only from c" in found(machine, "unreachable")[0].message


def test_a_trap_is_a_state_that_nothing_leaves() -> None:
    """Not one that is final or stopped; a failed one is left by hand, which is said. The witness leads there."""
    a, b, c = State(Phase.STOPPED, name="a"), State(Phase.HEALTHY, name="b"), State(Phase.FAILED, name="c")
    end = State(name="end", final=True)
    arcs = [a.to(b, on="go", when=wanted), b.to(c, on="fail", when=~alive), a.to(end, on="finish", when=ready)]
    machine = Machine("m", [a, b, c, end], arcs)
    (finding,) = found(machine, "trap")
    assert (finding.place, finding.severity, finding.witness) == ("c", "info", ("go", "fail"))
    (worse,) = found(Machine("m", [a, b], [a.to(b, on="go", when=wanted)]), "trap")
    assert (worse.place, worse.severity, worse.witness) == ("b", "error", ("go",))
    assert str(worse).startswith("error: b: a trap")


def test_a_state_from_which_no_way_leads_to_stopped_once_told_to_stop_is_an_error() -> None:
    """Guards marked wanted=True are false then; all else is free, so only what can never stop is reported."""
    stopped, running, stuck = (
        State(Phase.STOPPED, name="off"),
        State(Phase.HEALTHY, name="on"),
        State(Phase.DEGRADED, name="stuck"),
    )
    back = [stopped.to(running, on="start", when=wanted), running.to(stuck, on="jam", when=alive)]
    bad = Machine("m", [stopped, running, stuck], [*back, stuck.to(stopped, on="stop", when=wanted & ~alive)])
    findings = found(bad, "no-way-to-stop")
    assert [(finding.place, finding.witness) for finding in findings] == [
        ("on", ("start",)),
        ("stuck", ("start", "jam")),
    ]
    assert "while not wanted" in findings[0].message
    good = Machine("m", [stopped, running, stuck], [*back, stuck.to(stopped, on="stop", when=~wanted)])
    assert not found(good, "no-way-to-stop")


def test_a_stop_arc_that_another_always_gets_before_is_no_way() -> None:
    """Told to stop, the arc in front is open for certain and leads elsewhere, for ever."""
    off, on, pause = (
        State(Phase.STOPPED, name="off"),
        State(Phase.HEALTHY, name="on"),
        State(Phase.DEGRADED, name="pause"),
    )
    arcs = [
        off.to(on, on="start", when=wanted), on.to(pause, on="rest", when=~wanted), on.to(off, on="stop", when=~wanted & ready),
        pause.to(on, on="wake", when=alive),
    ]  # fmt: skip
    assert {finding.place for finding in found(Machine("m", [off, on, pause], arcs), "no-way-to-stop")} == {
        "on",
        "pause",
    }


def test_a_control_machine_without_a_stopped_state_cannot_stop() -> None:
    """Said once, of the machine."""
    a, b = State(Phase.HEALTHY, name="a"), State(Phase.DEGRADED, name="b")
    machine = Machine("m", [a, b], [a.to(b, on="x", when=alive), b.to(a, on="y", when=~alive)])
    assert [finding.place for finding in found(machine, "no-way-to-stop")] == ["m"]


def test_a_round_of_arcs_that_are_always_open_is_a_livelock() -> None:
    """Also where a guard only looks like a question; a wait makes it a clock, which is fine."""
    a, b, c = State(name="a"), State(name="b"), State(name="c")
    round_ = [b.to(c, on="two", when=alive | ~alive), c.to(b, on="three")]
    (finding,) = found(Machine("m", [a, b, c], [a.to(b, on="one"), *round_]), "livelock")
    assert (finding.place, finding.severity, finding.witness) == ("b", "error", ("one",))
    assert "b → c → b" in finding.message
    clock = [a.to(b, on="tick", after=1), b.to(a, on="tock")]
    assert not found(Machine("clock", [a, b], clock), "livelock")


def test_a_start_with_a_time_limit_does_not_wait_for_ever() -> None:
    """after= or held(...) on an arc that leads on is a limit; on the way to stopping it is none."""
    off, start, on = (
        State(Phase.STOPPED, name="off"),
        State(Phase.STARTING, name="start"),
        State(Phase.HEALTHY, name="on"),
    )
    fixed = [
        off.to(start, on="go", when=wanted),
        start.to(on, on="up", when=alive),
        on.to(off, on="stop", when=~wanted),
    ]

    def waits(**late: Any) -> bool:
        return bool(found(Machine("m", [off, start, on], [*fixed, start.to(**late)]), "waits-for-ever"))

    assert not waits(target=on, on="late", after=30)
    assert not waits(target=on, on="late", when=held(ready, 5))
    assert waits(target=off, on="late", after=30)


def test_overlap_is_reported_where_it_is_proved() -> None:
    """With example facts; Python guards may exclude each other, and an else after a question is the plain way to write one."""
    (finding,) = found(chain(expression("level > 3"), expression("level > 1 and mode == 'a'")), "overlap")
    assert "level = 4" in finding.message
    assert "mode = 'a'" in finding.message
    assert not found(chain(alive, ready), "overlap")
    assert not found(chain(expression("level > 3"), model_guards.ALWAYS), "overlap")
    assert not found(chain(expression("level > 3"), expression("level < 3")), "overlap")


def test_too_many_facts_are_given_up_and_said_to_be() -> None:
    """Bounded: no error is claimed, none is hidden."""
    pigeons = [[guard(name=f"pigeon{p}_in_hole{h}")(lambda s: True) for h in range(6)] for p in range(7)]
    impossible: Guard = ready
    for row in pigeons:
        impossible = impossible & reduce(or_, row)
    for hole in range(6):
        for one, other in product(range(7), repeat=2):
            if one < other:
                impossible = impossible & ~(pigeons[one][hole] & pigeons[other][hole])
    machine = chain(impossible)
    assert [finding.certainty for finding in found(machine, "undecided")] == ["bounded"]
    assert not found(machine, "never-open")


@thorough
@given(guards, snapshots)
def test_a_guard_called_impossible_is_never_true(node: Guard, snapshot: Facts) -> None:
    """Soundness against evaluation: whatever a snapshot makes true, the search finds possible."""
    answers = {str(part): False for part in node.walk() if isinstance(part, model_guards.Held)}
    terms = Terms()
    if node.compile(timed=True)(model_guards.Moment(snapshot, answers)):
        assert search(terms.formula(node), terms).possible is not False
    if not node.compile(timed=True)(model_guards.Moment(snapshot, answers)):
        assert search(terms.formula(~node), terms).possible is not False


@brief
@given(machines(), snapshots)
def test_an_arc_called_dead_is_never_taken(machine: Machine, snapshot: Facts) -> None:
    """Soundness against the kernel: no decision ever takes an arc that is reported as never open or shadowed."""
    dead = {finding.place for finding in check(machine) if finding.code in ("never-open", "shadowed")}
    for state in machine.states:
        for now in (0.0, 1e7):
            decision = decide(machine, Position(state.name), snapshot, now)
            assert decision.arc is None or str(decision.arc) not in dead or _has_twin(machine, str(decision.arc))


def _has_twin(machine: Machine, text: str) -> bool:
    return sum(str(arc) == text for arc in machine.arcs) > 1


@brief
@given(machines())
def test_a_witness_is_a_way_that_exists(machine: Machine) -> None:
    """Each event of a witness leaves the state that the one before led to."""
    for finding in check(machine):
        places = {machine.initial}
        for event in finding.witness:
            places = {arc.target.name for name in places for arc in machine.outgoing(name) if arc.event == event}
        assert places


def test_a_machine_is_checked_without_its_code_all_the_same() -> None:
    """A file names its guards and which of them is the wish to run: that is all that the checker needs."""
    assert check(load(to_dict(process()))) == check(process())
