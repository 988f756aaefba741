"""PostgreSQL, by psycopg. Statements go to the server as they are, with ``$1`` for values (`psycopg.RawCursor`).

Each connection asks the server to end a statement that takes longer than its time limit; a server that does not answer at all is cut off
by shutting down the socket under the call that waits for it.

Codes of errors: PostgreSQL, appendix A. Class 22 (data) and 23 (constraints), 44 (views) and what a trigger raises (P0001) are faults of
the values; so is a row that is too large for an index (54000). Class 08, 57P and a server that takes no writes (25006: it is a standby by
now) end the connection.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import psycopg
from psycopg import sql as compose
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.conninfo import conninfo_to_dict

from setpoint.secrets import without_secrets
from setpoint.services.sql.faults import DatabaseAway, DatabaseError, StatementRefused, ValuesRefused, one_line
from setpoint.services.sql.interface import Limits, Row
from setpoint.services.sql.place import Place

_VALUES: Final = ("22", "23", "44", "P0001", "54000")
_AWAY: Final = ("08", "57P", "25006")
_LOGIN: Final = (
    (re.compile(r"password authentication failed|no password supplied|28P01"), "the database refused the password"),
    (re.compile(r'role "[^"]*" does not exist|28000|no pg_hba\.conf entry'), "the database refused the user"),
    (re.compile(r'database "[^"]*" does not exist|no such database|3D000'), "there is no such database"),
    (re.compile(r"too many clients|remaining connection slots|too many connections"), "all its connections are taken"),
    (re.compile(r"Connection refused"), "nothing listens there"),
    (re.compile(r"server does not support SSL"), "the server has no TLS; sslmode=disable goes without"),
    (re.compile(r"certificate verify failed|root certificate file"), "its certificate is not trusted"),
    (re.compile(r"timeout expired|timed out"), "no answer"),
    (re.compile(r"starting up"), "it is starting up"),
    (re.compile(r"not translate host name|Name or service not known|resolve"), "its name is not known"),
)
"""What a client is told of a login that failed is a text, without a code (libpq gives none)."""


class _AsText(Dumper):
    """A value as a text of no type."""

    oid = 0

    def dump(self, obj: Any) -> Buffer | None:
        return str(obj).lower().encode() if isinstance(obj, bool) else str(obj).encode()


class _Moment(Loader):
    """Dates and times as ISO 8601 texts; what Python cannot hold (infinity, years beyond 9999) as PostgreSQL writes it."""

    def load(self, data: Buffer) -> str:
        text = bytes(data).decode()
        found = _TIMESTAMP.match(text)
        if found is None:
            return text
        day, time, hours, rest = found.groups()
        zone = "" if hours is None else "Z" if hours in ("+00", "-00") and not rest else f"{hours}{rest or ':00'}"
        return f"{day}T{time}{zone}"


_TIMESTAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:([+-]\d\d)(:\d\d)?)?\Z")


class PostgresConnection:
    """One connection to a server."""

    dialect: Literal["postgres"] = "postgres"

    def __init__(self, place: Place, limits: Limits, *, name: str = "setpoint") -> None:
        self._place = place
        self._hidden = _password(place.dsn)
        self._numbers = itertools.count()
        self._ending = threading.Lock()
        self._in_use = threading.RLock()  # by a call that was given up, perhaps: libpq must not be closed under it
        try:
            self._raw = psycopg.connect(
                place.dsn,
                autocommit=True,
                connect_timeout=max(2, int(limits.connect)),
                application_name=name[:63],
                client_encoding="utf-8",
                cursor_factory=psycopg.RawCursor,
            )
        except (psycopg.Error, UnicodeError) as error:
            raise DatabaseAway(f"{self._place}: {self._login(str(error))}") from error
        self._raw.add_notice_handler(lambda notice: None)
        _adapt(self._raw)
        try:
            settings = {
                "statement_timeout": int(limits.statement * 1000),
                "DateStyle": "ISO",
                "IntervalStyle": "iso_8601",
                "TimeZone": "UTC",
            }
            for key, value in settings.items():
                self.execute(f"SET {key} = '{value}'")
            self._socket = os.dup(self._raw.pgconn.socket)
        except BaseException:
            self._raw.close()
            raise

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `Connection.execute`."""
        with self._told(), self._raw.cursor() as cursor:
            cursor.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def script(self, sql: str) -> None:
        """See `Connection.script`."""
        with self._told():
            self._raw.execute(sql.encode())

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """See `Connection.many`."""
        with self._told(), self._raw.cursor() as cursor:
            cursor.executemany(sql.encode(), rows)

    def query(self, sql: str, values: Sequence[Any] = ()) -> _Result:
        """See `Connection.query`. A cursor of the server, in a transaction of its own."""
        with self._told():
            return _Result(self, sql, values, f"setpoint_{next(self._numbers)}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See `Connection.transaction`."""
        with self._told(), self._raw.transaction():
            yield

    def cut(self) -> None:
        """See `Connection.cut`."""
        with self._ending, contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._socket)) as other:
            other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Connection.close`."""
        with self._ending:  # a number that is free again may be that of somebody else's socket
            own, self._socket = self._socket, -1
            if own >= 0:
                os.close(own)
        with self._in_use, contextlib.suppress(psycopg.Error):
            self._raw.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            with self._in_use:
                yield
        except (OverflowError, UnicodeError) as error:
            raise ValuesRefused(f"{self._place} cannot hold the value: {one_line(str(error))}") from error
        except psycopg.Error as error:
            raise self._fault(error) from error

    def _fault(self, error: psycopg.Error) -> DatabaseError:
        code = error.sqlstate or ""
        text = f"{self._place}: {self._clean(_words(error))}"
        if code.startswith(_AWAY) or self._raw.closed or self._raw.broken:
            return DatabaseAway(text)
        if code.startswith(_VALUES) or (not code and isinstance(error, psycopg.DataError)):
            return ValuesRefused(text)
        return StatementRefused(text)

    def _login(self, text: str) -> str:
        known = next((words for pattern, words in _LOGIN if pattern.search(text)), "")
        return f"{known} ({self._clean(text)})" if known else self._clean(text)

    def _clean(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, "[redacted]")
        return one_line(without_secrets(text))


class _Result:
    """Rows of one query, kept by the server until they are fetched."""

    def __init__(self, connection: PostgresConnection, sql: str, values: Sequence[Any], name: str) -> None:
        self._connection, self._raw = connection, connection._raw
        self._name = compose.Identifier(name)
        self._open = True
        self._raw.execute("BEGIN READ ONLY")
        try:
            text = compose.SQL("DECLARE {} NO SCROLL CURSOR FOR ").format(self._name).as_bytes(self._raw) + sql.encode()
            self._raw.cursor().execute(text, values or None)
            self.columns: list[str] = []
            self._first = self._fetched(0)
        except BaseException:
            self.close()
            raise

    def fetch(self, size: int) -> list[Row]:
        """See `Result.fetch`."""
        with self._connection._told():
            return self._fetched(size)

    def _fetched(self, size: int) -> list[Row]:
        text = compose.SQL("FETCH {} FROM {}").format(compose.SQL(str(size)), self._name).as_bytes(self._raw)
        with self._raw.cursor() as cursor:
            cursor.execute(text)
            self.columns = [column.name for column in cursor.description or ()]
            return cursor.fetchall()

    def close(self) -> None:
        """See `Result.close`."""
        if self._open:
            self._open = False
            with self._connection._in_use, contextlib.suppress(psycopg.Error):
                self._raw.execute("ROLLBACK")


def _adapt(raw: psycopg.Connection[Any]) -> None:
    for kind in (bool, int, float, Decimal):
        raw.adapters.register_dumper(kind, _AsText)
    for name in ("date", "time", "timetz", "timestamp", "timestamptz", "interval"):
        raw.adapters.register_loader(name, _Moment)


def _password(dsn: str) -> list[str]:
    """What must not stand in a message."""
    try:
        known = conninfo_to_dict(dsn)
    except psycopg.Error:
        raise DatabaseAway(
            "the dsn is not one of PostgreSQL; expected postgres://user:password@host:5432/database"
        ) from None
    return [str(known[key]) for key in ("password", "sslpassword") if known.get(key)]


def _words(error: psycopg.Error) -> str:
    diag = error.diag
    if not diag.message_primary:
        return str(error) or type(error).__name__
    return diag.message_primary + (f" ({diag.message_detail})" if diag.message_detail else "")
