"""Vitals: what an agent knows of itself, for the agent monitor.

A task of the agent that ends by itself has crashed: none of them is meant to. Others may crash in what the agent is made of (a connection,
a server, the runtime itself); nobody waits for them, so their errors end up with the event loop, which is listened to. Such an error is
shown for a while, as nobody can say when it is over. How late the runtime is comes from its own counts, over the last minute.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from setpoint.control.tally import Lag
from setpoint.workers.agent_monitor import AgentObserved

LAG_OVER_S: Final = 60.0
LEAST_TIMERS: Final = 100
"""Of fewer timers, one in a hundred is none."""
CRASH_SHOWN_S: Final = 600.0
MOST_SHOWN: Final = 5

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class Vitals:
    """Reads them. `troubles` are asked what is the matter with what is kept, by name."""

    def __init__(self, troubles: Mapping[str, Callable[[], str]]) -> None:
        self._troubles = troubles
        self._tasks: Sequence[asyncio.Task[None]] = ()
        self._lag = Lag()
        self._counts: deque[tuple[float, list[int]]] = deque()
        self._crashes: deque[tuple[float, str]] = deque(maxlen=MOST_SHOWN)
        self._before: Handler | None = None

    def begin(self, tasks: Sequence[asyncio.Task[None]], lag: Lag) -> None:
        """From now on these are the agent's own tasks, and this is how late its runtime is; the running loop is listened to."""
        loop = asyncio.get_running_loop()
        self._tasks, self._lag = tasks, lag
        self._before = loop.get_exception_handler()
        loop.set_exception_handler(self._hear)

    def end(self) -> None:
        """Nothing that happens from now on is a crash."""
        self._tasks, loop = (), asyncio.get_running_loop()
        if loop.get_exception_handler() == self._hear:
            loop.set_exception_handler(self._before)

    def read(self) -> AgentObserved:
        """All of them, now."""
        now = asyncio.get_running_loop().time()
        troubles = ((name, ask()) for name, ask in self._troubles.items())
        return AgentObserved(
            measured=True,
            crashed=(*self._ended(), *(text for at, text in self._crashes if now - at < CRASH_SHOWN_S)),
            tick_lag_p99_ms=self._lag_p99_ms(now),
            troubles=tuple(f"{name}: {text}" for name, text in troubles if text),
        )

    def _ended(self) -> list[str]:
        done = [task for task in self._tasks if task.done() and not task.cancelled()]
        return [f"{_name(task)} has crashed: {_error_text(task.exception())}" for task in done]

    def _hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop has an error that nobody waits for. Those of a connection to somebody else are no crash."""
        where = context.get("task") or context.get("future") or context.get("handle")
        if where is not None and "exception" in context:
            name = _name(where) if isinstance(where, asyncio.Task) else "a callback"
            self._crashes.append((loop.time(), f"{name} has crashed: {_error_text(context['exception'])}"))
        if self._before is not None:
            self._before(loop, context)
        else:
            loop.default_exception_handler(context)

    def _lag_p99_ms(self, now: float) -> float:
        counts = self._counts
        counts.append((now, list(self._lag.counts)))
        while len(counts) > 2 and counts[1][0] <= now - LAG_OVER_S:
            counts.popleft()
        timers = [after - before for before, after in zip(counts[0][1], self._lag.counts, strict=True)]
        return 1000.0 * p99_of(timers) if sum(timers) >= LEAST_TIMERS else 0.0


def p99_of(timers: Sequence[int]) -> float:
    """The upper bound, in seconds, of the bucket that 99 % of the timers were within; the last bound stands for all above it too."""
    within = 0
    for count, bound in zip(timers, Lag.BUCKETS, strict=False):
        within += count
        if within >= 0.99 * sum(timers):
            return bound
    return Lag.BUCKETS[-1]


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


def _error_text(error: BaseException | None) -> str:
    if error is None:
        return "it ended"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
