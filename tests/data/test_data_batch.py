"""Batches: the same results as one by one, as many at a time as asked for, and what is done is never lost."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.stream.stream_samples import adouble, deadly, double, numbers, plan, sorted_out, straight

from setpoint.data.batch import Batch, arun_batch, run_batch
from setpoint.data.processes import NotShippable, Pool


def bare(results: list[Any]) -> list[Any]:
    """What must be the same wherever a record was carried."""
    return [(result.final_state, result.data, result.path, result.success, str(result.error)) for result in results]


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(0, 50), max_size=30), concurrency=st.integers(1, 10))
def test_a_batch_gives_what_the_records_give_one_by_one(values: list[int], concurrency: int) -> None:
    """In their order, by a plan with or without async functions, in or outside a loop."""
    given_records = [{"a": value} for value in values]
    made, waits = plan(double, sorted_out), plan(adouble, sorted_out)
    one_by_one = bare([made.run(record) for record in given_records])
    assert bare(run_batch(made, given_records)) == one_by_one
    assert bare(run_batch(made, iter(given_records), stop=lambda: False)) == one_by_one
    assert bare(run_batch(waits, given_records, concurrency=concurrency)) == one_by_one
    assert bare(asyncio.run(arun_batch(made, given_records))) == one_by_one


def test_so_many_records_are_on_their_way_at_once() -> None:
    """No more than asked for, and the iterable is asked only when there is room."""
    going = most = taken = 0

    def source() -> Iterator[Any]:
        nonlocal taken
        for number in range(50):
            taken += 1
            assert taken - len(batch) <= 7
            yield {"a": number}

    async def work(record: Any) -> None:
        nonlocal going, most
        going += 1
        most = max(most, going)
        await asyncio.sleep(0)
        going -= 1

    batch = Batch()
    run_batch(straight(work), source(), concurrency=7, into=batch)
    assert most == 7
    assert [result.data["a"] for result in batch] == list(range(50))
    with pytest.raises(ValueError, match="concurrency=0"):
        run_batch(straight(work), [], concurrency=0)


def test_results_in_the_order_in_which_they_were_done() -> None:
    """With the number of the record that each belongs to."""

    async def work(record: Any) -> None:
        for _ in range(10 - record["a"]):
            await asyncio.sleep(0)

    batch = run_batch(straight(work), numbers(4), ordered=False)
    assert batch.indices == [3, 2, 1, 0]
    assert [result.data["a"] for result in batch] == [3, 2, 1, 0]
    assert run_batch(straight(work), numbers(4)).indices == [0, 1, 2, 3]


def test_an_async_iterable_is_taken_by_several_workers() -> None:
    """Each record once, in order."""

    async def source() -> AsyncIterator[Any]:
        for number in range(20):
            await asyncio.sleep(0)
            yield {"a": number}

    batch = asyncio.run(arun_batch(plan(adouble), source(), concurrency=5))
    assert [result.data["a"] for result in batch] == list(range(20))
    assert batch.failed == []


def test_ctrl_c_gives_what_is_done() -> None:
    """Marked as interrupted, with whose results they are."""

    def pressed(record: Any) -> None:
        if record["a"] == 3:
            raise KeyboardInterrupt

    batch = run_batch(straight(pressed), numbers(10))
    assert batch.interrupted
    assert batch.indices == [0, 1, 2]


def test_ctrl_c_gives_what_an_async_plan_has_done() -> None:
    """The signal reaches the loop; what was on its way is cancelled."""

    async def work(record: Any) -> None:
        if record["a"] == 5:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    batch = run_batch(straight(work), numbers(10), concurrency=1)
    assert batch.interrupted
    assert batch.indices == [0, 1, 2, 3, 4]


def test_a_batch_can_be_told_to_end() -> None:
    """Between two records; the rest is not carried."""
    done: list[int] = []
    made = straight(lambda record: done.append(record["a"]))
    batch = run_batch(made, numbers(10), stop=lambda: len(done) >= 4)
    assert batch.interrupted
    assert len(batch) == 4
    batch = asyncio.run(arun_batch(straight(adouble), numbers(10), stop=lambda: True))
    assert (list(batch), batch.interrupted) == ([], True)


def test_what_a_cancelled_batch_had_done_is_in_the_batch_that_was_passed() -> None:
    """While the cancellation itself goes on, as anywhere in asyncio."""
    batch, reached = Batch(), asyncio.Event()

    async def work(record: Any) -> None:
        if record["a"] == 2:
            reached.set()
            await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.create_task(arun_batch(straight(work), numbers(5), concurrency=1, into=batch))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert batch.indices == [0, 1]


def test_an_iterable_that_breaks_is_said() -> None:
    """Its exception goes to the caller; what was done is in the batch that was passed."""

    def broken() -> Iterator[Any]:
        yield {"a": 1}
        raise OSError("gone")

    for made in (straight(double), straight(adouble)):
        batch = Batch()
        with pytest.raises(OSError, match="gone"):
            run_batch(made, broken(), into=batch)
        assert len(batch) == 1


def test_progress_is_told_at_the_end_at_least() -> None:
    """With the total where the records can be counted."""
    seen: list[tuple[int, int | None]] = []
    run_batch(plan(), numbers(5), on_progress=lambda done, total: seen.append((done, total)))
    run_batch(plan(), iter(numbers(5)), on_progress=lambda done, total: seen.append((done, total)))
    assert (5, 5) in seen
    assert seen[-1] == (5, None)


def test_a_batch_of_an_async_plan_refuses_to_block_a_loop() -> None:
    """It says what to await instead."""

    async def inside() -> None:
        with pytest.raises(RuntimeError, match="await the asynchronous twin"):
            run_batch(plan(adouble), numbers(1))

    asyncio.run(inside())


def test_records_of_one_batch_may_share_one_transaction() -> None:
    """Where the definition has transactions by batch, its resources are told of the batch's end; Ctrl-C rolls it back."""
    told: list[Any] = []

    class Shared:
        is_async = False

        def batch(self) -> Any:
            return self

        def awaiting(self) -> Any:
            return self

        def end(self, ok: bool) -> None:
            told.append(ok)

        async def aend(self, ok: bool) -> None:
            told.append(("async", ok))

    def pressed(record: Any) -> None:
        raise KeyboardInterrupt

    shared: Any = Shared()
    for transform in (double, pressed):
        run_batch(straight(transform, transactions="batch").using(resources=shared), numbers(3))
    asyncio.run(arun_batch(straight(adouble, transactions="batch").using(resources=shared), numbers(3)))
    assert told == [True, False, ("async", True)]


