"""The embedded broker does what any broker must, and what a list would do."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.conformance.broker_conformance import BrokerConformance

from setpoint.namespace import Broker, Message
from setpoint.namespace.embedded import EmbeddedBroker

BATCHES = st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=600)), min_size=1, max_size=5)


class TestEmbeddedBroker(BrokerConformance):
    """The conformance suite on `EmbeddedBroker`."""

    def broker(self, directory: Path) -> Broker:
        return EmbeddedBroker(directory / "log.db")


class LikeAList(RuleBasedStateMachine):
    """Whatever is published, read, committed, closed and trimmed: the broker behaves like a list with a few indices into it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.log: list[tuple[str, bytes]] = []
        self.committed = self.position = self.first = 0
        self.opened = False
        self.open()

    def open(self) -> None:
        self.broker = EmbeddedBroker(self.directory / "log.db", retention_bytes=500, commit_interval=0)
        self.loop.run_until_complete(self.broker.open())
        self.resubscribe()

    @rule()
    def resubscribe(self) -> None:
        self.subscription = self.broker.subscribe("g", ["[ab]"])
        self.position = self.committed

    @rule(batch=BATCHES)
    def publish(self, batch: list[tuple[str, bytes]]) -> None:
        last = self.loop.run_until_complete(self.broker.publish([Message(topic, payload) for topic, payload in batch]))
        self.log += batch
        assert last == len(self.log) - 1

    @rule(limit=st.integers(1, 7))
    def read(self, limit: int) -> None:
        received = self.loop.run_until_complete(self.subscription.read(limit, timeout=0))
        offsets = [message.offset for message in received]
        expected = [n for n in range(self.position, len(self.log)) if self.log[n][0] in "ab"]
        kept = [n for n in expected if n >= self.first]
        # What retention took may still come if it was found before, and nothing else is left out.
        assert offsets == (expected if offsets[:1] == expected[:1] else kept)[: len(offsets)]
        assert len(offsets) <= limit
        assert offsets or not kept
        assert [(m.topic, m.payload) for m in received] == [self.log[m.offset] for m in received]
        if received:
            self.position = received[-1].offset + 1

    @rule()
    def commit(self) -> None:
        if self.position:
            self.loop.run_until_complete(self.subscription.commit(self.position - 1))
            self.committed = self.position

    @rule()
    def trim(self) -> None:
        self.loop.run_until_complete(self.broker.trim())
        first = self.loop.run_until_complete(self.broker.stats()).first_offset
        assert first >= self.first
        self.first = first

    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.broker.close())
        self.open()

    @invariant()
    def last_values(self) -> None:
        expected = {topic: (payload, n) for n, (topic, payload) in enumerate(self.log)}
        topics = self.loop.run_until_complete(self.broker.topics())
        assert {info.topic: (info.payload, info.offset) for info in topics} == expected
        assert sum(info.count for info in topics) == len(self.log)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.broker.close())
        self.loop.close()
        shutil.rmtree(self.directory)


TestLikeAList = LikeAList.TestCase
TestLikeAList.settings = settings(max_examples=15, stateful_step_count=20)
