"""Ways over loopback between the process of a flow and the agent: kept, moved where somebody took the port, and given back."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from setpoint.services.benthos.flows import BenthosFlows, Link
from setpoint.services.benthos.program import Programs
from setpoint.services.processes import open_backend

NAME = "agent/flows/press"


@asynccontextmanager
async def flows(folder: Path) -> AsyncIterator[BenthosFlows]:
    """Flows in this folder, as an agent has them."""
    made = BenthosFlows(
        folder / "benthos",
        Programs(env={"PATH": ""}),
        open_backend=lambda: open_backend("builtin", folder / "processes"),
    )
    try:
        yield made
    finally:
        await made.close()


def test_a_way_is_the_same_for_the_next_agent(tmp_path: Path) -> None:
    """Its port and its token are on the disk when they are known, for the owner only; nobody else has either."""

    async def scene() -> None:
        async with flows(tmp_path) as one:
            assert await one.known_link(NAME, "out") == Link()
            out, into = await one.link(NAME, "out", held=False), await one.link(NAME, "into", held=False)
            other = await one.link("agent/flows/other", "out", held=False)
        async with flows(tmp_path) as one:
            assert await one.known_link(NAME, "out") == out == await one.link(NAME, "out", held=False)
        assert len({out.port, into.port, other.port}) == 3
        assert out.token == into.token != other.token
        assert len(out.token) > 40
        file = tmp_path / "benthos" / "agent%2Fflows%2Fpress" / "token"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    asyncio.run(scene())


def test_a_port_that_somebody_took_is_given_up(tmp_path: Path) -> None:
    """Unless it is our own side that listens there."""

    async def scene() -> None:
        async with flows(tmp_path) as one:
            first = await one.link(NAME, "out", held=False)
            with socket.create_server(("127.0.0.1", first.port)):
                assert await one.link(NAME, "out", held=True) == first
                moved = await one.link(NAME, "out", held=False)
            assert moved.port != first.port
            assert moved.token == first.token
            assert await one.known_link(NAME, "out") == moved

    asyncio.run(scene())


def test_a_flow_that_is_removed_gives_back_all_of_it(tmp_path: Path) -> None:
    """Also by an agent whose config no longer has it; others keep theirs."""

    async def scene() -> None:
        async with flows(tmp_path) as one:
            token = (await one.link(NAME, "out", held=False)).token
            kept = await one.link(f"{NAME}-2", "out", held=False)
            await one.remove(NAME)
            assert await one.known_link(NAME, "out") == Link()
            assert (await one.link(NAME, "out", held=False)).token != token
        async with flows(tmp_path) as one:
            await one.keep_only([f"{NAME}-2"])
            assert await one.known_link(NAME, "out") == Link()
            assert await one.known_link(f"{NAME}-2", "out") == kept

    asyncio.run(scene())
