"""The journal in SQLite: one file, one writer thread, group commit.

`append` puts a transition into a queue and returns; the writer commits what is waiting in one transaction, so a kill -9 loses at most the
last batch (`FLUSH_S`) and never what was committed before (WAL, synchronous=NORMAL: safe against the death of the process; the last
moments may be lost with the power). Each worker's history is bounded. A file that cannot be read is set aside under a new name, said so
in the log, and a fresh one is started: the past is worth less than the agent coming up.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec
import structlog

from setpoint.store.journal import MemoryJournal, Transition

log = structlog.get_logger(__name__)

FLUSH_S = 0.05
KEEP_ROWS = 200_000
"""Transitions kept in all; the oldest go first."""
PRUNE_EVERY = 10_000
"""Written transitions between two prunings."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS transitions (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL,
    reason TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS transitions_by_path ON transitions (path, id);
"""


class SqliteJournal:
    """Transitions in a SQLite file. Raises `OSError` when neither the file nor a fresh one can be opened."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._recent = MemoryJournal()
        self._queue: SimpleQueue[Transition | None] = SimpleQueue()
        self.error = ""
        """Why the latest write failed; "" when it did not."""
        self._reader = _open_or_set_aside(file)
        self._known = {path for (path,) in self._reader.execute("SELECT DISTINCT path FROM transitions")}
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def append(self, transition: Transition) -> None:
        """Keep it; returns at once."""
        self._recent.append(transition)
        self._queue.put(transition)

    def history(self, path: str, limit: int = 100) -> Sequence[Transition]:
        """The latest transitions of one worker, oldest first."""
        recent = self._recent.history(path, limit)
        if len(recent) >= limit or path not in self._known:
            return recent
        first = recent[0].at if recent else float("inf")
        rows = self._reader.execute(
            "SELECT path, at, event, source, target, reason FROM transitions WHERE path = ? AND at < ? ORDER BY id DESC LIMIT ?",
            (path, first, limit - len(recent)),
        ).fetchall()
        return [Transition(*row) for row in reversed(rows)] + list(recent)

    def close(self) -> None:
        """Write what is waiting and let go of the file."""
        self._queue.put(None)
        self._thread.join(timeout=5.0)
        self._reader.close()

    def _write_all(self) -> None:
        connection = _connect(self._file)
        written, open_ = 0, True
        waiting: list[Transition] = []
        while open_:
            open_ = self._gather(waiting)
            if waiting and self._commit(connection, waiting):
                written += len(waiting)
                waiting.clear()
            if written >= PRUNE_EVERY:
                written = 0
                _prune(connection)
        connection.close()

    def _gather(self, waiting: list[Transition]) -> bool:
        """Wait for transitions, then take those that come within the flush time. False once the journal is closed."""
        deadline = None
        while deadline is None or time.monotonic() < deadline:
            try:
                item = self._queue.get(timeout=1.0 if deadline is None else max(0.001, deadline - time.monotonic()))
            except Empty:
                if waiting:
                    return True
                continue
            if item is None:
                return False
            waiting.append(item)
            deadline = deadline or time.monotonic() + FLUSH_S
        return True

    def _commit(self, connection: sqlite3.Connection, rows: list[Transition]) -> bool:
        try:
            with connection:
                connection.executemany(
                    "INSERT INTO transitions (path, at, event, source, target, reason) VALUES (?, ?, ?, ?, ?, ?)",
                    [tuple(map(_storable, msgspec.structs.astuple(row))) for row in rows],
                )
        except sqlite3.Error as error:
            if not self.error:
                log.error(
                    "the journal cannot be written; transitions are kept in memory until it can",
                    file=self._file.name,
                    why=str(error),
                )
            self.error = str(error)
            del rows[:-KEEP_ROWS]  # bounded, however long the disk is full
            time.sleep(FLUSH_S)
            return False
        self.error = ""
        return True


def _storable(value: str | float) -> str | float:
    """Text that SQLite can keep: a broken character, as in a file name that is not Unicode, becomes `?`."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=5.0, check_same_thread=False)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
    return connection


def _open_or_set_aside(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = _connect(file)
        if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
            return connection
        connection.close()
        reason = "it is damaged"
    except sqlite3.DatabaseError as error:
        reason = str(error)
    aside = file.with_name(f"{file.stem}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{file.suffix}")
    log.error(
        "the journal cannot be read; it is set aside and a fresh one started",
        file=file.name,
        aside=aside.name,
        why=reason,
    )
    for suffix in ("", "-wal", "-shm"):
        part = file.with_name(file.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return _connect(file)


def _prune(connection: sqlite3.Connection) -> None:
    try:
        with connection:
            connection.execute(
                "DELETE FROM transitions WHERE id <= (SELECT MAX(id) FROM transitions) - ?", (KEEP_ROWS,)
            )
    except sqlite3.Error as error:
        log.warning("old transitions could not be removed from the journal", why=str(error))
