"""What a worker sees when it decides: one immutable snapshot of what is wanted, what was measured, and what others are.

Guards and reasons are functions of a snapshot and of nothing else. Children and other workers appear in it as *facts*: their state, not
their objects. There is no clock in a snapshot: time is declared on the machine (`after=`, `held(...)`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

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
    observed: Any = None  # only for workers that set `sees_observations`
    stalled: str = ""  # why the runtime cannot move it: stale, circuit open, bad spec; "" when it can

    @property
    def healthy(self) -> bool:
        return self.phase is Phase.HEALTHY and not self.stalled

    @property
    def stopped(self) -> bool:
        """It is in a stopped phase, or was never brought to life."""
        return self.phase is Phase.STOPPED or self.state in NOT_ALIVE


NOT_ALIVE = frozenset({"missing", "to_be_created", "creating", "removing", "removed"})
"""States of the life cycle around every machine in which nothing of the worker runs."""


class Facts(Mapping[str, Fact]):
    """Facts by name, with the questions parents ask of all of them. A name that is not there gives a `Fact` whose state is `missing`."""

    __slots__ = ("_lookup", "_names")

    def __init__(self, names: Mapping[str, str], lookup: Callable[[str], Fact]) -> None:
        self._names = names
        self._lookup = lookup

    def __getitem__(self, name: str) -> Fact:
        path = self._names.get(name)
        return Fact(name) if path is None else self._lookup(path)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def all_healthy(self) -> bool:
        return all(fact.healthy for fact in self.values())

    @property
    def all_stopped(self) -> bool:
        return all(fact.stopped for fact in self.values())


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


@guard
def retry_asked(snapshot: Snapshot[Any, Any]) -> bool:
    "an operator asked to try again"
    return snapshot.retry


@guard(wanted=True)
def wanted(snapshot: Snapshot[Any, Any]) -> bool:
    "it is wanted running: not stopped by its user or parent, not disabled, not being removed"
    return snapshot.wanted
