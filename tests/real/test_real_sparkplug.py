"""The `sparkplug_b` input against a real Mosquitto, with an edge node that this test plays."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho", reason="the client of MQTT is not installed: pip install 'setpoint[sparkplug]'")
pytest.importorskip("google.protobuf", reason="protobuf is not installed: pip install 'setpoint[sparkplug]'")

from tests.flows.flows_sparkplug import EdgeNode
from tests.real.real_mosquitto import Mosquitto, mosquitto, no_mosquitto

from setpoint.flows import FlowEngine
from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.inputs import sparkplug_b
from setpoint.flows.inputs.sparkplug_b import SparkplugB
from setpoint.flows.sparkplug_payload import decode
from setpoint.services.mqtt import Arrived, Link, Settings

pytestmark = pytest.mark.real

SPEED = {"name": "Line/Speed", "value": 1.5, "kind": "Double", "alias": 7}
COUNT = {"name": "Count", "value": 3, "kind": "Int32", "alias": 8}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if missing := no_mosquitto():
        pytest.skip(missing)
    with mosquitto(tmp_path / "mosquitto") as made:
        yield made


@asynccontextmanager
async def field(broker: Mosquitto, *topics: str) -> AsyncIterator[tuple[Any, list[Arrived]]]:
    """The network of the edge nodes: publishes, and hears these topics."""
    heard: list[Arrived] = []
    link = Link(Settings(host="127.0.0.1", port=broker.port), arrived=lambda link, arrived: heard.append(arrived))
    await link.connect()
    if topics:
        await link.subscribe(topics, 0)

    async def publish(message: tuple[str, bytes]) -> None:
        await link.publish(message[0], message[1], qos=1, retain=False)

    try:
        yield publish, heard
    finally:
        await link.close()


def host(broker: Mosquitto, faults: list[str], *, ahead: list[float] | None = None, **more: Any) -> SparkplugB:
    mqtt = {"urls": [broker.url], **more.pop("mqtt", {})}
    now = (lambda: time.monotonic() + ahead[0]) if ahead else time.monotonic
    context = Context("test", "", None, time.time, now, lambda: 0.5, faults.append, lambda host, port: None)
    return SparkplugB(SparkplugB.Fields.model_validate({"mqtt": mqtt, **more}), context)


async def got(source: SparkplugB, count: int) -> list[Msg]:
    """The next messages, acknowledged."""
    found: list[Msg] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += await source.read()
            await source.acknowledge()
    return found


async def until(fact: Any) -> None:
    async with asyncio.timeout(5):
        while not fact():  # noqa: ASYNC110  # facts of many kinds, none of which tells
            await asyncio.sleep(0.01)


def test_births_data_and_deaths_of_a_node_and_its_device(broker: Mosquitto) -> None:
    """Each metric is a message, by its name and type; births and deaths are one message more."""

    async def scenario() -> None:
        faults: list[str] = []
        source, edge = host(broker, faults), EdgeNode("plant", "edge 1")
        await source.connect()
        async with field(broker) as (publish, _):
            await publish(edge.birth(SPEED, {"name": "Empty", "kind": "String"}))
            await publish(edge.device_birth("press", COUNT))
            await publish(edge.data({"alias": 7, "value": 2.5, "timestamp": 1_700_000_000_500}))
            await publish(edge.data({"alias": 8, "value": 2**32 - 1, "is_historical": True}, device="press"))
            await publish(edge.device_death("press"))
            await publish(edge.death())
            found = await got(source, 10)
        assert [(msg.meta.get("spb_metric_name"), msg.payload) for msg in found] == [
            ("online", True), ("bdSeq", 1), ("Line/Speed", 1.5), ("Empty", None), ("online", True), ("Count", 3), ("Line/Speed", 2.5),
            ("Count", -1), ("online", False), ("online", False),
        ]  # fmt: skip
        assert found[6].meta == {
            "spb_group_id": "plant", "spb_edge_node_id": "edge 1", "spb_device_key": "plant/edge 1", "spb_message_type": "NDATA",
            "spb_sequence": "2", "spb_bdseq": "1", "spb_metric_name": "Line/Speed", "spb_datatype": "Double", "spb_alias": "7",
            "spb_timestamp": "1700000000500", "spb_is_historical": "false",
        }  # fmt: skip
        device = found[7].meta
        assert (device["spb_device_id"], device["spb_device_key"]) == ("press", "plant/edge 1/press")
        assert (device["spb_timestamp"], device["spb_is_historical"]) == ("1700000000000", "true")
        assert [(msg.meta["spb_message_type"], msg.meta["spb_quality"]) for msg in found[8:]] == [
            ("DDEATH", "STALE"),
            ("NDEATH", "STALE"),
        ]
        assert faults == []
        await source.close()

    asyncio.run(scenario())


def test_a_birth_is_asked_for_when_it_is_needed_and_not_all_the_time(broker: Mosquitto) -> None:
    """A host that comes late, and one that missed something: one request in ten seconds."""

    async def scenario() -> None:
        faults: list[str] = []
        ahead = [0.0]
        source, edge = host(broker, faults, ahead=ahead), EdgeNode()
        edge.birth(SPEED)
        await source.connect()
        async with field(broker, "spBv1.0/plant/NCMD/#") as (publish, heard):
            for _ in range(5):
                await publish(edge.data({"alias": 7, "value": 2.5}))
                await publish(edge.data({"name": "marker", "value": 1, "kind": "Int32"}))
                await got(source, 1)
            await until(lambda: heard)
            await asyncio.sleep(0.1)
            assert [message.topic for message in heard] == ["spBv1.0/plant/NCMD/edge"]
            (command,) = decode(heard[0].payload).metrics
            assert (command.name, command.datatype, command.boolean_value) == ("Node Control/Rebirth", 11, True)
            assert faults == ["plant/edge: 1 metrics of NDATA are in no birth certificate that is known"] * 5
            await publish(edge.birth(SPEED))
            await got(source, 3)
            ahead[0] = 11.0
            await publish(edge.data({"alias": 7, "value": 2.5}, step=2))
            await publish(edge.data({"name": "marker", "value": 1, "kind": "Int32"}))
            await got(source, 1)
            await until(lambda: len(heard) == 2)
        await source.close()

    asyncio.run(scenario())


def test_a_passive_host_only_listens(broker: Mosquitto) -> None:
    """It counts what it cannot read, and waits for the next birth."""

    async def scenario() -> None:
        faults: list[str] = []
        source, edge = host(broker, faults, role="secondary_passive", subscription={"groups": ["plant"]}), EdgeNode()
        edge.birth(SPEED)
        await source.connect()
        async with field(broker, "spBv1.0/+/NCMD/#") as (publish, heard):
            await publish(EdgeNode("other").birth(SPEED))
            await publish(edge.data({"alias": 7, "value": 2.5}))
            await publish(edge.birth(SPEED))
            assert [msg.payload for msg in await got(source, 3)] == [True, 2, 1.5]
            await asyncio.sleep(0.1)
            assert (heard, len(faults)) == ([], 1)
        await source.close()

    asyncio.run(scenario())


def test_a_primary_host_says_whether_it_is_there(broker: Mosquitto) -> None:
    """Online with the flow, offline by its goodbye, and by the broker's hand when it is gone without one."""

    async def scenario() -> None:
        def states(heard: list[Arrived]) -> list[bool]:
            return [json.loads(message.payload)["online"] for message in heard]

        source = host(broker, [], role="primary", identity={"edge_node_id": "main"}, mqtt={"keepalive": 1})
        async with field(broker, "spBv1.0/STATE/main") as (publish, heard):
            await source.connect()
            await until(lambda: states(heard) == [True])
            await publish(("spBv1.0/STATE/main", b'{"online":false,"timestamp":1}'))  # an old will that comes late
            await asyncio.gather(until(lambda: states(heard) == [True, False, True]), _reading_nothing(source))
            await source.close()
            await until(lambda: states(heard)[3:] == [False])
            await source.connect()
            await until(lambda: len(heard) == 5)
            source._link._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # without a goodbye
            await until(lambda: states(heard)[5:] == [False])
        await source.close()

    asyncio.run(scenario())