def test_a_batch_in_processes() -> None:
    """The same results in the same order; records and results that cannot be sent fail alone; one that kills its process too."""
    made = plan(double, sorted_out)
    given_records = numbers(120)
    assert bare(run_batch(made, given_records, processes=2)) == bare([made.run(record) for record in given_records])
    unordered = run_batch(made, given_records, processes=2, ordered=False)
    assert sorted(unordered.indices) == list(range(120))
    assert all(
        result.data["a"] == index
        for index, result in zip(unordered.indices, unordered, strict=True)
        if result.success and not result.parts
    )
    results = run_batch(plan(), [{"a": 1}, {"a": 2, "lock": threading.Lock()}, {"a": 3}], processes=1)
    assert [result.success for result in results] == [True, False, True]
    assert "cannot be sent" in str(results[1].error)
    results = run_batch(straight(deadly), numbers(20), processes=2)
    assert [index for index, result in enumerate(results) if not result.success] == [13]
    assert results[13].error is not None
    assert results[13].error.type == "ProcessDied"
    assert results[13].data == {"a": 13}


def test_plans_that_cannot_go_to_other_processes() -> None:
    """Functions inside functions, async functions: refused before anything runs, with what to do."""

    def inner(record: Any) -> Any:
        return record

    with pytest.raises(NotShippable, match=r"inner.*top level of a module"):
        run_batch(straight(inner), numbers(3), processes=2)
    with pytest.raises(TypeError, match="async"):
        Pool(plan(adouble), 2)
