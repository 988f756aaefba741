"""Virtual time: an asyncio loop whose clock jumps to the next timer when nothing is ready to run.

``run(main())`` runs a coroutine on such a loop: an hour of sleeping takes no time, and every run with the same inputs takes the same steps.
Real I/O still works: file descriptors and other threads are looked at before the clock jumps, but the clock does not wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""Wall time, in seconds since the epoch, at which virtual time begins."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop would wait for its next timer, the clock jumps there instead."""

    now: float = 0.0
    next_timer: Callable[[], float]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # no timer at all: only another thread or a descriptor can go on
            return super().select(None)
        self.now = self.next_timer()  # exactly there; adding the time-out would round
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time that starts at 0 seconds."""

    _scheduled: list[asyncio.TimerHandle]  # of asyncio's BaseEventLoop: the timers, earliest first

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._jumping.next_timer = self._next_timer

    def _next_timer(self) -> float:
        return self._scheduled[0].when()

    def time(self) -> float:
        return self._jumping.now

    def wall(self) -> float:
        """Virtual wall time, in seconds since the epoch."""
        return EPOCH + self._jumping.now


def wall() -> float:
    """Virtual wall time of the running loop. Raises `RuntimeError` when that is not a `VirtualLoop`."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("the running loop has no virtual time; run the test with setpoint.testing.run")
    return loop.wall()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on virtual time, and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
