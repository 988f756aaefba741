"""What is kept of runs of the data runtime: one SQLite file, safe against ``kill -9`` at any moment.

    runs         one row a run: of one record, of a batch, of a stream; who carries it, how it stands, how it ended
    progress     where an unfinished run stands, as bytes; replaced by each checkpoint, gone when the run has ended
    steps        what happened to a run of one record, in order
    results      of batches and streams: what came of each record, in lots
    definitions  machines by their hash, so that a run can go on with the machine it began with

Every change is a `Statement`, and `RunStore.write` does any number of them in one transaction: whoever has many runs in hand commits their
steps together. A run is carried by one `owner` at a time: a process, or a part of one that knows what it carries. A process that is gone
owns nothing, so a run that was left behind by ``kill -9`` can be claimed at once.

A commit is in the operating system's hands when `write` returns: it survives the death of the process. With ``sync="power"`` it is on the
disk, and survives the machine's. Where the file was deleted or replaced meanwhile nothing is written any more, and that is said.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from setpoint.store.document import StoreError
from setpoint.store.run_rows import ALL, COLUMNS, PARTS, STEP_COLUMNS, Query, RunRow, Statement, Status, StepRow
from setpoint.store.schema import BUSY_S, NewerSchema, NotAStore, is_damage, transaction

APPLICATION_ID: Final = 0x53745275
"""``StRu``; see https://www.sqlite.org/pragma.html#pragma_application_id."""
SCHEMA: Final = 1
PATIENCE_S: Final = 5 * BUSY_S
"""How long a lock of another process is waited for."""
_TOLERANT: Final = partial(str, encoding="utf-8", errors="replace")
"""How text is read: one broken character shall cost nothing but itself."""
Sync = Literal["process", "power"]

_TABLES: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, machine TEXT NOT NULL, version TEXT NOT NULL, hash TEXT NOT NULL,
        owner TEXT NOT NULL, status TEXT NOT NULL, state TEXT NOT NULL, started REAL NOT NULL, updated REAL NOT NULL, ended REAL,
        seconds REAL NOT NULL DEFAULT 0, wake REAL, waits TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
        counts TEXT NOT NULL DEFAULT '', about TEXT NOT NULL DEFAULT '{}', result BLOB) STRICT""",
    "CREATE INDEX runs_by_start ON runs (started)",
    "CREATE INDEX runs_by_status ON runs (status, started)",
    "CREATE TABLE progress (run TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT",
    """CREATE TABLE steps (
        run TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, arc TEXT NOT NULL,
        target TEXT NOT NULL, attempt INTEGER NOT NULL, seconds REAL NOT NULL, error TEXT NOT NULL, record BLOB,
        PRIMARY KEY (run, number)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE results (
        run TEXT NOT NULL, first INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run, first)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE definitions (hash TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL) STRICT",
    f"PRAGMA user_version = {SCHEMA}",
)


