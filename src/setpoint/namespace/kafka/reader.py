"""Reading a Kafka log from any place: what the reader's lane does.

One consumer serves all who are behind, a stretch at a time, so that a group far behind does not keep the others waiting. It goes on
where it stands when the next stretch is the one behind it, and is placed anew when it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from setpoint.namespace.broker import BrokerError, Message
from setpoint.namespace.kafka.client import Access, Faults, failure, persist, told
from setpoint.namespace.kafka.feed import BATCH, consumer

if TYPE_CHECKING:
    from confluent_kafka import Message as Raw

WITHIN: Final = 10.0
"""Seconds in which the cluster must answer."""
FETCH_BYTES: Final = 4 * 1024 * 1024
"""Most that one fetch looks through before it comes back, to let others read."""
_SILENT: Final = "did not answer within"


class Layout(NamedTuple):
    """What was found when the log was opened: whose it is, in how many partitions (0: none yet), and from where to where it reaches."""

    cluster: str
    partitions: int
    first: int
    end: int


class KafkaReader:
    """All calls block, and are made by one lane. Raises `BrokerError`."""

    def __init__(self, access: Access, topic: str) -> None:
        from confluent_kafka import TopicPartition

        self._access, self._topic = access, topic
        self.faults = Faults()
        self._part = TopicPartition
        self._consumer = consumer(
            access,
            self.faults,
            {
                "group.id": "setpoint-reader",  # never joined
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
            },
        )
        self._at = -1

    def layout(self, within: float, *, made: bool = False) -> Layout:
        """Asks for at most `within` seconds. A topic that was just `made` is waited for: brokers learn of it one after the other."""

        def look() -> Layout:
            metadata = self._consumer.list_topics(self._topic, timeout=min(1.0, within))
            topic = metadata.topics.get(self._topic)
            partitions = len(topic.partitions) if topic is not None and topic.error is None else 0
            if made and not partitions:
                raise BrokerError(f"topic {self._topic} was made and does not appear")
            first, end = self.watermarks(within) if partitions else (0, 0)
            return Layout(metadata.cluster_id or "", partitions, first, end)

        return persist(look, self._consumer, access=self._access, faults=self.faults, within=within)

    def watermarks(self, within: float = WITHIN) -> tuple[int, int]:
        """The oldest offset that is kept, and the one that the next message gets."""
        from confluent_kafka import KafkaException

        try:
            found = self._consumer.get_watermark_offsets(self._part(self._topic, 0), timeout=within)
        except KafkaException as error:
            self._consumer.poll(0)  # has it say what is wrong
            raise BrokerError(self.faults.because(f"{self._access.name}: {failure(error)}")) from error
        if found is None:
            raise BrokerError(f"{self._access.name} {_SILENT} {within:g} s")
        self.faults.clear()
        return found

    def fetch(self, position: int, limit: int) -> tuple[list[Message], int, int]:
        """Messages from `position` on, where to go on, and how many offsets at the beginning are kept no more."""
        skipped = 0
        if position != self._at:
            low, _ = self.watermarks()
            skipped, position = max(0, low - position), max(low, position)
            self._consumer.assign([self._part(self._topic, 0, position)])
        self._at = -1  # until it is known again
        found, size = [], 0
        came = self._first()
        while came:
            for message in came:
                if (error := message.error()) is not None:
                    position = (
                        self._past(message, position) if error.name() == "_PARTITION_EOF" else self._fault(message)
                    )
                    continue
                found.append(namespace_message(message))
                position = found[-1].offset + 1
                size += len(found[-1].payload)
            enough = len(found) >= limit or size >= FETCH_BYTES
            came = [] if enough else self._consumer.consume(BATCH, 0)
        self._at = position
        return found, position, skipped

    def _first(self) -> Sequence[Raw]:
        first = self._consumer.poll(WITHIN)
        if first is None:
            raise BrokerError(self.faults.because(f"{self._access.name} {_SILENT} {WITHIN:g} s"))
        self.faults.clear()
        return [first]

    @staticmethod
    def _past(end: Raw, position: int) -> int:
        """The end of the log, behind what transactions and compaction left there."""
        return max(position, end.offset() or 0)

    def _fault(self, message: Raw) -> int:
        error = message.error()
        raise BrokerError(f"{self._topic}: {told(error) if error else 'fault'}")

    def close(self) -> None:
        """Lets go of the connections."""
        self._consumer.close()


def namespace_message(raw: Raw) -> Message:
    """A message as the namespace has it: the key is its topic; bytes that are no text are shown as what they are not."""
    payload, headers = raw.value(), raw.headers()
    texts = {name: text(value) for name, value in headers} if isinstance(headers, list) else {}
    body = payload if isinstance(payload, bytes) else b""
    return Message(text(raw.key()), body, texts, max(0, raw.timestamp()[1]), raw.offset() or 0)


def namespace_messages(raw: Sequence[Raw]) -> list[Message]:
    """The same for many."""
    return [namespace_message(one) for one in raw]


def text(value: bytes | str | None) -> str:
    """What is written as bytes but meant as a text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
