"""A small HTTP/1.1 server for what comes from anybody: bounded in everything, by h11 (which parses) over asyncio's streams.

A server for web pages gives a client as long as it likes to send its request. This one does not: a head must be there `HEAD_WITHIN` seconds
after the connection or the last answer, its body `body_within` after the head, in `max_body` bytes, and answers must be taken within
`TAKEN_WITHIN`. Who breaks that is answered where that is possible and then cut off. There are at most `CONNECTIONS` connections.

`judge` sees the head of each request, and how many others are not answered yet; it may answer at once, before any of the body is read.
`take` answers the whole. Both give a `Reply`. `told` hears of requests that were admitted, and then turned out too large or too slow.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

import h11

log = logging.getLogger("setpoint.flows")

HEAD_WITHIN: Final = 30.0
TAKEN_WITHIN: Final = 10.0
LINGER: Final = 1.0
"""Seconds in which a client that was answered early may still send: a connection that is closed under it would lose it the answer."""
CONNECTIONS: Final = 500
HEAD_BYTES: Final = 16_384
CHUNK: Final = 65_536
HANDSHAKE_WITHIN: Final = 10.0


class Head(NamedTuple):
    """What is known of a request before its body. Names of headers are in small letters."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    remote: str

    def header(self, name: str) -> str:
        """The value of the first header of that name, or nothing."""
        return next((value for each, value in self.headers if each == name), "")


class Reply(NamedTuple):
    """An answer: its status, what it says, and more headers."""

    status: int
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class _Refused(Exception):
    """The request is answered with this before all of it was read."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


TOO_LARGE: Final = Reply(413, "the body is too large")


class Server:
    """Listens on one address."""

    def __init__(
        self,
        *,
        judge: Callable[[Head, int], Reply | None],
        take: Callable[[Head, bytes], Awaitable[Reply]],
        told: Callable[[str], None],
        max_body: int,
        body_within: float,
    ) -> None:
        self._judge, self._take, self._told = judge, take, told
        self._max_body, self._body_within = max_body, body_within
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()
        self._in_flight = 0

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listens; gives the port, which may have been 0. Raises `OSError`."""
        handshake = HANDSHAKE_WITHIN if tls else None
        self._server = await asyncio.start_server(self._serve, host, port, ssl=tls, ssl_handshake_timeout=handshake)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self, within: float) -> None:
        """Listens no more, and ends all connections: idle ones at once, the others when they are answered, within so many seconds."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in self._idle:
            task.cancel()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=within)
            for task in late:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(_Connection(reader, writer, self._max_body, self._body_within), task)
        except (OSError, TimeoutError, h11.ProtocolError, asyncio.CancelledError, EOFError):
            pass  # the client is gone, or is sent away
        finally:
            self._connections.discard(task)
            self._idle.discard(task)
            writer.close()

    async def _converse(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        """Request after request."""
        if len(self._connections) > CONNECTIONS:
            await connection.answer(Reply(503, "too many connections", (("Retry-After", "1"),)), last=True)
            return
        while True:
            self._idle.add(task)
            try:
                head = await connection.head()
                self._idle.discard(task)
                if head is None:
                    return
                reply = await self._answered(connection, head)
            except _Refused as refused:
                await connection.answer(refused.reply, last=True)
                await connection.linger()
                return
            if not await connection.answer(reply, last=self._server is None):
                return

    async def _answered(self, connection: _Connection, head: Head) -> Reply:
        """The answer to a request that was read to its end. Raises `_Refused` for one that was not."""
        if (reply := self._judge(head, self._in_flight)) is not None:
            raise _Refused(reply)
        self._in_flight += 1
        try:
            return await self._take(head, await connection.body(head))
        except _Refused as refused:
            self._told(f"{head.remote} was answered {refused.reply.status}: {refused.reply.text}")
            raise
        finally:
            self._in_flight -= 1


class _Connection:
    """One client."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_body: int, body_within: float
    ) -> None:
        self._reader, self._writer = reader, writer
        self._max_body, self._body_within = max_body, body_within
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        peer = writer.get_extra_info("peername")
        self._remote = str(peer[0]) if peer else ""
        self._method = ""

    async def head(self) -> Head | None:
        """The head of the next request, or None where there is none. Raises `_Refused` for what is no HTTP."""
        try:
            async with asyncio.timeout(HEAD_WITHIN):
                event = await self._event()
        except TimeoutError:
            if self._http.trailing_data[0]:
                raise _Refused(Reply(408, "the request did not come in time")) from None
            return None
        if not isinstance(event, h11.Request):
            return None
        target, _, query = event.target.decode("ascii").partition("?")
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers]
        self._method = event.method.decode("ascii")
        return Head(self._method, unquote(target), parse_qsl(query, True), headers, self._remote)

    async def body(self, head: Head) -> bytes:
        """All of the body. Raises `_Refused` for one that is too large or too slow."""
        if int(head.header("content-length") or 0) > self._max_body:
            raise _Refused(TOO_LARGE)
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_within):
                while isinstance(event := await self._event(), h11.Data):
                    body += event.data
                    if len(body) > self._max_body:
                        raise _Refused(TOO_LARGE)
        except TimeoutError:
            raise _Refused(Reply(408, "the body did not come in time")) from None
        if not isinstance(event, h11.EndOfMessage):
            raise EOFError
        return bytes(body)

    async def answer(self, reply: Reply, *, last: bool) -> bool:
        """Sends it; whether the connection can have another request."""
        text = f"{reply.text}\n".encode() if reply.text and self._method != "HEAD" else b""
        headers = [("Content-Length", str(len(text))), ("Content-Type", "text/plain; charset=utf-8"), *reply.headers]
        headers += [("Connection", "close")] if last else []
        async with asyncio.timeout(TAKEN_WITHIN):
            await self._send(
                h11.Response(status_code=reply.status, headers=headers), h11.Data(data=text), h11.EndOfMessage()
            )
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def linger(self) -> None:
        """Lets a client that is still sending come to read the answer."""
        with suppress(OSError, TimeoutError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(LINGER):
                while await self._reader.read(CHUNK):
                    pass

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(CHUNK))
        except h11.RemoteProtocolError as error:
            raise _Refused(Reply(error.error_status_hint, f"this is no request: {error}")) from None
        return event

    async def _send(self, *events: h11.Event) -> None:
        for event in events:
            if data := self._http.send(event):
                self._writer.write(data)
        await self._writer.drain()
