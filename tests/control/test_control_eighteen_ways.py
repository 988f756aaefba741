"""Eighteen ways in which supervisors of this kind are known to break. Each is tried here, and does not break this one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tests.control.samples import Observed, Process, Spec, World, now, process, reach, state, supervisor, world

from setpoint.control import ChildSpec, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.store import MemoryStore
from setpoint.testing import run, wall


class Switch:
    """Whether something misbehaves just now."""

    on = True


def gaps(times: Sequence[float]) -> float:
    """The longest pause between two."""
    return max(later - earlier for earlier, later in pairwise(times))


class Watched(Process):
    "Notes when it is observed."

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[float] = []

    async def collect_observed_state(self, desired: Spec) -> Observed:
        self.looked.append(now())
        return await super().collect_observed_state(desired)


def _watched(s: Supervisor, path: str) -> list[float]:
    worker = s.records[path].worker
    assert isinstance(worker, Watched)
    return worker.looked


def test_1_a_child_whose_decisions_raise_stops_nobody_else_and_comes_back() -> None:
    """Its circuit opens; parent and sibling go on at their pace; mended, it runs again."""
    switch = Switch()

    @guard
    def fine(s: Snapshot[Spec, Observed]) -> bool:
        "nothing is wrong"
        if switch.on:
            raise RuntimeError("boom")
        return s.observed.running

    class Bad(Process):
        "Raises when it decides."

        stopped, starting = State(Phase.STOPPED), State(Phase.STARTING, act="start")
        running, stopping = State(Phase.HEALTHY), State(Phase.STOPPING, act="stop")
        arcs = [
            stopped.to(starting, on="start", when=wanted),
            starting.to(running, on="start_done", when=fine),
            (starting | running).to(stopping, on="stop", when=~wanted),
            stopping.to(stopped, on="stop_done", when=~fine),
        ]

    class Parent(Watched):
        "Has a bad child and a good one."

        def children(self, desired: Spec, state: str) -> list[ChildSpec]:
            return [ChildSpec("bad", "bad", Spec()), ChildSpec("good", "watched", Spec())]

    async def main() -> None:
        s = supervisor(bad=Bad, watched=Watched, parent=Parent)
        s.want([ChildSpec("p", "parent", Spec())])
        await reach(s, "top/p/good", "running")
        await asyncio.sleep(60)
        assert s.worker("top/p/bad").stalled.reason.startswith("circuit open: GuardError")
        assert gaps(_watched(s, "top/p")) < 1.6
        assert gaps(_watched(s, "top/p/good")) < 1.6
        switch.on = False
        await reach(s, "top/p/bad", "running", within=80)
        await s.stop()

    run(main())


def test_2_a_target_that_cannot_be_observed_for_long_costs_its_worker_nothing() -> None:
    """Its error shows beside the last good value, which ages; it is never removed, and goes on as soon as the target can be seen again."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        world(s, "top/p").observe_fails = "unreachable"
        await asyncio.sleep(3600)
        view = s.worker("top/p")
        assert (view.state, view.error) == ("running", "OSError: unreachable")
        assert view.age is not None
        assert view.age > 3590
        assert view.stalled.reason == "stale: OSError: unreachable"
        world(s, "top/p").observe_fails = ""
        await asyncio.sleep(2)
        assert s.worker("top/p").ready.ok
        assert s.worker("top/p").transitions == 4
        await s.stop()

    run(main())


class Hanging(Process):
    "Its collection hangs and ignores cancellation, while the switch is on."

    switch = Switch()

    async def collect_observed_state(self, desired: Spec) -> Observed:
        while self.switch.on:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
        return await super().collect_observed_state(desired)


def test_3_a_collector_that_ignores_cancellation_is_replaced_and_stalls_nobody() -> None:
    """The hung call is left behind; after three the circuit shows it; the next one answers and closes it; a sibling never notices."""

    async def main() -> None:
        Hanging.switch = Switch()
        s = supervisor(hanging=Hanging, watched=Watched)
        s.want([ChildSpec("h", "hanging", Spec()), ChildSpec("w", "watched", Spec())])
        await asyncio.sleep(60)
        assert s.worker("top/h").stalled.reason.startswith("circuit open:")
        assert "no answer within 2.2 s" in s.worker("top/h").reason
        assert gaps(_watched(s, "top/w")) < 1.6
        Hanging.switch.on = False
        await reach(s, "top/h", "running", within=70)
        assert not s.worker("top/h").stalled.ok
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await s.stop()

    run(main())


