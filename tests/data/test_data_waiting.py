"""Records that wait for an event or for time, carried without a store: what a plan does with them."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.data import WAITING, NotTaken, Plan, PlanError, Progress, Result, Sent, Several
from setpoint.data.config import load
from setpoint.data.fsm import SimpleFSM
from setpoint.data.functions import resolver

APPROVAL = """
name: approval
states:
  asked:
    arcs:
      - {target: small, condition: amount < 10}
      - {target: granted, event: approved, condition: approved.by != who, transform: [{set: {by: approved.by}}]}
      - {target: denied, event: rejected}
      - {target: escalated, after: 60}
  escalated:
    arcs:
      - {target: granted, event: approved}
      - {target: denied, after: 30}
  small: {final: true}
  granted: {final: true}
  denied: {final: true}
"""


class Desk:
    """A plan whose runs are kept in a variable, under a clock that the test moves."""

    def __init__(self, text: str, functions: dict[str, Any] | None = None) -> None:
        self.now = 1000.0
        self.kept: list[Progress] = []
        self.plan = Plan(load(text), resolve=resolver(functions), wall=lambda: self.now, checkpoint=self.kept.append)

    def go(self, record: Any) -> Result:
        return self.plan.resume(self.plan.begin(record))

    def send(self, event: str, data: Any = None) -> Result:
        return self.plan.resume(self.kept[-1], Sent(event, data))

    def look(self) -> Result:
        return self.plan.resume(self.kept[-1])


def test_a_record_waits_where_only_an_event_leads_on() -> None:
    """It has no end yet: neither a success nor an error, and it says what it waits for and until when."""
    result = Desk(APPROVAL).go({"amount": 20, "who": "ada"})
    assert (result.final_state, result.success, result.error, result.path) == (WAITING, False, None, ("asked",))
    assert (result.waits[0].state, result.waits[0].events, result.waits[0].until) == (
        "asked",
        ("approved", "rejected"),
        1060,
    )


def test_an_open_way_is_taken_without_waiting() -> None:
    """Events count only where no ordinary arc is open."""
    assert Desk(APPROVAL).go({"amount": 3, "who": "ada"}).final_state == "small"


def test_an_event_lets_it_go_on_with_what_came() -> None:
    """What comes with the event is in the record, under the event's name, for the arc's condition and transforms."""
    desk = Desk(APPROVAL)
    desk.go({"amount": 20, "who": "ada"})
    result = desk.send("approved", {"by": "bob"})
    assert (result.final_state, result.data["by"], result.path) == ("granted", "bob", ("asked", "granted"))


@pytest.mark.parametrize(
    ("event", "data", "reason"),
    [
        ("approved", {"by": "ada"}, "its condition says no"),
        ("approved", {"signed": "bob"}, "by"),
        ("approved", None, "there is no 'approved'"),
        ("aproved", {"by": "bob"}, "it waits for: approved, rejected"),
    ],
)
def test_an_event_that_cannot_be_taken_is_told_to_whoever_sent_it(event: str, data: Any, reason: str) -> None:
    """The record is as it was: neither an unknown event nor one whose data is wrong can harm it."""
    desk = Desk(APPROVAL)
    desk.go({"amount": 20, "who": "ada"})
    with pytest.raises(NotTaken, match=reason):
        desk.send(event, data)
    assert desk.send("approved", {"by": "bob"}).final_state == "granted"


def test_an_event_serves_one_wait() -> None:
    """The next state that waits for an event of that name waits for another one."""
    desk = Desk(APPROVAL.replace("{target: granted, event: approved, ", "{target: escalated, event: approved, "))
    desk.go({"amount": 20, "who": "ada"})
    assert desk.send("approved", {"by": "bob"}).waits[0].state == "escalated"
    assert desk.send("approved", {"by": "eve"}).final_state == "granted"


def test_time_opens_the_arc_whose_time_has_come() -> None:
    """Before that nothing happens, however often it is looked at; the wait of the next state begins when it is entered."""
    desk = Desk(APPROVAL)
    desk.go({"amount": 20, "who": "ada"})
    desk.now += 59
    assert desk.look().path == ("asked",)
    desk.now += 1
    assert desk.look().waits[0].until == 1090
    desk.now += 29
    assert desk.look().final_state == WAITING
    desk.now += 1
    assert desk.look().path == ("asked", "escalated", "denied")


def test_a_clock_that_steps_back_only_makes_it_wait_longer() -> None:
    """Deadlines are times of day: they survive restarts, and a clock that was set back does not fire them early."""
    desk = Desk(APPROVAL)
    desk.go({"amount": 20, "who": "ada"})
    desk.now -= 3600
    assert desk.look().final_state == WAITING
    desk.now += 3660
    assert desk.look().path == ("asked", "escalated")


def test_functions_of_the_state_run_once() -> None:
    """Waiting happens behind a state's functions; they are not repeated when the record goes on."""
    calls: list[int] = []

    def work(record: Any) -> Any:
        calls.append(1)
        return record

    text = "name: m\nstates:\n  a: {transforms: [work], arcs: [{target: b, event: go}]}\n  b: {final: true}"
    desk = Desk(text, {"work": work})
    desk.go({})
    assert desk.look().final_state == WAITING
    assert desk.send("go").final_state == "b"
    assert calls == [1]


