"""Every scenario on virtual time: what it shows holds, the same each time, and it can fail."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.samples import Process, Spec

from setpoint.control import ChildSpec, Limits, Registry
from setpoint.testing import run
from setpoint.testing.scenarios import (
    NAMES,
    Decided,
    Move,
    News,
    Remark,
    Report,
    Scenario,
    Scene,
    find,
    on_virtual_time,
    perform,
)


def told(report: Report) -> str:
    return "\n".join(f"{'✓' if check.ok else '✗'} {check.text}: {check.found}" for check in report.checks)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_scenario_shows_holds(name: str) -> None:
    """The story comes to its end, every expectation is met, and every worker stops."""
    report = on_virtual_time(find(name))
    assert report.ok, told(report)
    assert report.virtual
    assert len(report.checks) >= 5, "a scenario that checks next to nothing shows nothing"
    assert report.took < 5, "virtual time is not real time"


@pytest.mark.parametrize("name", ["simple", "failing", "cascade", "communicator"])
def test_a_story_is_the_same_each_time(name: str) -> None:
    """On virtual time two performances make the same moves at the same moments, for the same reasons."""
    first, second = on_virtual_time(find(name)), on_virtual_time(find(name))
    assert first.moves == second.moves
    assert first.checks == second.checks


def test_an_unknown_scenario_is_refused_with_the_nearest() -> None:
    """A name that is not there raises, and says which one may be meant."""
    with pytest.raises(LookupError, match="did you mean 'cascade'"):
        find("cascades")


def supervise(scene: Scene, *, ignores_stop: bool = False) -> None:
    def process() -> Process:
        worker = Process()
        worker.world.ignores_stop = ignores_stop
        return worker

    registry = Registry()
    registry.add("process", process)
    scene.supervise(registry, limits=Limits(shutdown_per_level=0.5)).want([ChildSpec("press", "process", Spec())])


async def good(scene: Scene) -> None:
    supervise(scene)
    await scene.reaches("plant/press", "running", within=5)


async def hopeless(scene: Scene) -> None:
    supervise(scene)
    await scene.reaches("plant/press", "flying", within=5)
    scene.expect("this is never looked at", True)


async def broken(scene: Scene) -> None:
    supervise(scene)
    await scene.reaches("plant/press", "running", within=5)
    raise ZeroDivisionError("the story has a bug")


async def obstinate(scene: Scene) -> None:
    supervise(scene, ignores_stop=True)
    await scene.reaches("plant/press", "running", within=5)


async def mistaken(scene: Scene) -> None:
    await good(scene)
    scene.expect("two and two are five", 2 + 2 == 5, 4)
    await scene.sleep(1)
    scene.expect("the story goes on", True)


def scenario(story: object) -> Scenario:
    return Scenario("test", "shows something", story, 1)  # type: ignore[arg-type]


def test_an_expectation_that_does_not_hold_fails_the_performance() -> None:
    """It is noted with what was found, the story goes on, and the report is not good."""
    report = on_virtual_time(scenario(mistaken))
    assert not report.ok
    assert [(check.text, check.found) for check in report.checks if not check.ok] == [("two and two are five", "4")]
    assert report.checks[-2].text == "the story goes on"


def test_a_state_that_is_not_reached_ends_the_story() -> None:
    """What would follow has no ground; the check says where the worker is instead, and everything is stopped."""
    report = on_virtual_time(scenario(hopeless))
    assert [check.ok for check in report.checks] == [False, True]
    assert report.checks[0].found.startswith("running")
    assert report.moves[-1].target == "stopped"
    assert not report.ok


def test_a_worker_that_does_not_stop_fails_the_performance() -> None:
    """The report names it."""
    report = on_virtual_time(scenario(obstinate))
    assert report.left == ["plant/press"]
    assert not report.ok


def test_a_broken_story_raises_after_everything_was_stopped() -> None:
    """A bug of the story is not swallowed, and leaves nothing running."""
    news: list[News] = []
    with pytest.raises(ZeroDivisionError, match="the story has a bug"):
        on_virtual_time(scenario(broken), tell=news.append)
    assert isinstance(news[-1], Move)
    assert news[-1].target == "stopped"


def test_a_part_of_the_world_that_breaks_is_not_overlooked() -> None:
    """What runs beside the story and raises makes the performance raise, also when the story went well."""

    async def breaks() -> None:
        raise ZeroDivisionError("the world has a bug")

    async def story(scene: Scene) -> None:
        scene.spawn(breaks())
        await good(scene)

    with pytest.raises(ZeroDivisionError, match="the world has a bug"):
        on_virtual_time(scenario(story))


def test_a_scene_has_one_supervisor() -> None:
    """A second one would leave the first one's workers running."""

    async def story(scene: Scene) -> None:
        await good(scene)
        supervise(scene)

    with pytest.raises(RuntimeError, match="a supervisor already"):
        on_virtual_time(scenario(story))


def test_a_duration_shorter_than_the_story_cuts_it_short() -> None:
    """What was not come to was not shown, so that is not good; the workers are stopped all the same."""
    report = on_virtual_time(find("disable"), duration=2.0)
    assert report.cut == "its 2 s were over"
    assert not report.ok
    assert report.left == []


def test_a_longer_duration_keeps_the_workers_running() -> None:
    """The story is told, and what it left running runs on for the rest of the time."""
    report = on_virtual_time(scenario(good), duration=60.0)
    assert report.ok
    assert report.moves[-1].target == "stopped"
    assert 60.0 <= report.moves[-1].at < 62.0


def test_told_to_stop_in_the_middle_it_stops() -> None:
    """Whoever watches may end it; an endless one ends then, and a story that was told before that is a good one."""

    async def watched(story: object, after: float) -> Report:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(after, stop.set)
        return await perform(scenario(story), told_to_stop=stop, duration=0)

    middle = run(watched(mistaken, after=0.5))
    assert middle.cut == "it was told to stop"
    end = run(watched(good, after=100.0))
    assert end.ok
    assert end.seconds >= 100


def test_tracing_tells_each_new_decision_with_its_guards() -> None:
    """A decision that is the same as the worker's previous one is told once; one that raises is told as well."""
    news: list[News] = []
    on_virtual_time(find("panic"), tell=news.append, trace=True)
    decided = [each for each in news if isinstance(each, Decided)]
    assert any(
        each.lines[0] == "moves by start to connecting" and "✓ start → connecting" in each.lines for each in decided
    )
    assert any(each.lines[0].startswith("raised GuardError: guard is_full") for each in decided)
    steady = [(each.state, each.lines[0]) for each in decided if each.path == "plant/steady"]
    assert len(steady) == len(set(steady))
    assert any(isinstance(each, Remark) for each in news)


def test_the_store_at_the_end_has_every_worker_and_no_secret() -> None:
    """Documents by kind, and the history; what is wanted of the transport is there without its auth token."""
    report = on_virtual_time(find("communicator"))
    assert set(report.store) == {"edge/transport", "edge/transport/push", "edge/transport/pull"}
    transport = report.store["edge/transport"]
    assert {"identity", "desired", "observed", "state", "history"} <= set(transport)
    assert transport["state"]["value"]["state"] == "stopped"
    assert "correct horse" not in repr(report.store)
