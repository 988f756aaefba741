"""Calls: worker code run by hand, without an event loop.

A worker's methods are coroutines. Stepping one with ``send(None)`` runs it to its end, or to the point where it waits. Most models of a
world never wait and so cost no more than a function call. One that waits does so in virtual time: by `pause(seconds)`, by `asyncio.sleep`,
or on an `asyncio.Event` that somebody sets. While code runs, `Clock` stands in for the running event loop; whatever else it is asked for
(sockets, threads, processes, tasks) does not exist here, and `NotSimulated` says so.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from types import coroutine
from typing import Any, NoReturn

from setpoint.testing.virtual import EPOCH

FOREVER = float("inf")
Ended = Callable[[Any, str], None]
"""Told how a call ended: its value, and its error as text ("" when there was none)."""


class NotSimulated(BaseException):
    """Worker code asked for something that virtual time does not have. Not an `Exception`: no worker shall take it for its own failure."""


class Pause:
    """What `pause` hands to whoever steps the coroutine."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


@coroutine
def pause(seconds: float) -> Generator[Pause, None, None]:
    """Wait in virtual time; `float("inf")` waits until the call is abandoned. For the simulator only; `asyncio.sleep` works everywhere."""
    yield Pause(seconds)


class Handle:
    """Something that is going to be called; `cancel` takes it back."""

    __slots__ = ("arguments", "callback", "cancelled")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback, self.arguments, self.cancelled = callback, arguments, False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Virtual time, and the one heap of everything that is going to happen outside of the core.

    To worker code it is the running event loop, of which it has the part that concerns time. Wall time is `offset` seconds ahead of it.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.offset = EPOCH
        self.heap: list[tuple[float, int, Handle]] = []
        self._order = 0

    def time(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.offset

    def call_at(self, when: float, callback: Callable[..., object], *arguments: Any, context: object = None) -> Handle:
        handle = Handle(callback, arguments)
        self._order += 1
        heapq.heappush(self.heap, (max(when, self.now), self._order, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *arguments: Any, context: object = None
    ) -> Handle:
        return self.call_at(self.now + delay, callback, *arguments)

    def call_soon(self, callback: Callable[..., object], *arguments: Any, context: object = None) -> Handle:
        return self.call_at(self.now, callback, *arguments)

    def create_future(self) -> asyncio.Future[Any]:
        loop: Any = self
        return asyncio.Future(loop=loop)

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: object) -> None:
        return None

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotSimulated(
            f"worker code asked the event loop for {name!r}; virtual time has only sleeping and waiting: "
            "give the simulation a stand-in for this worker type"
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Stand in for the running event loop."""
        before = asyncio._get_running_loop()
        loop: Any = self
        asyncio._set_running_loop(loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)


class Call:
    """One call of worker code that waits for something."""

    __slots__ = ("_clock", "_code", "_ended", "_waits_for")

    def __init__(self, clock: Clock, code: Coroutine[Any, Any, Any], ended: Ended) -> None:
        self._clock, self._code, self._ended = clock, code, ended
        self._waits_for: Handle | asyncio.Future[Any] | None = None

    def step(self, *, throw: BaseException | None = None) -> None:
        """Run on to the end or to the next wait."""
        self._waits_for = None
        try:
            wanted = self._code.throw(throw) if throw is not None else self._code.send(None)
        except StopIteration as end:
            self._ended(end.value, "")
        except (KeyboardInterrupt, NotSimulated):
            raise
        except BaseException as error:
            self._ended(None, error_text(error))
        else:
            self.wait(wanted)

    def wait(self, wanted: object) -> None:
        """Go on once that has happened which the code waits for."""
        if isinstance(wanted, Pause):
            if wanted.seconds < FOREVER:
                self._waits_for = self._clock.call_later(wanted.seconds, self.step)
        elif wanted is None:
            self._waits_for = self._clock.call_soon(self.step)
        elif isinstance(wanted, asyncio.Future):
            wanted._asyncio_future_blocking = False
            self._waits_for = wanted
            wanted.add_done_callback(self._wake)
        else:
            raise NotSimulated(f"worker code waits for {wanted!r}, which virtual time cannot continue")

    def _wake(self, future: asyncio.Future[Any]) -> None:
        if future is self._waits_for:
            self.step()

    def cancel(self) -> None:
        """Ask the code to end, as cancelling a task does; it may not listen."""
        waits_for = self._waits_for
        if isinstance(waits_for, asyncio.Future):
            waits_for.cancel()
            return
        if waits_for is not None:
            waits_for.cancel()
        self.step(throw=asyncio.CancelledError())

    def drop(self) -> None:
        """The process it ran in is gone."""
        if isinstance(self._waits_for, Handle):
            self._waits_for.cancel()
        self._waits_for = None
        with suppress(RuntimeError):  # code that does not let itself be ended
            self._code.close()


def error_text(error: BaseException) -> str:
    """An error as the runtime writes it."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
