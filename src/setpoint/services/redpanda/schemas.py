"""Schemas kept in a registry: a task that has them there, and looks again from time to time whether they still are.

Nobody waits for it. What it could not do is in `fault` and is tried again, at first after a second and then more and more slowly; when all
is as wanted it looks every few minutes, because whoever else writes to a registry does so rarely and each look asks for every subject.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from setpoint.services.blocking import in_thread
from setpoint.services.redpanda.admin import AdminError
from setpoint.services.redpanda.registry import Schemas

LOOK_EVERY_S: Final = 300.0
FIRST_RETRY_S: Final = 1.0
SLOWEST_RETRY_S: Final = 10.0

Wanted = Callable[[], Mapping[str, Mapping[str, Any]]]


class KeptSchemas:
    """The schemas of one registry, from `begin` to `close`. For the event loop's thread.

    `make` makes the registry's client and `wanted` the schemas by subject; both may take their time, and are called in a thread.
    """

    def __init__(self, make: Callable[[], Schemas], wanted: Wanted) -> None:
        self._make, self._wanted = make, wanted
        self.fault = ""
        """Why not all is as wanted, as of the last look."""
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Have them there from now on. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def want(self, wanted: Wanted) -> None:
        """Have these there, and of those that are ours no others, at once."""
        self._wanted = wanted
        self._news.set()

    async def close(self) -> None:
        """Look no more; what is there stays. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep(self) -> None:
        retry = FIRST_RETRY_S
        while True:
            self._news.clear()
            self.fault = await self._look()
            pause, retry = (retry, min(2 * retry, SLOWEST_RETRY_S)) if self.fault else (LOOK_EVERY_S, FIRST_RETRY_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()
                retry = FIRST_RETRY_S

    async def _look(self) -> str:
        """Has all as wanted; why not, or nothing."""
        try:
            wanted = await in_thread(self._wanted)
            async with await in_thread(self._make) as registry:
                return (await registry.keep(wanted)).fault
        except AdminError as error:
            return str(error)
        except Exception as error:  # whatever it is: silence would look like success
            return f"it cannot be asked: {str(error) or type(error).__name__}"
