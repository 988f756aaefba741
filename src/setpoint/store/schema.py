"""The file behind the store: how it is recognised, opened, brought up to date, and set aside when it is damaged.

A store is a SQLite database with `APPLICATION_ID`; ``user_version`` says which schema it has. `MIGRATIONS` lead from each schema to the
next, all in one transaction, from 0 up: an empty file, or the journal of earlier versions of the program, which is a file of its own
(``journal.sqlite``) and becomes the store. A file of a newer schema and a database of another program are refused and left as they are. A
file that is damaged is renamed, with what belongs to it, and a fresh one is started in its place.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog

from setpoint import __version__
from setpoint.store.document import StoreError

log = structlog.get_logger(__name__)

APPLICATION_ID: Final = 0x53745074
"""``StPt``: marks a SQLite file as a store; see https://www.sqlite.org/pragma.html#pragma_application_id."""
JOURNAL: Final = "journal.sqlite"
"""What held the transitions before there was a store, in the same directory."""
_TOLERANT: Final = partial(str, encoding="utf-8", errors="replace")
"""How text is read: one broken character shall cost nothing but itself."""
BUSY_S: Final = 2.0
"""How long a lock of another process is waited for."""

_JOURNAL_ONLY: Final = (
    """CREATE TABLE IF NOT EXISTS transitions (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, source TEXT NOT NULL,
        target TEXT NOT NULL, reason TEXT NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS transitions_by_path ON transitions (path, id)",
)
_DOCUMENTS: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "ALTER TABLE transitions ADD COLUMN type TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE documents (
        path TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, at REAL NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (path, kind)) STRICT""",
    "CREATE TABLE machines (hash TEXT PRIMARY KEY, definition TEXT NOT NULL) STRICT",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT",
    "INSERT INTO facts VALUES ('version', 0)",
)
MIGRATIONS: Final = (_JOURNAL_ONLY, _DOCUMENTS)
SCHEMA: Final = len(MIGRATIONS)
"""The schema that this program writes."""


class NotAStore(StoreError):
    """This file is no store of ours; nothing was changed in it."""


class NewerSchema(StoreError):
    """A newer version of the program wrote this store; nothing was changed in it."""


def is_damage(error: Exception) -> bool:
    """Whether the error says that the file itself is broken, rather than that it cannot be used now."""
    cause = error.__cause__ if isinstance(error, NotAStore) else error
    code = getattr(cause, "sqlite_errorcode", 0) or 0  # none when the error is Python's, not SQLite's
    return isinstance(cause, sqlite3.Error) and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_store(file: Path) -> sqlite3.Connection:
    """A connection that writes, to a store of the present schema, made where there is none.

    Raises `sqlite3.Error` or `OSError` when the file is damaged or cannot be used now, `NotAStore` or `NewerSchema` when it must not be.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        _take_over(file.with_name(JOURNAL), file)
    return _opened(file)


def open_for_reading(file: Path) -> sqlite3.Connection:
    """A connection that only reads a store, which another process may be writing.

    Raises `StoreError` when there is none, when it is damaged or of another schema, `sqlite3.Error` when it cannot be read now.
    """
    if not file.is_file():
        raise NotAStore(f"there is no store at {file}; an agent makes one in its data directory")
    name = f"file:{quote(str(file.absolute()))}?mode=ro"
    if not os.access(file.parent, os.W_OK) and not file.with_name(file.name + "-wal").exists():
        name += (
            "&immutable=1"  # SQLite cannot make the files with which it follows a writer; without a log there is none
        )
    connection = sqlite3.connect(name, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.text_factory = _TOLERANT
    try:
        schema = _recognise(connection, file)
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_damage(error):
            raise NotAStore(f"{file} is no store, or damaged: {error}") from error
        raise
    except StoreError:
        connection.close()
        raise
    if schema < SCHEMA:
        connection.close()
        raise NotAStore(
            f"{file} is of an older schema ({schema}); start the agent once to bring it up to date ({SCHEMA})"
        )
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All that is done inside, or nothing; nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some faults end it by themselves
            connection.execute("ROLLBACK")
        raise


def set_aside(file: Path, why: str) -> Path:
    """Rename a damaged file and its logs, so that nothing of it is lost; its new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"{file.stem}.damaged-{stamp}{suffix}{file.suffix}" for suffix in ("", *(f"-{n}" for n in range(1, 1000))))
    aside = next(path for path in map(file.with_name, names) if not path.exists())
    log.error(
        "the store is damaged; it is set aside and a fresh one started", file=file.name, aside=aside.name, why=why
    )
    for suffix in ("-wal", "-shm", ""):
        part = file.with_name(file.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def migrate(connection: sqlite3.Connection, *, to: int = SCHEMA) -> None:
    """Bring the file from its schema to a later one, wholly or not at all."""
    with transaction(connection):
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        for step in MIGRATIONS[schema:to]:
            for statement in step:
                connection.execute(statement)
        if schema < to:
            connection.execute(f"PRAGMA user_version = {to}")
        if to == SCHEMA:
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('written_by', ?)", (__version__,))


def _opened(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.text_factory = _TOLERANT
    try:
        _recognise(connection, file)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        check(connection)
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_file(file: Path) -> None:
    """Look through the file as it is on the disk, past what open connections remember of it. Raises as `check`."""
    connection = sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        check(connection)
    finally:
        connection.close()


def check(connection: sqlite3.Connection) -> None:
    """Look through the whole file. Raises `sqlite3.DatabaseError` when it is damaged."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _recognise(connection: sqlite3.Connection, file: Path) -> int:
    """The schema of the file; 0 for one that is to become a store. Raises `NotAStore` or `NewerSchema`."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID:
        if schema > SCHEMA:
            raise NewerSchema(
                f"{file} was written by Setpoint {_writer(connection)} (schema {schema}), and this is {__version__}, which knows schemas "
                f"up to {SCHEMA}; use that version or a newer one, or another data directory"
            )
        return int(schema)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if application or schema > 1 or tables - {"transitions"}:
        raise NotAStore(f"{file} is a database of another program; use another data directory, or move the file away")
    return int(schema)


def _writer(connection: sqlite3.Connection) -> str:
    """The version of the program that wrote a newer store, if it says so where we would look."""
    try:
        row = connection.execute("SELECT value FROM facts WHERE name = 'written_by'").fetchone()
    except sqlite3.Error:
        row = None
    return str(row[0]) if row else "of a newer version"


def _take_over(journal: Path, file: Path) -> None:
    """Make the journal of an earlier version the store. Its log goes into it first, so that the renaming takes all or nothing."""
    if not journal.exists():
        return
    try:
        connection = sqlite3.connect(journal, timeout=BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        log.error(
            "the journal of an earlier version is damaged; it is left as it is", file=journal.name, why=str(error)
        )
        return
    journal.rename(file)
    log.info("the journal of an earlier version has become the store", file=file.name)
