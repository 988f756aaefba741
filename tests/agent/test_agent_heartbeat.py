"""The heartbeat: a line a minute that says how everything is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.control.samples import Process, Spec, World, process, reach, supervisor, world

from setpoint.agent import Agent
from setpoint.agent.heartbeat import Heartbeat
from setpoint.control import ChildSpec
from setpoint.testing import run


def beats(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["event"] == "heartbeat"]


def test_a_line_a_minute_says_how_everything_is() -> None:
    """Workers by phase, those not as wanted, what moved since the last line, and how late the runtime was."""

    async def main() -> list[Any]:
        s = supervisor()
        s.want([process("a", children=["c"]), process("b"), process("d", desired_state="stopped")])
        await reach(s, "top/a/c", "running")
        await reach(s, "top/b", "running")
        heart = asyncio.create_task(Heartbeat(s, {"store": lambda: ""}).keep())
        with capture_logs() as lines:
            await asyncio.sleep(1)
            world(s, "top/b").start_fails, world(s, "top/b").running = "no power", False
            await asyncio.sleep(58)
            assert beats(lines) == []
            await asyncio.sleep(62)
        heart.cancel()
        await s.stop()
        return beats(lines)

    first, second = run(main())
    assert first == {
        "event": "heartbeat",
        "log_level": "info",
        "workers": 4,
        "phases": {"healthy": 2, "starting": 1, "stopped": 1},
        "not_as_wanted": 1,
        "transitions": 1,  # b crashed
        "tick_lag_p99_ms": 1.0,
    }
    assert second["transitions"] == 0


def test_who_is_to_be_stopped_and_is_is_as_wanted() -> None:
    """A disabled worker that has stopped is nothing to look after; a removed one is not counted."""

    async def main() -> tuple[Any, Any]:
        s = supervisor()
        heart = Heartbeat(s, {})
        s.want([process("a"), process("b")])
        await reach(s, "top/b", "running")
        s.tell("top/a", "disable", why="maintenance")
        s.want([process("a")])
        await reach(s, "top/b", "gone")
        await reach(s, "top/a", "stopped")
        one = heart.figures()
        s.want([])
        await reach(s, "top/a", "gone")
        return one, heart.figures()

    one, none = run(main())
    assert (one["phases"], one["not_as_wanted"]) == ({"stopped": 1}, 0)
    assert (none["workers"], none["phases"], none["not_as_wanted"]) == (0, {}, 0)


def test_what_is_not_alive_yet_is_counted_and_not_as_wanted() -> None:
    """A worker that cannot be observed has no phase."""

    async def main() -> Any:
        s = supervisor(blind=lambda: Process(World(observe_fails="no route")))
        s.want([ChildSpec("a", "blind", Spec())])
        await asyncio.sleep(5)
        return Heartbeat(s, {}).figures()

    told = run(main())
    assert (told["phases"], told["not_as_wanted"]) == ({"not_alive": 1}, 1)


def test_trouble_is_in_the_line_while_something_is_the_matter() -> None:
    """By the name of what is in trouble, and only then."""

    async def main() -> tuple[Any, Any]:
        trouble = {"store": "the disk is full"}
        heart = Heartbeat(
            supervisor(), {"store": lambda: trouble.get("store", ""), "recorder": lambda: trouble.get("recorder", "")}
        )
        before = heart.figures()
        trouble.clear()
        return before, heart.figures()

    before, after = run(main())
    assert before["store"] == "the disk is full"
    assert "recorder" not in before
    assert "store" not in after


def test_the_lag_is_that_since_the_last_line() -> None:
    """99 of 100 timers within the bound; a late minute is not told for ever; what is beyond all buckets is told as the last."""

    async def main() -> list[float]:
        s = supervisor()
        heart, lag = Heartbeat(s, {}), s.core.lag
        told = [heart.figures()["tick_lag_p99_ms"]]
        for late in ([0.0005] * 99 + [0.2], [0.0005] * 98 + [0.2] * 2, [0.003], [9.0]):
            for seconds in late:
                lag.add(seconds)
            told.append(heart.figures()["tick_lag_p99_ms"])
        return told

    assert run(main()) == [0.0, 1.0, 250.0, 5.0, 2500.0]


def test_an_agent_has_a_heartbeat_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its start to its stop, over its own workers, its store and its recorder."""
    (tmp_path / "config.yaml").write_text("agent: {location: {0: acme}}\n")
    monkeypatch.setattr("setpoint.agent.heartbeat.EVERY_S", 0.02)

    async def main() -> list[Any]:
        agent = Agent(tmp_path / "config.yaml", data=tmp_path / "data", env={})
        agent.store.put("agent/x", "desired", "x" * 2_000_000, at=0.0)
        agent.store.flush()
        with capture_logs() as lines:
            await asyncio.sleep(0.1)
            assert beats(lines) == []
            await agent.start()
            async with asyncio.timeout(10):
                while not beats(lines):  # noqa: ASYNC110 - a log line has no event
                    await asyncio.sleep(0.01)
            await agent.stop()
            told = beats(lines)
            await asyncio.sleep(0.1)
            assert beats(lines) == told
        return told

    first = asyncio.run(main())[0]
    assert first["workers"] == 5
    assert first["store"].startswith("desired of agent/x is not stored")
    assert "recorder" not in first
