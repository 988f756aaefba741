"""The interpreter: how a record goes through the rows of a plan, written once, as a generator that yields only what must be awaited.

A *visit* takes one token through one state and out of it:

    begin      the state's resources are acquired; the data mode says what is worked on
    functions  gates, transforms and validators, in order; a gate or validator that says no raises `Refused`
    choice     the arcs in order, conditions asked until one is open
    crossing   the transforms of the arc, and into another network where it pushes
    commit     what was changed is now the record; the resources are released

and gives what comes of it: a token that is about to enter the next state, several tokens, or a result. Whatever is raised on the way is a
failure of that visit: tried again where the state or the arc says so, else the affair of `fail`, which finds where a failed record goes.

A `Walk` is one run: visits, until no token is left. It yields awaitables (send back what they gave, or throw what they raised), and, when
it is told to pause, `Pause`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from setpoint.data import choice, fail, networks
from setpoint.data.answers import UNUSUAL, judge, within
from setpoint.data.context import Context, Event, Kind, Progress, Sent, Token
from setpoint.data.definition import DataMode, Strategy
from setpoint.data.draft import DraftDict, DraftList, settled
from setpoint.data.errors import TimedOut, TooManyParts, TooManyTransitions
from setpoint.data.modes import VERSIONS, deep_copy, draft, restore
from setpoint.data.result import DROP, DROPPED, Result, Several, StepError
from setpoint.data.retrying import pause_after
from setpoint.data.rows import Step, Way
from setpoint.data.site import Arrived, Pause, Site, Steps
from setpoint.data.tokens import Tokens
from setpoint.data.waiting import pending, woken

if TYPE_CHECKING:
    from setpoint.data.plan import Plan


class Walk:
    """One run of one record, with all that comes of it."""

    def __init__(self, plan: Plan, context: Context, *, started: float, timeout: float | None, pausing: bool) -> None:
        self.plan = plan
        self.rows = plan.rows
        self.context, self.run, self.pausing = context, context.run, pausing
        self.started = started
        timeout = plan.definition.timeout if timeout is None else timeout
        self.deadline = None if timeout is None else self.started + timeout
        self.waits = False  # whether whoever drives it can await
        self.fans = plan.definition.strategy is Strategy.BREADTH_FIRST
        self._single = self.fans or plan.checkpoint is not None
        self.sent: Sent | None = None
        self.taken = False  # whether the event that was sent, or time, let a record go on
        self.refusal: Exception | None = None
        self.supply = plan.supply
        self._acquired = self._dropped = False
        self._taken: list[Any] = []

    # the run

    def go(
        self, progress: Progress, first: Steps | None = None, sent: Sent | None = None
    ) -> Generator[Any, Any, Result]:
        """The run from there to its end, or until all that is left of it waits: a generator that returns its `Result`.

        `first` is a visit that is to be ended before. `sent` is an event for the records that wait; without one, time may let them go on.
        """
        self.sent = sent
        self.tell(Kind.START, progress.tokens[0].network if progress.tokens else "", "")
        ok, fault = False, None
        try:
            result: Result = yield from self._all(progress, first)
            ok = result.success
        except GeneratorExit:
            self._drop()
            raise
        finally:
            for record in self._taken:
                VERSIONS.leave(record)
            if self._acquired and not self._dropped:
                fault = yield from self._finish(ok)
        if fault is not None:
            error = StepError(
                type(fault).__name__, str(fault), result.final_state, exception=fault, earlier=result.error
            )
            self.tell(Kind.ERROR, "", result.final_state, record=result.data, error=error)
            result = msgspec.structs.replace(result, success=False, error=error)
        self.tell(Kind.END, "", result.final_state, record=result.data, seconds=result.duration, error=result.error)
        return result

    def _finish(self, ok: bool) -> Steps:
        """The end of the run for its resources: what they raised, or None."""
        assert self.supply is not None
        try:
            out = self.supply.finish(self.run, ok)
            if self.supply.is_async:
                yield out
        except Exception as fault:
            return fault
        return None

    def _drop(self) -> None:
        """Gives everything back at once: the generator was closed, so nothing can be awaited any more."""
        before, self._dropped = self._dropped, True
        if self._acquired and not before and self.supply is not None:
            self.supply.drop(self.run)

    def _all(self, progress: Progress, first: Steps | None) -> Steps:
        keeps, most = self.plan.checkpoint is not None, self.plan.definition.max_parts
        in_hand = map(self._in_hand, (*progress.waiting, *progress.tokens))
        tokens = Tokens(progress, in_hand, fans=self.fans, notes=keeps)
        while tokens.queue or first is not None:
            if first is not None:
                token, outcome, first = None, (yield from first), None
            else:
                token = tokens.queue.popleft()
                outcome = yield from self._leg(token)
            tokens.came(token, outcome)
            if len(tokens) > most and type(outcome) is list:
                tokens.give_up([fail.gave_up(self, token, TooManyParts(most)) for token in tokens.queue])
            if keeps and (broken := (yield from self._keep(tokens))) is not None:
                return broken
        if tokens.waiting:
            return pending(self, tokens.waiting)
        return tokens.result(duration=self.plan.clock() - self.started)

    def _in_hand(self, token: Token) -> Token:
        """A token that this run begins with: the shared records of the states that pushed it are watched from here."""
        frames = []
        for frame in token.frames:
            if self.rows[self.plan.numbers[frame.network, frame.state]].mode is DataMode.REFERENCE:
                VERSIONS.take(frame.entered)
                self._taken.append(frame.entered)
                frame = msgspec.structs.replace(frame, version=VERSIONS.of(frame.entered))
            frames.append(frame)
        return msgspec.structs.replace(token, frames=tuple(frames)) if frames else token

    def _keep(self, tokens: Tokens) -> Steps:
        """Has the run kept as it stands, unless what it did would still be undone if it were broken off.

        All that is left of it waiting, it is committed before; gives the result where that went wrong.
        """
        if self._acquired and self.supply is not None and self.supply.unsettled(self.run):
            if tokens.waiting and not tokens.queue:
                fault = yield from self._finish(True)
                if fault is not None:
                    return fail.gave_up(self, tokens.waiting[0], fault)
            elif not self.pausing:
                return None
        if not tokens.worth_keeping():
            return None
        assert self.plan.checkpoint is not None
        progress = tokens.progress(self.run, self.context.variables)
        out = self.plan.checkpoint(progress)
        if inspect.isawaitable(out):
            yield out
        token = (*progress.tokens, *progress.waiting, *progress.failed)[0]
        self.tell(Kind.CHECKPOINT, token.network, token.state, record=token.record, token=token)
        return None

    def _leg(self, token: Token) -> Steps:
        """Visit after visit, as long as there is one token and nobody else's turn."""
        limit = self.plan.definition.max_transitions
        while True:
            if token.transitions > limit:
                return fail.gave_up(self, token, TooManyTransitions(limit, token.path))
            if self.deadline is not None and self.plan.clock() > self.deadline:
                return fail.gave_up(self, token, fail.overdue(self))
            if self.pausing and token.arc < 0:
                token = (yield Pause(token)) or token
            row = self.plan.row_of(token)
            outcome = yield from (fail.drift(self, row, token) if token.failing else self.visit(Site(row, token)))
            if type(outcome) is not Token or self._single or outcome.since:
                return outcome
            token = outcome

    # one visit

    def visit(self, site: Site, attempt: Steps | None = None) -> Steps:
        """One token through one state. `attempt` is a first attempt that has begun elsewhere."""
        token, row = site.token, site.row
        if not token.step and token.arc < 0:
            self.tell(Kind.ENTER, row.network, row.name, record=token.record, token=token)
        while True:
            try:
                outcome = yield from (attempt or self._attempt(site))
                break
            except Exception as raised:
                attempt = None
                fault = fail.genuine(raised)
                delay = fail.patience(self.plan, site, fault)
                error = fail.step_error(site, fault)
                if delay is None or (self.deadline is not None and self.plan.clock() > self.deadline):
                    return (yield from fail.astray(self, site, error))
                yield from self.again(site, error, delay)
                site.attempt += 1
        return (yield from networks.arrive(self, site, outcome.record)) if type(outcome) is Arrived else outcome

    def again(self, site: Site, error: StepError, delay: float) -> Steps:
        """Waits before the next attempt."""
        self.tell(
            Kind.RETRY, site.row.network, site.row.name, record=site.entered, arc=error.arc, attempt=error.attempt, seconds=delay,
            error=error, token=site.token,
        )  # fmt: skip
        if delay:
            if self.waits:
                yield self.plan.sleep_async(delay)
            else:
                self.plan.sleep(delay)

    def _attempt(self, site: Site) -> Steps:
        ok = False
        try:
            yield from self._begin(site)
            token = site.token
            record = site.record
            if token.arc >= 0:
                outcome = yield from self.cross(site, site.row.arcs[token.arc], token.arc_step)
            elif token.since:
                outcome = yield from woken(self, site)
            else:
                record = yield from self.steps(site, site.row.steps, token.step)
                self._done(Kind.EXIT, site, record, attempt=site.attempt, seconds=self._took(site))
                site.deadline = 0.0
                outcome = yield from self._onwards(site, record)
            ok = True
        except GeneratorExit:
            self._drop()
            raise
        finally:
            while site.held and not self._dropped:
                yield from self._release(site, ok)
        return outcome

    def only_functions(self, site: Site) -> Steps:
        """The functions of the state and nothing else: the record after them."""
        ok = False
        try:
            yield from self._begin(site)
            out = yield from self.steps(site, site.row.steps, 0)
            ok = True
        except GeneratorExit:
            self._drop()
            raise
        finally:
            while site.held and not self._dropped:
                yield from self._release(site, ok)
        return self.commit(site, site.record if type(out) in UNUSUAL else out)

    def _took(self, site: Site) -> float:
        return self.plan.clock() - site.began if self.plan.events else 0.0

    def _begin(self, site: Site) -> Steps:
        """What is worked on from here: a copy, a draft or the record itself, and until when."""
        row, plan, context = site.row, self.plan, self.context
        site.way, site.began = None, plan.clock() if row.timeout or plan.events else 0.0
        site.deadline = site.began + row.timeout if row.timeout else 0.0
        context.network, context.state, context.arc, context.attempt = row.network, row.name, "", site.attempt
        context.error = site.token.handled[-1] if site.token.handled else site.token.failing
        site.record = site.entered
        if row.mode is DataMode.COPY:
            if row.works or not site.token.path:
                site.record = deep_copy(site.entered)
        elif row.mode is DataMode.REFERENCE:
            if site.version < 0:
                VERSIONS.take(site.entered)
                self._taken.append(site.entered)
            site.version = VERSIONS.of(site.entered)
            site.record = draft(site.entered)
        elif row.retry or any(way.retry for way in row.arcs):
            site.record = fail.before(site)
        context.resources = {}
        if row.resources:
            yield from self._acquire(site, row.resources)

    def _acquire(self, site: Site, names: Mapping[str, str]) -> Steps:
        supply = self.supply
        assert supply is not None
        self._acquired = True
        have = supply.acquire(names, self.run, site.row.label)
        if supply.is_async:
            have = yield self.in_time(have, site)
        site.held.append((names, self.context.resources))
        self.context.resources = {**self.context.resources, **have}
        self.tell(Kind.ACQUIRED, site.row.network, site.row.name, resources=tuple(names.values()), token=site.token)

    def _release(self, site: Site, ok: bool) -> Steps:
        names, self.context.resources = site.held.pop()
        assert self.supply is not None
        out = self.supply.release(names, self.run, ok)
        if self.supply.is_async:
            yield out
        self.tell(Kind.RELEASED, site.row.network, site.row.name, resources=tuple(names.values()), token=site.token)

    def steps(self, site: Site, steps: tuple[Step, ...], first: int) -> Steps:
        """Calls functions one after the other; gives the record, or `DROP` or `Several` (then `site.step` says what is done)."""
        record, context = site.record, self.context
        timed = site.deadline or self.deadline is not None
        for number in range(first, len(steps)):
            step = steps[number]
            out = step.call(record, context) if step.asks else step.call(record)
            if step.awaited:
                out = yield self.in_time(out, site) if timed else out
            if timed:
                self._check_time(site)
            if step.check:
                if out is not None and out is not True:
                    judge(step, out)
            elif type(out) not in UNUSUAL:
                record = site.record = out
            else:
                out = self.plan.meaning(out)
                if out is not None:
                    site.step = number + 1
                    return out
        return record

    def in_time(self, pending: Awaitable[Any], site: Site) -> Awaitable[Any]:
        ends = [end for end in (site.deadline, self.deadline) if end]
        return within(pending, min(ends) - self.plan.clock()) if ends else pending

    def _check_time(self, site: Site) -> None:
        now = self.plan.clock()
        if self.deadline is not None and now > self.deadline:
            raise fail.overdue(self)
        if site.deadline and now > site.deadline:
            raise TimedOut(f"it took longer than {site.row.timeout:g} s")

    # out of the state

    def _onwards(self, site: Site, record: Any) -> Steps:
        token, row = site.token, site.row
        if type(record) in UNUSUAL and record is not None:
            return (yield from self.diverted(site, record, step=site.step))
        if row.final:
            return Arrived(self.commit(site, record))
        open_ways = yield from choice.choose(self, site, record)
        if len(open_ways) == 1:
            return (yield from self.cross(site, open_ways[0], 0))
        record = self.commit(site, record)
        number = len(row.steps) or 1
        here = Token(
            record, row.network, row.name, site.path, number, -1, 0, token.transitions, token.frames, token.handled
        )
        if not open_ways:
            self.tell(Kind.WAIT, row.network, row.name, record=record, token=token)
            return msgspec.structs.replace(here, since=self.plan.wall())
        return [msgspec.structs.replace(here, record=deep_copy(record), arc=way.number) for way in open_ways]

    def diverted(self, site: Site, out: Any, *, step: int, arc: int = -1) -> Steps:
        """A record that was dropped, or became several: those go on after the function that made them."""
        token, row = site.token, site.row
        if out is DROP:
            record = site.entered if row.mode is not DataMode.DIRECT else site.record
            way = yield from choice.first_open(self, site, row.on_dropped, record)
            if way is not None:
                return networks.entering(self, site, way.target, record)
            path = (*site.path, DROPPED)
            return Result(DROPPED, record, path, True, None, self.plan.clock() - self.started, (), token.handled)
        done, arc_done = (step, 0) if arc < 0 else (len(row.steps) or 1, step)
        here = Token(
            None, row.network, row.name, site.path, done, arc, arc_done, token.transitions, token.frames, token.handled
        )
        apart = (
            len(out) > 1 and row.mode is not DataMode.DIRECT
        )  # what the parts share, none may change under the others
        parts = (deep_copy(settled(part)) if apart else settled(part) for part in out)
        return [msgspec.structs.replace(here, record=part) for part in parts]

    def cross(self, site: Site, way: Way, first: int) -> Steps:
        """Along the arc: its transforms, as often as it may be tried, then into the next state or another network."""
        if self.pausing:
            changed = yield Pause(msgspec.structs.replace(site.token, record=site.record), way.name)
            site.record = site.record if changed is None else changed.record
        before = deep_copy(site.record) if way.retry else None
        base = site.record
        site.arc_attempt = 1
        while True:
            site.way, self.context.arc, self.context.attempt = way, way.name, site.arc_attempt
            try:
                record = yield from self._transformed(site, way, first)
                break
            except Exception as raised:
                fault = fail.genuine(raised)
                delay = pause_after(way.retry, fault, site.arc_attempt, chance=self.plan.rng.random)
                if delay is None:
                    raise
                yield from self.again(site, fail.step_error(site, fault), delay)
                site.arc_attempt += 1
                site.record = restore(base, deep_copy(before))
        if type(record) in UNUSUAL and record is not None:
            return (yield from self.diverted(site, record, step=site.step, arc=way.number))
        if way.push is not None:
            return networks.push(self, site, way.push, record=record)
        return networks.entering(self, site, way.target, self.commit(site, record))

    def _transformed(self, site: Site, way: Way, first: int) -> Steps:
        began = self.plan.clock() if self.plan.events else 0.0
        held = len(site.held)
        ok = False
        try:
            if way.resources:
                yield from self._acquire(site, way.resources)
            record = yield from self.steps(site, way.steps, first)
            ok = True
        except GeneratorExit:
            self._drop()
            raise
        finally:
            while len(site.held) > held and not self._dropped:
                yield from self._release(site, ok)
        target, spent = self.rows[way.target].label, self.plan.clock() - began if self.plan.events else 0.0
        self._done(Kind.ARC, site, record, arc=way.name, target=target, attempt=site.arc_attempt, seconds=spent)
        return record

    def commit(self, site: Site, record: Any) -> Any:
        """The record as others may see it from now on."""
        if site.row.mode is not DataMode.REFERENCE:
            return record
        if isinstance(record, DraftDict | DraftList) and record.origin is site.entered:
            if record.changed():
                VERSIONS.commit(site.entered, settled(record), site.version)
            return site.entered
        return settled(record)

    def _done(self, kind: Kind, site: Site, record: Any, **more: Any) -> None:
        """Says that the functions are done with a record: not where they made several of it, each of which says so for itself."""
        if type(record) is not Several:
            record = site.record if record is DROP else record
            self.tell(kind, site.row.network, site.row.name, record=record, token=site.token, **more)

    def tell(self, kind: Kind, network: str, state: str, **more: Any) -> None:
        """Says what happened to whoever listens."""
        heard = self.plan.heard
        if heard is not None and kind in heard:
            self.plan.told(Event(kind, self.run, network, state, at=self.plan.clock(), **more))
