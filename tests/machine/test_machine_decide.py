"""The kernel: priority and order, change or act, time as an argument, and when to look again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.samples import Facts, alive, brief, machines, process, ready, snapshots, thorough, wanted

from setpoint.machine import GuardError, Machine, Phase, Position, Setting, State, decide, expression, guard, held

times = st.floats(0, 100)


def pair(*, phase: Phase | None = None, **arc: Any) -> Machine:
    a, b = State(phase, name="a"), State(name="b")
    return Machine("pair", [a, b], [a.to(b, on="go", **arc)])


def test_a_machine_moves_along_the_open_arc() -> None:
    """A move names the arc and asks for no effects."""
    decision = decide(process(), Position("stopped"), {"wanted": True}, 0)
    assert decision.moved
    assert (decision.state, decision.effects, decision.reason) == ("starting", (), "start")
    assert str(decision.arc) == "stopped -start-> starting"


def test_a_machine_that_stays_asks_for_the_action_of_its_state() -> None:
    """Staying is no move; the action is asked for, and the reason says what is waited for."""
    decision = decide(process(), Position("starting"), {"wanted": True, "alive": False}, 0)
    assert not decision.moved
    assert (decision.state, decision.effects) == ("starting", ("start",))
    assert decision.reason == "waiting for start_done (not yet: the process is running)"


@thorough
@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=6))
def test_the_highest_priority_wins_then_the_first_defined(ways: list[tuple[int, bool]]) -> None:
    """Among open arcs there is exactly one winner, whatever the order in which they were written."""
    start = State(name="start")
    ends = [State(name=f"end{number}") for number in range(len(ways))]
    arcs = [
        start.to(end, on="go", priority=priority, when=expression(str(is_open)))
        for end, (priority, is_open) in zip(ends, ways, strict=True)
    ]
    expected = max(((priority, -number) for number, (priority, is_open) in enumerate(ways) if is_open), default=None)
    state = decide(Machine("m", [start, *ends], arcs), Position("start"), {}, 0).state
    assert state == ("start" if expected is None else f"end{-expected[1]}")


@brief
@given(machines(), snapshots, times, times)
def test_a_decision_is_pure_and_either_moves_or_acts(
    machine: Machine, snapshot: Facts, entered: float, now: float
) -> None:
    """Asked twice it says the same; a move has no effects; staying stays."""
    for state in machine.states:
        position = Position(state.name, entered)
        decision = decide(machine, position, snapshot, now)
        assert decide(machine, position, snapshot, now) == decision
        if decision.arc is not None:
            assert decision.state == decision.arc.target.name
            assert decision.arc in machine.outgoing(state.name)
            assert (decision.effects, decision.wake_at, decision.held) == ((), None, {})
        else:
            assert decision.state == state.name
            assert decision.effects == ((state.act,) if state.act else ())


@brief
@given(machines(), snapshots, times, times, st.data())
def test_nothing_changes_before_wake_at(
    machine: Machine, snapshot: Facts, entered: float, now: float, data: st.DataObject
) -> None:
    """As long as the facts stay, deciding at any moment before wake_at gives the same decision: no need to poll."""
    for state in machine.states:
        first = decide(machine, Position(state.name, entered), snapshot, now)
        if first.moved:
            continue
        position = Position(state.name, entered, first.held)
        end = first.wake_at if first.wake_at is not None else now + 1e9
        assert end > now
        later = data.draw(st.floats(now, end, exclude_max=True))
        assert decide(machine, position, snapshot, later) == first


@thorough
@given(
    st.lists(
        st.tuples(st.sampled_from(["after", "held", "both", "neither"]), st.integers(1, 9)), min_size=1, max_size=5
    ),
    times,
)
def test_wake_at_is_the_earliest_wait_and_then_it_moves(waits: list[tuple[str, int]], now: float) -> None:
    """Of all waits the first to be over is named, and at that very moment the machine moves along its arc."""
    a, ends = State(name="a"), [State(name=f"b{number}") for number in range(len(waits))]
    arcs = [
        a.to(
            end,
            on="go",
            when=held(alive, seconds) if kind in ("held", "both") else alive if kind == "after" else ~alive,
            after=seconds if kind in ("after", "both") else None,
        )
        for end, (kind, seconds) in zip(ends, waits, strict=True)
    ]
    machine, facts = Machine("m", [a, *ends], arcs), {"alive": True}
    first = decide(machine, Position("a", now), facts, now)
    due = [now + seconds for kind, seconds in waits if kind != "neither"]
    assert first.wake_at == min(due, default=None)
    if first.wake_at is not None:
        assert decide(machine, Position("a", now, first.held), facts, first.wake_at).moved


def test_after_opens_exactly_when_it_is_over() -> None:
    """An arc with after= opens at the very moment, not before, and says when that will be."""
    machine = pair(after=5)
    before = decide(machine, Position("a", 100.0), {}, 104.999)
    assert (before.state, before.wake_at) == ("a", 105.0)
    assert decide(machine, Position("a", 100.0), {}, 105.0).state == "b"


def test_after_waits_only_behind_an_open_guard() -> None:
    """No need to wake for an arc whose guard is shut."""
    assert decide(pair(after=5, when=alive), Position("a"), {"alive": False}, 0).wake_at is None


def test_a_setting_is_in_force_per_instance() -> None:
    """The same machine waits as long as each instance's desired state says."""
    machine = pair(after=Setting("grace_s", 5))
    assert decide(machine, Position("a"), {"desired": {"grace_s": 2}}, 0).wake_at == 2
    assert decide(machine, Position("a"), {"desired": {}}, 0).wake_at == 5


