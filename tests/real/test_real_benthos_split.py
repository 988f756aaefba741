"""Flows that take both engines: Benthos for what only it has, the agent for the rest; killed, restarted, closed off, and nothing lost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
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
HASHED = {
    "mapping": 'root.n = content().string().number()\nroot.hash = content().hash("xxhash64").string()\nroot.topic = @umh_topic'
}
THROUGH = {
    "processors": [
        {"mapping": 'root.n = this.value\nroot.hash = content().hash("xxhash64").string()'},
        {"tag_processor": {"defaults": TAGS}},
    ]
}
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
    """All that is in the namespace by now under the topic."""
    found: list[Message] = []
    reader, last = one.broker.subscribe("the test", [f"^{re.escape(topic)}$"]), (await one.broker.stats()).last_offset
    while (not found or found[-1].offset < last) and (some := await reader.read(timeout=0.2)):
        found += some
    await reader.close()
    return found


async def numbers(one: Agent, topic: str = TOPIC) -> list[int]:
    """The values of these messages."""
    return [json.loads(message.payload)["value"] for message in await values(one, topic)]


async def reached(one: Agent, number: int, topic: str = TOPIC) -> None:
    """Waits for this value."""
    deadline = time.monotonic() + 12
    while max(found := await numbers(one, topic), default=0) < number:
        assert time.monotonic() < deadline, (state(one), len(found))
        await asyncio.sleep(0.05)


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


def test_an_edit_that_benthos_refuses_leaves_all_of_it_running(tmp_path: Path) -> None:
    """Both parts go on as they were, and the reason names the place in the config; the next edit is taken."""

    def tagging(topic: str, mapping: dict[str, str]) -> dict[str, Any]:
        code = TAGS.replace('tag_name = "n"', f'tag_name = "{topic}"')
        return {"processors": [mapping, {"tag_processor": {"defaults": code}}]}

    async def scene() -> None:
        written(tmp_path, pipeline=tagging("n", ONLY_BENTHOS))
        async with agent(tmp_path) as one:
            await until(lambda: state(one)[0] == "active", lambda: state(one))
            written(tmp_path, pipeline=tagging("m", {"mapping": "root = this.nothing_that_is()"}))
            await until(lambda: "config rejected" in state(one)[1], lambda: state(one))
            assert "pipeline.processors[0].mapping" in state(one)[1]
            await reached(one, len(await numbers(one)) + 20)
            assert not await numbers(one, TOPIC[:-1] + "m")
            written(tmp_path, pipeline=tagging("m", ONLY_BENTHOS))
            await reached(one, 20, TOPIC[:-1] + "m")
            await until(lambda: state(one)[0] == "active", lambda: state(one))

    asyncio.run(scene())


def test_nothing_is_lost_while_the_namespace_is_closed(tmp_path: Path) -> None:
    """The flow says what is missing, Benthos waits, and all arrives afterwards."""
    written(tmp_path)

    async def scene() -> None:
        async with agent(tmp_path) as one:
            await until(lambda: state(one)[0] == "active", lambda: state(one))
            one.supervisor.tell("agent/broker", "disable", why="test")
            await until(lambda: "behind Benthos" in state(one)[1], lambda: state(one))
            assert "the log of the namespace is not open" in state(one)[1]
            await asyncio.sleep(1.0)
            one.supervisor.tell("agent/broker", "enable", why="test")
            await until(lambda: state(one, "agent/broker")[0] == "active", lambda: state(one, "agent/broker"))
            await asyncio.sleep(0.5)
            assert not lost(await numbers(one))

    asyncio.run(scene())


def killed(folder: Path) -> None:
    """Has an agent run the flow until it is active, and be killed then."""

    async def abandoned() -> None:
        one = made(folder)
        await one.start()
        await until(lambda: state(one)[0] == "active", lambda: state(one))
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            asyncio.run(abandoned())
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_nothing_is_lost_when_the_agent_is_killed(tmp_path: Path) -> None:
    """Benthos goes on and waits; the next agent listens where the last one did, and knows its token."""

    async def again() -> None:
        before = list(pids(tmp_path))
        assert len(before) == 1
        await asyncio.sleep(0.5)
        async with agent(tmp_path) as one:
            await until(lambda: state(one)[0] == "active", lambda: state(one))
            await asyncio.sleep(0.5)
            assert list(pids(tmp_path)) == before
            found = await numbers(one)
            assert len(found) > 150
            assert not lost(found)
        assert not list(pids(tmp_path))

    written(tmp_path)
    killed(tmp_path)
    asyncio.run(again())


def test_what_benthos_ran_ends_when_the_agent_runs_it_all(tmp_path: Path) -> None:
    """Also where the config was changed while no agent was there: the source is not read twice."""

    async def again() -> None:
        assert len(list(pids(tmp_path))) == 1
        async with agent(tmp_path) as one:
            await until(lambda: state(one)[0] == "active", lambda: state(one))
            assert not list(pids(tmp_path))
            assert not json.loads((tmp_path / "data" / "benthos" / "ports.json").read_text())

    written(tmp_path)
    killed(tmp_path)
    written(tmp_path, pipeline={"processors": [{"tag_processor": {"defaults": TAGS}}]})
    asyncio.run(again())


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def posted(client: httpx.AsyncClient, url: str, numbers: Iterator[int]) -> None:
    """Sends each number until it is taken."""
    for number in numbers:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.post(url, json={"n": number})).status_code == 200:
                    break
            await asyncio.sleep(0.05)


def test_nothing_is_lost_when_benthos_is_killed(tmp_path: Path) -> None:
    """A sender that was told 200 finds its message in the namespace, however often Benthos is killed."""
    port = free_port()
    source = {"http_server": {"address": f"127.0.0.1:{port}", "path": "/post"}}
    written(tmp_path, input=source)

    async def scene() -> None:
        async with agent(tmp_path) as one, httpx.AsyncClient(trust_env=False, timeout=5) as client:
            await until(lambda: state(one)[0] == "idle", lambda: state(one))
            left = iter(range(1, 401))
            senders = [posted(client, f"http://127.0.0.1:{port}/post", left) for _ in range(8)]
            sending = asyncio.gather(*senders)
            for share in (100, 250):
                await reached(one, share)
                for pid in pids(tmp_path):
                    os.kill(pid, signal.SIGKILL)
            await sending
            found = await numbers(one)
            assert max(found) == 400
            assert not lost(found)

    asyncio.run(scene())


async def forged(folder: Path) -> None:
    """What somebody sends to Benthos who does not know the token."""
    file = next((folder / "data" / "benthos").glob("*press/benthos.yaml"))
    taking = yaml.safe_load(file.read_text())["input"]["http_server"]
    body = {"payload": base64.b64encode(b"666").decode(), "meta": {}, "error": None}
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        for headers in ({}, {"Authorization": "Bearer x"}):
            await client.post(f"http://{taking['address']}{taking['path']}", json=body, headers=headers)


def test_a_flow_from_the_namespace_to_an_output_of_benthos(tmp_path: Path) -> None:
    """The agent reads, Benthos writes; bytes stay what they are; killed in the middle, Benthos loses nothing."""
    written(
        tmp_path,
        input={"uns": {"umh_topics": ["^umh\\.v1\\.acme\\.in\\._raw\\."]}},
        pipeline={"processors": [{"nodered_js": {"code": "msg.payload = msg.payload.value; return msg;"}}, HASHED]},
        output={"file": {"path": str(tmp_path / "out.jsonl"), "codec": "lines"}, "processors": [{"noop": {}}]},
    )

    def arrived() -> list[dict[str, Any]]:
        file = tmp_path / "out.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    async def scene() -> None:
        async with agent(tmp_path) as one:
            await until(lambda: state(one)[0] == "idle", lambda: state(one))
            for start in (1, 101):
                body = [f'{{"timestamp_ms":1,"value":{n}}}'.encode() for n in range(start, start + 100)]
                await one.broker.publish([Message("umh.v1.acme.in._raw.n", each, {}) for each in body])
                await until(lambda: len(arrived()) > start, lambda: state(one))  # noqa: B023
                for pid in pids(tmp_path) if start == 1 else ():
                    os.kill(pid, signal.SIGKILL)
            await until(lambda: {each["n"] for each in arrived()} == set(range(1, 201)), lambda: len(arrived()))
            assert {each["topic"] for each in arrived()} == {"umh.v1.acme.in._raw.n"}
            await forged(tmp_path)
            assert not [each for each in arrived() if each["n"] == 666]

    asyncio.run(scene())


def test_benthos_in_the_middle(tmp_path: Path) -> None:
    """From the namespace through Benthos into the namespace: three parts, and still one flow."""
    written(tmp_path, input={"uns": {"umh_topics": ["^umh\\.v1\\.acme\\.in\\._raw\\."]}}, pipeline=THROUGH)

    async def scene() -> None:
        async with agent(tmp_path) as one:
            await until(lambda: state(one)[0] == "idle", lambda: state(one))
            body = [f'{{"timestamp_ms":1,"value":{n}}}'.encode() for n in range(1, 301)]
            await one.broker.publish([Message("umh.v1.acme.in._raw.n", each, {}) for each in body])
            await reached(one, 300)
            assert await numbers(one) == list(range(1, 301))

    asyncio.run(scene())
