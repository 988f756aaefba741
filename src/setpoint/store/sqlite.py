"""The journal in SQLite: one file, one writer thread, group commit.

`append` keeps a transition in memory and returns; the writer commits what is waiting in one transaction, so a kill -9 loses at most the
last batch (`FLUSH_S`) and never what was committed before (WAL, synchronous=NORMAL: safe against the death of the process; the last
moments may be lost with the power). What cannot be written waits in memory, bounded, and is tried again for ever. The number of rows is
bounded. A file that is damaged is set aside under a new name, which is logged, and a fresh one is started; one that merely cannot be used
now (a full disk, a lock) is left as it is and tried again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from setpoint.store.journal import Transition

log = structlog.get_logger(__name__)

FLUSH_S = 0.05
RETRY_S = 1.0
KEEP_ROWS = 200_000
"""Transitions kept in the file; the oldest go first."""
KEEP_WAITING = 20_000
"""Transitions kept in memory while they cannot be written; the oldest go first."""
PRUNE_EVERY = 10_000
"""Written transitions between two prunings; one is done at the start."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS transitions (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL,
    reason TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS transitions_by_path ON transitions (path, id);
"""
_INSERT = "INSERT INTO transitions (path, at, event, source, target, reason) VALUES (?, ?, ?, ?, ?, ?)"
_LATEST = "SELECT path, at, event, source, target, reason FROM transitions WHERE path = ? ORDER BY id DESC LIMIT ?"
_PRUNE = "DELETE FROM transitions WHERE id <= (SELECT MAX(id) FROM transitions) - ?"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteJournal:
    """Transitions in a SQLite file. Never raises for the state of the disk: `error` says what is the matter."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.error = ""
        """Why the file could not be used at the latest attempt; "" when it could."""
        self._waiting: deque[Transition] = deque(maxlen=KEEP_WAITING)
        self._news = threading.Event()
        self._closed = False
        self._commit = (
            threading.Lock()
        )  # held while rows move from memory to the file, so that no reader sees them twice
        self._connection: sqlite3.Connection | None = None
        self._written = PRUNE_EVERY
        self._connect()
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def append(self, transition: Transition) -> None:
        """Keep it; returns at once."""
        self._waiting.append(transition)
        self._news.set()

    def history(self, path: str, limit: int = 100) -> Sequence[Transition]:
        """The latest transitions of one worker, oldest first, in the order in which they were made."""
        with self._commit:
            waiting = [row for row in tuple(self._waiting) if row.path == path][-limit:]
            rows: list[tuple[str, float, str, str, str, str]] = []
            if self._connection is not None and len(waiting) < limit:
                try:
                    rows = self._connection.execute(_LATEST, (_storable(path), limit - len(waiting))).fetchall()
                except sqlite3.Error as error:
                    self._failed(error)
        return [*(Transition(*row) for row in reversed(rows)), *waiting]

    def close(self) -> None:
        """Write what is waiting, where it can be written, and let go of the file. Returns within some seconds."""
        self._closed = True
        self._news.set()
        self._thread.join(timeout=5.0)

    def _write_all(self) -> None:
        while not self._closed:
            self._news.wait()
            time.sleep(0.0 if self._closed else FLUSH_S)  # what comes meanwhile goes into the same transaction
            self._news.clear()
            if not self._write() and not self._closed:
                time.sleep(RETRY_S)
                self._news.set()
        self._write()
        with self._commit:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _write(self) -> bool:
        """Move what is waiting to the file; False when it could not be."""
        with self._commit:
            if self._connection is None and not self._connect():
                return False
            assert self._connection is not None
            rows = list(self._waiting)  # at once: others append meanwhile
            try:
                with self._connection as transaction:
                    transaction.executemany(
                        _INSERT, [tuple(map(_storable, msgspec.structs.astuple(row))) for row in rows]
                    )
                    if self._written >= PRUNE_EVERY:
                        transaction.execute(_PRUNE, (KEEP_ROWS,))
                        self._written = 0
            except sqlite3.Error as error:
                self._failed(error)
                return False
            for row in rows:
                if self._waiting and self._waiting[0] is row:  # the oldest may have been dropped meanwhile
                    self._waiting.popleft()
            self._written += len(rows)
            self.error = ""
            return True

    def _connect(self) -> bool:
        try:
            self._connection = _open_or_set_aside(self._file)
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        if not self.error:
            log.error(
                "the journal cannot be used; transitions are kept in memory", file=self._file.name, why=str(error)
            )
        self.error = str(error)


def _storable(value: str | float) -> str | float:
    """Text that SQLite can keep: a broken character, as in a file name that is not Unicode, becomes `?`."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _open_or_set_aside(file: Path) -> sqlite3.Connection:
    """Open the file; a damaged one makes place for a fresh one. Raises `sqlite3.Error` or `OSError` when it cannot be used now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = _opened(file)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict == "ok":
            return connection
        connection.close()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) not in _DAMAGED:
            raise
        verdict = str(error)
    aside = file.with_name(f"{file.stem}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{file.suffix}")
    log.error(
        "the journal is damaged; it is set aside and a fresh one started", file=file.name, aside=aside.name, why=verdict
    )
    for suffix in ("", "-wal", "-shm"):
        part = file.with_name(file.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return _opened(file)


def _opened(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=2.0, check_same_thread=False)
    try:
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
