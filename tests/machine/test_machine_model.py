"""The model: valid by construction, and all faults at once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.machine.samples import alive, process, wanted

from setpoint.machine import ALWAYS, Arc, Machine, MachineError, Phase, State, guard, held


def test_every_fault_is_reported_at_once() -> None:
    """One run of the author's editor, one list, with names."""
    a, again, end = State(name="a"), State(Phase.FAILED, name="a"), State(name="end", final=True, act="no name")
    stranger = State(name="stranger")
    with pytest.raises(MachineError) as caught:
        Machine(
            "my machine",
            [a, again, end],
            [a.to(stranger, on="go"), a.to(a, on="loop"), end.to(a, on="back!"), a.to(end, on="x", after=-1)],
            initial="begin",
        )
    assert caught.value.machine == "my machine"
    assert [fault.split(";")[0] for fault in caught.value.faults] == [
        "the name 'my machine' must be a letter followed by letters, digits or _",
        "state 'a' is defined 2 times",
        "state 'end': act 'no name' is not the name of an action",
        "the initial state 'begin' is not one of its states: a, end",
        "arc a -go-> stranger: its target 'stranger' is not a state of this machine",
        "arc a -loop-> a leads back to its own state",
        "arc end -back!-> a: event 'back!' must be a letter followed by letters, digits or _",
        "arc end -back!-> a leaves a final state",
        "arc a -x-> end: a wait of -1 s",
    ]
    for fault in caught.value.faults:
        assert fault in str(caught.value)


def test_a_machine_needs_a_state() -> None:
    """Nothing can be in no state."""
    with pytest.raises(MachineError, match="it has no states"):
        Machine("empty", [])


def test_the_same_arc_twice_is_a_fault() -> None:
    """Same event, states and guard: the second could never matter."""
    a, b = State(name="a"), State(name="b")
    with pytest.raises(MachineError, match="defined twice"):
        Machine("m", [a, b], [a.to(b, on="x", when=alive), a.to(b, on="x", when=alive, after=5)])


def test_a_plain_function_is_no_guard() -> None:
    """The fault says what is missing."""
    a, b = State(name="a"), State(name="b")
    function: Any = lambda s: True  # noqa: E731
    with pytest.raises(MachineError, match="decorate the function with @guard"):
        Machine("m", [a, b], [a.to(b, on="x", when=function)])


def test_two_guards_may_not_share_a_name() -> None:
    """Texts, clocks and files know a guard by its name."""
    a, b = State(name="a"), State(name="b")
    other = guard(name="alive")(lambda s: False)
    with pytest.raises(MachineError, match="two different guards are called 'alive'"):
        Machine("m", [a, b], [a.to(b, on="x", when=alive), b.to(a, on="y", when=held(other, 3))])


def test_states_take_their_names_from_the_class_body() -> None:
    """The attribute is the name, unless one is given."""

    class Plant:
        idle = State()
        busy = State(name="running")

    assert (Plant.idle.name, Plant.busy.name) == ("idle", "running")
    assert str(Plant.busy) == "running"


def test_a_group_shares_an_arc_but_never_leads_to_itself() -> None:
    """One arc from each member except the target."""
    a, b, c = State(name="a"), State(name="b"), State(name="c")
    group = a | b | c
    assert list(group) == [a, b, c]
    assert [str(arc) for arc in group.to(b, on="go", when=wanted)] == ["a -go-> b", "c -go-> b"]
    assert [str(arc) for arc in (a | (b | c)).to(State(name="d"), on="x")] == ["a -x-> d", "b -x-> d", "c -x-> d"]


def test_arcs_are_tried_by_priority_and_then_in_order() -> None:
    """`outgoing` shows the order in which `decide` asks."""
    a, b = State(name="a"), State(name="b")
    machine = Machine(
        "m", [a, b], [a.to(b, on="late", priority=-1), [a.to(b, on="one"), a.to(b, on="first", priority=9)]]
    )
    assert [arc.event for arc in machine.outgoing("a")] == ["first", "one", "late"]
    with pytest.raises(KeyError):
        machine.outgoing("c")


def test_machines_are_values() -> None:
    """Equal content, equal machine; frozen; the first state is where it begins."""
    assert process() == process()
    assert hash(process()) == hash(process())
    assert process().initial == "stopped"
    assert repr(process()) == "<Machine process: 4 states, 6 arcs>"
    with pytest.raises(AttributeError):
        process().name = "other"  # type: ignore[misc]


def test_an_arc_is_always_open_unless_it_says_otherwise() -> None:
    """The guard defaults to ALWAYS."""
    assert Arc("go", State(name="a"), State(name="b")).when is ALWAYS
