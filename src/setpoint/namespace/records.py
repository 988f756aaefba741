"""How messages lie in the log: many to a row, packed.

The unit of publishing is the batch, and the unit of the log is the row: all the batches of one commit, as one
MessagePack array of batches, each an array of ``[topic, payload, headers, timestamp_ms]``; offsets follow from the
row's first one. One row means one SQL statement and so one hand-over of the interpreter lock a commit, however many
messages it has; that is what makes the log cheap. A row begins with a byte that says whether the rest is deflated
(RFC 1950) or plain.

Packing happens where a message is published, so that a message that cannot be packed is the fault of its publisher
alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import msgspec

from setpoint.namespace.broker import BrokerError, Message
from setpoint.namespace.payload import MAX_PAYLOAD_BYTES
from setpoint.namespace.topic import MAX_TOPIC_LENGTH

MAX_HEADER_BYTES: Final = 65_536
"""Most that the headers of one message may take, packed."""

MAX_BATCH_BYTES: Final = 1024 * 1024
MAX_BATCH_MESSAGES: Final = 1000
MAX_ROW_BATCHES: Final = 65_535
_DEFLATE_FROM: Final = 1024
_PLAIN, _DEFLATED = b"\x00", b"\x01"
_MAX_INTEGER: Final = 2**63 - 1

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Messages that are packed and may be written. `size` counts the bytes of topics and payloads."""

    messages: Sequence[Message]
    data: bytes
    size: int


def batches(messages: Sequence[Message]) -> list[Batch]:
    """`messages` as batches of bounded size. Raises `BrokerError` that says which message is not acceptable and why."""
    packed: list[Batch] = []
    for start in range(0, len(messages), MAX_BATCH_MESSAGES):
        _pack(messages[start : start + MAX_BATCH_MESSAGES], packed)
    return packed


def _pack(messages: Sequence[Message], packed: list[Batch]) -> None:
    """Adds the batch of `messages`, or of each half if they are too large: whole columns at a time, as this sees every message."""
    data, size, acceptable = b"", 0, False
    try:
        topics = [message.topic for message in messages]
        payloads = [message.payload for message in messages]
        times = [message.timestamp_ms for message in messages]
        size = len("".join(topics)) + sum(map(len, payloads))  # joining checks the types as well
        if size > MAX_BATCH_BYTES and len(messages) > 1:
            half = len(messages) // 2
            _pack(messages[:half], packed)
            _pack(messages[half:], packed)
            return
        b"".join(payloads)
        headers = [message.headers for message in messages]
        for distinct in {id(one): one for one in headers}.values():  # a flow has one for all its messages
            "".join(distinct) and "".join(distinct.values())
        data = _encoder.encode(list(zip(topics, payloads, headers, times, strict=True)))
        acceptable = (
            max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
            and min(map(len, topics)) > 0
            and max(map(len, topics)) <= MAX_TOPIC_LENGTH
            and min(times) >= 0
            and max(times) <= _MAX_INTEGER
            and type(sum(times)) is int
            and len(data) - size <= MAX_HEADER_BYTES
        )
    except (TypeError, ValueError, OverflowError, AttributeError, RecursionError, msgspec.MsgspecError) as fault:
        for message in messages:
            _check(message)
        raise BrokerError(f"the messages cannot be packed: {fault}") from fault
    if not acceptable:  # or only the sum of the headers is large
        for message in messages:
            _check(message)
    packed.append(Batch(messages, data, size))


def _check(message: Message) -> None:
    """Raises `BrokerError` if this message is what a batch was not acceptable for."""
    if not isinstance(message, Message):
        raise BrokerError(f"expected a Message, not {type(message).__name__}")
    topic, payload, headers = message.topic, message.payload, message.headers
    if not isinstance(topic, str) or not 0 < len(topic) <= MAX_TOPIC_LENGTH:
        raise BrokerError(
            f"the topic of a message must be a text of 1 to {MAX_TOPIC_LENGTH} characters, not {topic!r:.60}"
        )
    if not isinstance(payload, bytes):
        raise BrokerError(f"message of {topic}: the payload must be bytes, not {type(payload).__name__}")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BrokerError(
            f"message of {topic}: the payload has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} (1 MiB) are allowed"
        )
    if type(message.timestamp_ms) is not int or not 0 <= message.timestamp_ms <= _MAX_INTEGER:
        raise BrokerError(
            f"message of {topic}: timestamp_ms must be a whole number from 0 up, not {message.timestamp_ms!r:.60}"
        )
    if not isinstance(headers, dict) or not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise BrokerError(f"message of {topic}: headers must map texts to texts, not {headers!r:.60}")
    _check_text(topic, headers)


def _check_text(topic: str, headers: dict[str, str]) -> None:
    try:
        too_large = len(_encoder.encode(headers)) > MAX_HEADER_BYTES
        _encoder.encode(topic)
    except UnicodeEncodeError as fault:
        raise BrokerError(f"message of {topic!a:.60}: topic and headers must be valid Unicode: {fault}") from fault
    if too_large:
        raise BrokerError(f"message of {topic}: the headers take more than {MAX_HEADER_BYTES} bytes")


def join(parts: Sequence[Batch]) -> bytes:
    """The data of one row with all of `parts`, at most `MAX_ROW_BATCHES`, in order."""
    packed = b"".join((b"\xdc", len(parts).to_bytes(2, "big"), *[part.data for part in parts]))  # MessagePack: array 16
    if len(packed) < _DEFLATE_FROM:
        return _PLAIN + packed
    return _DEFLATED + zlib.compress(packed, 1)


def split(data: bytes) -> list[list[Any]]:
    """The messages of a row as ``[topic, payload, headers, timestamp_ms]``. Raises `ValueError` if `data` is damaged."""
    try:
        packed = zlib.decompress(memoryview(data)[1:]) if data[:1] == _DEFLATED else data[1:]
        return [entry for batch in _decoder.decode(packed) for entry in batch]
    except (zlib.error, msgspec.MsgspecError, TypeError) as fault:
        raise ValueError(f"a row of the log cannot be unpacked: {fault}") from fault


def restored(entries: list[list[Any]], *, first: int, stamp: int) -> list[Message]:
    """The messages of a row that begins at offset `first` and was written at `stamp` (ms since 1970)."""
    return [
        Message(topic, payload, headers, timestamp_ms or stamp, offset)
        for offset, (topic, payload, headers, timestamp_ms) in zip(count(first), entries, strict=False)
    ]


def stamped(messages: Sequence[Message], *, first: int, stamp: int) -> list[Message]:
    """Published `messages` as readers get them: with their offsets, from `first`, and their times."""
    return [
        Message(message.topic, message.payload, message.headers, message.timestamp_ms or stamp, offset)
        for offset, message in zip(count(first), messages, strict=False)
    ]


def size_of(messages: Sequence[Message]) -> int:
    """Bytes of the topics and payloads of `messages`."""
    return sum([len(message.topic) + len(message.payload) for message in messages])
