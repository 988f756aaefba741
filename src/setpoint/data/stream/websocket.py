"""WebSockets (``pip install setpoint[websocket]``): each message in is a record, each record out is a message, as JSON text.

A WebSocket remembers nothing: what was sent while nobody listened is gone, and a resume goes on with what comes next. Within a connection
the server is slowed down when the sink is slow: messages that are not read fill the connection's buffers. A message that is not JSON is
malformed. The stream ends when the server closes the connection normally (1000, 1001); any other end is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from setpoint.data.stream.jsonl import UNREADABLE, encode_each
from setpoint.data.stream.parts import Chunk, Malformed, Mark, Position, Refused, shown

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

HELD = 16
"""Messages that are read ahead at most."""


class WebSocketSource:
    """Reads messages as records. `subscribe` is sent first, as JSON. A chunk is what has come by the time it is asked for."""

    def __init__(self, url: str, *, subscribe: Any = None, max_size: int = 8 << 20) -> None:
        self.name = url.partition("?")[0]
        self._url, self._subscribe, self._max_size = url, subscribe, max_size
        self._connection: ClientConnection | None = None
        self._taken = 0
        self._next: asyncio.Task[str | bytes] | None = None

    async def read(self, limit: int) -> Chunk | None:
        """What has come. Raises `OSError` and what `websockets` raises where the connection is refused or breaks."""
        from websockets.exceptions import ConnectionClosedOK

        connection = await self._connected()
        try:
            messages = [await self._message(connection)]
        except ConnectionClosedOK:
            return None
        while len(messages) < limit:
            self._next = self._next or asyncio.ensure_future(connection.recv())
            await asyncio.sleep(0)
            if not self._next.done() or self._next.exception() is not None:
                break
            messages.append(await self._message(connection))
        return self._chunk(messages)

    async def seek(self, position: Position) -> None:
        """Count on; what was missed is gone."""
        self._taken = position["taken"]

    async def acknowledge(self, position: Position) -> None:
        """Messages are gone already."""

    async def close(self) -> None:
        """Closes the connection."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
            self._next = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _connected(self) -> ClientConnection:
        if self._connection is None:
            self._connection = await _connect(self._url, self._max_size)
            if self._subscribe is not None:
                await self._connection.send(msgspec.json.encode(self._subscribe).decode())
        return self._connection

    async def _message(self, connection: ClientConnection) -> str | bytes:
        pending, self._next = self._next or asyncio.ensure_future(connection.recv()), None
        return await pending

    def _chunk(self, messages: Sequence[str | bytes]) -> Chunk:
        records, places, malformed = [], [], []
        for message in messages:
            self._taken += 1
            try:
                records.append(msgspec.json.decode(message))
                places.append(self._taken)
            except UNREADABLE as error:
                malformed.append(Malformed(self._taken, f"not JSON: {error}", shown(message)))
        return Chunk(records, {"taken": self._taken}, places, malformed)


class WebSocketSink:
    """Sends each record as a message of JSON text; waits while the server does not read."""

    keeps_mark = False

    def __init__(self, url: str) -> None:
        self.name = url.partition("?")[0]
        self._url = url
        self._connection: ClientConnection | None = None

    async def open(self, resume: bool) -> Mark | None:
        """Connect. Raises `OSError` and what `websockets` raises."""
        self._connection = await _connect(self._url, 8 << 20)
        return None

    async def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Send them. Raises what `websockets` raises where the connection broke."""
        if self._connection is None:
            raise ValueError(f"{self._url} is not connected")
        pieces, refused = encode_each(records)
        for piece in pieces:
            await self._connection.send(piece.decode())
        return refused

    async def commit(self, mark: Mark) -> None:
        """Wait until the server has answered a ping: it has read what came before it."""
        if self._connection is not None:
            await (await self._connection.ping())

    async def finish(self) -> None:
        """Close the connection."""
        await self.abort()

    async def abort(self) -> None:
        """Close the connection; what was sent is sent."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()


async def _connect(url: str, max_size: int) -> ClientConnection:
    try:
        from websockets.asyncio.client import connect
    except ImportError:
        raise ValueError("streams over WebSockets need a library: pip install 'setpoint[websocket]'") from None
    return await connect(url, max_size=max_size, max_queue=HELD)
