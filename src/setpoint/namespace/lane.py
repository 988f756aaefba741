"""A lane: one thread that runs blocking calls one after another and hands their results to the event loop.

The log uses two, one for all that writes and one for all that reads, so that neither waits for the other and what
happens within a lane needs no locks. The thread is a daemon: a call that hangs on a dead disk must not keep the
process from ending. Cancelling the future of a call does not stop the call; its result is dropped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

from setpoint.namespace.broker import BrokerError

Args = TypeVarTuple("Args")
T = TypeVar("T")
_Call = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Lane:
    """Starts its thread when made; `stop` ends it after the calls already given."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._stopped = False
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def run(self, function: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
        """Has the lane call `function` with `args` after all it was given before. Must be called in an event loop.

        Raises `BrokerError` once the lane is stopped: nobody would answer.
        """
        if self._stopped:
            raise BrokerError("the broker is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((loop, future, function, args))
        return future

    def stop(self) -> None:
        """Lets the thread end once it has run what it was given."""
        self._stopped = True
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            loop, future, function, args = call
            result, fault = None, None
            try:
                result = function(*args)
            except BaseException as raised:
                fault = raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, fault)
            except RuntimeError:  # the loop is closed: nobody waits any more
                continue
            finally:
                del call, future, function, args, result, fault  # nothing of the last call stays alive while idle


def _settle(future: asyncio.Future[Any], result: Any, fault: BaseException | None) -> None:
    if future.done():
        return
    if fault is None:
        future.set_result(result)
    else:
        future.set_exception(fault)
