"""Carries a batch that is kept, lot by lot."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from setpoint.data.batch import Batch, InLoop, Progress, run_batch
from setpoint.data.runs.many import LOT, BatchRun

if TYPE_CHECKING:
    from setpoint.data.plan import Plan
    from setpoint.data.processes import Pool


@contextmanager
def carrying(
    plan: Plan, *, processes: int, concurrency: int, in_loop: InLoop
) -> Iterator[Callable[[list[Any]], Batch]]:
    """What carries a lot: here, or in processes that stay for all of them. Raises as `Pool` does."""
    if not processes or plan.is_async:
        yield lambda lot: run_batch(plan, lot, concurrency=concurrency, in_loop=in_loop)
        return
    from setpoint.data.processes import Pool

    with Pool(plan, processes) as pool:
        yield lambda lot: _pooled(pool, lot)


def _pooled(pool: Pool, lot: list[Any]) -> Batch:
    batch = Batch()
    try:
        batch += pool.carry(lot)
    except KeyboardInterrupt:
        batch.interrupted = True
    return batch


def carry(
    kept: BatchRun,
    records: Iterable[Any],
    lot_of: Callable[[list[Any]], Batch],
    on_progress: Progress | None,
    on_end: Callable[[Batch], object] | None = None,
) -> Batch:
    """The results of all records, in order: those that are kept, and those of the lots that `lot_of` carries now."""
    told = _Told(kept, on_progress, records)
    with kept:
        for first, lot in _lots(records):
            if not told.known(first, len(lot)) and not told.take(first, lot_of(lot)):
                break
        if on_end is not None and not told.batch.interrupted:
            on_end(told.batch)
        return told.end()


async def acarry(
    kept: BatchRun,
    records: Iterable[Any] | AsyncIterable[Any],
    lot_of: Callable[[list[Any]], Awaitable[Batch]],
    on_progress: Progress | None,
) -> Batch:
    """As `carry`."""
    told = _Told(kept, on_progress, records)
    with kept:
        async for first, lot in _alots(records):
            if not told.known(first, len(lot)) and not told.take(first, await lot_of(lot)):
                break
        return told.end()


class _Told:
    """The batch as it grows."""

    def __init__(self, kept: BatchRun, on_progress: Progress | None, records: object) -> None:
        self._kept, self._on_progress = kept, on_progress
        self._total = len(records) if hasattr(records, "__len__") else None
        self.batch = Batch()
        self._began = kept.runs.wall()

    def known(self, first: int, count: int) -> bool:
        """Whether the results of that lot are kept; then they are in the batch."""
        results = self._kept.known(first, count)
        if results is not None:
            self._add(first, results)
        return results is not None

    def take(self, first: int, part: Batch) -> bool:
        """Keeps the results of a lot; False where it was interrupted, then they are only in the batch."""
        if not part.interrupted:
            self._kept.keep(first, part)
        self._add(first, part)
        self.batch.interrupted = part.interrupted
        return not part.interrupted

    def end(self) -> Batch:
        """The batch; it is done, unless it was interrupted."""
        if self.batch.interrupted:
            self._kept.leave()
        else:
            counts: dict[str, int] = {}
            for result in self.batch:
                counts[result.final_state] = counts.get(result.final_state, 0) + 1
            seconds = max(0.0, self._kept.runs.wall() - self._began)
            self._kept.finish(counts, seconds=seconds, failed=bool(self.batch.failed))
        return self.batch

    def _add(self, first: int, results: list[Any]) -> None:
        self.batch.extend(results)
        self.batch.indices += range(first, first + len(results))
        if self._on_progress is not None:
            self._on_progress(len(self.batch), self._total)


def _lots(records: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
    source, first = iter(records), 0
    while lot := list(islice(source, LOT)):
        yield first, lot
        first += len(lot)


async def _alots(records: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[tuple[int, list[Any]]]:
    if not isinstance(records, AsyncIterable):
        for numbered in _lots(records):
            yield numbered
        return
    first, lot = 0, []
    async for record in records:
        lot.append(record)
        if len(lot) == LOT:
            yield first, lot
            first, lot = first + LOT, []
    if lot:
        yield first, lot
