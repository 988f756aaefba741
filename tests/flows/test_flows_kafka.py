"""The flow components `kafka` and `kafka_franz`: what their fields may say, what they make of messages, and flows on the mock cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")

from tests.namespace.kafka_mock import COORDINATOR_NOT_AVAILABLE, NOT_LEADER, PRODUCE, Mock, mock

from setpoint.flows import FlowConfigError, FlowEngine
from setpoint.flows.component import MessageError, Msg
from setpoint.flows.config import parse
from setpoint.flows.ends.adapters import context
from setpoint.flows.inputs.kafka import Kafka as Input
from setpoint.flows.outputs.kafka import Kafka as Output
from setpoint.flows.outputs.kafka import KafkaFranz

GENERATE = {"generate": {"mapping": "root = {}"}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mock]:
    with mock() as one:
        yield one


def faults(**sections: Any) -> str:
    """What is said of a configuration that is not accepted."""
    with pytest.raises(FlowConfigError) as caught:
        parse({"input": GENERATE, "output": {"drop": {}}, **sections})
    return str(caught.value)


def output(kind: type[Output] = Output, **fields: Any) -> Output:
    return kind(Output.Fields(addresses=["127.0.0.1:1"], **{"topic": "t", **fields}), context("f"))


def test_the_keys_of_both_components_of_benthos_are_known() -> None:
    """`kafka` and `kafka_franz` name some fields differently; both spellings mean the same."""
    one = parse(
        {
            "input": {
                "kafka": {
                    "addresses": ["a:1", "b:2"],
                    "topics": ["x", "y"],
                    "consumer_group": "g",
                    "group": {"session_timeout": "7s"},
                    "sasl": {"mechanism": "PLAIN", "user": "u", "password": "p"},
                }
            },
            "output": {"drop": {}},
        }
    )
    other = parse(
        {
            "input": {
                "kafka_franz": {
                    "seed_brokers": ["a:1,b:2"],
                    "topics": "x,y",
                    "consumer_group": "g",
                    "session_timeout": "7s",
                    "sasl": [{"mechanism": "PLAIN", "username": "u", "password": "p"}],
                }
            },
            "output": {"drop": {}},
        }
    )
    assert one.input.fields == other.input.fields


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"input": {"kafka": {"addresses": ["a:1"], "topic": "x"}}}, "topics"),
        ({"input": {"kafka": {"topics": ["x"]}}}, "addresses"),
        ({"input": {"kafka": {"addresses": ["a:1"], "topics": ["x"], "sasl": {"mechanism": "KERBEROS"}}}}, "SCRAM-SHA-256"),
        ({"output": {"kafka": {"addresses": ["a:1"], "topic": "no spaces"}}}, "letters, digits"),
        ({"output": {"kafka": {"addresses": ["a:1"], "topic": "t", "ack_replicas": False}}}, "ack_replicas"),
        ({"output": {"kafka": {"addresses": ["a:1"], "topic": "t", "key": '${! ksuid() }'}}}, "cannot be evaluated"),
        ({"output": {"kafka": {"addresses": ["a:1"], "topic": "t", "metadata": {"include_patterns": ["("]}}}}, "regular expression"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_what_could(section: dict[str, Any], said: str) -> None:
    """Fields that are missing, unknown or impossible are named, with what is known in their place."""
    assert said in faults(**section)


def test_an_output_fills_in_what_the_message_says() -> None:
    """Topic, key, partition and time may come from the message; its meta become headers as asked for."""
    one = output(
        topic='${! meta("line") }.raw', key='${! json("id") }', partition='${! meta("p") }', timestamp_ms='${! json("at") }'
    )  # fmt: skip
    message = one.prepare(Msg({"id": 7, "at": 5}, {"line": "press", "p": "3", "secret_x": "1"}))
    assert (message.topic, message.key, message.partition, message.timestamp_ms) == ("press.raw", "7", 3, 5)
    assert json.loads(message.value or b"") == {"id": 7, "at": 5}
    assert message.headers == {"line": "press", "p": "3", "secret_x": "1"}
    some = output(metadata={"exclude_prefixes": ["secret_"]}, static_headers={"by": "us"})
    assert some.prepare(Msg(b"", {"line": "press", "secret_x": "1"})).headers == {"by": "us", "line": "press"}
    assert output(KafkaFranz).prepare(Msg(b"", {"line": "press"})).headers == {}
    named = output(KafkaFranz, metadata={"include_prefixes": ["li"], "include_patterns": ["_x$"]})
    assert named.prepare(Msg(b"", {"line": "press", "a_x": "1", "b": "2"})).headers == {"line": "press", "a_x": "1"}


@pytest.mark.parametrize(
    ("fields", "message", "why"),
    [
        ({"topic": '${! meta("t") }'}, Msg(b"", {"t": "a b"}), "letters, digits"),
        ({"topic": '${! meta("t") }'}, Msg(b"", {}), "no meta 't'"),
        ({"key": '${! json("k") }'}, Msg({"a": 1}, {}), "no 'k'"),
        ({"partition": '${! meta("p") }'}, Msg(b"", {"p": "first"}), "not a whole number"),
        ({"partition": "-2"}, Msg(b"", {}), "0 or more"),
        ({"max_msg_bytes": 1000}, Msg(b"x" * 1001, {}), "max_msg_bytes is 1000"),
    ],
)
def test_a_message_that_can_never_be_written_is_set_aside(fields: dict[str, Any], message: Msg, why: str) -> None:
    """The reason says what it lacks."""
    with pytest.raises(MessageError, match=why):
        output(**fields).prepare(message)


def test_a_tombstone_stays_one() -> None:
    """A deletion that was read is written as a deletion, not as an empty text."""
    assert output().prepare(Msg(b"", {"kafka_tombstone_message": "true"})).value is None
    assert output().prepare(Msg(b"", {"kafka_tombstone_message": "false"})).value == b""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other threads make it true
            await asyncio.sleep(0.01)


def run(scenario: Callable[[FlowEngine], Awaitable[None]]) -> None:
    async def within() -> None:
        engine = FlowEngine()
        try:
            await scenario(engine)
        finally:
            await engine.close()

    asyncio.run(within())


async def written(cluster: Mock, topic: str, payloads: list[bytes]) -> None:
    """Have these messages in the topic, by an output of ours."""
    one = Output(Output.Fields(addresses=[cluster.servers], topic=topic, key='${! meta("n") }'), context("f"))
    await one.connect()
    await one.write([one.prepare(Msg(payload, {"n": str(n)})) for n, payload in enumerate(payloads)])
    await one.close()


def test_a_flow_carries_messages_from_topic_to_topic(cluster: Mock) -> None:
    """All of them, once, with key and headers; meta say where each came from."""
    cluster.topic("carry-in", 3)
    cluster.topic("carry-out", 1)

    async def scenario(engine: FlowEngine) -> None:
        await written(cluster, "carry-in", [b"%d" % n for n in range(500)])
        where = {"addresses": [cluster.servers]}
        config = {
            "input": {"kafka": {**where, "topics": ["carry-in"], "consumer_group": "carry"}},
            "output": {"kafka": {**where, "topic": "carry-out", "key": '${! meta("kafka_key") }'}},
        }
        await engine.start("f", config)
        await until(lambda: (status := engine.status("f")) is not None and status.output_sent == 500)
        reader = Input(Input.Fields(addresses=[cluster.servers], topics=["carry-out"]), context("check"))
        await reader.connect()
        found: list[Msg] = []
        while len(found) < 500:
            found += await reader.read()
        await reader.close()
        assert sorted(int(msg.payload) for msg in found) == list(range(500))
        assert all(msg.meta["n"] == msg.meta["kafka_key"] == str(int(msg.payload)) for msg in found)

    run(scenario)


def test_what_was_not_acknowledged_comes_again(cluster: Mock) -> None:
    """A member that left goes on behind what was acknowledged, and reads the rest again."""
    cluster.topic("again", 1)

    async def within() -> None:
        await written(cluster, "again", [b"%d" % n for n in range(30)])
        fields = Input.Fields(
            addresses=[cluster.servers], topics=["again"], batching={"count": 10}, session_timeout="1s"
        )
        first = Input(fields, context("again"))
        await first.connect()
        assert [int(msg.payload) for msg in await first.read()] == list(range(10))
        await first.acknowledge()
        assert len(await first.read()) == 10
        await first.close()
        second = Input(fields, context("again"))
        await second.connect()
        assert [int(msg.payload) for msg in await second.read()] == list(range(10, 20))
        await second.close()

    asyncio.run(asyncio.wait_for(within(), 30))


def test_batches_are_acknowledged_from_the_oldest_on(cluster: Mock) -> None:
    """While others are out. Connected again, it goes on behind what it gave out; another member does behind what was acknowledged."""
    cluster.topic("oldest", 1)

    async def within() -> None:
        await written(cluster, "oldest", [b"%d" % n for n in range(40)])
        fields = Input.Fields(
            addresses=[cluster.servers], topics=["oldest"], batching={"count": 10}, session_timeout="1s"
        )
        first = Input(fields, context("oldest"))
        await first.connect()
        for _ in range(2):
            await first.read()
        await first.acknowledge()
        await first.connect()
        assert [int(msg.payload) for msg in await first.read()] == list(range(20, 30))
        await first.acknowledge()
        await first.close()
        second = Input(fields, context("oldest"))
        await second.connect()
        assert [int(msg.payload) for msg in await second.read()] == list(range(20, 30))
        await second.close()

    asyncio.run(asyncio.wait_for(within(), 30))


def test_a_read_that_is_cancelled_while_it_gathers_loses_nothing(cluster: Mock) -> None:
    """What has come is in the batch of the next read, whose period began with the first of it."""
    cluster.topic("cancelled", 1)

    async def within() -> None:
        await written(cluster, "cancelled", [b"1"])
        batching = {"count": 2, "period": "20s"}
        fields = Input.Fields(addresses=[cluster.servers], topics=["cancelled"], batching=batching)
        reader = Input(fields, context("cancelled"))
        await reader.connect()
        while not reader._left:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.1)
        await written(cluster, "cancelled", [b"2"])
        assert [msg.payload for msg in await reader.read()] == [b"1", b"2"]
        await reader.close()

    asyncio.run(asyncio.wait_for(within(), 30))


def test_batches_wait_for_more(cluster: Mock) -> None:
    """With a period a batch gathers what comes meanwhile, up to its count."""
    cluster.topic("gather", 1)

    async def within() -> None:
        await written(cluster, "gather", [b"1"])
        batching = {"count": 2, "period": "20s"}
        reader = Input(Input.Fields(addresses=[cluster.servers], topics=["gather"], batching=batching), context("g"))
        await reader.connect()
        reading = asyncio.create_task(reader.read())
        await written(cluster, "gather", [b"2"])
        assert [msg.payload for msg in await reading] == [b"1", b"2"]
        await reader.close()

    asyncio.run(asyncio.wait_for(within(), 30))


def test_topics_may_be_patterns(cluster: Mock) -> None:
    """All that match are read, from their beginning; others are not."""
    for topic in ("plant-1", "plant-2", "other-1"):
        cluster.topic(topic, 1)

    async def within() -> None:
        for topic in ("plant-1", "plant-2", "other-1"):
            await written(cluster, topic, [topic.encode()])
        fields = Input.Fields(addresses=[cluster.servers], topics=["plant-[0-9]+"], regexp_topics=True)
        reader = Input(fields, context("patterns"))
        await reader.connect()
        found: list[Msg] = []
        while len(found) < 2:
            found += await reader.read()
        assert sorted((msg.meta["kafka_topic"], msg.payload) for msg in found) == [
            ("plant-1", b"plant-1"),
            ("plant-2", b"plant-2"),
        ]
        await reader.close()

    asyncio.run(asyncio.wait_for(within(), 30))


def test_a_topic_that_is_not_there_is_a_reason(cluster: Mock) -> None:
    """The flow says which topic it misses, and finds it when it comes."""

    async def scenario(engine: FlowEngine) -> None:
        config = {
            "input": {"kafka": {"addresses": [cluster.servers], "topics": ["not-yet"]}},
            "output": {"drop": {}},
        }
        await engine.start("f", config)
        await until(lambda: "not-yet" in engine.status("f").last_error)  # type: ignore[union-attr]
        cluster.topic("not-yet")
        await written(cluster, "not-yet", [b"1"])
        await until(lambda: engine.status("f").output_sent == 1)  # type: ignore[union-attr]

    run(scenario)


def test_nobody_there_is_a_reason() -> None:
    """A flow whose cluster does not answer says where it asked and what the system said."""

    async def scenario(engine: FlowEngine) -> None:
        where = {"addresses": ["127.0.0.1:1"]}
        config = {"input": GENERATE, "output": {"kafka": {**where, "topic": "t"}}}
        await engine.start("f", config)
        await until(lambda: "127.0.0.1:1" in engine.status("f").last_error)  # type: ignore[union-attr]
        assert "Connection refused" in engine.status("f").last_error  # type: ignore[union-attr]

    run(scenario)


def test_errors_of_the_cluster_are_tried_again(cluster: Mock) -> None:
    """An election and a coordinator that is not ready cost time, not messages."""
    cluster.topic("retried", 1)
    cluster.answer_with(PRODUCE, NOT_LEADER, NOT_LEADER, COORDINATOR_NOT_AVAILABLE)

    async def within() -> None:
        await written(cluster, "retried", [b"%d" % n for n in range(5)])
        reader = Input(Input.Fields(addresses=[cluster.servers], topics=["retried"]), context("r"))
        await reader.connect()
        assert [int(msg.payload) for msg in await reader.read()] == list(range(5))
        await reader.close()

    asyncio.run(asyncio.wait_for(within(), 30))
