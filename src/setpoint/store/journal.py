"""The journal of transitions: what moved, when, and why. Append-only; the one thing that must survive to explain the past."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec


class Transition(msgspec.Struct, frozen=True):
    """One move of one worker. `at` is wall time in seconds since the epoch."""

    path: str
    at: float
    event: str
    source: str
    target: str
    reason: str


class Journal(Protocol):
    """Where transitions are kept."""

    def append(self, transition: Transition) -> None:
        """Keep it; returns at once."""

    def history(self, path: str, limit: int = 100) -> Sequence[Transition]:
        """The latest transitions of one worker, oldest first."""

    def close(self) -> None:
        """Write what is waiting."""


class MemoryJournal:
    """A journal that keeps the latest transitions of each worker in memory."""

    def __init__(self, keep: int = 200) -> None:
        self._keep = keep
        self._rows: dict[str, deque[Transition]] = {}

    def append(self, transition: Transition) -> None:
        self._rows.setdefault(transition.path, deque(maxlen=self._keep)).append(transition)

    def history(self, path: str, limit: int = 100) -> Sequence[Transition]:
        return list(self._rows.get(path, ()))[-limit:]

    def close(self) -> None:
        return None
