"""`kafka`: writes to topics of a Kafka cluster.

Fields as documented for Benthos' `kafka` and `kafka_franz` (`setpoint.flows.kafka` has those of the connection): `topic`, `key`,
`partition` and `timestamp_ms`, which may take values of the message (`setpoint.flows.interpolation`); `partitioner`; `compression`;
`metadata` says which meta become headers, by default all of them in `kafka` and none in `kafka_franz`; `static_headers`; `max_msg_bytes`;
`timeout`, in which a batch must be taken; `batching`, of the client to the brokers. A message with the meta `kafka_tombstone_message: true`
and no payload is a tombstone.

A batch is taken when the cluster has it on all replicas in sync (``acks=all``), and the client's own repeats are written once
(idempotence); there is no way to ask for less. A batch that was not taken in time is written again, of which some may be there already: at
least once. A message larger than `max_msg_bytes`, or without a value that its topic or key needs, is set aside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from setpoint.flows.component import ConnectError, Context, Duration, MessageError, Msg, WriteError, serialized
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.interpolation import Interpolated
from setpoint.flows.kafka import CONNECT_WITHIN, Batching, KafkaFields
from setpoint.namespace import BrokerError
from setpoint.namespace.kafka.client import LIBRARY
from setpoint.namespace.kafka.writer import Outgoing, Writer
from setpoint.services.blocking import in_thread

QUEUE_BYTES: Final = 64 * 1024 * 1024
CLOSE_WITHIN: Final = 1.0
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}\Z")
"""Names of topics (Apache Kafka, org.apache.kafka.common.internals.Topic)."""
_PARTITIONERS: Final = {
    "murmur2_hash": "murmur2_random",
    "fnv1a_hash": "fnv1a_random",
    "round_robin": "random",
    "manual": "",
}


def topic_fault(topic: str) -> str:
    """What is wrong with the name of a topic, or nothing."""
    if _TOPIC.match(topic) and topic not in (".", ".."):
        return ""
    return f"{topic[:60]!r} is not made of 1 to 249 letters, digits, '.', '_' and '-'"


def _text(text: str) -> str:
    Interpolated(text)
    return text


def _topic(text: str) -> str:
    if Interpolated(text).fixed and (fault := topic_fault(text)):
        raise ValueError(f"the topic {fault}")
    return text


def _patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return patterns


Filled = Annotated[str, AfterValidator(_text)]


class Metadata(ComponentFields):
    """Which meta become headers: those that begin with one of these or match one of those; all but the excluded where none is named."""

    include_prefixes: tuple[str, ...] = ()
    include_patterns: Annotated[tuple[str, ...], AfterValidator(_patterns)] = ()
    exclude_prefixes: tuple[str, ...] = ()


class Kafka:
    """Writes with an idempotent producer."""

    others = True
    """Whether meta become headers where none are named."""

    class Fields(KafkaFields):
        topic: Annotated[str, AfterValidator(_topic)]
        key: Filled = ""
        partition: Filled = ""
        timestamp_ms: Filled = ""
        partitioner: Literal["murmur2_hash", "fnv1a_hash", "round_robin", "manual"] = "murmur2_hash"
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
        static_headers: dict[str, str] = {}
        metadata: Metadata = Metadata()
        max_msg_bytes: int = Field(default=1_000_000, ge=1000, le=1_000_000_000)
        timeout: Duration = Field(default=25.0, gt=0, le=3600)
        ack_replicas: Literal[True] = True
        idempotent_write: Literal[True] = True
        batching: Batching = Batching()

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._topic, self._key = Interpolated(fields.topic), Interpolated(fields.key) if fields.key else None
        self._partition = Interpolated(fields.partition) if fields.partition else None
        self._time = Interpolated(fields.timestamp_ms) if fields.timestamp_ms else None
        wanted = [f"(?:{pattern})" for pattern in fields.metadata.include_patterns]
        wanted += [f"^{re.escape(prefix)}" for prefix in fields.metadata.include_prefixes]
        self._wanted = re.compile("|".join(wanted)) if wanted else None
        self._writer: Writer | None = None

    async def connect(self) -> None:
        await self.close()
        fields = self._fields
        try:
            self._writer = Writer(
                fields.access(), queue_bytes=QUEUE_BYTES, publish_timeout=fields.timeout, settings=self._settings()
            )
            await in_thread(partial(self._writer.reach, CONNECT_WITHIN))
        except ModuleNotFoundError as error:
            raise RuntimeError(LIBRARY) from error
        except BrokerError as error:
            await self.close()
            raise ConnectError(str(error)) from error

    def _settings(self) -> dict[str, Any]:
        fields, batching = self._fields, self._fields.batching
        asked = {
            "partitioner": _PARTITIONERS[fields.partitioner],
            "batch.num.messages": batching.count,
            "batch.size": batching.byte_size,
            "linger.ms": batching.period * 1000,
        }
        settings = {name: value for name, value in asked.items() if value}
        return {**settings, "compression.type": fields.compression, "message.max.bytes": fields.max_msg_bytes}

    def prepare(self, msg: Msg) -> Outgoing:
        """The message as it goes to the cluster. Raises `MessageError`."""
        topic = self._topic(msg)
        if not self._topic.fixed and (fault := topic_fault(topic)):
            raise MessageError(f"its topic {fault}")
        value: bytes | None = serialized(msg.payload)
        if not value and msg.meta.get("kafka_tombstone_message") == "true":
            value = None
        key = None if self._key is None else self._key(msg)
        if (size := len(value or b"") + len(key or "")) > self._fields.max_msg_bytes:
            raise MessageError(f"has {size} bytes; max_msg_bytes is {self._fields.max_msg_bytes}")
        partition = -1 if self._partition is None else _number(self._partition(msg), "partition")
        return Outgoing(topic, value, key, partition, self._stamp(msg), self._headers(msg))

    def _stamp(self, msg: Msg) -> int:
        return 0 if self._time is None else _number(self._time(msg), "timestamp_ms")

    def _headers(self, msg: Msg) -> dict[str, str | bytes | None]:
        fields = self._fields
        found: dict[str, str | bytes | None] = dict(fields.static_headers)
        if self._wanted is not None:
            found.update({name: value for name, value in msg.meta.items() if self._wanted.search(name)})
        elif self.others:
            excluded = fields.metadata.exclude_prefixes
            found.update({name: value for name, value in msg.meta.items() if not name.startswith(excluded)})
        return found

    async def write(self, batch: Sequence[Outgoing]) -> int:
        """Writes the batch and waits for the cluster. Raises `WriteError`."""
        if self._writer is None:
            raise ConnectError("not connected")
        size = sum(len(one.value or b"") for one in batch)
        headers = sum(len(name) + len(value or "") for one in batch for name, value in one.headers.items())
        try:
            await self._writer.send(batch, size + headers)
        except BrokerError as error:
            raise WriteError(str(error)) from error
        return size

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close(CLOSE_WITHIN)


class KafkaFranz(Kafka):
    """The same, as Benthos' `kafka_franz` has it: meta become headers only where they are named."""

    others = False


def _number(text: str, what: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise MessageError(f"its {what} is {text[:40]!r}, not a whole number") from None
    if number < 0:
        raise MessageError(f"its {what} is {number}; it must be 0 or more")
    return number
