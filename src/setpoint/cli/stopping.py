"""Signals: how a program that runs for long is told to stop, and an end that nothing can hold up.

The first SIGINT or SIGTERM asks to stop in order. The second ends the process at once: what is known is stored, if that takes no longer
than `SAVE_S`, and nothing else is waited for; a third does not even wait for that. A process that has not ended `LAST_RESORT` after the
first is ended in the same way by a thread of its own, so that code which blocks the event loop or ignores its cancellation cannot keep it.
SIGHUP, which a closed terminal sends, too, asks to stop like the others, or for what the program gives it for.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from setpoint.cli.trouble import AT_ONCE

if TYPE_CHECKING:
    import asyncio

LAST_RESORT = 9.5
"""Seconds after the first signal at which the process ends whatever still runs; a container engine kills it after 10."""
SAVE_S = 1.0


class Stop:
    """Whether the process has been told to stop. Make it in the main thread; it takes the signals over from then on.

    The handlers are plain ones, not the loop's: they are called even while something blocks the loop. With `hangups`, SIGHUP does not stop
    the process but is waited for by `hung_up`. `save` is asked to store what is known before the process is ended in no order, and says
    whether it did.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, hangups: bool = False) -> None:
        import asyncio

        self.save: Callable[[float], bool] = lambda seconds: True
        self._loop = loop
        self._told, self._hung_up = asyncio.Event(), asyncio.Event()
        self._signals = 0
        signal.signal(signal.SIGINT, self._obey)
        signal.signal(signal.SIGTERM, self._obey)
        signal.signal(signal.SIGHUP, self._note_hangup if hangups else self._obey)

    async def wait(self) -> None:
        """Wait until the process is told to stop."""
        await self._told.wait()

    async def hung_up(self) -> None:
        """Wait until there has been a SIGHUP since the last time; many of them at once are one."""
        await self._hung_up.wait()
        self._hung_up.clear()

    def __bool__(self) -> bool:
        return self._signals > 0

    def _note_hangup(self, number: int, frame: object) -> None:
        self._set(self._hung_up)

    def _obey(self, number: int, frame: object) -> None:
        self._signals += 1
        if self._signals > 2:
            os._exit(AT_ONCE)
        if self._signals == 2:
            _begin(0.0, lambda: self._end("stopped at once; what ran was not waited for"))
            return
        _begin(LAST_RESORT, lambda: self._end(f"setpoint: not stopped within {LAST_RESORT:g} s; ended by force"))
        self._set(self._told)
        tell("stopping; once more to stop at once")

    def _set(self, event: asyncio.Event) -> None:
        with suppress(RuntimeError):  # the loop has ended, and all that it had to do is done
            self._loop.call_soon_threadsafe(event.set)

    def _end(self, why: str) -> NoReturn:
        """In threads of their own: neither what the main thread holds while it is interrupted, nor a disk or a terminal that hangs, is
        waited for."""
        saved: list[bool] = []
        _begin(0.0, lambda: saved.append(self.save(SAVE_S))).join(SAVE_S)
        _begin(0.0, lambda: tell(why if saved == [True] else f"{why}; the last news could not be stored")).join(SAVE_S)
        os._exit(AT_ONCE)


def _begin(seconds: float, call: Callable[[], object]) -> threading.Thread:
    """Call it in a thread that keeps nothing from ending, so many seconds from now."""
    thread = threading.Timer(seconds, call)
    thread.daemon = True
    thread.start()
    return thread


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
