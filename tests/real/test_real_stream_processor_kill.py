"""A stream processor under kill -9: readings are published on, its process is killed over and over, and nothing is missing or wrong."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

pytestmark = pytest.mark.real

KILLS = 12
A_LIFE = 60
"""Readings of each source that one life publishes, if it is not killed before."""
LIFE = """
import asyncio, sys
from setpoint.flows import FlowEngine
from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

FLOW = {
    "input": {"uns": {"umh_topics": [r"umh\\.v1\\.acme\\._raw\\."]}},
    "pipeline": {"processors": [{"stream_processor": {
        "output_topic": "umh.v1.acme",
        "model": {"name": "m", "version": "v1"},
        "sources": {"a": "acme._raw.a", "b": "acme._raw.b"},
        "mapping": {"js": "a * 1000000 + b", "own": "= a * 1000000 + b"},
    }}]},
    "output": {"uns": {}},
}

async def main(path, first, last, rest):
    async with EmbeddedBroker(path) as broker:
        engine = FlowEngine(broker)
        await engine.start("sp", FLOW, bridged_by="sp")
        print("up", flush=True)
        for n in range(first, last):
            for name in ("a", "b"):
                payload = b'{"timestamp_ms": %d, "value": %d}' % (1_700_000_000_000 + n, n)
                await broker.publish([Message(f"umh.v1.acme._raw.{name}", payload)])
            await asyncio.sleep(0.001)
        while rest:  # until all is dealt with
            stats = await broker.stats()
            mine = [one for one in stats.groups if one.group == "sp"]
            if mine and mine[0].lag == 0:
                break
            await asyncio.sleep(0.01)
        await engine.close() if rest else await asyncio.sleep(60)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "rest"))
"""


def live(log: Path, first: int, *, kill_after: float | None) -> None:
    """One life: publishes readings from `first` on and derives from them; killed after so many seconds, or ended when all is done."""
    last = first + (A_LIFE if kill_after is not None else 0)
    arguments = [str(log), str(first), str(last), "on" if kill_after is not None else "rest"]
    process = subprocess.Popen([sys.executable, "-c", LIFE, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        if kill_after is not None:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(kill_after)
            os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == (0 if kill_after is None else -signal.SIGKILL)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


async def everything(log: Path) -> list[Message]:
    async with EmbeddedBroker(log) as broker:
        subscription = broker.subscribe("check")
        found: list[Message] = []
        while more := await subscription.read(timeout=0):
            found += more
        return found


def values(messages: list[Message], name: str) -> list[int]:
    return [json.loads(one.payload)["value"] for one in messages if one.topic.endswith(f".{name}")]


def expected(messages: list[Message]) -> set[int]:
    """What an uninterrupted run makes of the readings, in the order of the log."""
    latest: dict[str, int] = {}
    made = set()
    for one in messages:
        if "._raw." in one.topic:
            latest[one.topic[-1]] = json.loads(one.payload)["value"]
            if len(latest) == 2:
                made.add(latest["a"] * 1_000_000 + latest["b"])
    return made


def test_killed_over_and_over_it_makes_all_and_nothing_else(tmp_path: Path) -> None:
    """Each pair of values that ever stood together is there, at least once; no pair that never did."""
    log = tmp_path / "log"
    rng = random.Random(7)
    for number in range(KILLS):
        live(log, number * A_LIFE, kill_after=rng.uniform(0.0, 0.25))
    live(log, 0, kill_after=None)
    messages = asyncio.run(everything(log))
    should = expected(messages)
    for name in ("js", "own"):
        made = values(messages, name)
        print(f"{name}: {len(should)} pairs, {len(set(made))} made, {len(made) - len(set(made))} of them again")
        assert set(made) == should
    assert len(should) > KILLS
