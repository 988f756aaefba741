"""Observing: when each worker is measured, what a result means, and what happens when none comes.

Collections are due at the worker's interval, or at once when somebody asks. One that takes too long is abandoned by its token: it counts
as a failed observation, and whatever it returns later is ignored. Several abandoned in a row open the worker's circuit; it is tried
again for ever, ever more slowly. A failed observation is an observation: its error is kept beside the last good value, which ages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from setpoint.control.agenda import Abandon, Agenda, Observe, Timer
from setpoint.control.record import FOREVER, NEVER, Record
from setpoint.control.registry import AnyWorker
from setpoint.control.snapshot import Observation
from setpoint.control.worker import Worker
from setpoint.secrets import without_secrets

SHORTEST_PAUSE_S = 0.01
"""Between the starts of two collections that were asked for at once: a worker that asks in each one must not stop the rest."""


class Outcome(NamedTuple):
    """How a call of worker code ended: a value, or an error as text. Times are of the agenda's clock."""

    started: float
    value: Any = None
    error: str = ""


class Observing:
    """The collectors of all workers of one supervisor."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self.told: Callable[[Record], None] = lambda record: None
        """Called when what a worker observed has changed, or whether it could."""

    def begin(self, record: Record) -> None:
        """A worker has been created: measure it now, and from now on."""
        record.beat = self._agenda.jitter.random()
        self._agenda.at(self._agenda.now + self._agenda.limits.stale_after, Timer.STALE, record, record.born_at)
        self.now(record)

    def now(self, record: Record) -> None:
        """Measure as soon as possible: at once, or right after the collection in flight."""
        if record.observing:
            record.observe_again = True
        else:
            self._start(record)

    def rings(self, record: Record, at: float) -> None:
        """The collector's timer: a collection is due, or the one in flight has taken too long, or it was set for what is over."""
        if at != record.collector_at or record.worker is None:
            return
        record.collector_at = FOREVER
        now, due = self._agenda.now, record.observe_at
        if record.observing:
            due += _pace(record.worker)[1]
            if now >= due:
                self._timed_out(record)
                return
        if now < due:
            self._wake(record, due)
        else:
            self._start(record)

    def _wake(self, record: Record, at: float) -> None:
        """Have the timer ring at that time at the latest. One timer a collector is enough: it is set again when it rings too early."""
        if at < record.collector_at:
            record.collector_at = at
            self._agenda.at(at, Timer.COLLECT, record, at)

    def _start(self, record: Record) -> None:
        worker, agenda = record.worker, self._agenda
        assert worker is not None
        now = agenda.now
        record.observing = token = agenda.token()
        record.observe_at = now
        interval, timeout = _pace(worker)
        record.beat_at = at = _next_beat(now, interval, record.beat)
        if now + timeout < at:
            at = now + timeout
        if at < record.collector_at:
            self._wake(record, at)
        agenda.emit(Observe(record.path, token, worker, record.in_force))

    def _timed_out(self, record: Record) -> None:
        """No result in time: abandon the collection and count it."""
        assert record.worker is not None
        self._agenda.emit(Abandon(record.observing))
        record.hung += 1
        record.tally.abandoned += 1
        if record.hung >= self._agenda.limits.hung_observations:
            record.hung_reason = (
                f"{record.hung} observations in a row gave no answer; it is tried again ever more slowly"
            )
        error = f"no answer within {_pace(record.worker)[1]:g} s"
        self._ended(record, record.observing, Outcome(record.observe_at, error=error))

    def result(self, record: Record, token: int, outcome: Outcome) -> None:
        """A collection ended. Results of abandoned collections, whose token is old, are ignored."""
        if token == record.observing:
            if record.hung:  # it answers again, well or not
                self._agenda.mark(record)
                record.hung, record.hung_reason = 0, ""
            self._ended(record, token, outcome)

    def _ended(self, record: Record, token: int, outcome: Outcome) -> None:
        record.observing = 0
        asked_again = record.observe_again
        record.observe_again = False
        record.tally.looked(self._agenda.now - outcome.started, failed=bool(outcome.error))
        self._plan_next(record, at_once=asked_again)
        self._take(record, outcome, token)

    def pushed(self, record: Record, value: Observation) -> None:
        """The worker handed over an observation by itself."""
        self._take(record, Outcome(self._agenda.now, value), self._agenda.token())

    def _take(self, record: Record, outcome: Outcome, token: int) -> None:
        worker = record.worker
        error = outcome.error
        if worker is not None and not (0.0 < worker.interval < FOREVER and worker.timeout > 0.0):
            error = error or f"interval {worker.interval} and timeout {worker.timeout} must be finite and above 0 s"
        if not error and not isinstance(outcome.value, Observation):
            error = f"collect_observed_state returned {type(outcome.value).__name__}; expected an Observation"
        awaited = record.sample_token < record.act_gate  # something waits for news from after the last action
        changed = awaited or error != record.error or not record.has_observed
        if error and record.secrets:
            error = without_secrets(error, record.secrets)
        told = error != record.error
        record.error = error
        if not error:
            differs = _differs(outcome.value, record.observed)
            changed = changed or differs or record.stale
            record.observed, record.has_observed = outcome.value, True
            if outcome.started > record.sampled_at:
                record.sampled_at = outcome.started
            if token > record.sample_token:
                record.sample_token = token
            record.stale = False
            told = told or differs
        if told:
            self.told(record)
        if changed or record.acts:
            self._agenda.mark(record)

    def _plan_next(self, record: Record, *, at_once: bool) -> None:
        agenda = self._agenda
        assert record.worker is not None
        if not at_once and not record.hung and agenda.now < record.beat_at - 0.5 * record.worker.interval:
            record.observe_at = record.beat_at  # the usual case: the timer is set for it
            if record.beat_at < record.collector_at:
                self._wake(record, record.beat_at)
            return
        interval, _ = _pace(record.worker)
        if record.hung >= agenda.limits.hung_observations:
            pause = agenda.limits.backoff(record.hung - agenda.limits.hung_observations + 1, agenda.jitter)
            record.observe_at = agenda.now + max(interval, pause)
        elif at_once and not record.hung:
            record.observe_at = max(agenda.now, record.observe_at + SHORTEST_PAUSE_S)
        else:
            record.observe_at = _next_beat(agenda.now, interval, record.beat)
        self._wake(record, record.observe_at)

    def drop(self, record: Record) -> None:
        """Forget what was observed, and abandon the collection in flight: the worker is made anew."""
        if record.observing:
            self._agenda.emit(Abandon(record.observing))
        record.observing, record.observe_again, record.collector_at = 0, False, FOREVER
        record.observed, record.has_observed, record.error = None, False, ""
        record.sampled_at, record.sample_token, record.stale = NEVER, 0, False
        record.hung, record.hung_reason = 0, ""

    def check_stale(self, record: Record, born_at: float) -> None:
        """Look whether the last good observation has become too old; set the next look."""
        agenda = self._agenda
        if born_at != record.born_at:
            return  # it has been made anew since
        fresh_for = agenda.limits.stale_after
        if record.worker is not None:  # one that is rarely measured is not stale between two measurements
            fresh_for = max(fresh_for, 3 * _pace(record.worker)[0])
        stale_at = max(record.sampled_at, record.born_at) + fresh_for
        if agenda.now >= stale_at:
            if not record.stale:
                record.stale = True
                record.unwatched()
                agenda.mark(record)
            stale_at = agenda.now + fresh_for
        agenda.at(stale_at, Timer.STALE, record, record.born_at)


def _pace(worker: AnyWorker) -> tuple[float, float]:
    """Interval and time-out of a worker, which may change them at any time; the usual ones in place of what is no number above 0."""
    interval, timeout = worker.interval, worker.timeout
    if interval > 0 and timeout > 0 and interval < FOREVER:
        return interval, timeout
    return Worker.interval, Worker.timeout


def _differs(new: object, old: object) -> bool:
    """Whether two observations differ; values that cannot be compared count as different."""
    try:
        return new is not old and bool(new != old)
    except Exception:
        return True


def _next_beat(now: float, interval: float, beat: float) -> float:
    """When to measure next: between half and one and a half intervals from now, on the worker's own beat.

    Each worker has its own, so those born, started or stopped together do not stay together.
    """
    return (math.floor(now / interval + 0.5 - beat) + 1 + beat) * interval
