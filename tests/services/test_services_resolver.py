"""The resolver: a slow name server holds up nobody but those who ask for that name."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from setpoint.services import Resolver


def test_an_address_is_its_own_answer() -> None:
    """No look-up is made for it."""
    assert asyncio.run(Resolver().address("192.0.2.7")) == "192.0.2.7"
    assert asyncio.run(Resolver().address("::1")) == "::1"


def test_everybody_who_asks_for_a_name_waits_for_one_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, one thread looks; those who give up leave it to the others, and other names are answered meanwhile."""
    answered, asked = threading.Event(), []
    real = socket.getaddrinfo

    def slow(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "plc.factory":
            return real(host, *rest, **options)
        asked.append(host)
        answered.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.9", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def main() -> None:
        resolver = Resolver()
        waiting = [asyncio.create_task(resolver.address("plc.factory")) for _ in range(50)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        assert await asyncio.wait_for(resolver.address("localhost"), 5) in ("127.0.0.1", "::1")
        answered.set()
        assert set(await asyncio.gather(*waiting[1:])) == {"192.0.2.9"}
        assert asked == ["plc.factory"]

    asyncio.run(main())
