"""The file of the log: opening it safely.

The log is an SQLite database in WAL mode, so that readers and the one writer do not wait for each other. Before
anything else the file beside it with the ending ``.lock`` is locked (`flock`), which the operating system undoes
however the process ends: a second process is refused and told who has it. A database that is damaged is not repaired
in place: it is set aside, together with its journal, under a name that says when, and a fresh one is started. A
database of another program, or of a newer version of this one, is left alone and refused.

Damage that shows only later, in the middle of running, leaves a mark beside the file; the next opening then checks
the whole file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from setpoint.namespace.broker import BrokerError
from setpoint.namespace.records import split

Durability = Literal["crash", "power"]

_APPLICATION_ID: Final = 0x5350_4C47  # "SPLG"
_VERSION: Final = 1
_SCHEMA: Final = (
    # A row holds the offsets from `first` to `last`. `stamp` is the wall clock (ms); `age` the clock of retention (ms), which never goes
    # back; `total` counts the bytes of all rows so far, so that the size of any range is one subtraction.
    "CREATE TABLE log (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, stamp INTEGER NOT NULL, age INTEGER NOT NULL, "
    "total INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE topics (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, headers BLOB NOT NULL, timestamp_ms INTEGER NOT NULL, "
    "last INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE positions (name TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('indexed', 0)",
    f"PRAGMA application_id={_APPLICATION_ID}",
    f"PRAGMA user_version={_VERSION}",
)
_PRAGMAS: Final = (
    "PRAGMA auto_vacuum=INCREMENTAL",  # has an effect only before the first table: lets retention give space back
    "PRAGMA journal_mode=WAL",
    "PRAGMA secure_delete=OFF",  # overwriting what retention deletes would cost as much as writing it did
    "PRAGMA wal_autocheckpoint=4000",  # 16 MB: only where `checkpoint` could not keep up
    "PRAGMA journal_size_limit=67108864",
)


def is_damage(fault: BaseException) -> bool:
    """Whether SQLite says with this that the file itself is broken (SQLITE_CORRUPT, SQLITE_NOTADB)."""
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def mark_damaged(path: Path) -> None:
    """Has the next opening check the whole file. As good as it can on a disk that may be full or broken."""
    with contextlib.suppress(OSError):
        _beside(path, ".damaged").touch()


def lock(path: Path) -> int:
    """Takes the log for this process; closing the returned descriptor gives it up. Raises `BrokerError` if another has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as fault:
        raise BrokerError(
            f"the message log {path} cannot be opened: {fault}; check the directory and its permissions"
        ) from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):  # a full disk: the lock holds even if it cannot say whose it is
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise BrokerError(
            f"the message log {path} is in use by process {owner}; stop that process or use another path"
        ) from None
    return descriptor


def connect(
    path: Path, durability: Durability, load: Callable[[sqlite3.Connection], None]
) -> tuple[sqlite3.Connection, str]:
    """The connection of the writer, and where a damaged file was set aside ("" if there was none).

    `load` takes from a connection what the writer needs to know; damage that it meets counts as well.
    Raises `BrokerError` for a file that is not ours, or that the disk does not let us open.
    """
    try:
        return _connect(path, durability, load), ""
    except (sqlite3.Error, ValueError) as fault:
        if isinstance(fault, sqlite3.Error) and not is_damage(fault):
            raise BrokerError(
                f"the message log {path} cannot be opened: {fault}; check disk space and permissions"
            ) from fault
    try:
        aside = _set_aside(path)
        return _connect(path, durability, load), aside
    except (sqlite3.Error, OSError) as fault:
        raise BrokerError(f"the message log {path} is damaged and cannot be set aside: {fault}") from fault


def checkpoint(path: Path) -> None:
    """Takes what is in the write-ahead log over into the file, while others read and write. What cannot be done is done later."""
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            connection.close()


def connect_reader(path: Path) -> sqlite3.Connection:
    """A further connection, which can only read."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _connect(path: Path, durability: Durability, load: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        fresh = _recognise(connection, path)
        for pragma in (*_PRAGMAS, f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}"):
            connection.execute(pragma).fetchall()
        if fresh:
            connection.executescript("BEGIN;" + ";".join(_SCHEMA) + "; COMMIT")
        _inspect(connection, path)
        load(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _recognise(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is new. Raises `BrokerError`, before anything is changed, if it is not ours."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        return True
    if application != _APPLICATION_ID:
        raise BrokerError(f"{path} is a database of another program; use another path for the message log")
    if version != _VERSION:
        raise BrokerError(
            f"the message log {path} has format {version}, this program knows {_VERSION}; upgrade it or use another path"
        )
    return False


def _inspect(connection: sqlite3.Connection, path: Path) -> None:
    """Raises `sqlite3.DatabaseError` or `ValueError` if the file is damaged: at a glance, or wholly if it was marked."""
    for table in ("topics", "positions", "meta"):
        connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
    newest = connection.execute("SELECT data FROM log ORDER BY last DESC LIMIT 1").fetchone()
    if newest:
        split(newest[0])
    mark = _beside(path, ".damaged")
    if mark.exists():
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise ValueError(verdict)
        mark.unlink(missing_ok=True)


def _set_aside(path: Path) -> str:
    aside = path.with_name(
        f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{time.monotonic_ns()}"
    )
    os.rename(path, aside)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(_beside(path, ending), _beside(aside, ending))
    _beside(path, ".damaged").unlink(missing_ok=True)
    return str(aside)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
