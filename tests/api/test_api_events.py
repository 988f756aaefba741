"""The event stream: a full list, then what changes; bounded for slow clients, ended by the server when it closes."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.api.api_shop import PressSeen, Shop, open_shop

from setpoint.api import create_app, events
from setpoint.api.server import BindError, Server, bind, url_of

PRESS = "agent/press-1"


@asynccontextmanager
async def served(*names: str) -> AsyncIterator[tuple[Shop, Server, str]]:
    """A shop behind a real server on loopback."""
    async with open_shop(*names) as shop:
        listener = bind("127.0.0.1", 0)
        server = Server(create_app(shop), listener)  # type: ignore[arg-type]
        server.begin()
        try:
            yield shop, server, url_of(listener)
        finally:
            await server.end()


async def read_events(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    """The events of a stream, by name, decoded."""
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    async with (
        httpx.AsyncClient(timeout=20, trust_env=False) as client,
        client.stream("GET", f"{url}/api/v1/events") as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield read_events(answer)


async def next_of(found: AsyncIterator[tuple[str, Any]], wanted: str) -> Any:
    async with asyncio.timeout(15):
        async for name, data in found:
            if name == wanted:
                return data
    raise AssertionError(f"the stream ended before an event {wanted!r}")


async def workers_until(found: AsyncIterator[tuple[str, Any]], path: str, state: str) -> AsyncIterator[Any]:
    """The workers that changed, until one is in a state."""
    while True:
        for worker in (await next_of(found, "changes"))["workers"]:
            yield worker
            if (worker["path"], worker["state"]) == (path, state):
                return


def test_a_stream_begins_with_all_workers_and_goes_on_with_changes() -> None:
    """First the config and every worker, then only those that changed, and the paths of those that went."""

    async def main() -> None:
        async with served("press-1", "press-2") as (shop, _, url), stream(url) as found:
            await shop.until(f"{PRESS}/sensor", "pressing")
            await shop.until("agent/press-2/sensor", "pressing")
            assert (await next_of(found, "config"))["ok"]
            everything = await next_of(found, "workers")
            assert {"agent/press-1", "agent/press-2"} <= {worker["path"] for worker in everything}
            shop.readings[PRESS] = PressSeen(1.0)
            changed = [worker async for worker in workers_until(found, PRESS, "slack")]
            assert changed[-1]["reason"] == "lost pressure"
            shop.want("press-1")
            gone: set[str] = set()
            while len(gone) < 2:
                gone |= set((await next_of(found, "changes"))["removed"])
            assert gone == {"agent/press-2", "agent/press-2/sensor"}

    asyncio.run(main())


def test_a_change_of_the_config_is_told() -> None:
    """A broken file shows within a second or so, although no worker changed."""

    async def main() -> Any:
        async with served("press-1") as (shop, _, url), stream(url) as found:
            await next_of(found, "config")
            shop.break_config()
            return await next_of(found, "config")

    assert not asyncio.run(main())["ok"]


def test_many_changes_become_few_writes() -> None:
    """A worker that flaps a hundred times in a second is written a few times, and the last one is the truth."""

    async def main() -> tuple[int, str]:
        async with served("press-1") as (shop, _, url), stream(url) as found:
            await shop.until(PRESS, "pressing")
            await next_of(found, "workers")
            record = shop.supervisor.core.family.table[PRESS]
            assert record.worker is not None
            for number in range(100):
                record.worker.context.push(PressSeen(1.0 if number % 2 == 0 else 9.0))
                await asyncio.sleep(0.01)
            shop.readings[PRESS] = last = PressSeen(1.0, "at last")
            record.worker.context.push(last)
            writes, state = 0, ""
            while state != "lost pressure at last":
                writes += 1
                for worker in (await next_of(found, "changes"))["workers"]:
                    state = worker["reason"] if worker["path"] == PRESS else state
            return writes, state

    writes, _ = asyncio.run(main())
    assert writes <= 12


def test_silence_is_broken_by_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to say the agent's clock is sent, so that a client knows the connection lives."""
    monkeypatch.setattr(events, "HEARTBEAT", 0.1)
    monkeypatch.setattr(events, "LOOK", 0.05)

    async def main() -> None:
        async with served() as (_, _, url), stream(url) as found:
            await next_of(found, "workers")
            assert (await next_of(found, "time")).endswith("Z")

    asyncio.run(main())


def test_a_slow_client_holds_up_nobody_and_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never reads is let go, what waits for it stays bounded, and others get their events meanwhile."""
    monkeypatch.setattr(events, "SEND_TIMEOUT", 0.5)
    monkeypatch.setattr(events, "PAUSE", 0.0)

    async def main() -> None:
        async with served("press-1") as (shop, server, url), stream(url) as found:
            await shop.until(PRESS, "pressing")
            await next_of(found, "workers")
            deaf = socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            deaf.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            clients = server._app.state.changes._clients
            async with asyncio.timeout(30):
                while len(clients) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                worker = shop.supervisor.core.family.table[PRESS].worker
                assert worker is not None
                flips = 0
                while len(clients) > 1:
                    flips += 1
                    shop.readings[PRESS] = reading = PressSeen(1.0 if flips % 2 else 9.0, "x" * 20_000)
                    worker.context.push(reading)
                    await next_of(found, "changes")
                    assert all(len(client.changed) <= 2 for client in clients)
            deaf.close()

    asyncio.run(main())


def test_there_is_a_limit_to_the_number_of_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client too many is refused with a 503, and let in once another has left."""
    monkeypatch.setattr(events, "MAX_CLIENTS", 1)

    async def main() -> None:
        async with served() as (_, server, url), httpx.AsyncClient(trust_env=False) as client:
            async with stream(url) as found:
                await next_of(found, "workers")
                refused = await client.get(f"{url}/api/v1/events")
                assert refused.status_code == 503
                assert set(refused.json()) == {"error", "hint"}
            async with asyncio.timeout(10):
                while server._app.state.changes._clients:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            async with stream(url) as found:
                await next_of(found, "workers")

    asyncio.run(main())


def test_the_server_ends_with_streams_open() -> None:
    """Closing takes a moment, not as long as somebody listens."""

    async def main() -> float:
        async with served("press-1") as (_, server, url), stream(url) as found:
            await next_of(found, "workers")
            began = asyncio.get_running_loop().time()
            await server.end()
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(main()) < 2.5


def test_a_taken_port_is_named_with_the_way_out() -> None:
    """Binding says which port, that it is taken, and which option helps."""
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(BindError, match=rf"port {port} on 127\.0\.0\.1 is taken.*--port 0"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "says"), [("no such host", "no address"), ("203.0.113.1", "not an address of this machine")]
)
def test_an_address_that_is_not_ours_is_named(host: str, says: str) -> None:
    """Binding to a foreign or impossible address says so."""
    with pytest.raises(BindError, match=says):
        bind(host, 0)


def test_connections_inherit_the_time_out_of_clients() -> None:
    """The kernel gives up clients that take nothing: the option is on the accepted connection as well."""
    with bind("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
