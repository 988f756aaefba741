"""Left running: what an earlier run of the agent left is stopped when nobody asks for it any more, also before it was seen again."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.lives import Outside, agent, killed
from tests.control.samples import Process, Spec, process, reach, state

from setpoint.control import ChildSpec, Supervisor
from setpoint.store import MemoryStore
from setpoint.testing import run, wall


class Other(Process):
    "Another type."


async def left_running(outside: Outside) -> MemoryStore:
    """What the store has after an agent was killed while `top/p` ran."""
    store = MemoryStore(wall=wall)
    s = agent(outside, store)
    s.want([process("p")])
    await reach(s, "top/p", "running")
    killed(s)
    return store.reopened()


async def going_on(outside: Outside) -> Supervisor:
    """An agent that is about to go on with `top/p`, which is slow to be seen."""
    store = await left_running(outside)
    outside.of("top/p").observing_takes = 0.5
    s = agent(outside, store)
    s.want([process("p")])
    await asyncio.sleep(0.2)
    assert state(s, "top/p") == "creating"
    return s


@pytest.mark.parametrize("now", [[], [ChildSpec("p", "other", Spec())]], ids=["nothing", "another type"])
def test_what_is_not_asked_for_after_a_crash_is_stopped(now: list[ChildSpec]) -> None:
    """Whether nothing stands in its place in the new config, or a worker of another type."""

    async def main() -> None:
        outside = Outside()
        s = agent(outside, await left_running(outside), other=Other)
        s.want(now)
        await asyncio.sleep(60)
        assert not outside.of("top/p").running
        assert len(outside.of("top/p").calls("stop")) == 1
        assert {path: record.type for path, record in s.records.items()} == {
            f"top/{n.name}": n.worker_type for n in now
        }
        assert await s.stop() == []

    run(main())


def test_what_is_removed_before_it_was_seen_again_is_stopped_first() -> None:
    """It goes on, to be stopped, and only then goes."""

    async def main() -> None:
        outside = Outside()
        s = await going_on(outside)
        s.want([])
        await reach(s, "top/p", "gone")
        assert not outside.of("top/p").running
        assert s.journal.history("top/p")[-1].reason == "removed"
        await s.stop()

    run(main())


def test_an_agent_that_ends_before_it_has_seen_a_worker_again_stops_it_too() -> None:
    """Nothing is called stopped that runs on."""

    async def main() -> None:
        outside = Outside()
        s = await going_on(outside)
        assert await s.stop() == []
        assert not outside.of("top/p").running

    run(main())


def test_one_that_cannot_be_seen_again_before_the_agent_ends_is_named() -> None:
    """Whether it runs is not known, so it is not said that it has stopped."""

    async def main() -> None:
        outside = Outside()
        s = await going_on(outside)
        outside.of("top/p").observe_fails = "blind"
        assert await s.stop() == ["top/p"]
        assert outside.of("top/p").running

    run(main())


def test_what_is_not_asked_for_any_more_is_forgotten() -> None:
    """A worker that comes back after a run without it begins anew."""
    outside = Outside()

    async def main() -> None:
        store = MemoryStore(wall=wall)
        before = agent(outside, store)
        before.want([process("p", children=["c"])])
        await reach(before, "top/p/c", "running")
        before.tell("top/p", "pause", why="x")
        killed(before)
        left = store.reopened()
        between = agent(outside, left)
        between.want([])
        await asyncio.sleep(1)
        assert left.load() == {}
        killed(between)
        after = agent(outside, left.reopened())
        after.want([process("p")])
        await reach(after, "top/p", "running")
        assert not after.records["top/p"].paused
        await after.stop()

    run(main())
