"""Runs one call that may block, such as a write to a full pipe or a dead network disk, without letting it block anything else.

Each call has a daemon thread of its own: a call that never returns keeps neither the loop, nor anybody else, nor the end of the program
waiting, which a shared pool of threads would. For batches, not for single messages: a thread costs some 50 µs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


async def in_thread(call: Callable[[], Answer]) -> Answer:
    """What the call returns or raises. Cancelling stops the waiting, not the call."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()

    def report(answer: Answer | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)  # type: ignore[arg-type]  # no error, so an answer

    def run() -> None:
        answer: Answer | None = None
        error: BaseException | None = None
        try:
            answer = call()
        except BaseException as fault:
            error = fault
        with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits any more
            loop.call_soon_threadsafe(report, answer, error)

    threading.Thread(target=run, name="blocking-call", daemon=True).start()
    return await future
