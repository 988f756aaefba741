"""Carries many records through a plan: one after the other, many at a time where the plan waits, or in several processes.

    ordered      results stand in the order of the records; otherwise in that in which they were done (`Batch.indices` says whose they are)
    concurrency  how many records of a plan with async functions are on their way at once; they are taken from the iterable as there is room
    processes    for plans that keep a processor busy (see `processes`)

Each record stands for itself: one that fails is a result that says so. A batch can be told to end (`stop`, Ctrl-C): what is done by then is
in it, and `interrupted` is set. A cancelled `arun_batch` raises `CancelledError` as any coroutine does; the batch passed by `into` has what
was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from setpoint.data.result import Result

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

Progress = Callable[[int, int | None], object]
"""Is told how many records are done, and of how many where that is known."""
Stop = Callable[[], bool]
InLoop = Callable[[Coroutine[Any, Any, Any]], Any]
PROGRESS_EVERY: Final = 0.1
LOT: Final = 100
_TURN: Final = 64
"""So many records that never wait, then others in the loop have their turn."""


class Batch(list[Result]):
    """The results of a batch. `indices` says to which record each belongs; `interrupted`, that not all records were carried."""

    def __init__(self) -> None:
        super().__init__()
        self.indices: list[int] = []
        self.interrupted = False

    @property
    def failed(self) -> list[Result]:
        """Those that are no success."""
        return [result for result in self if result.error is not None]

    def put_in_order(self) -> None:
        """Sort the results by the order of their records."""
        self.drop_half_noted()
        if any(later < earlier for earlier, later in zip(self.indices, self.indices[1:], strict=False)):
            order = sorted(range(len(self)), key=self.indices.__getitem__)
            self[:] = [self[place] for place in order]
            self.indices = [self.indices[place] for place in order]

    def drop_half_noted(self) -> None:
        """Forget a result whose index was not noted any more when Ctrl-C came."""
        count = min(len(self), len(self.indices))
        del self[count:], self.indices[count:]


def run_batch(
    plan: Plan,
    records: Iterable[Any],
    *,
    ordered: bool = True,
    concurrency: int = 100,
    processes: int = 0,
    on_progress: Progress | None = None,
    stop: Stop | None = None,
    into: Batch | None = None,
    in_loop: InLoop | None = None,
) -> Batch:
    """Carry the records; the results. With `processes` it works in so many, else in this one.

    Raises what the iterable raises, `NotShippable` where a plan cannot go to other processes, `RuntimeError` for a plan with async
    functions inside a running event loop (there: `await arun_batch`). Ctrl-C gives what is done. `in_loop` runs a coroutine to its end, for
    whoever has a loop for that.
    """
    if isinstance(records, Mapping | str | bytes):
        raise TypeError(f"a batch is many records; one {type(records).__name__} is not: put it into a list")
    batch = Batch() if into is None else into
    meter = _Meter(on_progress, _length(records))
    try:
        if plan.is_async:
            work = arun_batch(
                plan, records, ordered=ordered, concurrency=concurrency, on_progress=on_progress, stop=stop, into=batch
            )
            return (in_loop or _in_loop)(work)
        with transaction(plan) as carried:
            if processes:
                _in_processes(carried, records, batch, meter, processes=processes, ordered=ordered, stop=stop)
            else:
                _here(carried, records, batch, meter, stop)
    except KeyboardInterrupt:
        batch.interrupted = True
    batch.put_in_order() if ordered else batch.drop_half_noted()
    meter.end(len(batch))
    return batch


async def arun_batch(
    plan: Plan,
    records: Iterable[Any] | AsyncIterable[Any],
    *,
    ordered: bool = True,
    concurrency: int = 100,
    on_progress: Progress | None = None,
    stop: Stop | None = None,
    into: Batch | None = None,
) -> Batch:
    """Carry the records, at most `concurrency` at once; the results. Raises what the iterable raises; `ValueError` for no concurrency."""
    if concurrency < 1:
        raise ValueError(f"concurrency={concurrency}: at least one record must be on its way")
    batch = Batch() if into is None else into
    meter = _Meter(on_progress, _length(records))
    source = _Numbered(records)
    try:
        async with atransaction(plan) as carried, asyncio.TaskGroup() as workers:
            for _ in range(concurrency if plan.is_async else 1):
                workers.create_task(_work(carried, source, batch, meter, stop))
    except* Exception as faults:
        raise faults.exceptions[0]  # noqa: B904  # the group says nothing more
    finally:
        await source.aclose()
        if ordered:
            batch.put_in_order()
    meter.end(len(batch))
    return batch


def _here(plan: Plan, records: Iterable[Any], batch: Batch, meter: _Meter, stop: Stop | None) -> None:
    def done(result: Result) -> None:
        batch.append(result)
        batch.indices.append(len(batch.indices))
        meter.tell(len(batch))

    plan.run_all(records if stop is None else _until(stop, records, batch), done)


def _until(stop: Stop, records: Iterable[Any], batch: Batch) -> Iterator[Any]:
    for record in records:
        if stop():
            batch.interrupted = True
            return
        yield record


def _in_processes(
    plan: Plan, records: Iterable[Any], batch: Batch, meter: _Meter, *, processes: int, ordered: bool, stop: Stop | None
) -> None:
    from setpoint.data.processes import Pool

    size = LOT if meter.total is None else max(1, min(LOT, -(-meter.total // (processes * 4))))
    with Pool(plan, processes) as pool:
        for lot in pool.lots(_lots(records, size, batch, stop), ordered=ordered):
            batch += lot.results
            batch.indices += range(lot.first, lot.first + len(lot.results))
            meter.tell(len(batch))


def _lots(records: Iterable[Any], size: int, batch: Batch, stop: Stop | None) -> Iterator[tuple[int, list[Any]]]:
    source, first = iter(records), 0
    while lot := list(islice(source, size)):
        if stop is not None and stop():
            batch.interrupted = True
            return
        yield first, lot
        first += len(lot)


async def _work(plan: Plan, source: _Numbered, batch: Batch, meter: _Meter, stop: Stop | None) -> None:
    """One of the workers: takes the next record when it is done with one."""
    run = plan.arun
    while stop is None or not stop():
        index, record = await source.wait() if source.waits else source.next()
        if index < 0:
            return
        batch.append(await run(record))
        batch.indices.append(index)
        meter.tell(len(batch))
        if index % _TURN == 0:
            await asyncio.sleep(0)
    batch.interrupted = True


class _Numbered:
    """The records with their numbers, for several takers; the number behind the last record is -1."""

    def __init__(self, records: Iterable[Any] | AsyncIterable[Any]) -> None:
        self.waits = isinstance(records, AsyncIterable)
        self._async = aiter(records) if isinstance(records, AsyncIterable) else None
        self._sync: Iterator[tuple[int, Any]] = iter(()) if isinstance(records, AsyncIterable) else enumerate(records)
        self._turn = asyncio.Lock()
        self._next = 0

    def next(self) -> tuple[int, Any]:
        """The next record of an iterable."""
        return next(self._sync, (-1, None))

    async def wait(self) -> tuple[int, Any]:
        """The next record of an async iterable, which only one taker at a time may ask."""
        async with self._turn:
            assert self._async is not None
            try:
                record = await anext(self._async)
            except StopAsyncIteration:
                return -1, None
            self._next += 1
            return self._next - 1, record

    async def aclose(self) -> None:
        """Ends an async generator."""
        if self._async is not None and hasattr(self._async, "aclose"):
            await self._async.aclose()


class _Meter:
    """Tells progress, not too often."""

    def __init__(self, on_progress: Progress | None, total: int | None) -> None:
        self.silent = on_progress is None
        self.total = total
        self._tell = on_progress
        self._told = time.monotonic()

    def tell(self, done: int) -> None:
        if self._tell is not None and time.monotonic() - self._told >= PROGRESS_EVERY:
            self._told = time.monotonic()
            self._tell(done, self.total)

    def end(self, done: int) -> None:
        if self._tell is not None:
            self._tell(done, self.total)


def _length(records: object) -> int | None:
    try:
        return len(records)  # type: ignore[arg-type]  # asked, not known
    except TypeError:
        return None


def _in_loop(work: Coroutine[Any, Any, Batch]) -> Batch:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise RuntimeError("an event loop is running here: await the asynchronous twin instead")


@contextlib.contextmanager
def transaction(plan: Plan) -> Iterator[Plan]:
    """The plan, its resources sharing one transaction until the end where the definition asks for that: kept unless something is raised."""
    resources = _shared(plan)
    if resources is None:
        yield plan
        return
    ok = False
    try:
        yield plan.using(resources=resources)
        ok = True
    finally:
        resources.end(ok)


@contextlib.asynccontextmanager
async def atransaction(plan: Plan) -> AsyncIterator[Plan]:
    """As `transaction`."""
    resources = _shared(plan)
    if resources is None:
        yield plan
        return
    ok = False
    try:
        yield plan.using(resources=resources)
        ok = True
    finally:
        await resources.aend(ok)


def _shared(plan: Plan) -> Any:
    """The resources of a batch; None where records share no transaction."""
    make = getattr(plan.resources, "batch", None)
    return make() if make is not None and plan.definition.transactions == "batch" else None
