"""A Kafka topic as a sink that writes each record exactly once: a chunk and its mark are one transaction of the cluster.

The mark is a message in a topic of its own, `setpoint.marks`, whose key is the name of the stream (default: the topic). Opening the sink
takes the transactions of that name over: what a run that was killed had not committed is undone, and a run of the same name that still
lives is fenced, and ends with an error. Then the last mark is looked for, from the end of that topic backwards. The same is done when a
cluster did not say what became of a transaction: the mark tells.

Readers must ask for committed messages (``isolation.level=read_committed``, the default of librdkafka and of the flows' `kafka` input):
others see the records of chunks that were undone as well. Transactions take a few milliseconds each and two offsets of each partition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from setpoint.data.stream import Mark, Position, Refused
from setpoint.flows.component import MessageError
from setpoint.flows.ends.adapters import RETRY_FOR, Patience, context
from setpoint.flows.ends.form import Form
from setpoint.flows.kafka import CONNECT_WITHIN
from setpoint.flows.outputs.kafka import Kafka
from setpoint.namespace import BrokerError
from setpoint.namespace.kafka.client import Faults, failure, persist
from setpoint.namespace.kafka.feed import consumer
from setpoint.services.blocking import in_thread

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer

    from setpoint.namespace.kafka.writer import Outgoing

MARKS: Final = "setpoint.marks"
WITHIN: Final = 20.0
"""Seconds in which the cluster must answer in a transaction; what it did not answer is asked again."""
FIRST_LOOK: Final = 1000
"""Offsets at the end of the marks' topic that are looked through first; ten times as many when the mark is not among them."""


