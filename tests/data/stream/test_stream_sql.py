"""SQL: pages by key that neither lose nor repeat a row, and a table in which each record is exactly once."""

import contextlib
import datetime
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.stream.stream_samples import adouble, numbers, plan, read_lines, straight, write_lines

from setpoint.data.stream import StreamError, open_sink, open_source, run_stream

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'setpoint[sql]'")


def database(path: Path, *statements: str) -> str:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "shop.db"
    values = ", ".join(f"({n}, {n % 7}, 'order {n}')" for n in range(1, 101))
    url = database(
        path,
        "create table orders (id integer primary key, a integer, text text)",
        f"insert into orders values {values}",
        "create table done (id integer primary key, a integer check (a <> 3), more text, text text)",
    )
    return path, url


def everything(source: Any, limit: int) -> list[Any]:
    found = []
    while (chunk := source.read(limit)) is not None:
        found += chunk.records
    source.close()
    return found


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
def test_a_table_is_read_page_by_page_in_the_order_of_its_key(shop: tuple[Path, str], limit: int) -> None:
    """Every row once; every position is one to go on from; the key may be of several columns, and of a query."""
    source: Any = open_source(f"{shop[1]}#orders")
    assert [row["id"] for row in everything(source, limit)] == list(range(1, 101))
    source = open_source(shop[1], table="orders", key=["a", "id"])
    whole = everything(source, limit)
    assert [(row["a"], row["id"]) for row in whole] == sorted((n % 7, n) for n in range(1, 101))
    source = open_source(shop[1], query="select id as n, text from orders where a = 1;", key="n")
    chunk = source.read(3)
    again: Any = open_source(shop[1], query="select id as n, text from orders where a = 1", key="n")
    again.seek(chunk.position)
    assert everything(again, limit) == everything(source, limit)


def test_a_key_may_be_a_time(tmp_path: Path) -> None:
    """A position is JSON all the same."""
    url = database(tmp_path / "t.db", "create table t (at datetime primary key)")
    times = [datetime.datetime(2026, 1, day, 12, 30) for day in range(1, 6)]  # noqa: DTZ001  # as SQLite keeps them
    run_stream(straight(), [{"at": time} for time in times], f"{url}#t")
    source: Any = open_source(f"{url}#t")
    position = source.read(2).position
    again: Any = open_source(f"{url}#t")
    again.seek(position)
    assert len(everything(again, 2)) == 3


