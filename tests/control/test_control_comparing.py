"""Comparing: what is asked for may be of any kind, also one that cannot be compared; equal values are known again in another process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.control.lives import Outside, agent, killed
from tests.control.samples import process, reach, supervisor
from tests.control.values import VALUES, Array, Model, Plan, endless

from setpoint.control import ChildSpec, Observation, Worker, wanted
from setpoint.control.comparing import digest
from setpoint.machine import Phase, State
from setpoint.store import MemoryStore
from setpoint.testing import run, wall


class Taker(Worker[Any, Any, Observation]):
    "Takes anything."

    off = State(Phase.STOPPED)
    on = State(Phase.HEALTHY)
    arcs = [off.to(on, on="start", when=wanted), on.to(off, on="stop", when=~wanted)]

    async def collect_observed_state(self, desired: Any) -> Observation:
        return Observation()


class Parent(Taker):
    "Has the children that its spec gives each time it is asked."

    def children(self, desired: Any, state: str) -> list[ChildSpec]:
        return list(desired())


@pytest.mark.parametrize("make", [Array, endless])
@pytest.mark.parametrize("part", ["spec", "variables"])
def test_workers_at_the_top_come_and_go_whatever_one_of_them_is_given(make: Callable[[], Any], part: str) -> None:
    """What cannot be compared counts as changed; it concerns its own worker alone."""

    def odd() -> ChildSpec:
        value = make()
        return ChildSpec("odd", "taker", value) if part == "spec" else ChildSpec("odd", "taker", variables={"x": value})

    async def main() -> None:
        s = supervisor(taker=Taker)
        s.want([odd(), process("old")])
        await reach(s, "top/old", "running")
        s.want([odd(), process("new")])
        await reach(s, "top/new", "running")
        await reach(s, "top/old", "gone")
        assert sorted(s.records) == ["top/new", "top/odd"]
        await s.stop()

    run(main())


def test_children_come_whatever_one_of_them_is_given() -> None:
    """Below a parent as at the top."""
    names = ["old"]

    def children() -> list[ChildSpec]:
        return [ChildSpec("odd", "taker", Array()), *(process(name) for name in names)]

    async def main() -> None:
        s = supervisor(taker=Taker, parent=Parent)
        s.want([ChildSpec("p", "parent", children)])
        await reach(s, "top/p/old", "running")
        names.append("new")
        s.tell("top/p", "disable", why="x")
        await reach(s, "top/p", "off")
        s.tell("top/p", "enable", why="x")
        await reach(s, "top/p/new", "running")
        await s.stop()

    run(main())


def test_another_order_is_taken_with_a_value_that_cannot_be_compared() -> None:
    """And whatever is asked for next."""

    def odd(*after: str) -> ChildSpec:
        return ChildSpec("a", "taker", variables={"w": Array()}, after=after)

    async def main() -> None:
        s = supervisor(taker=Taker)
        s.want([odd(), process("b")])
        await reach(s, "top/a", "on")
        s.want([odd("b"), process("b")])
        await asyncio.sleep(5)
        s.want([process("b")])
        await reach(s, "top/a", "gone")
        s.want([process("c")])
        await reach(s, "top/b", "gone")
        assert list(s.records) == ["top/c"]
        await s.stop()

    run(main())


def test_equal_values_have_one_digest_in_every_process() -> None:
    """Whatever the seed of its hashes and the addresses of its objects are."""
    program = "from tests.control.values import VALUES; from setpoint.control.comparing import digest\n"
    program += "print(*(digest(make()) for make in VALUES.values()))"
    found = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert found.stdout.split() == [digest(make()) for make in VALUES.values()]


def test_other_values_have_other_digests() -> None:
    """Also where they differ inside, or in their kind alone."""
    values = [
        *(make() for make in VALUES.values()),
        Model(name="n"),
        Plan(2),
        {"a": {"c": [2, 1]}, "b": 1},
        None,
        "",
        [],
        {},
    ]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("kind", list(VALUES))
def test_a_job_is_not_done_again_after_a_restart_whatever_it_was_given(kind: str) -> None:
    """Jobs are known again by the digest of what they were given."""
    done = []

    class Job(Worker[Any, Any, Observation]):
        "Is done at once."

        todo = State(Phase.STARTING)
        finished = State(Phase.STOPPED, signal="removal")
        arcs = [todo.to(finished, on="finish")]

        async def collect_observed_state(self, desired: Any) -> Observation:
            done.append(desired)
            return Observation()

    async def main() -> None:
        store = MemoryStore(wall=wall)
        for _ in range(2):
            s = agent(Outside(), store, job=Job)
            s.want([ChildSpec("j", "job", VALUES[kind]())])
            await asyncio.sleep(10)
            assert (len(done), "top/j" in s.records) == (1, False)
            killed(s)
            store = store.reopened()

    run(main())
