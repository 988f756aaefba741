"""SQL handles on SQLite: statements, upserts, transactions with savepoints; sync and async. PostgreSQL is in tests/real."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.data.definition import ResourceDef
from setpoint.data.resources import Manager, TransactionError, manager

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'setpoint[sql]'")

DB = {"db": "db"}


def database(file: Path | None, *, transactions: Any = "none", type: str = "database", **settings: Any) -> Manager:
    url = f"sqlite:///{file}" if file else "sqlite://"
    made = ResourceDef(name="db", type=type, config={"url": url}, **{"timeout": 5.0, **settings})
    return manager([made], transactions=transactions)


def stored(file: Path) -> list[tuple[Any, ...]]:
    """What another connection finds."""
    connection = sqlite3.connect(file)
    try:
        return connection.execute("SELECT * FROM parts ORDER BY id").fetchall()
    finally:
        connection.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "parts.db"
    connection = sqlite3.connect(made)
    connection.execute("CREATE TABLE parts (id INTEGER PRIMARY KEY, name TEXT, qty INTEGER)")
    connection.commit()
    connection.close()
    return made


def test_statements_and_rows(file: Path) -> None:
    """Parameters by name, rows as dicts, one row, one value; each statement is for good at once where there are no transactions."""
    resources = database(file)
    db = resources.acquire(DB, "a")["db"]
    db.execute("INSERT INTO parts VALUES (:id, :name, 1)", [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}])
    assert stored(file) == [(1, "bolt", 1), (2, "nut", 1)]
    assert db.rows("SELECT id, name FROM parts WHERE id > :least", {"least": 1}) == [{"id": 2, "name": "nut"}]
    assert db.row("SELECT name FROM parts WHERE id = 9") is None
    assert db.value("SELECT count(*) FROM parts") == 2
    resources.release(DB, "a", True)
    resources.close()


def test_inserts_and_upserts(file: Path) -> None:
    """Records with different fields are written in order; a conflict is an error, updated or ignored, as asked for."""
    resources = database(file)
    db = resources.acquire(DB, "a")["db"]
    assert db.insert("parts", [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut", "qty": 5}]) == 2
    assert db.upsert("parts", {"id": 2, "qty": 6}, key=["id"]) == 1
    assert db.insert("parts", {"id": 1, "name": "other"}, key=["id"], on_conflict="ignore") == 0
    assert db.upsert("main.parts", {"id": 3}, key=["id"]) == 1
    assert stored(file) == [(1, "bolt", None), (2, "nut", 6), (3, None, None)]
    with pytest.raises(Exception, match="UNIQUE"):
        db.insert("parts", {"id": 1})
    with pytest.raises(ValueError, match="no value for its key column id"):
        db.upsert("parts", [{"id": None, "name": "x"}], key=["id"])
    with pytest.raises(ValueError, match="without fields"):
        db.insert("parts", {})
    with pytest.raises(ValueError, match="needs a key"):
        db.upsert("parts", {"name": "x"}, key=[])
    assert db.insert('parts"; DROP TABLE parts; --', []) == 0
    with pytest.raises(Exception, match="no such table"):
        db.insert('parts"; DROP TABLE parts; --', {"id": 1})
    assert len(stored(file)) == 3
    resources.release(DB, "a", True)
    resources.close()


@pytest.mark.parametrize("type", ["database", "async_database"])
def test_a_record_is_one_transaction(file: Path, type: str) -> None:
    """Seen by nobody until it is committed; a failed state is undone alone; a failed record leaves nothing."""
    if type == "async_database":
        pytest.importorskip("aiosqlite", reason="aiosqlite is not installed: pip install 'setpoint[sql]'")

    async def scenario() -> None:
        made = database(file, type=type, transactions="record")
        resources = made.awaiting()

        async def visit(run: str, number: int, *, ok: bool) -> None:
            db = (await resources.acquire(DB, run))["db"]
            written = db.insert("parts", {"id": number})
            if type == "async_database":
                await written
            await resources.release(DB, run, ok)

        await visit("a", 1, ok=True)
        await visit("a", 2, ok=False)
        await visit("a", 3, ok=True)
        assert stored(file) == []
        await resources.finish("a", True)
        assert stored(file) == [(1, None, None), (3, None, None)]
        await visit("b", 4, ok=True)
        await resources.finish("b", False)
        await visit("c", 5, ok=True)
        await resources.finish("c", True)
        assert stored(file) == [(1, None, None), (3, None, None), (5, None, None)]
        await made.aclose()

    asyncio.run(scenario())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_a_batch_commits_exactly_the_records_that_succeeded(records: list[tuple[bool, bool]]) -> None:
    """Each record has two states; of its work stays what its successful states did, if the record succeeded."""
    resources = database(None, transactions="batch")
    batch = resources.batch()
    setup = batch.acquire(DB, "setup")["db"]
    setup.execute("CREATE TABLE parts (id INTEGER PRIMARY KEY)")
    batch.release(DB, "setup", True)
    batch.finish("setup", True)
    expected = []
    for number, (second, ok) in enumerate(records):
        run = f"run {number}"
        for step, well in ((0, True), (1, second)):
            batch.acquire(DB, run)["db"].insert("parts", {"id": 2 * number + step})
            batch.release(DB, run, well)
            expected += [2 * number + step] if well and ok else []
        batch.finish(run, ok)
    batch.end(True)
    rows = resources.acquire(DB, "look")["db"].rows("SELECT id FROM parts ORDER BY id")
    assert [row["id"] for row in rows] == expected
    resources.finish("look", True)
    resources.close()


def test_functions_may_begin_their_own(file: Path) -> None:
    """With manual transactions: `begin` and `savepoint` are blocks, undone when they raise; one left open is an error."""
    resources = database(file, transactions="manual")
    db = resources.acquire(DB, "a")["db"]
    with pytest.raises(TransactionError, match="there is none"), db.savepoint():
        pass
    with db.begin():
        db.insert("parts", {"id": 1})
        with pytest.raises(Exception, match="UNIQUE"), db.savepoint():
            db.insert("parts", [{"id": 2}, {"id": 2}])
        with pytest.raises(TransactionError, match="under way"), db.begin():
            pass
        assert stored(file) == []
    assert stored(file) == [(1, None, None)]
    with pytest.raises(Exception, match="UNIQUE"), db.begin():
        db.insert("parts", [{"id": 3}, {"id": 3}])
    db.insert("parts", {"id": 4})
    db.start()
    db.insert("parts", {"id": 5})
    resources.release(DB, "a", True)
    with pytest.raises(TransactionError, match="none has ended it"):
        resources.finish("a", True)
    assert [row[0] for row in stored(file)] == [1, 4]
    resources.close()


def test_a_function_that_commits_inside_a_transaction_of_the_record_is_found(file: Path) -> None:
    """Its savepoint has ended: the state fails, and so would the commit at the end."""
    resources = database(file, transactions="record")
    resources.acquire(DB, "a")["db"].connection.commit()
    with pytest.raises(TransactionError, match="did a function commit"):
        resources.release(DB, "a", True)
    with pytest.raises(TransactionError, match="had ended before"):
        resources.finish("a", True)
    resources.acquire(DB, "b")["db"].insert("parts", {"id": 1})
    resources.release(DB, "b", True)
    resources.finish("b", True)
    assert stored(file) == [(1, None, None)]
    resources.close()


def test_a_database_in_memory_is_one(file: Path) -> None:
    """All runs see the same tables, whatever the size of the pool says and however long it lies idle."""
    resources = database(None, pool_size=10)
    resources.acquire(DB, "a")["db"].execute("CREATE TABLE parts (id INTEGER)")
    resources.release(DB, "a", True)
    assert resources.acquire(DB, "b")["db"].value("SELECT count(*) FROM parts") == 0
    assert resources.health()["db"].limit == 1
    resources.release(DB, "b", True)
    resources.close()


def test_two_records_that_write_wait_for_each_other(file: Path) -> None:
    """A transaction that begins by reading and then writes does not fail because another one wrote meanwhile: it had waited."""
    resources = database(file, transactions="record", pool_size=2, timeout=0.05)
    first = resources.acquire(DB, "a")["db"]
    first.value("SELECT count(*) FROM parts")
    with pytest.raises(Exception, match="locked"):
        resources.acquire(DB, "b")
    first.insert("parts", {"id": 1})
    resources.release(DB, "a", True)
    resources.finish("a", True)
    assert resources.acquire(DB, "b")["db"].value("SELECT count(*) FROM parts") == 1
    resources.release(DB, "b", True)
    resources.finish("b", True)
    resources.close()


def test_a_url_that_is_none_says_so_without_showing_it() -> None:
    """What is wrong may contain a password."""
    with pytest.raises(Exception, match="no SQLAlchemy URL") as caught:
        manager([ResourceDef(name="db", type="database", config={"url": "hunter2 at host"})])
    assert "hunter2" not in str(caught.value)
