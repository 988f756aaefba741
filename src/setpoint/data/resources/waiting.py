"""How an operation on resources waits: written once, for runs with an event loop and for runs without.

An operation is a generator that yields what it must wait for: something to await (an async provider's coroutine), a `Pause`, or a
`Ticket`, its place in a pool's queue. `finish` drives it without an event loop and blocks; `afinish` drives the same generator and
awaits. Whatever goes wrong while it waits, cancellation too, is raised in the generator at that place, which puts back what it holds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

from setpoint.data.resources.provider import Owner, ResourceError

Answer = TypeVar("Answer")


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Ticket:
    """A place in a queue. `granted` is set, under the lock of the queue, when its turn has come or `refusal` says that it never will."""

    __slots__ = ("_lock", "_wake", "granted", "item", "owner", "refusal", "timeout")

    def __init__(self, lock: threading.Lock, owner: Owner, timeout: float | None) -> None:
        self._lock = lock
        self.owner = owner
        self.timeout = timeout
        self.granted = False
        self.item: Any = None
        self.refusal: Exception | None = None
        self._wake: Callable[[], object] | None = None

    def grant(self) -> bool:
        """Its turn has come (the lock is held). False when whoever waited is gone with its event loop."""
        self.granted = True
        try:
            if self._wake is not None:
                self._wake()
        except RuntimeError:
            self.granted = False
        return self.granted

    def wait(self) -> None:
        """Blocks until it is granted, or the time is over."""
        event = threading.Event()
        if self._must_wait(event.set):
            event.wait(self.timeout)

    async def awaited(self) -> None:
        """Like `wait`, for a task."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def resolve() -> None:
            if not future.done():
                future.set_result(None)

        if self._must_wait(lambda: loop.call_soon_threadsafe(resolve)):
            await asyncio.wait({future}, timeout=self.timeout)

    def _must_wait(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            self._wake = wake
            return not self.granted


Steps = Generator[Awaitable[Any] | Pause | Ticket, Any, Answer]


def finish(steps: Steps[Answer]) -> Answer:
    """Drive the operation here, blocking. Raises `ResourceError` in it where it needs an event loop."""
    resume: Callable[[Any], Any] = steps.send
    value: Any = None
    try:
        while True:
            pending = resume(value)
            try:
                _blocked(pending)
                resume, value = steps.send, None
            except BaseException as error:
                resume, value = steps.throw, error
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer


async def afinish(steps: Steps[Answer]) -> Answer:
    """Drive the operation in the running event loop."""
    resume: Callable[[Any], Any] = steps.send
    value: Any = None
    try:
        while True:
            pending = resume(value)
            try:
                resume, value = steps.send, await _awaited(pending)
            except BaseException as error:
                resume, value = steps.throw, error
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    finally:
        steps.close()


def _blocked(pending: Awaitable[Any] | Pause | Ticket) -> None:
    if isinstance(pending, Pause):
        time.sleep(pending.seconds)
        return
    if isinstance(pending, Ticket):
        pending.wait()
        return
    close = getattr(pending, "close", None)
    if close is not None:
        close()
    raise ResourceError("an async resource needs an event loop: use the async door (aprocess), or a sync resource")


async def _awaited(pending: Awaitable[Any] | Pause | Ticket) -> Any:
    if isinstance(pending, Pause):
        return await asyncio.sleep(pending.seconds)
    if isinstance(pending, Ticket):
        return await pending.awaited()
    return await pending
