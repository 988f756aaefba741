"""`stdin`: reads the program's standard input until it ends. One flow at a time can have it.

Field as documented for Benthos: `scanner` (`setpoint.flows.inputs.scanner`). Where the input is a pipe or a terminal nothing is read before
there is something, and a flow that stops while waiting takes nothing with it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from setpoint.flows.component import ConnectError, Context, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.inputs.file import CHUNK
from setpoint.flows.inputs.scanner import Scanner
from setpoint.services.blocking import in_thread

_STDIN: Final = 0
_owner: list[object] = []


class Stdin:
    """Reads lines of standard input."""

    class Fields(ComponentFields):
        scanner: Scanner = Scanner()

    def __init__(self, fields: Fields, context: Context) -> None:
        self._cutter = fields.scanner.start(context.failed)
        self._ended = False

    async def connect(self) -> None:
        if _owner and _owner[0] is not self:
            raise ConnectError("another flow reads standard input; one at a time can")
        try:
            os.fstat(_STDIN)
        except OSError as error:
            raise ConnectError(f"standard input is closed: {error.strerror}") from error
        _owner[:] = [self]

    async def read(self) -> list[Msg] | None:
        if self._ended:
            return None
        chunk = await self._chunk()
        self._ended = not chunk
        payloads = self._cutter.feed(chunk) if chunk else self._cutter.end()
        return [Msg(payload, {}) for payload in payloads]

    async def _chunk(self) -> bytes:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        try:
            loop.add_reader(_STDIN, lambda: None if readable.done() else readable.set_result(None))
        except PermissionError:  # a regular file is always readable and cannot be waited for
            return await in_thread(lambda: os.read(_STDIN, CHUNK))
        try:
            await readable
        finally:
            loop.remove_reader(_STDIN)
        return os.read(_STDIN, CHUNK)

    async def acknowledge(self) -> None:
        """What was read from a stream cannot be given back."""

    async def close(self) -> None:
        if _owner and _owner[0] is self:
            _owner.clear()
