"""Resuming: a supervisor that is started again goes on from what the store has, after one fresh observation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
from tests.control.samples import Process, Spec, World, alive, process, reach, state

from setpoint.control import ChildSpec, Limits, Observation, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.control.registry import AnyWorker
from setpoint.machine import Migration, Phase, State, guard, held
from setpoint.store import MemoryStore, SqliteStore, Store
from setpoint.testing import run, wall

Story = Callable[[Supervisor], Awaitable[None]]


class Outside:
    """What outlives the agent: one world for each name."""

    def __init__(self) -> None:
        self.worlds: dict[str, World] = {}

    def of(self, name: str) -> World:
        return self.worlds.setdefault(name, World())


class Real(Process):
    "A process outside the agent, found again by its name."

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self.outside = outside

    async def collect_observed_state(self, desired: Spec):  # type: ignore[no-untyped-def]
        self.world = self.outside.of(self.context.path)
        return await super().collect_observed_state(desired)


def agent(outside: Outside, store: Store, limits: Limits | None = None, **types: type[AnyWorker]) -> Supervisor:
    registry = Registry(outside=outside)
    for name, worker in {"process": Real, **types}.items():
        registry.add(name, worker)
    return Supervisor(registry, root="top", wall=wall, store=store, limits=limits)


def killed(supervisor: Supervisor) -> None:
    """The process is gone at once: nothing is told to stop, nothing more is decided."""
    supervisor._ended = True
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    if supervisor._pending is not None:
        supervisor._pending.cancel()


def lives(
    first: Story,
    second: Story,
    *,
    outside: Outside,
    down_for: float = 5.0,
    then: type[Worker] = Real,
    now: type[Worker] = Real,
) -> None:  # type: ignore[type-arg]
    """Two lives of one agent over one store, the first of them ended by a kill."""

    async def main() -> None:
        store = MemoryStore(wall=wall)
        before = agent(outside, store, process=then)
        await first(before)
        killed(before)
        left = store.reopened()
        await asyncio.sleep(down_for)
        after = agent(outside, left, process=now)
        await second(after)
        await after.stop()

    run(main())


def test_what_still_runs_is_not_restarted() -> None:
    """After a kill the worker goes on in its stored state, since the same moment, with one fresh observation and no action."""
    outside = Outside()
    since = 0.0

    async def first(s: Supervisor) -> None:
        nonlocal since
        s.want([process("p", children=["c"])])
        await reach(s, "top/p/c", "running")
        await reach(s, "top/p", "running")
        since = s.worker("top/p").since
        await asyncio.sleep(30)

    async def second(s: Supervisor) -> None:
        s.want([process("p", children=["c"])])
        await reach(s, "top/p", "running", within=1)
        assert s.worker("top/p").since == since
        assert s.records["top/p"].starts == 2
        assert outside.of("top/p").calls("start") == [0.0]
        assert len(outside.of("top/p/c").calls("start")) == 1
        events = [move.event for move in s.journal.history("top/p")]
        assert events == ["create", "create_done", "start", "start_done", "create", "resumed"]

    lives(first, second, outside=outside)


def test_what_died_meanwhile_is_seen_and_started() -> None:
    """It goes on in its stored state and moves on from there, on what it sees now."""
    outside = Outside()

    async def first(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "running")
        outside.of("top/p").running = False

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "running")
        events = [move.event for move in s.journal.history("top/p")]
        assert events[-4:] == ["create", "resumed", "crashed", "start_done"]

    lives(first, second, outside=outside)


def test_nothing_is_decided_before_there_is_a_fresh_observation() -> None:
    """What cannot be observed stays on its way, with the reason, and goes on where it was once it can."""
    outside = Outside()

    async def first(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "running")
        outside.of("top/p").observe_fails = "blind"

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await asyncio.sleep(60)
        assert state(s, "top/p") == "creating"
        assert s.worker("top/p").reason.endswith("waiting for the first observation: OSError: blind")
        outside.of("top/p").observe_fails = ""
        await reach(s, "top/p", "running")
        assert len(outside.of("top/p").calls("start")) == 1

    lives(first, second, outside=outside)


def test_what_operators_told_a_worker_holds_after_a_restart() -> None:
    """Disabled stays disabled and paused stays paused, with their reasons, until somebody says otherwise."""
    outside = Outside()

    async def first(s: Supervisor) -> None:
        s.want([process("a"), process("b")])
        await reach(s, "top/b", "running")
        s.tell("top/a", "disable", why="maintenance (ben)")
        await reach(s, "top/a", "stopped")
        s.tell("top/b", "pause", why="looking (eva)")
        await asyncio.sleep(1)

    async def second(s: Supervisor) -> None:
        s.want([process("a"), process("b")])
        await asyncio.sleep(30)
        assert s.worker("top/a").reason == "disabled by the operator: maintenance (ben)"
        assert s.worker("top/b").stalled.reason == "paused by the operator: looking (eva)"
        assert outside.of("top/a").running is False
        s.tell("top/a", "enable", why="done (ben)")
        await reach(s, "top/a", "running")

    lives(first, second, outside=outside)


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


class Timed(Worker[Spec, Spec, Observation]):
    "Three waits of ten seconds, one for each policy, and a held guard."

    stopped = State(Phase.STOPPED)
    counting = State(Phase.HEALTHY)
    by_deadline, by_rest, by_restart = State(Phase.DEGRADED), State(Phase.DEGRADED), State(Phase.DEGRADED)

    arcs = [
        stopped.to(counting, on="start", when=wanted),
        counting.to(by_deadline, on="deadline", after=60),
        counting.to(by_rest, on="rest", after=50, resume="remaining"),
        counting.to(by_restart, on="again", after=40, resume="restart"),
    ]

    async def collect_observed_state(self, desired: Spec) -> Observation:
        return Observation()


@pytest.mark.parametrize(
    ("down_for", "expected", "at"), [(5, "by_rest", 20), (25, "by_deadline", 5), (1000, "by_deadline", 0)]
)
def test_pending_timers_go_on_as_their_policies_say(down_for: float, expected: str, at: float) -> None:
    """After 30 s of its first life: a deadline counts the time without an agent, a rest does not, a restart begins again."""

    async def first(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "counting")
        await asyncio.sleep(30)
        s.tell("top/p", "retry", why="a document of now")  # the store of this test has no heartbeat
        s.journal.close()

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", expected, within=at + 1)

    lives(first, second, outside=Outside(), down_for=down_for, then=Timed, now=Timed)


class Two(Worker[Spec, Spec, Observation]):
    "Version 2: what was `running` is called `up`."

    machine_name = "real"
    machine_version = "2"
    migrations: ClassVar = [Migration("1", "2", {"stopped": "stopped", "running": "up"})]
    stopped = State(Phase.STOPPED)
    up = State(Phase.HEALTHY)
    arcs = [stopped.to(up, on="start", when=wanted), up.to(stopped, on="stop", when=~wanted)]

    async def collect_observed_state(self, desired: Spec) -> Observation:
        return Observation()


class Undeclared(Two):
    "Version 3, without a word about what was before."

    machine_name = "real"
    machine_version = "3"
    migrations: ClassVar = []


async def _running(s: Supervisor) -> None:
    s.want([process("p")])
    await reach(s, "top/p", "running")


def test_a_stored_state_of_another_version_is_migrated_by_the_declared_function() -> None:
    """The history says which way it went."""

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "up")
        last = s.journal.history("top/p")[-1]
        assert (last.event, last.source) == ("resumed", "creating")
        assert "migrated 1→2 to 'up'" in last.reason

    lives(_running, second, outside=Outside(), now=Two)


def test_a_stored_state_that_nobody_can_place_is_refused_by_name_and_never_guessed() -> None:
    """The worker begins anew, and says what was looked for."""

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "up")
        refused = next(move for move in s.journal.history("top/p") if move.event == "resume_refused")
        assert (
            refused.reason
            == "stored state 'running' of real version 1: no migration to version 3 is declared; declared: none"
        )

    lives(_running, second, outside=Outside(), now=Undeclared)


def test_a_worker_type_that_is_gone_keeps_what_is_stored_until_it_is_back() -> None:
    """After an upgrade without the type the worker says so; with the type again it goes on where it was."""
    outside = Outside()

    async def main() -> None:
        store = MemoryStore(wall=wall)
        before = agent(outside, store)
        await _running(before)
        killed(before)
        empty = Supervisor(Registry(), root="top", wall=wall, store=store.reopened())
        empty.want([process("p")])
        await asyncio.sleep(30)
        assert "there is no worker type 'process'" in empty.worker("top/p").stalled.reason
        killed(empty)
        after = agent(outside, store.reopened())
        after.want([process("p")])
        await reach(after, "top/p", "running", within=1)
        assert len(outside.of("top/p").calls("start")) == 1
        await after.stop()

    run(main())


def test_a_parent_goes_on_after_those_it_looks_at() -> None:
    """It does not take their absence for a change: no move but the resumption, with a child that is slow to be seen."""
    outside = Outside()

    @guard
    def child_up(s: Snapshot[Spec, Observation]) -> bool:
        "the child runs"
        return s.children["c"].state == "running"

    class Parent(Worker[Spec, Spec, Observation]):
        "Healthy while its child is."

        stopped = State(Phase.STOPPED)
        good = State(Phase.HEALTHY)
        bad = State(Phase.DEGRADED)
        arcs = [
            stopped.to(good, on="start", when=wanted & child_up),
            (good | bad).to(stopped, on="stop", when=~wanted),
            good.to(bad, on="worse", when=~child_up),
            bad.to(good, on="better", when=child_up),
        ]

        async def collect_observed_state(self, desired: Spec) -> Observation:
            return Observation()

        def children(self, desired: Spec, state: str) -> list[ChildSpec]:
            return [ChildSpec("c", "child", Spec())]

    async def main() -> None:
        store = MemoryStore(wall=wall)
        before = agent(outside, store, parent=Parent, child=Real)
        before.want([ChildSpec("p", "parent", Spec())])
        await reach(before, "top/p", "good")
        killed(before)
        outside.of("top/p/c").observing_takes = 1.5
        after = agent(outside, store.reopened(), parent=Parent, child=Real)
        after.want([ChildSpec("p", "parent", Spec())])
        await asyncio.sleep(1)
        assert after.worker("top/p").reason == "waiting for c before it goes on as good"
        await reach(after, "top/p", "good")
        assert [move.event for move in after.journal.history("top/p")][-2:] == ["create", "resumed"]
        outside.of("top/p/c").observe_fails = "blind"
        killed(after)
        third = agent(outside, store.reopened(), parent=Parent, child=Real)
        third.want([ChildSpec("p", "parent", Spec())])
        await reach(third, "top/p", "bad", within=6)  # patience has an end: the parent never waits for ever
        outside.of("top/p/c").observe_fails = ""
        await third.stop()

    run(main())


def test_a_job_that_has_finished_is_not_done_again_after_a_restart() -> None:
    """That it asked for its removal is remembered, for as long as the same is asked of it."""

    class Job(Worker[Spec, Spec, Observation]):
        "Is done at once."

        waiting = State(Phase.STOPPED)
        done = State(Phase.STOPPED, signal="removal", reason="done")
        arcs = [waiting.to(done, on="do", when=wanted)]
        made = 0

        def __init__(self) -> None:
            type(self).made += 1

        async def collect_observed_state(self, desired: Spec) -> Observation:
            return Observation()

    async def main() -> None:
        store = MemoryStore(wall=wall)
        for expected in (1, 1):
            s = agent(Outside(), store, job=Job)
            s.want([ChildSpec("j", "job", Spec())])
            await asyncio.sleep(10)
            assert (state(s, "top/j"), Job.made) == ("gone", expected)
            killed(s)
            store = store.reopened()
        s = agent(Outside(), store, job=Job)
        s.want([ChildSpec("j", "job", Spec(version=2))])
        await asyncio.sleep(10)
        assert Job.made == 2
        await s.stop()

    run(main())


def test_a_held_guard_begins_again_unless_it_is_declared_to_go_on() -> None:
    """Nobody saw it hold while the agent was down."""

    class Patient(Real):
        "Fails after it was seen dead for 10 s."

        stopped = State(Phase.STOPPED)
        fine = State(Phase.HEALTHY)
        failed = State(Phase.FAILED, reason="dead")
        arcs = [stopped.to(fine, on="start", when=wanted), fine.to(failed, on="dead", when=held(~alive, 10))]

    async def first(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "fine")
        await asyncio.sleep(8)

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await asyncio.sleep(8)
        assert state(s, "top/p") == "fine"
        await reach(s, "top/p", "failed", within=3)

    lives(first, second, outside=Outside(), then=Patient, now=Patient)


def test_it_all_holds_with_the_store_on_disk(tmp_path: object) -> None:
    """The same over a SQLite file that is opened again."""
    outside = Outside()
    file = tmp_path / "store.sqlite"  # type: ignore[operator]

    async def main() -> None:
        store = SqliteStore(file, wall=wall)
        s = agent(outside, store)
        s.want([process("p", children=["c"])])
        await reach(s, "top/p", "running")
        await reach(s, "top/p/c", "running")
        assert store.flush()
        killed(s)
        again = SqliteStore(file, wall=wall)
        after = agent(outside, again)
        after.want([process("p", children=["c"])])
        await reach(after, "top/p", "running", within=1)
        assert len(outside.of("top/p").calls("start")) == 1
        await after.stop()
        again.close()
        store.close()

    run(main())
