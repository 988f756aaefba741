"""One row of the supervisor's flat table: everything the runtime knows of one worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from setpoint.control.circuit import Circuit
from setpoint.control.intent import stopped_version
from setpoint.control.registry import AnyWorker
from setpoint.control.snapshot import NOT_ALIVE, Fact, Facts
from setpoint.control.standing import Memory
from setpoint.control.tally import Tally
from setpoint.control.variables import Scope
from setpoint.control.worker import ChildSpec
from setpoint.machine import Phase, Position

NEVER = float("-inf")
"""A time before all others."""
FOREVER = float("inf")
TO_BE_CREATED = Position("to_be_created")
PUBLIC_SCOPE = Scope()
NO_SPEC: Any = object()
"""In place of a spec that has never been derived from; equal to no spec."""


@dataclass(slots=True)
class Running:
    """One action in flight."""

    token: int
    started: float


@dataclass(slots=True)
class Record:
    """A worker as the runtime sees it. Times are of the monotonic clock, `since` is wall time."""

    path: str
    parent: Record | None
    given: ChildSpec

    worker: AnyWorker | None = None
    desired: Any = None
    derived: bool = False  # a desired state has been derived at least once
    spec_changed: bool = True  # the spec, or a variable it may name, since the last derivation
    spec_in_force: Any = NO_SPEC  # as rendered at the last derivation
    spec_error: str = ""
    secrets: frozenset[str] = (
        frozenset()
    )  # values of variables with secret names, which may stand anywhere in what it is given
    generation: int = 1
    seen_generation: int = 0

    position: Position = TO_BE_CREATED
    since: float = 0.0
    reason: str = ""
    transitions: int = 0
    starts: int = 0  # over the life of the store
    restarts: int = 0  # starts that followed upon one another
    calm_at: float = NEVER  # a start after this follows upon no other
    starting: tuple[str, ...] = ()  # the acting states that this start has been through
    removing: bool = False
    finished: bool = False  # it asked for its removal itself
    stops_after: frozenset[str] = frozenset()  # at shutdown: the workers that need it
    wanted: bool = True
    started: bool = False  # told to start, and not told to stop since
    waits_for: str = ""  # the siblings that must start before it, and why they have not
    blocked: str = ""  # why that wait can never end
    paused: str = ""  # why, while an operator has it paused
    disabled: str = ""  # why, while an operator has it disabled
    restarting: str = ""  # why, while it is on its way to being made anew
    restart_by: float = FOREVER  # when it is made anew although it did not stop
    retry: bool = False
    forced: str = ""
    children: dict[str, str] = field(default_factory=dict)
    gone: dict[str, Fact] = field(default_factory=dict)  # children that asked for their removal
    gone_specs: dict[str, ChildSpec] = field(default_factory=dict)  # what they had been asked for
    circular: frozenset[str] | None = (
        None  # children that wait for themselves to start, or for one that does; None: not known
    )
    children_due: bool = True

    observed: Any = None
    has_observed: bool = False
    sampled_at: float = NEVER  # when the latest good observation started
    sample_token: int = 0  # its place in the order of all starts and ends
    error: str = ""
    observing: int = 0  # token of the collection in flight; 0: none
    observe_at: float = NEVER  # when the collection in flight started, else when the next is due
    beat_at: float = NEVER  # the beat that follows upon the start of the collection in flight, or of the latest
    collector_at: float = FOREVER  # when the collector's timer rings
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
    marked: bool = False  # something it reads has changed, and it has not been evaluated since
    lag: float = 0.0  # how late the runtime came to its latest timer
    look_at: float = FOREVER  # when the earliest pending timer will have it looked at
    resyncs: bool = False  # its resync timer is set
    told: tuple[str, str, str, bool] = ("", "", "", True)  # state, reason, stalled, wanted, as last announced
    memory: Memory | None = None  # what an earlier run of the agent left of it, until it has come to life
    remembered: tuple[Any, ...] = ()  # of what the store was told last, what decides whether to tell it again
    facts: Facts | None = None
    peers: Facts | None = None

    @property
    def name(self) -> str:
        return self.given.name

    @property
    def type(self) -> str:
        return self.given.worker_type

    @property
    def state(self) -> str:
        return self.position.state

    def unwatched(self) -> None:
        """Nobody sees at present whether a guard holds: what is to hold without a break begins anew."""
        if self.position.held:
            self.position = self.position._replace(held={})

    def forget_action_failures(self) -> None:
        """As if no action had failed yet: no wait for one is left."""
        self.action_failures, self.action_error, self.action_retry_at = 0, "", NEVER

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
        return Phase.FAILED if self.circuit.reason or self.spec_error else None

    @property
    def up(self) -> bool:
        """It has started: it is healthy or degraded."""
        return self.phase in (Phase.HEALTHY, Phase.DEGRADED)

    @property
    def at_rest(self) -> bool:
        """Nothing of it runs: stopped, failed for good or never alive, no action in flight, and nothing left over from an earlier run."""
        if self.running:
            return False
        if not self.alive:
            return self.memory is None or self.memory.standing.at_rest
        assert self.worker is not None
        state = self.worker.machine.by_name[self.position.state]
        return state.phase is Phase.STOPPED or state.final

    @property
    def stalled(self) -> str:
        """Why the runtime cannot bring it to its target; "" when it can."""
        if self.circuit.reason:
            return f"circuit open: {self.circuit.reason}"
        if self.hung_reason:
            return f"circuit open: {self.hung_reason}"
        if self.spec_error:
            return f"config error: {self.spec_error}"
        if self.paused:
            return f"paused by the operator: {self.paused}"
        if self.stale:
            return f"stale: {self.error or 'no fresh observation'}"
        if self.blocked:
            return self.blocked
        if self.alive and self.phase is Phase.FAILED:
            return self.reason
        return ""

    def fact(self, now: float, *, observed: bool) -> Fact:
        """What others may know; what it observed only for those that are told when that changes."""
        return Fact(
            self.path,
            self.type,
            self.state,
            self.phase,
            self.reason,
            self.observed if observed else None,
            self.stalled,
            max(0, int((now - self.sampled_at) * 1000.0)) / 1000.0 if self.has_observed else None,
            self.stale,
        )

    def watched(self) -> set[str]:
        """The paths of the workers whose facts it looks at, other than its children."""
        siblings = self.path[: -len(self.name)]
        return {*self.given.reads.values(), *(f"{siblings}{name}" for name in self.given.after)}
