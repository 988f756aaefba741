"""Shutdown: all at once, within a budget, and what did not stop is named."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.samples import Process, Spec, now, process, reach, supervisor, world

from setpoint.control import ChildSpec
from setpoint.testing import run


def test_a_hundred_children_stop_together() -> None:
    """Siblings stop at the same time: a hundred that need 200 ms each need little more than that."""

    async def main() -> None:
        s = supervisor()
        s.want([process("parent", children=[f"c{i}" for i in range(100)])])
        await reach(s, "top/parent/c99", "running")
        for i in range(100):
            world(s, f"top/parent/c{i}").takes = 0.2
        before = now()
        assert await s.stop() == []
        assert now() - before <= 1.0

    run(main())


def test_what_does_not_stop_is_named_and_the_budget_is_kept() -> None:
    """A process that will not go does not keep the agent."""

    async def main() -> None:
        s = supervisor()
        s.want([process("stubborn"), process("good")])
        await reach(s, "top/stubborn", "running")
        world(s, "top/stubborn").ignores_stop = True
        before = now()
        assert await s.stop(budget=3.0) == ["top/stubborn"]
        assert now() - before <= 5.1

    run(main())


def test_an_action_that_ignores_cancellation_cannot_hold_the_shutdown() -> None:
    """Hung calls are given up on, not waited for."""
    release: list[asyncio.Event] = []

    class Hangs(Process):
        async def stop(self, desired: Spec) -> None:
            while not release[0].is_set():
                try:
                    await release[0].wait()
                except asyncio.CancelledError:
                    continue

    async def main() -> None:
        release.append(asyncio.Event())
        s = supervisor(hangs=Hangs)
        s.want([ChildSpec("p", "hangs", Spec())])
        await reach(s, "top/p", "running")
        before = now()
        assert await s.stop(budget=2.0) == ["top/p"]
        assert now() - before <= 2.0
        release[0].set()  # so that the test's loop can end

    run(main())


def test_the_budget_grows_with_the_height_of_the_tree() -> None:
    """Two seconds for each level, the letting go of what would not stop included."""

    async def main() -> None:
        s = supervisor()
        s.want([process("a", children=["b"])])
        await reach(s, "top/a/b", "running")
        world(s, "top/a/b").ignores_stop = True
        before = now()
        await s.stop()
        assert 3.59 <= now() - before <= 4.0

    run(main())


def test_each_worker_is_let_go_of_once() -> None:
    """Also where two ask for the end at the same time."""
    closed = 0

    class Closes(Process):
        async def close(self) -> None:
            nonlocal closed
            closed += 1
            await asyncio.sleep(0.1)

    async def main() -> None:
        s = supervisor(closes=Closes)
        s.want([ChildSpec("p", "closes", Spec())])
        await reach(s, "top/p", "running")
        assert await asyncio.gather(s.stop(), s.stop()) == [[], []]
        assert closed == 1

    run(main())


def test_nothing_is_made_anew_while_everything_stops() -> None:
    """A restart that had begun ends with the stop."""
    made: list[float] = []

    class Made(Process):
        def __init__(self) -> None:
            super().__init__()
            made.append(now())

    async def main() -> None:
        s = supervisor(made=Made)
        s.want([ChildSpec("p", "made", Spec()), process("slow")])
        await reach(s, "top/p", "running")
        await reach(s, "top/slow", "running")
        world(s, "top/slow").takes = 1.0
        s.tell("top/p", "restart", why="x")
        assert await s.stop() == []
        assert made == [0.0]

    run(main())


def test_a_stopped_supervisor_takes_no_more_work() -> None:
    """It says so instead of pretending."""

    async def main() -> None:
        s = supervisor()
        await s.stop()
        with pytest.raises(RuntimeError, match="has been stopped"):
            s.want([process("p")])

    run(main())


def test_a_worker_whose_guard_reads_the_desired_state_itself_stops_as_well() -> None:
    """When the agent stops, such a worker sees its desired state say "stopped"."""
    from tests.control.samples import Seen, alive

    from setpoint.machine import Phase, State, guard

    @guard
    def asked_for(s: Seen) -> bool:
        "the spec says running"
        return s.desired.desired_state == "running"

    class Own(Process):
        stopped = State(Phase.STOPPED)
        starting = State(Phase.STARTING, act="start")
        running = State(Phase.HEALTHY)
        stopping = State(Phase.STOPPING, act="stop")
        arcs = [
            stopped.to(starting, on="start", when=asked_for),
            starting.to(running, on="start_done", when=alive),
            (starting | running).to(stopping, on="stop", when=~asked_for),
            stopping.to(stopped, on="stop_done", when=~alive),
        ]

    async def main() -> None:
        s = supervisor(own=Own)
        s.want([ChildSpec("p", "own", Spec())])
        await reach(s, "top/p", "running")
        assert await s.stop() == []

    run(main())


def test_what_others_need_stops_last() -> None:
    """A worker that is needed goes on until those that need it are at rest."""

    async def main() -> None:
        s = supervisor()
        s.want([process("server"), ChildSpec("client", "process", Spec(), needs=("top/server",))])
        await reach(s, "top/client", "running")
        await reach(s, "top/server", "running")
        world(s, "top/client").takes = 1.0
        client, server = world(s, "top/client"), world(s, "top/server")
        assert await s.stop() == []
        assert client.calls("stop")[0] + 1.0 <= server.calls("stop")[0]

    run(main())


def test_a_circle_of_needs_does_not_hold_the_shutdown() -> None:
    """Two that need each other stop all the same."""

    async def main() -> None:
        s = supervisor()
        s.want(
            [
                ChildSpec("a", "process", Spec(), needs=("top/b", "top/nobody")),
                ChildSpec("b", "process", Spec(), needs=("top/a",)),
            ]
        )
        await reach(s, "top/a", "running")
        await reach(s, "top/b", "running")
        assert await s.stop() == []

    run(main())
