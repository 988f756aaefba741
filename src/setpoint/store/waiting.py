"""What callers said and the file does not have yet. The one place that both the callers' threads and the writer touch.

Its lock is held for moments only, never while anything is encoded or written, so a caller does not wait for the disk. Of each document it
keeps the latest value for as long as the worker lives (a reference, not a copy), so that a value that is put again costs nothing and
a fresh file can be filled again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from setpoint.store.document import KINDS, Conflict, Documents, Kind, StoreError, encoded
from setpoint.store.journal import Transition, latest, without_secret
from setpoint.store.rows import Key, Write, Written

KEEP_WAITING: Final = 20_000
"""Transitions kept in memory while they cannot be written; the oldest go first."""
TAKE_DOCUMENTS: Final = 1_000
TAKE_TRANSITIONS: Final = 5_000
_NOTHING: Final = object()


class _Slot:
    """The latest value of one document, what is to be left out of it, and the version up to which this process knows it."""

    __slots__ = ("at", "secrets", "value", "version")

    def __init__(self, value: Any, at: float, secrets: frozenset[str], *, version: int = 0) -> None:
        self.value, self.at, self.secrets, self.version = value, at, secrets, version


class Taken(NamedTuple):
    """A part of what is waiting, to be written in one transaction. It goes on waiting until it is done."""

    writes: list[Write]
    values: dict[Key, tuple[Any, frozenset[str]]]
    drops: dict[str, object]
    transitions: list[Transition]
    machines: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.values or self.drops or self.transitions or self.machines)


class Waiting:
    """The memory before the file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[Key, _Slot] = {}
        self._documents: dict[Key, None] = {}  # in the order in which they began to wait
        self._unhurried: dict[Key, None] = {}  # those of them that may wait for the next heartbeat
        self._drops: dict[str, object] = {}
        self._transitions: deque[Transition] = deque(maxlen=KEEP_WAITING)
        self._machines: dict[str, str] = {}
        self._new_machines: dict[str, str] = {}
        self._known = 0
        """Version up to which the whole file was read: what is later and not ours is another's."""
        self._last_id = 0
        """The last transition that is in the file and no longer here."""
        self._conflicts: dict[Key, Conflict] = {}
        self._unstorable: dict[Key, str] = {}
        self._refused: dict[str, str] = {}
        """Rows other than documents that the file does not take, by path or hash, and why."""

    # callers

    def put(self, path: str, kind: Kind, value: Any, at: float, secrets: frozenset[str]) -> bool:
        """Note the latest value; True when the writer is to be woken for it.

        What was observed can wait for the next heartbeat: it changes all the time, and after a restart there is a fresh one anyway.
        """
        slot = self._slots.get(key := (path, kind))
        if slot is not None and slot.value is value and slot.secrets == secrets:
            return False
        with self._lock:
            if slot is None:
                self._slots[key] = _Slot(value, at, secrets)
            else:
                slot.value, slot.at, slot.secrets = value, at, secrets
            if kind == "observed":
                self._unhurried[key] = None
                return False
            self._documents[key] = None
        return True

    def ripen(self) -> None:
        """What could wait is to be written now."""
        with self._lock:
            self._documents |= self._unhurried
            self._unhurried.clear()

    def drop(self, path: str) -> None:
        with self._lock:
            for kind in KINDS:
                for table in (self._slots, self._documents, self._unhurried, self._conflicts, self._unstorable):
                    table.pop((path, kind), None)
            self._refused.pop(path, None)
            self._drops[path] = object()

    def append(self, transition: Transition) -> None:
        with self._lock:
            self._transitions.append(transition)

    def keep_machine(self, hash: str, definition: Mapping[str, Any]) -> bool:
        """Note a machine; False when it was noted before."""
        if hash in self._machines:
            return False
        try:
            text = msgspec.json.encode(definition).decode()  # it is code: it stays what its hash stands for
        except (TypeError, ValueError, RecursionError) as error:
            with self._lock:
                self._refused[hash] = f"the machine {hash} is not stored: {error}"
            return False
        with self._lock:
            self._machines[hash] = self._new_machines[hash] = text
        return True

    def machine(self, hash: str) -> str | None:
        return self._machines.get(hash)

    def transitions(self, path: str = "", limit: int = KEEP_WAITING) -> tuple[list[Transition], int]:
        """The latest that are waiting, without secrets, and the number of the last one in the file that comes before them."""
        with self._lock:
            waiting, last_id = list(self._transitions), self._last_id
        return [without_secret(row) for row in latest((r for r in waiting if path in ("", r.path)), limit)], last_id

    def documents(self, path: str = "") -> list[tuple[Key, Any, float, frozenset[str]]]:
        """Those that are waiting, as (key, value, at, secrets)."""
        with self._lock:
            keys = [key for key in {**self._documents, **self._unhurried} if path in ("", key[0])]
            return [(key, slot.value, slot.at, slot.secrets) for key in keys for slot in [self._slots[key]]]

    def trouble(self) -> list[str]:
        """What is not written though the file is fine."""
        with self._lock:
            return [
                *(str(conflict) for conflict in self._conflicts.values()),
                *(f"{kind} of {path} is not stored: {why}" for (path, kind), why in self._unstorable.items()),
                *self._refused.values(),
            ]

    # the writer

    @property
    def machines(self) -> list[str]:
        """Hashes of the machines that were noted since the store was opened."""
        return list(self._machines)

    def take(self) -> Taken:
        """The next part to be written, encoded. What cannot be encoded is noted as trouble and waits no more."""
        with self._lock:
            keys = list(islice(self._documents, TAKE_DOCUMENTS))
            slots = [
                (key, slot.value, slot.secrets, slot.at, slot.version) for key in keys for slot in [self._slots[key]]
            ]
            transitions = list(islice(self._transitions, TAKE_TRANSITIONS))
            drops, machines, known = self._drops.copy(), self._new_machines.copy(), self._known
        writes, unstorable = [], {}
        for key, value, secrets, at, version in slots:
            try:
                writes.append(Write(*key, encoded(value, secrets), at, max(version, known)))
            except StoreError as error:
                unstorable[key] = str(error)
        with self._lock:
            for key in keys:
                self._unstorable.pop(key, None)
            self._unstorable |= {key: why for key, why in unstorable.items() if key in self._slots}
        return Taken(
            writes, {key: (value, secrets) for key, value, secrets, _, _ in slots}, drops, transitions, machines
        )

    def done(self, taken: Taken, written: Written) -> None:
        """That part is in the file."""
        with self._lock:
            for key, (value, secrets) in taken.values.items():
                self._settle(key, value, secrets, written)
            for path, token in taken.drops.items():
                if self._drops.get(path) is token:
                    del self._drops[path]
            for row in taken.transitions:
                self._refused.pop(row.path, None)
                if self._transitions and self._transitions[0] is row:  # the oldest may have been dropped meanwhile
                    self._transitions.popleft()
            for hash in taken.machines:
                self._new_machines.pop(hash, None)
            for place, why in written.refused.items():
                if isinstance(place, str):
                    self._refused[place] = why
                elif place in self._slots:
                    self._unstorable[place] = why
            self._last_id = written.last_id

    def _settle(self, key: Key, value: Any, secrets: frozenset[str], written: Written) -> None:
        slot = self._slots.get(key)
        if slot is None:
            return
        if slot.value is value and slot.secrets == secrets:
            self._documents.pop(key, None)
        if key in written.versions:
            slot.version = written.versions[key]
            self._conflicts.pop(key, None)
        elif key in written.conflicts:
            self._conflicts[key] = written.conflicts[key]

    def written(self, write: Write, value: Any, secrets: frozenset[str], version: int) -> None:
        """One document was written by itself."""
        key = (write.path, write.kind)
        with self._lock:
            if key in self._documents or key in self._unhurried:  # a later value came meanwhile
                self._slots[key].version = version
            else:
                self._slots[key] = _Slot(value, write.at, secrets, version=version)
            self._conflicts.pop(key, None)

    def read(self, found: Mapping[str, Documents], *, path: str = "", known: int = 0) -> None:
        """The documents of one worker, or with `known` the whole file up to that version, were read; conflicts end as the file has it."""
        with self._lock:
            self._known = max(self._known, known)
            for key in [(path, kind) for kind in KINDS] if path else list(self._slots):
                slot, document = self._slots.get(key), found.get(key[0], {}).get(key[1])
                if slot is not None and document is not None:
                    slot.version = max(slot.version, document.version)
                if self._conflicts.pop(key, None) and slot is not None:
                    slot.value = _NOTHING
                    self._documents.pop(key, None)
                    self._unhurried.pop(key, None)

    def opened(self, *, known: int, last_id: int) -> None:
        """Another file is in use: everything this process put has to be written to it, unless it is there already."""
        with self._lock:
            self._known, self._last_id = known, last_id
            self._conflicts.clear()
            for key, slot in self._slots.items():
                slot.version = 0
                if slot.value is not _NOTHING:
                    self._documents[key] = None
            self._new_machines = self._machines.copy()
