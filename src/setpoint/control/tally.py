"""Tallies: what the runtime counts for every worker without being asked, since the worker was made.

Counting is cheap enough to be always on: a few additions for each observation, action and transition. Seconds are of the runtime's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import msgspec

MOST_OF_ONES_OWN: Final = 100
"""Counters, and gauges, that one worker may have: each is a series in the metrics."""


def _allowed(name: str, known: Mapping[str, float]) -> str:
    if name not in known and len(known) >= MOST_OF_ONES_OWN:
        raise ValueError(
            f"{name!r}: a worker has at most {MOST_OF_ONES_OWN} figures of its own of one kind; use fewer names"
        )
    return name


class Calls(msgspec.Struct, frozen=True):
    """Calls of one kind: how many ended, how many of them failed, and how long they took together."""

    count: int = 0
    failed: int = 0
    seconds: float = 0.0

    def plus(self, seconds: float, *, failed: bool) -> Calls:
        return Calls(self.count + 1, self.failed + failed, self.seconds + max(0.0, seconds))


NO_CALLS: Mapping[str, Calls] = MappingProxyType({})


@dataclass(slots=True)
class Tally:
    """The figures of one worker. `abandoned` counts collections given up on; `seconds_in` has the states that were left."""

    looks: int = 0
    looks_failed: int = 0
    looks_seconds: float = 0.0
    abandoned: int = 0
    actions: dict[str, Calls] = field(default_factory=dict)  # replaced, never changed: snapshots refer to it
    seconds_in: dict[str, float] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)

    def count(self, name: str, by: float = 1.0) -> None:
        """Add to a counter of the worker's own. Raises `ValueError` when `by` is negative, or there are `MOST_OF_ONES_OWN` others."""
        if not by >= 0:
            raise ValueError(f"counter {name!r}: cannot count {by}; counters only grow, use gauge for what goes down")
        self.counters[_allowed(name, self.counters)] = self.counters.get(name, 0.0) + by

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge of the worker's own. Raises `ValueError` when there are `MOST_OF_ONES_OWN` others."""
        self.gauges[_allowed(name, self.gauges)] = float(value)

    @property
    def observations(self) -> Calls:
        return Calls(self.looks, self.looks_failed, self.looks_seconds)

    def looked(self, seconds: float, *, failed: bool) -> None:
        """An observation ended."""
        self.looks += 1
        self.looks_failed += failed
        if seconds > 0:
            self.looks_seconds += seconds

    def action(self, name: str, seconds: float, *, failed: bool) -> None:
        """An action ended."""
        self.actions = {**self.actions, name: self.actions.get(name, Calls()).plus(seconds, failed=failed)}

    def left(self, state: str, seconds: float) -> None:
        """The worker left a state after so long."""
        self.seconds_in[state] = self.seconds_in.get(state, 0.0) + max(0.0, seconds)


class Counted(msgspec.Struct, frozen=True):
    """The figures of one worker as they are shown, those of its present state included."""

    observations: Calls
    abandoned: int
    actions: dict[str, Calls]
    seconds_in: dict[str, float]
    counters: dict[str, float]
    gauges: dict[str, float]


class Lag:
    """How late the runtime was: seconds between when a timer was due and when it was looked at."""

    BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
    """Upper bounds in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.total += seconds if seconds > 0 else 0.0
        for index, bound in enumerate(self.BUCKETS):
            if seconds <= bound:
                self.counts[index] += 1
                return
        self.counts[-1] += 1
