"""Resuming: a supervisor that is started again goes on from what the store has, after one fresh observation."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.lives import Outside, Real, agent, killed, lives
from tests.control.samples import Process, Spec, alive, now, process, reach, state

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, guard, held
from setpoint.store import MemoryStore, SqliteStore
from setpoint.testing import run, wall


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


def test_what_operators_told_a_worker_that_is_not_alive_yet_holds_after_a_restart() -> None:
    """Also where nothing could be observed of it so far, and where it was about to go on."""
    outside = Outside()

    async def main() -> None:
        outside.of("top/a").observe_fails = outside.of("top/b").observe_fails = "blind"
        store = MemoryStore(wall=wall)
        first = agent(outside, store)
        first.want([process("a"), process("b")])
        await asyncio.sleep(5)
        first.tell("top/a", "disable", why="leave the machine alone (ben)")
        first.tell("top/b", "pause", why="looking (eva)")
        await asyncio.sleep(5)
        killed(first)
        outside.of("top/a").observe_fails = outside.of("top/b").observe_fails = ""
        second = agent(outside, store := store.reopened())
        second.want([process("a"), process("b")])
        await asyncio.sleep(30)
        assert second.worker("top/a").reason == "disabled by the operator: leave the machine alone (ben)"
        assert second.worker("top/b").stalled.reason == "paused by the operator: looking (eva)"
        assert not outside.of("top/a").calls("start")
        assert not outside.of("top/b").calls("start")
        killed(second)
        outside.of("top/a").observe_fails = "blind"
        third = agent(outside, store := store.reopened())
        third.want([process("a"), process("b")])
        await asyncio.sleep(5)
        third.tell("top/a", "enable", why="go on (ben)")
        await asyncio.sleep(5)
        killed(third)
        outside.of("top/a").observe_fails = ""
        fourth = agent(outside, store.reopened())
        fourth.want([process("a"), process("b")])
        await reach(fourth, "top/a", "running")
        await fourth.stop()

    run(main())


def test_what_operators_told_a_worker_is_not_told_to_one_of_another_type() -> None:
    """A disabled worker that is replaced leaves its wishes to nobody, in a running agent and over a restart alike."""

    class Other(Process):
        "Another type."

    async def main() -> None:
        store = MemoryStore(wall=wall)
        first = agent(Outside(), store, other=Other)
        first.want([process("p")])
        await reach(first, "top/p", "running")
        first.tell("top/p", "disable", why="x")
        await reach(first, "top/p", "stopped")
        left = store.reopened()
        first.want([ChildSpec("p", "other", Spec())])
        await reach(first, "top/p", "running")
        killed(first)
        second = agent(Outside(), left, other=Other)
        second.want([ChildSpec("p", "other", Spec())])
        await reach(second, "top/p", "running")
        await second.stop()

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


def test_a_worker_type_that_is_gone_keeps_what_is_stored_until_it_is_back() -> None:
    """After an upgrade without the type the worker says so; with the type again it goes on where it was."""
    outside = Outside()

    async def main() -> None:
        store = MemoryStore(wall=wall)
        before = agent(outside, store)
        before.want([process("p")])
        await reach(before, "top/p", "running")
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


def test_workers_that_look_at_each_other_go_on_at_once() -> None:
    """None of them waits for the other."""
    outside = Outside()
    specs = [
        ChildSpec("a", "process", Spec(), reads={"b": "top/b"}),
        ChildSpec("b", "process", Spec(), reads={"a": "top/a"}),
    ]

    async def first(s: Supervisor) -> None:
        s.want(specs)
        await reach(s, "top/a", "running")
        await reach(s, "top/b", "running")

    async def second(s: Supervisor) -> None:
        before = now()
        s.want(specs)
        await reach(s, "top/a", "running")
        await reach(s, "top/b", "running")
        assert now() - before < 1

    lives(first, second, outside=outside)


def test_one_that_starts_after_a_sibling_is_not_stopped_because_the_sibling_is_seen_later() -> None:
    """The order is one of starting; what runs still goes on."""
    outside = Outside()
    specs = [process("a"), ChildSpec("b", "process", Spec(), after=("a",))]

    async def first(s: Supervisor) -> None:
        s.want(specs)
        await reach(s, "top/b", "running")
        await asyncio.sleep(30)
        outside.of("top/a").observing_takes = 0.5

    async def second(s: Supervisor) -> None:
        s.want(specs)
        await asyncio.sleep(60)
        assert state(s, "top/b") == "running"
        assert not outside.of("top/b").calls("stop")
        assert len(outside.of("top/b").calls("start")) == 1

    lives(first, second, outside=outside)


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
