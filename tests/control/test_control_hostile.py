"""Code and wishes that nobody would write on purpose: whatever they do, it concerns one worker, and it is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.control.samples import Observed, Process, Seen, Spec, World, now, process, reach, state, supervisor, world

from setpoint.control import ChildSpec
from setpoint.machine import Phase, State, guard
from setpoint.testing import run


def hostile(worker: type[Process], name: str = "bad", **spec: Any) -> ChildSpec:
    return ChildSpec(name, "bad", Spec(**spec))


class Typo(Process):
    def initial_state(self) -> str:
        return "runing"


class Leaves(Process):
    def derive_desired_state(self, spec: Spec) -> Spec:
        raise SystemExit(3)


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Odd(Observed, frozen=True):
    value: object = None


class Measures(Process):
    async def collect_observed_state(self, desired: Spec) -> Observed:
        return Odd(running=self.world.running, value=Incomparable())


class Panics(Process):
    async def collect_observed_state(self, desired: Spec) -> Observed:
        raise GeneratorExit("a panic of an extension")


class Instant(Process):
    interval = 0.0


class Restless(Process):
    async def collect_observed_state(self, desired: Spec) -> Observed:
        self.context.observe()
        return await super().collect_observed_state(desired)


@pytest.mark.parametrize("worker", [Typo, Leaves, Measures, Panics, Instant, Restless])
def test_one_bad_worker_leaves_the_others_alone(worker: type[Process]) -> None:
    """The others are observed as ever, everything can be asked for, nothing lands in the loop, and the end is clean."""

    async def main() -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        s = supervisor(bad=worker)
        s.want([hostile(worker), process("good")])
        await reach(s, "top/good", "running", within=1)
        before = world(s, "top/good").collections
        await asyncio.sleep(30)
        assert world(s, "top/good").collections >= before + 29
        assert len(s.workers()) == 2
        assert s.worker("top/bad").reason or s.worker("top/bad").ready.ok
        assert await s.stop() in ([], ["top/bad"])
        assert errors == []

    run(main())


def test_a_listener_that_raises_is_nobodys_fault_but_its_own() -> None:
    """Workers go on, and no circuit opens for it."""

    async def main() -> None:
        def broken(*_: object) -> None:
            raise OSError("no space left on device")

        s = supervisor()
        s.listen(broken)
        s.want([process("p")])
        await reach(s, "top/p", "running", within=1)
        assert s.worker("top/p").ready.ok
        await s.stop()

    run(main())


def test_two_names_for_one_peer_can_be_forgotten() -> None:
    """A worker that reads the same path twice is removed like any other."""

    async def main() -> None:
        s = supervisor()
        reader = ChildSpec("r", "process", Spec(), reads={"a": "top/p", "b": "top/p"})
        s.want([process("p"), reader])
        await reach(s, "top/r", "running")
        s.want([process("p")])
        await reach(s, "top/r", "gone")
        s.want([process("p"), process("q")])
        await reach(s, "top/q", "running")
        await s.stop()

    run(main())


def test_a_name_that_would_be_the_path_of_anothers_child_is_refused() -> None:
    """Nothing is overwritten; what was wanted before goes on."""

    async def main() -> None:
        s = supervisor()
        s.want([process("a", children=["b"])])
        await reach(s, "top/a/b", "running")
        with pytest.raises(ValueError, match="the path of another worker: top/a/b"):
            s.want([process("a", children=["b"]), process("a/b")])
        s.want([process("a")])
        await reach(s, "top/a/b", "gone")
        await s.stop()

    run(main())


def test_a_push_of_a_worker_that_is_gone_does_not_reach_its_successor() -> None:
    """A context is good for one worker, not for a name: not for one of another type, nor for the same one made anew."""

    class Other(Process):
        async def collect_observed_state(self, desired: Spec) -> Observed:
            raise OSError("not yet")

    async def main() -> None:
        s = supervisor(other=Other)
        s.want([process("p")])
        await reach(s, "top/p", "running")
        first = s.records["top/p"].worker
        assert first is not None
        s.tell("top/p", "restart", why="x")
        await s.until(lambda s: s.records["top/p"].worker not in (None, first), 10)
        await reach(s, "top/p", "running")
        first.context.push(Observed(running=False, version=99))
        assert s.worker("top/p").observed == {"running": True, "version": 0}
        s.want([ChildSpec("p", "other", Spec())])
        await s.until(lambda s: s.records["top/p"].type == "other" if "top/p" in s.records else False, 10)
        first.context.push(Observed(running=True))
        await asyncio.sleep(1)
        assert state(s, "top/p") == "creating"
        await s.stop()

    run(main())


class Fragile(Process):
    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        if desired.version == 1:
            raise RuntimeError("version 1 is bad")
        return []


def test_an_edit_is_tried_at_once_however_long_the_circuit_would_wait() -> None:
    """A wish that changed is a reason to try."""

    async def main() -> None:
        s = supervisor(bad=Fragile)
        s.want([hostile(Fragile)])
        await asyncio.sleep(1000)
        assert s.worker("top/bad").stalled.ok
        s.want([hostile(Fragile, version=2)])
        before = now()
        await s.until(lambda s: not s.worker("top/bad").stalled.ok, 10)
        assert now() - before < 1
        await s.stop()

    run(main())


def test_a_worker_that_recovered_behind_its_circuit_is_stopped_before_it_is_removed() -> None:
    """A removal tries once; only what still fails is removed as it is, and that is said."""

    async def main() -> None:
        s = supervisor(bad=Process, worse=Fragile)
        s.want([ChildSpec("p", "bad", Spec())])
        await reach(s, "top/p", "running")
        outside = world(s, "top/p")
        s.records["top/p"].circuit.reason = "it failed before"
        s.records["top/p"].circuit.retry_at = now() + 60
        s.want([])
        await reach(s, "top/p", "gone")
        assert not outside.running

    run(main())


def test_a_circuit_does_not_close_while_nothing_can_be_tried() -> None:
    """A stale worker is not evaluated, so nothing is known of its code."""

    async def main() -> None:
        s = supervisor(bad=Fragile)
        s.want([hostile(Fragile)])
        await asyncio.sleep(20)
        world(s, "top/bad").observe_fails = "blind"
        await asyncio.sleep(300)
        assert s.records["top/bad"].circuit.open
        await s.stop()

    run(main())


def test_a_worker_that_nobody_can_see_any_more_can_still_be_removed() -> None:
    """After a bound, and the history says that it was not seen to stop."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        world(s, "top/p").observing_takes = 1e9
        await asyncio.sleep(60)
        s.want([])
        await reach(s, "top/p", "gone", within=300)
        assert any(move.reason.startswith("removed without being stopped") for move in s.journal.history("top/p"))

    run(main())


