"""`stdout`: prints messages, one a line. Codecs as Benthos names them: `lines` and `append`.

All flows share one standard output. Batches are written one after the other and never mixed; while its reader does not read, the flows that
print wait, and nothing else does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Literal
from weakref import WeakKeyDictionary

from setpoint.flows.component import ConnectError, Context, Msg, WriteError, serialized
from setpoint.flows.component import Fields as ComponentFields
from setpoint.services.blocking import in_thread

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class Stdout:
    """Prints to the program's standard output."""

    class Fields(ComponentFields):
        codec: Literal["lines", "append"] = "lines"

    def __init__(self, fields: Fields, context: Context) -> None:
        self._end = b"\n" if fields.codec == "lines" else b""

    async def connect(self) -> None:
        try:
            os.fstat(1)
        except OSError as error:
            raise ConnectError(f"standard output is closed: {error.strerror}") from error

    def prepare(self, msg: Msg) -> bytes:
        return serialized(msg.payload) + self._end

    async def write(self, batch: Sequence[bytes]) -> int:
        data = b"".join(batch)
        async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            try:
                await in_thread(lambda: _print(data))
            except OSError as error:
                raise WriteError(f"standard output cannot be written: {error.strerror}") from error
        return len(data)

    async def close(self) -> None:
        """Standard output is the program's."""


def _print(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
