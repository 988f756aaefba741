"""What is in the file: how one batch is written in one transaction, and how it is read. Knows SQL, and nothing of threads or memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from setpoint.store.document import KINDS, Conflict, Document, Documents, Kind
from setpoint.store.journal import Step, Transition, as_text, as_time, steps_of, without_secret
from setpoint.store.schema import transaction

log = structlog.get_logger(__name__)

KEEP_ROWS: Final = 200_000
"""Transitions kept in the file; the oldest go first."""
TYPICAL_ROWS: Final = 10_000
"""The latest transitions that `typical` looks at."""

_INSERT = "INSERT INTO transitions (path, at, event, source, target, reason, type) VALUES (?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = "path, at, event, source, target, reason, type"
_STORED = "SELECT version, value FROM documents WHERE path = ? AND kind = ?"
_REPLACE = """INSERT INTO documents (path, kind, version, at, value) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET version = excluded.version, at = excluded.at, value = excluded.value"""
_DECODER = msgspec.json.Decoder()
_PRUNE = "DELETE FROM transitions WHERE id <= (SELECT MAX(id) FROM transitions) - ?"
_NAMED = """SELECT CASE WHEN json_valid(value) THEN json_extract(value, '$.hash') END FROM documents
    WHERE kind = 'state'"""
_KEEP_MACHINE = """INSERT INTO machines VALUES (?, ?)
    ON CONFLICT DO UPDATE SET definition = excluded.definition WHERE definition <> excluded.definition"""
_ROW_FAULTS: Final = (
    sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError, TypeError, ValueError, OverflowError
)  # fmt: skip
"""A row that the file cannot take, whatever the disk does."""
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)

Key = tuple[str, Kind]


class Write(NamedTuple):
    """A document to be written unless another process changed it after version `known`."""

    path: str
    kind: Kind
    text: str
    at: float
    known: int


@dataclass
class Batch:
    """What goes into the file in one transaction. `alive_at` is wall time; None: not now. `prune` also applies the bounds."""

    writes: Sequence[Write] = ()
    drops: Collection[str] = ()
    transitions: Sequence[Transition] = ()
    machines: Mapping[str, str] = field(default_factory=dict)  # as JSON, by hash
    alive_at: float | None = None
    prune: bool = False
    keep_machines: Collection[str] = ()

    def __bool__(self) -> bool:
        return bool(self.writes or self.drops or self.transitions or self.machines or self.alive_at is not None)


class Written(NamedTuple):
    """What became of a batch: versions of the documents that are now as asked for, conflicts, the last transition's number, and what the
    file does not take, with why: documents by their key, other rows by path or hash."""

    versions: dict[Key, int]
    conflicts: dict[Key, Conflict]
    last_id: int
    refused: Mapping[Key | str, str]


Refused = dict[Key | str, str]


def write(connection: sqlite3.Connection, batch: Batch) -> Written:
    """Write a batch, all of it but the conflicts and what the file does not take, or nothing. Raises `sqlite3.Error`."""
    try:
        return _write(connection, batch, None)
    except _ROW_FAULTS:
        return _write(connection, batch, {})


def _write(connection: sqlite3.Connection, batch: Batch, refused: Refused | None) -> Written:
    """Write a batch; with `refused` row by row, noting there what cannot be written."""
    with transaction(connection):
        _write_rows(connection, "DELETE FROM documents WHERE path = ?", [(path,) for path in batch.drops], refused)
        versions, conflicts = _write_documents(connection, batch.writes, refused)
        _write_rows(connection, _INSERT, [_row(transition) for transition in batch.transitions], refused)
        _write_rows(connection, _KEEP_MACHINE, list(batch.machines.items()), refused)
        if batch.alive_at is not None:
            set_fact(connection, "alive_at", batch.alive_at)
        if batch.prune:
            _prune(connection, batch.keep_machines)
        return Written(versions, conflicts, last_id(connection), refused or {})


def _write_rows(
    connection: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]], refused: Refused | None
) -> None:
    if refused is None:
        connection.executemany(sql, rows)
        return
    for row in rows:
        try:
            connection.execute(sql, row)  # one that fails changes nothing, and the transaction goes on
        except _ROW_FAULTS as error:
            refused[as_text(row[0])] = f"a row of {as_text(row[0])[:200]} is not stored: {error}"


def replace(connection: sqlite3.Connection, write: Write, *, version: int) -> int:
    """Write one document over the one of this version; its new version. Raises `Conflict` when another is stored."""
    with transaction(connection):
        row = connection.execute(_STORED, (write.path, write.kind)).fetchone()
        if (row[0] if row else 0) != version:
            raise Conflict(write.path, write.kind, row[0] if row else 0)
        versions, _ = _write_documents(connection, [write], None)
        return versions[write.path, write.kind]


def _write_documents(
    connection: sqlite3.Connection, writes: Sequence[Write], refused: Refused | None
) -> tuple[dict[Key, int], dict[Key, Conflict]]:
    versions: dict[Key, int] = {}
    conflicts: dict[Key, Conflict] = {}
    before = latest = version(connection) if writes else 0
    for write in writes:
        key = (write.path, write.kind)
        try:
            versions[key] = _write_document(connection, write, latest + 1)
            latest = max(latest, versions[key])
        except Conflict as conflict:
            conflicts[key] = conflict
        except _ROW_FAULTS as error:
            if refused is None:
                raise
            refused[key] = str(error)
    if latest > before:
        set_fact(connection, "version", latest)
    return versions, conflicts


def _write_document(connection: sqlite3.Connection, write: Write, next: int) -> int:
    """Write one document as version `next`, unless it is there already; the version that it has. Raises `Conflict`."""
    path, kind, text, at, known = write
    row = connection.execute(_STORED, (path, kind)).fetchone()
    if row is not None and row[0] > known:
        raise Conflict(path, kind, row[0])
    if row is not None and row[1] == text:
        return int(row[0])
    connection.execute(_REPLACE, (path, kind, next, at, text))
    return next


def _prune(connection: sqlite3.Connection, keep: Collection[str]) -> None:
    connection.execute(_PRUNE, (KEEP_ROWS,))
    named = {hash for (hash,) in connection.execute(_NAMED)}
    known = {hash for (hash,) in connection.execute("SELECT hash FROM machines")}
    connection.executemany("DELETE FROM machines WHERE hash = ?", [(hash,) for hash in known - named - set(keep)])


def documents(connection: sqlite3.Connection, path: str = "") -> dict[str, Documents]:
    """The documents of one worker, or of all, that can be read."""
    which, values = ("WHERE path = ?", (path,)) if path else ("", ())
    found: dict[str, Documents] = {}
    for path_read, kind_read, version, at, value in connection.execute(
        f"SELECT CAST(path AS BLOB), CAST(kind AS BLOB), version, at, CAST(value AS BLOB) FROM documents {which}",
        values,
    ):
        where, kind = path_read.decode(errors="replace"), kind_read.decode(errors="replace")
        try:
            if kind not in KINDS:
                raise msgspec.DecodeError("this program knows no such kind of document")
            found.setdefault(where, {})[kind] = Document(kind, _DECODER.decode(value), version, at)
        except _UNREADABLE as error:
            log.warning("a stored document cannot be read; it is left out", path=where, kind=kind, why=str(error))
    return found


def history(connection: sqlite3.Connection, path: str, limit: int, *, up_to: int) -> list[Transition]:
    """The latest transitions of one worker up to one number, oldest first."""
    query = f"SELECT {_COLUMNS} FROM transitions WHERE path = ? AND id <= ? ORDER BY id DESC LIMIT ?"
    return [Transition(*row) for row in reversed(connection.execute(query, (path, up_to, limit)).fetchall())]


def typical(
    connection: sqlite3.Connection, waiting: Sequence[Transition], *, path: str, type: str, up_to: int
) -> list[Step]:
    """What is typical of the steps in the file up to one number, followed by those that are waiting."""
    wanted = {"path": path, "type": type}
    which = " AND ".join(["id <= :up_to", *(f"{name} = :{name}" for name, value in wanted.items() if value)])
    query = f"SELECT {_COLUMNS} FROM transitions WHERE {which} ORDER BY id DESC LIMIT :limit"
    rows = connection.execute(query, {**wanted, "up_to": up_to, "limit": TYPICAL_ROWS}).fetchall()
    new = (row for row in waiting if path in ("", row.path) and type in ("", row.type))
    return steps_of([*(Transition(*row) for row in reversed(rows)), *new])


def machine(connection: sqlite3.Connection, hash: str) -> Mapping[str, Any] | None:
    """The machine with this content hash; None when there is none that can be read."""
    row = connection.execute("SELECT definition FROM machines WHERE hash = ?", (hash,)).fetchone()
    if row is None:
        return None
    try:
        return msgspec.json.decode(row[0], type=dict[str, Any])
    except _UNREADABLE as error:
        log.warning("a stored machine cannot be read; it counts as not known", hash=hash, why=str(error))
        return None


def fact(connection: sqlite3.Connection, name: str) -> Any:
    """One of the few facts about the store itself; None when it is not known."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def version(connection: sqlite3.Connection) -> int:
    """The number of the last change."""
    found = fact(connection, "version")
    if isinstance(found, int):
        return found
    return int(connection.execute("SELECT COALESCE(MAX(version), 0) FROM documents").fetchone()[0])


def alive_at(connection: sqlite3.Connection) -> float | None:
    """Wall time up to which the user of the store is known to have run; None when nobody knows."""
    return as_time(fact(connection, "alive_at")) or None


def set_fact(connection: sqlite3.Connection, name: str, value: float) -> None:
    connection.execute(
        "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
    )


def last_id(connection: sqlite3.Connection) -> int:
    """The number of the last transition; 0 when there is none."""
    return int(connection.execute("SELECT COALESCE(MAX(id), 0) FROM transitions").fetchone()[0])


def _row(transition: Transition) -> tuple[Any, ...]:
    return msgspec.structs.astuple(without_secret(transition))
