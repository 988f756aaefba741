"""Publishing to Kafka: every message acknowledged by the cluster before its publisher goes on.

A publish hands all its messages to the client at once and waits until each is written on all replicas that are in sync (``acks=all``). The
producer is idempotent: what the client sends again by itself is not written twice, and the order stays. The client is asked for its reports
by a thread; the loop only hands over and waits.

What is under way is bounded in bytes: who finds no room waits in line. A publish that is not acknowledged in time fails, and it is not
certain then that nothing of it was written: the reports of a dead broker never come.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from setpoint.namespace.broker import BrokerError
from setpoint.namespace.kafka.client import Access, Faults, failure, persist, told

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer
    from confluent_kafka import Message as Report

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Largest message that is sent: a payload of 1 MiB, its topic and its headers."""
OVERHEAD: Final = 200
"""Bytes that a message under way takes beside its own."""
TURN: Final = 0.1
UNKNOWN_OFFSET: Final = -1


class Outgoing(NamedTuple):
    """A message as it goes to the cluster. A partition of -1 is chosen by the key, a time of 0 is now, a value of None a tombstone."""

    topic: str
    value: bytes | None
    key: str | None
    partition: int
    timestamp_ms: int
    headers: dict[str, str | bytes | None]


class Delivery:
    """One publish under way: counts the reports of its messages, in the client's thread.

    `future` gives the offset of the last, or `UNKNOWN_OFFSET` where the broker only said that it has it already; or raises `Undelivered`.
    """

    __slots__ = ("_fault", "_last", "_left", "_loop", "_topic", "future")

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[int] = self._loop.create_future()
        self._left, self._last = count, UNKNOWN_OFFSET
        self._fault: KafkaError | None = None
        self._topic = ""

    def report(self, error: KafkaError | None, message: Report) -> None:
        """Called for each message."""
        self._left -= 1
        if error is None:
            offset = message.offset()
            self._last = offset if offset is not None and offset >= 0 else UNKNOWN_OFFSET
        elif self._fault is None:
            self._fault, self._topic = error, message.topic() or ""
        if not self._left:
            with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits any more
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.future.done():
            return
        if self._fault is None:
            self.future.set_result(self._last)
        else:
            self.future.set_exception(Undelivered(self._fault, self._topic))

    def give_up(self, why: str) -> None:
        """Nobody will report any more."""
        if not self.future.done():
            self.future.set_exception(BrokerError(why))


class Undelivered(Exception):
    """A message was not taken: the client's error, and the topic."""


