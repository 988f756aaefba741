"""Transactions of a batch: its records share one transaction of each resource, and each record is a savepoint in it.

A record that fails is undone alone; the others stay. Since they work in one transaction, on one handle, the records of a batch that use
such a resource do so one after the other, each until it ends. `end` commits or rolls back for all of them: what a record wrote is for
good only then, so whoever runs the batch reports its records as successes after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from setpoint.data.resources.circles import Circles
from setpoint.data.resources.holds import Hold, Holds, end_in_order
from setpoint.data.resources.lease import PoolSettings
from setpoint.data.resources.pool import Pool
from setpoint.data.resources.provider import Given, Owner, TransactionError
from setpoint.data.resources.waiting import Steps, afinish, finish


class Batch(Holds):
    """The resources of a machine for one batch of records. Where none has transactions of a batch, it gives what the manager gives.

    Waiting for the records before it in the batch is not bounded by the resource's time-out: that is their work, not a fault.
    """

    def __init__(self, base: Holds, name: str, *, circles: Circles, clock: Callable[[], float]) -> None:
        super().__init__(base.entries, base.pools)
        self.name = name
        self.endings = base.endings
        self._circles = circles
        self._turns: Mapping[str, Pool] = {
            resource: Pool(resource, Given(None), _ONE, circles=circles, clock=clock)
            for resource, pool in base.pools.items()
            if base.entries[resource].transactions == "batch" and pool.transactional
        }
        self._shared: dict[str, Hold] = {}
        self._ended = False

    @property
    def transactional(self) -> bool:
        """Whether anything is decided by `end`."""
        return bool(self._turns)

    def take_hold(self, name: str, pool: Pool, owner: Owner) -> Steps[Hold]:
        """A hold of the run: its turn at the handle of the batch, in a savepoint."""
        turns = self._turns.get(name)
        if turns is None:
            return (yield from super().take_hold(name, pool, owner))
        if self._ended:
            raise TransactionError(
                f"resource {name!r}: {self.name} has ended; its records have no transaction any more"
            )
        turn = yield from turns.take(owner)
        try:
            if name not in self._shared:
                self._shared[name] = yield from super().take_hold(name, pool, Owner(self.name))
            shared = self._shared[name]
            base = yield from shared.call("savepoint")
        except BaseException:
            yield from turns.give_back(turn)
            raise
        turn.handle = shared.lease.handle
        return Hold(
            pool=turns, lease=turn, provider=shared.provider, awaited=shared.awaited, kept=True, begun=True, base=base
        )

    def end(self, ok: bool) -> None:
        """Commit what the records did that succeeded; or, unless `ok`, undo all of it. Raises `TransactionError`. Ends once."""
        finish(self.ending(ok))

    async def aend(self, ok: bool) -> None:
        """`end`, in an event loop; waits for what `drop` has begun."""
        if self.endings:
            await asyncio.wait(self.endings)
        await afinish(self.ending(ok))

    def ending(self, ok: bool) -> Steps[None]:
        """`end`, as an operation for `finish` or `afinish`."""
        if self._ended:
            return
        if busy := [leak for turns in self._turns.values() for leak in turns.held()]:
            raise TransactionError(f"{self.name} cannot end: {'; '.join(map(str, busy))}")
        self._ended = True
        shared, self._shared = dict(sorted(self._shared.items())), {}
        errors = yield from end_in_order(shared, ok=ok)
        self._circles.forget(self._turns.values())
        if errors and ok:
            raise errors[0]


_ONE: Final = PoolSettings(size=1, timeout=None, idle=None, lifetime=None)
