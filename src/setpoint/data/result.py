"""What a run of a record gives: one shape, whether it succeeded, was dropped, was split or failed.

A record ends in a final state of its machine, or in one of three ends that every plan has: `FAILED`, where an error leads that no arc
catches; `DROPPED`, where a step that returned None leads; `SPLIT`, where a step that returned `Several` leaves its record behind and each
part goes on by itself.

Failure is never success: a result with an error is not a success even when an arc caught the error, and the error keeps its cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

FAILED: Final = "failed"
DROPPED: Final = "dropped"
SPLIT: Final = "split"


class Several(list[Any]):
    """What a step returns in place of one record when it makes several of it: each goes on by itself, in this order."""


class StepError(msgspec.Struct, frozen=True):
    """Why a record failed: the type and message of what was raised, and where.

    `state` is where the record was, `arc` the arc whose guard raised (empty when the state's function did). `earlier` is the error that
    sent the record on its way to this one, when an arc had caught that. `exception` is the object itself, for callers in this process.
    """

    type: str
    message: str
    state: str
    arc: str = ""
    earlier: StepError | None = None
    exception: Exception | None = None

    def __str__(self) -> str:
        where = f"{self.state}, arc {self.arc}" if self.arc else self.state
        return f"{where}: {self.type}: {self.message}"


class Result(msgspec.Struct, frozen=True):
    """How one record went: where it ended, what it is now, the states it was in, and how long that took (seconds).

    For a split record `parts` are the results of its parts, in order, and `data` is a tuple of theirs.
    """

    final_state: str
    data: Any
    path: tuple[str, ...]
    success: bool
    error: StepError | None = None
    duration: float = 0.0
    parts: tuple[Result, ...] = ()

    def ends(self) -> Iterator[Result]:
        """The results of the records that came of it: itself, or its parts where it was split."""
        if self.final_state == SPLIT:
            yield from self.parts
        else:
            yield self
