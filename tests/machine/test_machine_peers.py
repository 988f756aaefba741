"""Guards about others: what they answer, say, and how they are read back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from setpoint.machine import (
    Machine,
    MachineError,
    Phase,
    Position,
    State,
    check,
    decide,
    explain,
    held,
    load,
    peer,
    to_dict,
)
from setpoint.machine.guard_text import read_guard

off, on = State(Phase.STOPPED, name="off"), State(Phase.HEALTHY, name="on")


def machine(when: Any) -> Machine:
    return Machine("m", [off, on], [off.to(on, on="go", when=when), on.to(off, on="leave", when=~when)])


def fact(state: str, *, healthy: bool = False, stopped: bool = False) -> SimpleNamespace:
    return SimpleNamespace(state=state, healthy=healthy, stopped=stopped, reason="port 502 is closed")


CASES = [
    (peer("plc").is_in("up", "degraded"), fact("degraded"), True),
    (peer("plc").is_in("up", "degraded"), fact("down"), False),
    (peer("plc").healthy, fact("up", healthy=True), True),
    (peer("plc").healthy, fact("up"), False),  # in a healthy phase, but stalled
    (peer("plc").stopped, fact("halted", stopped=True), True),
    (peer("plc").stopped, fact("up"), False),
]


@pytest.mark.parametrize("group", ["children", "peers"])
@pytest.mark.parametrize(("guard", "other", "answer"), CASES)
def test_a_guard_about_another_reads_children_and_peers(guard: Any, other: Any, answer: bool, group: str) -> None:
    """Whether the snapshot is an object or a mapping, and whichever of the two the other is."""
    for snapshot in ({group: {"plc": other}}, SimpleNamespace(**{"children": {}, "peers": {}, group: {"plc": other}})):
        assert decide(machine(guard), Position("off"), snapshot, 0).moved is answer


def test_a_child_comes_before_a_peer_of_the_same_name() -> None:
    """What a worker calls its own is meant first."""
    snapshot = {"children": {"plc": fact("up")}, "peers": {"plc": fact("down")}}
    assert decide(machine(peer("plc").is_in("up")), Position("off"), snapshot, 0).moved


def test_one_that_is_not_there_is_stopped_and_nothing_else() -> None:
    """As in the control runtime: what does not exist does not run."""
    nobody: dict[str, Any] = {"children": {}, "peers": {}}
    moved = [decide(machine(guard), Position("off"), nobody, 0).moved for guard, *_ in CASES[::2]]
    assert moved == [False, False, True]


def test_a_snapshot_that_knows_of_no_others_is_an_error() -> None:
    """A guard that cannot be answered opens nothing, and says what is missing."""
    with pytest.raises(Exception, match=r"guard peer\('plc'\)\.healthy .* has neither"):
        decide(machine(peer("plc").healthy), Position("off"), {}, 0)


def test_explanations_and_reasons_say_what_the_other_is() -> None:
    """The fact behind the answer is the other's state, with its reason."""
    snapshot = {"peers": {"plc": fact("down")}}
    why = explain(machine(peer("plc").is_in("up", "degraded")), Position("off"), snapshot, 0)
    assert list(why.lines()) == [
        "✗ go → on",
        "  ✗ peer('plc').is_in('up', 'degraded'): plc is up or degraded — plc is down: port 502 is closed",
    ]


def test_the_text_of_a_guard_about_another_is_read_back() -> None:
    """In files, alone and composed, also within held."""
    when = held(peer("the plc").is_in("up") & ~peer("b").stopped, 5) | peer("b").healthy
    assert read_guard(str(when), {}) == when
    assert load(to_dict(machine(when))) == machine(when)


@pytest.mark.parametrize(
    "text",
    [
        "peer('a')",
        "peer(a).healthy",
        "peer('a').up",
        "peer('a').is_in()",
        "peer('a').is_in(up)",
        "peer('a', 1).stopped",
        "peer('a').is_in('x', y=1)",
    ],
)
def test_a_text_that_is_no_question_about_another_is_a_fault(text: str) -> None:
    """Names are texts in quotes, and there are three questions."""
    with pytest.raises(MachineError, match="peer"):
        load({"name": "m", "states": ["a", "b"], "arcs": [{"event": "go", "from": "a", "to": "b", "when": text}]})


def test_the_checker_knows_what_excludes_what() -> None:
    """One is in one state, and not healthy and stopped at once."""
    never = [peer("x").is_in("up") & peer("x").is_in("down"), peer("x").healthy & peer("x").stopped]
    for when in never:
        assert [finding.code for finding in check(machine(when)) if finding.severity == "error"] == ["never-open"]
    assert not [
        finding for finding in check(machine(peer("x").is_in("up") & peer("y").healthy)) if finding.severity == "error"
    ]


def test_what_a_runtime_still_knows_of_one_that_is_gone_is_asked() -> None:
    """Facts may answer for a name that is no longer among them, as they do for a child that asked for its own removal."""

    class Facts(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            return fact("removed", stopped=True)

    snapshot = {"children": Facts(), "peers": {}}
    assert decide(machine(peer("job").is_in("removed")), Position("off"), snapshot, 0).moved
