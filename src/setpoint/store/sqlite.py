"""The store in SQLite: one file, one writer thread, group commit.

    put, drop, append, keep_machine  →  memory  →  the writer, every `FLUSH_S`: encode, leave out secrets, compare, one transaction  →  file

Callers only note what is new; encoding and writing happen in the writer's thread. A kill -9 loses what came in the last `FLUSH_S` plus the
time of one commit, and nothing that was committed before (write-ahead log, synchronous=NORMAL: safe against the death of the process; the
last moments may be lost with the power). Of what was observed it may lose the last `HEARTBEAT_S`: that is gathered for as long, to spare
the disk, because it changes all the time and a fresh observation comes before anything is decided again.

Faults of the disk never reach the caller. What cannot be written waits in memory, bounded (the latest of each document, `KEEP_WAITING`
transitions), and is tried again for ever; `trouble` says what is the matter and is "" again once all is written. A file that is damaged,
found at opening or at any later use, is set aside under a new name and a fresh one started; one that was deleted is made again, one that
was replaced is taken as it is. All documents that were put since this store was opened are then written again, from the values themselves,
to which the store keeps references. Documents of workers that put none since, and transitions written before, are in the file set aside.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from setpoint.store import rows
from setpoint.store.document import Document, Documents, Kind, StoreError, encoded, in_words
from setpoint.store.journal import Step, Transition, as_text, as_time, storable
from setpoint.store.rows import Batch, Write, Written
from setpoint.store.schema import check_file, is_damage, open_for_reading, open_store, set_aside
from setpoint.store.secrets import NO_SECRETS
from setpoint.store.waiting import KEEP_WAITING, Taken, Waiting

log = structlog.get_logger(__name__)

FLUSH_S: Final = 0.05
"""How long news is gathered before it is written."""
RETRY_S: Final = 1.0
HEARTBEAT_S: Final = 10.0
"""How often the file is told that its user is alive."""
PRUNE_EVERY: Final = 10_000
"""Written transitions between two prunings; one is done at the start."""
CLOSE_S: Final = 5.0
HUNG_S: Final = 10.0
"""How long somebody else's writing is waited for, and after which it is said."""
ASIDE_S: Final = 60.0
"""The shortest time between two files set aside: a disk that damages every file shall not be filled with them."""
_ALL: Final = 2**62

T = TypeVar("T")


