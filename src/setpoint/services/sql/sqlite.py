"""SQLite, by Python's own driver. Transactions begin and end where we say so, and take the write lock at once (BEGIN IMMEDIATE): one that
began by reading could fail when it comes to write, without having waited.

A file that was deleted, or replaced by another, while it is open would take everything and keep nothing: each transaction and query looks
whether it is still the same.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from setpoint.services.sql.faults import DatabaseAway, DatabaseError, StatementRefused, ValuesRefused, one_line
from setpoint.services.sql.interface import Limits, Row
from setpoint.services.sql.place import Place, identity_of

_AWAY: Final = ("SQLITE_CANTOPEN", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR", "SQLITE_READONLY_DBMOVED")
_VALUES: Final = ("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG", "SQLITE_RANGE")
_REMEDIES: Final = {
    "SQLITE_BUSY": "another program holds its lock",
    "SQLITE_FULL": "the disk is full, or the database at its limit",
    "SQLITE_INTERRUPT": "it took longer than its time limit",
}


class SqliteConnection:
    """One connection to a file."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, place: Place, limits: Limits) -> None:
        self._place = place
        if not (folder := Path(place.file).absolute().parent).is_dir():
            raise DatabaseAway(f"{place}: there is no folder {folder}; make it")
        with self._told():
            self._raw = sqlite3.connect(
                place.dsn, uri=True, timeout=limits.statement / 2, isolation_level=None, check_same_thread=False
            )
        try:
            for statement in ("PRAGMA schema_version", *place.pragmas):  # the first reads the file
                self.execute(statement)
            self._identity = identity_of(place.file)
        except BaseException:
            self._raw.close()
            raise
        self._depth = 0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `Connection.execute`."""
        with self._told():
            return self._raw.execute(sql, values).fetchall()

    def script(self, sql: str) -> None:
        """See `Connection.script`."""
        with self._told():
            self._raw.executescript(sql)

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """See `Connection.many`."""
        with self._told():
            self._raw.executemany(sql, rows)

    def query(self, sql: str, values: Sequence[Any] = ()) -> _Result:
        """See `Connection.query`."""
        self._same_file()
        with self._told():
            return _Result(self, self._raw.execute(sql, values))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Connection.transaction`."""
        if not self._depth:
            self._same_file()
        name = f"inner_{self._depth}"
        begin, commit, undo = (
            (f"SAVEPOINT {name}", f"RELEASE {name}", (f"ROLLBACK TO {name}", f"RELEASE {name}"))
            if self._depth
            else ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
        )
        self.execute(begin)
        self._depth += 1
        try:
            yield
            self.execute(commit)
        except BaseException:
            for statement in undo:
                with contextlib.suppress(DatabaseError):  # SQLite may have undone it itself
                    self.execute(statement)
            raise
        finally:
            self._depth -= 1

    def cut(self) -> None:
        """See `Connection.cut`."""
        with contextlib.suppress(sqlite3.Error):
            self._raw.interrupt()

    def close(self) -> None:
        """See `Connection.close`."""
        with contextlib.suppress(sqlite3.Error):
            self._raw.close()

    def _same_file(self) -> None:
        if identity_of(self._place.file) != self._identity:
            raise DatabaseAway(f"another file has taken the place of {self._place.file}")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OverflowError, UnicodeError) as error:
            raise ValuesRefused(f"{self._place} cannot hold the value: {one_line(str(error))}") from error
        except sqlite3.Error as error:
            raise _fault(self._place, error) from error


class _Result:
    """Rows of one query."""

    def __init__(self, connection: SqliteConnection, cursor: sqlite3.Cursor) -> None:
        self._connection, self._cursor = connection, cursor
        self.columns = [column[0] for column in cursor.description or ()]

    def fetch(self, size: int) -> list[Row]:
        """See `Result.fetch`."""
        with self._connection._told():
            return self._cursor.fetchmany(size)

    def close(self) -> None:
        """See `Result.close`."""
        with contextlib.suppress(sqlite3.Error):
            self._cursor.close()


def _fault(place: Place, error: sqlite3.Error) -> DatabaseError:
    code = getattr(error, "sqlite_errorname", "") or ""
    remedy = next((text for name, text in _REMEDIES.items() if code.startswith(name)), "")
    text = f"{place}: {one_line(str(error))}{f'; {remedy}' if remedy else ''}"
    if code.startswith(_AWAY):
        return DatabaseAway(text)
    if code.startswith(_VALUES) or isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return ValuesRefused(text)
    if not code and "binding parameter" in str(error):  # a type it does not know
        return ValuesRefused(text)
    return StatementRefused(text)