async def _reading_nothing(source: SparkplugB) -> None:
    assert await source.read() == []
    await source.acknowledge()
    assert await source.read() == []
    await source.acknowledge()


def test_after_the_broker_was_away_nothing_old_is_believed(broker: Mosquitto) -> None:
    """The node may have been born anew meanwhile, with other numbers: it is asked."""

    async def scenario() -> None:
        faults: list[str] = []
        source, edge = host(broker, faults), EdgeNode()
        await source.connect()
        async with field(broker) as (publish, _):
            await publish(edge.birth(SPEED))
            await got(source, 3)
        broker.stop()
        with pytest.raises(ConnectError):
            async with asyncio.timeout(5):
                await source.read()
        broker.start()
        await source.connect()
        async with field(broker, "spBv1.0/plant/NCMD/#") as (publish, heard):
            await publish(edge.data({"alias": 7, "value": 2.5}))
            await publish(edge.data({"name": "marker", "value": 1, "kind": "Int32"}))
            assert [msg.meta["spb_metric_name"] for msg in await got(source, 1)] == ["marker"]
            await until(lambda: heard)
        await source.close()

    asyncio.run(scenario())


def test_with_a_session_what_came_meanwhile_is_delivered(broker: Mosquitto) -> None:
    """The broker keeps it, so the births before are still believed; what was not acknowledged comes again."""

    async def scenario() -> None:
        faults: list[str] = []
        source, edge = host(broker, faults, mqtt={"client_id": "host", "clean_session": False}), EdgeNode()
        await source.connect()
        async with field(broker) as (publish, _):
            await publish(edge.birth(SPEED))
            await got(source, 3)
            for value in (2.5, 3.5, 4.5):
                await publish(edge.data({"alias": 7, "value": value}))
            found = await source.read()
            while len(found) < 3:
                found += await source.read()
            assert [msg.payload for msg in found] == [2.5, 3.5, 4.5]
            await source.close()
            await publish(edge.data({"alias": 7, "value": 5.5}))
            await source.connect()
            assert [msg.payload for msg in await got(source, 4)] == [2.5, 3.5, 4.5, 5.5]
        assert faults == []
        await source.close()

    asyncio.run(scenario())


