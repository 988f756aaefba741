"""What is in the file: how one batch is written in one transaction, and how it is read. Knows SQL, and nothing of threads or memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from setpoint.store.document import Conflict, Document, Documents, Kind
from setpoint.store.journal import Step, Transition, steps_of, without_secret
from setpoint.store.schema import transaction

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
_NAMED = "SELECT json_extract(value, '$.hash') FROM documents WHERE kind = 'state'"

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
    """What became of a batch: versions of the documents that are now as asked for, conflicts, and the last transition's number."""

    versions: dict[Key, int]
    conflicts: dict[Key, Conflict]
    last_id: int


def write(connection: sqlite3.Connection, batch: Batch) -> Written:
    """Write a batch, all of it but the conflicts, or nothing. Raises `sqlite3.Error`."""
    with transaction(connection):
        connection.executemany("DELETE FROM documents WHERE path = ?", [(storable(path),) for path in batch.drops])
        versions, conflicts = _write_documents(connection, batch.writes)
        connection.executemany(_INSERT, [_row(transition) for transition in batch.transitions])
        connection.executemany(
            "INSERT OR IGNORE INTO machines VALUES (?, ?)",
            [(storable(hash), text) for hash, text in batch.machines.items()],
        )
        if batch.alive_at is not None:
            set_fact(connection, "alive_at", batch.alive_at)
        if batch.prune:
            _prune(connection, batch.keep_machines)
        return Written(versions, conflicts, last_id(connection))


def replace(connection: sqlite3.Connection, write: Write, *, version: int) -> int:
    """Write one document over the one of this version; its new version. Raises `Conflict` when another is stored."""
    with transaction(connection):
        row = connection.execute(_STORED, (storable(write.path), write.kind)).fetchone()
        if (row[0] if row else 0) != version:
            raise Conflict(write.path, write.kind, row[0] if row else 0)
        versions, _ = _write_documents(connection, [write])
        return versions[write.path, write.kind]


def _write_documents(
    connection: sqlite3.Connection, writes: Sequence[Write]
) -> tuple[dict[Key, int], dict[Key, Conflict]]:
    versions: dict[Key, int] = {}
    conflicts: dict[Key, Conflict] = {}
    before = latest = int(fact(connection, "version") or 0) if writes else 0
    for path, kind, text, at, known in writes:
        row = connection.execute(_STORED, (storable(path), kind)).fetchone()
        if row is not None and row[0] > known:
            conflicts[path, kind] = Conflict(path, kind, row[0])
        elif row is not None and row[1] == text:
            versions[path, kind] = row[0]
        else:
            latest += 1
            connection.execute(_REPLACE, (storable(path), kind, latest, at, text))
            versions[path, kind] = latest
    if latest > before:
        set_fact(connection, "version", latest)
    return versions, conflicts


def _prune(connection: sqlite3.Connection, keep: Collection[str]) -> None:
    connection.execute(_PRUNE, (KEEP_ROWS,))
    named = {hash for (hash,) in connection.execute(_NAMED)}
    known = {hash for (hash,) in connection.execute("SELECT hash FROM machines")}
    connection.executemany("DELETE FROM machines WHERE hash = ?", [(hash,) for hash in known - named - set(keep)])


def documents(connection: sqlite3.Connection, path: str = "") -> dict[str, Documents]:
    """The documents of one worker, or of all."""
    which, values = ("WHERE path = ?", (storable(path),)) if path else ("", ())
    found: dict[str, Documents] = {}
    for where, kind, version, at, value in connection.execute(
        f"SELECT path, kind, version, at, value FROM documents {which}", values
    ):
        found.setdefault(where, {})[kind] = Document(kind, _DECODER.decode(value), version, at)
    return found


def history(connection: sqlite3.Connection, path: str, limit: int, *, up_to: int) -> list[Transition]:
    """The latest transitions of one worker up to one number, oldest first."""
    query = f"SELECT {_COLUMNS} FROM transitions WHERE path = ? AND id <= ? ORDER BY id DESC LIMIT ?"
    return [Transition(*row) for row in reversed(connection.execute(query, (storable(path), up_to, limit)).fetchall())]


def typical(
    connection: sqlite3.Connection, waiting: Sequence[Transition], *, path: str, type: str, up_to: int
) -> list[Step]:
    """What is typical of the steps in the file up to one number, followed by those that are waiting."""
    wanted = {"path": storable(path), "type": storable(type)}
    which = " AND ".join(["id <= :up_to", *(f"{name} = :{name}" for name, value in wanted.items() if value)])
    query = f"SELECT {_COLUMNS} FROM transitions WHERE {which} ORDER BY id DESC LIMIT :limit"
    rows = connection.execute(query, {**wanted, "up_to": up_to, "limit": TYPICAL_ROWS}).fetchall()
    new = (row for row in waiting if path in ("", row.path) and type in ("", row.type))
    return steps_of([*(Transition(*row) for row in reversed(rows)), *new])


def machine(connection: sqlite3.Connection, hash: str) -> Mapping[str, Any] | None:
    row = connection.execute("SELECT definition FROM machines WHERE hash = ?", (storable(hash),)).fetchone()
    return msgspec.json.decode(row[0]) if row else None


def fact(connection: sqlite3.Connection, name: str) -> Any:
    """One of the few facts about the store itself; None when it is not known."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def set_fact(connection: sqlite3.Connection, name: str, value: float) -> None:
    connection.execute(
        "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
    )


def last_id(connection: sqlite3.Connection) -> int:
    """The number of the last transition; 0 when there is none."""
    return int(connection.execute("SELECT COALESCE(MAX(id), 0) FROM transitions").fetchone()[0])


def storable(text: str) -> str:
    """Text that SQLite can keep: a broken character, as in a file name that is not Unicode, becomes ``?``."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _row(transition: Transition) -> tuple[Any, ...]:
    kept = without_secret(transition)
    return tuple(storable(value) if isinstance(value, str) else value for value in msgspec.structs.astuple(kept))
