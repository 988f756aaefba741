"""Where a worker under test comes from: a class, an instance, or a function that makes one; and how time is told in a test of it.

What the kit does to a worker it does to the instance, by shadowing methods there: class, machine and types stay those of the author. Times
of scripts and faults count from the moment the first worker was made; they begin anew in each event loop, so that one script can be
played many times.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from setpoint.control import Worker

AnyWorker = Worker[Any, Any, Any]
Source = type[AnyWorker] | AnyWorker | Callable[[], AnyWorker]
"""A worker class whose constructor needs nothing, a worker, or a function without arguments that makes one."""

FOREVER = float("inf")
LONGEST_HANG_S = 3600.0
"""A call that hangs comes back after so long all the same: one that never does could not be cleaned up by the loop."""


class Span(NamedTuple):
    """From `start` until before `end`, in seconds since the test began."""

    start: float
    end: float

    def __contains__(self, now: object) -> bool:
        return isinstance(now, float | int) and self.start <= now < self.end


class Elapsed:
    """Seconds since the first worker was made in the running loop; 0 outside of one."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0

    def begin(self) -> bool:
        """A worker is made. True when it is the first in this loop: what is remembered of an earlier run no longer counts."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # made for a look at it, not to be run
            return False
        if loop is self._loop:
            return False
        self._loop, self._began = loop, loop.time()
        return True

    @property
    def now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time() - self._began


def make(source: Source) -> AnyWorker:
    """A worker from its source. Raises `TypeError` where the source makes none, or needs arguments."""
    if isinstance(source, Worker):
        return source
    missing = missing_arguments(source)
    if missing:
        name = getattr(source, "__name__", type(source).__name__)
        raise TypeError(
            f"{name} is made with {', '.join(missing)}: give the kit a function that makes it, as in lambda: {name}(…)"
        )
    worker = source()
    if not isinstance(worker, Worker):
        raise TypeError(f"{source!r} made a {type(worker).__name__}; expected a Worker")
    return worker


def missing_arguments(source: Callable[..., Any]) -> list[str]:
    """The parameters without a default that calling the source needs."""
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(source).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.kind not in fixed]


def class_of(source: Source) -> type[AnyWorker]:
    """The worker class of a source; where that is a function, by making one."""
    if isinstance(source, type):
        return source
    return type(make(source))


async def hang(seconds: float, *, ignoring_cancellation: bool = False) -> None:
    """Do not come back for so long, at most an hour; if so asked, not even when cancelled."""
    loop = asyncio.get_running_loop()
    until = loop.time() + min(seconds, LONGEST_HANG_S)
    while (left := until - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            if not ignoring_cancellation:
                raise
