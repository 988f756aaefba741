"""Finished: a worker that asked for its removal is remembered over a restart, for exactly as long as the same is asked of it."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.lives import Outside, agent, killed
from tests.control.samples import Observed, Seen, Spec, alive, process, reach, state

from setpoint.control import ChildSpec, Worker
from setpoint.machine import Phase, State, guard
from setpoint.store import MemoryStore
from setpoint.testing import run, wall


class Job(Worker[Spec, Spec, Observed]):
    "Does its work once, notes which version of it that was, and asks to be taken away."

    todo = State(Phase.STARTING, act="work")
    done = State(Phase.STOPPED, signal="removal", reason="done")
    arcs = [todo.to(done, on="finish", when=alive)]

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.worked = False

    async def collect_observed_state(self, desired: Spec) -> Observed:
        if why := self.outside.of(self.context.path).observe_fails:
            raise OSError(why)
        return Observed(running=self.worked)

    async def work(self, desired: Spec) -> None:
        self.outside.of(self.context.path).note(f"version {desired.version}")
        self.worked = True


def job(name: str = "j", **spec: int) -> ChildSpec:
    return ChildSpec(name, "job", Spec(**spec))


def done(outside: Outside, path: str = "top/j") -> list[str]:
    """Which versions of its work a job has done."""
    return [what for what, _ in outside.of(path).log]


async def one_life(outside: Outside, store: MemoryStore, *asked_for: list[ChildSpec]) -> MemoryStore:
    """A life of an agent that is asked for these, one after the other, and killed; gives what the store has then."""
    s = agent(outside, store, job=Job)
    for specs in asked_for:
        s.want(specs)
        await asyncio.sleep(10)
    killed(s)
    return store.reopened()


def test_a_job_that_has_finished_is_not_done_again_after_a_restart() -> None:
    """However often; with another spec it is."""

    async def main() -> None:
        outside, store = Outside(), MemoryStore(wall=wall)
        for _ in range(3):
            store = await one_life(outside, store, [job()])
        assert done(outside) == ["version 1"]
        await one_life(outside, store, [job(version=2)])
        assert done(outside) == ["version 1", "version 2"]

    run(main())


@pytest.mark.parametrize(
    ("before", "asked_for"),
    [([[job()]], job(version=2)), ([[job()], []], job())],
    ids=["another spec", "not asked for in between"],
)
def test_a_job_that_is_asked_for_anew_is_done_though_the_agent_died_before_it_could_begin(
    before: list[list[ChildSpec]], asked_for: ChildSpec
) -> None:
    """That an earlier one has finished counts no longer from the moment the new one is asked for."""

    async def main() -> None:
        outside = Outside()
        s = agent(outside, store := MemoryStore(wall=wall), job=Job)
        for specs in before:
            s.want(specs)
            await asyncio.sleep(10)
        outside.of("top/j").observe_fails = "blind"
        s.want([asked_for])
        await asyncio.sleep(60)
        assert state(s, "top/j") == "creating"
        killed(s)
        outside.of("top/j").observe_fails = ""
        await one_life(outside, store.reopened(), [asked_for])
        assert done(outside) == ["version 1", f"version {asked_for.spec.version}"]

    run(main())


def test_a_finished_job_that_nobody_asks_for_any_more_is_not_kept() -> None:
    """A store of jobs that come and go does not grow."""

    async def main() -> None:
        store = MemoryStore(wall=wall)
        left = await one_life(Outside(), store, *([job(f"j{n}")] for n in range(5)), [])
        assert left.load() == {}

    run(main())


def test_a_finished_job_is_remembered_next_to_a_worker_called_like_its_folder() -> None:
    """A name at the top may have slashes: `jobs` is not the parent of `jobs/one`."""

    async def main() -> None:
        outside, store = Outside(), MemoryStore(wall=wall)
        for _ in range(3):
            store = await one_life(outside, store, [process("jobs"), job("jobs/one")])
        assert done(outside, "top/jobs/one") == ["version 1"]

    run(main())


@guard
def child_runs(s: Seen) -> bool:
    "the child runs"
    return s.children["c"].up


class Family(Job):
    "A job that is done once its child runs."

    todo = State(Phase.STARTING)
    done = State(Phase.STOPPED, signal="removal", reason="done")
    arcs = [todo.to(done, on="finish", when=child_runs)]

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        return [process("c")]


def test_the_child_of_a_finished_job_is_stopped_though_the_agent_died_meanwhile() -> None:
    """The job is not gone before its child is."""

    async def main() -> None:
        outside, store = Outside(), MemoryStore(wall=wall)
        outside.of("top/j/c").takes = 5.0
        specs = [ChildSpec("j", "family", Spec())]
        first = agent(outside, store, family=Family)
        first.want(specs)
        await reach(first, "top/j", "done")
        await asyncio.sleep(1)
        assert outside.of("top/j/c").running
        killed(first)
        second = agent(outside, store.reopened(), family=Family)
        second.want(specs)
        await asyncio.sleep(60)
        assert not outside.of("top/j/c").running
        await second.stop()

    run(main())