def test_parts_of_a_split_record_wait_each_for_itself() -> None:
    """An event takes those on whose condition it meets; the run is done when the last part has ended."""
    text = """
name: parts
states:
  split: {transforms: [parts], on_complete: asked}
  asked: {arcs: [{target: done, event: go, condition: go.n == n}]}
  done: {final: true}
"""
    desk = Desk(text, {"parts": lambda record: Several({"n": n} for n in record["of"])})
    assert len(desk.go({"of": [1, 2, 3]}).waits) == 3
    assert len(desk.send("go", {"n": 2}).waits) == 2
    assert len(desk.send("go", {"n": 1}).waits) == 1
    result = desk.send("go", {"n": 3})
    assert (result.final_state, result.success) == ("split", True)
    assert sorted(part.data["n"] for part in result.parts) == [1, 2, 3]


def test_a_record_can_wait_inside_a_pushed_network() -> None:
    """It comes back to the network that pushed as if it had not waited."""
    text = """
name: pushing
main_network: outer
networks:
  - name: outer
    states:
      a: {arcs: [{target: b, target_network: inner, data_mapping: {x: x}, result_mapping: {y: y}}]}
      b: {final: true}
  - name: inner
    states:
      i: {arcs: [{target: j, event: go, transform: [{set: {y: x + go.plus}}]}]}
      j: {final: true}
"""
    desk = Desk(text)
    assert desk.go({"x": 1, "z": 9}).waits[0].state == "inner:i"
    assert desk.send("go", {"plus": 2}).data == {"x": 1, "z": 9, "y": 3}


def test_an_error_on_the_way_out_is_an_error_of_the_state() -> None:
    """The arc that the event opened may fail; the state's error arc catches that as any other."""
    text = """
name: failing
states:
  a:
    arcs: [{target: b, event: go, transform: [{set: {x: 1 / go.by}}]}]
    on_error: c
  b: {final: true}
  c: {final: true}
"""
    desk = Desk(text)
    desk.go({})
    result = desk.send("go", {"by": 0})
    assert (result.final_state, result.handled[0].type) == ("c", "ExpressionError")


@pytest.mark.parametrize(
    ("arc", "fault"),
    [
        ("{target: b, event: go, after: 3}", "not both"),
        ("{target: b, kind: error, event: go}", "taken when the state failed"),
        ("{target: b, kind: dropped, after: 3}", "dropped the record"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(arc: str, fault: str) -> None:
    """With the place of the arc."""
    with pytest.raises(PlanError, match=fault) as raised:
        Plan(load(f"name: m\nstates:\n  a:\n    arcs:\n      - {arc}\n      - {{target: b}}\n  b: {{final: true}}"))
    assert raised.value.places[0].line == 5


def test_a_machine_that_waits_needs_its_runs_kept() -> None:
    """Without a store a record that waits would be lost, so such a machine is not even made."""
    with pytest.raises(PlanError, match="pass runs=FILE"):
        SimpleFSM(APPROVAL)


def test_data_of_an_event_needs_a_record_that_has_fields() -> None:
    """The sender is told, and the record still waits."""
    desk = Desk("name: m\nstates:\n  a: {arcs: [{target: b, event: go}]}\n  b: {final: true}")
    desk.go(3)
    with pytest.raises(TypeError, match="no mapping but int"):
        desk.send("go", {"x": 1})
    assert desk.send("go").data == 3
