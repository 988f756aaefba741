"""The stage: expectations about a worker in a real supervisor, and explanations where they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.testing.pump import Pump, PumpSeen, PumpSpec

from setpoint.control import ChildSpec, Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.testing import (
    Stage,
    assert_never,
    assert_reaches,
    assert_stays,
    faulty,
    run,
    scripted,
    stand_in,
)


def on_stage(story: Callable[[Stage], Awaitable[None]], stage: Stage) -> None:
    """Play a story on a stage, on virtual time."""

    async def main() -> None:
        async with stage:
            await story(stage)

    run(main())


def test_one_line_says_where_a_worker_comes_to() -> None:
    """A class, an instance and a function that makes one will do; a state, its object, or a phase."""
    for worker in (Pump, Pump(), lambda: Pump()):
        assert_reaches(worker, "running", within=1)
    assert_reaches(Pump, Pump.running, within=1)
    assert_reaches(Pump, Phase.HEALTHY, within=1)
    assert_reaches(Pump, "stopped", spec=PumpSpec(desired_state="stopped"), within=1)
    assert_stays(Pump, "running", for_=900)
    assert_never(Pump, "weak", for_=600)


def test_a_failed_expectation_is_explained() -> None:
    """Where it is, why, which ways are shut by which facts, and what happened, with when."""
    with pytest.raises(AssertionError) as raised:
        assert_reaches(scripted(Pump, PumpSeen()).on("start"), "running", within=5)
    text = str(raised.value)
    assert text.startswith(
        "stage/worker did not reach 'running' within 5 s\n  it is in 'starting', wanted running, at 5.00 s"
    )
    assert "reason    waiting for start_done (it stands)" in text
    assert "✗ start_done → running" in text
    assert "✗ turning: it turns — it stands" in text
    assert "0.00 s  stopped → starting  (start) start" in text


def test_an_explanation_shows_what_the_runtime_cannot_do() -> None:
    """An unreadable spec, a failed look, an open circuit: their words are in it."""
    with pytest.raises(AssertionError, match=r"config error: SpecError: least_bar: Input should be greater than"):
        assert_reaches(Pump, "running", spec={"least_bar": -1})
    with pytest.raises(AssertionError, match="error     ObservationFailed: no route to pump"):
        assert_reaches(scripted(Pump, PumpSeen()).fails(0, "no route to pump"), "running")
    with pytest.raises(AssertionError, match="circuit open: InjectedFault: a bug"):
        assert_reaches(faulty(Pump).decide_raises("a bug"), "running")


def test_a_state_that_does_not_exist_is_a_mistake_of_the_test() -> None:
    """It fails at once, with the names there are; it is not waited for."""
    with pytest.raises(ValueError, match=r"machine 'pump' has no state 'runing'; it has stopped, starting"):
        assert_reaches(Pump, "runing")


def test_passing_through_a_state_counts_as_reaching_it() -> None:
    """However short: `reaches` sees it, and `never` does too."""

    async def story(stage: Stage) -> None:
        await stage.reaches("starting", within=5)
        await stage.reaches("running", within=5)

    on_stage(story, Stage(Pump))
    with pytest.raises(AssertionError, match="was in 'starting' within 60 s"):
        assert_never(Pump, "starting")


def test_staying_is_broken_by_a_moment_elsewhere() -> None:
    """Though it is back at once."""
    blinks = scripted(Pump, PumpSeen()).on("start", turning=True, bar=4.0).at(30, turning=False)
    with pytest.raises(AssertionError, match="did not stay 'running' for 60 s"):
        assert_stays(blinks, "running")


def test_a_stage_changes_what_is_wanted() -> None:
    """Another spec, stopped, running again, removed; and an operator's word."""

    async def story(stage: Stage) -> None:
        await stage.reaches("running")
        stage.want(PumpSpec(least_bar=6))
        await stage.reaches("weak")
        assert stage.reason == "pressure is 4 bar"
        stage.want_stopped()
        await stage.reaches("stopped")
        stage.want_running()
        await stage.reaches("running")
        stage.tell("disable", why="maintenance")
        await stage.reaches("stopped")
        assert "maintenance" in stage.reason
        stage.remove()
        await stage.reaches("removed")
        assert stage.state == "removed"
        assert stage.explanation().startswith("  it has been removed")

    on_stage(story, Stage(Pump))


def test_leaving_a_stage_expects_the_worker_to_stop() -> None:
    """One that does not is named, unless the test says that it does not matter."""

    async def story(stage: Stage) -> None:
        await stage.reaches("running")

    with pytest.raises(AssertionError, match="not stopped at the end: stage/worker"):
        on_stage(story, Stage(faulty(Pump).action_lies("stop")))
    on_stage(story, Stage(faulty(Pump).action_lies("stop"), must_stop=False))


