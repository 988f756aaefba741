"""Events: the live stream of what changes, as Server-Sent Events (WHATWG HTML, section 9.2).

    event: workers   all workers, first of all                     event: config   the state of the config file, when it changed
    event: changes   ``{workers: [...], removed: [paths]}``        event: time     the agent's clock, when nothing else was said

Each client has a set of paths that changed since it was last written to, and nothing else: however slow it is, what waits for it never
grows beyond one entry a worker, and what it gets is always the present. It is written to at most five times a second. One that takes no
bytes for ten seconds is dropped; others never notice, because every client is served by a task of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from setpoint.api import shapes
from setpoint.api.errors import Refusal
from setpoint.api.shapes import encode, rfc3339, worker
from setpoint.control.views import view

if TYPE_CHECKING:
    from setpoint.agent import Agent
    from setpoint.control.record import Record

log = structlog.get_logger(__name__)

PAUSE = 0.2
"""Seconds between two writes to one client."""
LOOK = 1.0
"""Seconds after which the config status is looked at, whether or not a worker changed."""
HEARTBEAT = 10.0
"""Seconds of silence after which the time is sent."""
SEND_TIMEOUT = 10.0
"""Seconds after which a client that takes no bytes is dropped."""
MAX_CLIENTS = 64


class Client:
    """What one client has not been told yet."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.wake = asyncio.Event()


class Changes:
    """Listens to the supervisor on behalf of all clients of one application."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.closed = False
        self._clients: set[Client] = set()
        agent.supervisor.listen(self._note)

    def _note(self, record: Record, transition: Any) -> None:
        for client in self._clients:
            client.changed.add(record.path)
            client.wake.set()

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client, for as long as it is served."""
        client = Client()
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)

    @property
    def full(self) -> bool:
        return len(self._clients) >= MAX_CLIENTS

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        for client in self._clients:
            client.wake.set()

    def stream(self) -> Response:
        """The answer to one more client. Raises `Refusal` (503) when there are too many."""
        if self.full or self.closed:
            raise Refusal(503, f"there are {len(self._clients)} event streams open already", "close one and try again")
        return Stream(_bodies(self))


class Stream(Response):
    """The answer that does not end: writes `bodies` to one client until there are no more, it leaves, or it is too slow."""

    media_type = "text/event-stream"

    def __init__(self, bodies: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tasks = {asyncio.create_task(self._write(send)), asyncio.create_task(_left(receive))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _write(self, send: Send) -> None:
        async def put(body: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(SEND_TIMEOUT):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._bodies) as bodies:
                async for body in bodies:
                    await put(body)
            await put(b"", more=False)
        except TimeoutError:
            log.info("event stream dropped: its client took nothing for too long", timeout_s=SEND_TIMEOUT)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _bodies(changes: Changes) -> AsyncGenerator[bytes, None]:
    with changes.client() as client:
        async with aclosing(_news(changes, client)) as news:
            async for body in news:
                yield body


async def _news(changes: Changes, client: Client) -> AsyncGenerator[bytes, None]:
    agent, loop = changes.agent, asyncio.get_running_loop()
    config = encode(shapes.config(agent.config_status()))
    yield (
        b"retry: 1000\n"
        + event("time", now())
        + event("config", config)
        + event("workers", encode([worker(each) for each in agent.supervisor.workers()]))
    )
    spoke = loop.time()
    while not changes.closed:
        await something(client.wake)
        body = b""
        if client.changed:
            body += event("changes", _changes(agent, client))
        if (latest := encode(shapes.config(agent.config_status()))) != config:
            config = latest
            body += event("config", config)
        if not body and loop.time() - spoke >= HEARTBEAT:
            body = event("time", now())
        if body:
            spoke = loop.time()
            yield body
            await asyncio.sleep(PAUSE)


async def something(wake: asyncio.Event) -> None:
    """Wait until something changed, or it is time to look elsewhere."""
    try:
        async with asyncio.timeout(LOOK):
            await wake.wait()
    except TimeoutError:
        return


def _changes(agent: Agent, client: Client) -> bytes:
    paths, client.changed = client.changed, set()
    client.wake.clear()
    table = agent.supervisor.records
    here = [worker(view(table[path])) for path in sorted(paths) if path in table]
    return encode({"workers": here, "removed": sorted(path for path in paths if path not in table)})


def now() -> bytes:
    """The agent's clock, as the data of an event `time`."""
    return encode(rfc3339(time.time()))


def event(name: str, data: bytes) -> bytes:
    """One event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
