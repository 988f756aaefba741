"""Follows the namespace as a consumer group and writes what comes to the database, batch by batch.

The group is committed after the database has committed, and a batch that is written twice leaves what one writing leaves: each message is
in the database once, whatever is killed when. While the database is away the messages stay in the namespace's log. A message that the
database will never take is found by writing halves of its batch, and set aside in the table `rejected`.

Rows beyond the retention are deleted between batches, for 50 ms at a time. What is too old is told by the earlier of two clocks, ours and
the database's, so that a clock which jumps ahead deletes nothing where the two are not the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from setpoint.namespace import Broker, BrokerError, Message, Subscription
from setpoint.services.historian import History, Readings, Rejected
from setpoint.services.sql import Connection, Database, DatabaseError, Limits, ValuesRefused
from setpoint.workers.historian.reading import readings_of, rejected
from setpoint.workers.historian.spec import HistorianSpec

log = logging.getLogger("setpoint.historian")
_Answer = TypeVar("_Answer")

CHUNK: Final = 500
"""Messages read from the namespace at once."""
BATCH: Final = 5_000
BATCH_BYTES: Final = 8_000_000
"""Messages, and bytes of payload, from which on no more are read for a batch."""
LINGER_S: Final = 0.2
"""How long a batch that is not full waits for more: it bounds the transactions a second."""
PING_S: Final = 2.0
SLICE_S: Final = 0.05
SWEEP_S: Final = 3600.0
SLOW_S: Final = 5.0
"""Seconds after which a call that still waits is a fault."""
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
LIMITS: Final = Limits(connect=10.0, statement=30.0)


class Progress(msgspec.Struct):
    """How it goes; totals since it began."""

    connected: bool = False
    database_fault: str = ""
    namespace_fault: str = ""
    latency_ms: float = 0.0
    rows: int = 0
    deleted: int = 0
    rejected: int = 0
    hypertables: bool = False


class Following:
    """One historian at work, from its making until `close`. `changed` is called when its faults come and go."""

    def __init__(
        self,
        spec: HistorianSpec,
        broker: Broker,
        *,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spec = spec
        self.progress = Progress()
        self._broker, self._changed, self._clock = broker, changed, clock
        place = spec.place()
        self.database = str(place)
        self._database = Database(place.opener(LIMITS, name="setpoint historian"), str(place), LIMITS)
        self._history: History | None = None
        self._subscription: Subscription | None = None
        self._hand: list[Message] = []
        self._caught_up = False
        self._rejections: deque[tuple[float, int, str]] = deque(maxlen=1000)
        self._sweep: Iterator[int] | None = None
        self._sweep_at = 0.0
        self._asked_at: float | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name="historian")

    @property
    def running(self) -> bool:
        """Whether it is at work; else it has failed for good, which is a defect."""
        return not self._task.done()

    @property
    def caught_up(self) -> bool:
        """Whether all that there was at the last look is written."""
        return self._caught_up and not self._hand and not self.progress.database_fault

    @property
    def slow(self) -> str:
        """What there is to say of a call that the database has not answered yet."""
        waits = 0.0 if self._asked_at is None else _now() - self._asked_at
        return f"{self.database} has not answered for {waits:.0f} s" if waits > SLOW_S else ""

    def rejections(self) -> str:
        """What was set aside within the error window, in words."""
        window = self.spec.error_window_s
        while self._rejections and _now() - self._rejections[0][0] >= window:
            self._rejections.popleft()
        count = sum(number for _, number, _ in self._rejections)
        what = "1 message" if count == 1 else f"{count} messages"
        return f"{what} set aside in the last {window:g} s: {self._rejections[-1][2]}" if count else ""

    async def close(self) -> None:
        """Stop; what was not committed is read again by the next one. Idempotent, never hangs."""
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=LIMITS.connect)
        await self._let_go()
        await self._database.close()

    async def _run(self) -> None:
        wait = FIRST_WAIT_S
        while True:
            rows = self.progress.rows
            try:
                self._stand_in_line()
                await self._connect()
                await self._follow()
            except DatabaseError as error:
                self._fault(database=str(error))
                await self._database.close()  # with the next connection the tables are looked at anew
                self._lost_connection()
            except BrokerError as error:
                self._fault(namespace=str(error))
                await self._let_go()
            except Exception as error:
                log.exception("the historian failed; it tries again")
                self._fault(database=f"{type(error).__name__}: {error}")
                await self._database.close()
                self._lost_connection()
            wait = FIRST_WAIT_S if self.progress.rows > rows else min(wait * 2, LONGEST_WAIT_S)
            await asyncio.sleep(wait)

    def _stand_in_line(self) -> None:
        """Has a group, so that it is known how much waits while the database is away."""
        with contextlib.suppress(BrokerError):  # `_next` says so when it is its turn
            if self.spec.contracts:
                self._subscribe()

    async def _connect(self) -> None:
        def prepare(connection: Connection) -> None:
            self._history = History(connection)

        if not self._database.connected:
            self._lost_connection()
            with self._timed():
                await self._database.connect(prepare)
            self.progress.connected = True
            self.progress.hypertables = self._history is not None and self._history.hypertables

    async def _follow(self) -> None:
        """Works until something fails."""
        while True:
            if not self._hand and self.spec.contracts:
                self._hand = await self._next()
            if self._hand:
                await self._write(self._hand)
                offset, self._hand = self._hand[-1].offset, []
                if self._subscription is not None:
                    await self._subscription.commit(offset)
            else:
                await self._ask(lambda history: history.ping())
            self._fault()
            await self._expire()
            if not self.spec.contracts:
                await asyncio.sleep(PING_S)

    async def _next(self) -> list[Message]:
        """The next messages; none when there are none for a while."""
        subscription = self._subscribe()
        messages = await subscription.read(CHUNK, timeout=0.0 if self._sweep else PING_S)
        size, lingered = _size(messages), not messages
        self._caught_up = False
        while len(messages) < BATCH and size < BATCH_BYTES and not self._caught_up:
            more = await subscription.read(CHUNK, timeout=0.0) if messages else []
            messages += more
            size += _size(more)
            if not more and not lingered:
                lingered = True
                await asyncio.sleep(LINGER_S)
            elif not more:
                self._caught_up = True
        return messages

    def _subscribe(self) -> Subscription:
        """The subscription of its group. Raises `BrokerError`."""
        if self._subscription is None:
            self._subscription = self._broker.subscribe(self.spec.group(), self.spec.topics())
        return self._subscription

    async def _write(self, messages: Sequence[Message]) -> None:
        rows, refused = await self._ask(lambda history: _keep(history, messages), statements=4)
        self.progress.rows += rows
        if refused:
            self.progress.rejected += len(refused)
            last = refused[-1]
            if not self.rejections():
                log.warning("%d messages set aside; the last: %s: %s", len(refused), last.topic, last.reason)
            self._rejections.append((_now(), len(refused), f"{last.topic}: {last.reason}"))
            self._changed()

    async def _ask(self, work: Callable[[History], _Answer], *, statements: int = 1) -> _Answer:
        def call(connection: Connection) -> _Answer:
            assert self._history is not None, "made with the connection"
            return work(self._history)

        with self._timed():
            return await self._database.call(call, statements=statements)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        began = self._asked_at = _now()
        try:
            yield
        finally:
            self._asked_at = None
            self.progress.latency_ms = round(1000 * (_now() - began), 1)

    async def _expire(self) -> None:
        """Deletes for a moment, while there is something to delete."""
        if not self.spec.retention_s or (self._sweep is None and _now() < self._sweep_at):
            return

        def some(history: History) -> tuple[int, bool]:
            if self._sweep is None:
                now_ms = min(int(self._clock() * 1000), history.now_ms())
                self._sweep = history.expire(now_ms - int(self.spec.retention_s * 1000))
            return _for_a_moment(history, self._sweep)

        deleted, finished = await self._ask(some)
        self.progress.deleted += deleted
        if finished:
            self._sweep = None
            self._sweep_at = _now() + min(max(self.spec.retention_s / 10, 1.0), SWEEP_S)

    def _fault(self, *, database: str = "", namespace: str = "") -> None:
        progress = self.progress
        if (database, namespace) != (progress.database_fault, progress.namespace_fault):
            progress.database_fault, progress.namespace_fault = database, namespace
            self._changed()

    def _lost_connection(self) -> None:
        self.progress.connected = False
        self._history, self._sweep = None, None

    async def _let_go(self) -> None:
        """What was read for the group and not committed is read again."""
        subscription, self._subscription, self._hand = self._subscription, None, []
        if subscription is not None:
            with contextlib.suppress(BrokerError):
                await subscription.close()


def _keep(history: History, messages: Sequence[Message]) -> tuple[int, list[Rejected]]:
    """Writes the messages; how many rows they made, and what was set aside. Blocks."""
    batch = readings_of(messages)
    try:
        history.write(batch)
    except ValuesRefused as error:
        with history.transaction():
            return _keep_parts(history, messages, error)
    return batch.rows, batch.rejected


def _keep_parts(history: History, messages: Sequence[Message], error: ValuesRefused) -> tuple[int, list[Rejected]]:
    """The same, for messages that the database refused together."""
    if len(messages) == 1:
        refused = [rejected(messages[0], str(error))]
        history.write(Readings(rejected=refused))
        return 0, refused
    rows, refused = 0, []
    half = len(messages) // 2
    for part in (messages[:half], messages[half:]):
        batch = readings_of(part)
        try:
            history.write(batch)
        except ValuesRefused as fault:
            some, others = _keep_parts(history, part, fault)
        else:
            some, others = batch.rows, batch.rejected
        rows, refused = rows + some, refused + others
    return rows, refused


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message.payload) for message in messages)


def _for_a_moment(history: History, sweep: Iterator[int]) -> tuple[int, bool]:
    """Rows that a part of the sweep deleted, and whether that was all. One transaction. Blocks."""
    ends, deleted = time.monotonic() + SLICE_S, 0
    with history.transaction():
        for gone in sweep:
            deleted += gone
            if time.monotonic() > ends:
                return deleted, False
    return deleted, True


def _now() -> float:
    return asyncio.get_running_loop().time()
