"""Moments: a run as it stood, kept so that one can go back to it.

A moment is a whole run between two states (`Progress`), with copies of all its records: later work changes none of them, in no data mode.
A run goes on from a moment by copies of the copies, so that one can come back to it any number of times. Where several names stood for one
object, its copies do, too.

A run that stands before an arc, its state's functions done, cannot be kept in this way: what it holds is in the middle of a visit. Such a
moment has the run as it was before the state, and the record as it is now. To go on from it, once it is past, the state's functions are
called again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from setpoint.data.context import Frame, Progress, Sent, Token
from setpoint.data.definition import DataMode
from setpoint.data.draft import settled
from setpoint.data.modes import deep_copy
from setpoint.data.result import Result

if TYPE_CHECKING:
    from setpoint.data.plan import Plan


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stands. All of it is plain data; `record` and those of `tokens` are copies, to be read.

    `state` is the state that the record is about to enter (in which it is, where `inside`): as on paths, ``network:state`` outside the main
    network. With `arc` it is in the state, about to take that arc. `pushed` are the arcs by which it got into its network, the outermost
    first. `result` is set at the end of the run, whose `state` is the end it came to. `reason` says why it stands here; `changed`, that the
    record was changed by hand; `fault`, why there is no copy of it, so that one can look at this moment but not go on from it.
    """

    number: int
    state: str
    arc: str = ""
    inside: bool = False
    reason: str = ""
    record: Any = None
    path: tuple[str, ...] = ()
    pushed: tuple[str, ...] = ()
    progress: Progress
    result: Result | None = None
    at: float = 0.0
    changed: bool = False
    fault: str = ""
    sent: Sent | None = None

    @property
    def token(self) -> Token | None:
        """The record's own token; None at the end of a run."""
        return self.progress.tokens[0] if self.progress.tokens and self.result is None else None

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All records of the run that are on their way, in the order of their turns, this one first; then those that wait."""
        return (
            () if self.result is not None and not self.result.waits else (*self.progress.tokens, *self.progress.waiting)
        )


def pushed_by(plan: Plan, frames: tuple[Frame, ...]) -> tuple[str, ...]:
    """The arcs that led into these networks."""
    rows = [plan.rows[plan.numbers[frame.network, frame.state]] for frame in frames]
    return tuple(
        f"{row.label.removesuffix(row.name)}{row.arcs[frame.arc].name}" for row, frame in zip(rows, frames, strict=True)
    )


class Copier:
    """Copies runs. Raises what a record raises that cannot be copied.

    Where every state works on copies of its own, a record that is not having its turn cannot change: it is copied once.
    """

    def __init__(self, plan: Plan) -> None:
        self._apart = all(row.mode is DataMode.COPY for row in plan.rows)
        self._known: dict[int, tuple[Token | Result, Any]] = {}  # by identity: what was copied, and its copy

    def keep(self, progress: Progress) -> Progress:
        """A copy to keep."""
        if not self._apart:
            return copied(progress)
        first = progress.tokens[:1]
        others: tuple[Token | Result, ...] = (*progress.tokens[1:], *progress.waiting, *progress.ends)
        alone = copied(msgspec.structs.replace(progress, tokens=first, waiting=(), ends=()))
        self._known = {id(one): self._known.get(id(one)) or (one, self._other(one)) for one in others}
        return msgspec.structs.replace(
            alone,
            tokens=(*alone.tokens, *(self._known[id(token)][1] for token in progress.tokens[1:])),
            waiting=tuple(self._known[id(token)][1] for token in progress.waiting),
            ends=tuple(self._known[id(end)][1] for end in progress.ends),
        )

    def _other(self, one: Token | Result) -> Token | Result:
        if isinstance(one, Token):
            return copied(Progress("", (one,))).tokens[0]
        return copied(Progress("", (), (one,))).ends[0]


def copied(progress: Progress) -> Progress:
    """The run with copies of all its records, and of its variables."""
    everything = list(_values(progress))
    values = iter(plain(everything))
    tokens, waiting = _filled(progress.tokens, values), _filled(progress.waiting, values)
    ends = tuple(_ended(end, values) for end in progress.ends)
    return msgspec.structs.replace(progress, tokens=tokens, waiting=waiting, ends=ends, variables=next(values))


def plain(value: Any) -> Any:
    """A copy that shares nothing with the value, and has no drafts in it."""
    return settled(deep_copy(value))


def _values(progress: Progress) -> Iterator[Any]:
    for token in (*progress.tokens, *progress.waiting):
        yield token.record
        for frame in token.frames:
            yield from (frame.entered, frame.record)
    for end in progress.ends:
        yield from _data(end)
    yield progress.variables


def _data(result: Result) -> Iterator[Any]:
    yield result.data
    for part in result.parts:
        yield from _data(part)


def _filled(tokens: tuple[Token, ...], values: Iterator[Any]) -> tuple[Token, ...]:
    made = []
    for token in tokens:
        record = next(values)
        frames = tuple(
            msgspec.structs.replace(frame, entered=next(values), record=next(values)) for frame in token.frames
        )
        made.append(msgspec.structs.replace(token, record=record, frames=frames))
    return tuple(made)


def _ended(result: Result, values: Iterator[Any]) -> Result:
    data = next(values)
    return msgspec.structs.replace(result, data=data, parts=tuple(_ended(part, values) for part in result.parts))
