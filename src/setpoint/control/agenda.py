"""The agenda: what is due, what has changed, and what the outside shall do.

The control runtime has no clock and does no I/O. Its rooms (observing, acting, family, the core) share one agenda: they mark workers
whose inputs changed, set timers, and emit effects. Whoever drives the core brings the time in and carries the effects out: an event loop
in the real program, a simulator in tests.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import structlog

from setpoint.control.limits import Limits
from setpoint.control.record import Record
from setpoint.control.registry import AnyWorker
from setpoint.store import Transition

log = structlog.get_logger(__name__)


class Timer(IntEnum):
    """What a timer is for."""

    LOOK = 1  # evaluate the worker: a declared deadline or a retry
    RESYNC = 6  # evaluate it although nothing is known to have changed
    COLLECT = 2  # an observation is due, or the one in flight has taken too long
    STALE = 4
    ACT_TIMEOUT = 5


class Observe(NamedTuple):
    """Effect: collect an observation and hand it back with the token."""

    path: str
    token: int
    worker: AnyWorker
    desired: Any


class Act(NamedTuple):
    """Effect: run the worker's action and hand its end back with the token."""

    path: str
    token: int
    worker: AnyWorker
    name: str
    desired: Any


class Abandon(NamedTuple):
    """Effect: nobody waits for this call any more; cancel it, and forget it if it does not listen."""

    token: int


class Close(NamedTuple):
    """Effect: the worker has been removed; let it go of what it holds."""

    path: str
    worker: AnyWorker


Effect = Observe | Act | Abandon | Close

Listener = Callable[[Record, Transition | None], None]
"""Told of every change people can see: a transition, or None where only the reason or condition changed."""


Due = tuple[float, int, Timer, Record, float]
"""One timer: when, a tie-breaker, what for, whom, and a token that says whether it still counts."""


FEW_TIMERS = 16
"""So many timers are never too many."""


def _counts(timer: Due) -> bool:
    """Whether something happens when the timer rings."""
    at, _, kind, record, token = timer
    if record.state == "removed":
        return False
    match kind:
        case Timer.LOOK:
            return at == record.look_at
        case Timer.COLLECT:
            return at == record.collector_at
        case Timer.STALE:
            return token == record.born_at
        case Timer.ACT_TIMEOUT:
            return any(running.token == token for running in record.running.values())
        case Timer.RESYNC:
            return True


class Agenda:
    """Time, changes, timers and effects of one supervisor."""

    def __init__(self, limits: Limits, seed: int) -> None:
        self.limits = limits
        self.jitter = random.Random(seed)
        self.now = 0.0
        self.wall = 0.0
        self.offset = 0.0  # of the wall clock from the other, when it was last set
        self.shutting_down = False
        self._changed: deque[Record] = deque()
        self._timers: list[Due] = []
        self._most_timers = FEW_TIMERS
        self._order = 0
        self._effects: list[Effect] = []
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def tell(self, record: Record, transition: Transition | None) -> None:
        """Tell whoever listens. What fails there is not the worker's fault."""
        for listener in self._listeners:
            try:
                listener(record, transition)
            except Exception:
                log.exception("a listener failed", path=record.path)

    def mark(self, record: Record) -> None:
        """Something this worker reads has changed."""
        if not record.marked:
            record.marked = True
            self._changed.append(record)

    def unmark(self, record: Record) -> None:
        record.marked = False

    @property
    def any_changed(self) -> bool:
        return bool(self._changed)

    def next_changed(self) -> Record | None:
        """Take the worker that has been marked for longest; None when there is none."""
        while self._changed:
            record = self._changed.popleft()
            if record.marked:
                record.marked = False
                return record
        return None

    def at(self, due: float, kind: Timer, record: Record, token: float = 0) -> None:
        self._order += 1
        heapq.heappush(self._timers, (due, self._order, kind, record, token))
        if len(self._timers) > self._most_timers:
            self._forget_old_timers()

    def _forget_old_timers(self) -> None:
        """Timers that were replaced by earlier ones wait in the heap until they fall due; here they go when they have become many."""
        counting = {(timer[0], timer[2], timer[3].path, timer[4]): timer for timer in self._timers if _counts(timer)}
        self._timers = list(counting.values())
        heapq.heapify(self._timers)
        self._most_timers = 2 * len(self._timers) + FEW_TIMERS

    def look(self, record: Record, when: float) -> None:
        """Have the worker evaluated at that time at the latest; one timer a worker is enough."""
        if when < record.look_at:
            record.look_at = when
            self.at(when, Timer.LOOK, record)

    def take_due(self) -> Due | None:
        """Take the earliest timer, if it is due."""
        timers = self._timers
        return heapq.heappop(timers) if timers and timers[0][0] <= self.now else None

    @property
    def next_due(self) -> float | None:
        """When the next timer falls due; now if something has changed."""
        if self._changed:
            return self.now
        return self._timers[0][0] if self._timers else None

    def token(self) -> int:
        """A number never used before."""
        self._order += 1
        return self._order

    def emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def effects(self) -> list[Effect]:
        """Take the effects emitted so far."""
        taken, self._effects = self._effects, []
        return taken
