"""What a worker sees when it decides: one immutable snapshot of what is wanted, what was measured, and what others are.

Guards and reasons are functions of a snapshot and of nothing else. Children and other workers appear in it as *facts*: their state, not
their objects. There is no clock in a snapshot: time is declared on the machine (`after=`, `held(...)`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from setpoint.control.tally import NO_CALLS, Calls
from setpoint.machine import Phase, guard

DesiredT = TypeVar("DesiredT")
ObservedT = TypeVar("ObservedT")


class Observation(msgspec.Struct, frozen=True):
    """What a worker measured, without when: the runtime stamps time and age. Subclass it with typed fields; equal means unchanged."""


class Fact(NamedTuple):
    """What others may know of a worker."""

    path: str
    type: str = ""
    state: str = "missing"
    phase: Phase | None = None
    reason: str = "there is no such worker"
    observed: Any = None  # in a snapshot: only for workers that set `sees_observations`
    stalled: str = ""  # why the runtime cannot move it: stale, circuit open, bad spec; "" when it can
    age: float | None = None  # of its last good observation, in seconds, when this was asked; None before the first
    stale: bool = False  # that observation is too old to act upon

    @property
    def healthy(self) -> bool:
        return self.phase is Phase.HEALTHY and not self.stalled

    @property
    def up(self) -> bool:
        """It has started: it is healthy or degraded."""
        return self.phase in (Phase.HEALTHY, Phase.DEGRADED)

    @property
    def freshness(self) -> Freshness:
        """Whether what it observed can be relied upon: fresh, stale, never (nothing observed yet), or missing (no such worker)."""
        if self.state in ("missing", "removed"):
            return "missing"
        if self.age is None:
            return "never"
        return "stale" if self.stale else "fresh"

    @property
    def stopped(self) -> bool:
        """It is in a stopped phase, or was never brought to life."""
        return self.phase is Phase.STOPPED or self.state in NOT_ALIVE


Freshness = Literal["fresh", "stale", "never", "missing"]

NOT_ALIVE = frozenset({"missing", "to_be_created", "creating", "removing", "removed"})
"""States of the life cycle around every machine in which nothing of the worker runs."""


class Counts(NamedTuple):
    """How many workers are in which condition. Those that are stopped are neither healthy nor unhealthy."""

    total: int
    healthy: int
    unhealthy: int
    stopped: int


class Facts(Mapping[str, Fact]):
    """Facts by name, with the questions parents ask of all of them. A name that is not there gives a `Fact` whose state is `missing`;
    one that asked for its own removal, a `Fact` whose state is `removed`, with its last reason."""

    __slots__ = ("_lookup", "_names", "gone")

    def __init__(
        self, names: Mapping[str, str], lookup: Callable[[str], Fact], gone: Mapping[str, Fact] | None = None
    ) -> None:
        self._names = names
        self._lookup = lookup
        self.gone: Mapping[str, Fact] = {} if gone is None else gone

    def __getitem__(self, name: str) -> Fact:
        path = self._names.get(name)
        return self.gone.get(name) or Fact(name) if path is None else self._lookup(path)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def all_healthy(self) -> bool:
        return all(fact.healthy for fact in self.values())

    @property
    def all_stopped(self) -> bool:
        return all(fact.stopped for fact in self.values())

    @property
    def counts(self) -> Counts:
        facts = list(self.values())
        healthy, stopped = sum(fact.healthy for fact in facts), sum(fact.stopped for fact in facts)
        return Counts(len(facts), healthy, len(facts) - healthy - stopped, stopped)


class Figures(NamedTuple):
    """What the runtime counts of a worker, as of this evaluation. Seconds are of the runtime's clock.

    Figures do not wake anybody: to act when time has passed, declare it (``after=``, ``held(...)``).
    """

    seconds_in_state: float = 0.0
    age: float = 0.0  # of the last good observation
    starts: int = 0  # how often it was brought to life, over the life of the store
    transitions: int = 0
    restarts: int = 0  # starts within the restart window that followed upon one another
    abandoned: int = 0  # observations given up on
    action_failures: int = 0  # in a row
    actions: Mapping[str, Calls] = NO_CALLS  # ended, failed, seconds: by action
    lag: float = 0.0  # how late the runtime came to its latest timer


class Snapshot(NamedTuple, Generic[DesiredT, ObservedT]):
    """All that a decision may depend on.

    `wanted` is False once the worker is told to stop, by its user, its parent, an operator or the agent. `retry` is True from an operator's
    retry until the next move.
    """

    path: str
    desired: DesiredT
    observed: ObservedT
    state: str
    wanted: bool
    error: str  # why the latest observation failed; "" when it did not
    children: Facts
    peers: Facts
    retry: bool = False
    figures: Figures = Figures()


@guard
def retry_asked(snapshot: Snapshot[Any, Any]) -> bool:
    "an operator asked to try again"
    return snapshot.retry


@guard(wanted=True)
def wanted(snapshot: Snapshot[Any, Any]) -> bool:
    "it is wanted running: not stopped by its user or parent, not disabled, not being removed"
    return snapshot.wanted
