"""How workers come, reach what is wanted, and go."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.samples import Observed, Process, Spec, now, process, reach, state, supervisor, world

from setpoint.control import ChildSpec, Snapshot, wanted
from setpoint.machine import Phase, State, guard
from setpoint.testing import run


def test_a_wanted_worker_reaches_its_healthy_state_and_keeps_it() -> None:
    """A worker goes through its life cycle into its machine, and comes to rest where it is wanted."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        await asyncio.sleep(100)
        moves = [(move.event, move.target) for move in s.journal.history("top/p")]
        assert moves == [
            ("create", "creating"),
            ("create_done", "stopped"),
            ("start", "starting"),
            ("start_done", "running"),
        ]
        assert s.worker("top/p").ready.ok
        assert await s.stop() == []

    run(main())


def test_every_transition_carries_a_reason() -> None:
    """No move is made without a text that says why."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        await s.stop()
        assert all(move.reason for move in s.journal.history("top/p"))

    run(main())


def test_a_crash_is_seen_at_the_next_observation_and_repaired() -> None:
    """What crashed is started again, without anybody asking."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        world(s, "top/p").running = False
        await reach(s, "top/p", "starting", within=1.5)
        await reach(s, "top/p", "running", within=1.5)
        await s.stop()

    run(main())


def test_a_pushed_observation_is_acted_on_at_once() -> None:
    """A worker that knows sooner says so, and nobody waits for the next collection."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        await asyncio.sleep(0.2)
        worker = s.core.family.table["top/p"].worker
        assert isinstance(worker, Process)
        worker.world.running = False
        before = now()
        worker.context.observe()
        await reach(s, "top/p", "starting")
        assert now() == before
        await s.stop()

    run(main())


def test_a_worker_that_is_no_longer_named_stops_and_goes() -> None:
    """Removal passes through a graceful stop; the row is gone afterwards, its history is not."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p"), process("q")])
        await reach(s, "top/p", "running")
        outside = world(s, "top/p")
        s.want([process("q")])
        await reach(s, "top/p", "gone")
        assert outside.calls("stop")
        assert not outside.running
        last = [move.target for move in s.journal.history("top/p")][-4:]
        assert last == ["stopping", "stopped", "removing", "removed"]
        assert state(s, "top/q") == "running"
        await s.stop()

    run(main())


def test_a_worker_that_has_failed_for_good_can_be_removed() -> None:
    """It has no way to stop, and does not need one."""

    class Final(Process):
        "Fails for good."

        off = State(Phase.STOPPED)
        dead = State(Phase.FAILED, final=True)
        stopped = starting = running = stopping = None  # type: ignore[assignment]
        arcs = [off.to(dead, on="die", when=wanted)]

    async def main() -> None:
        s = supervisor(final=Final)
        s.want([ChildSpec("p", "final", Spec()), ChildSpec("q", "final", Spec())])
        await reach(s, "top/p", "dead")
        await reach(s, "top/q", "dead")
        s.want([ChildSpec("q", "final", Spec())])
        await reach(s, "top/p", "gone", within=1)
        assert await s.stop() == []

    run(main())


def test_a_child_whose_type_changes_is_replaced_when_the_old_one_is_gone() -> None:
    """The name is taken over by the new type, never shared by both."""

    class Other(Process):
        pass

    async def main() -> None:
        s = supervisor(other=Other)
        s.want([process("p")])
        await reach(s, "top/p", "running")
        old = world(s, "top/p")
        s.want([ChildSpec("p", "other", Spec())])
        assert await s.until(lambda s: s.workers()[0].type == "other" if s.workers() else False, 10)
        assert not old.running
        await reach(s, "top/p", "running")
        await s.stop()

    run(main())


def test_a_parent_that_goes_takes_its_children_with_it() -> None:
    """Children stop together with their parent, and are gone before it is."""

    async def main() -> None:
        s = supervisor()
        s.want([process("parent", children=["a", "b"])])
        await reach(s, "top/parent/b", "running")
        s.want([])
        await reach(s, "top/parent", "gone")
        assert s.workers() == []

    run(main())


def test_children_follow_their_parents_spec() -> None:
    """A child that is no longer in the spec goes, a new one comes, the others are not touched."""

    async def main() -> None:
        s = supervisor()
        s.want([process("parent", children=["a", "b"])])
        await reach(s, "top/parent/b", "running")
        untouched = world(s, "top/parent/b")
        s.want([process("parent", children=["b", "c"])])
        await reach(s, "top/parent/c", "running")
        await reach(s, "top/parent/a", "gone")
        assert len(untouched.calls("start")) == 1
        await s.stop()

    run(main())


