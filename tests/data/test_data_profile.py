"""Profiles: all time of a run is in them, at the place where it was spent, through every door."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from tests.data.test_data_laws import RECORDS, definitions

from setpoint.data import Definition, Kind, Plan
from setpoint.data.fsm import SimpleFSM
from setpoint.data.profile import ITSELF, Profile

NETWORKS = """
name: shop
main_network: orders
networks:
  - name: orders
    states:
      received:
        transforms: [slow]
        arcs: [{target: done, target_network: pricing, condition: asks}]
      done: {final: true}
  - name: pricing
    states:
      taxed: {transforms: [slow], arcs: [{target: end, transforms: [slow]}]}
      end: {final: true}
"""


class Time:
    """A clock that only functions move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> Callable[[Any], Any]:
        def function(record: Any) -> Any:
            self.now += seconds
            return record

        return function


def shop(time: Time) -> SimpleFSM:
    fsm = SimpleFSM(NETWORKS, functions={"slow": time.takes(1.0), "asks": lambda record: time.takes(0.5)(True)})
    fsm.plan.clock = time
    return fsm


DOORS: dict[str, Callable[[SimpleFSM], object]] = {
    "process": lambda fsm: fsm.process({"n": 1}),
    "batch": lambda fsm: fsm.process_batch([{"n": 1}]),
    "stream": lambda fsm: fsm.process_stream([{"n": 1}]),
    "aprocess": lambda fsm: asyncio.run(fsm.aprocess({"n": 1})),
    "debug": lambda fsm: fsm.debug({"n": 1}).run(),
}


@pytest.mark.parametrize("door", DOORS)
def test_time_is_laid_to_the_place_where_it_was_spent(door: str) -> None:
    """States, arcs with their conditions, and networks inside the arcs that push; the same through every door."""
    fsm = shop(Time())
    with fsm.profile() as profile:
        DOORS[door](fsm)
    assert fsm.plan.events is None
    rows = {row.place: row for row in profile.rows}
    own = {place: row.total for place, row in rows.items() if row.total}
    assert own == {
        "received": 1.0, "received -> done": 0.5, "pricing:taxed": 1.0, "pricing:taxed -> end": 1.0
    }  # fmt: skip
    assert rows["received -> done"].inside == 2.0
    assert (profile.runs, profile.seconds, rows["received"].share) == (1, 3.5, 1 / 3.5)
    assert {row.kind for row in rows.values()} == {"state", "arc", "machine"}


def test_a_profile_of_other_processes_has_their_times() -> None:
    """As they measured them."""
    fsm = SimpleFSM(
        {
            "name": "m",
            "states": {"a": {"transforms": [{"set": {"n": "n + 1"}}], "on_complete": "b"}, "b": {"final": True}},
        }
    )
    with fsm.profile() as profile:
        fsm.process_batch([{"n": n} for n in range(20)], processes=2)
    rows = {row.place: row for row in profile.rows}
    assert (profile.runs, rows["a"].count, rows["b"].count) == (20, 20, 20)
    assert 0 < rows["a"].total < profile.seconds < 10


def test_quantiles_are_right_within_their_buckets() -> None:
    """Of many visits: count, total, mean, median, 95 % and the longest."""
    time = Time()
    spent = iter(range(1, 101))

    def takes(record: Any) -> None:
        time.now += next(spent) / 100

    fsm = SimpleFSM(
        {"name": "m", "states": {"a": {"transforms": ["takes"], "on_complete": "b"}, "b": {"final": True}}},
        functions={"takes": takes},
    )
    fsm.plan.clock = time
    with fsm.profile() as profile:
        fsm.process_batch([{}] * 100)
    row = profile.rows[0]
    assert (row.place, row.count, row.max) == ("a", 100, pytest.approx(1.0))
    assert row.total == pytest.approx(50.5)
    assert row.mean == pytest.approx(0.505)
    assert row.p50 == pytest.approx(0.5, rel=0.03)
    assert row.p95 == pytest.approx(0.95, rel=0.03)


