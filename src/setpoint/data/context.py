"""What stands around a record on its way: what a function may ask for, and the seams to everything outside the interpreter.

The interpreter knows no database, no disk and no screen. It is given

    resources     where states and arcs that name resources get them from
    events        who is told what happens to a record; a listener that raises is logged and changes nothing
    checkpoint    who keeps the progress of a run each time a record has left a state and nothing of what it did is in an open transaction;
                  one that raises ends the run, by design

each of them optional, each with the shape written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from setpoint.data.result import Result, StepError


class Context(msgspec.Struct):
    """What a function that has a second parameter is given: one object for a record's whole way, brought up to date before each call.

    `resources` are those of the present state and arc, by role. `variables` is a mapping that all functions of the run share. `arc` is
    empty in a state's own functions; `attempt` counts from 1; `error` is the last error of the record that an arc caught, or would catch
    now; `run` names the run.
    """

    run: str = ""
    network: str = ""
    state: str = ""
    arc: str = ""
    attempt: int = 1
    error: StepError | None = None
    resources: Mapping[str, Any] = {}
    variables: dict[str, Any] = {}

    def require(self, role: str) -> Any:
        """The resource under that role. Raises `KeyError` with the roles there are."""
        try:
            return self.resources[role]
        except KeyError:
            have = ", ".join(self.resources) or "none"
            raise KeyError(
                f"state {self.state!r} has no resource {role!r} (it has: {have}); name it under `resources`"
            ) from None


class Frame(msgspec.Struct, frozen=True):
    """A network that was left for another one: the arc that pushed, and what is needed to go on there afterwards.

    `entered` is the record as it came into the state, `record` as the arc's transforms left it; `attempt` is that of the arc, `version`
    the version of a shared record when the state began.
    """

    network: str
    state: str
    arc: int
    entered: Any
    record: Any
    attempt: int = 1
    version: int = 0


class Token(msgspec.Struct, frozen=True):
    """A record between two states: all that is needed to go on with it, here or after a restart.

    `step` is how many of the state's functions are done: 0 means that it is about to enter; `arc` and `arc_step` are set where it stopped
    on an arc (its place in the order in which arcs are tried). `failing` is set while the record, failed for good, only visits states
    that run on failure. `since` is set while it waits in its state for an event or for time: from when on, in seconds since the epoch;
    `looked` is when the arcs that time opens were last tried. `before` is the token that the last error on its way was met with: where it
    is tried again from, should it fail. Everything but the records, here and in `frames`, is plain data, and those are the user's.
    """

    record: Any
    network: str
    state: str
    path: tuple[str, ...] = ()
    step: int = 0
    arc: int = -1
    arc_step: int = 0
    transitions: int = 0
    frames: tuple[Frame, ...] = ()
    handled: tuple[StepError, ...] = ()
    failing: StepError | None = None
    since: float = 0.0
    looked: float = 0.0
    before: Token | None = None


class Sent(NamedTuple):
    """An event that is sent to a run that waits for it, and what comes with it: the record has that in the field named like the event."""

    event: str
    data: Any = None


class Progress(msgspec.Struct, frozen=True):
    """A run between two states, whole: the records still on their way, in the order of their turns, and the ends of those that are not.

    `waiting` are those that stand in a state until an event or time lets them go on. `split` is the path up to where the record first
    became several, None where it is one. `variables` are those that the functions of the run share. `failed` are the records that ended as
    failures, each as it stood before that.
    """

    run: str
    tokens: tuple[Token, ...]
    ends: tuple[Result, ...] = ()
    split: tuple[str, ...] | None = None
    waiting: tuple[Token, ...] = ()
    variables: dict[str, Any] = {}
    failed: tuple[Token, ...] = ()

    def again(self) -> Progress:
        """The run with its records that failed on their way once more, behind the others."""
        ends = tuple(end for end in self.ends if end.success)
        return msgspec.structs.replace(self, tokens=(*self.tokens, *self.failed), ends=ends, failed=())


class Kind(StrEnum):
    """What an event says happened."""

    START = "start"
    ENTER = "enter"
    EXIT = "exit"
    ARC = "arc"
    WAIT = "wait"
    ERROR = "error"
    RETRY = "retry"
    ACQUIRED = "acquired"
    RELEASED = "released"
    CHECKPOINT = "checkpoint"
    END = "end"


class Event(msgspec.Struct, frozen=True):
    """One thing that happened to one record. `record` is the record itself, not a copy: whoever keeps it copies it.

    `seconds` is how long that took: a state's functions (exit), an arc's transforms (arc), the wait (retry), the whole run (end). `at` is
    when it happened, in seconds of the plan's clock. `token` is where the record stands, with its path and the networks it was pushed
    from; None for the start and the end of a run.
    """

    kind: Kind
    run: str
    network: str
    state: str
    record: Any = None
    arc: str = ""
    target: str = ""
    attempt: int = 1
    seconds: float = 0.0
    resources: tuple[str, ...] = ()
    error: StepError | None = None
    at: float = 0.0
    token: Token | None = None


Listener = Callable[[Event], object]
"""Is told what happens, at once and in order; of all, or of the kinds in its attribute `kinds`. It must be quick: the record waits."""


def nobody(event: Event) -> None:
    """The listener to give where nobody listens any more: a plan with it is as fast as one that never had any."""


Checkpoint = Callable[[Progress], Any]
"""Keeps the progress of a run. A coroutine function makes the plan asynchronous; an exception goes to whoever started the run."""


class Resources(Protocol):
    """Where resources come from. `names` maps roles to names of resources; `owner` is the run, no two at a time are called the same.

    With `is_async`, `acquire`, `release` and `finish` give awaitables. Every attempt of a state or arc acquires, and gives back exactly
    once, in reverse order, whether it went well (`ok`) or not.
    """

    is_async: bool

    def acquire(self, names: Mapping[str, str], owner: str, state: str = "") -> Any:
        """The resources by role, or an awaitable of them. Raises where they cannot be had: an error of the state."""

    def release(self, names: Mapping[str, str], owner: str, ok: bool) -> Any:
        """They are no longer needed by this state or arc. An exception is an error of the state."""

    def finish(self, owner: str, ok: bool) -> Any:
        """The run ended. An exception here (a commit that failed) makes the run a failure."""

    def drop(self, owner: str) -> None:
        """The run was broken off and cannot wait: everything it has is given back, nothing of it is kept."""

    def unsettled(self, owner: str) -> bool:
        """Whether something that the run did would still be undone if it were broken off."""

    def free(self, names: Mapping[str, str]) -> bool:
        """Whether all of them could be had without waiting."""

    def awaiting(self) -> Resources:
        """The same resources with `is_async`, for a plan that is asynchronous."""