class Writer:
    """A producer and the thread that serves it. `settings` are of librdkafka, by their own names. Raises `BrokerError`."""

    def __init__(
        self, access: Access, *, queue_bytes: int, publish_timeout: float, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._access, self._settings = access, settings or {}
        self._timeout = publish_timeout
        self._queue_bytes = queue_bytes
        self._queued = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._under_way: set[Delivery] = set()
        self.faults = Faults()
        self._closing = False
        self._stop_at: float | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._producer = self._made()
        self._serve()

    def _made(self) -> Producer:
        from confluent_kafka import KafkaException, Producer

        settings: dict[str, Any] = {
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "lz4",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "message.timeout.ms": int(self._timeout * 1000),
            "queue.buffering.max.messages": 0,  # what is under way is bounded in `_admit`
            "queue.buffering.max.kbytes": 2_147_483_647,
            **self._settings,
            **self._access.settings(self.faults),
        }
        try:
            return Producer(settings)
        except (KafkaException, ValueError, TypeError) as error:
            raise BrokerError(f"a client of {self._access.name} cannot be made: {failure(error)}") from error

    async def send(self, messages: Sequence[Outgoing], size: int) -> int:
        """Writes them, `size` bytes in all, in order; the offset of the last, or `UNKNOWN_OFFSET`. Raises `BrokerError`."""
        size += OVERHEAD * len(messages)
        await self._admit(size)
        delivery = Delivery(len(messages))
        try:
            self._check_open()
            self._hand_over(messages, delivery)
        except BrokerError:
            self._leave(size)
            raise
        self._under_way.add(delivery)
        delivery.future.add_done_callback(lambda future: self._settled(future, delivery, size))
        try:
            return await asyncio.shield(delivery.future)
        except Undelivered as undelivered:
            raise BrokerError(self._why(*undelivered.args)) from undelivered

    def reach(self, within: float) -> None:
        """Waits until the cluster answers. Blocks. Raises `BrokerError` where it does not, or refuses us."""
        ask = partial(self._producer.list_topics, timeout=min(1.0, within))
        persist(ask, self._producer, access=self._access, faults=self.faults, within=within)

    def _settled(self, future: asyncio.Future[int], delivery: Delivery, size: int) -> None:
        """Its room is free now, not before: who was cancelled left its messages on the way."""
        future.exception()  # whoever still waits hears of it
        self._under_way.discard(delivery)
        self._leave(size)

    def _hand_over(self, messages: Sequence[Outgoing], delivery: Delivery) -> None:
        """All of them to the client, without letting anybody in between."""
        from confluent_kafka import KafkaException

        if self.faults.fatal:
            self._replace()
        produce, report = self._producer.produce, delivery.report
        try:
            for topic, value, key, partition, timestamp_ms, headers in messages:
                produce(topic, value, key, partition, on_delivery=report, timestamp=timestamp_ms, headers=headers)
        except (KafkaException, BufferError) as error:
            raise BrokerError(f"the messages cannot be sent: {failure(error)}; some of them may be written") from error

    def _replace(self) -> None:
        """A producer that hit a fatal error never sends again; its successor begins anew."""
        old, self.faults = self._producer, Faults()
        threading.Thread(target=old.flush, args=(TURN,), daemon=True).start()
        self._producer = self._made()

    def _why(self, error: KafkaError, topic: str) -> str:
        if error.name() == "_MSG_TIMED_OUT":
            waited = f"{self._access.name} did not take the messages within {self._timeout:g} s"
            return f"{self.faults.because(waited)}; it is not certain that none was written"
        if error.name().startswith("_PURGE"):
            return "the connection was closed before the broker answered; what was under way may have been written"
        if error.name() == "MSG_SIZE_TOO_LARGE":
            return f"topic {topic} does not take messages this large: its max.message.bytes is too small for them"
        return f"topic {topic}: the broker did not take the messages: {told(error)}; some of them may be written"

    async def _admit(self, size: int) -> None:
        """Waits for room, first come, first served; a publish larger than the bound gets it to itself."""
        self._check_open()
        if not self._line and self._has_room(size):
            self._queued += size
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size, waiter)
        self._line.append(place)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                self._leave(size)  # it was let in at the moment it was cancelled
            elif place in self._line:
                self._line.remove(place)
                self._let_in()
            raise

    def _has_room(self, size: int) -> bool:
        return not self._queued or self._queued + size <= self._queue_bytes

    def _leave(self, size: int) -> None:
        self._queued -= size
        self._let_in()

    def _let_in(self) -> None:
        while self._line and self._has_room(self._line[0][0]):
            size, waiter = self._line.popleft()
            if not waiter.done():
                self._queued += size
                waiter.set_result(None)

    def _check_open(self) -> None:
        if self._closing:
            raise BrokerError("the broker is closed; open it before publishing")

    async def close(self, within: float) -> None:
        """Sends what is under way, for at most `within` seconds; what is left is given up, and whoever waits gets `BrokerError`."""
        self._closing = True
        self._stop_at = time.monotonic() + within
        for _, waiter in self._line:
            if not waiter.done():
                waiter.set_exception(BrokerError("the broker was closed before there was room to publish"))
        self._line.clear()
        await asyncio.wait({self._ended}, timeout=within + 1.0)
        for delivery in tuple(self._under_way):
            delivery.give_up("the broker was closed before it answered; what was under way may have been written")

    def _serve(self) -> None:
        loop = asyncio.get_running_loop()

        def serve() -> None:
            while self._stop_at is None:
                self._producer.poll(TURN)
            self._producer.flush(max(0.0, self._stop_at - time.monotonic()))
            self._producer.purge()
            self._producer.flush(TURN)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_done, self._ended)

        threading.Thread(target=serve, name="setpoint-kafka-writer", daemon=True).start()


def _done(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
