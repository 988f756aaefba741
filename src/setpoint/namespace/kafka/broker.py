"""The namespace on a Kafka log: Apache Kafka, Redpanda, or whatever speaks their protocol (``pip install 'setpoint[kafka]'``).

One topic, `umh.messages`, carries all messages, in one partition, so that there is one order and one offset; the key of a message is its
topic in the namespace, its headers are the message's. That is the layout other programs of the unified namespace use, and they may write
and read the same log. The topic is made when it is not there.

**What is as in the embedded log**: what was published is written on all replicas in sync before the publisher goes on; groups resume after
their last commit; the newest subscription of a group, in this process, is the only one. **What differs**: others write to the same log, so
the messages of a publish stay in order and may have others' between them; a publish that fails may be written in part, and whoever tries
again may write messages twice; retention is the topic's own; a group is not joined, so it must be read by one process alone; of the disk
that the log is on, a client knows only what `measure` tells it.

The last values of topics are kept in a small database of one's own (`index`): a log that others have filled is read once from its
beginning for them, and until that is done asking for them says how far it is.

**What happens in faults.** The client connects again by itself, for ever. While it is not connected, publishing waits, fails after
`publish_timeout` seconds with the reason, and shows in the stats.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from setpoint.namespace.broker import EVERYTHING, BrokerError, BrokerStats, Message, TopicInfo
from setpoint.namespace.kafka.client import LIBRARY, Access, failure
from setpoint.namespace.kafka.groups import KafkaGroups
from setpoint.namespace.kafka.reader import KafkaReader
from setpoint.namespace.kafka.session import KafkaSession, Measure, Parts
from setpoint.namespace.kafka.subscription import KafkaSubscription
from setpoint.namespace.kafka.writer import MAX_MESSAGE_BYTES
from setpoint.namespace.lane import Lane
from setpoint.namespace.topic import TopicFilter

TOPIC: Final = "umh.messages"


class KafkaBroker:
    """A `Broker` on the cluster that `access` says. Belongs to the event loop it was opened in; also usable with ``async with``.

    `index` is the file for the last values (None: in memory, made anew at each start). A topic that is not there is made with
    `retention_ms` (0: no limit) and as many replicas as the cluster makes by default. At most `queue_bytes` are under way to the cluster;
    further publishers wait in line. Opening takes at most `open_timeout`, publishing at most `publish_timeout` seconds. `measure` is asked
    for the figures of the disk, where somebody knows them: Redpanda's metrics, a data directory on this machine.
    """

    def __init__(
        self,
        access: Access,
        *,
        topic: str = TOPIC,
        index: str | os.PathLike[str] | None = None,
        retention_ms: int = 604_800_000,
        queue_bytes: int = 16 * 1024 * 1024,
        open_timeout: float = 10.0,
        publish_timeout: float = 25.0,
        measure: Measure | None = None,
    ) -> None:
        self.access, self.topic = access, topic
        self._index = None if index is None else Path(index)
        self._retention_ms, self._open_timeout = retention_ms, open_timeout
        self._start = partial(
            KafkaSession,
            access=access,
            topic=topic,
            limits={"queue_bytes": queue_bytes, "publish_timeout": publish_timeout},
            measure=measure,
        )
        self._session: KafkaSession | None = None
        self._changing = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Finds the log, or makes it. Raises `BrokerError` where the cluster does not answer, refuses us, or has a log of another shape."""
        async with self._changing:
            if self._session is not None:
                return
            reading = Lane("setpoint-kafka-reader")
            opening = reading.run(self._parts)
            try:
                parts = await asyncio.shield(opening)
            except asyncio.CancelledError:
                opening.add_done_callback(_discard)
                reading.stop()
                raise
            except BaseException:
                reading.stop()
                raise
            self._session = self._start(parts, reading)

    def _parts(self) -> Parts:
        """What blocks while a log is opened."""
        try:
            reader = KafkaReader(self.access, self.topic)
        except ModuleNotFoundError as error:
            raise BrokerError(LIBRARY) from error
        try:
            groups = KafkaGroups(self.access, self.topic, reader.faults)
            layout = reader.layout(self._open_timeout)
            if not layout.partitions:
                self._create(groups)
                layout = reader.layout(self._open_timeout, made=True)
            if layout.partitions != 1:
                raise BrokerError(
                    f"topic {self.topic} has {layout.partitions} partitions; the namespace needs one, whose offsets are its order: "
                    "use another topic, or make this one anew"
                )
            from setpoint.namespace.kafka.index import KafkaIndex

            name = f"{layout.cluster}/{self.topic}"
            index = KafkaIndex(self._index, log_name=name, first=layout.first, end=layout.end)
            return Parts(reader, layout, groups, index)
        except BaseException:
            reader.close()
            raise

    def _create(self, groups: KafkaGroups) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.cimpl import NewTopic

        config = {"retention.ms": str(self._retention_ms or -1), "max.message.bytes": str(MAX_MESSAGE_BYTES)}
        topic = NewTopic(self.topic, num_partitions=1, config=config)
        try:
            groups.admin.create_topics([topic], request_timeout=self._open_timeout)[self.topic].result()
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":  # somebody else was faster
                raise BrokerError(f"topic {self.topic} is not there and cannot be made: {failure(error)}") from error

    async def close(self) -> None:
        """See `Broker.close`. Takes some seconds at most, however the cluster does; cancelling it does not stop it."""
        if self._closing is None or self._closing.done():
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        async with self._changing:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def publish(self, messages: Sequence[Message]) -> int:
        """See `Broker.publish`, and above for what differs. Of no messages: the last offset there is."""
        session = self._opened()
        return await session.publish(messages) if messages else session.end - 1

    def subscribe(
        self, group: str, topics: Sequence[str] = EVERYTHING, *, start: Literal["earliest", "latest"] = "earliest"
    ) -> KafkaSubscription:
        """See `Broker.subscribe`."""
        return self._opened().subscribe(group, TopicFilter(topics), latest=start == "latest")

    async def topics(self, contains: str = "") -> list[TopicInfo]:
        """See `Broker.topics`. Raises `BrokerError` while the log is still being read for them."""
        return await self._opened().topics(contains)

    async def stats(self) -> BrokerStats:
        """See `Broker.stats`; without `measure` the figures of the disk are 0: unknown. All zero while the broker is not open."""
        return await self._session.stats() if self._session else BrokerStats()

    def _opened(self) -> KafkaSession:
        if self._session is None:
            raise BrokerError(f"the log {self.topic} on {self.access.name} is not open; await open() first")
        return self._session

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _discard(opening: asyncio.Future[Parts]) -> None:
    """Closes what nobody waits for any more."""
    if not opening.cancelled() and not opening.exception():
        opening.result().close()
