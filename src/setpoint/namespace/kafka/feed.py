"""A Kafka consumer that an event loop can read from: a thread asks the consumer, the loop gets what came, in batches.

Two batches at most wait for the loop, and the client itself fetches a bounded number of bytes ahead; so a loop that does not read makes the
cluster wait, not memory grow. While nobody reads, a member of a group must go on talking to its group, or the group believes it dead: the
thread pauses what the member is assigned, and goes on polling.

What the client says is wrong comes out of `get` as `BrokerError`, after the messages before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from setpoint.namespace.broker import BrokerError
from setpoint.namespace.kafka.client import Access, Faults, failure, log, told

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition

T = TypeVar("T")

BATCH: Final = 1000
"""Messages in a batch, at most."""
WAITING: Final = 2
"""Batches that may wait for the loop."""
_END: Final = "_PARTITION_EOF"
LOOK: Final = 1.0
"""Seconds after which one who waits looks whether there is still somebody to wait for."""
TURN: Final = 0.2
"""Seconds after which the thread looks whether it shall end."""
FETCH: Final[dict[str, Any]] = {
    "enable.auto.offset.store": False,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 10,
    "fetch.error.backoff.ms": 100,
}
"""How consumers fetch: ahead by 16 MiB at most, and again soon when there is room."""


def consumer(access: Access, faults: Faults, settings: dict[str, Any]) -> Consumer:
    """A consumer with these settings. Raises `BrokerError` for settings that cannot be, such as a certificate that cannot be read."""
    from confluent_kafka import Consumer, KafkaException

    try:
        return Consumer({**FETCH, **access.settings(faults), **settings})
    except (KafkaException, ValueError, TypeError) as error:
        raise BrokerError(f"a client of {access.name} cannot be made: {failure(error)}") from error


class Feed(Generic[T]):
    """Reads a consumer that has its partitions or its subscription. `convert` makes a batch of what came, in the thread.

    `at_end` is told, behind the batches before it, of each end of a partition that was reached: topic, partition and the offset there; for
    consumers with ``enable.partition.eof``. `came_to` is kept at the last offset that came of each partition, by the thread.
    """

    def __init__(
        self,
        source: Consumer,
        convert: Callable[[Sequence[Message]], T],
        *,
        name: str,
        at_end: Callable[[str, int, int], object] | None = None,
        came_to: dict[tuple[str, int], int] | None = None,
    ) -> None:
        self._consumer, self._convert, self._at_end, self._came_to = source, convert, at_end, came_to
        self._loop = asyncio.get_running_loop()
        self._ready: deque[T | BrokerError] = deque()
        self._news = asyncio.Event()
        self._room = threading.Semaphore(WAITING)
        self._errands: SimpleQueue[Callable[[Consumer], object]] = SimpleQueue()
        self._stopping = False
        self._ended = self._loop.create_future()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    async def get(self) -> T:
        """The next batch; waits for it. Raises `BrokerError` for what the client says is wrong. Cancelling loses nothing."""
        while not self._ready:
            if self._stopping:
                raise BrokerError("the connection is closed")
            self._news.clear()
            await self._news.wait()
        found = self._ready.popleft()
        if isinstance(found, BrokerError):
            raise found
        self._room.release()
        return found

    async def get_within(self, seconds: float | None, faults: Faults) -> T | None:
        """The next batch; None when `seconds` pass first. Raises `BrokerError` also when there is no broker to wait for any more."""
        loop = asyncio.get_running_loop()
        ends = None if seconds is None else loop.time() + seconds
        while ends is None or loop.time() < ends:
            try:
                async with asyncio.timeout(LOOK if ends is None else min(LOOK, ends - loop.time())):
                    found = await self.get()
            except TimeoutError:
                if faults.down:
                    raise BrokerError(faults.because("no broker answers")) from None
            else:
                faults.clear()
                return found
        return None

    def soon(self, errand: Callable[[Consumer], object]) -> None:
        """Has the thread do something with the consumer: nobody else may, because the client lets one call in at a time, and makes
        the others wait however long that one takes. Done before the consumer is closed."""
        self._errands.put(errand)

    async def close(self, within: float) -> bool:
        """Ends the thread and closes the consumer, in which a member leaves its group. False if that took longer than `within` seconds."""
        self._stopping = True
        self._news.set()
        done, _ = await asyncio.wait({self._ended}, timeout=within)
        return bool(done)

    def _serve(self) -> None:
        held: list[Message] = []
        paused: list[TopicPartition] = []
        try:
            while not self._stopping:
                self._run_errands()
                if not held:
                    held = self._poll()
                elif self._room.acquire(timeout=TURN):
                    self._hand_over(held)
                    held, paused = [], self._resume(paused)
                else:
                    paused = self._wait(held)
        except Exception as error:
            log.exception("reading from Kafka ended")
            self._tell(self._put, BrokerError(f"reading from Kafka ended: {failure(error)}"))
        finally:
            with contextlib.suppress(Exception):
                self._run_errands()
            with contextlib.suppress(Exception):
                self._consumer.close()
            self._tell(_done, self._ended)

    def _run_errands(self) -> None:
        while not self._errands.empty():
            self._errands.get()(self._consumer)

    def _poll(self) -> list[Message]:
        first = self._consumer.poll(TURN)
        return [] if first is None else self._noted([first, *self._consumer.consume(BATCH - 1, 0)])

    def _noted(self, came: list[Message]) -> list[Message]:
        if self._came_to is not None:
            for message in came:
                if message.error() is None:
                    self._came_to[message.topic() or "", message.partition() or 0] = message.offset() or 0
        return came

    def _wait(self, held: list[Message]) -> list[TopicPartition]:
        """Nobody reads: stop fetching, stay alive."""
        paused = self._consumer.assignment()
        if paused:
            self._consumer.pause(paused)
        late = self._consumer.poll(0)
        if late is not None:
            held += self._noted([late])
        return paused

    def _resume(self, paused: list[TopicPartition]) -> list[TopicPartition]:
        ours = {(part.topic, part.partition) for part in self._consumer.assignment()} if paused else set()
        still = [part for part in paused if (part.topic, part.partition) in ours]
        if still:
            self._consumer.resume(still)
        return []

    def _hand_over(self, came: list[Message]) -> None:
        """Messages up to the first fault as one batch, then the fault. Who reads begins anew after it, behind what it was given."""
        ends = [message for message in came if (error := message.error()) and error.name() == _END]
        if ends:
            came = [message for message in came if message not in ends]
        fault = next((message for message in came if message.error()), None)
        good = came if fault is None else came[: came.index(fault)]
        if good:
            self._tell(self._put, self._convert(good))
        else:
            self._room.release()
        if self._at_end is not None:
            for end in ends:
                self._tell(self._at_end, end.topic() or "", end.partition() or 0, end.offset() or 0)
        if fault is not None:
            self._tell(self._put, BrokerError(_told(fault)))

    def _put(self, found: T | BrokerError) -> None:
        self._ready.append(found)
        self._news.set()

    def _tell(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits any more
            self._loop.call_soon_threadsafe(call, *args)


def _told(message: Message) -> str:
    error = message.error()
    where = f"{message.topic()}: " if message.topic() else ""
    return where + (told(error) if error else "")


def _done(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