def test_an_error_in_the_story_is_not_hidden_by_the_end_of_the_stage() -> None:
    """The story's own failure is what is raised."""

    async def story(stage: Stage) -> None:
        await stage.reaches("running")
        raise LookupError("in the story")

    with pytest.raises(LookupError, match="in the story"):
        on_stage(story, Stage(faulty(Pump).action_lies("stop")))


def test_the_one_line_forms_need_a_loop_of_their_own() -> None:
    """Inside a story the stage's own methods are used; the message says so."""

    async def main() -> None:
        assert_reaches(Pump, "running")

    with pytest.raises(RuntimeError, match="async with Stage"):
        asyncio.run(main())


@guard
def fine(s: Snapshot[None, Observation]) -> Verdict:
    "pump and neighbour are well"
    return Verdict(s.children["pump"].healthy and s.peers["neighbour"].healthy, s.children["pump"].reason)


class Station(Worker[None, None, Observation]):
    "Runs while its pump does and its neighbour is well."

    stopped = State(Phase.STOPPED)
    waiting = State(Phase.STARTING)
    running = State(Phase.HEALTHY)

    arcs = [
        stopped.to(waiting, on="start", when=wanted),
        waiting.to(running, on="start_done", when=fine),
        running.to(waiting, on="lost", when=~fine),
        (waiting | running).to(stopped, on="stop", when=~wanted),
    ]

    async def collect_observed_state(self, desired: None) -> Observation:
        return Observation()

    def children(self, desired: None, state: str) -> list[ChildSpec]:
        return [ChildSpec("pump", "pump")]


def test_stand_ins_are_where_they_are_told_to_be() -> None:
    """Children and siblings show any state and reason of their type, as real facts; told to stop, they stop."""
    pump, neighbour = stand_in(Pump, "starting"), stand_in(Pump, "running")

    async def story(stage: Stage) -> None:
        await stage.stays("waiting", for_=60)
        pump.go("running")
        await stage.reaches("running", within=2)
        pump.go("weak", because="2 bar too little")
        await stage.reaches("waiting", within=2)
        assert "2 bar too little" in stage.reason
        pump.go("running")
        neighbour.go("stopped")
        await stage.stays("waiting", for_=60)
        stage.want_stopped()
        await stage.reaches("stopped")
        assert stage.supervisor.core.fact("stage/worker/pump").state == "stopped"

    stage = Stage(
        Station,
        types={"pump": pump, "neighbour": neighbour},
        beside=[ChildSpec("neighbour", "neighbour")],
        reads={"neighbour": "neighbour"},
    )

    async def main() -> None:
        async with stage:
            await stage.reaches("waiting")
            await story(stage)

    run(main())


def test_a_stand_in_can_be_seen_to_observe_something() -> None:
    """For parents that look at what others observe, not only at their states."""

    @guard
    def pumped(s: Snapshot[None, Observation]) -> bool:
        "the pump gives pressure"
        return bool(s.children["pump"].observed.bar > 2)

    class Tank(Worker[None, None, Observation]):
        sees_observations = True
        empty = State(Phase.STOPPED)
        full = State(Phase.HEALTHY)
        arcs = [empty.to(full, on="fill", when=wanted & pumped), full.to(empty, on="drain", when=~wanted | ~pumped)]

        async def collect_observed_state(self, desired: None) -> Observation:
            return Observation()

        def children(self, desired: None, state: str) -> list[ChildSpec]:
            return [ChildSpec("pump", "pump")]

    pump = stand_in(Pump, "running")
    pump.go("running", observed=PumpSeen(bar=1.0))

    async def story(stage: Stage) -> None:
        await stage.reaches("empty")
        pump.go("running", observed=PumpSeen(bar=3.0))
        await stage.reaches("full", within=2)

    on_stage(story, Stage(Tank, types={"pump": pump}))


def test_a_stand_in_knows_only_the_states_of_its_type() -> None:
    """A slip of the pen does not become a state."""
    with pytest.raises(ValueError, match="has no state 'up'; it has stopped"):
        stand_in(Pump, "up")


def test_a_worker_that_needs_something_says_what() -> None:
    """The kit makes workers without arguments; for others it asks for a function."""

    class Needy(Pump):
        def __init__(self, engine: object) -> None:
            super().__init__()

    with pytest.raises(AssertionError, match=r"made with engine: give the kit a function"):
        assert_reaches(Needy, "running")
    assert_reaches(lambda: Needy(object()), "running")