@guard
def child_runs_version_2(s: Seen) -> bool:
    "the child was seen with version 2"
    return bool(s.children["c"].observed and s.children["c"].observed.version == 2)


class Counts(Process):
    version = 0

    async def collect_observed_state(self, desired: Spec) -> Observed:
        return Observed(running=self.world.running, version=type(self).version)


class Watches(Process):
    sees_observations = True
    waiting = State(Phase.STOPPED)
    seen = State(Phase.HEALTHY)
    stopped = waiting
    arcs = [waiting.to(seen, on="seen", when=child_runs_version_2)]
    starting = running = stopping = None  # type: ignore[assignment]

    def initial_state(self) -> str:
        return "waiting"

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        return [ChildSpec("c", "counts", Spec())]


def test_a_parent_that_sees_observations_decides_when_its_childs_changes() -> None:
    """Not a minute later."""

    async def main() -> None:
        Counts.version = 0
        s = supervisor(watches=Watches, counts=Counts)
        s.want([ChildSpec("p", "watches", Spec())])
        await reach(s, "top/p/c", "running")
        Counts.version = 2
        await reach(s, "top/p", "seen", within=1.6)
        await s.stop()

    run(main())


def test_a_long_chain_of_needs_is_shut_down_in_order() -> None:
    """However long."""

    async def main() -> None:
        s = supervisor()
        s.want(
            [
                ChildSpec(f"p{i}", "process", Spec(desired_state="stopped"), needs=(f"top/p{i + 1}",))
                for i in range(2000)
            ]
        )
        await reach(s, "top/p1999", "stopped")
        assert await s.stop(budget=30) == []
        assert await s.stop() == []

    run(main())


