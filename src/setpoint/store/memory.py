"""The store in memory: the same behaviour without a file, for tests and simulations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from setpoint.store.document import KINDS, Conflict, Document, Documents, Kind, StoreError, encoded, in_words
from setpoint.store.journal import MemoryJournal, as_text, as_time
from setpoint.store.secrets import NO_SECRETS

Key = tuple[str, Kind]


class MemoryStore(MemoryJournal):
    """A store that lives as long as the process. `wall` gives wall time; `keep` bounds the transitions of each worker.

    Putting is cheap: values are encoded, compared and given versions when somebody reads.
    """

    def __init__(self, *, keep: int = 200, wall: Callable[[], float] = time.time) -> None:
        super().__init__(keep)
        self._wall = wall
        self.alive_at: float | None = None
        self._waiting: dict[Key, tuple[Any, float, frozenset[str]]] = {}
        self._stored: dict[Key, tuple[str, int, float]] = {}
        self._machines: dict[str, Mapping[str, Any]] = {}
        self._version = 0
        self._unstorable: dict[Key, str] = {}

    def put(self, path: str, kind: Kind, value: Any, *, at: float, secrets: frozenset[str] = NO_SECRETS) -> None:
        self._waiting[as_text(path), kind] = (value, as_time(at), secrets)

    def drop(self, path: str) -> None:
        path = as_text(path)
        for kind in KINDS:
            for table in (self._waiting, self._stored, self._unstorable):
                table.pop((path, kind), None)

    def load(self) -> dict[str, Documents]:
        self._settle()
        documents: dict[str, Documents] = {}
        for path, kind in self._stored:
            documents.setdefault(path, {})[kind] = self._document(path, kind)
        return documents

    def refresh(self, path: str) -> Documents:
        self._settle()
        path = as_text(path)
        return {kind: self._document(path, kind) for kind in KINDS if (path, kind) in self._stored}

    def update(self, path: str, kind: Kind, value: Any, *, version: int, secrets: frozenset[str] = NO_SECRETS) -> int:
        self._settle()
        path = as_text(path)
        stored = self._stored.get((path, kind), ("", 0, 0.0))[1]
        if stored != version:
            raise Conflict(path, kind, stored)
        self._write((path, kind), encoded(value, secrets), self._wall())
        return self._stored[path, kind][1]

    def keep_machine(self, hash: str, definition: Mapping[str, Any]) -> None:
        self._machines[hash] = definition

    def machine(self, hash: str) -> Mapping[str, Any] | None:
        return self._machines.get(hash)

    def trouble(self) -> str:
        self._settle()
        return in_words(list(self._unstorable.values()))

    def flush(self, timeout: float = 5.0) -> bool:
        self._settle()
        return True

    def reopened(self) -> MemoryStore:
        """What another process would find after this one ended now, however it ended."""
        self._settle()
        other = MemoryStore(keep=self._keep, wall=self._wall)
        other.alive_at = self._wall()
        for path, rows in self._rows.items():
            other._rows[path] = rows.copy()
        other._stored, other._version = self._stored.copy(), self._version
        named = {self._value(key).get("hash") for key in self._stored if key[1] == "state"}
        other._machines = {hash: machine for hash, machine in self._machines.items() if hash in named}
        return other

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for key, (value, at, secrets) in waiting.items():
            self._unstorable.pop(key, None)
            try:
                self._write(key, encoded(value, secrets), at)
            except StoreError as error:
                self._unstorable[key] = f"{key[1]} of {key[0]} is not stored: {error}"

    def _write(self, key: Key, text: str, at: float) -> None:
        if self._stored.get(key, ("", 0, 0.0))[0] != text:
            self._version += 1
            self._stored[key] = (text, self._version, at)

    def _document(self, path: str, kind: Kind) -> Document:
        text, version, at = self._stored[path, kind]
        return Document(kind, msgspec.json.decode(text), version, at)

    def _value(self, key: Key) -> dict[str, Any]:
        value = msgspec.json.decode(self._stored[key][0])
        return value if isinstance(value, dict) else {}
