"""The connection: real TCP probes on loopback, with short intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.services import Contacts, Resolver
from setpoint.workers.connection import Connection, ConnectionSpec


def supervise(contacts: Contacts | None = None) -> Supervisor:
    registry = Registry()
    registry.add("connection", lambda: Connection(contacts or Contacts(), Resolver()))
    return Supervisor(registry)


def spec(port: int, **changes: Any) -> ChildSpec:
    settings = {"probe_interval_s": 0.02, "probe_timeout_s": 0.5, **changes}
    return ChildSpec("c", "connection", ConnectionSpec(target="127.0.0.1", port=port, **settings))


async def reach(s: Supervisor, state: str) -> str:
    reached = await s.until(lambda s: s.core.fact("agent/c").state == state, 5.0)
    assert reached, (state, s.worker("agent/c"))
    return s.worker("agent/c").reason


async def device(port: int = 0) -> tuple[asyncio.Server, int]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    return server, server.sockets[0].getsockname()[1]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_device_that_answers_is_up_and_one_that_goes_is_down_and_up_again() -> None:
    """One outage is down and up, with the answer in the reason."""

    async def story() -> None:
        server, port = await device()
        s = supervise()
        s.want([spec(port)])
        await reach(s, "up")
        assert s.worker("agent/c").observed["latency_ms"] is not None
        server.close()
        await server.wait_closed()
        assert await reach(s, "down") == f"closed: 127.0.0.1:{port} refuses connections"
        server, _ = await device(port)
        await reach(s, "up")
        await s.stop()
        server.close()

    play(story())


def test_a_way_that_keeps_changing_is_degraded_until_it_has_been_steady() -> None:
    """Results that alternate within the window are flaky, and the window clears it."""

    async def story() -> None:
        server, port = await device()
        s = supervise()
        s.want([spec(port, flaky_window_s=1.0)])
        await reach(s, "up")
        for _ in range(2):
            server.close()
            await server.wait_closed()
            await s.until(lambda s: s.worker("agent/c").observed["answer"] == "closed", 2.0)
            server, _ = await device(port)
            await s.until(lambda s: s.worker("agent/c").observed["answer"] == "open", 2.0)
        assert (await reach(s, "degraded")).startswith("flaky: 4 changes in 1 s")
        await reach(s, "up")
        await s.stop()
        server.close()

    play(story())


def test_a_device_that_never_answered_is_never_up() -> None:
    """No look, no claim: the connection starts with a probe."""

    async def story() -> None:
        server, port = await device()
        server.close()
        await server.wait_closed()
        s = supervise()
        s.want([spec(port)])
        await reach(s, "down")
        assert "up" not in [move.target for move in s.journal.history("agent/c")]
        await s.stop()

    play(story())


def test_a_stopped_connection_does_not_probe() -> None:
    """Nobody knocks at a device that is not wanted."""

    async def story() -> None:
        server, port = await device()
        s = supervise()
        s.want([spec(port, desired_state="stopped")])
        await reach(s, "stopped")
        await asyncio.sleep(0.1)
        assert s.worker("agent/c").observed["answer"] == "not probed"
        await s.stop()
        server.close()

    play(story())


def test_a_device_that_answers_a_flow_is_up_without_being_probed() -> None:
    """The flow's answer is the proof for a while; when answers stop, probes say what is the matter."""

    async def story() -> None:
        server, port = await device()
        server.close()
        await server.wait_closed()
        contacts = Contacts()
        s = supervise(contacts)
        contacts.heard("127.0.0.1", port, asyncio.get_running_loop().time())
        s.want([spec(port, probe_interval_s=0.2)])
        await reach(s, "up")
        assert "answers the flow that reads it" in s.worker("agent/c").observed["detail"]
        assert "refuses connections" in await reach(s, "down")
        await s.stop()

    play(story())
