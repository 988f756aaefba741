"""The carrier: does what the core asks for, by running the worker's code by hand, and keeps the books by which the laws are checked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from setpoint.control import Limits, Observation
from setpoint.control.agenda import Abandon, Act, Close, Effect, Observe
from setpoint.control.core import Core
from setpoint.control.observing import Outcome
from setpoint.testing.simulation.calls import Call, Clock, NotSimulated, error_text
from setpoint.testing.simulation.laws import GRACE_INTERVALS, NEVER_DUE, Laws, Watch
from setpoint.testing.simulation.neighbours import Neighbours

Ended = Callable[[Any, str], None]


class Carrier:
    """Carries out the effects of one core after the other. `ticks` counts the observations taken."""

    def __init__(self, clock: Clock, limits: Limits, laws: Laws, neighbours: Neighbours) -> None:
        self.core: Core  # given with each new agent
        self.ticks = 0
        self._clock, self._limits, self._laws, self._neighbours = clock, limits, laws, neighbours
        self._watches = neighbours.watches
        self._calls: dict[int, tuple[Call, Watch]] = {}
        self._order = 0

    def drop_all(self) -> None:
        """The process is gone, and all that ran in it."""
        for call, _ in self._calls.values():
            call.drop()
        self._calls.clear()

    def perform(self, effect: Effect) -> None:
        match effect:
            case Observe():
                self.observe(effect, self._clock.now)
            case Act():
                self._act(effect)
            case Abandon():
                self._abandon(effect.token)
            case Close():
                self._run(self._neighbours.watch(effect.path), effect.worker.close(), lambda value, error: None)

    def observe(self, effect: Observe, now: float) -> None:
        path, token, worker, desired = effect
        watch = self._watches.get(path) or self._neighbours.watch(path)
        if now > watch.due_by:
            self._laws.looks_late(watch)
        self.ticks += 1
        self._order = order = self._order + 1
        value, error = None, ""
        try:
            if watch.eyes is None:
                code = worker.collect_observed_state(desired)
            else:
                code = watch.eyes(lambda: worker.collect_observed_state(desired))
            wanted = code.send(None)
        except StopIteration as end:
            value = end.value
        except (KeyboardInterrupt, NotSimulated):
            raise
        except BaseException as raised:
            error = error_text(raised)
        else:
            watch.looking, watch.due_by = token, NEVER_DUE
            self._later(watch, token, code, wanted, partial(self._observed, watch, effect, order, now))
            return
        if isinstance(value, Observation):  # as `_observed`, without its cost
            watch.good, watch.good_at = order, now
        watch.hung, watch.due_by = 0, now + GRACE_INTERVALS * worker.interval
        self.core.observed(path, token, Outcome(now, value, error))

    def _observed(self, watch: Watch, effect: Observe, order: int, started: float, value: Any, error: str) -> None:
        """An observation that took time has ended."""
        if watch.looking == effect.token:
            watch.looking = watch.hung = 0
            if isinstance(value, Observation):
                watch.good, watch.good_at = order, started
            self._is_due(watch, effect.worker.interval)
        self.core.observed(effect.path, effect.token, Outcome(started, value, error))

    def _is_due(self, watch: Watch, interval: float) -> None:
        """By when it must be measured again; one whose collector hangs may be left alone for longer."""
        pause = self._limits.retry_cap if watch.hung >= self._limits.hung_observations else 0.0
        watch.due_by = self._clock.now + pause + GRACE_INTERVALS * interval

    def pushed(self, path: str, value: Observation) -> None:
        """A worker hands over an observation by itself."""
        watch = self._neighbours.watch(path)
        self._order += 1
        watch.good, watch.good_at = self._order, self._clock.now
        self.tell_time()
        self.core.pushed(path, value)

    def tell_time(self) -> None:
        self.core.tell_time(self._clock.now, self._clock.wall())

    def _act(self, effect: Act) -> None:
        path, token, worker, name, desired = effect
        watch, record = self._neighbours.watch(path), self.core.family.table.get(path)
        if record is not None and record.worker is worker:  # else it has been replaced since: about to be abandoned
            self._laws.acts(watch, record, name, desired)
        watch.in_flight[name] = token
        started = self._clock.now

        def ended(value: Any, error: str) -> None:
            self._forget_action(watch, token)
            self.core.acted(path, token, Outcome(started, value, error))

        run = getattr(worker, name)
        self._run(watch, run(desired) if watch.hands is None else watch.hands(lambda: run(desired)), ended, token)

    def _forget_action(self, watch: Watch, token: int) -> None:
        for name, in_flight in list(watch.in_flight.items()):
            if in_flight == token:
                del watch.in_flight[name]
                self._order = watch.acted = self._order + 1

    def _run(self, watch: Watch, code: Coroutine[Any, Any, Any], ended: Ended, token: int = 0) -> None:
        try:
            wanted = code.send(None)
        except StopIteration as end:
            ended(end.value, "")
        except (KeyboardInterrupt, NotSimulated):
            raise
        except BaseException as error:
            ended(None, error_text(error))
        else:
            self._later(watch, token, code, wanted, ended)

    def _later(self, watch: Watch, token: int, code: Coroutine[Any, Any, Any], wanted: object, ended: Ended) -> None:
        """Code waits for something: keep it until that has happened."""

        def over(value: Any, error: str) -> None:
            if self._calls.pop(token, None) is not None:
                self.tell_time()
                ended(value, error)

        self._order += 1
        token = token or -self._order  # closing a worker has no token
        call = Call(self._clock, code, over)
        self._calls[token] = call, watch
        call.wait(wanted)

    def _abandon(self, token: int) -> None:
        """Nobody waits for the call any more. The books are closed at once, whatever the code does."""
        found = self._calls.get(token)
        if found is None:
            return
        call, watch = found
        if watch.looking == token:
            watch.looking = 0
            watch.hung += 1
            record = watch.record
            self._is_due(watch, record.worker.interval if record is not None and record.worker is not None else 1.0)
        self._forget_action(watch, token)
        call.cancel()