def test_4_a_child_removed_and_wanted_again_while_it_stops_goes_on() -> None:
    """It is not left behind half removed, nor doubled."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        world(s, "top/p").takes = 5.0
        s.want([])
        await reach(s, "top/p", "stopping")
        s.want([process("p")])
        await reach(s, "top/p", "running", within=30)
        await asyncio.sleep(60)
        assert s.worker("top/p").ready.ok
        assert [w.path for w in s.workers()] == ["top/p"]
        await s.stop(budget=30)

    run(main())


def test_5_an_action_is_repeated_only_on_what_was_seen_after_it_ended() -> None:
    """28 jobs of different length under quick observation are done once each."""

    class Jobs(Worker[Spec, Spec, Observed]):
        "Does one job after another."

        idle = State(Phase.STOPPED)
        busy = State(Phase.HEALTHY, act="work", reason="jobs are waiting")
        _more = guard(lambda s: s.observed.version < 28, name="more")
        arcs = [idle.to(busy, on="work", when=wanted & _more), busy.to(idle, on="done", when=~_more)]
        interval = 0.08

        def __init__(self) -> None:
            self.done: list[int] = []

        async def collect_observed_state(self, desired: Spec) -> Observed:
            seen = len(self.done)
            await asyncio.sleep(0.07)
            return Observed(version=seen)

        async def work(self, desired: Spec) -> None:
            job = len(self.done)
            await asyncio.sleep(0.2 + job % 5 * 0.3)
            self.done.append(job)

    async def main() -> None:
        s = supervisor(jobs=Jobs)
        s.want([ChildSpec("j", "jobs", Spec())])
        await reach(s, "top/j", "busy")
        await reach(s, "top/j", "idle", within=200)
        worker = s.records["top/j"].worker
        assert isinstance(worker, Jobs)
        assert worker.done == list(range(28))
        await s.stop()

    run(main())


class Deaf(Process):
    "Its stop ignores cancellation for a long time."

    async def stop(self, desired: Spec) -> None:
        end = now() + 500
        while now() < end:
            try:
                await asyncio.sleep(end - now())
            except asyncio.CancelledError:
                continue


def test_6_an_action_that_ignores_cancellation_holds_up_neither_the_end_nor_anybody() -> None:
    """Stopping takes its budget and no more, and names the worker; removing it blocks nobody."""

    async def main() -> None:
        s = supervisor(deaf=Deaf, watched=Watched)
        s.want([ChildSpec("d", "deaf", Spec()), ChildSpec("w", "watched", Spec())])
        await reach(s, "top/d", "running")
        s.want([ChildSpec("w", "watched", Spec())])
        await asyncio.sleep(60)
        assert gaps(_watched(s, "top/w")) < 1.6
        at = now()
        assert await s.stop(budget=2) == ["top/d"]
        assert now() - at <= 2.01

    run(main())


def test_7_a_restart_is_never_a_removal() -> None:
    """Nor is it one when the worker cannot be made again: it is tried until it can."""
    switch = Switch()
    switch.on = False

    def make() -> Process:
        if switch.on:
            raise OSError("no memory")
        return Process()

    async def main() -> None:
        s = supervisor(flaky=make)
        s.want([ChildSpec("p", "flaky", Spec())])
        await reach(s, "top/p", "running")
        world(s, "top/p").ignores_stop = True
        switch.on = True
        s.tell("top/p", "restart", why="x")
        await asyncio.sleep(120)
        assert s.worker("top/p").stalled.reason == "circuit open: OSError: no memory"
        switch.on = False
        await reach(s, "top/p", "running", within=70)
        await s.stop()

    run(main())


def test_8_a_worker_whose_spec_is_bad_still_runs_and_stops_gracefully() -> None:
    """The last good desired state stays in force, also over a restart, and the removal goes through its stop."""

    class Checked(Process):
        "Refuses version 13."

        def derive_desired_state(self, spec: Spec) -> Spec:
            if spec.version == 13:
                raise ValueError("version 13 is not supported")
            return spec

    async def main() -> None:
        s = supervisor(checked=Checked)
        s.want([ChildSpec("p", "checked", Spec())])
        await reach(s, "top/p", "running")
        s.want([ChildSpec("p", "checked", Spec(version=13))])
        await asyncio.sleep(5)
        assert (s.worker("top/p").generation, s.worker("top/p").seen_generation) == (2, 1)
        s.tell("top/p", "restart", why="x")
        await s.until(lambda s: s.records["top/p"].starts == 2, 10)
        await reach(s, "top/p", "running")
        assert s.worker("top/p").stalled.reason == "config error: ValueError: version 13 is not supported"
        outside = world(s, "top/p")
        outside.running = False
        await reach(s, "top/p", "starting")
        await reach(s, "top/p", "running")
        s.want([])
        await reach(s, "top/p", "gone")
        assert outside.calls("stop")
        await s.stop()

    run(main())


def test_9_an_unknown_type_among_the_children_concerns_that_child_alone() -> None:
    """Its siblings are made and run; it is a row that says what is wrong, and comes to life when its type is there."""

    async def main() -> None:
        s = supervisor()
        s.want([process("a"), ChildSpec("b", "proces", Spec()), process("c")])
        await reach(s, "top/a", "running")
        await reach(s, "top/c", "running")
        assert (s.worker("top/b").state, s.worker("top/b").phase) == ("to_be_created", "failed")
        assert "there is no worker type 'proces'; did you mean 'process'?" in s.worker("top/b").stalled.reason
        s.core.registry.add("proces", Process)
        await reach(s, "top/b", "running", within=61)
        await s.stop()

    run(main())


def test_10_a_child_that_is_slow_to_be_seen_for_the_first_time_delays_nobody() -> None:
    """Nor does its constructor's failure: both are tried again with pauses."""

    async def main() -> None:
        s = supervisor(slow=lambda: Process(World(observing_takes=5.0)), watched=Watched)
        s.want([ChildSpec("s", "slow", Spec()), ChildSpec("w", "watched", Spec())])
        await asyncio.sleep(22)
        assert len(_watched(s, "top/w")) >= 21
        assert state(s, "top/s") == "creating"
        await s.stop()

    run(main())


