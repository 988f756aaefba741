"""One row of the supervisor's flat table: everything the runtime knows of one worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from setpoint.control.circuit import Circuit
from setpoint.control.intent import stopped_version
from setpoint.control.registry import AnyWorker
from setpoint.control.snapshot import NOT_ALIVE, Fact, Facts
from setpoint.control.tally import Tally
from setpoint.machine import Phase, Position

NEVER = float("-inf")
"""A time before all others."""
FOREVER = float("inf")
TO_BE_CREATED = Position("to_be_created")


@dataclass(slots=True)
class Running:
    """One action in flight."""

    token: int
    started: float


@dataclass(slots=True)
class Record:
    """A worker as the runtime sees it. Times are of the monotonic clock, `since` is wall time."""

    path: str
    name: str
    type: str
    parent: Record | None
    spec: Any
    enabled: bool
    reads: Mapping[str, str]
    needs: tuple[str, ...] = ()

    worker: AnyWorker | None = None
    desired: Any = None
    derived: bool = False  # a desired state has been derived at least once
    spec_changed: bool = True  # since the last derivation
    spec_error: str = ""
    generation: int = 1
    seen_generation: int = 0

    position: Position = TO_BE_CREATED
    since: float = 0.0
    reason: str = ""
    transitions: int = 0
    removing: bool = False
    stops_after: frozenset[str] = frozenset()  # at shutdown: the workers that need it
    wanted: bool = True
    paused: str = ""  # why, while an operator has it paused
    disabled: str = ""  # why, while an operator has it disabled
    restarting: bool = False
    retry: bool = False
    forced: str = ""
    children: dict[str, str] = field(default_factory=dict)
    children_due: bool = True

    observed: Any = None
    has_observed: bool = False
    sampled_at: float = NEVER  # when the latest good observation started
    sample_token: int = 0  # its place in the order of all starts and ends
    error: str = ""
    observing: int = 0  # token of the collection in flight; 0: none
    observe_at: float = NEVER  # when the collection in flight started, else when the next is due
    observe_again: bool = False  # asked for while one was in flight
    hung: int = 0  # collections in a row that had to be abandoned
    hung_reason: str = ""
    stale: bool = False
    beat: float = 0.0  # where in the interval it is measured, from 0 to 1
    born_at: float = 0.0

    running: dict[str, Running] = field(default_factory=dict)
    act_gate: int = 0  # the token after which an observation must have started before the next action
    action_failures: int = 0  # in a row
    action_error: str = ""
    action_retry_at: float = NEVER
    hung_actions: set[int] = field(default_factory=set)  # tokens of those abandoned and not ended yet
    acts: bool = False  # the latest decision asked for an action: each new observation may start it again

    circuit: Circuit = field(default_factory=Circuit)
    tally: Tally = field(default_factory=Tally)
    look_at: float = FOREVER  # when the earliest pending timer will have it looked at
    facts: Facts | None = None
    peers: Facts | None = None

    @property
    def state(self) -> str:
        return self.position.state

    @property
    def in_force(self) -> Any:
        """The desired state as the worker is to see it: told to stop while it is not wanted."""
        return self.desired if self.wanted else stopped_version(self.desired)

    @property
    def alive(self) -> bool:
        """It has a machine that is in one of its own states."""
        return self.position.state not in NOT_ALIVE

    @property
    def phase(self) -> Phase | None:
        if self.alive and self.worker is not None:
            return self.worker.machine.by_name[self.position.state].phase
        return Phase.FAILED if self.circuit.open or self.spec_error else None

    @property
    def at_rest(self) -> bool:
        """Nothing of it runs: stopped or never alive, and no action in flight."""
        return (not self.alive or self.phase is Phase.STOPPED) and not self.running

    @property
    def stalled(self) -> str:
        """Why the runtime cannot bring it to its target; "" when it can."""
        if self.circuit.open:
            return f"circuit open: {self.circuit.reason}"
        if self.hung_reason:
            return f"circuit open: {self.hung_reason}"
        if self.spec_error:
            return f"config error: {self.spec_error}"
        if self.paused:
            return f"paused by the operator: {self.paused}"
        if self.stale:
            return f"stale: {self.error or 'no fresh observation'}"
        if self.alive and self.phase is Phase.FAILED:
            return self.reason
        return ""

    def fact(self, *, observed: bool) -> Fact:
        """What others may know; what it observed only for those that are told when that changes."""
        seen = self.observed if observed else None
        return Fact(self.path, self.type, self.state, self.phase, self.reason, seen, self.stalled)
