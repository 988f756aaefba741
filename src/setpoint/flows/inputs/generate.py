"""`generate`: makes messages from a mapping, at an interval, as many as asked for. For trials, tests and demonstrations.

Fields as documented for Benthos: `mapping` (the part of Bloblang in `setpoint.flows.bloblang`), `interval` (a duration; empty or 0:
as fast as they are taken), `count` (0: without end), `batch_size`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import AfterValidator, Field

from setpoint.flows.bloblang import Mapping, World
from setpoint.flows.component import Context, Duration, Msg
from setpoint.flows.component import Fields as ComponentFields


def _parses(text: str) -> str:
    unread = Mapping(text).reads
    if unread:
        raise ValueError(f"there is no message yet whose {' and '.join(sorted(unread))} the mapping could read")
    return text


class Generate:
    """Makes messages by a clock; misses beats rather than catching up in a burst."""

    class Fields(ComponentFields):
        mapping: Annotated[str, AfterValidator(_parses)]
        interval: Duration = 1.0
        count: int = Field(default=0, ge=0)
        batch_size: int = Field(default=1, ge=1, le=10_000)

    def __init__(self, fields: Fields, context: Context) -> None:
        self._make = Mapping(fields.mapping).bind(World(context.clock, context.random))
        self._interval = fields.interval
        self._left = fields.count or None
        self._size = fields.batch_size
        self._now = context.now
        self._due: float | None = None

    async def connect(self) -> None:
        self._due = self._now()

    async def read(self) -> list[Msg] | None:
        if self._left == 0:
            return None
        await self._beat()
        size = self._size if self._left is None else min(self._size, self._left)
        if self._left is not None:
            self._left -= size
        made = (self._make(Msg(None, {})) for _ in range(size))
        return [msg for msg in made if msg is not None]

    async def _beat(self) -> None:
        if self._due is None or self._interval == 0:
            return
        now = self._now()
        if self._due > now:
            await asyncio.sleep(self._due - now)
        self._due = max(self._due + self._interval, now)

    async def acknowledge(self) -> None:
        """Nothing to let go of: a message that was made is not made again."""

    async def close(self) -> None:
        pass
