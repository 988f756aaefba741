"""Faults: each concerns its worker alone, is visible, and heals by itself when its cause is gone."""

from __future__ import annotations

import asyncio
import sys

import pytest
from tests.control.samples import Observed, Process, Seen, Spec, alive, process, reach, state, supervisor, world

from setpoint.control import ChildSpec, Limits
from setpoint.testing import run


class Moody(Process):
    """Its decision can be made to raise, to sulk, and to recover."""

    arcs = Process.arcs
    broken = False

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        if self.broken:
            raise ZeroDivisionError("a bug of its author")
        return super().children(desired, state)


def moody(name: str, **spec: object) -> ChildSpec:
    return ChildSpec(name, "moody", Spec(**spec))  # type: ignore[arg-type]


def test_a_worker_whose_own_code_keeps_raising_is_put_behind_an_open_circuit_and_heals() -> None:
    """The circuit opens after three faults, says why, and closes when the code works again; siblings notice nothing."""

    async def main() -> None:
        Moody.broken = True
        s = supervisor(moody=Moody)
        s.want([moody("bad"), process("good")])
        await reach(s, "top/good", "running", within=1)
        await asyncio.sleep(20)
        stalled = s.worker("top/bad").stalled
        assert stalled.ok
        assert "circuit open: ZeroDivisionError: a bug of its author" in stalled.reason
        collected = world(s, "top/good").collections
        await asyncio.sleep(60)
        assert world(s, "top/good").collections >= collected + 59
        Moody.broken = False
        assert await s.until(lambda s: not s.worker("top/bad").stalled.ok, 61)
        await reach(s, "top/bad", "running", within=5)
        await s.stop()

    run(main())


def test_a_constructor_that_raises_is_tried_again_for_ever() -> None:
    """A worker that cannot be made yet comes to life when it can."""
    attempts: list[int] = []

    def make() -> Process:
        attempts.append(1)
        if len(attempts) < 4:
            raise OSError("the licence server is away")
        return Process()

    async def main() -> None:
        s = supervisor(late=make)
        s.want([ChildSpec("p", "late", Spec())])
        await s.changes()
        assert "the licence server is away" in s.worker("top/p").reason
        await reach(s, "top/p", "running", within=20)
        await s.stop()

    run(main())


def test_a_worker_is_not_measured_before_it_has_a_desired_state() -> None:
    """Also where it asks for that itself."""
    asked_for: list[object] = []

    class Early(Process):
        def derive_desired_state(self, spec: Spec) -> Spec:
            raise ValueError("bad")

        async def collect_observed_state(self, desired: Spec) -> Observed:
            asked_for.append(desired)
            return await super().collect_observed_state(desired)

    async def main() -> None:
        s = supervisor(early=Early)
        s.want([ChildSpec("p", "early", Spec())])
        await asyncio.sleep(1)
        worker = s.records["top/p"].worker
        assert worker is not None
        worker.context.observe()
        await asyncio.sleep(30)
        assert s.worker("top/p").reason == "config error: ValueError: bad"
        assert asked_for == []
        await s.stop()

    run(main())


