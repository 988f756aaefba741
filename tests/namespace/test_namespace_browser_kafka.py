"""The browser over a Kafka log: the same as over the built-in one."""

import asyncio
from collections.abc import Sequence

import pytest

from setpoint.namespace import Message
from setpoint.namespace.browser import Browser, Limits

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")

from tests.namespace.kafka_mock import mock

from setpoint.namespace.kafka.broker import KafkaBroker
from setpoint.namespace.kafka.client import Access


def test_it_begins_with_the_last_values_and_follows_what_others_write() -> None:
    """What stands in the log before counts; what another client publishes comes; each once."""

    async def story(servers: str) -> None:
        access = Access(servers=(servers,))
        async with KafkaBroker(access, topic="browsed") as broker, KafkaBroker(access, topic="browsed") as other:
            await other.publish(
                [Message("umh.v1.acme._raw.x", b"%d" % number, {"bridged_by": "a"}) for number in range(5)]
            )
            browser, took, told = Browser(broker), asyncio.Event(), 0

            def note(messages: Sequence[Message]) -> None:
                nonlocal told
                told += len(messages)
                took.set()

            browser.listen(note)
            browser.changed = took.set
            await browser.begin(Limits(history=3))
            while not browser.following:
                await took.wait()
                took.clear()
            await other.publish(
                [Message("umh.v1.acme._raw.x", b"5", {"bridged_by": "b"}), Message("umh.v1.acme._raw.y", b"6")]
            )
            while len(browser.index) < 2:
                await took.wait()
                took.clear()
            entry = browser.index.get("umh.v1.acme._raw.x")
            assert entry is not None
            assert (entry.payload, entry.count, entry.headers) == (b"5", 6, {"bridged_by": "b"})
            kept = [payload for _, payload in entry.history()]  # from where the index was complete
            assert kept == [b"3", b"4", b"5"][-len(kept) :]
            assert len(kept) >= 2
            await browser.end()

    with mock() as cluster:
        cluster.topic("browsed")
        asyncio.run(asyncio.wait_for(story(cluster.servers), 60))
