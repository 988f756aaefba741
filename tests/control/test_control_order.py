"""Order among siblings: one that comes after others starts once they have, and stops before them."""

from __future__ import annotations

import asyncio

from tests.control.samples import Spec, now, process, reach, state, supervisor, world

from setpoint.control import ChildSpec
from setpoint.testing import run


def after(name: str, *others: str, **spec: object) -> ChildSpec:
    return ChildSpec(name, "process", Spec(**spec), after=others)


def test_a_worker_starts_after_its_siblings_and_stops_before_them() -> None:
    """Each waits for the one before it, says so, and at the end they go in the opposite order."""

    async def main() -> None:
        s = supervisor()
        s.want([after("c", "b"), after("b", "a"), process("a")])
        await s.changes()
        assert s.worker("top/c").reason.startswith("waits for b to start, which is")
        assert s.worker("top/c").desired == "running"
        assert s.worker("top/c").reconciling.ok
        await reach(s, "top/c", "running")
        started = {name: world(s, f"top/{name}").calls("started")[0] for name in "abc"}
        assert started["a"] < started["b"] < started["c"]
        worlds = {name: world(s, f"top/{name}") for name in "abc"}
        assert await s.stop() == []
        stops = {name: worlds[name].calls("stop")[0] for name in "abc"}
        assert stops["c"] < stops["b"] < stops["a"]

    run(main())


def test_the_order_is_one_of_starting_only() -> None:
    """A sibling that fails later does not stop those that came after it."""

    async def main() -> None:
        s = supervisor()
        s.want([process("a"), after("b", "a")])
        await reach(s, "top/b", "running")
        world(s, "top/a").start_fails = "no"
        world(s, "top/a").running = False
        await reach(s, "top/a", "starting")
        await asyncio.sleep(20)
        assert state(s, "top/b") == "running"
        s.tell("top/b", "restart", why="x")  # but one that starts again waits again
        await asyncio.sleep(20)
        assert s.worker("top/b").reason == "waits for a to start, which is starting"
        world(s, "top/a").start_fails = ""
        await reach(s, "top/b", "running", within=100)
        await s.stop()

    run(main())


def test_a_circle_and_a_name_that_is_not_there_stall_those_concerned_and_nobody_else() -> None:
    """They say why; mending the spec lets them start."""

    async def main() -> None:
        s = supervisor()
        s.want([after("a", "b"), after("b", "a"), after("c", "nobody"), process("d"), after("e", "d")])
        await reach(s, "top/e", "running")
        assert s.worker("top/a").stalled.reason == "waits for itself to start: a → b → a"
        assert s.worker("top/c").stalled.reason == "waits for 'nobody' to start, which is not one of its siblings"
        assert (state(s, "top/a"), state(s, "top/c")) == ("stopped", "stopped")
        s.want([process("a"), after("b", "a"), after("c"), process("d"), after("e", "d")])
        for name in "abc":
            await reach(s, f"top/{name}", "running")
        assert s.worker("top/c").ready.ok
        at = now()
        assert await s.stop() == []
        assert now() - at < 2

    run(main())
