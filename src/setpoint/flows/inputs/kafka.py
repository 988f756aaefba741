"""`kafka`: reads topics of a Kafka cluster as a member of a group.

Fields as documented for Benthos' `kafka` and `kafka_franz` (`setpoint.flows.kafka` has those of the connection): `topics`, or patterns of
them with `regexp_topics`; `consumer_group` (default: the flow's name); `start_from_oldest`, for a group that has not read before;
`commit_period`; `session_timeout` and `heartbeat_interval`, also within `group`; `instance_id`, with which a flow that was killed takes its
partitions back at once instead of after `session_timeout`; `batching`. Meta are the headers, and `kafka_topic`, `kafka_partition`,
`kafka_offset`, `kafka_key`, `kafka_timestamp_ms`, `kafka_timestamp_unix` and `kafka_tombstone_message`.

**At least once.** An offset is committed after the flow has delivered what it stands for, within `commit_period`; what was read and not
committed when the flow dies, or when its partitions go to another member, is read again. A slow flow makes the cluster wait; its member
stays in the group meanwhile.

**Connections.** When no broker answers any more, the connection counts as lost, with the client's reason, and the flow connects again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from setpoint.flows.component import ConnectError, Context, Duration, Msg
from setpoint.flows.kafka import CONNECT_WITHIN, Batching, KafkaFields, listed
from setpoint.namespace import BrokerError
from setpoint.namespace.kafka.client import LIBRARY, Faults, persist
from setpoint.namespace.kafka.feed import Feed, consumer
from setpoint.namespace.kafka.reader import text
from setpoint.services.blocking import in_thread

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition
    from confluent_kafka import Message as Raw

CLOSE_WITHIN: Final = 2.0
Place = tuple[str, int, int]
"""Topic, partition and offset of a message."""
Batch = list[tuple[Msg, Place]]


class Kafka:
    """Reads as one member of a group."""

    resumes = True

    class Fields(KafkaFields):
        topics: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(min_length=1)
        regexp_topics: bool = False
        consumer_group: str = ""
        instance_id: str = ""
        start_from_oldest: bool = True
        commit_period: Duration = Field(default=1.0, gt=0, le=3600)
        session_timeout: Duration = Field(default=10.0, gt=0)
        heartbeat_interval: Duration = Field(default=3.0, gt=0)
        transaction_isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
        batching: Batching = Batching()
        auto_replay_nacks: Literal[True] = True

        @model_validator(mode="before")
        @classmethod
        def _flat(cls, given: Any) -> Any:
            """What Benthos' `kafka` has within `group` stands beside it in `kafka_franz`."""
            if not isinstance(given, dict) or not isinstance(given.get("group"), dict):
                return given
            rest = {name: value for name, value in given.items() if name != "group"}
            return {**given["group"], **rest}

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._group = fields.consumer_group or context.flow
        self._faults = Faults()
        self._feed: Feed[Batch] | None = None
        self._left: Batch = []
        self._ends: float | None = None
        self._out: deque[dict[tuple[str, int], int]] = deque()
        self._came_to: dict[tuple[str, int], int] = {}

    async def connect(self) -> None:
        await self.close()
        self._faults = Faults()
        try:
            source = consumer(self._fields.access(), self._faults, self._settings())
        except ModuleNotFoundError as error:
            raise RuntimeError(LIBRARY) from error
        except BrokerError as error:
            raise ConnectError(str(error)) from error
        came_to = dict(self._came_to)
        try:
            await in_thread(partial(self._join, source, came_to))
        except BrokerError as error:
            raise ConnectError(str(error)) from error
        self._feed = Feed(source, taken, name="setpoint-kafka-input", came_to=came_to)

    def _settings(self) -> dict[str, Any]:
        fields = self._fields
        named = {"group.instance.id": fields.instance_id} if fields.instance_id else {}
        return {
            **named,
            "group.id": self._group,
            "auto.offset.reset": "earliest" if fields.start_from_oldest else "latest",
            "enable.auto.commit": True,  # of what was stored, which is what was delivered
            "auto.commit.interval.ms": int(fields.commit_period * 1000),
            "session.timeout.ms": int(fields.session_timeout * 1000),
            "heartbeat.interval.ms": int(fields.heartbeat_interval * 1000),
            "isolation.level": fields.transaction_isolation_level,
            "topic.metadata.refresh.interval.ms": 30_000,
        }

    def _join(self, source: Consumer, came_to: dict[tuple[str, int], int]) -> None:
        """Blocks until the cluster answers."""
        ask = partial(source.list_topics, timeout=1.0)
        try:
            persist(ask, source, access=self._fields.access(), faults=self._faults, within=CONNECT_WITHIN)
            prefix = "^" if self._fields.regexp_topics else ""  # what makes a pattern of a name for the client
            topics = [topic if topic.startswith("^") else f"{prefix}{topic}" for topic in self._fields.topics]
            source.subscribe(topics, on_assign=partial(_go_on, came_to))
        except BaseException:
            source.close()
            raise

    async def read(self) -> list[Msg]:
        """The next messages; waits for the first, and `batching.period` for more. Cancelling it loses nothing."""
        if not self._left:
            self._left = await self._next(None)
        policy = self._fields.batching
        if policy.period:
            await self._gather(policy)
        count = policy.count or len(self._left)
        batch, self._left = self._left[:count], self._left[count:]
        last = {(topic, partition): offset for _, (topic, partition, offset) in batch}
        self._out.append(last)
        self._came_to.update(last)
        return [msg for msg, _ in batch]

    async def _gather(self, policy: Batching) -> None:
        """Waits for more until there is enough, or the period is over that began with the first."""
        self._ends = self._ends or asyncio.get_running_loop().time() + policy.period
        count, bytes_ = policy.count or 1000, policy.byte_size or float("inf")
        while len(self._left) < count and sum(len(msg.payload) for msg, _ in self._left) < bytes_:
            more = await self._next(self._ends)
            if not more:
                break
            self._left += more
        self._ends = None

    async def _next(self, ends: float | None) -> Batch:
        """What came; nothing when `ends` (loop time) passes first. Raises `ConnectError` when no broker is there any more."""
        if self._feed is None:
            raise ConnectError("not connected")
        seconds = None if ends is None else ends - asyncio.get_running_loop().time()
        try:
            return await self._feed.get_within(seconds, self._faults) or []
        except BrokerError as error:
            raise ConnectError(str(error)) from error

    async def acknowledge(self) -> None:
        """The oldest batch may be committed, as far as its partitions are still ours."""
        last = self._out.popleft()
        if self._feed is not None:
            self._feed.soon(partial(_store, last))

    async def close(self) -> None:
        feed, self._feed = self._feed, None
        self._left, self._ends = [], None
        if feed is not None:
            await feed.close(CLOSE_WITHIN)


