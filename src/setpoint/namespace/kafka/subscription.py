"""A group's view of a Kafka log.

Where the group stands is an offset committed to the cluster under the group's name, visible to every tool there. The group is not joined:
there is nothing to share among readers of one partition, and a process that was killed goes on at once instead of waiting for its own
session to end. At the end of the log a subscription reads what the session follows for all of them; behind it, from the log itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from setpoint.namespace.broker import BrokerError, Message
from setpoint.namespace.records import size_of
from setpoint.namespace.topic import TopicFilter

if TYPE_CHECKING:
    from setpoint.namespace.kafka.session import KafkaSession

COMES_WITHIN: Final = 10.0
"""Seconds in which a message that was acknowledged must come back to those who follow the log."""


class KafkaSubscription:
    """A `Subscription`; made by `KafkaBroker.subscribe`. `latest` is where a group without a commit begins, unless it is None."""

    def __init__(self, session: KafkaSession, group: str, wanted: TopicFilter, latest: int | None) -> None:
        self.group = group
        self.position = -1
        self.skipped = 0
        self._session = session
        self._wanted = wanted
        self._latest = latest
        self._found: list[Message] = []
        self._delivered = -1
        self._reading = False
        self._ended = ""
        self._news: asyncio.Future[None] | None = None

    async def read(self, limit: int = 1000, timeout: float | None = None) -> list[Message]:
        """See `Subscription.read`; `timeout` is for waiting at the end of the log. A read that is cancelled loses nothing."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if self._reading:
            raise BrokerError(f"group {self.group!r} is being read already; one reader at a time")
        self._reading = True
        try:
            return await self._read(limit, timeout)
        finally:
            self._reading = False

    async def _read(self, limit: int, timeout: float | None) -> list[Message]:
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        acknowledged = self._session.end  # what was published before this read is read with it
        while True:
            self._check()
            tail = self._session.tail
            if self._found:
                return self._deliver(limit)
            if self.position < 0:
                self.position = await self._session.locate(self.group, self._latest)
            elif self.position < tail.first:
                await self._fetch(limit)
            elif tail.end < acknowledged:
                if not await self._arrived(loop.time() + COMES_WITHIN):
                    raise BrokerError(self._session.silent(f"nothing came from the log for {COMES_WITHIN:g} s"))
            elif self.position < tail.end:
                messages, self.position = tail.read(self.position)
                self._found = [message for message in messages if self._wanted.matches(message.topic)]
                if not self._found:
                    await asyncio.sleep(0)  # a long stretch of nothing wanted must not keep the loop
            else:
                deadline = loop.time() + timeout if deadline is None and timeout is not None else deadline
                if not await self._arrived(deadline):
                    return []

    def _deliver(self, limit: int) -> list[Message]:
        messages, self._found = self._found[:limit], self._found[limit:]
        self._delivered = messages[-1].offset
        self._session.messages_out += len(messages)
        self._session.bytes_out += size_of(messages)
        return messages

    async def _arrived(self, deadline: float | None) -> bool:
        """Waits until something came or the subscription ended; False if the deadline passes first."""
        self._news = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(deadline):
                await self._news
        except TimeoutError:
            return False
        finally:
            self._news = None
        return True

    async def _fetch(self, limit: int) -> None:
        messages, position, skipped = await self._session.fetch(self.position, limit)
        self._found = [message for message in messages if self._wanted.matches(message.topic)]
        self.position = position
        self.skipped += skipped

    async def commit(self, offset: int) -> None:
        """See `Subscription.commit`. Raises `BrokerError` for an offset that does not exist yet."""
        self._check()
        newest = max(self._session.end - 1, self._delivered)
        if not -1 <= offset <= newest:
            raise BrokerError(f"group {self.group!r} cannot commit offset {offset}: the newest is {newest}")
        passed_over = offset == self._delivered and not self._found
        await self._session.commit(self.group, self.position if passed_over else offset + 1)

    async def close(self) -> None:
        """See `Subscription.close`."""
        self.end("the subscription is closed")
        self._session.forget(self)

    def end(self, why: str) -> None:
        """From now on `read` and `commit` raise `BrokerError` with this reason; a read that waits does so at once."""
        self._ended = self._ended or why
        self.wake()

    def wake(self) -> None:
        """Has a read that waits look again."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def cut_back(self, end: int) -> None:
        """The log ends here now, before where it did: what is in it is read again from its beginning, because it is another log."""
        if self.position > end:
            self.position, self._found = 0, []

    def _check(self) -> None:
        if self._ended:
            raise BrokerError(f"group {self.group!r} cannot go on here: {self._ended}")
