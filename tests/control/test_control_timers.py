"""Timers: they serve what is waited for now, and none are left behind by what was waited for before."""

from __future__ import annotations

import asyncio
import gc
import weakref

from tests.control.samples import Observed, Process, Seen, Spec, process, reach, supervisor

from setpoint.control import ChildSpec, Observation, Supervisor, Worker, wanted
from setpoint.control.agenda import Timer
from setpoint.machine import Phase, State, guard, held
from setpoint.testing import run


def timers(s: Supervisor, kind: Timer | None = None) -> int:
    """How many timers wait, of one kind or of all."""
    return sum(kind in (None, timer[2]) for timer in s.core.agenda._timers)


class Trying(Worker[None, None, Observation]):
    "Tries again and again, for at most a day."

    idle = State(Phase.STOPPED)
    trying = State(Phase.STARTING, act="attempt")
    gave_up = State(Phase.FAILED)
    arcs = [
        idle.to(trying, on="start", when=wanted),
        trying.to(gave_up, on="time_out", after=86_400),
        (trying | gave_up).to(idle, on="stop", when=~wanted),
    ]

    async def attempt(self, desired: None) -> None:
        pass

    async def collect_observed_state(self, desired: None) -> Observation:
        return Observation()


def test_a_worker_that_is_made_anew_again_and_again_has_one_resync_timer() -> None:
    """Each life does not add one of its own."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        for _ in range(30):
            s.tell("top/p", "restart", why="x")
            await asyncio.sleep(1)
            await reach(s, "top/p", "running", within=100)
        assert s.records["top/p"].starts == 31
        assert timers(s, Timer.RESYNC) == 1
        await s.stop()

    run(main())


def test_timers_do_not_grow_with_the_time_that_one_waits() -> None:
    """Each try sets timers of its own, under a long one that stays."""

    async def main() -> None:
        s = supervisor(trying=Trying)
        s.want([ChildSpec("p", "trying")])
        await asyncio.sleep(600)
        early = timers(s)
        await asyncio.sleep(1800)
        assert timers(s) < early + 25
        await s.stop()

    run(main())


def test_a_removed_worker_is_let_go_of() -> None:
    """Its own long timers do not keep it, nor its row's."""

    async def main() -> None:
        s = supervisor(trying=Trying)
        gone = []
        for n in range(20):
            s.want([ChildSpec(f"p{n}", "trying")])
            await asyncio.sleep(3)
            gone.append(weakref.ref(s.records[f"top/p{n}"].worker))
        s.want([])
        await asyncio.sleep(600)
        gc.collect()
        assert [worker() for worker in gone if worker() is not None] == []
        assert timers(s) < 20
        await s.stop()

    run(main())


def test_measuring_when_asked_leaves_no_timers_behind() -> None:
    """A worker with a long interval that is often asked to measure now."""

    class Daily(Worker[None, None, Observation]):
        "Measured once a day, and whenever it says so."

        on = State(Phase.HEALTHY)
        interval = 86_400.0

        async def collect_observed_state(self, desired: None) -> Observation:
            return Observation()

    async def main() -> None:
        s = supervisor(daily=Daily)
        s.want([ChildSpec("p", "daily")])
        await reach(s, "top/p", "on")
        worker = s.records["top/p"].worker
        assert worker is not None
        for _ in range(200):
            worker.context.observe()
            await asyncio.sleep(5)
        assert timers(s, Timer.COLLECT) < 10
        await s.stop()

    run(main())


def test_time_that_is_waited_for_again_and_again_leaves_nothing_behind() -> None:
    """A guard that blinks under a long `held` does not pile up timers."""

    class Blinks(Process):
        resting = State(Phase.STOPPED)
        done = State(Phase.HEALTHY)
        stopped = resting
        starting = running = stopping = None  # type: ignore[assignment]
        arcs = [resting.to(done, on="done", when=held(_hot, 86_400))]

        def initial_state(self) -> str:
            return "resting"

        async def collect_observed_state(self, desired: Spec) -> Observed:
            self.world.collections += 1
            return Observed(running=self.world.collections % 2 == 0)

    async def main() -> None:
        s = supervisor(bad=Blinks)
        s.want([ChildSpec("p", "bad", Spec())])
        await asyncio.sleep(3600)
        assert len(s.core.agenda._timers) < 50
        await s.stop()

    run(main())


@guard
def _hot(s: Seen) -> bool:
    "it is hot"
    return s.observed.running
