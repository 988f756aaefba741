"""A walk that is moved from pause to pause, and the clock that stands while it does.

Standing at a prompt is no time of the run: time-outs and durations count only while the record moves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from setpoint.data.context import Event, Kind, Progress, Sent
from setpoint.data.result import Result
from setpoint.data.rows import is_async
from setpoint.data.site import Pause

if TYPE_CHECKING:
    from setpoint.data.context import Token
    from setpoint.data.plan import Plan


class Clock:
    """Another clock's seconds, counted only while it is let go."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reading = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        return self._reading if self._since is None else self._reading + self._clock() - self._since

    def go(self) -> None:
        """From here time counts."""
        self._since = self._clock()

    def stop(self) -> None:
        """From here it does not."""
        self._reading, self._since = self(), None

    def put(self, reading: float) -> None:
        """Set it, while it stands."""
        self._reading = reading


class Live:
    """A run that goes on from `progress`, one pause at a time. `known` says that its listeners know it: it is not told to start again.

    `progress` is always the run as it was before the state in which it now is.
    """

    def __init__(
        self, plan: Plan, progress: Progress, *, clock: Clock, timeout: float | None, known: bool,
        hear: Callable[[Event], object], sent: Sent | None = None,
    ) -> None:  # fmt: skip
        self.progress, self.sent = progress, sent
        self.kept: Progress | None = None  # a copy of it, once somebody made one
        self.over = False
        self._clock, self._known = clock, known
        self._hear, self._tell = hear, plan.told if plan.events is not None else None
        self._checkpoint = plan.checkpoint
        own = plan.using(events=self._heard, checkpoint=self._akeep if is_async(plan.checkpoint) else self._keep)
        own.clock = clock
        self.walk = own.walk(run=progress.run, variables=progress.variables, timeout=timeout, started=0.0, pausing=True)
        self._steps = self.walk.go(progress, sent=sent)

    def next(self, changed: Token | None, *, waits: bool) -> Generator[Any, Any, Pause | Result]:
        """On to the next pause, or to the end; with another record where it was changed. Raises what a checkpoint raises."""
        self.walk.waits = waits
        self._clock.go()
        try:
            met = self._steps.send(changed)
            while not isinstance(met, Pause):
                try:
                    value = yield met
                except BaseException as error:
                    met = self._steps.throw(error)
                else:
                    met = self._steps.send(value)
        except StopIteration as stop:
            self.over = True
            result: Result = stop.value
            return result
        except BaseException:
            self.over = True
            raise
        finally:
            self._clock.stop()
        return met

    def close(self) -> None:
        """Breaks it off; what it holds is given back."""
        self.over = True
        self._steps.close()

    def _keep(self, progress: Progress) -> object:
        self.progress, self.kept = progress, None
        return None if self._checkpoint is None else self._checkpoint(progress)

    async def _akeep(self, progress: Progress) -> object:
        self.progress, self.kept = progress, None
        return None if self._checkpoint is None else await self._checkpoint(progress)

    def _heard(self, event: Event) -> None:
        if event.kind is Kind.START and self._known:
            return
        if event.kind is Kind.CHECKPOINT and self._checkpoint is None:
            return  # nobody keeps it but the debugger
        self._hear(event)
        if self._tell is not None:
            self._tell(event)
