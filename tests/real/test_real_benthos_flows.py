"""Flows of an agent on the real Benthos: edited, refused, killed with the agent and adopted, ended, removed."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from tests.real.real_bento import bento_path, no_bento

from setpoint.agent.agent import Agent

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(no_bento()), reason=no_bento())]
GATES = {"config_loading": 0.2, "healthchecks": 0.2, "remain_running": 0.4}
Backend = Literal["s6", "builtin"]


def config(folder: Path, *flows: dict[str, Any]) -> None:
    """Have the file ask for these flows."""
    (folder / "config.yaml").write_text(yaml.safe_dump({"agent": {"location": {0: "acme"}}, "dataFlow": list(flows)}))


def flow(folder: Path, *, mapping: str = "root.n = counter()", name: str = "gen", **generate: Any) -> dict[str, Any]:
    """A flow on Benthos that writes what it makes into a file."""
    made = {"interval": "50ms", "mapping": mapping, **generate}
    benthos = {
        "input": {"generate": made},
        "output": {"file": {"path": str(folder / f"{name}.jsonl"), "codec": "lines"}},
    }
    return {
        "name": name,
        "desiredState": "active",
        "engine": "benthos",
        "gates": GATES,
        "dataFlowComponentConfig": {"benthos": benthos},
    }


@asynccontextmanager
async def agent(folder: Path, processes: Backend) -> AsyncIterator[Agent]:
    """An agent on the folder."""
    made = Agent(
        folder / "config.yaml",
        data=folder / "data",
        env={**os.environ, "SETPOINT_BENTHOS": bento_path()},
        processes=processes,
    )
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def state(made: Agent, name: str = "gen") -> tuple[str, str]:
    """State and reason of a flow."""
    for worker in made.supervisor.workers():
        if worker.path == f"agent/flows/{name}":
            return worker.state, worker.reason
    return "missing", ""


async def until(test: Callable[[], object], what: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits for it."""
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.05)