def test_11_global_variables_reach_children() -> None:
    """At any depth."""

    class Parent(Process):
        "Has a child whose spec names a global variable."

        def children(self, desired: Spec, state: str) -> list[ChildSpec]:
            return [ChildSpec("c", "process", {"version": "{{ .global.version }}"})]

    async def main() -> None:
        registry = Registry()
        registry.add("process", Process)
        registry.add("parent", Parent)
        s = Supervisor(registry, root="top", wall=wall, variables={"version": 7})
        s.want([ChildSpec("p", "parent", Spec())])
        await reach(s, "top/p/c", "running")
        assert s.records["top/p/c"].desired == Spec(version=7)
        await s.stop()

    run(main())


def test_12_children_of_one_name_under_two_parents_are_two_workers() -> None:
    """Each with its own spec, world, state, identity and place in the store."""

    class Parent(Process):
        "Gives its own version to its child."

        def children(self, desired: Spec, state: str) -> list[ChildSpec]:
            return [ChildSpec("c", "process", Spec(version=desired.version))]

    async def main() -> None:
        store = MemoryStore(wall=wall)
        registry = Registry()
        registry.add("process", Process)
        registry.add("parent", Parent)
        s = Supervisor(registry, root="top", wall=wall, store=store)
        s.want([ChildSpec("p", "parent", Spec(version=1)), ChildSpec("q", "parent", Spec(version=2))])
        await reach(s, "top/p/c", "running")
        await reach(s, "top/q/c", "running")
        assert [s.records[f"top/{each}/c"].desired.version for each in "pq"] == [1, 2]
        kept = store.load()
        assert [kept[f"top/{each}/c"]["desired"].value["version"] for each in "pq"] == [1, 2]
        world(s, "top/p/c").running = False
        await reach(s, "top/p/c", "starting")
        assert state(s, "top/q/c") == "running"
        await s.stop()

    run(main())


