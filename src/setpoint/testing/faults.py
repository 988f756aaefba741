"""Faults, put into any worker: what the world, and the worker's own code, can do to a supervisor.

    faulty(Press).observation_fails("no route", at=5, for_=10).action_hangs("start", at=20, for_=60)

What comes out makes workers, and goes wherever a worker class goes; it may be put around a script. Each fault lasts from `at` (now, or the
start of the run) for `for_` seconds, or until `heal()`. Of several at one place the one named last counts.

A fault never changes what the worker is: between faults its own code runs untouched.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Self

from setpoint.machine import Machine
from setpoint.testing.script import ObservationFailed
from setpoint.testing.sources import FOREVER, AnyWorker, Elapsed, Source, Span, class_of, hang, make

Call = Callable[[], Awaitable[Any]]
Play = Callable[[Call], Awaitable[Any]]
"""What happens in place of a call; it may make the call."""

INJECTED: Final = "a fault of the test"
OBSERVE, DERIVE, DECIDE, CHILDREN = "observe", "derive", "decide", "children"
EVERY_ACTION: Final = ""
MARK: Final = "_faults_of_the_test"


class ActionFailed(Exception):
    """What a faulty action raises."""


class InjectedFault(Exception):
    """What a worker's faulty own code raises."""


class _Fault(NamedTuple):
    place: str  # "observe", "derive", "decide", "children", or "act:" and the action's name
    span: Span
    play: Play | None
    error: BaseException | None


