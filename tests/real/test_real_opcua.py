"""The `opcua` input and output in flows, against a server that is killed, frozen and started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("asyncua", reason="the client of OPC UA is not installed: pip install 'setpoint[opcua]'")

from tests.real.real_opcua import OpcuaServer, opcua_server

from setpoint.flows import FlowEngine, FlowStatus
from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.inputs.opcua import Opcua
from setpoint.flows.outputs.opcua import Opcua as OpcuaOutput

pytestmark = pytest.mark.real

LINE = "nsu=urn:setpoint:example:plant;s=Line"


@pytest.fixture
def server() -> Iterator[OpcuaServer]:
    with opcua_server() as made:
        yield made


def context(**more: Any) -> Context:
    given: dict[str, Any] = {
        "flow": "test", "bridged_by": "", "broker": None, "clock": time.time, "now": time.monotonic, "random": lambda: 0.5,
        "failed": lambda reason: None, "answered": lambda host, port: None,
    }  # fmt: skip
    return Context(**{**given, **more})


def source(server: OpcuaServer, **more: Any) -> dict[str, Any]:
    return {"endpoint": server.url, "nodeIDs": [LINE], "subscribeEnabled": True, **more}


def made(server: OpcuaServer, *, answered: Any = lambda host, port: None, **more: Any) -> Opcua:
    return Opcua(Opcua.Fields.model_validate(source(server, **more)), context(answered=answered))


async def until(engine: FlowEngine, fact: Any, *, within: float = 20.0) -> FlowStatus:
    async with asyncio.timeout(within):
        while not ((status := engine.status("line")) and fact(status)):  # noqa: ASYNC110  # a status tells nobody
            await asyncio.sleep(0.02)
    return status


@pytest.mark.parametrize("subscribe", [True, False])
def test_a_flow_subscribes_anew_after_the_server_was_killed_and_started(
    server: OpcuaServer, tmp_path: Path, subscribe: bool
) -> None:
    """It says that there is no connection, and why; then all tags come again, and their changes."""

    async def scenario() -> None:
        engine = FlowEngine()
        out = tmp_path / "out.jsonl"
        await engine.start(
            "line",
            {
                "input": {"opcua": source(server, subscribeEnabled=subscribe, pollRate=100)},
                "output": {"file": {"path": str(out)}},
            },
        )
        await until(engine, lambda status: status.output_sent >= 12)
        server.kill()
        lost = await until(engine, lambda status: not status.input_connected)
        assert "127.0.0.1" in lost.last_error
        server.start()
        back = await until(engine, lambda status: status.input_connected)
        await until(engine, lambda status: status.output_sent >= back.output_sent + 12)
        await engine.close()
        assert out.read_text().splitlines().count("[180.0,200.0,190.0]") >= 2  # it never changes: once a connection

    asyncio.run(scenario())


async def forever(reader: Opcua) -> None:
    async with asyncio.timeout(20):
        while True:
            await reader.read()


@pytest.mark.parametrize("subscribe", [True, False])
def test_a_server_that_hangs_is_found_out_in_time(server: OpcuaServer, subscribe: bool) -> None:
    """Within WATCH and TIMEOUT seconds, and closing does not wait for it."""
    from setpoint.flows.opcua_session import TIMEOUT, WATCH

    async def scenario() -> None:
        reader = made(server, subscribeEnabled=subscribe, pollRate=100)
        await reader.connect()
        await reader.read()
        server.freeze()
        began = time.monotonic()
        with pytest.raises(ConnectError, match="did not answer within 5 s"):
            await forever(reader)
        hung = time.monotonic() - began
        began = time.monotonic()
        await reader.close()
        assert (hung < WATCH + TIMEOUT + 1, time.monotonic() - began < 2) == (True, True)
        began = time.monotonic()
        with pytest.raises(ConnectError):
            await reader.connect()
        assert time.monotonic() - began < TIMEOUT + 2
        server.thaw()
        await reader.connect()
        assert len(await reader.read()) >= 1
        await reader.close()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(scenario())


def test_the_device_is_said_to_have_answered(server: OpcuaServer) -> None:
    """So that nobody else need probe it."""

    async def scenario() -> None:
        heard = []
        reader = made(server, answered=lambda host, port: heard.append((host, port)))
        await reader.connect()
        await reader.read()
        await reader.close()
        assert ("127.0.0.1", server.port) in heard

    asyncio.run(scenario())


def test_what_is_written_comes_back_by_subscription(server: OpcuaServer) -> None:
    """And a batch that the server did not take is written when it is back."""

    async def scenario() -> None:
        node = f"{LINE}.Press.Setpoint"
        mapping = {"nodeId": node, "valueFrom": "target", "dataType": "Double"}
        fields = OpcuaOutput.Fields.model_validate(
            {"endpoint": server.url, "nodeMappings": [mapping], "readBack": True}
        )
        sink = OpcuaOutput(fields, context())
        await sink.connect()
        reader = made(server, nodeIDs=[node])
        await reader.connect()
        assert [msg.payload for msg in await reader.read()] == [40.0]
        assert await sink.write([sink.prepare(Msg({"target": 41.5}, {}))]) > 0
        assert [msg.payload for msg in await reader.read()] == [41.5]
        server.kill()
        waiting = [sink.prepare(Msg({"target": 42.5}, {}))]
        with pytest.raises(ConnectError):
            await sink.write(waiting)
        server.start()
        await sink.connect()
        assert await sink.write(waiting) > 0
        await sink.close()
        await reader.close()

    asyncio.run(scenario())