def test_a_worker_that_is_not_wanted_sees_its_desired_state_say_stopped() -> None:
    """Also where it measures and acts: a device is not knocked at for a worker that is parked."""
    seen: list[str] = []

    class Looks(Process):
        async def collect_observed_state(self, desired: Spec) -> Observed:
            seen.append(desired.desired_state)
            return await super().collect_observed_state(desired)

    async def main() -> None:
        s = supervisor(looks=Looks)
        s.want([ChildSpec("p", "looks", Spec())])
        await reach(s, "top/p", "running")
        s.want([ChildSpec("p", "looks", Spec(), enabled=False)])
        await reach(s, "top/p", "stopped")
        seen.clear()
        await asyncio.sleep(5)
        assert set(seen) == {"stopped"}
        await s.stop()

    run(main())


def test_a_collector_that_answers_again_is_asked_at_its_pace_again() -> None:
    """The pauses after many hung observations end with the first answer, also with one that is an error."""

    async def main() -> None:
        outside = World(observing_takes=1000.0)
        s = supervisor(process=lambda: Process(outside))
        s.want([process("p")])
        await asyncio.sleep(100)
        assert "gave no answer" in s.worker("top/p").stalled.reason
        outside.observing_takes, outside.observe_fails = 0.0, "blind"
        assert await s.until(lambda s: "blind" in s.worker("top/p").error, 70)
        assert "gave no answer" not in s.worker("top/p").stalled.reason
        seen = outside.collections
        await asyncio.sleep(10)
        assert outside.collections - seen >= 9
        outside.observe_fails = ""
        await reach(s, "top/p", "running", within=3)
        await s.stop()

    run(main())


def test_a_pace_that_was_wrong_once_does_not_end_observing() -> None:
    """A worker that sets its own interval to nothing is told so, and observed at the usual pace until it has mended it."""

    class Adaptive(Process):
        async def collect_observed_state(self, desired: Spec) -> Observed:
            seen = await super().collect_observed_state(desired)
            self.interval = 0 if 3 <= self.world.collections < 6 else 1.0
            return seen

    async def main() -> None:
        s = supervisor(adaptive=Adaptive)
        s.want([ChildSpec("p", "adaptive", Spec())])
        assert await s.until(lambda s: "interval 0 and timeout" in s.worker("top/p").error, 10)
        await asyncio.sleep(30)
        assert s.worker("top/p").error == ""
        assert world(s, "top/p").collections > 25
        await s.stop()

    run(main())


def test_wishes_may_be_changed_from_a_listener() -> None:
    """It is called in the midst of a change; the tree follows what was said last."""

    async def main() -> None:
        s = supervisor()
        told = 0

        def change_the_wishes(*_: object) -> None:
            nonlocal told
            told += 1
            if told < 200:
                s.want([process(f"p{n}") for n in range(told % 5)])

        s.listen(change_the_wishes)
        s.want([process("p0")])
        await asyncio.sleep(120)
        assert told >= 200
        assert {path: state(s, path) for path in s.records} == {f"top/p{n}": "running" for n in range(199 % 5)}
        assert await s.stop() == []

    run(main())
