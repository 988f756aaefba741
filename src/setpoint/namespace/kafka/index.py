"""The last value of every topic in a Kafka log, in a small database beside the agent's data.

Kafka keeps no such thing. So the log is read along, and what was found is written down now and then together with the offset up to which it
is complete; from there on the log is read again after a restart. The file can always be deleted: it is made again from what the log still
has, only the last values that retention has taken are lost, and the counts begin anew. It belongs to one log of one cluster, and is made
anew when it is given another one, or when the log is shorter than it was.

All calls block, and are made by one lane.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from setpoint.namespace import recent
from setpoint.namespace.broker import BrokerError, Message, TopicInfo
from setpoint.namespace.kafka.client import log
from setpoint.namespace.records import size_of

_SCHEMA: Final = (
    "CREATE TABLE topics (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, headers BLOB NOT NULL, timestamp_ms INTEGER NOT NULL, "
    "last INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
)
_PRAGMAS: Final = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA journal_size_limit=16777216")
HELD_BYTES: Final = 16 * 1024 * 1024
"""Bytes of changes in memory after which they are written at once."""


class KafkaIndex:
    """The table in the file at `path` (None: in memory, made anew at each start). `position` is where to read on. Raises `BrokerError`."""

    def __init__(self, path: Path | None, *, log_name: str, first: int, end: int) -> None:
        self._path = path
        self._name = log_name
        try:
            self._connection = self._opened(end)
        except sqlite3.DatabaseError as fault:
            if path is None or not path.exists():
                raise BrokerError(f"the last values cannot be kept in {path}: {fault}; check the directory") from fault
            log.warning("%s is damaged (%s): the last values are made again from the log", path, fault)
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            self._connection = self._opened(end)
        found = self._connection.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone()[0]
        self._recent = recent.Recent(max(found, first))
        self.position: int = self._recent.base
        self._known: set[str] = set()
        self.topics_known = self._written()

    def _opened(self, end: int) -> sqlite3.Connection:
        """The file as it is, or made anew where it is another log's."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        where = os.fspath(self._path) if self._path else ":memory:"
        connection = sqlite3.connect(where, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma).fetchall()
            fresh = not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone()
            if fresh:
                connection.executescript("BEGIN;" + ";".join(_SCHEMA) + "; COMMIT")
            meta = dict(connection.execute("SELECT key, value FROM meta"))
            if meta.get("log") != self._name or meta.get("indexed", 0) > end:
                rows = "INSERT OR REPLACE INTO meta VALUES ('log', ?), ('indexed', 0)"
                connection.execute("BEGIN")
                connection.execute("DELETE FROM topics")
                connection.execute(rows, (self._name,))
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _written(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM topics").fetchone()[0])

    def add(self, messages: Sequence[Message], position: int) -> None:
        """Takes in the messages that come next in the log; `position` is behind them."""
        offsets = [message.offset for message in messages]
        self._recent.add(messages, offsets=offsets, stamp=0, size=size_of(messages))
        for topic in {message.topic for message in messages} - self._known:
            self._known.add(topic)
            there = self._connection.execute("SELECT 1 FROM topics WHERE topic = ?", (topic,)).fetchone()
            self.topics_known += there is None
        self.position = position
        if self._recent.size > HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what changed. Raises `BrokerError`; the changes stay in memory then."""
        if self.position == self._recent.base:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                recent.write(self._connection, self._recent, self.position)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as fault:
            raise BrokerError(f"the last values cannot be written to {self._path}: {fault}; check the disk") from fault
        self._recent = recent.Recent(self.position)
        self._known.clear()
        self.topics_known = self._written()

    def topics(self, contains: str) -> list[TopicInfo]:
        """The last value of every topic that has `contains` in its name."""
        try:
            written = recent.read(self._connection, contains)
        except sqlite3.Error as fault:
            raise BrokerError(f"the last values cannot be read from {self._path}: {fault}") from fault
        recent.merge(written, self._recent.copy(), contains)
        return [written[topic] for topic in sorted(written)]

    def close(self) -> None:
        """Writes what changed and lets go of the file."""
        try:
            self.flush()
        finally:
            self._connection.close()
