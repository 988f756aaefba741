"""Exploring: what several machines that see one another can come to together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.samples import brief

from setpoint.machine import (
    ALWAYS,
    Guard,
    Instance,
    Machine,
    Phase,
    Position,
    State,
    decide,
    explore,
    expression,
    guard,
    held,
    peer,
)


@guard(wanted=True)
def wanted(s: Any) -> bool:
    "it is wanted running"
    return bool(s["wanted"])


@guard
def lucky(s: Any) -> bool:
    "a Python guard"
    return bool(s["lucky"])


stopped = State(Phase.STOPPED, name="stopped")
active = State(Phase.HEALTHY, name="active")
waiting = State(Phase.STARTING, name="waiting")
BOTH = peer("a").is_in("active") & peer("b").is_in("active")


def unit(free: Guard, name: str = "unit") -> Machine:
    """One of several that share something: it takes it when the others leave it free."""
    arcs = [
        stopped.to(waiting, on="start", when=wanted),
        waiting.to(active, on="take", when=free),
        (waiting | active).to(stopped, on="stop", when=~wanted),
    ]
    return Machine(name, [stopped, waiting, active], arcs)


def pair(free: Guard) -> dict[str, Instance]:
    return {"a": Instance(unit(free), {"other": "b"}), "b": Instance(unit(free), {"other": "a"})}


def test_mutual_exclusion_that_holds_is_said_to_hold() -> None:
    """Two that look at each other before they take are never active together; all joint states were seen."""
    found = explore(pair(~peer("other").is_in("active")), never={"both": BOTH})
    assert (found.ok, found.certainty, found.findings) == (True, "exact", ())
    assert str(found) == f"{found.states} joint states, exact: nothing found"


def test_mutual_exclusion_that_fails_has_a_shortest_witness() -> None:
    """One that looks whether the other waits, and not whether it is active, overtakes it."""
    found = explore(pair(~peer("other").is_in("waiting")), never={"both": BOTH})
    finding, deadlock = found.findings
    assert (finding.code, finding.place, finding.certainty) == ("forbidden", "a=active, b=active", "exact")
    assert finding.witness == ("b is wanted", "b.start", "b.take", "a is wanted", "a.start", "a.take")
    assert (deadlock.code, deadlock.place) == ("deadlock", "a=waiting, b=waiting")
    assert not found.ok


def test_two_that_wait_for_each_other_are_a_deadlock() -> None:
    """Each is sound alone; together neither ever gets active, and no wish was told to change."""
    a = Machine("a", [waiting, active], [waiting.to(active, on="go", when=peer("b").is_in("active"))])
    b = Machine("b", [waiting, active], [waiting.to(active, on="go", when=peer("a").is_in("active"))])
    (finding,) = explore({"a": a, "b": b}).findings
    assert (finding.code, finding.place, finding.witness) == ("deadlock", "a=waiting, b=waiting", ())
    assert finding.message == "a deadlock: no instance can move, and a, b wait for each other"


def test_what_only_an_observation_or_time_can_open_is_no_deadlock() -> None:
    """Facts of the world and the passing of time may come: whoever waits for them is not stuck."""
    for when, after in ((expression("observed.level > 3"), None), (held(expression("hot"), 5), None), (ALWAYS, 60)):
        machine = Machine("m", [waiting, active], [waiting.to(active, on="go", when=when, after=after)])
        assert explore({"a": machine}).ok


def test_a_target_that_can_be_lost_is_found() -> None:
    """Once b took what nobody gives back while it stays wanted, a is out of reach."""
    found = explore(
        pair(~peer("other").is_in("active")),
        targets={"a works": peer("a").healthy, "one works": peer("a").healthy | peer("b").healthy},
    )
    (finding,) = found.findings
    assert (finding.code, finding.place) == ("out-of-reach", "a=stopped, b=active")
    assert finding.message == "a works: cannot be reached any more, from 2 of 8 joint states"


def test_units_that_cannot_all_be_stopped_are_found() -> None:
    """a stops once b has stopped, and b once a has: told to stop, both stay."""

    def stubborn(other: str) -> Machine:
        arcs = [
            stopped.to(active, on="start", when=wanted),
            active.to(stopped, on="stop", when=~wanted & peer(other).stopped),
        ]
        return Machine("m", [stopped, active], arcs)

    codes = {finding.code: finding for finding in explore({"a": stubborn("b"), "b": stubborn("a")}).findings}
    assert set(codes) == {"deadlock", "no-way-to-stop"}
    assert codes["no-way-to-stop"].place == "a=active, b=active"
    assert codes["no-way-to-stop"].witness[-1].endswith("is no longer wanted")


def test_a_child_runs_while_its_parent_says_so() -> None:
    """`wanted=` of an instance replaces the wish: the flow runs in some states of the bridge only."""
    bridge = unit(peer("flow").is_in("stopped"), "bridge")
    flow = Instance(unit(ALWAYS, "flow"), wanted=peer("bridge").is_in("active"))
    found = explore(
        {"bridge": bridge, "flow": flow},
        never={"early": peer("flow").is_in("waiting") & peer("bridge").is_in("waiting")},
    )
    (finding,) = found.findings  # told to stop and to start again, the bridge finds a flow that has not stopped yet
    assert finding.witness == (
        "bridge is wanted",
        "bridge.start",
        "bridge.take",
        "flow.start",
        "bridge is no longer wanted",
        "bridge.stop",
        "bridge is wanted",
        "bridge.start",
    )
    alone = explore(
        {"bridge": Instance(unit(ALWAYS), wanted=peer("bridge").is_in("active"))},
        never={"ever": peer("bridge").is_in("waiting")},
    )
    assert alone.states == 1


def test_an_expression_about_others_is_evaluated() -> None:
    """``peers.x.state`` is known in a joint state, so it is no free fact."""
    free = expression("peers.other.state != 'active' and observed.ok")
    assert explore(pair(free), never={"both": BOTH}).ok
    assert not explore(pair(expression("peers.other.phase != 'starting'")), never={"both": BOTH}).ok


def test_python_guards_are_taken_both_ways_and_the_verdict_says_opaque() -> None:
    """What is not found then does not exist; what is found may rest on answers that never come."""
    found = explore(pair(lucky & ~peer("other").is_in("active")), never={"both": BOTH})
    assert (found.certainty, found.opaque, found.findings) == ("opaque", ("lucky",), ())
    (finding,) = explore(pair(lucky), never={"both": BOTH}).findings
    assert finding.certainty == "opaque"


def test_a_limit_makes_the_verdict_bounded_and_a_found_witness_stays_one() -> None:
    """Nothing is said of what was not seen: no target is called lost."""
    many = {
        f"u{number}": Instance(unit(~peer("other").is_in("active")), {"other": f"u{(number + 1) % 9}"})
        for number in range(9)
    }
    found = explore(many, never={"u0": peer("u0").is_in("active")}, targets={"u0": peer("u0").healthy}, limit=2_000)
    assert found.certainty == "bounded"
    assert not found.ok
    assert [finding.code for finding in found.findings] == ["forbidden"]


def test_signals_move_as_the_runtime_does() -> None:
    """A state that asks for a restart leads to the initial one, one that asks for its removal out: others see it removed."""
    broken = State(Phase.FAILED, name="broken", signal="restart")
    done = State(Phase.STOPPED, name="done", signal="removal")
    job = Machine(
        "job",
        [stopped, active, broken, done],
        [
            stopped.to(active, on="start"),
            active.to(broken, on="fail", when=expression("e")),
            active.to(done, on="end", when=expression("not e")),
        ],
    )
    watcher = Machine("watcher", [waiting, active], [waiting.to(active, on="gone", when=peer("job").is_in("removed"))])
    found = explore(
        {"job": job, "watcher": watcher},
        never={"again": peer("job").is_in("removed") & peer("watcher").is_in("active")},
    )
    (finding,) = found.findings
    assert finding.witness == ("job.start", "job.end", "job.removal", "watcher.gone")
    assert finding.place == "job=removed, watcher=active"
    assert found.states == 4 + 2


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"never": {"x": peer("c").healthy}}, "never 'x': there is no instance 'c'; there are a, b"),
        (
            {"targets": {"x": peer("a").is_in("gone")}},
            "target 'x': a has no state 'gone'; its states are stopped, waiting, active",
        ),
        ({"never": {"x": expression("level > 3")}}, "only peer"),
        ({"never": {"x": held(peer("a").healthy, 3)}}, "held"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: Any, text: str) -> None:
    """Names of instances and states are checked, and a joint state has no time and no observations."""
    with pytest.raises(ValueError, match=text):
        explore(pair(ALWAYS), **asked)


def test_no_instances_are_no_system() -> None:
    """Nothing was looked at, so nothing is called sound."""
    with pytest.raises(ValueError, match="no instance to explore"):
        explore({})


def test_an_instance_that_asks_about_nobody_is_refused_with_the_nearest_name() -> None:
    """A name that is misspelled would otherwise never be found."""
    with pytest.raises(ValueError, match="instance 'a' asks about 'pres', which is no instance; did you mean 'press'"):
        explore({"a": unit(peer("pres").healthy), "press": unit(ALWAYS)})


# The oracle: the joint states that `decide` itself can come to, trying every combination of facts.

NAMES, FACTS = ("x", "y"), ("hot", "full")
FIELDS = list(product([False, True], repeat=len(FACTS)))
leaves = st.sampled_from(
    [wanted, expression("hot"), expression("full"), expression("hot or not full"), *(peer(name).healthy for name in NAMES)]
    + [peer(name).stopped for name in NAMES] + [peer(name).is_in("s0", "s2") for name in NAMES]
)  # fmt: skip
conditions = st.recursive(
    leaves,
    lambda part: (
        st.builds(lambda a, b: a & b, part, part)
        | st.builds(lambda a, b: a | b, part, part)
        | st.builds(lambda a: ~a, part)
    ),
    max_leaves=4,
)


@st.composite
def small(draw: st.DrawFn) -> Machine:
    states = [State(draw(st.sampled_from(Phase)), name=f"s{number}") for number in range(draw(st.integers(2, 3)))]
    arcs = {}
    for number in range(draw(st.integers(1, 5))):
        source, target = draw(st.permutations(states))[:2]
        arcs[number] = source.to(
            target,
            on=f"e{number}",
            when=draw(conditions),
            after=draw(st.sampled_from([None, 5, 9])),
            priority=draw(st.integers(0, 1)),
        )
    return Machine("m", states, arcs.values())


Joint = tuple[tuple[str, bool], ...]


def _facts(machines: Mapping[str, Machine], joint: Joint) -> dict[str, SimpleNamespace]:
    phases = {
        name: (state, machine.by_name[state].phase)
        for (name, machine), (state, _) in zip(machines.items(), joint, strict=True)
    }
    return {
        name: SimpleNamespace(state=state, healthy=phase is Phase.HEALTHY, stopped=phase is Phase.STOPPED)
        for name, (state, phase) in phases.items()
    }


def _moves(machines: Mapping[str, Machine], joint: Joint) -> Iterator[Joint]:
    peers = _facts(machines, joint)
    for number, machine in enumerate(machines.values()):
        state, wish = joint[number]
        for values, now in product(FIELDS, (0.0, 6.0, 10.0)):
            snapshot = {**dict(zip(FACTS, values, strict=True)), "wanted": wish, "peers": peers}
            decision = decide(machine, Position(state), snapshot, now)
            if decision.moved:
                yield (*joint[:number], (decision.state, wish), *joint[number + 1 :])


def _follows(machine: Machine) -> bool:
    return any(node == wanted for arc in machine.arcs for node in arc.when.walk())


def _flips(machines: Mapping[str, Machine], joint: Joint) -> list[Joint]:
    told = [number for number, machine in enumerate(machines.values()) if _follows(machine)]
    return [(*joint[:number], (joint[number][0], not joint[number][1]), *joint[number + 1 :]) for number in told]


def _reached(machines: Mapping[str, Machine]) -> tuple[dict[Joint, set[Joint]], dict[Joint, int]]:
    """Every joint state that can be reached: where its moves lead, and how many steps away it is."""
    start: Joint = tuple((machine.initial, not _follows(machine)) for machine in machines.values())
    onward: dict[Joint, set[Joint]] = {}
    steps = {start: 0}
    queue = [start]
    for joint in queue:
        onward[joint] = set(_moves(machines, joint))
        for after in [*onward[joint], *_flips(machines, joint)]:
            if after not in steps:
                steps[after] = steps[joint] + 1
                queue.append(after)
    return onward, steps


@given(small(), small())
@brief
def test_it_sees_exactly_what_the_kernel_can_come_to(first: Machine, second: Machine) -> None:
    """Joint states, forbidden ones and lost targets are those found by asking `decide` with every combination of facts."""
    machines = {"x": first, "y": second}
    truth, steps = _reached(machines)
    goal = {joint for joint in truth if joint[0][0] == "s1" and joint[1][0] != "s1"}
    condition = peer("x").is_in("s1") & ~peer("y").is_in("s1")
    found = explore(machines, never={"goal": condition}, targets={"goal": condition})
    codes = {finding.code: finding for finding in found.findings}
    assert (found.states, found.certainty) == (len(truth), "exact")
    assert ("forbidden" in codes) == bool(goal)
    if goal:
        assert len(codes["forbidden"].witness) == min(steps[joint] for joint in goal)
    near = {joint for joint in goal if all(wish for _, wish in joint)}
    while more := {joint for joint in truth if joint not in near and truth[joint] & near}:
        near |= more
    lost = {joint for joint in truth if all(wish for _, wish in joint)} - near
    assert ("out-of-reach" in codes) == bool(lost)
    if "deadlock" in codes:
        assert any(not onward for onward in truth.values())
