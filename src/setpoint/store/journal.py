"""The journal of transitions: what moved, when, and why. Append-only; the one thing that must survive to explain the past.

From the moves of a worker follows how long it was in each state; `steps_of` says what is typical of each step that was ever taken.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Sequence
from math import isfinite
from statistics import median
from typing import Any, Final, Protocol

import msgspec

from setpoint.secrets import without_secrets

MAX_REASON: Final = 10_000
"""Characters of a reason that are kept."""


class Transition(msgspec.Struct, frozen=True):
    """One move of one worker. `at` is wall time in seconds since the epoch, `type` the worker's type where it is known."""

    path: str
    at: float
    event: str
    source: str
    target: str
    reason: str
    type: str = ""


class Step(msgspec.Struct, frozen=True):
    """How a step was taken before: `count` times, after `median` seconds in its source state, `longest` at most."""

    source: str
    event: str
    target: str
    count: int
    median: float
    longest: float


class Journal(Protocol):
    """Where transitions are kept."""

    def append(self, transition: Transition) -> None:
        """Keep it; returns at once."""

    def history(self, path: str, limit: int = 100) -> Sequence[Transition]:
        """The latest transitions of one worker, oldest first."""

    def close(self) -> None:
        """Write what is waiting."""


class MemoryJournal:
    """A journal that keeps the latest transitions in memory: `keep` of each worker, for the `workers` that moved last."""

    def __init__(self, keep: int = 200, workers: int = 100_000) -> None:
        self._keep = keep
        self._workers = workers
        self._rows: OrderedDict[str, deque[Transition]] = OrderedDict()

    def append(self, transition: Transition) -> None:
        transition = storable(transition)
        rows = self._rows.get(transition.path)
        if rows is None:
            rows = self._rows[transition.path] = deque(maxlen=self._keep)
            if len(self._rows) > self._workers:
                self._rows.popitem(last=False)
        else:
            self._rows.move_to_end(transition.path)
        rows.append(transition)

    def history(self, path: str, limit: int = 100) -> Sequence[Transition]:
        return [without_secret(row) for row in latest(self._rows.get(as_text(path), ()), limit)]

    def typical(self, *, path: str = "", type: str = "") -> Sequence[Step]:
        rows = [self._rows.get(as_text(path), ())] if path else self._rows.values()
        return steps_of(row for each in rows for row in each if row.type == type or not type)

    def close(self) -> None:
        return None


def latest(rows: Iterable[Transition], limit: int) -> list[Transition]:
    """The last `limit` of them."""
    return list(rows)[-limit:] if limit > 0 else []


def storable(transition: Transition) -> Transition:
    """The transition with fields of the types that they are declared to have, whatever is in them: reasons come from anybody's code."""
    texts = (
        transition.path,
        transition.event,
        transition.source,
        transition.target,
        transition.reason,
        transition.type,
    )
    if (
        type(transition.at) is float
        and isfinite(transition.at)
        and all(type(text) is str and text.isascii() for text in texts)
    ):
        return transition
    path, event, source, target, reason, type_ = map(as_text, texts)
    return Transition(path, as_time(transition.at), event, source, target, reason, type_)


def as_text(value: Any) -> str:
    """As text that can be kept: a broken character, as in a file name that is not Unicode, becomes ``?``; what is no text, its text."""
    if type(value) is str and value.isascii():
        return value
    try:
        text = "" if value is None else str.__str__(value) if isinstance(value, str) else str(value)
        return text.encode(errors="replace").decode()
    except KeyboardInterrupt:
        raise
    except BaseException:  # an object's own code may raise anything
        return type(value).__name__


def as_time(value: Any) -> float:
    """As seconds since the epoch; 0 for what is no time."""
    try:
        return float(value) if isfinite(value) else 0.0
    except (TypeError, ValueError, OverflowError):
        return 0.0


def without_secret(transition: Transition) -> Transition:
    """The transition as it may be kept and shown: its reason without secrets, and not longer than people read."""
    reason = without_secrets(transition.reason[:MAX_REASON])
    return transition if reason == transition.reason else msgspec.structs.replace(transition, reason=reason)


def steps_of(transitions: Iterable[Transition]) -> list[Step]:
    """What is typical of each step, the most frequent first. `transitions` are in the order in which they were made.

    Only time between two moves that follow each other counts: not before the first, not across a gap (a worker made anew), and not where
    the clock went back. What an operator said without moving anything ends no stay.
    """
    since: dict[str, tuple[str, float]] = {}
    taken: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in transitions:
        if row.source == row.target:
            continue
        state, entered = since.get(row.path, ("", 0.0))
        if state == row.source and row.at >= entered:
            taken[row.source, row.event, row.target].append(row.at - entered)
        since[row.path] = (row.target, row.at)
    steps = [Step(*step, len(times), median(times), max(times)) for step, times in taken.items()]
    return sorted(steps, key=lambda step: (-step.count, step.source, step.event, step.target))