def last(folder: Path, name: str = "gen") -> int:
    """The last number that a flow wrote."""
    file = folder / f"{name}.jsonl"
    lines = [line for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []
    return int(json.loads(lines[-1])["n"]) if lines else 0


def pids(folder: Path) -> Iterator[int]:
    """The Benthos processes that run a file below the folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if words[0].endswith("bento") and any(str(folder) in word for word in words):
                yield int(entry.name)


@pytest.fixture(params=["s6", "builtin"])
def processes(request: pytest.FixtureRequest) -> Backend:
    """Each backend; s6 where it is installed."""
    import shutil

    if request.param == "s6" and not shutil.which("s6-svscan"):
        pytest.skip("no s6 is here: scripts/real-parts installs it")
    kind: Backend = request.param
    return kind


def test_a_flow_goes_its_way_and_is_edited(tmp_path: Path, processes: Backend) -> None:
    """It becomes active through its gates; an edit restarts it; one that Benthos refuses leaves the old one running, with its words."""

    async def scene() -> None:
        config(tmp_path, flow(tmp_path))
        async with agent(tmp_path, processes) as made:
            await until(lambda: state(made)[0] == "active" and last(tmp_path) > 3, lambda: state(made))
            config(tmp_path, flow(tmp_path, mapping="root.n = counter() + 1000"))
            await until(lambda: last(tmp_path) > 1000, lambda: (state(made), last(tmp_path)))
            await until(lambda: state(made)[0] == "active", lambda: state(made))
            config(tmp_path, flow(tmp_path, mapping="root.n = = 3"))
            await until(lambda: "mapping" in state(made)[1], lambda: state(made))
            assert state(made)[0] == "degraded"
            before = last(tmp_path)
            await until(lambda: last(tmp_path) > before, lambda: "the old flow no longer writes")
            config(tmp_path)
            await until(lambda: state(made)[0] == "missing" and not list(pids(tmp_path)), lambda: state(made))
        assert not (tmp_path / "data" / "benthos" / "agent%2Fflows%2Fgen").exists()

    asyncio.run(scene())


def test_what_runs_is_adopted_after_the_agent_was_killed(tmp_path: Path, processes: Backend) -> None:
    """The process is the same one, nothing is started twice, and what is no longer asked for is removed."""

    async def abandoned() -> list[int]:
        config(tmp_path, flow(tmp_path), flow(tmp_path, name="old"))
        made = Agent(
            tmp_path / "config.yaml",
            data=tmp_path / "data",
            env={**os.environ, "SETPOINT_BENTHOS": bento_path()},
            processes=processes,
        )
        await made.start()
        await until(lambda: state(made)[0] == "active" and state(made, "old")[0] == "active", lambda: state(made))
        os._exit(0)  # in a child process: everything is left as it is

    async def again() -> None:
        before = set(pids(tmp_path))
        assert len(before) == 2
        config(tmp_path, flow(tmp_path))
        async with agent(tmp_path, processes) as made:
            await until(lambda: state(made)[0] == "active", lambda: state(made))
            await until(lambda: len(set(pids(tmp_path))) == 1, lambda: list(pids(tmp_path)))
            assert set(pids(tmp_path)) < before
        assert not list(pids(tmp_path))

    child = os.fork()
    if child == 0:
        try:
            asyncio.run(abandoned())
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(again())


def test_a_flow_whose_input_ends_is_idle_and_not_started_again(tmp_path: Path, processes: Backend) -> None:
    """Benthos ends with its input; that is no failure."""

    async def scene() -> None:
        config(tmp_path, flow(tmp_path, count=5))
        async with agent(tmp_path, processes) as made:
            await until(lambda: state(made)[0] == "idle" and "ended" in state(made)[1], lambda: state(made))
            assert last(tmp_path) == 5
            assert not list(pids(tmp_path))

    asyncio.run(scene())


def test_a_flow_that_none_can_run_says_what_is_missing(tmp_path: Path) -> None:
    """Without Benthos, an unknown component is an error of the config that says what to install."""
    unknown = flow(tmp_path)
    unknown |= {"engine": "auto"}
    unknown["dataFlowComponentConfig"]["benthos"]["input"] = {"opcua_client": {}}
    config(tmp_path, unknown)

    async def scene() -> None:
        made = Agent(tmp_path / "config.yaml", data=tmp_path / "data", env={"PATH": str(tmp_path)})
        await made.start()
        try:
            text = made.config_status().problems[0].text
            assert "opcua_client" in text
            assert "no Benthos is installed" in text
        finally:
            await made.stop()

    asyncio.run(scene())


def bridge(port: int, engine: str) -> dict[str, Any]:
    """A bridge whose read flow is run by that engine: on Benthos it has a mapping that is none."""
    tags = (
        'msg.meta.location_path = "acme.press"; msg.meta.data_contract = "_raw"; msg.meta.tag_name = "n"; return msg;'
    )
    benthos = {
        "input": {
            "generate": {"interval": "50ms", "mapping": "root = counter()" if engine == "embedded" else "root = = 1"}
        },
        "pipeline": {"processors": [{"tag_processor": {"defaults": tags}}]},
        "output": {"uns": {}},
    }
    service = {
        "location": {1: "press"},
        "variables": {"IP": "127.0.0.1", "PORT": str(port)},
        "config": {
            "connection": {"nmap": {"target": "{{ .IP }}", "port": "{{ .PORT }}"}},
            "dataflowcomponent_read": {"benthos": benthos},
        },
    }
    return {
        "name": "press",
        "desiredState": "active",
        "engine": engine,
        "gates": GATES,
        "protocolConverterServiceConfig": service,
    }


def test_a_bridge_whose_flow_benthos_will_not_have_has_failed(tmp_path: Path) -> None:
    """It says why and stays so, also after a retry; an edit brings it up."""

    async def scene() -> None:
        async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            states: list[str] = []

            def wanted(engine: str) -> None:
                text = yaml.safe_dump({"agent": {"location": {0: "acme"}}, "protocolConverter": [bridge(port, engine)]})
                (tmp_path / "config.yaml").write_text(text)

            def found() -> tuple[str, str]:
                return next((w.state, w.reason) for w in made.supervisor.workers() if w.path == "agent/bridges/press")

            wanted("benthos")
            async with agent(tmp_path, "builtin") as made:
                await until(lambda: found()[0] == "starting_failed_dfc", found)
                assert "config rejected: flow: input.generate.mapping" in found()[1]
                made.supervisor.listen(lambda record, transition: states.append(str(transition and transition.target)))
                made.supervisor.tell("agent/bridges/press", "retry", why="test")
                await until(lambda: states.count("starting_failed_dfc") == 1, lambda: states)
                wanted("embedded")
                await until(lambda: found()[0] in ("idle", "active"), found)

    asyncio.run(scene())