def _go_on(came_to: dict[tuple[str, int], int], source: Consumer, parts: list[TopicPartition]) -> None:
    """Begins behind what came already: it is with the flow, delivered or to be, and only not committed. Called in the feed's thread.

    A broker that restarts forgets its members; each gets its partitions anew, from the last commit that reached the broker.
    """
    from confluent_kafka import KafkaException

    if not any((part.topic, part.partition) in came_to for part in parts):
        return  # the client begins where the group stands
    with suppress(KafkaException):  # or there as well
        placed = source.committed(parts, timeout=CONNECT_WITHIN)
        for part in placed:
            if (last := came_to.get((part.topic, part.partition))) is not None:
                part.offset = max(part.offset, last + 1)
        source.assign(placed)


def _store(hand: dict[tuple[str, int], int], source: Consumer) -> None:
    """Has these offsets committed with the next commit; one of a partition that another member has by now is read again there."""
    from confluent_kafka import KafkaException, TopicPartition

    for (topic, partition), offset in hand.items():
        with suppress(KafkaException):
            source.store_offsets(offsets=[TopicPartition(topic, partition, offset + 1)])


def taken(raw: Sequence[Raw]) -> Batch:
    """The messages as flows have them, with their places."""
    return [_taken(one) for one in raw]


def _taken(raw: Raw) -> tuple[Msg, Place]:
    value, key, headers = raw.value(), raw.key(), raw.headers()
    topic, partition, offset, at = raw.topic() or "", raw.partition() or 0, raw.offset() or 0, raw.timestamp()[1]
    meta = {name: text(found) for name, found in headers} if isinstance(headers, list) else {}
    meta["kafka_topic"] = topic
    meta["kafka_partition"] = str(partition)
    meta["kafka_offset"] = str(offset)
    meta["kafka_timestamp_ms"] = str(at)
    meta["kafka_timestamp_unix"] = str(at // 1000)
    meta["kafka_tombstone_message"] = "false" if isinstance(value, bytes) else "true"
    if key is not None:
        meta["kafka_key"] = text(key)
    return Msg(value if isinstance(value, bytes) else b"", meta), (topic, partition, offset)
