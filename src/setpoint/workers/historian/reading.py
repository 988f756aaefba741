"""From messages of the namespace to rows of the historian.

A time series becomes a value at its own time; truth values are 1 and 0. Every other object becomes a document at the time at which the
namespace got it. What no database could hold (a time outside of the years 1 to 9999, a number that no double holds, a text with a zero
byte) is rejected here; what only the database at hand refuses is found by writing parts of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from setpoint.namespace import Message, PayloadError, TimeSeries, Topic, TopicError, decode
from setpoint.services.historian import Place, Readings, Rejected

REJECTED_BYTES: Final = 10_000
"""How much of a payload is kept that was rejected."""
_FIRST_MS: Final = -62_135_596_800_000
"""The beginning of the year 1."""
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999."""


def readings_of(messages: Iterable[Message]) -> Readings:
    """The rows that these messages make."""
    batch = Readings()
    for message in messages:
        try:
            _add(batch, message)
        except (TopicError, PayloadError, ValueError, OverflowError) as error:
            batch.rejected.append(rejected(message, str(error)))
    return batch


def rejected(message: Message, reason: str) -> Rejected:
    """The row that says why the message was not kept."""
    at = min(max(message.timestamp_ms, _FIRST_MS), _LAST_MS)
    topic, why = (text.replace("\x00", "\ufffd") for text in (message.topic, reason[:1000]))
    return Rejected(at, topic, why, message.payload[:REJECTED_BYTES])


def _add(batch: Readings, message: Message) -> None:
    topic = message.topic
    place = _place(topic)
    said = decode(message.payload, place.contract)
    if not isinstance(said, TimeSeries):
        batch.documents[topic, _moment(message.timestamp_ms), message.offset] = message.payload.decode()
    elif isinstance(said.value, str):
        if "\x00" in said.value:
            raise PayloadError("its text contains a zero byte, which no database takes")
        batch.texts[topic, _moment(said.timestamp_ms)] = said.value
    else:
        batch.numbers[topic, _moment(said.timestamp_ms)] = float(said.value)
    batch.places[topic] = place


def _moment(timestamp_ms: int) -> int:
    if not _FIRST_MS <= timestamp_ms <= _LAST_MS:
        raise PayloadError(f"timestamp_ms is {timestamp_ms}, which is not within the years 1 to 9999")
    return timestamp_ms


@lru_cache(65_536)
def _place(topic: str) -> Place:
    parts = Topic.parse(topic)
    return Place(topic, parts.location_path, parts.contract, ".".join(parts.virtual_path), parts.name)