class Faulty:
    """Makes workers that misbehave as told. Its methods return itself, so that they can be chained."""

    def __init__(self, worker: Source) -> None:
        self.worker = worker
        self._faults: list[_Fault] = []
        self._elapsed = Elapsed()
        self._last: Any = None

    @property
    def __name__(self) -> str:
        return class_of(self.worker).__name__

    # eyes

    def observation_fails(
        self, why: str | BaseException = INJECTED, *, at: float | None = None, for_: float = FOREVER
    ) -> Self:
        """Looking raises."""
        return self._add(OBSERVE, at, for_, error=_error(why, ObservationFailed))

    def observation_hangs(
        self, *, ignoring_cancellation: bool = False, at: float | None = None, for_: float = FOREVER
    ) -> Self:
        """Looking gives no answer, and if so asked does not end when it is told to."""
        return self._add(OBSERVE, at, for_, play=_hanging(ignoring_cancellation))

    def observation_lost(self, *, at: float | None = None, for_: float = FOREVER) -> Self:
        """It looks, and what it saw never arrives."""
        return self._add(OBSERVE, at, for_, play=_lost)

    def observation_slow(self, seconds: float, *, at: float | None = None, for_: float = FOREVER) -> Self:
        """What it saw arrives so many seconds late."""
        return self._add(OBSERVE, at, for_, play=_slow(seconds))

    def observation_old(self, *, at: float | None = None, for_: float = FOREVER) -> Self:
        """What was seen before the fault is served again, as if it were seen now."""
        return self._add(OBSERVE, at, for_, play=self._old)

    def observation_is(self, value: Any, *, at: float | None = None, for_: float = FOREVER) -> Self:
        """Whatever it looks at, it sees this: garbage, or something huge."""
        return self._add(OBSERVE, at, for_, play=_always(value))

    # hands

    def action_fails(
        self,
        action: str = EVERY_ACTION,
        why: str | BaseException = INJECTED,
        *,
        at: float | None = None,
        for_: float = FOREVER,
    ) -> Self:
        """The action raises and does nothing."""
        return self._add(self._act(action), at, for_, error=_error(why, ActionFailed))

    def action_fails_after(
        self,
        action: str = EVERY_ACTION,
        why: str | BaseException = INJECTED,
        *,
        at: float | None = None,
        for_: float = FOREVER,
    ) -> Self:
        """The action does what it should, and then raises: an answer that got lost on its way back."""
        return self._add(self._act(action), at, for_, play=_failing_after(_error(why, ActionFailed)))

    def action_lies(self, action: str = EVERY_ACTION, *, at: float | None = None, for_: float = FOREVER) -> Self:
        """The action reports success and has done nothing."""
        return self._add(self._act(action), at, for_, play=_always(None))

    def action_hangs(
        self,
        action: str = EVERY_ACTION,
        *,
        ignoring_cancellation: bool = False,
        at: float | None = None,
        for_: float = FOREVER,
    ) -> Self:
        """The action does not end, and if so asked not even when it is told to."""
        return self._add(self._act(action), at, for_, play=_hanging(ignoring_cancellation))

    def action_slow(
        self, seconds: float, action: str = EVERY_ACTION, *, at: float | None = None, for_: float = FOREVER
    ) -> Self:
        """The action begins so many seconds late."""
        return self._add(self._act(action), at, for_, play=_slow(seconds))

    # its own code

    def derive_raises(
        self, why: str | BaseException = INJECTED, *, at: float | None = None, for_: float = FOREVER
    ) -> Self:
        """Deriving the desired state raises. It is asked at the start and with each new spec."""
        return self._add(DERIVE, at, for_, error=_error(why, InjectedFault))

    def decide_raises(
        self, why: str | BaseException = INJECTED, *, at: float | None = None, for_: float = FOREVER
    ) -> Self:
        """Deciding raises in every state, as a guard with a bug in it does."""
        return self._add(DECIDE, at, for_, error=_error(why, InjectedFault))

    def children_raise(
        self, why: str | BaseException = INJECTED, *, at: float | None = None, for_: float = FOREVER
    ) -> Self:
        """Saying which children are wanted raises."""
        return self._add(CHILDREN, at, for_, error=_error(why, InjectedFault))

    def heal(self) -> None:
        """All faults are over."""
        self._faults.clear()

    def _act(self, action: str) -> str:
        known = {state.act for state in class_of(self.worker).machine.states if state.act}
        if action != EVERY_ACTION and action not in known:
            raise ValueError(f"no state acts by {action!r}; there are {', '.join(sorted(known)) or 'no actions'}")
        return f"act:{action}"

    def _add(
        self,
        place: str,
        at: float | None,
        for_: float,
        *,
        play: Play | None = None,
        error: BaseException | None = None,
    ) -> Self:
        start = self._elapsed.now if at is None else at
        self._faults.append(_Fault(place, Span(start, start + for_), play, error))
        return self

    # the run

    def __call__(self) -> AnyWorker:
        """A worker with these faults."""
        worker = make(self.worker)
        if self._elapsed.begin():
            self._last = None
        methods = vars(worker)
        if methods.get(MARK) is self:  # an instance that is put to use again
            return worker
        methods[MARK] = self
        methods["collect_observed_state"] = self._faulty_call(OBSERVE, worker.collect_observed_state)
        for name in {state.act for state in worker.machine.states if state.act}:
            methods[name] = self._faulty_call(f"act:{name}", getattr(worker, name))
        for place, name in ((DERIVE, "derive_desired_state"), (CHILDREN, "children")):
            methods[name] = self._faulty_code(place, getattr(worker, name))
        methods["machine"] = _with_faults(worker.machine, lambda: self._raise(DECIDE))
        return worker

    def _present(self, place: str) -> _Fault | None:
        """The fault at a place, now."""
        places = {place, f"act:{EVERY_ACTION}"} if place.startswith("act:") else {place}
        present = (fault for fault in reversed(self._faults) if fault.place in places)
        return next((fault for fault in present if self._elapsed.now in fault.span), None)

    def _faulty_call(self, place: str, call: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        async def called(desired: Any) -> Any:
            fault = self._present(place)
            if fault is None:
                value = await call(desired)
                if place == OBSERVE:
                    self._last = value
                return value
            if fault.error is not None:
                raise fault.error.with_traceback(None)
            assert fault.play is not None
            return await fault.play(lambda: call(desired))

        return called

    def _faulty_code(self, place: str, code: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            self._raise(place)
            return code(*arguments)

        return called

    def _raise(self, place: str) -> None:
        fault = self._present(place)
        if fault is not None and fault.error is not None:
            raise fault.error.with_traceback(None)

    async def _old(self, call: Call) -> Any:
        if self._last is None:
            self._last = await call()
        return self._last


def faulty(worker: Source) -> Faulty:
    """Put faults into a worker: a class, an instance, a function that makes one, or a script."""
    return Faulty(worker)


KINDS: Mapping[str, Callable[[Faulty], Faulty]] = {
    "looking fails": lambda f: f.observation_fails(),
    "looking ends in sys.exit": lambda f: f.observation_fails(SystemExit(3)),
    "looking hangs": lambda f: f.observation_hangs(),
    "looking hangs and ignores cancellation": lambda f: f.observation_hangs(ignoring_cancellation=True, for_=60.0),
    "what is seen gets lost": lambda f: f.observation_lost(),
    "what is seen is late": lambda f: f.observation_slow(1.0),
    "what is seen is old": lambda f: f.observation_old(),
    "what is seen is garbage": lambda f: f.observation_is({"not": ["an", "observation"]}),
    "what is seen is huge garbage": lambda f: f.observation_is("x" * 1_000_000),
    "actions fail": lambda f: f.action_fails(),
    "actions work and report failure": lambda f: f.action_fails_after(),
    "actions report success and do nothing": lambda f: f.action_lies(),
    "actions hang": lambda f: f.action_hangs(),
    "actions hang and ignore cancellation": lambda f: f.action_hangs(ignoring_cancellation=True, for_=60.0),
    "actions are slow": lambda f: f.action_slow(5.0),
    "deciding raises": lambda f: f.decide_raises(),
    "naming children raises": lambda f: f.children_raise(),
}
"""Every kind of fault that lasts and heals, in words. (A derivation that raises is asked again only with a new spec.)"""


def _error(why: str | BaseException, kind: type[Exception]) -> BaseException:
    return why if isinstance(why, BaseException) else kind(why)


def _always(value: Any) -> Play:
    async def play(call: Call) -> Any:
        return value

    return play


def _hanging(ignoring_cancellation: bool) -> Play:
    async def play(call: Call) -> Any:
        await hang(FOREVER, ignoring_cancellation=ignoring_cancellation)
        return await call()

    return play


async def _lost(call: Call) -> Any:
    await call()
    await hang(FOREVER)


def _slow(seconds: float) -> Play:
    async def play(call: Call) -> Any:
        await asyncio.sleep(seconds)
        return await call()

    return play


def _failing_after(error: BaseException) -> Play:
    async def play(call: Call) -> Any:
        await call()
        raise error.with_traceback(None)

    return play


class _RaisingTable(dict[str, Any]):
    """The compiled rows of a machine; reading one, which every decision does, raises while the fault lasts."""

    def __init__(self, rows: Mapping[str, Any], raise_now: Callable[[], None]) -> None:
        super().__init__(rows)
        self._raise_now = raise_now

    def __getitem__(self, state: str) -> Any:
        self._raise_now()
        return super().__getitem__(state)


def _with_faults(machine: Machine, raise_now: Callable[[], None]) -> Machine:
    """The same machine, but for its deciding: explanations, drawings and names stay as they are."""
    twin = copy.copy(machine)
    vars(twin)["table"] = _RaisingTable(machine.table, raise_now)
    return twin
