"""A mock relay: the other end of the wire, as an ASGI application.

    POST /v2/instance/login   Authorization: Bearer <hash of the auth token>   → 200, cookie ``token`` with its life, {"uuid", "name"}
    GET  /v2/instance/pull    cookie ``token``; waits for messages             → 200 {"UMHMessages": [...]}, or 204
    POST /v2/instance/push    cookie ``token``; {"UMHMessages": [...]}         → 200

It is answered over a real socket, or in process where time is virtual. It can be told to fail: with a status, or by not answering at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

MESSAGES = "UMHMessages"
POISON = "poison"
"""Content that the relay refuses for good."""


def bearer(auth_token: str) -> str:
    """What proves the auth token without showing it: the SHA3-256 of its SHA3-256, both in hexadecimal."""
    once = hashlib.sha3_256(auth_token.encode()).hexdigest()
    return hashlib.sha3_256(once.encode()).hexdigest()


@dataclass
class Fault:
    """How the relay answers one push instead of as it should; status 0 is no answer at all. `taken`: it has taken the messages before."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    taken: bool = False


@dataclass
class Asked:
    """A request: when it came, the last word of its path, and the status of the answer; 0 while there is none."""

    at: float
    word: str
    status: int = 0


class Relay:
    """The mock relay. Seconds are of the running loop's clock."""

    def __init__(self, *, auth_token: str, token_life: float, poll: float) -> None:
        self._auth, self._life, self._poll = bearer(auth_token), token_life, poll
        self._tokens: dict[str, float] = {}
        self._news = asyncio.Event()
        self.faults: deque[Fault] = deque()
        """How the next pushes fail."""
        self.outage = False
        """While true, every push and pull is answered with 503."""
        self.asked: list[Asked] = []
        """Every request."""
        self.received: list[Any] = []
        """The contents that were pushed, each once, in the order of their arrival."""
        self.again = 0
        """Messages that arrived once more."""
        self._known: set[str] = set()
        self._outgoing: list[dict[str, Any]] = []

    def send(self, contents: list[Any]) -> None:
        """Have messages for the instance to pull."""
        self._outgoing += [
            {"umhInstance": "edge", "email": "ada@example.com", "content": content} for content in contents
        ]
        self._news.set()

    def revoke(self) -> None:
        """Let no token be valid any more."""
        self._tokens.clear()

    def times(self, word: str) -> list[float]:
        """When requests of that kind came."""
        return [asked.at for asked in self.asked if asked.word == word]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request

        request = Request(scope, receive)
        asked = Asked(asyncio.get_running_loop().time(), request.url.path.rpartition("/")[2])
        self.asked.append(asked)
        response = await self._answer(asked.word, request)
        asked.status = response.status_code
        await response(scope, receive, send)

    async def _answer(self, word: str, request: Request) -> Response:
        from starlette.responses import JSONResponse, Response

        if word == "login":
            return self._login(request)
        if self._tokens.get(request.cookies.get("token", ""), 0.0) < asyncio.get_running_loop().time():
            return Response("the token is not valid", 401)
        if self.outage:
            return Response("no backend", 503)
        if word == "pull":
            batch = await self._pull()
            return JSONResponse({MESSAGES: batch}) if batch else Response(status_code=204)
        return await self._push(json.loads(await request.body())[MESSAGES])

    def _login(self, request: Request) -> Response:
        from starlette.responses import JSONResponse, Response

        if request.headers.get("authorization") != f"Bearer {self._auth}":
            return Response("the auth token is not known", 401)
        token = f"session-{len(self.asked)}"
        self._tokens[token] = asyncio.get_running_loop().time() + self._life
        response = JSONResponse({"uuid": "6a3f", "name": "edge"})
        response.headers["set-cookie"] = f"token={token}; Max-Age={self._life}; HttpOnly"
        return response

    async def _pull(self) -> list[dict[str, Any]]:
        if not self._outgoing:
            self._news.clear()
            try:
                async with asyncio.timeout(self._poll):
                    await self._news.wait()
            except TimeoutError:
                return []
        batch, self._outgoing = self._outgoing[:50], self._outgoing[50:]
        return batch

    async def _push(self, messages: list[dict[str, Any]]) -> Response:
        from starlette.responses import Response

        fault = self.faults.popleft() if self.faults else None
        if any(message["content"] == POISON for message in messages):
            return Response("a message cannot be read", 400)
        if fault is None or fault.taken:
            self._take(messages)
        if fault is None:
            return Response()
        if not fault.status:
            await asyncio.sleep(self._poll)  # longer than anybody waits
        return Response(fault.body, fault.status or 504, fault.headers)

    def _take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["traceId"] in self._known:
                self.again += 1
            else:
                self._known.add(message["traceId"])
                self.received.append(message["content"])


@asynccontextmanager
async def reached(relay: Relay, *, in_process: bool) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """The relay's address and a client that reaches it: over a socket of this machine, or in this process."""
    import httpx

    if in_process:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=relay)) as client:
            yield "http://relay", client
        return
    async with _served(relay) as url, httpx.AsyncClient(trust_env=False) as client:
        yield url, client


@asynccontextmanager
async def _served(relay: Relay) -> AsyncIterator[str]:
    import socket

    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are whoever's who runs the scenario

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(relay, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = Server(config)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.wait({serving}, timeout=3)
