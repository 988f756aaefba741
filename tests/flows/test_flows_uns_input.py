"""The `uns` input: the namespace read by a group, on the real embedded broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from flows_plant import context, until

from setpoint.flows import FlowConfigError, FlowEngine
from setpoint.flows.inputs.uns import Uns
from setpoint.namespace import Message, encode_time_series
from setpoint.namespace.embedded import EmbeddedBroker


def config(target: Path, **uns: Any) -> dict[str, Any]:
    code = "msg.payload = {topic: msg.meta.umh_topic, value: msg.payload.value, by: msg.meta.bridged_by}; return msg;"
    return {
        "input": {"uns": uns},
        "pipeline": {"processors": [{"nodered_js": {"code": code}}]},
        "output": {"file": {"path": str(target)}},
    }


def reading(value: float, name: str = "speed") -> Message:
    return Message(f"umh.v1.acme.line._raw.{name}", encode_time_series(value, 1_700_000_000_000), {"bridged_by": "b"})


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def lines(target: Path) -> list[str]:
    return target.read_text().splitlines() if target.exists() else []


def test_matching_messages_flow_from_the_namespace_to_the_output(tmp_path: Path) -> None:
    """Topics select, payload and meta are there, in order."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "broker.sqlite") as broker:
            engine = FlowEngine(broker)
            await engine.start("w", config(tmp_path / "out", umh_topics=[r"umh\.v1\.acme\.line\._raw\.speed"]))
            await broker.publish([reading(1.0), reading(2.0, "torque"), reading(3.0)])
            await until(lambda: len(lines(tmp_path / "out")) == 2)
            assert lines(tmp_path / "out") == [
                '{"topic":"umh.v1.acme.line._raw.speed","value":1,"by":"b"}',
                '{"topic":"umh.v1.acme.line._raw.speed","value":3,"by":"b"}',
            ]
            await engine.close()

    play(story())


def test_a_group_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    """What was delivered is not read again, what came meanwhile is."""

    async def story() -> None:
        for expected, values in ((1, [1]), (4, [3, 4])):
            async with EmbeddedBroker(tmp_path / "broker.sqlite") as broker:
                engine = FlowEngine(broker)
                await broker.publish([reading(value) for value in values])
                await engine.start("w", config(tmp_path / "out", consumer_group="press"))
                await until(lambda expected=expected: len(lines(tmp_path / "out")) >= expected)
                await engine.close()
                await broker.publish([reading(values[-1] + 1)])
        assert [json.loads(line)["value"] for line in lines(tmp_path / "out")] == [1, 2, 3, 4]

    play(story())


def test_what_was_not_delivered_is_read_again(tmp_path: Path) -> None:
    """A flow that is cut off before its output took the batch has not committed it."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "broker.sqlite") as broker:
            engine = FlowEngine(broker)
            (tmp_path / "file").touch()
            blocked = tmp_path / "file" / "out"  # a file is no directory: this output never takes anything
            await broker.publish([reading(1.0)])
            await engine.start("w", config(blocked, consumer_group="press"))
            await asyncio.sleep(0.1)
            await engine.stop("w", timeout=0.1)
            await engine.start("w", config(tmp_path / "out", consumer_group="press"))
            await until(lambda: len(lines(tmp_path / "out")) == 1)
            await engine.close()

    play(story())


def test_batches_are_acknowledged_from_the_oldest_on(tmp_path: Path) -> None:
    """While others are out: what a group reads next begins behind the last that was acknowledged."""

    async def story() -> None:
        async with EmbeddedBroker(tmp_path / "broker.sqlite") as broker:
            source = Uns(Uns.Fields(consumer_group="g"), context(broker=broker))
            await source.connect()
            for value in (1, 2, 3):
                await broker.publish([reading(value)])
                assert len(await source.read()) == 1
            await source.acknowledge()
            await source.connect()
            again = await source.read()
            assert [json.loads(msg.payload)["value"] for msg in again] == [2, 3]
            for _ in range(3):  # the second and the third batch from before, and what came again of them
                await source.acknowledge()
            await source.connect()
            await broker.publish([reading(4)])
            assert [json.loads(msg.payload)["value"] for msg in await source.read()] == [4]
            await source.close()

    play(story())


def test_a_pattern_that_is_no_regular_expression_is_refused_by_name(tmp_path: Path) -> None:
    """At load, with the place."""
    with pytest.raises(FlowConfigError) as caught:
        FlowEngine(EmbeddedBroker(tmp_path / "b")).compile(config(tmp_path / "out", umh_topics=["umh.v1.(("]))
    assert caught.value.problems[0].path[:3] == ("input", "uns", "umh_topics")


def test_without_a_broker_such_a_flow_is_refused(tmp_path: Path) -> None:
    """Both ends are named."""
    with pytest.raises(FlowConfigError, match="there is no broker"):
        FlowEngine().compile(config(tmp_path / "out"))