class RunStore:
    """The file. Methods may be called from any thread.

    Raises `NotAStore` for a file of another program and for one that is damaged, `NewerSchema` for one of a newer version, `StoreError`
    where it cannot be used now.
    """

    def __init__(self, file: str | os.PathLike[str], *, sync: Sync = "process", read_only: bool = False) -> None:
        self.file = Path(file)
        self._lock = threading.RLock()
        with self._told():
            self._connection = _opened(self.file, sync=sync, read_only=read_only)
            self._place = self.file.absolute()
            self._identity = _identity(self._place)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            self._connection.close()

    def write(self, statements: Iterable[Statement]) -> None:
        """Do all of them, or none. Raises `StoreError`."""
        with self._writing() as connection:
            for sql, group in groupby(statements, key=lambda statement: statement[0]):
                connection.executemany(sql, (values for _, values in group))

    def claim(self, run: str, owner: str, *, again: bool = False) -> bool:
        """Have this owner carry the run; False where another that lives does, or where it has ended (and may not be tried `again`)."""
        with self._writing() as connection:
            found = connection.execute("SELECT owner, status FROM runs WHERE id = ?", (run,)).fetchone()
            over = ("done",) if again else ("done", "failed", "stopped")
            if found is None or found[1] in over or (found[0] not in ("", owner) and lives(found[0])):
                return False
            connection.execute("UPDATE runs SET owner = ?, status = 'running', ended = NULL WHERE id = ?", (owner, run))
            return True

    def get(self, run: str) -> RunRow | None:
        """The run, or None."""
        found = self._rows(f"SELECT {ALL} FROM runs WHERE id = ?", (run,))
        return found[0] if found else None

    def begins(self, prefix: str) -> list[RunRow]:
        """The runs whose names begin so, at most ten."""
        return self._rows(
            f"SELECT {ALL} FROM runs WHERE id >= ? AND substr(id, 1, length(?)) = ? LIMIT 10", (prefix, prefix, prefix)
        )

    def find(self, query: Query) -> list[RunRow]:
        """The runs that are asked for, the newest first."""
        where, values = _where(query)
        sql = f"SELECT {ALL} FROM runs{where} ORDER BY started DESC, id DESC"
        if query.status not in ("running", "interrupted"):
            return self._rows(f"{sql} LIMIT ? OFFSET ?", (*values, query.limit, query.offset))
        # which of the two it is is known only by looking for the owner
        rows = [row for row in self._rows(sql, values) if row.status == query.status]
        return rows[query.offset : query.offset + query.limit]

    def count(self, query: Query) -> dict[str, int]:
        """How many there are of each status, whatever the limit."""
        where, values = _where(query)
        counts: dict[str, int] = {}
        for status, owner, number in self._all(
            f"SELECT status, owner, count(*) FROM runs{where} GROUP BY 1, 2", values
        ):
            name = _status(status, owner)
            counts[name] = counts.get(name, 0) + number
        return counts

    def due(self, now: float) -> list[RunRow]:
        """The runs whose time has come: those that wait, and those with which a process died since."""
        rows = self._rows(
            f"SELECT {ALL} FROM runs WHERE status IN ('waiting', 'running') AND wake <= ? ORDER BY wake", (now,)
        )
        return [row for row in rows if row.status != "running"]

    def next_wake(self) -> float | None:
        """When the time of the next run comes that waits, or with which a process died."""
        waiting = self._all("SELECT min(wake) FROM runs WHERE status = 'waiting'", ())
        left = self._all("SELECT wake, owner FROM runs WHERE status = 'running' AND wake IS NOT NULL", ())
        times = [wake for (wake,) in waiting if wake is not None] + [wake for wake, owner in left if not lives(owner)]
        return min(times, default=None)

    def progress(self, run: str) -> bytes | None:
        """Where an unfinished run stands."""
        found: bytes | None = self._value("SELECT data FROM progress WHERE run = ?", run)
        return found

    def result(self, run: str) -> bytes | None:
        """What came of a run of one record."""
        found: bytes | None = self._value("SELECT result FROM runs WHERE id = ?", run)
        return found

    def steps(self, run: str) -> list[StepRow]:
        """What happened to it, in order."""
        columns = ", ".join(STEP_COLUMNS)
        return [
            StepRow(*row) for row in self._all(f"SELECT {columns} FROM steps WHERE run = ? ORDER BY number", (run,))
        ]

    def last_step(self, run: str) -> int:
        """The number of the last of its steps; -1 where there is none."""
        (found,) = self._all("SELECT max(number) FROM steps WHERE run = ?", (run,))[0]
        return -1 if found is None else int(found)

    def lot(self, run: str, first: int) -> bytes | None:
        """The lot of a batch or a stream that begins with this record."""
        found = self._all("SELECT data FROM results WHERE run = ? AND first = ?", (run, first))
        return found[0][0] if found else None

    def results(self, run: str) -> Iterator[tuple[int, bytes]]:
        """The lots of a batch or a stream, in order, one at a time in memory."""
        first = -1
        while lots := self._all(
            "SELECT first, data FROM results WHERE run = ? AND first > ? ORDER BY first LIMIT 1", (run, first)
        ):
            first, data = lots[0]
            yield first, data

    def definition(self, hash: str) -> str | None:
        """The text of the machine with this hash."""
        found: str | None = self._value("SELECT text FROM definitions WHERE hash = ?", hash)
        return found

    def prune(self, *, before: float, keep_failed: bool = False) -> int:
        """Forget runs that ended before that time, and machines that no run names; how many runs. Unfinished runs stay."""
        spared = ("done", "stopped") if keep_failed else ("done", "stopped", "failed")
        marks = ", ".join("?" * len(spared))
        with self._writing() as connection:
            old = f"SELECT id FROM runs WHERE ended < ? AND status IN ({marks})"
            for part in PARTS:
                connection.execute(f"DELETE FROM {part} WHERE run IN ({old})", (before, *spared))
            gone = connection.execute(
                f"DELETE FROM runs WHERE ended < ? AND status IN ({marks})", (before, *spared)
            ).rowcount
            connection.execute("DELETE FROM definitions WHERE hash NOT IN (SELECT hash FROM runs)")
        return int(gone)

    def _rows(self, sql: str, values: Sequence[Any]) -> list[RunRow]:
        return [_row(found) for found in self._all(sql, values)]

    def _value(self, sql: str, key: str) -> Any:
        found = self._all(sql, (key,))
        return found[0][0] if found else None

    def _all(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock, self._told():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Raises `StoreError` where the file is no longer the one that was opened: what is written there is lost."""
        with self._lock, self._told(), transaction(self._connection) as connection:
            if _identity(self._place) != self._identity:
                raise StoreError(f"{self.file} was deleted or replaced while it was in use; open it anew")
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Has what SQLite raises say which file it is about; what is the matter with the values themselves is raised as it is."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.DataError):
            raise
        except (sqlite3.Error, OSError) as error:
            if is_damage(error):
                raise NotAStore(
                    f"{self.file} is no run store, or damaged ({error}); move it away to begin a new one"
                ) from error
            raise StoreError(f"{self.file} cannot be used now: {error}") from error


def me() -> str:
    """This process as an owner: its number, and when it began, since numbers come again."""
    return f"{os.getpid()}:{_began(os.getpid())}"


def lives(owner: str) -> bool:
    """Whether that process is still there; behind a slash it may say which part of it. The file is for one machine, not for several."""
    number, _, began = owner.partition("/")[0].partition(":")
    return number.isdigit() and _began(int(number)) == began != ""


def _began(number: int) -> str:
    """When a process began, in the kernel's ticks, with the machine's own start; empty where there is none. See proc(5), ``stat``."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{fields[19]}-{_boot()}"


@cache
def _boot() -> str:
    """Which start of the machine this is; empty where that is hidden."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return ""


def _identity(file: Path) -> tuple[int, int]:
    """Which file it is, whatever it is called; zeros where there is none."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


def _status(status: str, owner: str) -> Status:
    return "interrupted" if status == "running" and not lives(owner) else status  # type: ignore[return-value]  # as it was written


def _row(found: Sequence[Any]) -> RunRow:
    fields = dict(zip(COLUMNS, found, strict=True))
    fields["about"] = _about(fields["about"])
    fields["status"] = _status(fields["status"], fields["owner"])
    return RunRow(**fields)


def _about(text: str) -> dict[str, Any]:
    """What it was started with; nothing where that cannot be read: it is there for people, and no reason not to show the others."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


def _where(query: Query) -> tuple[str, list[Any]]:
    tests: list[tuple[str, Any]] = []
    for name in ("machine", "kind"):
        if getattr(query, name):
            tests.append((f"{name} = ?", getattr(query, name)))
    if query.since is not None:
        tests.append(("started >= ?", query.since))
    if query.until is not None:
        tests.append(("started < ?", query.until))
    for name, value in query.about.items():
        tests.append(("CAST(json_extract(about, ?) AS TEXT) = ?", (f'$."{name}"', value)))
    if query.status in ("interrupted", "running"):
        tests.append(("status = ?", "running"))
    elif query.status == "unfinished":
        tests.append(("ended IS NULL AND ? = 0", 0))
    elif query.status:
        tests.append(("status = ?", query.status))
    values = [part for _, value in tests for part in (value if isinstance(value, tuple) else (value,))]
    return (f" WHERE {' AND '.join(test for test, _ in tests)}" if tests else ""), values


def _opened(file: Path, *, sync: Sync, read_only: bool) -> sqlite3.Connection:
    if read_only:
        return _opened_for_reading(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.touch(mode=0o600)  # records are in it
    connection = sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
    try:
        _recognised(connection, file)
        _keep_a_log(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if sync == 'power' else 'NORMAL'}")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        with transaction(connection):
            if connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA:
                for statement in _TABLES:
                    connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def _opened_for_reading(file: Path) -> sqlite3.Connection:
    if not file.is_file():
        raise NotAStore(f"there are no runs at {file}")
    name = f"file:{quote(str(file.absolute()))}?mode=ro"
    if not os.access(file.parent, os.W_OK) and not file.with_name(file.name + "-wal").exists():
        name += (
            "&immutable=1"  # SQLite cannot make the files with which it follows a writer; without a log there is none
        )
    connection = sqlite3.connect(name, uri=True, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
    try:
        if _recognised(connection, file) < SCHEMA:
            raise NotAStore(f"there are no runs in {file} yet")
    except BaseException:
        connection.close()
        raise
    return connection


def _recognised(connection: sqlite3.Connection, file: Path) -> int:
    """The schema; 0 for a file that is to become a run store. Raises `NotAStore` and `NewerSchema`.

    All is asked at one moment: another process may be making the tables just now.
    """
    connection.text_factory = _TOLERANT
    connection.execute("BEGIN")
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID and (application or tables):
        raise NotAStore(f"{file} is a database of another program; name another file for the runs")
    if schema > SCHEMA:
        raise NewerSchema(f"{file} was written by a newer version (schema {schema}); use that one, or another file")
    return int(schema)


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Write ahead. SQLite does not wait for a lock here, where two processes make the file at once."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
