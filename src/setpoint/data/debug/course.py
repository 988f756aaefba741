"""The course of a run in the debugger: the moments it was at, the one where it stands, and the walk that can go on from there.

The walk (`Live`) exists only where it is needed. Where the run stands at a moment that is past, or where the walk broke off, the next move
makes a new one of that moment, which gets there first: before a state at once, before an arc by calling the state's functions again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from setpoint.data.context import Event, Kind, Progress, Sent, Token
from setpoint.data.debug.live import Clock, Live
from setpoint.data.debug.moments import Copier, Moment, copied, plain, pushed_by
from setpoint.data.definition import DataMode
from setpoint.data.modes import restore
from setpoint.data.result import WAITING, Result
from setpoint.data.site import Pause
from setpoint.data.waiting import expect, not_taken

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

Met = Pause | Result
TOLD: Final = 100
"""So many of the last errors, retries and waits of a move are kept."""
OF_NOTE: Final = frozenset({Kind.ERROR, Kind.RETRY, Kind.WAIT})


class DebugError(ValueError):
    """What was asked of the debugger cannot be done where the run stands; the message says why, and what can."""


class Course:
    """One run. `moments` are those that are kept, `here` is the place among them where it stands."""

    def __init__(self, plan: Plan, progress: Progress, *, timeout: float | None, history: int) -> None:
        self.plan = plan
        self.first = _kept(progress)
        self.happened: deque[Event] = deque(maxlen=TOLD)
        self._timeout, self._history = timeout, history
        self._copier, self._clock = Copier(plan), Clock(plan.clock)
        self._live: Live | None = None
        self._stood: Moment | None = None  # the moment at which the walk stands
        self._paused: Token | None = None  # its token there
        self._sent: Token | None = None  # what goes on in its place
        self._known = False  # whether listeners were told that the run began
        self.here = 0
        self.moments: list[Moment] = [self._moment(Pause(progress.tokens[0]), self.first, "start", number=0)]

    @property
    def moment(self) -> Moment:
        """Where it stands."""
        return self.moments[self.here]

    # going on

    def ready(self, *, waits: bool) -> Generator[Any, Any, Result | None]:
        """Has the walk stand where the run stands. Gives the result of one that ended before it got there: out of time, or by functions
        that did otherwise when they were called again. Raises `DebugError` at the end, and where one cannot go on from here."""
        here = self.moment
        if here.result is not None and here.result.final_state != WAITING:
            raise DebugError(f"the run has ended in {here.state!r}: go back, or restart")
        return None if self.is_live else (yield from self._relive(here, here.sent, waits=waits))

    def onwards(self, *, waits: bool) -> Generator[Any, Any, Met]:
        """What the walk meets next: a pause, or the end. Nothing is kept there yet. Raises what a checkpoint raises."""
        live, sent = self._live, self._sent
        assert live is not None
        self._stood = self._paused = self._sent = None
        met = yield from live.next(sent, waits=waits)
        self._paused = met.token if isinstance(met, Pause) else None
        return met

    def send(self, sent: Sent, *, waits: bool) -> Generator[Any, Any, Met]:
        """The arc that the event opens for a record that waits. Raises `NotTaken`, and `DebugError` where no record waits."""
        here = self.moment
        if here.result is None or here.result.final_state != WAITING:
            raise DebugError(
                f"the run does not wait here, at {here.state!r}: an event is sent once all its records wait"
            )
        expect(self.plan, here.progress, sent)
        yield from self._relive(here, sent, waits=waits)
        live = self._live
        assert live is not None
        met: Met = Pause(here.progress.waiting[0])
        while isinstance(met, Pause) and not live.walk.taken:
            met = yield from self.onwards(waits=waits)
        if not live.walk.taken:
            self.drop()
            raise not_taken(live.walk) from live.walk.refusal
        return met

    def stand(self, met: Met, reason: str) -> Moment:
        """Keeps what the walk met as the moment where the run stands; what had come later is forgotten."""
        live = self._live
        assert live is not None
        fault = ""
        if isinstance(met, Result) and met.final_state != WAITING:
            live.kept = Progress(live.progress.run, ())
        elif live.kept is None:
            live.kept, fault = self._keep(live.progress)
        made = self._moment(met, live.kept, reason, number=self.moment.number + 1, sent=live.sent, fault=fault)
        self.moments[self.here + 1 :] = [made]
        del self.moments[: max(0, len(self.moments) - self._history)]
        self.here = len(self.moments) - 1
        self._stood = made
        return made

    def _keep(self, progress: Progress) -> tuple[Progress, str]:
        try:
            return self._copier.keep(progress), ""
        except Exception as error:
            return progress, f"{type(error).__name__}: {error}"

    def go(self, place: int) -> Moment:
        """To another moment that is kept; nothing is called."""
        if place != self.here:
            self.drop()
            self.here = place
        return self.moment

    def drop(self) -> None:
        """Breaks the walk off, and gives back what it holds. The moments stay."""
        live, self._live, self._stood, self._paused, self._sent = self._live, None, None, None, None
        if live is not None and not live.over:
            live.close()

    @property
    def resources(self) -> Mapping[str, Any]:
        """Those that the run holds where it stands."""
        return self._live.walk.context.resources if self._live is not None and self.is_live else {}

    # changing

    def change(self, record: Any) -> Moment:
        """Puts a record in the place of the one that stands here. Raises `DebugError` where it cannot."""
        here, token = self.moment, self._paused if self.is_live else None
        if here.token is None:
            raise DebugError("the run has ended: go back, and change the record there")
        record = plain(record)
        self.moments[self.here :] = [_changed(here, record)]
        if token is not None and self._live is not None:
            if not here.arc:
                self._live.kept = self.moment.progress
            self._sent, self._stood = self._swapped(token, record), self.moment
        return self.moment

    def _swapped(self, token: Token, record: Any) -> Token:
        """The token with that record; where others may have the object in hand, with its content in the object."""
        record = plain(record)
        if self.plan.row_of(token).mode is not DataMode.COPY:
            record = restore(token.record, record)
        return msgspec.structs.replace(token, record=record)

    # the walk

    @property
    def is_live(self) -> bool:
        """Whether the walk stands where the run stands."""
        return self._live is not None and not self._live.over and self._stood is self.moment

    def _relive(self, moment: Moment, sent: Sent | None, *, waits: bool) -> Generator[Any, Any, Result | None]:
        """A new walk that stands at that moment; the result where it did not get there. Raises `DebugError` where there is no copy."""
        if moment.fault:
            raise DebugError(f"one cannot go on from here: the record could not be copied ({moment.fault}); restart")
        self.drop()
        self._clock.put(moment.at)
        self._live = Live(
            self.plan, copied(moment.progress), clock=self._clock, timeout=self._timeout, known=self._known, hear=self._heard,
            sent=sent,
        )  # fmt: skip
        self._live.kept, self._known = moment.progress, True
        if moment.result is not None:
            return None
        met = yield from self.onwards(waits=waits)
        while moment.arc and isinstance(met, Pause) and not met.arc:
            met = yield from self.onwards(waits=waits)
        if isinstance(met, Result):
            return met
        if moment.changed and moment.arc:
            self._sent = self._swapped(met.token, moment.record)
        self._stood = moment
        return None

    def _heard(self, event: Event) -> None:
        if event.kind in OF_NOTE:
            self.happened.append(event)

    def _moment(
        self, met: Met, kept: Progress, reason: str, *, number: int, sent: Sent | None = None, fault: str = ""
    ) -> Moment:
        record = met.data if isinstance(met, Result) else met.token.record
        try:
            record = plain(record)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        more: dict[str, Any] = {
            "number": number, "reason": reason, "record": record, "progress": kept, "at": self._clock(), "fault": fault, "sent": sent
        }  # fmt: skip
        if isinstance(met, Result):
            return Moment(state=met.final_state, path=met.path, result=met, **more)
        token, row = met.token, self.plan.row_of(met.token)
        inside = token.step > 0 or token.arc >= 0
        pushed = pushed_by(self.plan, token.frames)
        return Moment(state=row.label, arc=met.arc, inside=inside, path=token.path, pushed=pushed, **more)


def _changed(moment: Moment, record: Any) -> Moment:
    """The moment with another record."""
    progress = moment.progress
    if not moment.arc:
        first = msgspec.structs.replace(progress.tokens[0], record=record)
        progress = msgspec.structs.replace(progress, tokens=(first, *progress.tokens[1:]))
    return msgspec.structs.replace(moment, record=record, progress=progress, changed=True)


def _kept(progress: Progress) -> Progress:
    try:
        return copied(progress)
    except Exception as error:
        raise TypeError(
            f"the record cannot be copied, so there would be no way back to it: {type(error).__name__}: {error}"
        ) from error
