"""Signals: what a state asks of the runtime."""

from __future__ import annotations

from typing import get_args

import pytest

from setpoint.machine import (
    Machine,
    MachineError,
    Phase,
    State,
    check,
    content_hash,
    diff,
    draw,
    expression,
    load,
    to_dict,
)
from setpoint.machine.draw import Format

stopped = State(Phase.STOPPED, name="stopped")
broken = State(Phase.FAILED, name="broken", signal="restart")
done = State(Phase.STOPPED, name="done", signal="removal")


def job(broken: State = broken, done: State = done) -> Machine:
    arcs = [
        stopped.to(broken, on="fail", when=expression("error == 1")),
        stopped.to(done, on="finish", when=expression("error == 0")),
    ]
    return Machine("job", [stopped, broken, done], arcs)


def test_a_signal_survives_a_file_and_is_left_out_where_there_is_none() -> None:
    """`load` gives back what `to_dict` wrote, and a state without a signal has no such key."""
    data = to_dict(job())
    assert [state.get("signal") for state in data["states"]] == [None, "restart", "removal"]
    assert load(data) == job()


def test_a_signal_in_a_file_that_there_is_not_is_a_fault_with_the_nearest_word() -> None:
    """A word that is no signal is named, with the one that was meant."""
    with pytest.raises(
        MachineError, match="state 'b': signal 'restrat' is none of restart, removal; did you mean 'restart'"
    ):
        load({"name": "m", "states": {"a": "stopped", "b": {"phase": "failed", "signal": "restrat"}}})


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (State(name="x", signal="restart"), "needs a phase"),
        (State(Phase.HEALTHY, name="x", signal="removal"), "needs phase stopped, not healthy"),
        (State(Phase.STOPPED, name="x", signal="removal", act="work"), "cannot act"),
    ],
)
def test_a_signal_that_the_runtime_could_not_follow_is_refused(state: State, fault: str) -> None:
    """Only control states have signals, and only what is at rest is removed."""
    with pytest.raises(MachineError, match=fault):
        Machine("m", [stopped, state], [stopped.to(state, on="go")])


def test_an_initial_state_has_no_signal() -> None:
    """A worker that asks for its restart in its first state would never get any further."""
    with pytest.raises(MachineError, match="no instance would get any further"):
        Machine("m", [broken])


def test_a_signal_counts_in_hash_and_diff() -> None:
    """What the runtime is asked to do is behaviour: another signal is another content."""
    plain = State(Phase.FAILED, name="broken")
    assert content_hash(job()) != content_hash(job(broken=plain))
    assert [str(change) for change in diff(job(), job(broken=plain))] == [
        "minor: state broken: signal was restart, is nothing"
    ]


def test_a_hash_from_before_signals_is_still_that_of_the_machine() -> None:
    """Machines without signals keep the hash they had: stored instances are not told that everything changed."""
    a, b = State(name="a", act="work"), State(name="b", final=True)
    assert content_hash(Machine("m", [a, b], [a.to(b, on="go", after=5)])) == "e54f810368edcbb5"


@pytest.mark.parametrize("form", get_args(Format))
def test_every_drawing_says_what_is_asked_for(form: Format) -> None:
    """Tables and diagrams name the signal beside the state."""
    text = draw(job(), form)
    assert "asks for restart" in text
    assert "asks for removal" in text


def test_a_state_that_asks_for_a_restart_is_no_trap_and_leads_to_a_stop() -> None:
    """The runtime leaves it for the machine: made anew, the worker begins in its initial state."""
    assert [finding.code for finding in check(job())] == []
    stuck = check(job(broken=State(Phase.FAILED, name="broken")))
    assert [(finding.code, finding.place) for finding in stuck] == [("trap", "broken")]