def test_keys_that_would_lose_rows_are_errors(shop: tuple[Path, str]) -> None:
    """A key that is not unique, null, not there, or not said."""
    with pytest.raises(StreamError, match=r"several rows have a = \[0\]: the key must be unique"):
        run_stream(plan(), open_source(shop[1], table="orders", key="a"), chunk_size=5)
    database(shop[0], "create table loose (n integer)", "insert into loose values (1), (null)")
    with pytest.raises(StreamError, match="some rows have no n; they would be passed over"):
        run_stream(plan(), open_source(shop[1], table="loose", key="n"))
    for wrong, message in (
        ({"table": "loose"}, "no primary key"),
        ({"table": "orders", "key": "nope"}, "no column nope; it has id, a, text"),
        ({"table": "nope"}, "no table nope"),
        ({"query": "select 1"}, "read by a key"),
        ({}, "say which table"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source(shop[1], **wrong)


def test_rows_that_the_database_refuses_are_dead_letters(shop: tuple[Path, str], tmp_path: Path) -> None:
    """Each alone; the others of the chunk are there. Unknown columns are never dropped; nested values are JSON."""
    records = [{"id": n, "a": n % 5, "more": [n, {"x": None}]} for n in range(20)]
    records += [{"id": 50, "a": 0, "strange": 1}, {"id": 51, "a": object()}, {"id": 0, "a": 1}]  # type: ignore[dict-item]
    report = run_stream(straight(), records, f"{shop[1]}#done", chunk_size=8, dead_letters=tmp_path / "dead.jsonl")
    assert report.emitted == {"done": 16}
    assert report.failed == {"done": 7}
    reasons = [letter["reason"] for letter in read_lines(tmp_path / "dead.jsonl")]
    assert sum("CHECK constraint" in reason for reason in reasons) == 4
    assert sum("UNIQUE constraint" in reason for reason in reasons) == 1
    assert "table done has no column strange" in reasons
    assert rows(shop[0], "select count(*), min(more) from done") == [(16, '[0,{"x":null}]')]


def test_upserts(shop: tuple[Path, str]) -> None:
    """A row with a known key is changed in the columns that the record has, a new one is inserted."""
    records = [{"id": 1, "text": "new"}, {"id": 200, "a": 1}, {"id": 200, "a": 2}, {"id": 2}, {"a": 9}]
    report = run_stream(straight(), records, open_sink(f"{shop[1]}#orders", mode="upsert"))
    assert report.failed == {"done": 1}
    assert rows(shop[0], "select * from orders where id in (1, 2, 200)") == [
        (1, 1, "new"),
        (2, 2, "order 2"),
        (200, 2, None),
    ]


class Killed(BaseException):
    """Ends everything, as a kill does."""


@settings(max_examples=8, deadline=None)
@given(kills=st.lists(st.integers(1, 25), max_size=5))
def test_each_record_is_in_the_table_exactly_once(tmp_path_factory: pytest.TempPathFactory, kills: list[int]) -> None:
    """Wherever the stream is killed: rows and mark are one transaction."""
    folder = tmp_path_factory.mktemp("sql")
    url = database(folder / "out.db", "create table t (a integer, b integer)")
    source = write_lines(folder / "in.jsonl", numbers(90))
    for kill in kills:
        sink: Any = open_sink(f"{url}#t")
        calls = 0
        for name in ("write", "commit"):
            call = getattr(sink, name)

            def counted(*args: Any, call: Any = call, kill: int = kill) -> Any:
                nonlocal calls
                calls += 1
                if calls == kill:
                    raise Killed
                return call(*args)

            setattr(sink, name, counted)
        with contextlib.suppress(Killed):
            run_stream(plan(), source, sink, chunk_size=9, resume=True)
    report = run_stream(plan(), source, f"{url}#t", chunk_size=9, resume=True)
    before = report.resumed_from
    assert report.read == (0 if before and before.done else 90)
    assert rows(folder / "out.db", "select a from t order by rowid") == [(n,) for n in range(0, 90, 2)]


def test_resuming_a_finished_load_takes_what_has_come_since(shop: tuple[Path, str]) -> None:
    """From table to table: the mark is the watermark. Without resume everything comes again."""
    made = straight()
    run_stream(made, f"{shop[1]}#orders", open_sink(shop[1], table="done", mode="upsert"), chunk_size=10)
    database(shop[0], "insert into orders values (101, 1, 'late')")
    into = open_sink(shop[1], table="done", mode="upsert")
    report = run_stream(made, f"{shop[1]}#orders", into, resume=True)
    assert report.resumed_from is not None
    assert report.resumed_from.done
    assert report.read == 1
    assert rows(shop[0], "select count(*) from done") == [(101 - 14,)]
    assert run_stream(made, f"{shop[1]}#orders", open_sink(shop[1], table="done", mode="upsert")).read == 101


def test_a_database_in_an_asynchronous_stream(shop: tuple[Path, str]) -> None:
    """It is read and written in threads."""
    report = run_stream(straight(adouble), f"{shop[1]}#orders", [], chunk_size=30)
    assert report.emitted == {"done": 100}
    url = database(shop[0], "create table doubled (id integer, a integer, text text, b integer)")
    report = run_stream(straight(adouble), f"{shop[1]}#orders", f"{url}#doubled", chunk_size=30)
    assert rows(shop[0], "select sum(b) from doubled") == [(2 * sum(n % 7 for n in range(1, 101)),)]


def test_passwords_do_not_reach_messages() -> None:
    """The URL of a database is shown without them."""
    with pytest.raises(ValueError, match="say into which table") as refused:
        open_sink("postgresql://me:secret@host/db")
    assert "secret" not in str(refused.value)
