"""Clocks over a gap: what is stored of running waits, and how they go on by their policies."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.samples import alive, machines, snapshots, thorough

from setpoint.machine import (
    GuardError,
    Machine,
    MachineError,
    Position,
    Resume,
    State,
    decide,
    diff,
    elapsed,
    explain,
    held,
    load,
    resume,
    to_dict,
)
from setpoint.machine.guards import Guard
from setpoint.machine.seconds import RESUMES

a, b = State(name="a"), State(name="b")
UP = {"alive": True}
seconds = st.floats(0, 1e6, allow_nan=False)
moments = st.floats(-1e6, 1e6, allow_nan=False)


def waiting(policy: Resume, wait: float = 60) -> Machine:
    return Machine("m", [a, b], [a.to(b, on="go", after=wait, resume=policy)])


def holding(policy: Resume, wait: float = 60) -> Machine:
    return Machine("m", [a, b], [a.to(b, on="go", when=held(alive, wait, resume=policy))])


def due_after(machine: Machine, *, ran: float, down: float, begin: float = 0.0, now: float = 5_000.0) -> float:
    """Seconds that are still to be waited, having been in the state for `ran` and down for `down`."""
    first = decide(machine, Position("a", begin), UP, begin)
    stored = elapsed(machine, Position("a", begin, first.held), begin + ran)
    again = decide(machine, resume(machine, json.loads(json.dumps(stored)), down_for=down, now=now), UP, now)
    return 0.0 if again.moved else (again.wake_at or now) - now


@pytest.mark.parametrize("machine", [waiting, holding])
def test_each_policy_counts_a_gap_in_its_own_way(machine: type) -> None:
    """After 20 of 60 s and 15 s down: deadline has 25 s left, remaining 40, restart all 60."""
    left = [due_after(machine(policy), ran=20, down=15) for policy in RESUMES]
    assert left == [25, 40, 60]


@given(
    st.sampled_from([waiting, holding]),
    st.sampled_from(RESUMES),
    seconds,
    seconds,
    moments,
    moments,
    st.integers(1, 1000),
)
@thorough
def test_a_wait_is_never_longer_than_declared_and_ends_by_its_policy(
    machine: type, policy: Resume, ran: float, down: float, begin: float, now: float, wait: int
) -> None:
    """Whatever the clocks before and after: what is left is the declared wait less what counts, and never negative."""
    ran = min(ran, wait * 0.999)
    counted = {"deadline": ran + down, "remaining": ran, "restart": 0.0}[policy]
    left = due_after(machine(policy, wait), ran=ran, down=down, begin=begin, now=now)
    assert left == pytest.approx(max(0.0, wait - counted), abs=1e-6)


@pytest.mark.parametrize("machine", [waiting, holding])
def test_a_deadline_that_passed_while_down_is_due_at_once(machine: type) -> None:
    """The machine moves at its first decision."""
    assert due_after(machine("deadline"), ran=1, down=3_600) == 0


@given(machines(), snapshots, seconds, seconds, moments, st.integers(0, 4), st.integers(1, 3))
@thorough
def test_what_is_stored_is_never_negative_and_reads_back(
    machine: Machine, facts, down, later, now, place, times
) -> None:  # type: ignore[no-untyped-def]
    """Over several gaps in a row stored positions are plain data, without negative seconds, and resuming them asks no guard."""
    name = list(machine.by_name)[place % len(machine.by_name)]
    position = Position(name, now)
    for _ in range(times):
        with suppress(GuardError):
            position = position._replace(held=decide(machine, position, facts, now).held)
        stored = elapsed(machine, position, now + later)
        assert stored == json.loads(json.dumps(stored))
        assert min([stored["in_state"], *stored["clocks"].values()]) >= 0
        position = resume(machine, stored, down_for=down, now=now)
        assert all(start <= now for start in [position.entered_at, *position.held.values(), *position.begun.values()])


def test_remaining_waits_the_rest_over_many_gaps() -> None:
    """Ten times 5 s with an hour down between each: 10 of 60 s are left."""
    machine, position = waiting("remaining"), Position("a", 0.0)
    for _ in range(10):
        position = resume(machine, elapsed(machine, position, 5.0), down_for=3_600, now=0.0)
    assert decide(machine, position, {}, 9.9).wake_at == 10
    assert decide(machine, position, {}, 10).moved
    assert position.entered_at == -36_050  # how long it really is in this state


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    """Neither a `now` before the beginning nor a negative gap makes a wait longer than declared."""
    machine = waiting("remaining")
    assert elapsed(machine, Position("a", 100.0), 40.0) == {
        "state": "a",
        "in_state": 0,
        "clocks": {"go -> b when always": 0},
    }
    assert (
        decide(machine, resume(machine, elapsed(machine, Position("a"), 20), down_for=-500, now=7), {}, 7).wake_at == 47
    )


def test_a_wait_that_goes_on_survives_staying_and_ends_with_the_state() -> None:
    """Decisions to stay keep it as it is, and explain shows the same moment."""
    machine = waiting("remaining")
    position = resume(machine, elapsed(machine, Position("a"), 20), down_for=1_000, now=0)
    for now in (1.0, 2.0, 3.0):
        decision = decide(machine, position, {}, now)
        assert decision.wake_at == 40
        position = position._replace(held=decision.held)
    assert explain(machine, position, {}, 3.0).ways[0].opens_at == 40
    assert Position(decide(machine, position, {}, 40).state, 40).begun == {}


def test_the_usual_policies_store_nothing_of_their_own() -> None:
    """`after=` counts from when the state was entered, and nobody saw a held guard: neither needs a clock in the store."""
    machine = Machine("m", [a, b], [a.to(b, on="go", after=60), a.to(b, on="hold", when=held(alive, 5))])
    first = decide(machine, Position("a"), UP, 0)
    assert elapsed(machine, Position("a", 0, first.held), 3) == {"state": "a", "in_state": 3, "clocks": {}}
    assert resume(machine, {"state": "a", "in_state": 3, "clocks": {}}, down_for=0, now=10) == Position("a", 7)


def test_a_guard_that_is_false_after_the_gap_does_not_go_on() -> None:
    """A clock goes on only where the guard still holds at the first look."""
    machine = holding("deadline")
    position = resume(
        machine,
        {"state": "a", "in_state": 59, "clocks": {str(held(alive, 60, resume="deadline")): 59}},
        down_for=9,
        now=0,
    )
    decision = decide(machine, position, {"alive": False}, 0)
    assert (decision.moved, decision.held) == (False, {})


def test_a_changed_wait_keeps_the_clock_of_its_arc() -> None:
    """A new version that waits 90 s instead of 60 has 70 left after 20."""
    stored = elapsed(waiting("remaining"), Position("a"), 20)
    assert (
        decide(waiting("remaining", 90), resume(waiting("remaining", 90), stored, down_for=5, now=0), {}, 0).wake_at
        == 70
    )


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        ({"state": "a", "in_state": -1, "clocks": {}}, ValueError),
        ({"state": "a", "in_state": float("nan"), "clocks": {}}, ValueError),
        ({"state": "a", "in_state": "long", "clocks": {}}, ValueError),
        ({"state": "a", "clocks": {}}, ValueError),
        ({"state": "a", "in_state": 1, "clocks": {"x": float("inf")}}, ValueError),
        ({"state": "a", "in_state": 1, "clocks": [1]}, ValueError),
        ({"state": 1, "in_state": 1}, ValueError),
        ({"state": "gone", "in_state": 1}, LookupError),
    ],
)
def test_what_is_no_stored_position_is_refused(stored: dict[str, object], error: type[Exception]) -> None:
    """Rubbish in a store does not become a time, and a state that is gone is named."""
    with pytest.raises(error, match=r"stored position|no state 'gone'"):
        resume(waiting("deadline"), stored, down_for=1, now=0)
    with pytest.raises(ValueError, match="down_for is nan"):
        resume(waiting("deadline"), {"state": "a", "in_state": 1}, down_for=float("nan"), now=0)


def test_policies_are_in_files_and_diffs_where_they_are_not_the_usual() -> None:
    """The default is not written; another one is, comes back, and a change of it is minor."""
    plain, other = waiting("deadline"), waiting("remaining")
    assert "resume" not in to_dict(plain)["arcs"][0]
    assert to_dict(other)["arcs"][0]["resume"] == "remaining"
    assert load(to_dict(other)) == other
    assert [str(change) for change in diff(plain, other)] == ["minor: arc a -go-> b: resume was deadline, is remaining"]
    guarded = holding("deadline")
    assert to_dict(guarded)["arcs"][0]["when"] == "held(alive, 60, resume='deadline')"
    assert load(to_dict(guarded), guards={"alive": alive}) == guarded


def test_a_policy_that_there_is_not_is_a_fault() -> None:
    """In code and in files, and where there is no wait that could go on."""
    with pytest.raises(MachineError, match="resume 'later' is none of deadline, remaining, restart"):
        Machine("m", [a, b], [a.to(b, on="go", after=1, resume="later")])  # type: ignore[arg-type]
    with pytest.raises(MachineError, match="there is no after="):
        Machine("m", [a, b], [a.to(b, on="go", resume="restart")])
    with pytest.raises(ValueError, match="expected one of"):
        held(alive, 1, resume="later")  # type: ignore[arg-type]
    file = {"name": "m", "states": ["a", "b"], "guards": ["alive"]}
    for arc in ({"after": 1, "resume": "later"}, {"when": "held(alive, 1, resume='later')"}):
        with pytest.raises(MachineError, match="none of deadline, remaining, restart"):
            load({**file, "arcs": [{"event": "go", "from": "a", "to": "b", **arc}]})


def test_a_setting_may_be_called_resume() -> None:
    """A number is a setting's default, a text a policy; both can stand in one guard."""
    text = "held(alive, resume=5, resume='remaining')"
    data = {"name": "m", "states": ["a", "b"], "arcs": [{"event": "go", "from": "a", "to": "b", "when": text}]}
    when: Guard = load(data, guards={"alive": alive}).arcs[0].when
    assert str(when) == text
