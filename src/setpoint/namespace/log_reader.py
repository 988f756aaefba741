"""Reading the log: what the reader's lane does.

A `LogReader` has a connection of its own, sees what is committed, and never makes the writer wait. It fetches whole
rows and looks through a bounded stretch at a time, so that one group far behind does not keep the others waiting. The
last values of topics are the table and what the writer has in memory since, put together at one moment in time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from setpoint.namespace import log_file, recent, records
from setpoint.namespace.broker import BrokerError, Message, TopicInfo
from setpoint.namespace.topic import TopicFilter

FETCH_BYTES: Final = 4 * 1024 * 1024
"""Most packed bytes that one fetch looks through before it comes back, even empty-handed, to let others read."""


class Fetched:
    """What a fetch brought: the messages wanted, where to go on, and how many offsets retention or damage has taken."""

    __slots__ = ("damage", "messages", "position", "skipped")

    def __init__(self, position: int) -> None:
        self.messages: list[Message] = []
        self.position = position
        self.skipped = 0
        self.damage = ""


class LogReader:
    """Reads a log while its writer writes. Raises `BrokerError` if the file cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = log_file.connect_reader(path)

    def fetch(self, position: int, limit: int, wanted: TopicFilter) -> Fetched:
        """The messages from `position` on whose topics are wanted, whole rows at a time until there are `limit` of them."""
        fetched = Fetched(position)
        with self._checked(), contextlib.closing(self._connection.cursor()) as rows:
            rows.execute("SELECT first, last, stamp, data FROM log WHERE last >= ? ORDER BY last", (position,))
            size = 0
            while size < FETCH_BYTES and len(fetched.messages) < limit and (row := rows.fetchone()):
                size += len(row[3])
                _take(fetched, row, wanted)
        return fetched

    def topics(self, contains: str, unwritten: Callable[[], Sequence[recent.Recent]]) -> list[TopicInfo]:
        """The last value of every topic that has `contains` in its name; `unwritten` gives what the table does not have yet, in order."""
        while True:
            with self._checked(), self._snapshot() as complete_to:
                overlays = unwritten()
                if overlays[0].base != complete_to:
                    continue  # the table was written just now, and the two do not fit together: look again
                changes = [overlay.copy() for overlay in overlays]
                known = recent.read(self._connection, contains)
            for change in changes:
                recent.merge(known, change, contains)
            return [known[topic] for topic in sorted(known)]

    @contextmanager
    def _snapshot(self) -> Iterator[int]:
        """Freezes what this connection sees; gives the offset up to which the table of last values is complete in it."""
        self._connection.execute("BEGIN")
        try:
            yield int(self._connection.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone()[0])
        finally:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as fault:
            if log_file.is_damage(fault):
                log_file.mark_damaged(self.path)
            raise BrokerError(
                f"the message log {self.path} cannot be read: {fault}; open the broker again to have it checked"
            ) from fault


def _take(fetched: Fetched, row: tuple[int, int, int, Any], wanted: TopicFilter) -> None:
    """Adds what is wanted of a row, from the position on, and moves the position behind the row."""
    first, last, stamp, data = row
    fetched.skipped += max(0, first - fetched.position)
    try:
        messages = records.restored(records.split(data), first=first, stamp=stamp)
    except ValueError:
        fetched.damage = f"the messages with the offsets {first} to {last} are damaged and were skipped"
        fetched.skipped += last + 1 - max(first, fetched.position)
    else:
        start = max(0, fetched.position - first)
        fetched.messages += [message for message in messages[start:] if wanted.matches(message.topic)]
    fetched.position = last + 1
