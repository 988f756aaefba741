"""The resources of one machine: made from its definition, looked after while it runs, and closed with it.

Nothing is opened before a record needs it. Handles that lie idle are ended by the pools themselves whenever one of theirs is taken or
given back, and by `evict`. What is still held when the manager closes was never given back: it is ended then, and reported with its
owner.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from setpoint.data.definition import ResourceDef, Transactions
from setpoint.data.resources.batch import Batch
from setpoint.data.resources.circles import Circles
from setpoint.data.resources.holds import Entry, Holds
from setpoint.data.resources.kinds import described
from setpoint.data.resources.pool import Pool
from setpoint.data.resources.provider import Health, Leak, ResourceError
from setpoint.data.resources.waiting import afinish, finish


def manager(
    definitions: Sequence[ResourceDef],
    providers: Mapping[str, Any] | None = None,
    *,
    transactions: Transactions = "none",
    clock: Callable[[], float] = time.monotonic,
) -> Manager:
    """The resources of a machine, nothing opened yet.

    `providers` gives some of them by name: a `Provider`, or any other object, which is handed out as it is. Raises `ResourceError` with
    all faults at once: a type that there is not, a setting that it does not have.
    """
    entries, faults = described(definitions, providers or {}, transactions=transactions)
    if faults:
        raise ResourceError("\n".join(f"{place}: {text}" for place, text in faults))
    return Manager(entries, clock=clock)


class Manager(Holds):
    """Gives the runs of one machine their resources, knows how they are doing, and ends them."""

    def __init__(self, entries: Mapping[str, Entry], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.circles = Circles()
        self.clock = clock
        self._batches = 0
        pools = {
            name: Pool(name, entry.provider, entry.settings, circles=self.circles, clock=clock)
            for name, entry in entries.items()
        }
        super().__init__(dict(entries), pools)

    def batch(self, name: str = "") -> Batch:
        """The same resources for the records of one batch, whose transactions end with it."""
        self._batches += 1
        return Batch(self, name or f"batch {self._batches}", circles=self.circles, clock=self.clock)

    def health(self) -> dict[str, Health]:
        """How each resource is doing, from what is known."""
        return {name: pool.health() for name, pool in self.pools.items()}

    def probe(self) -> dict[str, Health]:
        """How each is doing, after trying those that have a handle to spare."""
        return {name: finish(pool.probe()) for name, pool in self.pools.items()}

    async def aprobe(self) -> dict[str, Health]:
        """`probe`, with async resources."""
        return {name: await afinish(pool.probe()) for name, pool in self.pools.items()}

    def held(self, longer_than: float = 0.0) -> list[Leak]:
        """Who holds what for longer than so many seconds; longest first."""
        held = [leak for pool in self.pools.values() for leak in pool.held(longer_than)]
        return sorted(held, key=lambda leak: -leak.held)

    def evict(self) -> None:
        """End idle handles that are too old, of all sync resources."""
        for pool in self.pools.values():
            if not pool.is_async:
                finish(pool.evict())

    async def aevict(self) -> None:
        """`evict`, async resources included."""
        for pool in self.pools.values():
            await afinish(pool.evict())

    def close(self) -> list[Leak]:
        """End everything. What runs still hold is ended too, and reported: returned, and as a `ResourceWarning`.

        Handles of async resources are only let go here; `aclose`, in their event loop, ends them properly.
        """
        return _reported([leak for pool in self._backwards() for leak in finish(pool.close(let_go=True))])

    async def aclose(self) -> list[Leak]:
        """`close`, with async resources; waits for what `drop` has begun."""
        if self.endings:
            await asyncio.wait(self.endings)
        leaks: list[Leak] = []
        for pool in self._backwards():
            leaks += await afinish(pool.close())
        return _reported(leaks)

    def _backwards(self) -> list[Pool]:
        return list(self.pools.values())[::-1]


def _reported(leaks: list[Leak]) -> list[Leak]:
    if leaks:
        text = "; ".join(map(str, leaks))
        warnings.warn(f"resources were closed while runs held them: {text}", ResourceWarning, stacklevel=3)
    return leaks
