"""Transactions of a record, of a batch, and manual; and what is left when something goes wrong in them."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.resources.resource_samples import IT, Ledger, Sync, managed

from setpoint.data.resources import Entry, Manager, PoolSettings, ResourceTimeout, TransactionError


def visit(resources: object, run: str, entry: str, *, ok: bool = True) -> None:
    """What one state does."""
    resources.acquire(IT, run)["it"].write(entry)  # type: ignore[attr-defined]
    resources.release(IT, run, ok)  # type: ignore[attr-defined]


def test_without_transactions_everything_is_for_good_at_once() -> None:
    """Also what a record did that failed afterwards."""
    ledger = Ledger()
    manager = managed(ledger)
    visit(manager, "a", "one")
    visit(manager, "a", "two", ok=False)
    manager.finish("a", False)
    assert ledger.entries == ["one", "two"]


def test_a_record_is_committed_when_it_succeeds() -> None:
    """Nothing is seen before its end; a failed state is undone alone when an arc caught the error."""
    ledger = Ledger()
    manager = managed(ledger, transactions="record")
    visit(manager, "a", "one")
    visit(manager, "a", "two", ok=False)
    visit(manager, "a", "three")
    assert ledger.entries == []
    manager.finish("a", True)
    assert ledger.entries == ["one", "three"]
    assert manager.health()["it"].in_use == 0


def test_a_record_that_fails_leaves_nothing() -> None:
    """All its states are rolled back, and the handle is given back."""
    ledger = Ledger()
    manager = managed(ledger, transactions="record", size=1, timeout=0)
    visit(manager, "a", "one")
    with pytest.raises(ResourceTimeout, match="held by a"):
        manager.acquire(IT, "b")
    manager.finish("a", False)
    visit(manager, "b", "two")
    manager.finish("b", True)
    assert ledger.entries == ["two"]


def test_an_arc_inside_a_state_is_a_savepoint_inside() -> None:
    """What failed on an arc is undone without what the state did before it."""
    ledger = Ledger()
    manager = managed(ledger, transactions="record")
    manager.acquire(IT, "a")["it"].write("state")
    visit(manager, "a", "arc", ok=False)
    manager.release(IT, "a", True)
    manager.finish("a", True)
    assert ledger.entries == ["state"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=8), st.booleans())
def test_what_is_committed_is_what_succeeded(steps: list[tuple[bool, int]], ok: bool) -> None:
    """For any sequence of states that succeed or fail the ledger has the successful ones of a successful run, else nothing."""
    ledger = Ledger()
    manager = managed(ledger, transactions="record")
    for well, number in steps:
        visit(manager, "a", str(number), ok=well)
    manager.finish("a", ok)
    assert ledger.entries == [str(number) for well, number in steps if well and ok]


def test_a_commit_that_fails_is_an_error_of_the_run() -> None:
    """It says what was committed before it, and the handle is given back all the same."""
    first, second = Ledger(), Ledger()
    second.fail_commit = True
    manager = Manager({"a": Entry(first, transactions="record"), "b": Entry(second, transactions="record")})
    both = {"a": "a", "b": "b"}
    for handle in manager.acquire(both, "run").values():
        handle.write("x")
    manager.release(both, "run", True)
    with pytest.raises(TransactionError, match=r"'b': .*disk is full; committed before it: a"):
        manager.finish("run", True)
    assert first.entries == ["x"]
    assert all(health.in_use == 0 for health in manager.health().values())


def test_a_function_that_commits_by_itself_is_found() -> None:
    """The savepoint of the state is gone then: an error that asks for it, not silence."""
    manager = managed(Ledger(), transactions="record")
    manager.acquire(IT, "a")["it"].draft = None
    with pytest.raises(TransactionError, match="did a function commit or roll back itself"):
        manager.release(IT, "a", True)
    manager.finish("a", False)


def test_with_manual_transactions_functions_decide() -> None:
    """The handle stays with the record; what a function leaves open at the end is rolled back, and an error."""
    ledger = Ledger()
    manager = managed(ledger, transactions="manual")
    page = manager.acquire(IT, "a")["it"]
    ledger.begin(page)
    page.write("one")
    manager.release(IT, "a", True)
    assert manager.acquire(IT, "a")["it"] is page
    ledger.commit(page)
    manager.release(IT, "a", True)
    manager.finish("a", True)
    assert ledger.entries == ["one"]

    page = manager.acquire(IT, "b")["it"]
    ledger.begin(page)
    page.write("two")
    manager.release(IT, "b", True)
    with pytest.raises(TransactionError, match="none has ended it"):
        manager.finish("b", True)
    assert ledger.entries == ["one"]


def test_when_one_of_two_cannot_be_had_the_other_is_given_back() -> None:
    """A state gets all of its resources or none, and no transaction stays behind."""
    broken = Sync()
    broken.failing = 1
    ledger = Ledger()
    manager = Manager({"a": Entry(ledger, PoolSettings(size=1), "record"), "b": Entry(broken)})
    with pytest.raises(Exception, match="cannot be had"):
        manager.acquire({"a": "a", "b": "b"}, "run")
    assert manager.health()["a"].in_use == 0
    manager.acquire({"a": "a"}, "other")["a"].write("x")
    manager.release({"a": "a"}, "other", True)
    manager.finish("other", True)
    assert ledger.entries == ["x"]


def test_a_batch_is_one_transaction_and_its_records_savepoints() -> None:
    """A failed record is undone alone; all others are committed together at the end."""
    ledger = Ledger()
    manager = managed(ledger, transactions="batch")
    batch = manager.batch()
    assert batch.transactional
    for run, ok in (("a", True), ("b", False), ("c", True)):
        visit(batch, run, run)
        batch.finish(run, ok)
    assert ledger.entries == []
    batch.end(True)
    assert ledger.entries == ["a", "c"]
    assert manager.health()["it"].in_use == 0
    with pytest.raises(TransactionError, match="has ended"):
        batch.acquire(IT, "d")


def test_a_batch_can_be_undone_as_a_whole() -> None:
    """`end(False)` rolls back what its records had done; a second end does nothing."""
    ledger = Ledger()
    manager = managed(ledger, transactions="batch")
    batch = manager.batch()
    visit(batch, "a", "a")
    with pytest.raises(TransactionError, match="cannot end: it is held by a"):
        batch.end(True)
    batch.finish("a", True)
    batch.end(False)
    batch.end(True)
    assert ledger.entries == []


def test_a_commit_of_a_batch_that_fails_is_said() -> None:
    """Whoever runs the batch must know that none of its records was written."""
    ledger = Ledger()
    ledger.fail_commit = True
    batch = managed(ledger, transactions="batch").batch("chunk 4")
    visit(batch, "a", "a")
    batch.finish("a", True)
    with pytest.raises(TransactionError, match="disk is full"):
        batch.end(True)


def test_outside_a_batch_its_transactions_are_those_of_the_record() -> None:
    """A single record is a batch of one."""
    ledger = Ledger()
    manager = managed(ledger, transactions="batch")
    visit(manager, "a", "a")
    manager.finish("a", True)
    assert ledger.entries == ["a"]


def test_records_of_a_batch_take_turns() -> None:
    """They share one handle, so each has it to its end; run side by side they do not mix."""
    ledger = Ledger()
    batch = managed(ledger, transactions="batch", size=1, timeout=0).batch()

    def record(number: int) -> None:
        run = f"run {number}"
        visit(batch, run, f"{number}a")
        visit(batch, run, f"{number}b")
        batch.finish(run, number % 2 == 0)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    batch.end(True)
    assert sorted(ledger.entries) == ["0a", "0b", "2a", "2b", "4a", "4b"]
    assert all(ledger.entries[at][0] == ledger.entries[at + 1][0] for at in (0, 2, 4))


def test_the_next_record_of_a_batch_waits_for_the_end_of_the_one_before() -> None:
    """Not only for the end of its state: its savepoint would otherwise be inside the other's."""

    async def scenario() -> list[str]:
        ledger = Ledger()
        batch = managed(ledger, transactions="batch", timeout=0).batch()
        resources = batch.awaiting()
        (await resources.acquire(IT, "a"))["it"].write("a")
        await resources.release(IT, "a", True)
        second = asyncio.create_task(resources.acquire(IT, "b"))
        await asyncio.sleep(0.01)
        assert not second.done()
        await resources.finish("a", False)
        (await second)["it"].write("b")
        await resources.release(IT, "b", True)
        await resources.finish("b", True)
        await batch.aend(True)
        return ledger.entries

    assert asyncio.run(scenario()) == ["b"]


def test_a_cancelled_run_is_rolled_back_without_waiting() -> None:
    """`drop` may be called where nothing can be awaited; in an event loop a task does the work, which closing waits for."""
    ledger = Ledger()
    manager = managed(ledger, transactions="record")
    visit(manager, "a", "a")
    manager.drop("a")
    assert manager.health()["it"].in_use == 0

    async def scenario() -> None:
        resources = manager.awaiting()
        (await resources.acquire(IT, "b"))["it"].write("b")
        resources.drop("b")
        assert await manager.aclose() == []

    asyncio.run(scenario())
    assert ledger.entries == []