def test_a_stale_worker_acts_no_more_until_there_is_fresh_news() -> None:
    """What is not known any more is not acted on."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        world(s, "top/p").observe_fails = "blind"
        world(s, "top/p").running = False
        await asyncio.sleep(60)
        assert len(world(s, "top/p").calls("start")) == 1
        world(s, "top/p").observe_fails = ""
        await reach(s, "top/p", "starting", within=2)
        await reach(s, "top/p", "running", within=2)
        await s.stop()

    run(main())


def test_a_worker_that_calls_exit_ends_its_call_and_not_the_agent() -> None:
    """SystemExit in worker code is a failed observation like any other."""

    class Quits(Process):
        async def collect_observed_state(self, desired: Spec) -> Observed:
            sys.exit(3)

    async def main() -> None:
        s = supervisor(quits=Quits)
        s.want([ChildSpec("bad", "quits", Spec()), process("good")])
        await reach(s, "top/good", "running", within=1)
        assert s.worker("top/bad").error == "SystemExit: 3"
        await s.stop()

    run(main())


@pytest.mark.parametrize("garbage", [None, 7, "running", {"running": True}, Observed])
def test_an_observation_that_is_none_is_named(garbage: object) -> None:
    """What a worker hands back is checked; nothing but an Observation counts."""

    class Babbles(Process):
        async def collect_observed_state(self, desired: Spec) -> Observed:
            return garbage  # type: ignore[return-value]

    async def main() -> None:
        s = supervisor(babbles=Babbles)
        s.want([ChildSpec("p", "babbles", Spec())])
        await asyncio.sleep(1)
        assert "expected an Observation" in s.worker("top/p").error
        assert state(s, "top/p") == "creating"
        await s.stop()

    run(main())


def test_a_machine_that_never_comes_to_rest_keeps_nobody_waiting() -> None:
    """Two arcs that are always open cannot starve the loop."""
    from setpoint.machine import Phase, State

    class Dizzy(Process):
        stopped = State(Phase.STOPPED)
        one = State(Phase.HEALTHY)
        two = State(Phase.HEALTHY)
        arcs = [stopped.to(one, on="go"), one.to(two, on="there"), two.to(one, on="back")]

    async def main() -> None:
        s = supervisor(dizzy=Dizzy)
        s.want([ChildSpec("bad", "dizzy", Spec()), process("good")])
        await reach(s, "top/good", "running", within=1)
        await asyncio.sleep(10)
        assert world(s, "top/good").collections >= 9
        await s.stop()

    run(main())


def test_workers_that_keep_changing_each_other_keep_nobody_waiting() -> None:
    """Peers that react to each other without end are slowed down; the loop goes on."""
    from setpoint.machine import Phase, State, guard

    @guard
    def other_is_a(s: Seen) -> bool:
        "the other is in a"
        return s.peers["other"].state == "a"

    class Mirror(Process):
        stopped = State(Phase.STOPPED)
        a = State(Phase.HEALTHY)
        b = State(Phase.HEALTHY)
        arcs = [stopped.to(a, on="go"), a.to(b, on="left", when=other_is_a), b.to(a, on="right", when=~other_is_a)]

    async def main() -> None:
        s = supervisor(mirror=Mirror)
        s.want(
            [
                ChildSpec("m1", "mirror", Spec(), reads={"other": "top/m2"}),
                ChildSpec("m2", "mirror", Spec(), reads={"other": "top/m1"}),
                process("good"),
            ]
        )
        await reach(s, "top/good", "running", within=5)
        await asyncio.sleep(5)
        assert world(s, "top/good").collections >= 4
        await s.stop()

    run(main())


def test_a_parent_sees_a_child_in_trouble_as_a_fact_and_is_not_stopped_by_it() -> None:
    """Circuits are the worker's own; a parent decides for itself what they mean."""

    class Parent(Process):
        def children(self, desired: Spec, state: str) -> list[ChildSpec]:
            return [moody("child")]

    async def main() -> None:
        Moody.broken = True
        s = supervisor(moody=Moody, parent=Parent)
        s.want([ChildSpec("p", "parent", Spec())])
        await reach(s, "top/p", "running", within=2)
        await asyncio.sleep(10)
        fact = s.core.fact("top/p/child")
        assert fact.stalled
        assert not fact.healthy
        world(s, "top/p").running = False
        await reach(s, "top/p", "starting", within=2)
        Moody.broken = False
        await s.stop()

    run(main())


def test_limits_can_be_set_for_one_supervisor() -> None:
    """How many faults open a circuit is a number of the runtime, not a constant."""

    async def main() -> None:
        Moody.broken = True
        s = supervisor(limits=Limits(faults=1), moody=Moody)
        s.want([moody("bad")])
        await asyncio.sleep(0.1)
        assert s.worker("top/bad").stalled.ok
        Moody.broken = False
        await s.stop()

    run(main())


def test_explain_names_the_guard_that_holds_a_worker_and_the_fact_behind_it() -> None:
    """The explanation asks the same guards over the same snapshot as the decision did."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "starting")
        world(s, "top/p").start_fails = "no such file"
        await asyncio.sleep(1)
        way = next(way for way in s.explain("top/p").ways if way.event == "start_done")
        assert (way.open, way.guard.text, way.guard.because) == (False, alive.name, "it does not run")
        await s.stop()

    run(main())
