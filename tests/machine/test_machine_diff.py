"""Comparing versions: what changed and how much it breaks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.machine.samples import NAMED, alive, brief, machines, process, ready, wanted

from setpoint.machine import (
    Arc,
    Machine,
    Phase,
    Setting,
    State,
    content_hash,
    diff,
    expression,
    guard,
    level,
    load,
    to_dict,
)  # fmt: skip

A, B, C = State(Phase.STOPPED, name="a"), State(Phase.HEALTHY, name="b"), State(Phase.FAILED, name="c")


def machine(*arcs: Arc, states: tuple[State, ...] = (A, B, C), **arguments: Any) -> Machine:
    return Machine("m", states, arcs, **arguments)


@brief
@given(machines())
def test_nothing_changed_between_a_machine_and_itself(machine: Machine) -> None:
    """Not even after a trip through a file."""
    assert diff(machine, load(to_dict(machine), guards=NAMED)) == []
    assert level([]) == "none"


@brief
@given(machines(), machines())
def test_machines_with_the_same_hash_differ_by_texts_at_most(a: Machine, b: Machine) -> None:
    """And what differs by more has another hash."""
    if level(diff(a, b)) in ("minor", "major"):
        assert content_hash(a) != content_hash(b)
    if content_hash(a) == content_hash(b):
        assert level(diff(a, b)) in ("none", "patch")


@brief
@given(machines(), machines())
def test_what_one_way_is_added_the_other_way_is_removed(a: Machine, b: Machine) -> None:
    """The two directions tell of the same states and arcs."""

    def places(first: Machine, second: Machine, kind: str) -> set[str]:
        return {change.place for change in diff(first, second) if change.kind == kind}

    assert places(a, b, "state-added") == places(b, a, "state-removed")
    assert places(a, b, "arc-added") == places(b, a, "arc-removed")


GO = A.to(B, on="go", when=wanted)


@pytest.mark.parametrize(
    ("before", "after", "kind", "message", "grave"),
    [
        (machine(GO), machine(GO, states=(A, B)), "state-removed", "state c is gone: instances in it need a migration", "major"),
        (machine(GO, states=(A, B)), machine(GO), "state-added", "state c is new", "minor"),
        (machine(), machine(states=(A, State(Phase.DEGRADED, name="b"), C)), "state-phase-changed",
         "state b: phase was healthy, is degraded", "major"),
        (machine(), machine(states=(A, B, State(Phase.FAILED, name="c", final=True))), "state-final-changed",
         "state c: final was nothing, is yes", "major"),
        (machine(), machine(states=(A, State(Phase.HEALTHY, name="b", act="run"), C)), "state-act-changed",
         "state b: act was nothing, is run", "minor"),
        (machine(), machine(states=(A, State(Phase.HEALTHY, name="b", doc="text"), C)), "state-doc-changed",
         "state b: doc was nothing, is text", "patch"),
        (machine(), machine(initial="b"), "machine-initial-changed", "the machine: initial was a, is b", "minor"),
        (machine(GO), machine(), "arc-removed", "arc a -go-> b is gone (when wanted)", "major"),
        (machine(), machine(GO), "arc-added", "arc a -go-> b is new (when wanted)", "minor"),
        (machine(GO), machine(A.to(B, on="go", when=wanted & ready)), "arc-guard-changed",
         "arc a -go-> b: guard was wanted, is wanted and ready", "minor"),
        (machine(GO), machine(A.to(B, on="go", when=wanted, after=Setting("grace_s", 5))), "arc-after-changed",
         "arc a -go-> b: after was nothing, is grace_s=5 s", "minor"),
        (machine(GO), machine(A.to(B, on="go", when=wanted, reason="off we go")), "arc-reason-changed",
         "arc a -go-> b: reason was nothing, is off we go", "patch"),
    ],
)  # fmt: skip
def test_each_kind_of_change(before: Machine, after: Machine, kind: str, message: str, grave: str) -> None:
    """One change, told to people, with its level."""
    (change,) = diff(before, after)
    assert (change.kind, change.message, change.level) == (kind, message, grave)
    assert str(change) == f"{grave}: {message}"
    assert level(diff(before, after)) == grave


def test_a_guard_that_means_something_else_is_told() -> None:
    """Its name stays, its meaning is another: a text to people, code to us."""
    other = guard(name="wanted")(lambda s: True)
    (first, second) = diff(machine(GO), machine(A.to(B, on="go", when=other)))
    assert first.message == "guard wanted: doc was the user wants it running, is wanted"
    assert (second.kind, second.level) == ("guard-wanted-changed", "patch")


def test_order_matters_where_both_can_be_open() -> None:
    """Exchanged arcs to different states change decisions, unless their guards exclude each other."""
    first, second = A.to(B, on="x", when=alive), A.to(C, on="y", when=ready)
    (change,) = diff(machine(first, second), machine(second, first))
    assert (change.kind, change.place, change.level) == ("order-changed", "a", "minor")
    raised = A.to(C, on="y", when=ready, priority=1)
    assert [change.kind for change in diff(machine(first, second), machine(first, raised))] == ["order-changed"]
    either, other = A.to(B, on="x", when=expression("level > 3")), A.to(C, on="y", when=expression("level < 1"))
    assert diff(machine(either, other), machine(other, either)) == []
    assert diff(machine(first, B.to(C, on="z")), machine(B.to(C, on="z"), first)) == []


def test_of_several_arcs_with_one_name_the_changed_one_is_told() -> None:
    """Arcs are matched by their guards first."""
    one, two = A.to(B, on="go", when=alive), A.to(B, on="go", when=ready)
    changed = A.to(B, on="go", when=ready & wanted)
    (change,) = diff(machine(one, two), machine(changed, one))
    assert (change.before, change.after) == ("ready", "ready and wanted")


def test_the_gravest_change_comes_first() -> None:
    """A reader sees what breaks before what does not."""
    changes = diff(process(), Machine("process", process().states[:2], [], doc="half"))
    assert changes[0].level == "major"
    assert changes[-1].level == "patch"
    assert level(changes) == "major"
