"""Group commit: many publishers, one transaction.

Publishers queue their batches and wait for a future. One task takes what is queued, has it appended, and settles the
futures. While it does, the next ones gather; so the more there is to do, the more a commit carries. Positions of
groups travel with the same commits.

The queue is bounded in bytes: who finds it full waits in line before queueing. A publisher that is cancelled while it
waits is not written; one that is cancelled while its commit runs may be.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from setpoint.namespace.broker import BrokerError
from setpoint.namespace.lane import Lane
from setpoint.namespace.records import Batch

COMMIT_BYTES: Final = 1024 * 1024
"""A commit takes what is queued up to about this; a publish is never divided."""

Append = Callable[[Sequence[Batch], Mapping[str, int]], tuple[int, int]]
"""Makes batches and positions durable, in the writer's lane: offset of the first message and time stamp."""


class _Request:
    """What one publisher waits for: its batches written. The future gives the last offset."""

    __slots__ = ("batches", "future", "size")

    def __init__(self, batches: list[Batch], size: int) -> None:
        self.batches, self.size = batches, size
        self.future: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class Commits:
    """The queue of one open log, and the task that empties it.

    `committed` is called in the event loop with what was written, before its publishers go on. `fault` is why the
    last write failed ("" if it did not), and `writing_since` the loop time at which the running write began.
    """

    def __init__(
        self,
        lane: Lane,
        append: Append,
        committed: Callable[[Sequence[Batch], int, int], None],
        *,
        interval: float,
        queue_bytes: int,
    ) -> None:
        self._lane, self._append, self._committed = lane, append, committed
        self._interval, self._queue_bytes = interval, queue_bytes
        self.fault = ""
        self.writing_since: float | None = None
        self._queue: deque[_Request] = deque()
        self._queued = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._positions: dict[str, int] = {}
        self._position_waiters: list[asyncio.Future[None]] = []
        self._unsettled: list[asyncio.Future[int] | asyncio.Future[None]] = []
        self._work = asyncio.Event()
        self._closing = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def publish(self, batches: list[Batch]) -> int:
        """Writes `batches`, all or none; the offset of the last message. Raises `BrokerError`."""
        request = _Request(batches, sum([len(batch.data) for batch in batches]))
        await self._admit(request.size)
        self._check_open()
        self._queue.append(request)
        self._work.set()
        return await request.future

    async def move(self, group: str, position: int) -> None:
        """Makes durable that `group` goes on at `position`. Raises `BrokerError`."""
        self._check_open()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._positions[group] = position
        self._position_waiters.append(waiter)
        self._work.set()
        await waiter

    async def close(self, deadline: float) -> None:
        """Writes what is queued and stops; what is left at `deadline` (loop time) is given up, and whoever waits gets `BrokerError`."""
        self._closing = True
        for _, waiter in self._line:
            _fail(waiter, "the broker was closed before there was room to publish")
        self._work.set()
        _, late = await asyncio.wait({self._task}, timeout=max(0, deadline - asyncio.get_running_loop().time()))
        if late:
            self._task.cancel()
            waiting = [request.future for request in self._queue] + self._position_waiters + self._unsettled
            for future in waiting:
                _fail(
                    future, "the broker was closed while the disk did not answer; what was being written may have been"
                )

    def _check_open(self) -> None:
        if self._closing:
            raise BrokerError("the broker is closed; open it before publishing")

    async def _admit(self, size: int) -> None:
        """Waits for room in the queue, first come, first served; a publish that is larger than the queue gets it to itself."""
        self._check_open()
        if not self._line and self._has_room(size):
            self._queued += size
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((size, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                self._release(size)  # let in and cancelled at the same moment
            raise

    def _has_room(self, size: int) -> bool:
        return self._queued == 0 or self._queued + size <= self._queue_bytes

    def _release(self, size: int) -> None:
        self._queued -= size
        while self._line and (self._line[0][1].done() or self._has_room(self._line[0][0])):
            next_size, waiter = self._line.popleft()
            if not waiter.done():
                self._queued += next_size
                waiter.set_result(None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        earliest = loop.time()
        while not self._closing or self._queue or self._positions:
            await self._work.wait()
            self._work.clear()
            while self._queue or self._positions:
                await asyncio.sleep(0 if self._closing else max(0.0, earliest - loop.time()))
                earliest = loop.time() + self._interval
                await self._commit()

    async def _commit(self) -> None:
        requests = self._take()
        positions, self._positions = self._positions, {}
        waiters, self._position_waiters = self._position_waiters, []
        batches = [batch for request in requests for batch in request.batches]
        if not batches and not positions:
            return  # all were cancelled
        self._unsettled = [*(request.future for request in requests), *waiters]
        self.writing_since = asyncio.get_running_loop().time()
        try:
            first, stamp = await self._lane.run(self._append, batches, positions)
            self._committed(batches, first, stamp)
        except Exception as fault:
            self.fault = (
                str(fault) if isinstance(fault, BrokerError) else f"the broker has a fault of its own: {fault!r}"
            )
            for future in self._unsettled:
                _fail(future, self.fault, fault)
        else:
            self.fault = ""
            _succeed(requests, waiters, first)
        finally:
            self.writing_since = None
        self._unsettled = []

    def _take(self) -> list[_Request]:
        """The requests of the next commit: in order, without those given up, about as much as a commit should have."""
        taken: list[_Request] = []
        size = 0
        while self._queue and (not taken or size + self._queue[0].size <= COMMIT_BYTES):
            request = self._queue.popleft()
            self._release(request.size)
            if not request.future.done():
                taken.append(request)
                size += request.size
        return taken


def _succeed(requests: list[_Request], waiters: list[asyncio.Future[None]], first: int) -> None:
    for request in requests:
        first += sum([len(batch.messages) for batch in request.batches])
        if not request.future.done():
            request.future.set_result(first - 1)
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _fail(future: asyncio.Future[int] | asyncio.Future[None], why: str, cause: BaseException | None = None) -> None:
    if not future.done():
        error = BrokerError(why)
        error.__cause__ = cause
        future.set_exception(error)
