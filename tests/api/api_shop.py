"""A small shop: an agent whose workers tests can move by hand. Supervisor, workers, journal and broker are real; only the file is not."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from pydantic import BaseModel

from setpoint.agent import ConfigStatus, ProblemView
from setpoint.api import create_app
from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.namespace.browser import Browser
from setpoint.namespace.embedded import EmbeddedBroker


class PressSpec(BaseModel):
    desired_state: str = "running"
    sensor: bool = True


class PressSeen(Observation, frozen=True):
    pressure: float = 0.0
    note: str = ""


@guard
def has_pressure(s: Snapshot[PressSpec, PressSeen]) -> Verdict:
    "the pressure is above 5 bar"
    return Verdict(s.observed.pressure > 5, f"{s.observed.pressure:g} bar")


@guard
def free(s: Snapshot[PressSpec, PressSeen]) -> bool:
    "nothing is stuck in it"
    return s.observed.note != "stuck"


class Press(Worker[PressSpec, PressSpec, PressSeen]):
    "Watches a press."

    stopped = State(Phase.STOPPED, reason="stopped")
    waiting = State(Phase.STARTING, reason=lambda s: f"waiting for pressure, now {s.observed.pressure:g} bar")
    pressing = State(Phase.HEALTHY, reason="under pressure")
    slack = State(Phase.DEGRADED, reason=lambda s: f"lost pressure {s.observed.note}".strip())
    arcs = (
        stopped.to(waiting, on="start", when=wanted),
        (waiting | pressing | slack).to(stopped, on="stop", when=~wanted & free),
        waiting.to(pressing, on="pressure_reached", when=has_pressure & wanted),
        pressing.to(slack, on="pressure_lost", when=~has_pressure),
        slack.to(pressing, on="recovered", when=has_pressure),
        waiting.to(slack, on="gave_up", after=3600.0),
    )

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def collect_observed_state(self, desired: PressSpec) -> PressSeen:
        seen = self._shop.readings.get(self.context.path, PressSeen(9.0))
        if isinstance(seen, Exception):
            raise seen
        return seen

    def children(self, desired: PressSpec, state: str) -> list[ChildSpec]:
        return [ChildSpec("sensor", "press", PressSpec(sensor=False))] if desired.sensor else []


class Shop:
    """The agent that the interface sees."""

    def __init__(self, folder: Path, **supervisor: Any) -> None:
        self.readings: dict[str, PressSeen | Exception] = {}
        registry = Registry()
        registry.add("press", lambda: Press(self))
        self.letters = folder / "letters"
        self.broker = EmbeddedBroker(folder / "broker.sqlite")
        self.browser = Browser(self.broker)
        self.supervisor = Supervisor(registry, **supervisor)
        self.status = ConfigStatus("/etc/shop/config.yaml", True, "this file", 1.7e9, 1.7e9, "aa", "aa", [])
        self.readiness = (True, "")

    def config_status(self) -> ConfigStatus:
        return self.status

    def ready(self) -> tuple[bool, str]:
        return self.readiness

    def want(self, *names: str, **spec: Any) -> None:
        self.supervisor.want([ChildSpec(name, "press", PressSpec(**spec)) for name in names])

    async def until(self, path: str, state: str) -> None:
        """Wait until a worker is in a state."""

        def there(supervisor: Supervisor) -> bool:
            return any(view.path == path and view.state == state for view in supervisor.workers())

        assert await self.supervisor.until(there, 30), [view for view in self.supervisor.workers()]

    def break_config(self, message: str = "unknown key 'brdige'") -> None:
        problem = ProblemView(
            "config.yaml",
            12,
            3,
            "brdige",
            "",
            message,
            "did you mean 'bridge'?",
            "error",
            f"config.yaml:12:3: {message}",
        )
        self.status = msgspec.structs.replace(self.status, ok=False, problems=[problem], digest="bb")


@asynccontextmanager
async def open_shop(*names: str, broker: bool = True, **supervisor: Any) -> AsyncIterator[Shop]:
    """A shop with these presses, running; the broker is open if it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), **supervisor)
        if broker:
            await shop.broker.open()
        shop.want(*names)
        try:
            yield shop
        finally:
            await shop.supervisor.stop()
            await shop.browser.end()
            await shop.broker.close()


def client_of(app: Any, *, host: str = "127.0.0.1:8080") -> httpx.AsyncClient:
    """A client of the application, without a network."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}")


@asynccontextmanager
async def shop_and_client(*names: str, **supervisor: Any) -> AsyncIterator[tuple[Shop, httpx.AsyncClient]]:
    """A shop with these presses, and a client of its interface."""
    async with open_shop(*names, **supervisor) as shop, client_of(create_app(shop)) as client:  # type: ignore[arg-type]
        yield shop, client