def test_held_opens_after_an_unbroken_time_and_starts_anew_after_a_break() -> None:
    """The clock of a held guard runs while it is true, and one false evaluation resets it."""
    machine = pair(when=held(alive, 5))
    up, down = {"alive": True}, {"alive": False}
    first = decide(machine, Position("a"), up, 10)
    assert (first.moved, first.wake_at) == (False, 15)
    assert decide(machine, Position("a", held=first.held), up, 14.9).state == "a"
    assert decide(machine, Position("a", held=first.held), up, 15).state == "b"
    broken = decide(machine, Position("a", held=first.held), down, 14)
    assert (broken.held, broken.wake_at) == ({}, None)
    assert decide(machine, Position("a", held=broken.held), up, 15).wake_at == 20


def test_held_of_held_runs_one_clock_after_the_other() -> None:
    """The outer clock starts when the inner one is through."""
    machine = pair(when=held(held(alive, 5) & ready, 3))
    facts, position = {"alive": True, "ready": True}, Position("a")
    for now, state, wake in ((0, "a", 5), (5, "a", 8), (8, "b", None)):
        decision = decide(machine, position, facts, now)
        assert (decision.state, decision.wake_at) == (state, wake)
        position = Position("a", 0, decision.held)


def test_a_clock_that_jumps_back_does_not_count_time_that_was_not() -> None:
    """A start in the future counts as now, so the full time passes from here."""
    machine = pair(when=held(alive, 5))
    held_since = decide(machine, Position("a"), {"alive": True}, 1_000).held
    after_jump = decide(machine, Position("a", held=held_since), {"alive": True}, 10)
    assert after_jump.wake_at == 15


def test_two_held_guards_that_differ_little_have_clocks_of_their_own() -> None:
    """Neither many digits nor a name that is both a guard's and a field's makes two clocks one."""
    machine = Machine(
        "m",
        [a := State(name="a"), b := State(name="b"), c := State(name="c")],
        [a.to(b, on="x", when=held(alive, 1234567.5)), a.to(c, on="y", when=held(expression("alive"), 1234567.25))],
    )
    decision = decide(machine, Position("a"), {"alive": True}, 0)
    assert len(decision.held) == 2
    assert decision.wake_at == 1234567.25


