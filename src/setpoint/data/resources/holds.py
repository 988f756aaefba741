"""The resources of one machine: who has what, from the first state that asks for it to the end of the record.

A record (a *run*) has a hold on each resource it uses. How long it lasts, and what happens to what was done with it, the kind of
transaction says:

    none      a hold lasts for one attempt of a state or arc; each statement is for good when it returns
    record    from the first use to the end of the run; committed when the run succeeds, rolled back when it fails. Each attempt of a
              state or arc is a savepoint: when it fails, what it did is undone, and an arc that catches the error goes on from there
    batch     like record, but the transaction is that of a whole batch and the run a savepoint in it (`setpoint.data.resources.batch`)
    manual    from the first use to the end of the run, which fails if a transaction is then still open: functions begin and end them

Only providers that are `Transactional` take part; others are held for one attempt.

Of those who wait, runs that hold something already come first, then the order of asking counts: what is half done ends sooner.

No deadlock: the resources of one state are taken in one order, that of their names, the same for all runs; and where a run that keeps
something asks for more, a circle of runs that wait for each other is found before it closes, and the one that would close it gets
`ResourceDeadlock`, an error like any other, which can be tried again.

Several transactions of one run are committed one after the other; there is no commit in two phases. When one fails, the message says
which were committed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from setpoint.data.definition import Transactions
from setpoint.data.resources.lease import Lease, PoolSettings
from setpoint.data.resources.pool import Pool
from setpoint.data.resources.provider import (
    Owner,
    Provider,
    ResourceError,
    TransactionError,
    UnknownResource,
    in_words,
)
from setpoint.data.resources.waiting import Steps, afinish, finish


class Entry(msgspec.Struct, frozen=True):
    """One resource of a machine: its provider, its limits, and its part in transactions."""

    provider: Provider
    settings: PoolSettings = PoolSettings()
    transactions: Transactions = "none"


class Hold(msgspec.Struct, eq=False, kw_only=True):
    """What a run has of one resource: a `lease` of `pool`, whose `provider` is `awaited` or not.

    It is `kept` to the end of the run or given back after each state; a transaction was `begun` for it or not. `base` is the savepoint
    that the run is in the transaction of its batch. `marks` has an item for each state or arc that is in it, None where nothing was
    begun.
    """

    pool: Pool
    lease: Lease
    provider: Any
    awaited: bool
    kept: bool
    begun: bool
    base: Any = None
    marks: list[Any] = []

    def call(self, method: str, *arguments: Any) -> Steps[Any]:
        """What a method of the provider gives for this handle."""
        answer = getattr(self.provider, method)(self.lease.handle, *arguments)
        if self.awaited:
            answer = yield answer
        return answer


class Holds:
    """What the runs of one machine, or of one batch, hold. Fits the seam `setpoint.data.context.Resources`.

    With `is_async` the methods `acquire`, `release` and `finish` give awaitables. `awaiting` is the same for plans with async functions,
    where even a sync resource must be waited for without blocking the loop.
    """

    def __init__(self, entries: Mapping[str, Entry], pools: Mapping[str, Pool]) -> None:
        self.entries = entries
        self.pools = pools
        self.endings: set[asyncio.Task[None]] = set()
        self._runs: dict[str, dict[str, Hold]] = {}
        self.is_async = any(pool.is_async for pool in pools.values())

    # the seam to the plan

    def acquire(self, names: Mapping[str, str], owner: str, state: str = "") -> Any:
        """The handles by role, for the run `owner` in `state`. Raises `ResourceError`: what cannot be had is never left out."""
        return self._drive(self.acquiring(names, Owner(owner, state)))

    def release(self, names: Mapping[str, str], owner: str, ok: bool) -> Any:
        """The state or arc is done with them; unless `ok`, what it did in a transaction is undone."""
        return self._drive(self.releasing(names, owner, ok))

    def finish(self, owner: str, ok: bool) -> Any:
        """The run has ended: commits when `ok`, rolls back otherwise, and gives back all it has.

        Raises `TransactionError` when that went wrong, or a transaction was left open.
        """
        return self._drive(self.finishing(owner, ok))

    def unsettled(self, owner: str) -> bool:
        """Whether a transaction is open for the run."""
        holds = self._runs.get(owner, {}).values()
        return any(hold.begun or (hold.kept and hold.provider.pending(hold.lease.handle)) for hold in holds)

    def free(self, names: Mapping[str, str]) -> bool:
        """Whether all of them could be had now without waiting."""
        return all(self.pool(name).free() for name in names.values())

    def drop(self, owner: str) -> None:
        """The run is gone (cancelled): rolled back and given back, without waiting here. In an event loop a task does that."""
        if owner not in self._runs:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._let_go(owner)
            return
        task = loop.create_task(afinish(self.finishing(owner, False)), name=f"give back what {owner} had")
        self.endings.add(task)
        task.add_done_callback(self.endings.discard)

    def awaiting(self) -> Awaiting:
        """The same resources, awaited: for plans with async functions."""
        return Awaiting(self)

    def _drive(self, steps: Steps[Any]) -> Any:
        return afinish(steps) if self.is_async else finish(steps)

    # the operations

    def acquiring(self, names: Mapping[str, str], owner: Owner) -> Steps[dict[str, Any]]:
        """`acquire`, as an operation for `finish` or `afinish`."""
        if not owner.run:
            raise ResourceError(
                "a run that uses resources needs a name of its own, so that records do not share handles"
            )
        pools = {name: self.pool(name) for name in sorted(set(names.values()))}
        holds = self._runs.setdefault(owner.run, {})
        entered: list[str] = []
        new: list[str] = []
        try:
            for name, pool in pools.items():
                if name not in holds:
                    holds[name] = yield from self.take_hold(name, pool, owner)
                    new.append(name)
                hold = holds[name]
                hold.marks.append((yield from hold.call("savepoint")) if hold.begun else None)
                entered.append(name)
        except BaseException:
            yield from self._leave_all(owner.run, entered[::-1], ok=False)
            yield from self._end_all(owner.run, new, ok=False)
            raise
        return {role: holds[name].lease.handle for role, name in names.items()}

    def releasing(self, names: Mapping[str, str], run: str, ok: bool) -> Steps[None]:
        """`release`, as an operation."""
        errors = yield from self._leave_all(run, sorted(set(names.values()), reverse=True), ok=ok)
        if errors:
            raise errors[0]

    def finishing(self, run: str, ok: bool) -> Steps[None]:
        """`finish`, as an operation."""
        errors = yield from self._end_all(run, sorted(self._runs.get(run, ())), ok=ok)
        if errors and ok:
            raise errors[0]

    def take_hold(self, name: str, pool: Pool, owner: Owner) -> Steps[Hold]:
        """A new hold for the run, with its transaction begun."""
        lease = yield from pool.take(owner, priority=1 if self._runs.get(owner.run) else 0)
        kind = self.entries[name].transactions if pool.transactional else "none"
        hold = Hold(
            pool=pool,
            lease=lease,
            provider=pool.provider,
            awaited=pool.is_async,
            kept=kind != "none",
            begun=kind in ("record", "batch"),
        )
        if hold.begun:
            try:
                yield from hold.call("begin")
            except BaseException:
                yield from pool.give_back(lease, suspect=True)
                raise
        return hold

    def _end_all(self, run: str, names: list[str], *, ok: bool) -> Steps[list[TransactionError]]:
        """End these holds of the run, in order."""
        holds = self._runs.get(run, {})
        errors = yield from end_in_order({name: holds.pop(name) for name in names if name in holds}, ok=ok)
        if not holds:
            self._runs.pop(run, None)
        return errors

    def _leave_all(self, run: str, names: list[str], *, ok: bool) -> Steps[list[TransactionError]]:
        holds = self._runs.get(run, {})
        errors: list[TransactionError] = []
        for name in names:
            hold = holds.get(name)
            if hold is None or not hold.marks:
                continue
            mark = hold.marks.pop()
            try:
                if hold.begun:
                    yield from hold.call("keep" if ok else "undo", mark)
            except Exception as error:
                errors.append(lost(name, "its savepoint is gone: did a function commit or roll back itself?", error))
            if not hold.kept and not hold.marks:
                del holds[name]
                yield from hold.pool.give_back(hold.lease, suspect=not ok)
        if not holds:
            self._runs.pop(run, None)
        return errors

    def _let_go(self, run: str) -> None:
        """Without an event loop: sync handles are rolled back and given back here, those of a loop that is gone are dropped."""
        holds = self._runs.pop(run, {})
        for hold in holds.values():
            if hold.pool.is_async:
                hold.pool.lose(hold.lease)
                continue
            try:
                finish(concluded(hold, ok=False))
            except Exception as error:
                hold.pool.failed(error)
            finish(hold.pool.give_back(hold.lease, suspect=True))

    def pool(self, name: str) -> Pool:
        """The pool of that name. Raises `UnknownResource`."""
        try:
            return self.pools[name]
        except KeyError:
            raise UnknownResource(name, self.pools) from None


class Awaiting:
    """The holds for plans with async functions: sync resources are waited for without blocking the event loop."""

    is_async = True

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self.free = holds.free
        self.unsettled = holds.unsettled
        self.drop = holds.drop

    def acquire(self, names: Mapping[str, str], owner: str, state: str = "") -> Any:
        """An awaitable of the handles by role."""
        return afinish(self._holds.acquiring(names, Owner(owner, state)))

    def release(self, names: Mapping[str, str], owner: str, ok: bool) -> Any:
        """To be awaited, like `Holds.release`."""
        return afinish(self._holds.releasing(names, owner, ok))

    def finish(self, owner: str, ok: bool) -> Any:
        """To be awaited, like `Holds.finish`."""
        return afinish(self._holds.finishing(owner, ok))

    def awaiting(self) -> Awaiting:
        """Itself."""
        return self


def concluded(hold: Hold, *, ok: bool) -> Steps[None]:
    """End the part of a run in a transaction: all of it, or its savepoint in that of its batch."""
    if not hold.kept:
        return
    if hold.base is not None:
        yield from hold.call("keep" if ok else "undo", hold.base)
        return
    left_open = not hold.begun and hold.provider.pending(hold.lease.handle)
    if hold.begun and ok:
        try:
            yield from hold.call("commit")
        except BaseException:
            yield from hold.call("rollback")
            raise
    elif hold.begun or left_open:
        yield from hold.call("rollback")
    if left_open and ok:
        raise TransactionError("a function began it and none has ended it, so it was rolled back")


def end_in_order(holds: Mapping[str, Hold], *, ok: bool) -> Steps[list[TransactionError]]:
    """End these holds and give them back. After the first that does not end well the others are rolled back."""
    errors: list[TransactionError] = []
    committed: list[str] = []
    interrupted: BaseException | None = None
    for name, hold in holds.items():
        well = ok and not errors and interrupted is None
        try:
            yield from concluded(hold, ok=well)
            committed += [name] if hold.begun and well else []
        except Exception as error:
            so_far = f"; committed before it: {', '.join(committed)}" if committed else ""
            errors.append(lost(name, "its transaction did not end well", error, so_far))
        except BaseException as error:  # cancelled: the others are still to be ended
            interrupted = error
        yield from hold.pool.give_back(hold.lease, suspect=not well or bool(errors) or interrupted is not None)
    if interrupted is not None:
        raise interrupted
    return errors


def lost(name: str, what: str, error: Exception, so_far: str = "") -> TransactionError:
    """What is raised where a transaction did not end as it should."""
    made = TransactionError(f"resource {name!r}: {what}: {in_words(error)}{so_far}")
    made.__cause__ = error
    return made
