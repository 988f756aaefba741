"""Flows that take both engines: Benthos for what only it has, the agent for the rest; killed, restarted, closed off, and nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.real.real_bento import bento_path, no_bento

from setpoint.agent.agent import Agent
from setpoint.flows.letters import kept_letters
from setpoint.namespace import Message
from setpoint.places import LETTERS

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(no_bento()), reason=no_bento())]
GATES = {"config_loading": 0.2, "healthchecks": 0.2, "remain_running": 0.4}
PATH = "agent/flows/press"
TAGS = """msg.meta.location_path = "acme.press"; msg.meta.data_contract = "_raw"; msg.meta.tag_name = "n";
msg.payload = msg.payload.n; return msg;"""
TOPIC = "umh.v1.acme.press._raw.n"
ONLY_BENTHOS = {"mapping": 'root.n = this.n\nroot.hash = content().hash("xxhash64").string()\nmeta press = 7'}
COUNTING = {"generate": {"interval": "10ms", "mapping": "root.n = counter()"}}


def written(folder: Path, **benthos: Any) -> None:
    """Have the file ask for one flow: it counts, does what only Benthos does, and writes to the namespace, unless it says otherwise."""
    parts = {
        "input": COUNTING,
        "pipeline": {"processors": [ONLY_BENTHOS, {"tag_processor": {"defaults": TAGS}}]},
        "output": {"uns": {}},
        **benthos,
    }
    flow = {
        "name": "press",
        "desiredState": "active",
        "gates": GATES,
        "dataFlowComponentConfig": {"benthos": parts},
    }
    text = yaml.safe_dump({"agent": {"location": {0: "acme"}}, "dataFlow": [flow]})
    (folder / "config.yaml").write_text(text)


def made(folder: Path) -> Agent:
    """An agent on the folder that knows the real Bento."""
    env = {**os.environ, "SETPOINT_BENTHOS": bento_path()}
    return Agent(folder / "config.yaml", data=folder / "data", env=env, processes="builtin")


@asynccontextmanager
async def agent(folder: Path) -> AsyncIterator[Agent]:
    """One that is stopped afterwards."""
    one = made(folder)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def state(one: Agent, path: str = PATH) -> tuple[str, str]:
    """State and reason of a worker, by default the flow."""
    return next((each.state, each.reason) for each in one.supervisor.workers() if each.path == path)


async def until(test: Callable[[], object], what: Callable[[], object], seconds: float = 12.0) -> None:
    """Waits for it."""
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.05)


async def values(one: Agent, topic: str = TOPIC) -> list[Message]:
    """All that is in the namespace under the topic."""
    found: list[Message] = []
    reader = one.broker.subscribe("the test", [f"^{re.escape(topic)}$"])
    while some := await reader.read(timeout=0.1):
        found += some
    await reader.close()
    return found


async def numbers(one: Agent, topic: str = TOPIC) -> list[int]:
    """The values of these messages."""
    return [json.loads(message.payload)["value"] for message in await values(one, topic)]


def pids(folder: Path) -> Iterator[int]:
    """The Bento processes that run a file below the folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if words[0].endswith("bento") and any(str(folder) in word for word in words):
                    yield int(entry.name)


def lost(found: list[int]) -> set[int]:
    """What is missing from one to the last; prints what is there twice."""
    print(f"{len(found)} values, {len(found) - len(set(found))} of them doubled")
    return set(range(1, max(found) + 1)).difference(found)


def test_a_flow_that_takes_both_engines_is_one_flow(tmp_path: Path) -> None:
    """Values arrive in order with their meta; what fails on Benthos is set aside with its reason; the token is nobody's to see."""
    failing = {"mapping": 'root = if this.n == 7 { throw("no sevens") } else { this }'}
    written(tmp_path, pipeline={"processors": [ONLY_BENTHOS, failing, {"tag_processor": {"defaults": TAGS}}]})

    async def scene() -> None:
        async with agent(tmp_path) as one:
            await until(lambda: len(list(pids(tmp_path))) == 1, lambda: state(one))
            await until(lambda: "processor errors" in state(one)[1], lambda: state(one))
            assert "behind Benthos: 1 processor errors" in state(one)[1]
            found = await values(one)
            assert [json.loads(message.payload)["value"] for message in found][:8] == [1, 2, 3, 4, 5, 6, 8, 9]
            assert found[0].headers["press"] == "7"
            assert "Authorization" not in found[0].headers
            letter = kept_letters(tmp_path / "data" / LETTERS)[0]
            assert "no sevens" in letter["reason"]
            assert json.loads(letter["payload"])["n"] == 7
            folder = next((tmp_path / "data" / "benthos").glob("*press"))
            token = (folder / "token").read_text()
            for name in ("token", "benthos.yaml"):
                assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
            record = next(each for each in one.supervisor.workers() if each.path == PATH)
            assert token not in repr(record)
            assert token in (folder / "benthos.yaml").read_text()

    asyncio.run(scene())


def test_nothing_is_lost_while_the_namespace_is_closed(tmp_path: Path) -> None:
    """The flow says what is missing, Benthos waits, and all arrives afterwards."""
    written(tmp_path)

    async def scene() -> None:
        async with agent(tmp_path) as one:
            await until(lambda: state(one)[0] == "active", lambda: state(one))
            one.supervisor.tell("agent/broker", "disable", why="test")
            await until(lambda: state(one, "agent/broker")[0] == "stopped", lambda: state(one, "agent/broker"))
            await until(lambda: state(one)[0] != "active", lambda: state(one))
            print(state(one))
            await asyncio.sleep(1.5)
            print(state(one))
            one.supervisor.tell("agent/broker", "enable", why="test")
            await until(lambda: state(one)[0] == "active", lambda: state(one))
            await asyncio.sleep(1)
            found = await numbers(one)
            assert not lost(found)

    asyncio.run(scene())
