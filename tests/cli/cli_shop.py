"""A running agent for the command line to ask: the small shop behind a real server, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.api.api_shop import Shop, open_shop

from setpoint.api import create_app
from setpoint.api.server import Server, bind, url_of
from setpoint.cli.main import main
from setpoint.dashboard import router


class Running:
    """The shop, and how to do something in its event loop."""

    def __init__(self) -> None:
        self.url = ""
        self.shop: Shop
        self.loop: asyncio.AbstractEventLoop
        self.ready = threading.Event()
        self.done: asyncio.Event

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the shop's loop and wait for its end."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _serve(self, names: tuple[str, ...]) -> None:
        self.loop, self.done = asyncio.get_running_loop(), asyncio.Event()
        async with open_shop(*names) as self.shop:
            listener = bind("127.0.0.1", 0)
            app = create_app(self.shop)  # type: ignore[arg-type]
            app.include_router(router())
            server = Server(app, listener)
            server.begin()
            self.url = url_of(listener)
            for name in names:
                await self.shop.until(f"agent/{name}/sensor", "pressing")
            self.ready.set()
            await self.done.wait()
            await server.end()


@contextmanager
def running_shop(*names: str) -> Iterator[Running]:
    """A shop with these presses, all of them healthy, behind a server."""
    running = Running()
    thread = threading.Thread(target=lambda: asyncio.run(running._serve(names)), daemon=True)
    thread.start()
    assert running.ready.wait(30)
    try:
        yield running
    finally:
        running.loop.call_soon_threadsafe(running.done.set)
        thread.join(10)


class Ran:
    """How a command ended: exit code and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """Run a command in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    written = capsys.readouterr()
    return Ran(int(ended.value.code or 0), written.out, written.err)
