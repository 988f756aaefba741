"""Faults: each is felt by the supervisor as the thing it stands for, ends when it should, and leaves the worker as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.testing.pump import Pump, PumpSeen, PumpSpec

from setpoint.control import ChildSpec
from setpoint.testing import Stage, assert_reaches, faulty, run, scripted
from setpoint.testing.faults import KINDS, Faulty

Story = Callable[[Stage, Faulty], Awaitable[None]]


def with_faults(story: Story, faults: Faulty | None = None) -> None:
    """A pump that runs, and a story of what happens to it."""

    async def main() -> None:
        faulted = faults or faulty(Pump)
        async with Stage(faulted) as stage:
            await story(stage, faulted)
            faulted.heal()
            await asyncio.sleep(120)
            assert stage.view.ready.ok, stage.explanation()

    run(main())


def test_looking_that_fails_is_an_error_with_its_text() -> None:
    """And the worker recovers with the first look after it."""

    async def story(stage: Stage, faults: Faulty) -> None:
        await stage.reaches("running")
        faults.observation_fails("no route", for_=10)
        await asyncio.sleep(5)
        assert stage.view.error == "ObservationFailed: no route"
        await asyncio.sleep(10)
        assert stage.view.error == ""

    with_faults(story)


@pytest.mark.parametrize("ignoring", [False, True])
def test_looking_that_hangs_is_abandoned(ignoring: bool) -> None:
    """Whether or not it heeds its cancellation."""

    async def story(stage: Stage, faults: Faulty) -> None:
        await stage.reaches("running")
        faults.observation_hangs(ignoring_cancellation=ignoring)
        await asyncio.sleep(30)
        assert "no answer within 2.2 s" in stage.view.error
        assert stage.view.stalled.ok, "it is stalled"

    with_faults(story)


def test_lost_and_late_and_old_news() -> None:
    """Lost: no answer, though it looked. Late: seconds later. Old: what was there before, however often it is asked."""

    async def story(stage: Stage, faults: Faulty) -> None:
        pump = stage.worker
        assert isinstance(pump, Pump)
        await stage.reaches("running")
        faults.observation_old(for_=30)
        pump.on = False
        await stage.stays("running", for_=25)
        await stage.reaches("starting", within=10)
        await stage.reaches("running")
        faults.observation_lost(for_=8)
        await asyncio.sleep(7)
        assert "no answer" in stage.view.error
        faults.heal()
        await asyncio.sleep(10)
        faults.observation_slow(1.5)
        await asyncio.sleep(30)
        assert stage.view.error == ""
        assert stage.view.age is not None
        assert stage.view.age >= 1.5

    async def main() -> None:
        faults = faulty(Pump)
        async with Stage(faults) as stage:
            await stage.reaches("running")
            await story(stage, faults)
            faults.heal()

    run(main())


def test_garbage_is_refused_by_its_type() -> None:
    """None, a huge text, a mapping: each is an error, none is believed."""

    async def story(stage: Stage, faults: Faulty) -> None:
        await stage.reaches("running")
        for garbage in (None, "x" * 1_000_000, {"turning": False}):
            faults.observation_is(garbage, for_=5)
            await asyncio.sleep(4)
            assert f"returned {type(garbage).__name__}" in stage.view.error
            await asyncio.sleep(5)
        assert stage.state == "running"

    with_faults(story)


def test_an_action_that_fails_and_one_that_fails_after_it_worked() -> None:
    """The first has no effect until it heals; the second does, and the worker goes on by what it sees."""

    async def story(stage: Stage, faults: Faulty) -> None:
        await asyncio.sleep(15)
        assert stage.state == "starting"
        assert "start failed: ActionFailed: no power" in stage.reason

    with_faults(story, faulty(Pump).action_fails("start", "no power", for_=20))
    assert_reaches(faulty(Pump).action_fails_after("start"), "running", within=3)


def test_an_action_that_lies_is_found_out_by_looking() -> None:
    """It reports success; nothing turns; the worker tries again."""
    assert_reaches(faulty(Pump).action_lies("start", for_=10), "running", within=20)
    with pytest.raises(AssertionError, match="it stands"):
        assert_reaches(faulty(Pump).action_lies("start"), "running", within=60)


@pytest.mark.parametrize("ignoring", [False, True])
def test_an_action_that_hangs_is_abandoned_and_tried_again(ignoring: bool) -> None:
    """After the runtime's half minute."""

    async def story(stage: Stage, faults: Faulty) -> None:
        await asyncio.sleep(20)
        assert stage.view.acting == ["start"]
        faults.heal()
        await stage.reaches("running", within=20)
        assert stage.now > 30

    with_faults(story, faulty(Pump).action_hangs("start", ignoring_cancellation=ignoring))


