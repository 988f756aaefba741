"""What stands around a function that calls something outside: a circuit breaker, a rate limit, a bulkhead.

A file wraps any of its functions in them, one in the other where it wants several::

    functions:
      quote: {name: circuit_breaker, params: {of: "carriers:quote", failures: 3, seconds: 30}}

What they count is shared by all records of the machine, in threads and in event loops, and by all places that name the same entry of the
section `functions`; each process of a pool counts for itself. A function keeps its kind: around an async one they are async.

An HTTP resource has a breaker and a rate limit of its own (`setpoint.data.resources.http`); these here are for everything else.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from setpoint.data.definition import Function
from setpoint.data.functions.calling import is_async
from setpoint.data.functions.compose import Part, Walk, composed
from setpoint.data.resources.breaker import Breaker, RateLimit
from setpoint.data.resources.lease import PoolSettings
from setpoint.data.resources.pool import Pool
from setpoint.data.resources.provider import Given, Owner
from setpoint.data.resources.waiting import afinish, finish

Clock = Callable[[], float]


def circuit_breaker(
    of: Function,
    *,
    label: str,
    failures: int = 5,
    seconds: float = 60.0,
    on: Sequence[str] = (),
    clock: Clock = time.monotonic,
) -> Function:
    """The function, left alone for `seconds` after so many failures in a row: whoever would call it gets `BreakerOpen` at once.

    Then one call tries whether it works again. `on` are the exceptions that count, by class or base class; all of them by default.
    """
    breaker, counted = Breaker(label, failures=failures, seconds=_above_0("seconds", seconds), clock=clock), _names(on)

    def walk(record: Any, context: Any, calls: Sequence[Part]) -> Walk:
        breaker.enter()
        try:
            out = yield calls[0](record, context)
        except Exception as error:
            kinds = {kind.__name__ for kind in type(error).__mro__}
            (breaker.failure if not counted or counted & kinds else breaker.success)()
            raise
        except BaseException:
            breaker.nothing()
            raise
        breaker.success()
        return out

    return composed(walk, [of])


def rate_limit(
    of: Function, *, label: str, per_second: float, burst: int = 1, clock: Clock = time.monotonic
) -> Function:
    """The function, called so many times a second on average and `burst` times at once; a call that comes too early waits.

    A function that is not async waits by blocking its thread, so in a machine with async functions it should be one.
    """
    limit, pause = RateLimit(per_second, burst=burst, clock=clock), asyncio.sleep if is_async(of) else time.sleep

    def walk(record: Any, context: Any, calls: Sequence[Part]) -> Walk:
        if wait := limit.reserve():
            yield pause(wait)
        return (yield calls[0](record, context))

    return composed(walk, [of])


def bulkhead(
    of: Function,
    *,
    label: str,
    at_once: int = 10,
    waiting: int = 0,
    timeout: float | None = None,
    clock: Clock = time.monotonic,
) -> Function:
    """The function, with so many calls under way at once, and so many that wait for their turn, in order, for `timeout` seconds.

    One call more is refused with `ResourceBusy`, one that waited too long with `ResourceTimeout`.
    """
    if waiting < 0:
        raise ValueError(f"waiting is a number of calls of at least 0, not {waiting}")
    settings = PoolSettings(size=at_once, waiting=waiting, timeout=timeout, idle=None, lifetime=None)
    pool, numbers = Pool(label, Given(None), settings, clock=clock), itertools.count(1)
    ended: Callable[[Any], Any] = afinish if is_async(of) else finish

    def walk(record: Any, context: Any, calls: Sequence[Part]) -> Walk:
        lease = yield ended(pool.take(Owner(f"call {next(numbers)}")))
        try:
            return (yield calls[0](record, context))
        finally:
            pool.lose(lease)  # a place is all it is; this never waits, so a call that is cancelled gives it back too

    return composed(walk, [of])


GUARDS: Final[Mapping[str, Callable[..., Function]]] = {
    "circuit_breaker": circuit_breaker,
    "rate_limit": rate_limit,
    "bulkhead": bulkhead,
}


def _names(on: Sequence[str]) -> frozenset[str]:
    return frozenset((on,) if isinstance(on, str) else on)


def _above_0(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} is more than 0, not {value}")
    return value
