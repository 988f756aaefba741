"""Which database: a driver's name and a DSN, as Benthos documents them for its SQL components.

postgres   ``postgres://user:password@host:5432/plant?sslmode=require``, or ``host=… dbname=…`` (libpq, section 34.1.1)
sqlite     ``file:/data/plant.db?mode=ro&_pragma=busy_timeout(5000)``, ``sqlite:///plant.db``, or a path
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from setpoint.secrets import without_secrets
from setpoint.services.sql.faults import DatabaseAway
from setpoint.services.sql.interface import Connection, Limits

Driver = Literal["postgres", "sqlite"]
_SQLITE_OPTIONS: Final = ("mode", "cache", "immutable", "vfs", "nolock")
"""Of SQLite itself (sqlite.org/uri.html)."""
_PRAGMA: Final = re.compile(r"([a-z_]+)(?:\(([\w.-]*)\)|=([\w.-]*))\Z")


class Place(msgspec.Struct, frozen=True):
    """A database. Made by `parse`; `str` is what messages call it."""

    driver: Driver
    dsn: str
    shown: str
    file: str = ""
    """The file of a SQLite."""
    pragmas: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"Place({self.shown!r})"

    @staticmethod
    def parse(driver: Driver, dsn: str) -> Place:
        """The database of a DSN. Raises `ValueError` for one that cannot be, without repeating it."""
        return _sqlite(dsn) if driver == "sqlite" else _postgres(dsn)

    def opener(self, limits: Limits, *, name: str = "setpoint") -> Callable[[], Connection]:
        """What opens a connection, which blocks. `name` is what the database calls it. Raises `DatabaseAway`."""

        def opened() -> Connection:
            if self.driver == "sqlite":
                from setpoint.services.sql.sqlite import SqliteConnection

                return SqliteConnection(self, limits)
            try:
                from setpoint.services.sql.postgres import PostgresConnection
            except ImportError:
                raise DatabaseAway(
                    "PostgreSQL needs psycopg, which is not installed: pip install 'setpoint[sql]'"
                ) from None
            return PostgresConnection(self, limits, name=name)

        return opened


def _postgres(dsn: str) -> Place:
    if dsn.startswith(("postgres://", "postgresql://")):
        try:
            url = urlsplit(dsn)
            host = url.hostname or dict(parse_qsl(url.query)).get("host", "the local socket")
            port = f":{url.port}" if url.port else ""
        except ValueError:
            raise ValueError("the dsn is no URL; a password with special characters is written %-encoded") from None
        name = unquote(url.path.strip("/"))
        return Place("postgres", dsn, f"PostgreSQL {host}{port}{f'/{name}' if name else ''}")
    if re.match(r"\s*\w+\s*=", dsn):
        told = dict(re.findall(r"\b(host|port|dbname)\s*=\s*'?([\w./-]+)", dsn))
        port = f":{told['port']}" if "port" in told else ""
        name = f"/{told['dbname']}" if "dbname" in told else ""
        return Place("postgres", dsn, f"PostgreSQL {told.get('host', 'the local socket')}{port}{name}")
    raise ValueError("expected postgres://user:password@host:5432/database, or host=… dbname=…")


def _sqlite(dsn: str) -> Place:
    path, _, query = dsn.partition("?") if dsn.startswith(("file:", "sqlite:")) else (dsn, "", "")
    if path.startswith("sqlite:"):
        path = path.removeprefix("sqlite:").removeprefix("///")
    elif path.startswith("file:"):
        rest = path.removeprefix("file:")
        path = unquote(rest.removeprefix("//") if rest.startswith("///") else rest)
    if not path or path.startswith("//"):
        raise ValueError("expected the path of a file, or file:/path/of/it.db")
    if ":memory:" in path or "mode=memory" in query:
        raise ValueError("a database in memory would be gone with its connection; name a file")
    options, pragmas = [], []
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in ("_pragma", "_journal_mode", "_busy_timeout", "_foreign_keys"):
            pragmas.append(_pragma(value if key == "_pragma" else f"{key[1:]}={value}"))
        elif key in _SQLITE_OPTIONS:
            options.append(f"{key}={quote(value)}")
        else:
            known = ", ".join((*_SQLITE_OPTIONS, "_pragma"))
            raise ValueError(f"the dsn has the parameter {without_secrets(key[:40])!r}; known are {known}")
    uri = f"file:{quote(path)}{'?' if options else ''}{'&'.join(options)}"
    return Place("sqlite", uri, f"SQLite {path}", file=path, pragmas=tuple(pragmas))


def _pragma(text: str) -> str:
    found = _PRAGMA.match(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no pragma; write _pragma=busy_timeout(5000)")
    name, one, other = found.groups()
    return f"PRAGMA {name} = {one or other or '1'}"


def identity_of(file: str) -> tuple[int, int]:
    """What tells a file from another one that takes its place. Raises `DatabaseAway` where there is none."""
    try:
        found = Path(file).stat()
    except OSError as error:
        raise DatabaseAway(f"the file {file} is gone: {error.strerror}") from error
    return found.st_dev, found.st_ino
