"""Writing the log: what the writer's lane does.

A `LogWriter` appends, remembers the positions of groups, writes the last values of topics and applies retention. It
is plain, blocking code, used by one thread at a time. Its figures (`first`, `next`, …) may be read from anywhere:
they are single values, replaced after what they describe is durable.

Retention deletes whole rows from the old end and never the newest row, so that the next offset is always known and
none is used twice. Age is counted on a clock of its own that starts where the log ended, or at the wall clock if that
is later, and from then on runs with the monotonic clock: a wall clock that jumps while the process runs deletes
nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from setpoint.namespace import log_file, recent, records
from setpoint.namespace.broker import BrokerError, Message
from setpoint.namespace.log_file import Durability
from setpoint.namespace.records import Batch

ROW_BYTES: Final = 1024 * 1024
FLUSH_TOPICS: Final = 50_000
FLUSH_BYTES: Final = 16 * 1024 * 1024
_TRIM_ROWS: Final = 500
_VACUUM_PAGES: Final = 1_000

_APPEND: Final = "INSERT INTO log (last, first, stamp, age, total, data) VALUES (?, ?, ?, ?, ?, ?)"
_POSITION: Final = "INSERT INTO positions VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET next = excluded.next"
Row = tuple[int, int, int, int, int, bytes]


class LogWriter:
    """The one writer of a log. Every method that touches the disk raises `BrokerError` if that fails, and then has changed nothing."""

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "crash",
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._wall, self._monotonic = wall, monotonic
        self.damaged = False
        self._uncertain = False
        self.since_checkpoint = 0
        """Bytes, roughly, that were written since the session last had a checkpoint made."""
        self.unwritten: tuple[recent.Recent, ...] = ()
        self._flush: recent.Flush | None = None
        self._opened = monotonic()
        self._connection, self.recovered_from = log_file.connect(path, durability, self._load)

    def _load(self, connection: sqlite3.Connection) -> None:
        """Takes the state of the log from the file, and what the table of last values lacks, after a crash, from the log."""
        newest = connection.execute("SELECT last, age, total FROM log ORDER BY last DESC LIMIT 1").fetchone()
        last, age, total = newest or (-1, 0, 0)
        self.next, self._total = last + 1, total
        self._age_at_open = max(age, self._wall() * 1000) - (self._monotonic() - self._opened) * 1000
        self.first = self._oldest(connection)
        self.positions: dict[str, int] = dict(connection.execute("SELECT name, next FROM positions"))
        self._known = {hash(topic) for (topic,) in connection.execute("SELECT topic FROM topics")}
        base = connection.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone()[0]
        there = dict(connection.execute("SELECT topic, last FROM topics WHERE last >= ?", (base,)))  # by half a flush
        self._flush = None
        self.unwritten = (recent.Recent(base),)
        missing = connection.execute("SELECT first, stamp, data FROM log WHERE last >= ? ORDER BY last", (base,))
        for first, stamp, data in missing:
            with contextlib.suppress(ValueError):  # a damaged row: reported when it is read
                messages = records.restored(records.split(data), first=first, stamp=stamp)
                lacking = [message for message in messages if message.offset > there.get(message.topic, -1)]
                offsets = [message.offset for message in lacking]
                self._index(lacking, offsets=offsets, stamp=stamp, size=records.size_of(lacking))

    def _index(self, messages: Sequence[Message], *, offsets: Iterable[int], stamp: int, size: int) -> None:
        self.unwritten[-1].add(messages, offsets=offsets, stamp=stamp, size=size)
        self._known.update([hash(message.topic) for message in messages])

    @property
    def topics(self) -> int:
        """How many topics there have been. Counted by hash: 70 bytes a topic, and right but for a collision in 2**64."""
        return len(self._known)

    def append(self, batches: Sequence[Batch], positions: Mapping[str, int]) -> tuple[int, int]:
        """Writes messages and positions of groups, all or nothing; their first offset and time stamp (ms)."""
        if self._uncertain:
            self._reconsider()
        first, stamp = self.next, int(self._wall() * 1000)
        rows = self._rows(batches, first, stamp)
        with self._checked("written"):
            try:
                self._write(rows, positions)
            except sqlite3.Error:
                if not self._landed(rows):
                    raise
        self.positions.update(positions)
        if rows:
            self.since_checkpoint += rows[-1][4] - self._total
            self.next, self._total = rows[-1][0] + 1, rows[-1][4]
        offset = first
        for batch in batches:
            self._index(batch.messages, offsets=count(offset), stamp=stamp, size=batch.size)
            offset += len(batch.messages)
        return first, stamp

    def _rows(self, batches: Sequence[Batch], first: int, stamp: int) -> list[Row]:
        rows: list[Row] = []
        total, age = self._total, self._age()
        for group in _grouped(batches):
            data = records.join(group)
            total += len(data)
            last = first + sum([len(batch.messages) for batch in group]) - 1
            rows.append((last, first, stamp, age, total, data))
            first = last + 1
        return rows

    def _write(self, rows: list[Row], positions: Mapping[str, int]) -> None:
        if len(rows) == 1 and not positions:
            self._connection.execute(_APPEND, rows[0])  # a transaction of its own, in one call
            return
        with self._transaction():
            self._connection.executemany(_APPEND, rows)
            self._connection.executemany(_POSITION, positions.items())

    def _landed(self, rows: list[Row]) -> bool:
        """Whether `rows` are in the log although writing them raised: a commit can fail after it took effect."""
        with contextlib.suppress(sqlite3.Error):
            return bool(rows) and self._connection.execute("SELECT max(last) FROM log").fetchone()[0] == rows[-1][0]
        return False

    def _reconsider(self) -> None:
        """After a fault: takes the state from the file again if it is not what we think."""
        with self._checked("read"):
            newest = self._connection.execute("SELECT max(last) FROM log").fetchone()[0]
            if (-1 if newest is None else newest) + 1 != self.next:
                self._load(self._connection)
        self._uncertain = False

    def flush(self) -> bool:
        """Writes a part of the last values of topics that changed since they were written last; whether there is more to write."""
        if self._flush is None:
            last = self.unwritten[-1]
            if last.base == self.next:
                return False
            self._flush = recent.Flush(last, self.next)
            self.unwritten = (last, recent.Recent(self.next))
        with self._checked("written"), self._transaction():
            complete = self._flush.write_some(self._connection)
        self.since_checkpoint += self._flush.parted()
        if complete:
            self._flush = None
            self.unwritten = self.unwritten[1:]
        return not complete

    @property
    def flush_is_due(self) -> bool:
        """Whether so much has changed that memory asks for a flush."""
        latest = self.unwritten[-1]
        return len(latest) >= FLUSH_TOPICS or latest.size >= FLUSH_BYTES

    def trim(self, retention_ms: int, retention_bytes: int) -> bool:
        """Deletes some of what is older than `retention_ms` or beyond the newest `retention_bytes` (0: no limit).

        Returns whether there is more to do.
        """
        with self._checked("written"):
            cut = self._cut(retention_ms, retention_bytes)
            if cut is None:
                return self._shrink()
        self._flush_all()  # so that no value is left that only the deleted rows know
        with self._checked("written"):
            self._connection.execute("DELETE FROM log WHERE last <= ?", (cut,))
            self.first = self._oldest(self._connection)
        return True

    def _cut(self, retention_ms: int, retention_bytes: int) -> int | None:
        """The last offset to delete in one go, if retention asks for any; never the newest row."""
        old = self._age() - retention_ms if retention_ms else 0
        beyond = self._total - retention_bytes if retention_bytes else 0
        cut: int | None = self._connection.execute(
            "SELECT max(last) FROM (SELECT last, age, total FROM log WHERE last < ? ORDER BY last LIMIT ?) WHERE age < ? OR total <= ?",
            (self.next - 1, _TRIM_ROWS, old, beyond),
        ).fetchone()[0]
        return cut

    def _shrink(self) -> bool:
        """Gives space back to the file system once a quarter of the file is empty. Whether there is more to give."""
        free, pages = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
        )
        if free <= max(_VACUUM_PAGES, pages // 4):
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        return True

    def probe(self) -> None:
        """Finds out whether the disk takes writes again, with as much as a typical commit has."""
        with self._checked("written"):
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(65536))")
            self._connection.execute("DELETE FROM meta WHERE key = 'probe'")

    def close(self) -> None:
        """Writes what is not written yet and lets go of the file, which is done even if it raises."""
        try:
            self._flush_all()
        finally:
            self._connection.close()

    def _flush_all(self) -> None:
        newest = self.next
        while self._flush is not None or self.unwritten[-1].base < newest:
            self.flush()

    def _age(self) -> int:
        return int(self._age_at_open + (self._monotonic() - self._opened) * 1000)

    def _oldest(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT first FROM log ORDER BY last LIMIT 1").fetchone()
        return int(row[0]) if row else self.next

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _checked(self, doing: str) -> Iterator[None]:
        """Turns a fault of the database into a `BrokerError` that says what to do."""
        try:
            yield
        except (sqlite3.Error, OverflowError) as fault:
            self._uncertain = True
            raise BrokerError(
                f"the message log {self.path} cannot be {doing}: {fault}; {self._remedy(fault)}"
            ) from fault

    def _remedy(self, fault: Exception) -> str:
        if log_file.is_damage(fault):
            self.damaged = True
            log_file.mark_damaged(self.path)
            return "the file is damaged; it is checked, and set aside if need be, when the broker is opened again"
        return "check the disk and its free space; publishing goes on by itself once it takes writes again"


def _grouped(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """`batches` in order, as many together as fit in one row."""
    group: list[Batch] = []
    size = 0
    for batch in batches:
        if group and (size + len(batch.data) > ROW_BYTES or len(group) == records.MAX_ROW_BATCHES):
            yield group
            group, size = [], 0
        group.append(batch)
        size += len(batch.data)
    if group:
        yield group
