"""The view of one group on the embedded log.

A subscription has a position: the offset it looks at next. Where the tail still has that offset it reads there, in
memory; else it has the reader's lane fetch some rows. Messages whose topics are not wanted are passed over, and a
commit of the last message read covers those passed over behind it, so that a group that wants little does not look
through the same stretch again after a restart.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from setpoint.namespace import records
from setpoint.namespace.broker import BrokerError, Message
from setpoint.namespace.topic import TopicFilter

if TYPE_CHECKING:
    from setpoint.namespace.session import Session

FETCH_WITHIN: Final = 10.0
"""Seconds after which a disk that does not answer a read is a fault."""


class EmbeddedSubscription:
    """A `Subscription`; made by `EmbeddedBroker.subscribe`."""

    def __init__(self, session: Session, group: str, wanted: TopicFilter, position: int) -> None:
        self.group = group
        self.position = position
        self.skipped = 0
        self._session = session
        self._wanted = wanted
        self._found: list[Message] = []
        self._delivered = -1
        self._reading = False
        self._ended = ""
        self._news: asyncio.Future[None] | None = None

    async def read(self, limit: int = 1000, timeout: float | None = None) -> list[Message]:
        """See `Subscription.read`. A read that is cancelled loses nothing."""
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
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while True:
            self._check()
            if self._found:
                return self._deliver(limit)
            if self.position >= self._session.tail.end:
                if not await self._arrived(deadline):
                    return []
            elif self.position >= self._session.tail.first:
                messages, self.position = self._session.tail.read(self.position)
                self._found = [message for message in messages if self._wanted.matches(message.topic)]
                if not self._found:
                    await asyncio.sleep(0)  # a long stretch of nothing wanted must not keep the loop
            else:
                await self._fetch(limit)

    def _deliver(self, limit: int) -> list[Message]:
        messages, self._found = self._found[:limit], self._found[limit:]
        self._delivered = messages[-1].offset
        self._session.messages_out += len(messages)
        self._session.bytes_out += records.size_of(messages)
        return messages

    async def _arrived(self, deadline: float | None) -> bool:
        """Waits until something was written or the subscription ended; False if the deadline passes first."""
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
        try:
            async with asyncio.timeout(FETCH_WITHIN):
                fetched = await self._session.fetch(self.position, limit, self._wanted)
        except TimeoutError:
            raise BrokerError(f"the disk did not answer a read within {FETCH_WITHIN:.0f} s; check it") from None
        self._found, self.position = fetched.messages, fetched.position
        self.skipped += fetched.skipped

    async def commit(self, offset: int) -> None:
        """See `Subscription.commit`. Raises `BrokerError` for an offset that does not exist yet."""
        self._check()
        newest = max(self._session.tail.end - 1, self._delivered)  # a fetch may be a moment ahead of the tail
        if not -1 <= offset <= newest:
            raise BrokerError(f"group {self.group!r} cannot commit offset {offset}: the newest is {newest}")
        passed_over = offset == self._delivered and not self._found
        await self._session.commits.move(self.group, self.position if passed_over else offset + 1)

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

    def _check(self) -> None:
        if self._ended:
            raise BrokerError(f"group {self.group!r} cannot go on here: {self._ended}")
