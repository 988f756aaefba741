"""Where groups stand in a Kafka log: offsets committed to the cluster, and asked of it, without joining a group.

The cluster forgets the offsets of a group that has not committed for a while (7 days, unless set otherwise). So the positions of
groups that are in use here are committed anew now and then, though they have not moved.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from setpoint.namespace.broker import BrokerError
from setpoint.namespace.kafka.client import Access, Faults, failure, told

if TYPE_CHECKING:
    from concurrent.futures import Future

    from confluent_kafka import TopicPartition

WITHIN: Final = 10.0
"""Seconds in which the cluster must answer."""
KEEP_EVERY: Final = 6 * 3600.0
"""Seconds after which positions are committed anew."""


class KafkaGroups:
    """The client for all groups of one log with one partition. `positions` are those that were committed here: where each goes on."""

    def __init__(self, access: Access, topic: str, faults: Faults) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        self._access, self._topic, self._faults = access, topic, faults
        try:
            self.admin = AdminClient(access.settings(faults))
        except (KafkaException, ValueError, TypeError) as error:
            raise BrokerError(f"a client of {access.name} cannot be made: {failure(error)}") from error
        self.positions: dict[str, int] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def position(self, group: str) -> int | None:
        """Where the group goes on; None if it never committed. Raises `BrokerError`."""
        if group not in self.positions:
            asked = self.admin.list_consumer_group_offsets([self._of(group)], request_timeout=WITHIN)[group]
            offset = (await self._answer(asked, group)).offset
            return offset if offset >= 0 else None
        return self.positions[group]

    async def commit(self, group: str, position: int) -> None:
        """The group goes on at `position`; kept by the cluster when it returns. Raises `BrokerError`."""
        async with self._turns.setdefault(group, asyncio.Lock()):
            asked = self.admin.alter_consumer_group_offsets([self._of(group, position)], request_timeout=WITHIN)[group]
            await self._answer(asked, group)
            self.positions[group] = position

    async def keep(self) -> None:
        """Commits all positions anew, as they are. Raises `BrokerError`."""
        for group, position in tuple(self.positions.items()):
            await self.commit(group, position)

    def _of(self, group: str, offset: int | None = None) -> Any:
        from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

        part = TopicPartition(self._topic, 0) if offset is None else TopicPartition(self._topic, 0, offset)
        return ConsumerGroupTopicPartitions(group, [part])

    async def _answer(self, asked: Future[Any], group: str) -> TopicPartition:
        from confluent_kafka import KafkaException

        try:
            part: TopicPartition = (await asyncio.wrap_future(asked)).topic_partitions[0]
        except KafkaException as error:
            raise BrokerError(self._why(group, error.args[0])) from error
        if part.error is not None:
            raise BrokerError(self._why(group, part.error))
        return part

    def _why(self, group: str, error: Any) -> str:
        if error.name() in ("UNKNOWN_MEMBER_ID", "NON_EMPTY_GROUP", "ILLEGAL_GENERATION"):
            return f"group {group!r} has members that joined it; end them, or read with another group"
        return self._faults.because(f"group {group!r}: {told(error)}")