def test_a_guard_that_raises_is_named_with_its_arc_state_and_machine() -> None:
    """The error says where; what the guard raised is chained."""
    machine = pair(when=ready & alive)
    with pytest.raises(
        GuardError, match=r"guard alive of arc a -go-> b of state 'a' of machine 'pair' raised KeyError"
    ) as caught:
        decide(machine, Position("a"), {"ready": True}, 0)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_held_guard_that_raises_does_not_shut_an_open_arc_before_it() -> None:
    """A broken guard may not keep a machine from being stopped; where its answer is needed, it raises."""
    running, stopping, idle = State(name="running"), State(name="stopping"), State(name="idle")
    machine = Machine(
        "m",
        [running, stopping, idle],
        [
            running.to(stopping, on="stop", when=~wanted),
            running.to(idle, on="idle", when=held(expression("no.such > 1"), 5)),
        ],
    )
    assert decide(machine, Position("running"), {"wanted": False}, 0).state == "stopping"
    with pytest.raises(GuardError, match=r"no\.such > 1"):
        decide(machine, Position("running"), {"wanted": True}, 0)


def test_a_fact_that_was_never_asked_for_cannot_spoil_the_reason() -> None:
    """A short-circuited leaf that would raise is shown as unanswered; the decision stands."""
    machine = pair(phase=Phase.STARTING, when=alive & expression("reply.ms < 5"))
    decision = decide(machine, Position("a"), {"alive": False}, 0)
    assert not decision.moved
    assert "not yet" not in decision.reason or "the process is running" in decision.reason


def test_reasons_are_texts_or_functions_of_the_snapshot() -> None:
    """The arc's reason comes first, then the target's, then the event in words; staying shows the state's."""
    a = State(name="a", reason=lambda s: f"level is {s['level']}")
    b, c = State(name="b", reason="arrived"), State(name="c")
    machine = Machine(
        "m",
        [a, b, c],
        [
            a.to(c, on="high_level", when=expression("level > 3")),
            a.to(b, on="low", when=expression("level < 1")),
            b.to(a, on="back", reason=lambda s: "again"),
        ],
    )
    assert decide(machine, Position("a"), {"level": 2}, 0).reason == "level is 2"
    assert decide(machine, Position("a"), {"level": 0}, 0).reason == "arrived"
    assert decide(machine, Position("a"), {"level": 4}, 0).reason == "high level"
    assert decide(machine, Position("b"), {}, 0).reason == "again"


def test_a_reason_that_raises_is_an_error_of_its_own() -> None:
    """No guard is blamed for it."""
    a = State(name="a", reason=lambda s: s["gone"])
    with pytest.raises(GuardError, match="a reason or setting of state 'a'"):
        decide(Machine("m", [a]), Position("a"), {}, 0)


def test_a_state_that_is_not_there_is_a_key_error() -> None:
    """A stored state of another version is never guessed."""
    with pytest.raises(KeyError):
        decide(process(), Position("gone"), {}, 0)


def test_guards_see_the_snapshot_itself() -> None:
    """Nothing is copied or wrapped on the way."""
    seen: list[object] = []

    @guard
    def look(s: object) -> bool:
        seen.append(s)
        return True

    snapshot = object()
    decide(pair(when=look), Position("a"), snapshot, 0)
    assert seen == [snapshot]


def test_a_leaf_that_several_guards_of_a_state_have_in_common_is_asked_once_a_decision() -> None:
    """Guards are pure, so where clocks run one answer serves all arcs; each decision asks anew."""
    asked: list[int] = []

    @guard
    def slow(s: dict[str, int]) -> bool:
        "costs something"
        asked.append(s["turn"])
        return s["turn"] < 3

    a, b, c = (State(name=name) for name in "abc")
    machine = Machine("m", [a, b, c], [a.to(b, on="x", when=~slow), a.to(c, on="y", when=slow & held(slow, 9) & slow)])
    position = Position("a")
    for turn in (1, 2):
        position = position._replace(held=decide(machine, position, {"turn": turn}, turn).held)
    assert asked == [1, 2]
    assert decide(machine, position, {"turn": 3}, 3).state == "b"
    assert asked == [1, 2, 3]


def test_a_leaf_in_common_that_raises_is_named() -> None:
    """An answer that could not be had is not kept, and the guard is to blame wherever it is asked."""
    a, b = State(name="a"), State(name="b")
    machine = Machine("m", [a, b], [a.to(b, on="x", when=~alive), a.to(b, on="y", when=held(alive, 9))])
    with pytest.raises(
        GuardError, match="guard alive of arc a -x-> b of state 'a' of machine 'm' raised KeyError: 'alive'"
    ):
        decide(machine, Position("a"), {}, 0)
