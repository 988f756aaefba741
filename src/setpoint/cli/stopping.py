"""Stopping: signals, and an end that nothing can hold up.

The first SIGINT, SIGTERM or SIGHUP asks to stop in order; the second ends the process at once. A process that has not ended half a minute
after the first is ended by a thread of its own, so that code which blocks the event loop or ignores its cancellation cannot keep it.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from setpoint.cli.trouble import FAILED

if TYPE_CHECKING:
    import asyncio

LAST_RESORT = 30.0
"""Seconds after the first signal at which the process ends whatever still runs."""


class Stop:
    """Whether the process has been told to stop. Make it in the main thread; it takes the signals over from then on.

    The handlers are plain ones, not the loop's: they are called even while something blocks the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        self._loop = loop
        self._told = asyncio.Event()
        self._signals = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._obey)

    async def wait(self) -> None:
        """Wait until the process is told to stop."""
        await self._told.wait()

    def __bool__(self) -> bool:
        return self._signals > 0

    def _obey(self, number: int, frame: object) -> None:
        import threading

        self._signals += 1
        if self._signals > 1:
            tell("stopped at once; what ran was not waited for")
            os._exit(FAILED)
        tell("stopping; once more to stop at once")
        last = threading.Timer(LAST_RESORT, _give_up)
        last.daemon = True
        last.start()
        self._loop.call_soon_threadsafe(self._told.set)


def _give_up() -> NoReturn:
    tell(f"setpoint: not stopped within {LAST_RESORT:g} s; ended by force")
    os._exit(FAILED)


def leave(code: int) -> NoReturn:
    """End the process now. All that had to be written has been; tasks and threads that do not listen are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def tell(text: str) -> None:
    """A line to stderr, past all buffers, so that a signal handler may write it as well."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="replace"))
