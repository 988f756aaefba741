"""An open Kafka log: all that exists between the opening and the closing of a `KafkaBroker`.

Four clients share the work, whatever the number of groups: one publishes (`writer`), one follows the end of the log and feeds the
tail that groups read (`feed`, `tail`), one reads for those that are behind (`reader`), and one asks and commits where
groups stand (`groups`). The last values are read along (`index`). The session keeps house: it asks the cluster every two
seconds how far the log reaches, which also tells whether it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from setpoint.namespace import records
from setpoint.namespace.broker import BrokerError, BrokerStats, GroupInfo, Message, TopicInfo
from setpoint.namespace.kafka.client import Access, log
from setpoint.namespace.kafka.feed import Feed, consumer
from setpoint.namespace.kafka.groups import KEEP_EVERY, KafkaGroups
from setpoint.namespace.kafka.reader import KafkaReader, Layout, namespace_messages
from setpoint.namespace.kafka.subscription import KafkaSubscription
from setpoint.namespace.kafka.tail import KafkaTail
from setpoint.namespace.kafka.writer import UNKNOWN_OFFSET, Outgoing, Writer
from setpoint.namespace.lane import Lane
from setpoint.namespace.topic import TopicFilter

if TYPE_CHECKING:
    from setpoint.namespace.kafka.index import KafkaIndex

ASK_EVERY: Final = 2.0
ASK_WITHIN: Final = 5.0
AGAIN: Final = 1.0
FLUSH_EVERY: Final = 5.0
INDEXED_WITHIN: Final = 10.0
"""Seconds for which somebody who asks for the last values waits until they are complete."""
CLOSE_WITHIN: Final = 10.0


Measure = Callable[[], tuple[int, int, int]]
"""Gives the bytes of the log, and the free and all bytes of the disk it is on. May block for a moment."""


class Parts:
    """What is opened in the reader's lane before a session can begin."""

    __slots__ = ("groups", "index", "layout", "reader")

    def __init__(self, reader: KafkaReader, layout: Layout, groups: KafkaGroups, index: KafkaIndex) -> None:
        self.reader, self.layout, self.groups, self.index = reader, layout, groups, index

    def close(self) -> None:
        """Lets go of everything. What the index could not write is read from the log again."""
        with contextlib.suppress(BrokerError):
            self.index.close()
        self.reader.close()