class SqliteStore:
    """The store in one SQLite file; see `setpoint.store.document.Store` for what its methods do.

    With `read_only` it opens the store of an agent that may be running, and writes nothing. `wall` gives wall time in seconds since the
    epoch. A file that cannot be used now is no error (see `trouble`). Raises `NotAStore` for a file of another program, `NewerSchema` for
    one that a newer version of this one wrote; with `read_only` `NotAStore` also when there is no file.
    """

    def __init__(self, file: Path, *, read_only: bool = False, wall: Callable[[], float] = time.time) -> None:
        self._file, self._read_only, self._wall = file, read_only, wall
        self.alive_at: float | None = None
        self.set_aside = ""
        """The name under which a damaged file was set aside since this store was opened; "" when none was."""
        self._waiting = Waiting()
        self._error = ""
        self._suspect = ""  # what a reader stumbled over
        self._commit = threading.Lock()  # held by who writes
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._opened = False
        self._beat_at = 0.0
        self._aside_at = -ASIDE_S
        self._unpruned = PRUNE_EVERY
        self._news = threading.Event()
        self._closed = threading.Event()
        self._began = math.inf  # when the writing in progress began
        self._thread: threading.Thread | None = None
        if read_only:
            self._reader = open_for_reading(file)
            self.alive_at = rows.alive_at(self._reader)
            return
        with self._commit:
            try:
                self._connect()
            except (sqlite3.Error, OSError) as error:
                if self._failed(error):
                    self._write_waiting()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    # what the runtime says

    def put(self, path: str, kind: Kind, value: Any, *, at: float, secrets: frozenset[str] = NO_SECRETS) -> None:
        if self._read_only:
            self._refuse_to_write()
        if self._waiting.put(as_text(path), kind, value, as_time(at), secrets):
            self._wake()

    def drop(self, path: str) -> None:
        self._refuse_to_write()
        self._waiting.drop(as_text(path))
        self._wake()

    def append(self, transition: Transition) -> None:
        self._refuse_to_write()
        self._waiting.append(storable(transition))
        self._wake()

    def keep_machine(self, hash: str, definition: Mapping[str, Any]) -> None:
        self._refuse_to_write()
        if self._waiting.keep_machine(as_text(hash), definition):
            self._wake()

    def update(self, path: str, kind: Kind, value: Any, *, version: int, secrets: frozenset[str] = NO_SECRETS) -> int:
        self._refuse_to_write()
        write = Write(as_text(path), kind, encoded(value, secrets), self._wall(), version)
        with self._writing() as mine:
            if not mine or not self._write_waiting(everything=True) or self._writer is None:
                raise StoreError(f"{kind} of {path} cannot be written now: {self.trouble()}")
            try:
                written = rows.replace(self._writer, write, version=version)
            except sqlite3.Error as error:
                self._failed(error)
                raise StoreError(f"{kind} of {path} cannot be written now: {error}") from error
            self._waiting.written(write, value, secrets, written)
            return written

    # what is asked of it

    def load(self) -> dict[str, Documents]:
        return self._read_documents("")

    def refresh(self, path: str) -> Documents:
        path = as_text(path)
        return self._read_documents(path).get(path, {})

    def history(self, path: str, limit: int = 100) -> Sequence[Transition]:
        """The latest transitions of one worker, oldest first, in the order in which they were made."""
        path = as_text(path)
        waiting, last_id = self._waiting_transitions(path, limit)
        if len(waiting) >= limit:
            return waiting
        found = self._read(lambda c: rows.history(c, path, limit - len(waiting), up_to=last_id))
        return [*(found or ()), *waiting]

    def typical(self, *, path: str = "", type: str = "") -> Sequence[Step]:
        path, type = as_text(path), as_text(type)
        waiting, last_id = self._waiting_transitions(path)
        return self._read(lambda c: rows.typical(c, waiting, path=path, type=type, up_to=last_id)) or []

    def machine(self, hash: str) -> Mapping[str, Any] | None:
        text = self._waiting.machine(hash)
        if text is not None:
            return dict(msgspec.json.decode(text))
        return self._read(lambda c: rows.machine(c, hash))

    def trouble(self) -> str:
        spent = time.monotonic() - self._began
        hung = [f"the file has not answered for {spent:.0f} s"] if spent > HUNG_S else []
        return in_words([*filter(None, [self._error]), *hung, *self._waiting.trouble()])

    def flush(self, timeout: float = 5.0) -> bool:
        deadline = time.monotonic() + timeout
        while not self._closed.is_set() and not self._read_only:
            with self._writing(max(0.0, deadline - time.monotonic())) as mine:
                if mine and self._write_waiting(everything=True):
                    return True
            if time.monotonic() >= deadline:
                return False
            self._closed.wait(FLUSH_S)
        return self._read_only

    def close(self) -> None:
        """Write what is waiting, where it can be written, and let go of the file. Returns within some seconds."""
        self._closed.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout=CLOSE_S)
        else:
            self._close_reader()

    # reading

    def _read_documents(self, path: str) -> dict[str, Documents]:
        with self._writing() as mine:
            if mine and not self._read_only:
                self._write_waiting(everything=True)
            version, found = self._read(lambda c: _snapshot(c, path)) or (0, {})
            self._waiting.read(found, path=path, known=0 if path else version)
            waiting = self._waiting.documents(path)
        for (where, kind), value, at, secrets in waiting:
            documents = found.setdefault(where, {})
            version = documents[kind].version if kind in documents else 0
            with suppress(StoreError):  # said once the writer comes to it
                documents[kind] = Document(kind, msgspec.json.decode(encoded(value, secrets)), version, at)
        return {where: documents for where, documents in found.items() if documents}

    def _waiting_transitions(self, path: str, limit: int = KEEP_WAITING) -> tuple[list[Transition], int]:
        waiting, last_id = self._waiting.transitions(path, limit)
        return waiting, _ALL if self._read_only else last_id

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T | None:
        """The answer of the file; None where it gives none, which `trouble` then explains."""
        with self._reading:
            if self._closed.is_set():
                return None
            try:
                if self._reader is None:
                    self._reader = open_for_reading(self._file)
                answer = query(self._reader)
            except (sqlite3.Error, OSError, StoreError) as error:
                self._suspect = str(error) if is_damage(error) else self._suspect
                self._error = self._error or str(error)
                if not self._read_only:
                    self._news.set()  # the writer looks whether the file is sound
                return None
            if self._read_only:
                self._error = ""
            return answer

    def _close_reader(self) -> None:
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    # writing

    def _wake(self) -> None:
        if not self._news.is_set():  # looking is cheaper than setting
            self._news.set()

    def _refuse_to_write(self) -> None:
        if self._read_only:
            raise StoreError(f"{self._file} was opened to be read only")

    def _run(self) -> None:
        while not self._closed.is_set():
            self._news.wait(max(0.0, self._beat_at - time.monotonic()))
            self._closed.wait(FLUSH_S)  # what comes meanwhile goes into the same transaction
            self._news.clear()
            if not self._tried() and not self._closed.wait(RETRY_S):
                self._news.set()
        self._beat_at = 0.0
        self._tried()
        self._let_go()

    @contextmanager
    def _writing(self, timeout: float | None = None) -> Iterator[bool]:
        """Be the one who writes; False when somebody else still was after `timeout` seconds, as on a disk that hangs."""
        mine = self._commit.acquire(timeout=HUNG_S if timeout is None else timeout)
        if mine:
            self._began = time.monotonic()
        try:
            yield mine
        finally:
            if mine:
                self._began = math.inf
                self._commit.release()

    def _tried(self) -> bool:
        """Try to write all that is waiting. A defect of ours is said and tried again like a fault of the disk; the writer never ends."""
        with self._writing() as mine:
            try:
                return mine and self._write_waiting()
            except Exception as error:
                log.exception("the store's writer failed")
                self._error = f"{type(error).__name__}: {error}"
                return False

    def _write_waiting(self, *, everything: bool = False) -> bool:
        """Move what is waiting to the file; False when it could not be, or not all of it. `_commit` is held.

        What was observed waits for the next heartbeat, unless `everything` is asked for.
        """
        if everything or time.monotonic() >= self._beat_at:
            self._waiting.ripen()
        while True:
            try:
                connection = self._usable()
                taken = self._waiting.take()
                due = time.monotonic() >= self._beat_at
                if not taken and not due:
                    self._recovered()
                    return True
                written = self._write(connection, taken, alive_at=self._wall() if due else None)
            except (sqlite3.Error, OSError, StoreError) as error:
                if not self._failed(error):
                    return False
            else:
                self._waiting.done(taken, written)

    def _write(self, connection: sqlite3.Connection, taken: Taken, *, alive_at: float | None) -> Written:
        prune = self._unpruned >= PRUNE_EVERY
        keep = self._waiting.machines if prune else ()
        written = rows.write(
            connection,
            Batch(taken.writes, taken.drops, taken.transitions, taken.machines, alive_at, prune, keep),
        )
        self._unpruned = len(taken.transitions) + (0 if prune else self._unpruned)
        if alive_at is not None:
            self._beat_at = time.monotonic() + HEARTBEAT_S
        return written

    # the file

    def _usable(self) -> sqlite3.Connection:
        """The connection that writes. Raises when there is none now, or when the file turned out to be damaged."""
        if self._writer is not None and not self._same_file():
            log.error("the store's file is gone or was replaced; everything is written again", file=self._file.name)
            self._let_go()
        if self._writer is None:
            return self._connect()
        if self._suspect:
            self._suspect = ""
            check_file(self._file)
        return self._writer

    def _same_file(self) -> bool:
        try:
            found = os.stat(self._file)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _connect(self) -> sqlite3.Connection:
        connection = open_store(self._file)
        found = os.stat(self._file)
        self._identity = (found.st_dev, found.st_ino)
        if not self._opened:
            self._opened = True
            self.alive_at = rows.alive_at(connection)
        self._waiting.opened(known=rows.version(connection), last_id=rows.last_id(connection))
        self._writer = connection
        return connection

    def _let_go(self) -> None:
        self._close_reader()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _failed(self, error: Exception) -> bool:
        """Note what is the matter. True when the file was damaged and is out of the way, so that trying again at once makes sense."""
        if not self._error:
            log.error("the store cannot be written; news is kept in memory", file=self._file.name, why=str(error))
        self._error = str(error)
        if not is_damage(error) or time.monotonic() < self._aside_at + ASIDE_S:
            return False
        self._let_go()
        self._aside_at = time.monotonic()
        try:
            self.set_aside = set_aside(self._file, str(error)).name
        except OSError as fault:
            self._error = str(fault)
            return False
        return True

    def _recovered(self) -> None:
        if self._error:
            log.info("the store is written again", file=self._file.name, after=self._error)
            self._error = ""


def _snapshot(connection: sqlite3.Connection, path: str) -> tuple[int, dict[str, Documents]]:
    """The version of the store, and the documents of one worker or all, as of one moment."""
    connection.execute("BEGIN")
    try:
        return rows.version(connection), rows.documents(connection, path)
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")
