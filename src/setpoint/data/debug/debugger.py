"""The debugger: a run that is moved by hand, forth and back.

It is the interpreter's own walk, stopped at its pauses: before each state, and before each arc once the functions of the state are done. So
a run in the debugger gives what it gives anywhere else. At each stop the run is kept (`Moment`), and one can go back to any of them: the
record, the variables, the records beside it are exactly as they were. The caller's own record is never touched.

Going back calls nothing and undoes nothing outside: what functions did to files or databases is done, but for a transaction that the run
still has open, which is rolled back whole. Going forth (`forth`) calls nothing either. Stepping on from an earlier moment makes the run
anew from there: functions are called again, and what had come later is forgotten.

A machine with async functions is driven in the loop of its `SimpleFSM`; inside a running loop await the twins, whose names begin with a.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from setpoint.data.context import Event, Progress, Sent, Token
from setpoint.data.debug.breakpoints import Breakpoint, Breakpoints
from setpoint.data.debug.changes import Change, changes
from setpoint.data.debug.course import Course, DebugError, Met
from setpoint.data.debug.moments import Moment
from setpoint.data.debug.reading import put
from setpoint.data.debug.watches import Watched, Watches
from setpoint.data.debug.ways import WayOut, ways_out
from setpoint.data.definition import Strategy
from setpoint.data.drive import adriven, driven
from setpoint.data.modes import deep_copy
from setpoint.data.result import Result
from setpoint.data.site import Pause

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

T = TypeVar("T")
Move = Generator[Any, Any, T]
Stop = Callable[[Token, str], bool]
InLoop = Callable[[Coroutine[Any, Any, Any]], Any]


class Debugger:
    """One run of one record. `moment` is where it stands; the methods that move it return the moment to which they came.

    `state` is where the record enters (default: the start), `timeout` bounds the run in seconds, which do not count while it stands.
    `history` is how many moments are kept. Raises `KeyError` for an unknown state, `TypeError` for a record that cannot be copied. Use it
    as a context manager, or `close` it: what a run in the middle of a state holds is given back.
    """

    def __init__(
        self, plan: Plan, record: Any, *, state: str = "", timeout: float | None = None,
        variables: dict[str, Any] | None = None, history: int = 1000, in_loop: InLoop | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.breakpoints, self._watches = Breakpoints(plan), Watches()
        self._runner: asyncio.Runner | None = None
        self._in_loop = in_loop or self._in_own_loop
        self._timeout, self._history = timeout, max(history, 1)
        self._course = self._begun(plan.begin(record, state=state, variables=variables))

    # where it stands

    @property
    def moment(self) -> Moment:
        """Where the run stands."""
        return self._course.moment

    @property
    def moments(self) -> tuple[Moment, ...]:
        """All moments that are kept, also those that one went back from."""
        return tuple(self._course.moments)

    @property
    def happened(self) -> tuple[Event, ...]:
        """The errors, retries and waits of the last move, the last hundred of them. Their records are the run's own: look, do not keep."""
        return tuple(self._course.happened)

    @property
    def record(self) -> Any:
        """A copy of the record as it is here."""
        return deep_copy(self.moment.record)

    @property
    def result(self) -> Result | None:
        """How the run went, where it stands at its end."""
        return self.moment.result

    def diff(self, since: int | None = None) -> list[Change]:
        """What has changed in the record since the moment of that number; by default since the last one before this of the same record.

        Raises `DebugError` for a moment that is not kept.
        """
        before = self._before() if since is None else self._numbered(since)
        return [] if before is None else changes(before.record, self.moment.record)

    # moves

    def step(self) -> Moment:
        """On to the next state, of whichever record of the run has its turn; into a pushed network. Stops at breakpoints before."""
        return self._do(self._to(_at_a_state))

    async def astep(self) -> Moment:
        """As `step`."""
        return await adriven(self._to(_at_a_state, waits=True))

    def step_arc(self) -> Moment:
        """On to the next arc or state: calls the functions of the state, or those of the arc."""
        return self._do(self._to(_anywhere))

    async def astep_arc(self) -> Moment:
        """As `step_arc`."""
        return await adriven(self._to(_anywhere, waits=True))

    def step_over(self) -> Moment:
        """On to the next state that is not in a network pushed from here."""
        return self._do(self._to(self._within(0)))

    async def astep_over(self) -> Moment:
        """As `step_over`."""
        return await adriven(self._to(self._within(0), waits=True))

    def step_out(self) -> Moment:
        """On until the record is back from this network; in the main network to the end."""
        return self._do(self._to(self._within(1)))

    async def astep_out(self) -> Moment:
        """As `step_out`."""
        return await adriven(self._to(self._within(1), waits=True))

    def continue_(self) -> Moment:
        """On to the next breakpoint, or to the end. The one at which the run stands does not hold it."""
        return self._do(self._to(_nowhere))

    async def acontinue(self) -> Moment:
        """As `continue_`."""
        return await adriven(self._to(_nowhere, waits=True))

    def run(self) -> Result:
        """On to the end, whatever breakpoints there are. Where it stands at the end, the result it has."""
        return self._do(self._through())

    async def arun(self) -> Result:
        """As `run`."""
        return await adriven(self._through(waits=True))

    def send(self, event: str, data: Any = None) -> Moment:
        """Sends an event to records that wait, and goes on to the next state. Raises `NotTaken` where none waits for it, `DebugError`."""
        return self._do(self._send(Sent(event, data)))

    async def asend(self, event: str, data: Any = None) -> Moment:
        """As `send`."""
        return await adriven(self._send(Sent(event, data), waits=True))

    def back(self, count: int = 1, *, over: bool = False) -> Moment:
        """So many moments back, or to the first that is kept; with `over` only those in no deeper network than this one count.

        Nothing is called. Raises `DebugError` at the first.
        """
        if self._course.here == 0:
            raise DebugError("this is the first moment that is kept; step goes on from here")
        before = range(self._course.here - 1, -1, -1)
        return self._go(([place for place in before if self._counts(place, over)] or list(before))[:count][-1])

    def forth(self, count: int = 1, *, over: bool = False) -> Moment:
        """So many moments forth again, after `back`. Nothing is called. Raises `DebugError` at the last."""
        after = range(self._course.here + 1, len(self._course.moments))
        if not after:
            raise DebugError("this is the last moment there is; step goes on from here")
        return self._go(([place for place in after if self._counts(place, over)] or list(after))[:count][-1])

    def go(self, number: int) -> Moment:
        """To the moment of that number. Nothing is called. Raises `DebugError` for one that is not kept."""
        return self._go(self._course.moments.index(self._numbered(number)))

    def restart(self) -> Moment:
        """Begins anew, as another run with the first record as it was. Breakpoints and watches stay."""
        first = self._course.first
        self._course.drop()
        for one in self.breakpoints:
            one.hits = 0
        run = self.plan.begin(None, state=first.tokens[0].state).run
        self._course = self._begun(msgspec.structs.replace(first, run=run))
        self._watches.look(self.moment.record)
        return self.moment

    # looking and changing

    def add_breakpoint(self, at: str = "", *, when: str = "", ignore: int = 0) -> Breakpoint:
        """A breakpoint at a state (``priced``, ``pricing:taxed``) or an arc (``a->b``), at every state where `at` is empty.

        `when` is an expression over the record; `ignore` lets the first so many hits pass. Raises `KeyError` for a place there is not,
        `ExpressionError` for a condition that is none, `ValueError` where both are empty.
        """
        return self.breakpoints.add(at, when, ignore)

    def watch(self, text: str) -> Watched:
        """Watches an expression or a dotted path. Raises `ExpressionError` for a text that is none."""
        return self._watches.add(text, self.moment.record)

    def unwatch(self, text: str) -> None:
        """Watches it no longer. Raises `KeyError`."""
        self._watches.take(text)

    @property
    def watches(self) -> tuple[Watched, ...]:
        """What is watched: its value here, and what it was where the run stood before."""
        return self._watches.seen

    def ways(self) -> tuple[WayOut, ...]:
        """The arcs out of here: which are open for the record as it is now, and why. Raises `DebugError` at the end of a run.

        Before a state the record has not been through the state's functions yet; before an arc it has.
        """
        return self._do(self._ways())

    async def aways(self) -> tuple[WayOut, ...]:
        """As `ways`."""
        return await adriven(self._ways())

    def change(self, record: Any) -> Moment:
        """Puts another record in the place of this one, here; what had come later is forgotten. Raises `DebugError` at the end of a run."""
        moment = self._course.change(record)
        self._watches.look(moment.record)
        return moment

    def set(self, path: str, value: Any) -> Moment:
        """Sets a field of the record, by a dotted path. Raises `DebugError` where there is no such place."""
        try:
            record = put(self.record, path, value)
        except (TypeError, ValueError, AttributeError) as error:
            raise DebugError(f"{path} cannot be set: {error}") from None
        return self.change(record)

    def close(self) -> None:
        """Breaks the run off, and gives back what it holds. Idempotent; the moments stay."""
        self._course.drop()
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # how it moves

    def _begun(self, progress: Progress) -> Course:
        return Course(self.plan, progress, timeout=self._timeout, history=self._history)

    def _to(self, stop: Stop, *, waits: bool = False, breaks: bool = True) -> Move[Moment]:
        waits = waits or self.plan.is_async
        self._course.happened.clear()
        met: Met | None = yield from self._course.ready(waits=waits)
        if met is None:
            met = yield from self._course.onwards(waits=waits)
        return (yield from self._from(met, stop, waits=waits, breaks=breaks))

    def _send(self, sent: Sent, *, waits: bool = False) -> Move[Moment]:
        waits = waits or self.plan.is_async
        self._course.happened.clear()
        met = yield from self._course.send(sent, waits=waits)
        return (yield from self._from(met, _at_a_state, waits=waits, breaks=True))

    def _through(self, *, waits: bool = False) -> Move[Result]:
        if self.result is None or self.result.waits:
            yield from self._to(_nowhere, waits=waits, breaks=False)
        assert self.result is not None
        return self.result

    def _from(self, met: Met, stop: Stop, *, waits: bool, breaks: bool) -> Move[Moment]:
        """On from what the walk met, to where it is to stop. Every state that it stands before on the way is kept."""
        course = self._course
        while isinstance(met, Pause):
            reason = (self._hit(met) if breaks else "") or ("step" if stop(met.token, met.arc) else "")
            if reason or not (met.arc or met.token.since):
                course.stand(met, reason or "passed")
            if reason:
                break
            met = yield from course.onwards(waits=waits)
        else:
            course.stand(met, "end")
        self._watches.look(self.moment.record)
        return self.moment

    def _hit(self, met: Pause) -> str:
        """The breakpoints that stop the record here, for people."""
        token = met.token
        if not met.arc and (token.step or token.since or token.failing is not None):
            return ""  # it does not enter the state: it is in there
        place = met.arc or token.state
        hit = [one for one in self.breakpoints if one.is_hit(token.network, place, token.record, arc=bool(met.arc))]
        return ", ".join(f"breakpoint {one.number}" for one in hit)

    def _within(self, up: int) -> Stop:
        here = self.moment.token
        depth = (len(here.frames) if here else 0) - up
        return lambda token, arc: _at_a_state(token, arc) and len(token.frames) <= depth

    def _ways(self) -> Move[tuple[WayOut, ...]]:
        here = self.moment
        token = here.token
        if token is None:
            raise DebugError(f"the run is at {here.state!r}, which no arc leads out of")
        row = self.plan.row_of(token)
        context = self.plan.context(here.progress.run, deep_copy(here.progress.variables))
        context.network, context.state, context.resources = row.network, row.name, self._course.resources
        found = yield from ways_out(
            self.plan, row, here.record, context, fans=self.plan.definition.strategy is Strategy.BREADTH_FIRST
        )
        if here.arc:
            found = tuple(msgspec.structs.replace(way, taken=way.name == here.arc) for way in found)
        return found

    def _before(self) -> Moment | None:
        """The last moment of this record before this one: on the same path, at an earlier place of it."""
        here, moments = self.moment, self._course.moments[: self._course.here]
        earlier = [one for one in moments if one.result is None and _is_earlier(one, here)]
        if not earlier or len(earlier[-1].pushed) < len(here.pushed):
            return earlier[-1] if earlier else None  # it was pushed here from there
        return next((one for one in reversed(earlier) if one.pushed == here.pushed), earlier[-1])

    def _numbered(self, number: int) -> Moment:
        for one in self._course.moments:
            if one.number == number:
                return one
        first, last = self._course.moments[0].number, self._course.moments[-1].number
        raise DebugError(f"there is no moment {number}; {first} to {last} are kept")

    def _counts(self, place: int, over: bool) -> bool:
        return not over or len(self._course.moments[place].pushed) <= len(self.moment.pushed)

    def _go(self, place: int) -> Moment:
        self._course.happened.clear()
        moment = self._course.go(place)
        self._watches.look(moment.record)
        return moment

    def _do(self, steps: Move[T]) -> T:
        if not self.plan.is_async:
            return driven(steps)
        done: T = self._in_loop(adriven(steps))
        return done

    def _in_own_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(work)
        work.close()
        raise RuntimeError("an event loop is running here: await the method that begins with a")


def _is_earlier(one: Moment, here: Moment) -> bool:
    """Whether a moment is one of the same record, at an earlier place of its path."""
    if one.path != here.path[: len(one.path)]:
        return False
    return len(one.path) < len(here.path) or (bool(here.arc) and not one.arc and one.state == here.state)


def _at_a_state(token: Token, arc: str) -> bool:
    return not arc and not token.since


def _anywhere(token: Token, arc: str) -> bool:
    return bool(arc) or not token.since


def _nowhere(token: Token, arc: str) -> bool:
    return False
