"""`http_client`: asks a service for messages, again and again, or reads what it goes on sending.

Fields as documented for Benthos (`setpoint.flows.http` has those of the service): `verb` and `payload` of the request,
`drop_empty_bodies`, `extract_headers`, `stream`. Beyond Benthos there are `interval`, from the beginning of one request to that of the
next, and `max_body_size`.

**Polling.** Each answer is a message, with the meta `http_status_code` and the headers that `extract_headers` names. The connection counts
as up once the first answer was good, and as lost, with the reason, when a request still fails after its `retries`; answers in `drop_on` are
readings that failed, and no more. A request is made when the flow wants the next message, so what it gets is fresh, however long its output
made it wait.

**Streaming.** With `stream.enabled` the answer is read for as long as it comes, and cut by `stream.scanner`. Nothing for
`stream.idle_timeout` counts as a lost connection. What a service sent while we were away is not for us; nor is a message acknowledged to
it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from setpoint.flows.component import ConnectError, Context, Duration, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.http import Ask, HttpFault, HttpFields, Peer, Verb
from setpoint.flows.inputs.scanner import Scanner

if TYPE_CHECKING:
    import httpx

KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A peer that is gone without a word is noticed by the kernel after a minute."""


def _fixed(text: str) -> str:
    if "${!" in text:
        raise ValueError("there is no message yet whose values could be filled in")
    return text


class Stream(ComponentFields):
    """Whether the answer is read as it comes, and how it is cut."""

    enabled: bool = False
    reconnect: bool = True
    idle_timeout: Duration = Field(default=300.0, gt=0, le=86_400)
    scanner: Scanner = Scanner()


class Extract(ComponentFields):
    """Headers of the answer that become meta, by how their names begin (in small letters)."""

    include_prefixes: tuple[str, ...] = ()


class HttpClient:
    """Reads what a service answers."""

    class Fields(HttpFields):
        url: Annotated[str, AfterValidator(_fixed)]
        verb: Verb = "GET"
        payload: str = ""
        interval: Duration = Field(default=1.0, ge=0, le=86_400)
        drop_empty_bodies: bool = True
        max_body_size: int = Field(default=10_000_000, ge=1, le=1_000_000_000)
        extract_headers: Extract = Extract()
        stream: Stream = Stream()

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields, self._context = fields, context
        self._ask = Ask(fields.verb, fields.url, body=fields.payload.encode())
        self._prefixes = tuple(prefix.lower() for prefix in fields.extract_headers.include_prefixes)
        self._peer: Peer | None = None
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._cutter = fields.stream.scanner.start(context.failed)
        self._due = context.now()
        self._next: asyncio.Task[list[Msg] | None] | None = None

    async def connect(self) -> None:
        """Asks for the first time. Raises `ConnectError`."""
        await self.close()
        self._peer = Peer(self._fields, self._context, final=frozenset(self._fields.drop_on), told=self._context.failed)
        self._due = self._context.now()
        if self._fields.stream.enabled:
            await self._open(self._peer)
        else:
            first = self._begin()
            await asyncio.wait({first})
            if error := first.exception():
                self._next = None
                raise error

    async def read(self) -> list[Msg] | None:
        """The next messages. A request that was begun goes on when this is cancelled, and the next call has its answer."""
        if self._peer is None:
            raise ConnectError("not connected")
        task = self._begin()
        await asyncio.wait({task})
        self._next = None
        return task.result()

    def _begin(self) -> asyncio.Task[list[Msg] | None]:
        if self._next is None:
            assert self._peer is not None
            work = self._piece() if self._fields.stream.enabled else self._poll(self._peer)
            self._next = asyncio.get_running_loop().create_task(work)
        return self._next

    async def _poll(self, peer: Peer) -> list[Msg] | None:
        now = self._context.now()
        if self._due > now:
            await asyncio.sleep(self._due - now)
        self._due = max(self._due + self._fields.interval, self._context.now())
        try:
            answer = await peer.ask(self._ask, limit=self._fields.max_body_size)
        except HttpFault as fault:
            if fault.status not in self._fields.drop_on:
                raise ConnectError(str(fault)) from fault
            self._context.failed(str(fault))
            return []
        if not answer.body and self._fields.drop_empty_bodies:
            return []
        return [Msg(answer.body, self._meta(answer.status, answer.headers))]

    def _meta(self, status: int, headers: httpx.Headers) -> dict[str, str]:
        meta = {name: value for name, value in headers.items() if self._prefixes and name.startswith(self._prefixes)}
        meta["http_status_code"] = str(status)
        return meta

    async def _open(self, peer: Peer) -> None:
        try:
            self._response = await peer.open(self._ask)
        except HttpFault as fault:
            raise ConnectError(str(fault)) from fault
        own = self._response.extensions["network_stream"].get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            own.setsockopt(socket.IPPROTO_TCP, option, value)
        self._chunks = self._response.aiter_raw()
        self._cutter = self._fields.stream.scanner.start(self._context.failed)

    async def _piece(self) -> list[Msg] | None:
        """The messages of what comes next."""
        import httpx

        assert self._peer is not None
        assert self._response is not None
        assert self._chunks is not None
        idle = self._fields.stream.idle_timeout
        try:
            async with asyncio.timeout(idle):
                chunk = await anext(self._chunks, b"")
        except TimeoutError:
            raise ConnectError(f"{self._peer.name} has sent nothing for {idle:g} s") from None
        except httpx.HTTPError as error:
            raise ConnectError(str(self._peer.failed(error))) from error
        meta = self._meta(self._response.status_code, self._response.headers)
        found = [Msg(payload, dict(meta)) for payload in (self._cutter.feed(chunk) if chunk else self._cutter.end())]
        if chunk or found:
            return found
        if self._fields.stream.reconnect:
            raise ConnectError(f"{self._peer.name} has ended what it sent")
        return None

    async def acknowledge(self) -> None:
        """A service that is asked does not hear what became of its answers."""

    async def close(self) -> None:
        task, self._next = self._next, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            with suppress(BaseException):
                task.exception()
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()