def test_an_enemy_does_no_more_than_be_counted(broker: Mosquitto) -> None:
    """Payloads that are none, and values that are not of their type; the good metrics beside them are read."""

    async def scenario() -> None:
        faults: list[str] = []
        source, edge = host(broker, faults), EdgeNode()
        await source.connect()
        async with field(broker) as (publish, _):
            await publish((edge.topic("NBIRTH"), b"\xff" * 1000))
            await publish(
                edge.birth(
                    {"name": "bad", "value": "x", "kind": "Int32"},
                    {"name": "odd", "value": 1, "kind": "Unknown"},
                    SPEED,
                )
            )
            found = await got(source, 3)
        assert [msg.meta["spb_metric_name"] for msg in found] == ["online", "bdSeq", "Line/Speed"]
        assert [fault.partition(": ")[2][:20] for fault in faults] == [
            "the payload is not S",
            "bad is of the type I",
            "odd has the unknown ",
        ]
        await source.close()

    asyncio.run(scenario())


def test_a_flow_carries_metrics_into_a_file(broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one batch of a large birth."""
    monkeypatch.setattr(sparkplug_b, "BATCH", 100)

    async def scenario() -> None:
        engine, edge = FlowEngine(), EdgeNode()
        out = tmp_path / "out.jsonl"
        config = {"input": {"sparkplug_b": {"mqtt": {"urls": [broker.url]}}}, "output": {"file": {"path": str(out)}}}
        await engine.start("spb", config)

        def status() -> Any:
            return engine.status("spb")

        await until(lambda: status().input_connected)
        async with field(broker) as (publish, _):
            await publish(edge.birth(*({"name": f"m{n}", "value": n, "kind": "Int32", "alias": n} for n in range(500))))
            for n in range(500):
                await publish(edge.data({"alias": n, "value": n}))
            await until(lambda: status().output_sent == 1002)
        await engine.close()
        first, *rest = out.read_text().split()
        assert (first, sorted(map(int, rest))) == ("true", sorted([1, *range(500), *range(500)]))

    asyncio.run(scenario())
