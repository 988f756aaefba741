"""Virtual time: an asyncio loop whose clock jumps to the next timer when nothing is ready to run.

``run(main())`` runs a coroutine on such a loop: an hour of sleeping takes no time, and every run with the same inputs takes the same steps.
Real I/O still works: file descriptors and other threads are looked at before the clock jumps, but the clock does not wait for them.

A test that waits for what never comes would wait for ever: on an ordinary loop asleep, on this one racing through the years. Both end
in `WaitsForEver`, which names what each task waits for: at once where nothing is left that could wake anybody, else after `patience`
seconds of real time. Code that never gives the loop back (``while True: pass``) cannot be interrupted from here.

There are two clocks, as in the real world, and each can misbehave on its own: `jump_wall` sets the time of day back or forward, as an
operator or NTP does; `freeze` lets time pass in which the process did not run, as a suspended machine does.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

EPOCH: Final = 1_700_000_000.0
"""Wall time, in seconds since the epoch, at which virtual time begins."""
PATIENCE_S: Final = 60.0
"""Real seconds that a run may take."""
IDLE_S: Final = 1.0
"""Real seconds to wait for a thread that was there before, where nothing else could wake the loop."""
CLEANING_S: Final = 5.0
"""Real seconds that tasks get to end, once the run has been given up."""
TASKS_SHOWN: Final = 10


class WaitsForEver(RuntimeError):
    """The run cannot end, or has not within its real time: what waits, and where, is in the message."""


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop would wait for its next timer, the clock jumps there instead."""

    next_timer: Callable[[], float]
    stuck: Callable[[str], WaitsForEver]

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.now = 0.0
        self._patience = patience
        self._ends_at = time.monotonic() + patience
        self._threads_before = set(threading.enumerate())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if time.monotonic() > self._ends_at:
            raise self._given_up(f"not done after {self._patience:g} s of real time, at {self.now:g} s of virtual time")
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # no timer at all: only another thread or a descriptor can go on
            return self._wait_for_others()
        self.now = max(self.now, self.next_timer())  # exactly there; adding the time-out would round
        return ready

    def _wait_for_others(self) -> list[tuple[selectors.SelectorKey, int]]:
        left = max(0.0, self._ends_at - time.monotonic())
        others = set(threading.enumerate()) - self._threads_before
        nobody = not others and len(self.get_map()) <= 1  # the loop's own wake-up pipe
        if nobody:
            left = min(left, IDLE_S if len(self._threads_before) > 1 else 0.0)
        ready = super().select(left)
        if not ready:
            why = "and no timer is set" if nobody else "for a thread or descriptor that does not come"
            raise self._given_up(f"everything waits, {why}, at {self.now:g} s of virtual time")
        return ready

    def _given_up(self, why: str) -> WaitsForEver:
        self._ends_at = time.monotonic() + CLEANING_S
        return self.stuck(why)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time that starts at 0 seconds, and `patience` in real seconds."""

    _scheduled: list[asyncio.TimerHandle]  # of asyncio's BaseEventLoop: the timers, earliest first

    def __init__(self, patience: float = PATIENCE_S) -> None:
        self._jumping = _JumpingSelector(patience)
        super().__init__(self._jumping)
        self._jumping.next_timer = self._next_timer
        self._jumping.stuck = self._stuck
        self._wall_offset = EPOCH

    def _next_timer(self) -> float:
        return self._scheduled[0].when()

    def time(self) -> float:
        return self._jumping.now

    def wall(self) -> float:
        """Virtual wall time, in seconds since the epoch."""
        return self._wall_offset + self._jumping.now

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back with a negative number. The loop's own time does not notice."""
        self._wall_offset += seconds

    def freeze(self, seconds: float) -> None:
        """Let time pass in which nothing runs; timers that fell due meanwhile are late. Raises `ValueError` for a negative number."""
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"freeze({seconds}): the loop's time cannot go back; expected a finite number of seconds")
        self._jumping.now += seconds

    def _stuck(self, why: str) -> WaitsForEver:
        waiting = [_where(task) for task in asyncio.all_tasks(self)]
        more = f"\n  … and {len(waiting) - TASKS_SHOWN} more" if len(waiting) > TASKS_SHOWN else ""
        return WaitsForEver(f"{why}; waiting are:\n" + "\n".join(f"  {line}" for line in waiting[:TASKS_SHOWN]) + more)


def _where(task: asyncio.Task[Any]) -> str:
    """The task, and the lines at which it waits: where it began, and the innermost one."""
    lines = []
    awaited: Any = task.get_coro()
    while inspect.iscoroutine(awaited) and awaited.cr_frame is not None:
        lines.append(f"{awaited.cr_code.co_filename}:{awaited.cr_frame.f_lineno} in {awaited.cr_code.co_qualname}")
        awaited = awaited.cr_await
    return f"{task.get_name()}: " + " → ".join(dict.fromkeys((lines[0], lines[-1])) if lines else ("ended",))


def virtual_loop() -> VirtualLoop:
    """The running loop. Raises `RuntimeError` when it is not a `VirtualLoop`."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("the running loop has no virtual time; run the test with setpoint.testing.run")
    return loop


def wall() -> float:
    """Virtual wall time of the running loop. Raises `RuntimeError` when that is not a `VirtualLoop`."""
    return virtual_loop().wall()


def jump_wall(seconds: float) -> None:
    """Set the running loop's wall clock forward, or back with a negative number."""
    virtual_loop().jump_wall(seconds)


async def freeze(seconds: float) -> None:
    """Let time pass in which nothing runs, as when the machine is suspended; then let what fell due meanwhile run."""
    virtual_loop().freeze(seconds)
    await asyncio.sleep(0)


def run(main: Coroutine[Any, Any, T], *, patience: float = PATIENCE_S) -> T:
    """Run a coroutine to its end on virtual time, and return its result.

    Raises `WaitsForEver` when it cannot end, or has not after `patience` seconds of real time.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(patience)) as runner:
        return runner.run(main)
