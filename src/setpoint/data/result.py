"""What a run of a record gives: one shape, whether it succeeded, was dropped, was split or failed.

A record ends in a final state of its machine, or in one of three ends that every plan has: `FAILED`, where an error leads that no arc
catches; `DROPPED`, where a transform that returned `DROP` leads; `SPLIT`, where a record became several, each of which went on by itself.
A run whose record waits for an event has no end yet: its result says `WAITING`, and for what.

Failure is never success. A run that has ended is a success exactly when it has no `error`. An error that an arc caught is not lost: it is
in `handled`, and the record is a success if it then came to an ordinary end. A final state called `failed` is no ordinary end: a record
that an arc carried there has failed, with the error that sent it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

FAILED: Final = "failed"
DROPPED: Final = "dropped"
SPLIT: Final = "split"
WAITING: Final = "waiting"


class Drop(Enum):
    """The type of `DROP`."""

    DROP = "drop"


DROP: Final = Drop.DROP
"""What a transform returns when the record shall go no further, and that is no failure."""


class Several(list[Any]):
    """What a transform returns in place of one record when it makes several of it: each goes on by itself, in this order."""


class StepError(msgspec.Struct, frozen=True):
    """Why a record failed: the type and message of what was raised, and where.

    `state` is where the record was (``network:state`` outside the main network), `arc` the arc whose condition or transform raised (empty
    when the state's own functions did), `attempt` the attempt that was the last. `cause` is the error of the pushed network, where that
    is what failed the arc. `earlier` is the error that sent the record on its way to this one, when an arc had caught that. `exception`
    is the object itself, for callers in this process; `kinds` the names of all the types it is one of, which are left after a restart.
    """

    type: str
    message: str
    state: str
    arc: str = ""
    earlier: StepError | None = None
    exception: Exception | None = None
    attempt: int = 1
    cause: StepError | None = None
    kinds: tuple[str, ...] = ()

    def key(self) -> tuple[Any, ...]:
        """What makes it the same error as another: everything but the exception and its types."""
        chain = (self.earlier and self.earlier.key(), self.cause and self.cause.key())
        return self.type, self.message, self.state, self.arc, self.attempt, *chain

    def __str__(self) -> str:
        where = f"{self.state}, arc {self.arc}" if self.arc else self.state
        tries = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        return f"{where}: {self.type}: {self.message}{tries}"


class Wait(msgspec.Struct, frozen=True):
    """What a record waits for: its state, the events that would let it go on, and until when at most (seconds since the epoch)."""

    state: str
    events: tuple[str, ...] = ()
    until: float | None = None

    def __str__(self) -> str:
        return f"{self.state} waits for " + (" or ".join(self.events) or "its time")


class Result(msgspec.Struct, frozen=True, gc=False):  # a batch keeps thousands, and none is part of a cycle
    """How one record went: where it ended, what it is now, the states it was in, and how long that took (seconds).

    `handled` are the errors that arcs caught on its way, in order (of a record that was split: each of its parts' once). For a record
    that was split `parts` are the results of its parts, in their order (in the order in which they ended where it fanned out), and `data`
    is a tuple of theirs. `waits` is what a run that is `WAITING` waits for, once for each of its records that does. `run` names the run
    where it is kept.
    """

    final_state: str
    data: Any
    path: tuple[str, ...]
    success: bool
    error: StepError | None = None
    duration: float = 0.0
    parts: tuple[Result, ...] = ()
    handled: tuple[StepError, ...] = ()
    waits: tuple[Wait, ...] = ()
    run: str = ""

    def ends(self) -> Iterator[Result]:
        """The results of the records that came of it: itself, or its parts where it was split."""
        if self.final_state == SPLIT:
            yield from self.parts
        else:
            yield self


def joined(ends: Sequence[Result], path: tuple[str, ...], *, duration: float) -> Result:
    """The result of a record that became several, from theirs."""
    error = next((end.error for end in ends if end.error is not None), None)
    handled = tuple({one.key(): one for end in ends for one in end.handled}.values())
    data = tuple(end.data for end in ends)
    return Result(SPLIT, data, path, error is None, error, duration, tuple(ends), handled)
