"""The driver `kafka` on the mock cluster of its client library: what any broker must do, and what happens in faults."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.broker_conformance import BrokerConformance

from setpoint.namespace import Broker, BrokerError, BrokerStats, Message

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")

from tests.namespace.kafka_mock import NOT_LEADER, PRODUCE, TIMED_OUT, Mock, mock

from setpoint.namespace.kafka.broker import KafkaBroker
from setpoint.namespace.kafka.client import Access


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mock]:
    with mock() as one:
        yield one


class TestKafkaBroker(BrokerConformance):
    """The conformance suite on `KafkaBroker`: a directory is a topic."""

    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: Mock) -> None:
        self.cluster = cluster

    def broker(self, directory: Path) -> Broker:
        topic = hashlib.sha256(str(directory).encode()).hexdigest()
        self.cluster.topic(topic)

        def measure() -> tuple[int, int, int]:
            disk = shutil.disk_usage(directory)
            return 1, disk.free, disk.total

        access = Access(servers=(self.cluster.servers,))
        return KafkaBroker(access, topic=topic, index=directory / "index.db", measure=measure)


TOPIC = "umh.v1.acme._raw.x"


def on(cluster: Mock, topic: str, scenario: Callable[[KafkaBroker], Awaitable[None]], **settings: Any) -> None:
    """Runs a scenario with an open broker on a topic of its own."""
    cluster.topic(topic)

    async def within() -> None:
        async with KafkaBroker(Access(servers=(cluster.servers,)), topic=topic, **settings) as broker:
            await asyncio.wait_for(scenario(broker), 30)

    asyncio.run(within())


async def when(broker: KafkaBroker, holds: Callable[[BrokerStats], bool]) -> BrokerStats:
    while not holds(stats := await broker.stats()):  # noqa: ASYNC110 - threads of the client make it so
        await asyncio.sleep(0.02)
    return stats


def test_nobody_there_is_a_reason() -> None:
    """Opening ends within its time and says where it asked and what the system said."""

    async def within() -> None:
        begun = time.monotonic()
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1: Connect to .* failed: Connection refused"):
            await KafkaBroker(Access(servers=("127.0.0.1:1",)), open_timeout=0.5).open()
        assert time.monotonic() - begun < 5

    asyncio.run(within())


def test_settings_that_cannot_be_are_said() -> None:
    """An unknown mechanism, a certificate that is not there: the reason, at once."""

    async def within(why: str, access: Access) -> None:
        with pytest.raises(BrokerError, match=why):
            await KafkaBroker(access).open()

    asyncio.run(within("there are PLAIN", Access(servers=("127.0.0.1:1",), mechanism="KERBEROS")))
    asyncio.run(within("/no/such cannot be read", Access(servers=("127.0.0.1:1",), tls=True, ca_file="/no/such")))


def test_a_log_of_another_shape_is_refused(cluster: Mock) -> None:
    """Several partitions have several orders; the namespace needs one."""
    cluster.topic("wide", 4)

    async def within() -> None:
        with pytest.raises(BrokerError, match="topic wide has 4 partitions; the namespace needs one"):
            await KafkaBroker(Access(servers=(cluster.servers,)), topic="wide").open()

    asyncio.run(within())


def test_a_broker_that_went_away_is_a_reason_until_it_is_back() -> None:
    """Publishing fails in its time and says why; the stats say it as well; when it is back everything goes on by itself."""

    async def scenario(broker: KafkaBroker) -> None:
        await broker.publish([Message(TOPIC, b"1")])
        reader = broker.subscribe("g")
        assert [one.payload for one in await reader.read()] == [b"1"]
        cluster.down()
        with pytest.raises(BrokerError, match=r"did not take the messages within 1 s: .*refused.* not certain"):
            await broker.publish([Message(TOPIC, b"2")])
        assert "refused" in (await when(broker, lambda stats: bool(stats.error))).error
        cluster.up()
        await when(broker, lambda stats: stats.ready)
        await broker.publish([Message(TOPIC, b"3")])
        assert [one.payload for one in await reader.read()][-1] == b"3"

    with mock() as cluster:
        on(cluster, "away", scenario, publish_timeout=1.0)


def test_repeats_of_the_client_are_written_once(cluster: Mock) -> None:
    """Answers that are errors are tried again without a message too many or too few."""

    async def scenario(broker: KafkaBroker) -> None:
        cluster.answer_with(PRODUCE, NOT_LEADER, TIMED_OUT)
        last = await broker.publish([Message(TOPIC, b"%d" % n) for n in range(100)])
        assert last == 99
        assert [int(one.payload) for one in await broker.subscribe("g").read()] == list(range(100))

    on(cluster, "repeats", scenario)


def test_what_others_write_is_read_as_far_as_it_can_be(cluster: Mock) -> None:
    """No key, a key and a header that are no text, a deletion: each is a message, and none stops the reader."""
    from confluent_kafka import Producer

    async def scenario(broker: KafkaBroker) -> None:
        other = Producer({"bootstrap.servers": cluster.servers})
        other.produce("others", b"1")
        other.produce("others", b"2", b"\xff", headers=[("h", b"\xfe"), ("h", b"last"), ("n", None)])
        other.produce("others", None, TOPIC)
        other.flush()
        reader, found = broker.subscribe("g", [".*"]), list[Message]()
        while len(found) < 3:
            found += await reader.read()
        assert [(one.topic, one.payload) for one in found] == [("", b"1"), ("\ufffd", b"2"), (TOPIC, b"")]
        assert found[1].headers == {"h": "last", "n": ""}

    on(cluster, "others", scenario)


def test_publishers_wait_in_line_while_too_much_is_under_way(cluster: Mock) -> None:
    """What is handed to the client is bounded; who waits can give up, and everybody else comes in turn."""

    async def scenario(broker: KafkaBroker) -> None:
        cluster.slow(100)
        try:
            waiting = [asyncio.create_task(broker.publish([Message(TOPIC, b"%d" % n + b" " * 900)])) for n in range(6)]
            await asyncio.sleep(0)
            waiting[3].cancel()
            offsets = await asyncio.gather(*waiting, return_exceptions=True)
        finally:
            cluster.slow(0)
        assert isinstance(offsets[3], asyncio.CancelledError)
        found: list[Message] = []
        reader = broker.subscribe("g")
        while len(found) < 5:
            found += await reader.read()
        assert [int(one.payload) for one in found] == [0, 1, 2, 4, 5]

    on(cluster, "line", scenario, queue_bytes=1500)


@pytest.mark.parametrize("damage", ["gone", "no database", "another log's"])
def test_last_values_are_made_again_from_the_log(cluster: Mock, tmp_path: Path, damage: str) -> None:
    """The file for them may be lost, damaged or another log's: what the log has is shown all the same."""
    index, topic = tmp_path / "index.db", f"again-{damage.replace(' ', '-')[:5]}"

    async def write(broker: KafkaBroker) -> None:
        await broker.publish([Message(TOPIC, b"1"), Message(TOPIC, b"2")])
        await broker.topics()

    async def look(broker: KafkaBroker) -> None:
        assert [(info.payload, info.count) for info in await broker.topics()] == [(b"2", 2)]

    on(cluster, topic, write, index=index)
    if damage == "gone":
        index.unlink()
    elif damage == "no database":
        index.write_bytes(b"x" * 5000)
    else:
        index.unlink()
        on(cluster, f"{topic}-other", write, index=index)
    on(cluster, topic, look, index=index)
