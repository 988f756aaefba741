"""Reading ahead: what a flow's input gave and the flow has not worked on yet.

A feed reads in a task of its own and keeps batches up to the limits of its `Buffer`. When they are reached, reading waits (``block``), or
the oldest messages go, counted (``drop_oldest``). What a batch owes its input stays: it is acknowledged in its turn, also when all its
messages had to go. Without a buffer one batch is read ahead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from setpoint.flows.component import MessageError, Msg, serialized
from setpoint.flows.config import Buffer

ONE_BATCH: Final = Buffer(limit_bytes=1, messages=1, overflow="block")


class Batch(msgspec.Struct):
    """Messages on their way, and how many of the input's batches are done with when they are."""

    messages: list[Msg]
    owed: int = 1
    size: int = 0


class Feed:
    """Reads with `read` until that gives None or raises; `overflowed` is told how many messages had to go."""

    def __init__(
        self, read: Callable[[], Awaitable[list[Msg] | None]], buffer: Buffer | None, overflowed: Callable[[int], None]
    ) -> None:
        self._read = read
        self._limits = buffer or ONE_BATCH
        self._overflowed = overflowed
        self._waiting: deque[Batch] = deque()
        self._size = 0
        self._messages = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda task: self._news.set())

    async def get(self, seconds: float | None = None) -> Batch | None:
        """The next batch; an empty one when so many seconds passed without any; None at the end. Raises what reading raised."""
        while not self._waiting:
            if self._task.done():
                if not self._task.cancelled():
                    self._task.result()
                return None
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return Batch([], owed=0)
        batch = self._waiting.popleft()
        self._size -= batch.size
        self._messages -= len(batch.messages)
        self._room.set()
        return batch

    def stop(self) -> None:
        """Read no more; what was read can still be had."""
        self._task.cancel()

    async def _run(self) -> None:
        while (messages := await self._read()) is not None:
            if messages:
                await self._put(messages)

    async def _put(self, messages: list[Msg]) -> None:
        limits = self._limits
        batch = Batch(messages, size=sum(map(_size, messages)) if limits is not ONE_BATCH else 0)
        while limits.overflow == "block" and self._waiting and self._full(len(messages), batch.size):
            self._room.clear()
            await self._room.wait()
        self._waiting.append(batch)
        self._size += batch.size
        self._messages += len(messages)
        if limits.overflow == "drop_oldest":
            self._make_room()
        self._news.set()

    def _full(self, messages: int, size: int) -> bool:
        return self._messages + messages > self._limits.messages or self._size + size > self._limits.limit_bytes

    def _make_room(self) -> None:
        gone = 0
        while self._full(0, 0) and self._messages > 1:
            oldest = self._waiting[0]
            if not oldest.messages:  # only what it owes is left of it
                self._waiting.popleft()
                self._waiting[0].owed += oldest.owed
                continue
            gone += self._shorten(oldest)
        if gone:
            self._overflowed(gone)

    def _shorten(self, batch: Batch) -> int:
        """Take the oldest messages from the batch, as many as must go; how many those were."""
        gone = 0
        while gone < len(batch.messages) and self._full(0, 0) and self._messages > 1:
            size = _size(batch.messages[gone])
            batch.size -= size
            self._size -= size
            self._messages -= 1
            gone += 1
        del batch.messages[:gone]
        return gone


def _size(msg: Msg) -> int:
    try:
        return len(serialized(msg.payload))
    except MessageError:
        return 0
