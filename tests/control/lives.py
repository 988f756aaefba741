"""Several lives of one agent: what outlives it, how it is killed, and how it comes back. Shared by the tests that restart an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.control.samples import Process, Spec, World

from setpoint.control import Limits, Registry, Supervisor, Worker
from setpoint.control.registry import AnyWorker
from setpoint.store import MemoryStore, Store
from setpoint.testing import run, wall

Story = Callable[[Supervisor], Awaitable[None]]


class Outside:
    """What outlives the agent: one world for each name."""

    def __init__(self) -> None:
        self.worlds: dict[str, World] = {}

    def of(self, name: str) -> World:
        return self.worlds.setdefault(name, World())


class Real(Process):
    "A process outside the agent, found again by its name."

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self.outside = outside

    async def collect_observed_state(self, desired: Spec):  # type: ignore[no-untyped-def]
        self.world = self.outside.of(self.context.path)
        return await super().collect_observed_state(desired)


def agent(outside: Outside, store: Store, limits: Limits | None = None, **types: type[AnyWorker]) -> Supervisor:
    registry = Registry(outside=outside)
    for name, worker in {"process": Real, **types}.items():
        registry.add(name, worker)
    return Supervisor(registry, root="top", wall=wall, store=store, limits=limits)


def killed(supervisor: Supervisor) -> None:
    """The process is gone at once: nothing is told to stop, nothing more is decided."""
    supervisor._ended = True
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    if supervisor._pending is not None:
        supervisor._pending.cancel()


def lives(
    first: Story,
    second: Story,
    *,
    outside: Outside,
    down_for: float = 5.0,
    then: type[Worker] = Real,
    now: type[Worker] = Real,
) -> None:  # type: ignore[type-arg]
    """Two lives of one agent over one store, the first of them ended by a kill."""

    async def main() -> None:
        store = MemoryStore(wall=wall)
        before = agent(outside, store, process=then)
        await first(before)
        killed(before)
        left = store.reopened()
        await asyncio.sleep(down_for)
        after = agent(outside, left, process=now)
        await second(after)
        await after.stop()

    run(main())
