"""A Redpanda that the agent runs: started, watched, drained, and taken over, with a stand-in for its program as a real process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.real.ports import free_port
from tests.real.service import config
from tests.workers.redpanda_stand_in import program

from setpoint.agent import Agent
from setpoint.agent.processes import Processes
from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.namespace import Message
from setpoint.workers.broker import Broker, BrokerObserved, BrokerSpec, Managed, NamespaceLog

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")

BROKER = "agent/broker"
MESSAGE = Message("umh.v1.acme._raw.x", b"1")


class Box:
    """What a story has: the supervisor, the log, and the processes."""

    def __init__(self, folder: Path) -> None:
        self.processes = Processes("builtin", folder / "processes")
        self.log = NamespaceLog(folder, processes=self.processes.open, open_timeout=1.0)
        registry = Registry(broker=self.log)
        registry.add("broker", Broker)
        self.s = Supervisor(registry)

    def want(self, spec: BrokerSpec) -> None:
        self.s.want([ChildSpec("broker", "broker", spec)])

    def seen(self) -> BrokerObserved:
        found: BrokerObserved = self.s.records[BROKER].observed or BrokerObserved()
        return found

    async def reach(self, state: str, text: str = "", seconds: float = 20.0) -> str:
        """The reason, once the broker is in the state with this in its reason."""

        def there(s: Supervisor) -> bool:
            fact = s.core.fact(BROKER)
            return fact.state == state and text in fact.reason

        assert await self.s.until(there, seconds), (state, text, self.s.worker(BROKER))
        return self.s.worker(BROKER).reason

    async def said(self) -> list[str]:
        return [line.text for line in await (await self.processes.open()).logs("redpanda")]

    async def pid(self) -> int | None:
        return (await self.processes.open()).status("redpanda").pid


def play(folder: Path, spec: BrokerSpec, story: Callable[[Box], Coroutine[Any, Any, None]]) -> None:
    """Run a story with a broker of this spec, and end it with its processes."""

    async def main() -> None:
        box = Box(folder)
        box.want(spec)
        try:
            await story(box)
        finally:
            left = await box.s.stop(8.0)
            await box.log.close()
            await box.processes.close()
        assert left == []

    asyncio.run(asyncio.wait_for(main(), 60))


def managed(binary: str, **more: Any) -> BrokerSpec:
    kafka, admin, rpc, registry = sorted({free_port() for _ in range(12)})[:4]
    ports = {"kafka_port": kafka, "admin_port": admin, "rpc_port": rpc, "registry_port": registry}
    return BrokerSpec(managed=Managed(binary=binary, memory_per_core=1024**3, **ports), idle_window_s=1.0, **more)


def test_it_runs_is_killed_comes_back_and_is_drained(tmp_path: Path) -> None:
    """From nothing to written messages; kill -9 is degraded and recovers; stopped means drained, and the process gone."""
    spec = managed(program(tmp_path / "bin"), settings={"log_retention_ms": 1000})

    async def story(box: Box) -> None:
        await box.reach("idle")
        await box.log.publish([MESSAGE])
        assert box.seen().running
        assert "smp 1, memory 1024M" in await box.said()
        pid = await box.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await box.reach("degraded", "the process was killed by SIGKILL and was started again", seconds=2.0)
        await box.reach("idle")
        await box.log.publish([MESSAGE])
        assert await box.pid() != pid
        box.want(spec.model_copy(update={"desired_state": "stopped"}))
        await box.reach("stopping", "drains its clients")
        await box.reach("stopped")
        assert "drained" in await box.said()  # clients that still knock may be heard after it
        assert await box.pid() is None

    play(tmp_path, spec, story)


def test_without_a_program_the_reason_says_what_to_install(tmp_path: Path) -> None:
    """The start fails after its time-out and is tried again, so that installing it is enough."""
    spec = managed(str(tmp_path / "bin" / "redpanda"), start_timeout_s=1.0)

    async def story(box: Box) -> None:
        hint = "install Redpanda, or give the address of one that runs elsewhere"
        reason = await box.reach("starting", f"starting: there is no {tmp_path}/bin/redpanda: {hint}")
        assert reason.endswith(hint)
        assert await box.s.until(
            lambda s: any(move.event == "start_failed" for move in s.journal.history(BROKER)), 10.0
        )
        program(tmp_path / "bin")
        await box.reach("idle")

    play(tmp_path, spec, story)


def test_a_port_that_is_taken_is_named_with_its_holder(tmp_path: Path) -> None:
    """Before anything is started."""
    spec = managed(program(tmp_path / "bin"))
    assert spec.managed is not None
    port = spec.managed.kafka_port

    async def story(box: Box) -> None:
        await box.reach("starting", f"port {port} for Kafka is held by python")
        assert await box.pid() is None

    with socket.create_server(("127.0.0.1", port)):
        play(tmp_path, spec, story)


def test_a_process_that_keeps_exiting_is_a_failed_start_with_its_last_words(tmp_path: Path) -> None:
    """Not an endless wait: the reason says how often and what it said."""
    spec = managed(program(tmp_path / "bin", first="echo assertion failed in storage; exit 3"), start_timeout_s=6.0)

    async def story(box: Box) -> None:
        await box.reach("starting", "the process keeps exiting")
        assert await box.s.until(
            lambda s: any(move.event == "start_failed" for move in s.journal.history(BROKER)), 15.0
        )
        failed = next(move for move in box.s.journal.history(BROKER) if move.event == "start_failed")
        assert "it exited with code 3: assertion failed in storage" in failed.reason

    play(tmp_path, spec, story)


def test_what_an_agent_left_running_is_taken_over_or_ended(tmp_path: Path) -> None:
    """The next agent finds the same process; one whose config wants it stopped, or another log, ends it."""
    spec = managed(program(tmp_path / "bin"))

    async def leave(box: Box) -> int:
        await box.reach("idle")
        pid = await box.pid()
        assert pid is not None
        return pid

    async def lives(spec: BrokerSpec, then: Callable[[Box], Coroutine[Any, Any, None]], last: bool) -> None:
        box = Box(tmp_path)
        box.want(spec)
        await then(box)
        if last:
            await box.s.stop(8.0)
            await box.log.close()
            await box.processes.close()
        else:  # as after kill -9: nobody told anything to stop
            await (await box.processes.open()).close(leave_running=True)

    pids: list[int] = []

    async def first(box: Box) -> None:
        pids.append(await leave(box))

    async def second(box: Box) -> None:
        assert await leave(box) == pids[0]

    async def third(box: Box) -> None:
        await box.reach("stopped")
        assert await box.s.until(lambda s: not box.seen().running, 10.0)
        assert await box.pid() is None

    asyncio.run(lives(spec, first, last=False))
    asyncio.run(lives(spec, second, last=False))
    asyncio.run(lives(spec.model_copy(update={"desired_state": "stopped"}), third, last=True))


def test_an_agent_runs_it_for_its_flows_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """From the config to values in the namespace; when the agent has stopped, so has the process."""
    ports = managed("").managed
    assert ports is not None
    section = {**ports.model_dump(exclude={"cores", "memory_per_core"}), "binary": program(tmp_path / "bin")}
    text = f"internal: {{redpanda: {{managed: {json.dumps(section)}}}}}\n{config('count')}"
    (tmp_path / "config.yaml").write_text(text)

    async def main() -> None:
        agent = Agent(tmp_path / "config.yaml", data=tmp_path / "data", env={}, processes="builtin")
        assert agent.config_status().ok, agent.config_status().problems
        await agent.start()
        assert await agent.supervisor.until(lambda s: s.core.fact(BROKER).state == "idle", 30.0)
        while not (topics := await agent.broker.topics()):  # noqa: ASYNC110 - a process writes them
            await asyncio.sleep(0.1)
        assert [info.topic for info in topics] == ["umh.v1.acme._raw.count"]
        assert await agent.stop() == []

    asyncio.run(asyncio.wait_for(main(), 60))
    with socket.create_server(("127.0.0.1", ports.kafka_port)):
        pass


def test_another_config_restarts_it_and_the_built_in_log_ends_it(tmp_path: Path) -> None:
    """More cores are another command line; without `managed` nothing of the process is left."""
    spec = managed(program(tmp_path / "bin"))

    async def story(box: Box) -> None:
        await box.reach("idle")
        before = await box.pid()
        assert spec.managed is not None
        box.want(spec.model_copy(update={"managed": spec.managed.model_copy(update={"cores": 2})}))
        assert await box.s.until(lambda s: not box.seen().current, 10.0)
        await box.reach("idle")
        assert await box.pid() != before
        assert "smp 2, memory 2048M" in await box.said()
        box.want(BrokerSpec())
        assert await box.s.until(lambda s: box.seen().log == "the built-in log" and not box.seen().running, 15.0)
        assert (await box.processes.open()).names() == []

    play(tmp_path, spec, story)
