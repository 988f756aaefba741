"""The last value of every topic: a table, and in memory what has happened to it of late.

Writing a topic's row for each message would cost more than the message. So what happened since the table was last
written is kept in a `Recent`, and written in one go now and then. The log itself makes that safe: the table says up
to which offset it is complete, and after a crash the messages from there on are taken from the log again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import count, repeat
from typing import Final

import msgspec

from setpoint.namespace.broker import Message, TopicInfo

_COLUMNS: Final = 6
_ROWS_A_STATEMENT: Final = 250
"""One statement is one hand-over of the interpreter lock. SQLite allows 32,766 variables at least."""


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

    def add(self, messages: Sequence[Message], *, first: int, stamp: int, size: int) -> None:
        """Takes in messages with the offsets from `first` on, written at `stamp` (ms since 1970)."""
        topics = [message.topic for message in messages]
        with self._lock:
            self._latest.update(zip(topics, zip(messages, count(first), repeat(stamp)), strict=False))
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


def write(connection: sqlite3.Connection, recent: Recent, complete_to: int) -> None:
    """Adds `recent` to the table, which is complete up to but excluding the offset `complete_to` then. Within a transaction."""
    rows = [
        (info.topic, info.payload, msgspec.msgpack.encode(info.headers), info.timestamp_ms, info.offset, info.count)
        for info in recent.copy().values()
    ]
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        part = rows[start : start + _ROWS_A_STATEMENT]
        connection.execute(_upsert(len(part)), [value for row in part for value in row])
    connection.execute("UPDATE meta SET value = ? WHERE key = 'indexed'", (complete_to,))


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


def merged(written: dict[str, TopicInfo], recent: dict[str, TopicInfo], contains: str) -> list[TopicInfo]:
    """Both together, ordered by topic."""
    for topic, info in recent.items():
        if contains in topic:
            before = written.get(topic)
            written[topic] = msgspec.structs.replace(info, count=info.count + before.count) if before else info
    return [written[topic] for topic in sorted(written)]