class KafkaSession:
    """Made by `KafkaBroker.open`, in the event loop it then belongs to."""

    def __init__(
        self,
        parts: Parts,
        reading: Lane,
        *,
        access: Access,
        topic: str,
        limits: dict[str, Any],
        measure: Measure | None,
    ) -> None:
        self._access, self._topic = access, topic
        self._parts, self._reader, self._index = parts, parts.reader, parts.index
        self._groups = parts.groups
        self._reading, self._indexing = reading, Lane("setpoint-kafka-index")
        self.tail = KafkaTail(parts.layout.end)
        self.first = parts.layout.first
        self._acknowledged = parts.layout.end
        self._faults = parts.reader.faults
        self._measure, self._sizes = measure, (0, 0, 0)
        self._writer = Writer(access, **limits)
        self.bytes_in = self.bytes_out = self.messages_in = self.messages_out = 0
        self._subscriptions: dict[str, KafkaSubscription] = {}
        self._skipped: dict[str, int] = {}
        self._fault = self._follow_fault = self._index_fault = ""
        self._grown, self._indexed = asyncio.Event(), asyncio.Event()
        self._feed: Feed[list[Message]] | None = None
        loop = asyncio.get_running_loop()
        work = (self._follow(), self._keep_index(), self._keep_house())
        self._tasks = [loop.create_task(one) for one in work]

    @property
    def end(self) -> int:
        """The offset behind the newest message that is known of."""
        return max(self.tail.end, self._acknowledged)

    async def publish(self, messages: Sequence[Message]) -> int:
        """Writes them; the offset of the last. Raises `BrokerError`."""
        packed = records.batches(messages)  # refuses what is not acceptable
        topic = self._topic
        ready = [Outgoing(topic, one.payload, one.topic, 0, one.timestamp_ms, {**one.headers}) for one in messages]
        last = await self._writer.send(ready, sum([len(batch.data) for batch in packed]))
        if last == UNKNOWN_OFFSET:
            last = (await self._reading.run(self._reader.watermarks))[1] - 1
        self._acknowledged = max(self._acknowledged, last + 1)
        self.messages_in += len(messages)
        self.bytes_in += sum([batch.size for batch in packed])
        return last

    def subscribe(self, group: str, wanted: TopicFilter, *, latest: bool) -> KafkaSubscription:
        """The new and only subscription of `group`."""
        subscription = KafkaSubscription(self, group, wanted, self.end if latest else None)
        if before := self._subscriptions.get(group):
            before.end("a newer subscription has taken over the group")
            self.forget(before)
        self._subscriptions[group] = subscription
        return subscription

    def forget(self, subscription: KafkaSubscription) -> None:
        """Takes a subscription that ended off the list; what it missed stays counted for its group."""
        if self._subscriptions.get(subscription.group) is subscription:
            del self._subscriptions[subscription.group]
            self._skipped[subscription.group] = self._skipped.get(subscription.group, 0) + subscription.skipped

    async def locate(self, group: str, latest: int | None) -> int:
        """Where the group goes on. Raises `BrokerError`."""
        found = await self._groups.position(group)
        if found is not None and found > self.end:
            log.warning("group %s stood at %d, and the log ends at %d: it begins anew", group, found, self.end)
            return self.first
        if found is not None:
            return found
        return self.first if latest is None else latest

    async def commit(self, group: str, position: int) -> None:
        """The group goes on there. Raises `BrokerError`."""
        await self._groups.commit(group, position)

    async def fetch(self, position: int, limit: int) -> tuple[list[Message], int, int]:
        """Messages from the log itself, where to go on, and how many are kept no more. Raises `BrokerError`."""
        return await self._reading.run(self._reader.fetch, position, limit)

    def silent(self, otherwise: str) -> str:
        """Why nothing comes."""
        return self._fault or self._follow_fault or self._faults.because(otherwise)

    async def topics(self, contains: str) -> list[TopicInfo]:
        """The last values, complete up to now. Raises `BrokerError` while the log is still being read for them."""
        target = self.end
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INDEXED_WITHIN):
                while self._index.position < target:
                    self._indexed.clear()
                    await self._indexed.wait()
        if (position := self._index.position) < target:
            why = self._index_fault or self.silent("ask again")
            raise BrokerError(f"the last values are complete up to offset {position} of {target - 1}: {why}")
        return await self._indexing.run(self._index.topics, contains)

    async def stats(self) -> BrokerStats:
        """How it is going, as of the last time that the cluster answered."""
        fault = self._fault or self._follow_fault
        size, free, total = self._sizes
        return BrokerStats(
            ready=not fault,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            messages_in=self.messages_in,
            messages_out=self.messages_out,
            first_offset=self.first,
            last_offset=self.end - 1,
            topics=self._index.topics_known,
            size_bytes=size,
            disk_free_bytes=free,
            disk_total_bytes=total,
            error=fault or self._index_fault,
            groups=self._lags(),
        )

    def _lags(self) -> tuple[GroupInfo, ...]:
        reading = {group: one.position for group, one in self._subscriptions.items() if one.position >= 0}
        return tuple(
            GroupInfo(group, position, max(0, self.end - position), self._skipped_by(group))
            for group, position in sorted({**reading, **self._groups.positions}.items())
        )

    def _skipped_by(self, group: str) -> int:
        current = self._subscriptions.get(group)
        return self._skipped.get(group, 0) + (current.skipped if current else 0)

    async def _follow(self) -> None:
        """Reads along at the end of the log, for ever."""
        while True:
            try:
                self._feed = self._feed_from(self.tail.end)
                while True:
                    self._take(await self._feed.get())
            except BrokerError as fault:
                self._follow_fault = str(fault)
                log.warning("%s: %s", self._topic, fault)
            if self._feed is not None:
                await self._feed.close(CLOSE_WITHIN)
            await asyncio.sleep(AGAIN)
            with contextlib.suppress(BrokerError):
                _, end = await self._reading.run(self._reader.watermarks)
                self._cut_back(end)
                self._follow_fault = ""

    def _feed_from(self, position: int) -> Feed[list[Message]]:
        from confluent_kafka import TopicPartition

        settings = {
            "group.id": "setpoint-follower",  # never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
        source = consumer(self._access, self._faults, settings)
        source.assign([TopicPartition(self._topic, 0, position)])
        return Feed(source, namespace_messages, name="setpoint-kafka-follower")

    def _take(self, messages: list[Message]) -> None:
        self.tail.add(messages)
        self._grown.set()
        for subscription in self._subscriptions.values():
            subscription.wake()

    def _cut_back(self, end: int) -> None:
        """The log may have been made anew, or its end lost: go on from what is there."""
        if end >= self.tail.end:
            return
        log.warning(
            "%s ended at %d and ends at %d now: it is read again from its beginning", self._topic, self.tail.end, end
        )
        self.tail = KafkaTail(end)
        self._acknowledged = end
        self._groups.positions = {group: min(at, end) for group, at in self._groups.positions.items()}
        for subscription in self._subscriptions.values():
            subscription.cut_back(end)

    async def _keep_index(self) -> None:
        """Reads along for the last values, from where they are complete."""
        while True:
            position, tail = self._index.position, self.tail
            try:
                if position < tail.first:
                    messages, position, _ = await self.fetch(position, 5000)
                elif position < tail.end:
                    messages, position = tail.read(position)
                else:
                    self._grown.clear()
                    await self._grown.wait()
                    continue
                await self._indexing.run(self._index.add, messages, position)
                self._index_fault = ""
            except BrokerError as fault:
                self._index_fault = str(fault)
                await asyncio.sleep(AGAIN)
            self._indexed.set()

    async def _keep_house(self) -> None:
        loop = asyncio.get_running_loop()
        flushed = kept = loop.time()
        while True:
            try:
                if self._measure is not None:
                    self._sizes = await self._indexing.run(self._measure)
                self.first, end = await self._reading.run(self._reader.watermarks, ASK_WITHIN)
                self._acknowledged = max(self._acknowledged, end)
                self._fault = ""
                if loop.time() - kept >= KEEP_EVERY:
                    await self._groups.keep()
                    kept = loop.time()
            except (BrokerError, OSError) as fault:
                self._fault = str(fault)
            await asyncio.sleep(ASK_EVERY)
            if loop.time() - flushed >= FLUSH_EVERY:
                flushed = loop.time()
                with contextlib.suppress(BrokerError):  # the next batch, or the next flush, says what is the matter
                    await self._indexing.run(self._index.flush)

    async def close(self) -> None:
        """Ends everything within a bounded time. What hangs for longer is let go of when it answers."""
        ends = asyncio.get_running_loop().time() + CLOSE_WITHIN
        for task in self._tasks:
            task.cancel()
        for subscription in list(self._subscriptions.values()):
            subscription.end("the broker is closed")
        await self._writer.close(_left(ends) / 2)
        if self._feed is not None:
            await self._feed.close(_left(ends))
        await asyncio.wait({self._indexing.run(_nothing)}, timeout=_left(ends))
        await asyncio.wait({self._reading.run(self._parts.close)}, timeout=_left(ends))
        self._indexing.stop()
        self._reading.stop()


def _left(ends: float) -> float:
    return max(0.0, ends - asyncio.get_running_loop().time())


def _nothing() -> None:
    pass