def test_13_a_field_that_goes_from_the_desired_state_goes_from_the_store() -> None:
    """What is desired is replaced, not merged."""

    class Free(Process):
        "Takes whatever it is given."

        spec_type = Any

        def children(self, desired: Any, state: str) -> list[ChildSpec]:
            return []

    async def main() -> None:
        store = MemoryStore(wall=wall)
        registry = Registry()
        registry.add("free", Free)
        s = Supervisor(registry, root="top", wall=wall, store=store)
        s.want([ChildSpec("p", "free", {"a": 1, "b": 2})])
        await asyncio.sleep(1)
        assert store.load()["top/p"]["desired"].value == {"a": 1, "b": 2}
        s.want([ChildSpec("p", "free", {"a": 1})])
        await asyncio.sleep(1)
        assert store.load()["top/p"]["desired"].value == {"a": 1}
        await s.stop()

    run(main())


def test_14_a_disabled_worker_stays_and_does_not_flap() -> None:
    """It is stopped once, remains a resident with its history, and starts once when it is enabled."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        s.want([ChildSpec("p", "process", Spec(), enabled=False)])
        await reach(s, "top/p", "stopped")
        moves = s.worker("top/p").transitions
        await asyncio.sleep(600)
        assert s.worker("top/p").transitions == moves
        assert s.worker("top/p").desired == "stopped"
        s.want([process("p")])
        await reach(s, "top/p", "running")
        assert s.worker("top/p").transitions == moves + 2
        await s.stop()

    run(main())


def test_15_the_first_decision_in_a_state_sees_that_state_s_time() -> None:
    """Zero seconds, whatever the state before it lasted; a wait of it is never cut short."""
    seen: list[tuple[str, float]] = []

    @guard
    def noted(s: Snapshot[Spec, Observed]) -> bool:
        "notes what it sees"
        seen.append((s.state, s.figures.seconds_in_state))
        return True

    class Steps(Worker[Spec, Spec, Observed]):
        "One state after another."

        first, second, third = State(Phase.STOPPED), State(Phase.STARTING), State(Phase.HEALTHY)
        arcs = [first.to(second, on="go", when=noted, after=40), second.to(third, on="go", when=noted, after=4)]

        async def collect_observed_state(self, desired: Spec) -> Observed:
            return Observed()

    async def main() -> None:
        s = supervisor(steps=Steps)
        s.want([ChildSpec("p", "steps", Spec())])
        await reach(s, "top/p", "second", within=41)
        at = now()
        await reach(s, "top/p", "third")
        assert now() - at >= 4
        assert next(seconds for name, seconds in seen if name == "second") == 0.0
        await s.stop()

    run(main())


def test_16_the_pauses_between_tries_last_as_long_as_the_failures_do() -> None:
    """After ten minutes of them there still is a pause, at its cap."""

    async def main() -> None:
        s = supervisor(failing=lambda: Process(World(start_fails="refused", takes=0.0)))
        s.want([ChildSpec("p", "failing", Spec())])
        await asyncio.sleep(900)
        tries = world(s, "top/p").calls("start")
        assert tries[-1] - tries[-2] >= 45
        assert len(tries) < 30
        await s.stop()

    run(main())


def test_17_the_end_is_not_called_clean_when_a_child_has_not_stopped() -> None:
    """Every worker that is left is named, at whatever depth."""

    async def main() -> None:
        s = supervisor()
        s.want([process("a", children=["b"])])
        await reach(s, "top/a/b", "running")
        world(s, "top/a/b").ignores_stop = True
        assert await s.stop() == ["top/a/b"]

    run(main())


def test_18_a_worker_knows_its_name_its_path_and_its_parent() -> None:
    """They are three different things."""

    class Named(Process):
        "Is told who it is."

        spec_type = Any

    async def main() -> None:
        s = supervisor(named=Named)
        spec = {"name": "{{ .internal.name }}", "id": "{{ .internal.id }}", "parent": "{{ .internal.parent }}"}
        s.want([ChildSpec("p", "named", spec)])
        await reach(s, "top/p", "running")
        assert s.records["top/p"].desired == {"name": "p", "id": "top/p", "parent": "top"}
        assert s.core.snapshot(s.records["top/p"]).path == "top/p"
        await s.stop()

    run(main())
