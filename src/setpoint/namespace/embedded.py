"""The broker inside this process: a durable log without a server.

Publishers queue their messages and wait; a commit appends all that is queued in one transaction (`commits`,
`log_writer`), and publishers go on once it is durable. So the cost of a commit is shared by all who publish at the
same time. Commits start at most every `commit_interval` seconds, so that a thousand publishers of a message a second
each make hundreds of commits and not a thousand. Readers at the end of the log read from memory (`tail`); others read
through a lane of their own, which never makes the writer wait.

**What survives.** A message whose publish returned survives the death of the process (``kill -9``) and stays readable
for as long as retention says. With the default `durability`, ``"crash"``, the newest messages, some seconds' worth,
may be lost if the machine loses power or the kernel crashes; the log is intact then and ends a little earlier. With
``"power"`` each commit is forced to the disk (`fsync`) and survives that too, for the time the disk takes to say so.

**What happens in faults.** A write that fails raises in its publishers, and shows in the stats until a write
succeeds; the broker itself tries every `retry_interval` seconds, so that it recovers when space is back though nobody
publishes. A write that hangs shows in the stats as well, and its publishers wait. A file found damaged when the
broker is opened is set aside, and the log starts afresh. A second process, or a second broker in this one, is
refused.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from setpoint.namespace import records
from setpoint.namespace.broker import EVERYTHING, BrokerError, BrokerStats, Message, TopicInfo
from setpoint.namespace.lane import Lane
from setpoint.namespace.log_file import Durability
from setpoint.namespace.session import Files, Session
from setpoint.namespace.subscription import EmbeddedSubscription
from setpoint.namespace.topic import TopicFilter

SEVEN_DAYS_MS: Final = 604_800_000


class EmbeddedBroker:
    """A `Broker` in one file at `path` and a few beside it. Belongs to the event loop it was opened in; also usable with ``async with``.

    Messages older than `retention_ms` go, and the oldest beyond `retention_bytes` of packed messages (0: no limit);
    the last value of each topic stays. At most `queue_bytes` wait to be written; further publishers wait in line.
    `durability`, `commit_interval` and `retry_interval` (s) are explained above. `wall` (s since 1970) stamps
    messages, and `monotonic` (s) counts their age.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        retention_ms: int = SEVEN_DAYS_MS,
        retention_bytes: int = 0,
        durability: Durability = "crash",
        commit_interval: float = 0.002,
        queue_bytes: int = 8 * 1024 * 1024,
        retry_interval: float = 1.0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        self._session: Session | None = None
        self._files = partial(Files, self.path, durability, wall, monotonic)
        self._start = partial(
            Session,
            commit_interval=commit_interval,
            queue_bytes=queue_bytes,
            tick=retry_interval,
        )
        self.set_retention(retention_ms=retention_ms, retention_bytes=retention_bytes)
        self._changing = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Opens or creates the file. Raises `BrokerError` if another process has it, it is not ours, or the disk does not let us."""
        async with self._changing:
            if self._session is not None:
                return
            writing = Lane("setpoint-log-writer")
            opening = writing.run(self._files)
            try:
                files = await asyncio.shield(opening)
            except asyncio.CancelledError:
                opening.add_done_callback(_discard)
                writing.stop()
                raise
            except BaseException:
                writing.stop()
                raise
            self._session = self._start(files, writing, retention=self._retention)

    async def close(self) -> None:
        """See `Broker.close`. Takes some seconds at most, however the disk does; cancelling it does not stop it."""
        if self._closing is None or self._closing.done():
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        async with self._changing:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def publish(self, messages: Sequence[Message]) -> int:
        """See `Broker.publish`. Of no messages: the last offset there is."""
        session = self._opened()
        if not messages:
            return session.tail.end - 1
        return await session.commits.publish(records.batches(messages))

    def subscribe(
        self, group: str, topics: Sequence[str] = EVERYTHING, *, start: Literal["earliest", "latest"] = "earliest"
    ) -> EmbeddedSubscription:
        """See `Broker.subscribe`."""
        return self._opened().subscribe(group, TopicFilter(topics), start)

    async def topics(self, contains: str = "") -> list[TopicInfo]:
        """See `Broker.topics`. Raises `BrokerError` if the disk cannot be read."""
        return await self._opened().topics(contains)

    async def stats(self) -> BrokerStats:
        """See `Broker.stats`. All zero, and not ready, while the broker is not open."""
        return await self._session.stats() if self._session else BrokerStats()

    def set_retention(self, *, retention_ms: int, retention_bytes: int) -> None:
        """Changes what the constructor was given; applied within a minute. Raises `ValueError` for a negative figure."""
        if retention_ms < 0 or retention_bytes < 0:
            raise ValueError("retention_ms and retention_bytes must be 0 (no limit) or more")
        self._retention = (retention_ms, retention_bytes)
        if self._session is not None:
            self._session.retention = self._retention

    async def trim(self) -> None:
        """Applies retention now; it happens by itself every minute. Raises `BrokerError`."""
        await self._opened().trim()

    def _opened(self) -> Session:
        if self._session is None:
            raise BrokerError(f"the broker at {self.path} is not open; await open() first")
        return self._session

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _discard(opening: asyncio.Future[Files]) -> None:
    """Closes what nobody waits for any more."""
    if not opening.cancelled() and not opening.exception():
        opening.result().close()
