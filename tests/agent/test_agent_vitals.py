"""What an agent knows of itself: its tasks, errors that nobody waits for, its lag, and what it keeps."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from setpoint.agent import Agent
from setpoint.agent.vitals import CRASH_SHOWN_S, LEAST_TIMERS, Vitals, p99_of
from setpoint.control.tally import Lag
from setpoint.testing import run

MONITOR = "agent/agent_monitor"


async def idle() -> None:
    await asyncio.sleep(1e9)


async def fails() -> None:
    raise ValueError("no such thing")


async def ends() -> None:
    return None


def test_a_task_that_ends_has_crashed_and_one_that_was_told_to_has_not() -> None:
    """By its name, with the error, for as long as it is gone."""

    async def main() -> tuple[str, ...]:
        vitals = Vitals({})
        tasks = [asyncio.create_task(each()) for each in (idle, fails, ends, idle)]
        tasks[3].cancel()
        vitals.begin(tasks, Lag())
        await asyncio.sleep(1e6)
        told = vitals.read().crashed
        vitals.end()
        assert vitals.read().crashed == ()
        tasks[0].cancel()
        return told

    assert run(main()) == ("fails has crashed: ValueError: no such thing", "ends has crashed: it ended")


def test_an_error_that_nobody_waits_for_is_shown_for_a_while_and_passed_on() -> None:
    """A task of anything in the process, or a callback. Whoever listened to the loop before is still told."""
    heard: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def before(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            heard.append(str(context["exception"]))

        loop.set_exception_handler(before)
        vitals = Vitals({})
        vitals.begin([], Lag())
        task: asyncio.Task[None] | None = asyncio.create_task(fails())
        await asyncio.sleep(1)
        del task
        gc.collect()
        loop.call_soon(lambda: [].pop())
        loop.call_exception_handler({"message": "lost", "exception": OSError("peer"), "transport": object()})
        await asyncio.sleep(1)
        assert vitals.read().crashed == (
            "fails has crashed: ValueError: no such thing",
            "a callback has crashed: IndexError: pop from empty list",
        )
        await asyncio.sleep(CRASH_SHOWN_S)
        assert vitals.read().crashed == ()
        vitals.end()
        assert loop.get_exception_handler() is before

    run(main())
    assert heard == ["no such thing", "peer", "pop from empty list"]


def test_only_the_latest_crashes_are_kept() -> None:
    """A defect that strikes every second fills nothing."""

    async def main() -> int:
        vitals = Vitals({})
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        vitals.begin([], Lag())
        for _ in range(100):
            loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)
        return len(vitals.read().crashed)

    assert run(main()) == 5


def test_the_lag_is_that_of_the_last_minute() -> None:
    """Of enough timers; a minute later what was late is forgotten."""

    async def main() -> list[float]:
        vitals, lag = Vitals({}), Lag()
        vitals.begin([], lag)
        told = [vitals.read().tick_lag_p99_ms]
        for seconds, count in ((0.4, LEAST_TIMERS - 1), (0.4, 1), (0.002, 20_000), (0.002, LEAST_TIMERS)):
            await asyncio.sleep(29)
            for _ in range(count):
                lag.add(seconds)
            told.append(vitals.read().tick_lag_p99_ms)
        vitals.end()
        return told

    assert run(main()) == [0.0, 0.0, 500.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("timers", "bound"),
    [
        ([100], 0.001),
        ([99, 1], 0.001),
        ([98, 2], 0.005),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], 2.5),
        ([98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 2.5),
    ],
)
def test_p99_is_the_bound_that_99_of_100_timers_were_within(timers: list[int], bound: float) -> None:
    """What is above all bounds is the last one."""
    assert p99_of(timers) == bound


def test_what_is_the_matter_with_what_is_kept_is_named() -> None:
    """Only while something is."""

    async def main() -> tuple[str, ...]:
        return Vitals({"store": lambda: "disk full", "recorder": lambda: ""}).read().troubles

    assert run(main()) == ("store: disk full",)


def test_an_agent_whose_own_task_crashes_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of its monitor has the task and the error, also in the log; everything else runs."""
    (tmp_path / "config.yaml").write_text("agent: {location: {0: acme}}\n")

    async def breaks(file: Path) -> AsyncIterator[None]:
        await asyncio.sleep(0.1)
        raise RuntimeError("a defect")
        yield

    monkeypatch.setattr("setpoint.agent.agent.changes_of", breaks)

    async def main() -> Any:
        agent = Agent(tmp_path / "config.yaml", data=tmp_path / "data", env={})
        with capture_logs() as lines:
            await agent.start()
            assert await agent.supervisor.until(lambda s: "crashed" in s.core.fact(MONITOR).reason, 10.0)
            assert agent.supervisor.worker(MONITOR).state == "degraded"
            told = agent.supervisor.worker(MONITOR).reason
            others = [worker.state for worker in agent.supervisor.workers() if worker.path != MONITOR]
            assert await agent.stop() == []
        return told, others, lines

    told, others, lines = asyncio.run(main())
    assert told == "not well: Agent._follow_file has crashed: RuntimeError: a defect"
    assert len(others) == 4
    assert any("agent_monitor" in line["event"] for line in lines)


def test_an_agent_that_is_well_is_active(tmp_path: Path) -> None:
    """Without a console, and it says so; after it stopped, nobody listens to the loop any more."""
    (tmp_path / "config.yaml").write_text("agent: {location: {0: acme}}\n")

    async def main() -> str:
        agent = Agent(tmp_path / "config.yaml", data=tmp_path / "data", env={})
        await agent.start()
        assert await agent.supervisor.until(lambda s: s.core.fact(MONITOR).state == "active", 10.0)
        reason = agent.supervisor.worker(MONITOR).reason
        await agent.stop()
        assert asyncio.get_running_loop().get_exception_handler() is None
        return reason

    assert asyncio.run(main()) == "no console is configured"
