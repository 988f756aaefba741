"""Signals: a worker asks the runtime to be made anew, or to be taken away; and what holds back one that asks too often."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from tests.control.samples import (
    Observed,
    Process,
    Spec,
    World,
    alive,
    looked_at,
    looks,
    now,
    process,
    reach,
    state,
    supervisor,
    world,
)

from setpoint.control import ChildSpec, Limits, Observation, Snapshot, Supervisor, Worker, wanted
from setpoint.machine import Guard, Phase, State, guard
from setpoint.testing import run


class Done(Observation, frozen=True):
    """Whether the job is done."""

    done: bool = False


@guard
def done(s: Snapshot[Spec, Done]) -> bool:
    "the job is done"
    return s.observed.done


class Job(Worker[Spec, Spec, Done]):
    "Does one thing, once, and asks to be taken away."

    waiting = State(Phase.STOPPED)
    working = State(Phase.STARTING, act="work")
    finished = State(Phase.STOPPED, signal="removal", reason="all rows are copied")

    arcs = [
        waiting.to(working, on="start", when=wanted),
        working.to(waiting, on="stop", when=~wanted),
        working.to(finished, on="work_done", when=done),
    ]
    runs = 0

    def __init__(self) -> None:
        self._done = False

    async def collect_observed_state(self, desired: Spec) -> Done:
        return Done(self._done)

    async def work(self, desired: Spec) -> None:
        type(self).runs += 1
        self._done = True


class Parent(Process):
    "A process with a job."

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        return [ChildSpec("job", "job", Spec(version=desired.version))]


class Asking(Worker[Spec, Spec, Observed]):
    "Asks to be made anew whenever its process has died."

    stopped = State(Phase.STOPPED)
    starting = State(Phase.STARTING, act="start")
    running = State(Phase.HEALTHY)
    broken = State(Phase.FAILED, signal="restart", reason="the process has died")

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        starting.to(running, on="start_done", when=alive),
        running.to(broken, on="died", when=~alive),
        (starting | running | broken).to(stopped, on="stop", when=~wanted),
    ]

    def __init__(self, outside: World) -> None:
        self.world = outside

    async def collect_observed_state(self, desired: Spec) -> Observed:
        return Observed(self.world.running)

    async def start(self, desired: Spec) -> None:
        self.world.note("start")
        self.world.running = True


def test_a_worker_that_has_done_its_work_is_taken_away_and_stays_away() -> None:
    """Its parent sees it as removed, with its last reason, and it does not come again while the same is asked of it."""

    async def main() -> None:
        Job.runs = 0
        s = supervisor(job=Job, parent=Parent)
        s.want([ChildSpec("p", "parent", Spec())])
        await reach(s, "top/p/job", "gone")
        await asyncio.sleep(120)
        assert (state(s, "top/p/job"), Job.runs) == ("gone", 1)
        fact = s.core.snapshot(s.records["top/p"]).children["job"]
        assert (fact.state, fact.reason) == ("removed", "finished: all rows are copied")
        assert [move.event for move in s.journal.history("top/p/job")][-2:] == ["remove", "remove_done"]
        await s.stop()

    run(main())


def test_another_spec_makes_a_finished_worker_come_again() -> None:
    """What is asked for now is another job."""

    async def main() -> None:
        Job.runs = 0
        s = supervisor(job=Job)
        s.want([ChildSpec("j", "job", Spec())])
        await reach(s, "top/j", "gone")
        s.want([ChildSpec("j", "job", Spec(version=2))])
        assert await s.until(lambda s: Job.runs == 2, 10)
        await reach(s, "top/j", "gone")
        s.want([])
        await asyncio.sleep(1)
        s.want([ChildSpec("j", "job", Spec(version=2))])  # not named for a while: asked for once more
        assert await s.until(lambda s: Job.runs == 3, 10)
        await s.stop()

    run(main())


def test_a_state_may_ask_for_the_worker_to_be_made_anew() -> None:
    """It is stopped, another takes its place, and it goes on as wanted; the history names the state that asked."""

    async def main() -> None:
        outside = World()
        s = supervisor(asking=lambda: Asking(outside))
        s.want([ChildSpec("a", "asking", Spec())])
        await reach(s, "top/a", "running")
        first = s.records["top/a"].worker
        outside.running = False
        assert await s.until(lambda s: s.records["top/a"].worker is not first, 10)
        await reach(s, "top/a", "running")
        made = next(move for move in s.journal.history("top/a") if move.event == "recreate")
        assert made.reason == "broken asks for it: the process has died"
        await s.stop()

    run(main())


def test_starts_that_follow_upon_one_another_are_held_back_ever_longer_and_never_given_up() -> None:
    """Some are free; then each waits longer, up to the cap, and the reason says so; calm makes them free again."""

    async def main() -> None:
        s = supervisor(limits=Limits(restarts=3, restart_window=30, retry_cap=16))
        s.want([process("p")])
        await reach(s, "top/p", "running")
        outside = world(s, "top/p")
        outside.takes = 0.0

        async def crash() -> None:
            while True:
                await asyncio.sleep(0.5)
                outside.running = False

        crashing = asyncio.create_task(crash())
        await asyncio.sleep(200)
        pauses = [later - earlier for earlier, later in pairwise(outside.calls("start"))]
        assert max(pauses[:3]) < 3
        assert pauses[-1] > 10
        assert max(pauses) <= 16 + 3
        assert "times in a row" in s.worker("top/p").reason or state(s, "top/p") == "running"
        crashing.cancel()
        await reach(s, "top/p", "running", within=20)
        await asyncio.sleep(60)
        outside.running = False
        at = now()
        await reach(s, "top/p", "starting")
        await reach(s, "top/p", "running")
        assert now() - at < 3
        await s.stop()

    run(main())


def _starts(s: Supervisor, path: str) -> int:
    return sum(move.event == "start" for move in s.journal.history(path, 1000))


def test_an_operator_who_retries_ends_the_wait() -> None:
    """Failures are forgotten, also those that hold back a start."""

    async def main() -> None:
        s = supervisor(limits=Limits(restarts=1, retry_first=40, retry_cap=60))
        s.want([process("p")])
        await reach(s, "top/p", "running")
        outside = world(s, "top/p")
        for _ in range(2):
            outside.running = False
            await reach(s, "top/p", "starting")
            if "times in a row" in s.worker("top/p").reason:
                break
            await reach(s, "top/p", "running", within=100)
        assert "started 2 times in a row" in s.worker("top/p").reason
        s.tell("top/p", "retry", why="repaired (ben)")
        await reach(s, "top/p", "running", within=2)
        await s.stop()

    run(main())


class Stages(Observation, frozen=True):
    """How many of the stages of a start are done."""

    done: int = 0


def stage(number: int) -> Guard:
    """Whether so many stages are done."""

    def reached(s: Snapshot[Spec, Stages]) -> bool:
        return s.observed.done >= number

    reached.__name__, reached.__doc__ = f"stage_{number}", f"stage {number} is done"
    return guard(reached)


class Staged(Worker[Spec, Spec, Stages]):
    "Starts in three stages."

    off = State(Phase.STOPPED)
    powering = State(Phase.STARTING, act="advance")
    homing = State(Phase.STARTING, act="advance")
    warming = State(Phase.STARTING, act="advance")
    on = State(Phase.HEALTHY)

    arcs = [
        off.to(powering, on="start", when=wanted),
        powering.to(homing, on="powered", when=stage(1)),
        homing.to(warming, on="homed", when=stage(2)),
        warming.to(on, on="warmed", when=stage(3)),
        (powering | homing | warming | on).to(off, on="stop", when=~wanted),
    ]

    def __init__(self) -> None:
        self.done = 0

    async def collect_observed_state(self, desired: Spec) -> Stages:
        return Stages(self.done)

    async def advance(self, desired: Spec) -> None:
        self.done += 1


def test_a_start_in_several_stages_is_one_start() -> None:
    """None of them waits as if it followed upon a start that failed."""

    async def main() -> None:
        s = supervisor(limits=Limits(restarts=1, retry_first=40, retry_cap=60), staged=Staged)
        s.want([ChildSpec("p", "staged", Spec())])
        await reach(s, "top/p", "on", within=1)
        assert s.records["top/p"].restarts == 0
        await s.stop()

    run(main())


class Sticky(Worker[Spec, Spec, Observation]):
    "Asks to be made anew as soon as it is wanted, and does not stop for it."

    off = State(Phase.STOPPED)
    bad = State(Phase.FAILED, signal="restart")
    arcs = [off.to(bad, on="break", when=wanted), bad.to(off, on="mend", when=looked_at)]

    async def collect_observed_state(self, desired: Spec) -> Observation:
        return Observation()


def test_a_signal_that_cannot_be_obeyed_yet_costs_nothing() -> None:
    """While it is waited for that the worker stops it is looked at no more often than any other."""

    async def main() -> None:
        s = supervisor(limits=Limits(restart_timeout=30), sticky=Sticky)
        s.want([ChildSpec("p", "sticky", Spec())])
        await reach(s, "top/p", "bad")
        looks.clear()
        await asyncio.sleep(25)
        assert state(s, "top/p") == "bad"
        assert len(looks) < 20
        await s.stop()

    run(main())


def test_a_signal_of_a_worker_that_is_not_wanted_costs_nothing() -> None:
    """Also where it was held back because it had come too often."""

    async def main() -> None:
        s = supervisor(limits=Limits(restart_timeout=0.5), sticky=Sticky)
        s.want([ChildSpec("p", "sticky", Spec())])
        held_back = await s.until(lambda s: s.records["top/p"].restarts >= 8 and state(s, "top/p") == "bad", 600)
        assert held_back
        s.tell("top/p", "disable", why="x")
        looks.clear()
        await asyncio.sleep(720)
        assert state(s, "top/p") == "bad"
        assert len(looks) < 60
        await s.stop()

    run(main())