def test_attempts_and_their_waits_are_of_one_visit() -> None:
    """A state that is tried three times was visited once; one that failed was visited, too."""
    time, left = Time(), [1, 2]

    def flaky(record: Any) -> Any:
        time.now += 1
        if left:
            raise ValueError(left.pop())

    def broken(record: Any) -> Any:
        time.now += 2
        raise ValueError("broken")

    states = {
        "a": {"transforms": ["flaky"], "retry": {"attempts": 3}, "on_complete": "b"},
        "b": {"transforms": ["broken"], "on_complete": "c"},
        "c": {"final": True},
    }
    fsm = SimpleFSM({"name": "m", "states": states}, functions={"flaky": flaky, "broken": broken})
    fsm.plan.clock = time
    with fsm.profile() as profile:
        fsm.process({})
    rows = {row.place: (row.count, row.total) for row in profile.rows}
    assert (rows["a"], rows["b"]) == ((1, 3.0), (1, 2.0))


def test_the_table_fits_a_terminal() -> None:
    """80 columns, whatever names and numbers; the machine's own time is in it."""
    time = Time()
    long = "a_state_with_quite_a_long_name_that_nobody_would_type"
    fsm = SimpleFSM(
        {"name": "m", "states": {long: {"transforms": ["slow"], "on_complete": "b"}, "b": {"final": True}}},
        functions={"slow": time.takes(12345.678)},
    )
    fsm.plan.clock = time
    with fsm.profile() as profile:
        fsm.process_batch([{}] * 3)
    lines = profile.table().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["count", "total", "mean", "p50", "p95", "max", "share"]
    assert lines[1].startswith("a_state_with_")
    assert lines[1].endswith("100%")
    assert any(line.startswith(ITSELF) for line in lines)
    assert max(map(len, shop_profile().table().splitlines())) <= 80


def shop_profile() -> Profile:
    fsm = shop(Time())
    with fsm.profile() as profile:
        fsm.process({})
    return profile


def test_flame_graphs_have_the_networks_inside_their_arcs() -> None:
    """As collapsed stacks, in nanoseconds, and in speedscope's format with the same numbers."""
    profile = shop_profile()
    assert profile.collapsed().splitlines() == [
        "shop;received 1000000000",
        "shop;received;received -> done 500000000",
        "shop;received;received -> done;pricing:taxed 1000000000",
        "shop;received;received -> done;pricing:taxed;pricing:taxed -> end 1000000000",
    ]
    scope = json.loads(json.dumps(profile.speedscope()))
    names = [frame["name"] for frame in scope["shared"]["frames"]]
    (drawn,) = scope["profiles"]
    stacks = [";".join(names[at] for at in sample) for sample in drawn["samples"]]
    assert [f"{stack} {weight}" for stack, weight in zip(stacks, drawn["weights"], strict=True)] == (
        profile.collapsed().splitlines()
    )
    assert (drawn["unit"], drawn["endValue"]) == ("nanoseconds", 3_500_000_000)
    assert json.loads(json.dumps(profile.data()))["places"][0]["place"] in ("received", "pricing:taxed")


@settings(max_examples=60, deadline=None)
@given(definition=definitions(), record=RECORDS)
def test_the_parts_add_up_to_the_whole(definition: Definition, record: Any) -> None:
    """For any machine: no time is lost, none is counted twice, no state was visited that was not entered."""
    ticks = iter(range(10**9))
    plan = Plan(definition, clock=lambda: float(next(ticks)))
    profile = Profile(plan)
    profile._plan = Plan(definition, clock=lambda: 0.0)  # so that it takes no time itself
    events: list[Any] = []

    def hears(event: Any) -> None:
        events.append(event)
        profile(event)

    plan.using(events=hears).run(record)
    assert sum(row.total for row in profile.rows) == profile.seconds == events[-1].at - events[0].at
    entered = sum(event.kind is Kind.ENTER for event in events)
    if not any(
        event.kind is Kind.EXIT and event.token.step for event in events
    ):  # a record that was split leaves by its parts
        assert sum(row.count for row in profile.rows if row.kind == "state") <= entered