def test_a_spec_that_says_stopped_stops_the_worker_and_its_children() -> None:
    """`desired_state: stopped` holds for everything below."""

    async def main() -> None:
        s = supervisor()
        s.want([process("parent", children=["a"])])
        await reach(s, "top/parent/a", "running")
        s.want([process("parent", children=["a"], desired_state="stopped")])
        await reach(s, "top/parent", "stopped")
        await reach(s, "top/parent/a", "stopped")
        assert s.core.family.table["top/parent/a"].phase is Phase.STOPPED
        await s.stop()

    run(main())


def test_two_workers_of_one_name_are_refused_by_name() -> None:
    """A duplicate is an error of the caller; nothing changes."""

    async def main() -> None:
        s = supervisor()
        with pytest.raises(ValueError, match="same name: p"):
            s.want([process("p"), process("p")])
        assert s.workers() == []
        await s.stop()

    run(main())


def test_a_new_spec_is_derived_and_seen() -> None:
    """The generation of the spec that the worker has seen is part of what it tells."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        s.want([process("p", version=2)])
        await s.changes()
        view = s.worker("top/p")
        assert (view.generation, view.seen_generation) == (2, 2)
        await s.stop()

    run(main())


def test_a_parent_that_is_wanted_again_while_it_stops_does_not_wait_for_its_children_for_ever() -> None:
    """They stop with it, whatever is wanted of it meanwhile, and start with it again."""

    @guard
    def children_stopped(s: Snapshot[Spec, Observed]) -> bool:
        "all children are stopped"
        return s.children.all_stopped

    class Waits(Process):
        "Has stopped when its children have."

        stopped, running = State(Phase.STOPPED), State(Phase.HEALTHY)
        stopping = State(Phase.STOPPING, reason="waiting for the children")
        arcs = [
            stopped.to(running, on="start", when=wanted),
            running.to(stopping, on="stop", when=~wanted),
            stopping.to(stopped, on="stop_done", when=children_stopped),
        ]

        def children(self, desired: Spec, state: str) -> list[ChildSpec]:
            return [ChildSpec("c", "process", Spec())]

    async def main() -> None:
        s = supervisor(waits=Waits)
        s.want([ChildSpec("p", "waits", Spec())])
        await reach(s, "top/p/c", "running")
        s.tell("top/p", "disable", why="x")
        await reach(s, "top/p", "stopping")
        s.tell("top/p", "enable", why="x")
        await reach(s, "top/p", "running")
        await reach(s, "top/p/c", "running")
        assert [move.event for move in s.journal.history("top/p/c")][-4:] == [
            "stop",
            "stop_done",
            "start",
            "start_done",
        ]
        await s.stop()

    run(main())


def test_workers_at_the_top_come_change_and_go_one_by_one() -> None:
    """`put` and `remove` leave all others as they are; another is asked about them by path, with how fresh the answer is."""

    async def main() -> None:
        s = supervisor()
        s.want([process("a")])
        s.put(process("b"))
        await reach(s, "top/b", "running")
        fact = s.read("top/b")
        assert (fact.observed.running, fact.freshness) == (True, "fresh")
        assert fact.age is not None
        s.put(process("b", desired_state="stopped"))
        await reach(s, "top/b", "stopped")
        world(s, "top/b").observe_fails = "blind"
        await asyncio.sleep(15)
        assert s.read("top/b").freshness == "stale"
        s.remove("b")
        await reach(s, "top/b", "gone")
        assert s.read("top/b").freshness == "missing"  # never what the one before it had seen
        s.put(process("b"))
        assert s.read("top/b").freshness == "never"
        with pytest.raises(KeyError):
            s.remove("c")
        assert state(s, "top/a") == "running"
        await s.stop()

    run(main())


def test_a_parent_counts_its_children() -> None:
    """Those that are stopped are neither healthy nor unhealthy."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p", children=["a", "b", "c"])])
        for name in "abc":
            await reach(s, f"top/p/{name}", "running")
        s.tell("top/p/a", "disable", why="x")
        world(s, "top/p/b").start_fails, world(s, "top/p/b").running = "no", False
        await reach(s, "top/p/a", "stopped")
        await reach(s, "top/p/b", "starting")
        children = s.core.snapshot(s.records["top/p"]).children
        assert children.counts == (3, 1, 1, 1)
        assert not children.all_healthy
        assert not children.all_stopped
        await s.stop()

    run(main())


def test_children_stay_with_a_parent_that_is_wanted_again_in_time() -> None:
    """They were about to go with it; they are not made again."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p", children=["c"])])
        await reach(s, "top/p/c", "running")
        child = s.records["top/p/c"]
        world(s, "top/p").takes = world(s, "top/p/c").takes = 3.0
        s.want([])
        await reach(s, "top/p/c", "stopping")
        s.want([process("p", children=["c"])])
        await reach(s, "top/p", "running", within=30)
        await reach(s, "top/p/c", "running", within=30)
        assert s.records["top/p/c"] is child
        await s.stop(budget=30)

    run(main())