class KafkaSink:
    """An `AsyncSink` into topics. `stream` names the mark and the transactions; two streams into one topic need two names."""

    keeps_mark = True

    def __init__(
        self,
        fields: Kafka.Fields,
        *,
        name: str,
        stream: str,
        form: Form,
        retry_for: float = RETRY_FOR,
        marks_topic: str = MARKS,
    ) -> None:
        self.name = name
        self._fields, self._form, self._stream, self._marks = fields, form, stream, marks_topic
        self._output = Kafka(fields, context(name))
        self._patience = Patience(name, retry_for)
        self._faults = Faults()
        self._producer: Producer | None = None
        self._held: list[Outgoing] = []
        self._mark: Mark | None = None
        self._undelivered: KafkaError | None = None

    async def open(self, resume: bool) -> Mark | None:
        """Take the stream over. To resume: the mark of the last chunk. Raises `BrokerError`."""
        await in_thread(self._begin)
        if resume:
            found = await in_thread(self._last_mark)
            self._mark = msgspec.json.decode(found, type=Mark) if found else None
        else:
            await self._transact(b"")  # an earlier run's mark counts no more, also if this one never gets to its first
        return self._mark

    async def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Make messages of the records, except those that can never be any."""
        refused = []
        for number, record in enumerate(records):
            try:
                self._held.append(self._output.prepare(self._form.message(record)))
            except (MessageError, ValueError) as error:
                refused.append(Refused(number, str(error)))
        return refused

    async def commit(self, mark: Mark) -> None:
        """The messages and the mark, in one transaction. Raises `BrokerError` where that cannot be, or not for too long."""
        await self._transact(msgspec.json.encode(mark))
        self._held, self._mark = [], mark

    async def finish(self) -> None:
        """All is there; the mark stays, for what comes later."""
        if self._mark is not None:
            await self.commit(msgspec.structs.replace(self._mark, done=True))
        await self.abort()

    async def abort(self) -> None:
        """What is not committed never was."""
        producer, self._producer, self._held = self._producer, None, []
        if producer is not None:
            await in_thread(partial(_close, producer))

    async def _transact(self, mark: bytes) -> None:
        while True:
            try:
                await in_thread(partial(self._once, mark))
            except _TryAgain as error:
                await self._patience.after(BrokerError(f"{self.name}: {error}"))
            else:
                self._patience.worked()
                return

    def _once(self, mark: bytes) -> None:
        """One transaction, whole or not at all. Blocks. Raises `_TryAgain` when it was undone, `BrokerError` when there is no way on."""
        from confluent_kafka import KafkaException

        if self._producer is None:
            self._begin()
            if self._last_mark() == mark:
                return  # the cluster had it, and could not say so
        producer = self._producer
        assert producer is not None
        self._undelivered = None
        try:
            producer.begin_transaction()
            for topic, value, key, partition, timestamp_ms, headers in self._held:
                self._produce(producer, topic, value, key, partition=partition, timestamp=timestamp_ms, headers=headers)
            self._produce(producer, self._marks, mark, self._stream)
            _patiently(lambda: producer.commit_transaction(WITHIN))
        except KafkaException as error:
            self._undo(producer, error)

    def _produce(self, producer: Producer, topic: str, value: bytes | None, key: str | None, **more: Any) -> None:
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=self._report, **more)
                return
            except BufferError:
                producer.poll(0.1)  # the client has as much under way as it holds

    def _report(self, error: KafkaError | None, message: object) -> None:
        self._undelivered = self._undelivered or error

    def _undo(self, producer: Producer, error: Exception) -> None:
        """Aborts the transaction; where even that cannot be, the next attempt begins with a new producer, which undoes it."""
        from confluent_kafka import KafkaException

        inside = error.args[0]
        why = failure(error) if self._undelivered is None else self._undelivered.str()
        if inside.name() in ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"):
            raise BrokerError(
                f"{self.name}: another run of the stream {self._stream!r} has taken over: {why}"
            ) from error
        if self._undelivered is not None and self._undelivered.name() == "MSG_SIZE_TOO_LARGE":
            raise BrokerError(
                f"{self.name}: {why}: raise the topic's max.message.bytes, or lower max_msg_bytes"
            ) from error
        try:
            if inside.fatal():
                raise KafkaException(inside)
            _patiently(lambda: producer.abort_transaction(WITHIN))
        except KafkaException:
            self._producer = None
        raise _TryAgain(self._faults.because(why)) from error

    def _begin(self) -> None:
        """A producer that owns the stream's transactions. Blocks. Raises `BrokerError`."""
        from confluent_kafka import KafkaException, Producer

        fields, self._faults = self._fields, Faults()
        access = fields.access()
        settings = {
            "transactional.id": f"setpoint-stream-{self._stream}",
            "transaction.timeout.ms": 60_000,
            "linger.ms": 2,
            "compression.type": fields.compression,
            "message.max.bytes": fields.max_msg_bytes + 65_536,
        }
        try:
            producer = Producer({**settings, **access.settings(self._faults)})
            self._make_marks(producer)
            _patiently(lambda: producer.init_transactions(WITHIN))
        except (KafkaException, ValueError, TypeError) as error:
            raise BrokerError(self._faults.because(f"{self.name}: {failure(error)}")) from error
        self._producer = producer

    def _make_marks(self, producer: Producer) -> None:
        """The topic of the marks, where it is not there yet."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        access = self._fields.access()
        ask = partial(producer.list_topics, timeout=1.0)
        there = persist(ask, producer, access=access, faults=self._faults, within=CONNECT_WITHIN)
        if self._marks in there.topics:
            return
        config = {"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}
        admin = AdminClient(access.settings(Faults()))  # which must live until it has answered
        try:
            admin.create_topics([NewTopic(self._marks, 1, config=config)])[self._marks].result(WITHIN)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":  # somebody else was faster
                raise BrokerError(f"topic {self._marks} is not there and cannot be made: {failure(error)}") from error

    def _last_mark(self) -> bytes | None:
        """The mark of this stream that was committed last, None where there is none. Blocks. Raises `BrokerError`."""
        access = self._fields.access()
        faults = Faults()
        reader = consumer(
            access,
            faults,
            {"group.id": "setpoint-marks", "enable.auto.commit": False, "enable.partition.eof": True},  # never joined
        )
        try:
            look = partial(_search, reader, self._marks, self._stream.encode())
            return persist(look, reader, access=access, faults=faults, within=WITHIN)
        finally:
            reader.close()


class _TryAgain(Exception):
    """The transaction was undone; the next attempt may do."""


def _patiently(call: Callable[[], object]) -> None:
    """Calls it again while the client says that this is what to do, twice at most: each waits for `WITHIN` seconds."""
    from confluent_kafka import KafkaException

    for attempt in (1, 2, 3):
        try:
            call()
            return
        except KafkaException as error:
            if attempt == 3 or not error.args[0].retriable() or error.args[0].txn_requires_abort():
                raise


def _search(reader: Consumer, topic: str, key: bytes) -> bytes | None:
    """The last value of a key, or None, looked for from the end backwards."""
    from confluent_kafka import TopicPartition

    marks = reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN)
    if marks is None:
        raise BrokerError(f"topic {topic} does not say what it has")
    (low, high), window = marks, FIRST_LOOK
    while True:
        start = max(low, high - window)
        found = _scan(reader, TopicPartition(topic, 0, start), key)
        if found is not None or start <= low:
            return found
        window *= 10


def _scan(reader: Consumer, start: Any, key: bytes) -> bytes | None:
    """The last value of a key between `start` and the end."""
    found: bytes | None = None
    reader.assign([start])
    while True:
        for message in reader.consume(1000, 0.05) or ([one] if (one := reader.poll(WITHIN)) else []):
            error = message.error()
            if error is not None and error.name() == "_PARTITION_EOF":
                return found
            if error is not None:
                raise BrokerError(error.str())
            value = message.value()
            if message.key() == key:
                found = value if isinstance(value, bytes) else b""


def _close(producer: Producer) -> None:
    """Aborts what is open; a cluster that does not answer does so itself after a minute, or when the stream is opened again."""
    from contextlib import suppress

    from confluent_kafka import KafkaException

    with suppress(KafkaException):
        producer.abort_transaction(2.0)
