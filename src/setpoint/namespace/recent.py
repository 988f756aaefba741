"""The last value of every topic: a table, and in memory what has happened to it of late.

Writing a topic's row for each message would cost more than the message. So what happened since the table was last
written is kept in a `Recent`, and written now and then. The log itself makes that safe: the table says up to which offset it
is complete, and after a crash the messages from there on are taken from the log again. Writing goes in parts, so
that publishers need not wait for all of it; a row says itself up to which message of its topic it is right.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Final

import msgspec

from setpoint.namespace.broker import Message, TopicInfo

_COLUMNS: Final = 6
_ROWS_A_STATEMENT: Final = 1_000
"""One statement is one hand-over of the interpreter lock, and some milliseconds in which nothing else is written."""


_ROW_BYTES: Final = 400


class Recent:
    """What happened to topics from offset `base` on. Written by the writer's lane, copied by the reader's."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.size = 0
        self._lock = threading.Lock()  # held for work in memory alone, never for the disk
        self._latest: dict[str, tuple[Message, int, int]] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, messages: Sequence[Message], *, offsets: Iterable[int], stamp: int, size: int) -> None:
        """Takes in messages with these offsets, written at `stamp` (ms since 1970)."""
        topics = [message.topic for message in messages]
        with self._lock:
            self._latest.update(zip(topics, zip(messages, offsets, repeat(stamp)), strict=False))
            self._counts.update(topics)
            self.size += size

    def copy(self) -> dict[str, TopicInfo]:
        """The last value of each topic, with the number of its messages since `base`."""
        with self._lock:
            latest, counts = self._latest.copy(), self._counts.copy()
        return {
            topic: TopicInfo(
                topic, message.payload, message.headers, message.timestamp_ms or stamp, offset, counts[topic]
            )
            for topic, (message, offset, stamp) in latest.items()
        }

    def rows(self, topics: Sequence[str]) -> list[tuple[str, bytes, bytes, int, int, int]]:
        """What the table is to have of these topics."""
        encode = msgspec.msgpack.encode
        with self._lock:
            found = [(topic, *self._latest[topic], self._counts[topic]) for topic in topics]
        return [
            (topic, message.payload, encode(message.headers), message.timestamp_ms or stamp, offset, number)
            for topic, message, offset, stamp, number in found
        ]

    def topics(self) -> list[str]:
        """The topics to which something happened."""
        with self._lock:
            return list(self._latest)


def write(connection: sqlite3.Connection, recent: Recent, complete_to: int) -> None:
    """Adds `recent` to the table, which is complete up to but excluding the offset `complete_to` then. Within a transaction."""
    flush = Flush(recent, complete_to)
    while not flush.write_some(connection):
        flush.parted()


class Flush:
    """Adds `recent` to the table, a part at a time; with the last part the table is complete up to but excluding `complete_to`."""

    def __init__(self, recent: Recent, complete_to: int) -> None:
        self._recent, self._topics = recent, recent.topics()
        self._complete_to = complete_to
        self._written = self._parted = 0

    def write_some(self, connection: sqlite3.Connection) -> bool:
        """Writes the next part, within a transaction; whether it was the last. `parted` says that the transaction took effect."""
        part = self._topics[self._written : self._written + _ROWS_A_STATEMENT]
        if part:
            connection.execute(_upsert(len(part)), [value for row in self._recent.rows(part) for value in row])
        self._parted = self._written + len(part)
        if self._parted < len(self._topics):
            return False
        connection.execute("UPDATE meta SET value = ? WHERE key = 'indexed'", (self._complete_to,))
        return True

    def parted(self) -> int:
        """The part was written for good; roughly how many bytes those were."""
        count, self._written = self._parted - self._written, self._parted
        return count * _ROW_BYTES


def _upsert(rows: int) -> str:
    values = ",".join(["(" + ",".join("?" * _COLUMNS) + ")"] * rows)
    return (
        f"INSERT INTO topics VALUES {values} ON CONFLICT (topic) DO UPDATE SET payload = excluded.payload, headers = excluded.headers, "
        "timestamp_ms = excluded.timestamp_ms, last = excluded.last, count = count + excluded.count"
    )


def read(connection: sqlite3.Connection, contains: str) -> dict[str, TopicInfo]:
    """The table's rows of the topics that have `contains` in their names."""
    rows = connection.execute(
        "SELECT topic, payload, headers, timestamp_ms, last, count FROM topics WHERE instr(topic, ?)", (contains,)
    )
    decode = msgspec.msgpack.decode
    return {
        topic: TopicInfo(topic, payload, decode(headers), timestamp_ms, offset, total)
        for topic, payload, headers, timestamp_ms, offset, total in rows
    }


def merge(written: dict[str, TopicInfo], recent: dict[str, TopicInfo], contains: str) -> None:
    """Adds `recent` to what is known. What that has of it already is not counted again."""
    for topic, info in recent.items():
        if contains in topic:
            before = written.get(topic)
            if before and before.offset >= info.offset:
                continue
            written[topic] = msgspec.structs.replace(info, count=info.count + before.count) if before else info