def test_a_slow_action_is_late() -> None:
    """By so many seconds."""

    async def story(stage: Stage, faults: Faulty) -> None:
        await stage.never("running", for_=4)
        await stage.reaches("running", within=3)

    with_faults(story, faulty(Pump).action_slow(5, "start"))


@pytest.mark.parametrize("error", ["a bug", SystemExit(3)])
def test_own_code_that_raises_opens_the_circuit_of_that_worker(error: str | BaseException) -> None:
    """Deciding and naming children; sys.exit() too. It is tried again for ever."""
    for put in (Faulty.decide_raises, Faulty.children_raise):

        async def story(stage: Stage, faults: Faulty, put: Callable[..., Faulty] = put) -> None:
            put(faults, error)
            await asyncio.sleep(30)
            assert stage.view.stalled.reason.startswith("circuit open: ")

        with_faults(story)


def test_a_derivation_that_raises_is_a_config_error() -> None:
    """Shown as such until there is another spec."""
    with pytest.raises(AssertionError, match="config error: InjectedFault: not like this"):
        assert_reaches(faulty(Pump).derive_raises("not like this"), "running")


def test_what_the_worker_is_stays_visible_through_faults() -> None:
    """Its machine, its explanation and its states are the author's own."""

    async def story(stage: Stage, faults: Faulty) -> None:
        await stage.reaches("running")
        assert type(stage.worker) is Pump
        assert [way.event for way in stage.supervisor.explain(stage.path).ways] == ["stands", "pressure_lost", "stop"]

    with_faults(story, faulty(Pump).decide_raises(at=1000))


def test_faults_go_around_a_script() -> None:
    """The script plays behind them."""
    script = scripted(Pump, PumpSeen()).on("start", turning=True, bar=4.0)
    assert_reaches(faulty(script).action_fails("start", for_=10), "running", within=30)
    assert len(script.calls) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_is_felt(kind: str) -> None:
    """None of them is a name without effect: what the supervisor shows of the pump differs from an undisturbed one."""

    def shown(*, disturbed: bool) -> tuple[object, ...]:
        async def main() -> tuple[object, ...]:
            faults = faulty(Pump)
            async with Stage(faults, must_stop=False) as stage:
                if disturbed:
                    KINDS[kind](faults)
                await asyncio.sleep(20)
                assert isinstance(stage.worker, Pump)
                stage.worker.on = False
                await asyncio.sleep(20)
                view = stage.view
                failures = sum(calls.failed for calls in view.tally.actions.values())
                return view.state, view.reason, view.error, view.stalled, round(view.age or 0), stage.history, failures

        return run(main())

    assert shown(disturbed=True) != shown(disturbed=False)


def test_children_of_the_same_class_are_not_under_test() -> None:
    """Where `types` names the class itself, its children are those; the faults stay with the worker."""

    class Leader(Pump):
        def children(self, desired: PumpSpec, state: str) -> list[ChildSpec]:
            return [ChildSpec("second", "leader", PumpSpec(desired_state="stopped"))]

    async def main() -> None:
        async with Stage(faulty(Leader).action_lies("start"), types={"leader": Pump}, must_stop=False) as stage:
            await stage.never("running", for_=30)
            assert type(stage.supervisor.records["stage/worker/second"].worker) is Pump

    run(main())


def test_an_action_that_does_not_exist_cannot_fail() -> None:
    """A slip of the pen is named."""
    with pytest.raises(ValueError, match="no state acts by 'begin'"):
        faulty(Pump).action_fails("begin")
