"""`sql_select`, `sql_insert` and `sql_raw` on SQLite; tests/real has them on PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from flows_plant import context, run
from hypothesis import given
from hypothesis import strategies as st

from setpoint.flows import FlowEngine
from setpoint.flows.component import ConnectError, MessageError, Msg, Rejected, WriteError
from setpoint.flows.config import FlowConfigError, parse
from setpoint.flows.inputs.sql_select import PAGE, SqlSelect
from setpoint.flows.outputs.sql import SqlInsert, SqlRaw
from setpoint.flows.sql import key_of, numbered, plain
from setpoint.flows.sql_position import Position
from setpoint.services.sql import Place


def database(folder: Path, *statements: str) -> dict[str, Any]:
    """A file in which these were run, as fields."""
    with closing(sqlite3.connect(folder / "plant.db")) as file:
        for statement in statements:
            file.execute(statement)
        file.commit()
    return {"driver": "sqlite", "dsn": f"file:{folder}/plant.db"}


def rows(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "plant.db")) as file:
        return file.execute(query).fetchall()


def insert(folder: Path, table: str, values: Iterable[tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(folder / "plant.db")) as file:
        file.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' for _ in next(iter(values)))})", values)  # type: ignore[call-overload]
        file.commit()


def select(fields: dict[str, Any], **more: Any) -> SqlSelect:
    return SqlSelect(SqlSelect.Fields.model_validate({**fields, **more}), context())


def sink(fields: dict[str, Any], **more: Any) -> SqlInsert:
    return SqlInsert(SqlInsert.Fields.model_validate({**fields, **more}), context())


async def everything(source: SqlSelect, *, acknowledge: bool = True) -> list[Any]:
    """The payloads up to the end of the input."""
    await source.connect()
    found = []
    while (batch := await source.read()) is not None:
        found += [msg.payload for msg in batch]
        if acknowledge:
            await source.acknowledge()
    await source.close()
    return found


def test_a_table_is_read_once_and_the_input_ends(tmp_path: Path) -> None:
    """Each row is an object; `where` takes literals; a table of many pages comes whole and in its order."""
    fields = database(tmp_path, "CREATE TABLE t (id INTEGER, name TEXT, data BLOB, x REAL)")
    insert(tmp_path, "t", [(n, f"n{n}", b"\x00\xff" if n else None, n / 3) for n in range(2 * PAGE + 7)])

    async def scenario() -> None:
        found = await everything(select(fields, table="t", columns=["*"], suffix="ORDER BY id"))
        assert [row["id"] for row in found] == list(range(2 * PAGE + 7))
        assert found[:2] == [
            {"id": 0, "name": "n0", "data": None, "x": 0.0},
            {"id": 1, "name": "n1", "data": "AP8=", "x": 1 / 3},
        ]
        some = select(
            fields,
            table="t",
            columns=["id AS number"],
            where="id > ? AND name <> ?",
            args_mapping='root = [ 1004, "n1006" ]',
        )
        assert await everything(some) == [{"number": 1005}]

    run(scenario())


def test_an_interval_reads_again(tmp_path: Path) -> None:
    """Without a cursor every reading gives all rows."""
    fields = database(tmp_path, "CREATE TABLE t (id INTEGER)", "INSERT INTO t VALUES (1)")

    async def scenario() -> None:
        source = select(fields, table="t", columns=["id"], interval="20ms")
        await source.connect()
        for expected in ([1], [1, 2], [1, 2, 3]):
            batch = await source.read()
            assert [msg.payload["id"] for msg in batch or []] == expected
            await source.acknowledge()
            insert(tmp_path, "t", [(len(expected) + 1,)])
        await source.close()

    run(scenario())


def test_a_cursor_reads_what_is_new(tmp_path: Path) -> None:
    """After a restart it goes on behind what was acknowledged; what was read and not acknowledged comes again; null is never read."""
    fields = database(tmp_path, "CREATE TABLE t (id INTEGER, at TEXT)")
    insert(tmp_path, "t", [(n, f"2026-01-01T00:00:{n:02}Z") for n in range(10)] + [(99, None)])
    cursor = {"column": "at", "file": str(tmp_path / "positions" / "t.json")}

    async def scenario() -> None:
        def source() -> SqlSelect:
            return select(fields, table="t", columns=["*"], cursor=cursor)

        assert [row["id"] for row in await everything(source(), acknowledge=False)] == list(range(10))
        assert [row["id"] for row in await everything(source())] == list(range(10))
        assert await everything(source()) == []
        insert(
            tmp_path, "t", [(10, "2026-01-01T00:00:10Z"), (11, "2026-01-01T00:00:09Z"), (12, "2026-01-01T00:00:08Z")]
        )
        assert [row["id"] for row in await everything(source())] == [11, 10]

    run(scenario())


def test_rows_that_share_a_value_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    """Pages that end between them, rows that come later with the value that was last, and rows that are alike altogether."""
    fields = database(tmp_path, "CREATE TABLE t (id INTEGER, at INTEGER)")
    insert(tmp_path, "t", [(n, 5) for n in range(3 * PAGE)] + [(7, 5), (7, 5)])
    cursor = {"column": "at", "file": str(tmp_path / "p.json")}

    async def scenario() -> None:
        found = [row["id"] for row in await everything(select(fields, table="t", columns=["*"], cursor=cursor))]
        assert sorted(found) == sorted([*range(3 * PAGE), 7, 7])
        insert(tmp_path, "t", [(7, 5), (-1, 5), (-2, 6)])
        found = [row["id"] for row in await everything(select(fields, table="t", columns=["*"], cursor=cursor))]
        assert sorted(found) == [-2, -1, 7]

    run(scenario())


def test_two_columns_may_be_the_cursor(tmp_path: Path) -> None:
    """They are compared as a pair, and `start` is where to begin."""
    fields = database(tmp_path, "CREATE TABLE t (at INTEGER, id INTEGER)")
    insert(tmp_path, "t", [(n // 10, n) for n in range(30)])
    cursor = {"column": ["at", "id"], "file": str(tmp_path / "p.json"), "start": [1, 15]}
    found = run(everything(select(fields, table="t", columns=["*"], cursor=cursor)))
    assert [row["id"] for row in found] == list(range(15, 30))


def test_what_cannot_be_a_cursor_ends_the_flow_with_the_reason(tmp_path: Path) -> None:
    """Bytes have no place in a file of JSON; and a file that is damaged is named, never taken for none."""
    fields = database(tmp_path, "CREATE TABLE t (at BLOB)", "INSERT INTO t VALUES (x'00')")
    cursor = {"column": "at", "file": str(tmp_path / "p.json")}

    async def scenario() -> None:
        source = select(fields, table="t", columns=["*"], cursor=cursor)
        await source.connect()
        with pytest.raises(RuntimeError, match="at has bytes"):
            await source.read()
        await source.close()
        (tmp_path / "p.json").write_text("{")
        with pytest.raises(ConnectError, match="delete it to begin anew"):
            await select(fields, table="t", columns=["*"], cursor=cursor).connect()

    run(scenario())


def test_a_position_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """The flow goes on; the rows may come again."""
    fields = database(tmp_path, "CREATE TABLE t (at INTEGER)", "INSERT INTO t VALUES (1)")
    (tmp_path / "file").write_text("")
    told: list[str] = []

    async def scenario() -> None:
        given = {**fields, "table": "t", "columns": ["*"], "cursor": {"column": "at", "file": str(tmp_path / "p.json")}}
        source = SqlSelect(SqlSelect.Fields.model_validate(given), context(told.append))
        await source.connect()
        assert await source.read()
        (tmp_path / "p.json").mkdir()
        await source.acknowledge()
        await source.close()

    run(scenario())
    assert "cannot be kept" in told[0]


def test_a_read_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    """At whatever moment: the next call has the rows."""
    fields = database(tmp_path, "CREATE TABLE t (id INTEGER)")
    insert(tmp_path, "t", [(n,) for n in range(3 * PAGE)])
    cursor = {"column": "id", "file": str(tmp_path / "p.json")}

    async def scenario() -> None:
        for more in ({}, {"cursor": cursor}):
            source = select(fields, table="t", columns=["id"], **more)
            await source.connect()
            found: list[int] = []
            while True:
                reading = asyncio.create_task(source.read())
                await asyncio.sleep(0 if len(found) % 2 else 0.0005)
                reading.cancel()
                await asyncio.wait({reading})
                batch = await source.read() if reading.cancelled() else reading.result()
                if batch is None:
                    break
                found += [msg.payload["id"] for msg in batch]
            await source.close()
            assert found == list(range(3 * PAGE))

    run(scenario())


def test_a_missing_table_is_waited_for(tmp_path: Path) -> None:
    """The reason names it; once it is there the input goes on."""
    fields = database(tmp_path, "CREATE TABLE other (id INTEGER)")

    async def scenario() -> None:
        source = select(fields, table="t", columns=["id"])
        await source.connect()
        with pytest.raises(ConnectError, match="no such table: t"):
            await source.read()
        await source.close()
        database(tmp_path, "CREATE TABLE t (id INTEGER)", "INSERT INTO t VALUES (1)")
        assert await everything(source) == [{"id": 1}]

    run(scenario())


PARTS = {
    "table": "t",
    "columns": ["id", "name"],
    "args_mapping": 'root = [ this.id, meta("name") ]',
    "init_statement": "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> 'bad'))",
}


def named(number: int, name: str) -> Msg:
    return Msg({"id": number}, {"name": name})


def test_a_batch_is_one_transaction_and_keys_make_it_idempotent(tmp_path: Path) -> None:
    """`on_conflict` in our words, and as a `suffix` as Benthos has it; written twice it leaves what one writing leaves."""
    fields = database(tmp_path)

    async def scenario() -> None:
        for more, name in (
            ({"on_conflict": {"columns": ["id"]}}, "b"),
            ({"on_conflict": {"columns": ["id"], "do": "nothing"}}, "b"),
            ({"suffix": "ON CONFLICT (id) DO UPDATE SET name = upper(excluded.name)"}, "C"),
            ({"options": ["OR", "REPLACE"]}, "c"),
        ):
            output = sink(fields, **PARTS, **more)
            await output.connect()
            batch = [output.prepare(named(n, "b" if name == "b" else "c")) for n in range(3)]
            assert [await output.write(batch), await output.write(batch)] == [24, 24]
            await output.close()
            assert rows(tmp_path, "SELECT * FROM t") == [(n, name) for n in range(3)]

    run(scenario())


def test_rows_that_can_never_be_written_are_found(tmp_path: Path) -> None:
    """By their places, with the reasons; nothing of the batch is written until they are gone."""
    fields = database(tmp_path)

    async def scenario() -> None:
        output = sink(fields, **PARTS)
        await output.connect()
        messages = [named(n, "bad" if n in (3, 77) else "good") for n in range(100)] + [
            named(5, "again"),
            named(2**70, "big"),
        ]
        batch = [output.prepare(msg) for msg in messages]
        with pytest.raises(Rejected) as caught:
            await output.write(batch)
        assert sorted(caught.value.reasons) == [3, 77, 100, 101]
        assert "UNIQUE constraint failed: t.id" in caught.value.reasons[100]
        assert "too large" in caught.value.reasons[101]
        assert rows(tmp_path, "SELECT count(*) FROM t") == [(0,)]
        await output.write([ready for place, ready in enumerate(batch) if place not in caught.value.reasons])
        await output.close()
        assert rows(tmp_path, "SELECT count(*) FROM t") == [(98,)]

    run(scenario())


@given(st.sets(st.integers(0, 40)), st.integers(1, 41))
def test_exactly_the_bad_rows_are_set_aside(bad: set[int], count: int) -> None:
    """Wherever they stand, however many."""
    import tempfile

    async def scenario(folder: Path) -> None:
        output = sink(database(folder), **PARTS)
        await output.connect()
        batch = [output.prepare(named(n, "bad" if n in bad else "good")) for n in range(count)]
        wrong = {n for n in bad if n < count}
        if wrong:
            with pytest.raises(Rejected) as caught:
                await output.write(batch)
            assert set(caught.value.reasons) == wrong
        await output.write([ready for n, ready in enumerate(batch) if n not in wrong])
        await output.close()
        assert {n for (n,) in rows(folder, "SELECT id FROM t")} == set(range(count)) - wrong

    with tempfile.TemporaryDirectory() as folder:
        run(scenario(Path(folder)))


def test_what_may_be_otherwise_later_is_tried_again(tmp_path: Path) -> None:
    """A table that is missing, and a lock that somebody holds, are no faults of the rows."""
    fields = database(tmp_path)

    async def scenario() -> None:
        output = sink(fields, **{**PARTS, "init_statement": ""}, timeout="200ms")
        await output.connect()
        batch = [output.prepare(named(1, "a"))]
        with pytest.raises(WriteError, match="no such table"):
            await output.write(batch)
        database(tmp_path, PARTS["init_statement"])  # type: ignore[arg-type]
        with closing(sqlite3.connect(tmp_path / "plant.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(WriteError, match="another program holds its lock"):
                await output.write(batch)
        assert await output.write(batch) > 0
        await output.close()

    run(scenario())


def test_a_message_without_its_values_is_refused_when_it_is_prepared() -> None:
    """With what is missing; lists and objects become JSON text."""
    fields = {"driver": "sqlite", "dsn": "x.db", **PARTS}
    with pytest.raises(MessageError, match="JSON"):
        sink(fields).prepare(Msg(b"no json", {}))
    with pytest.raises(MessageError, match="3 values for 2 columns"):
        sink({**fields, "args_mapping": "root = [1, 2, 3]"}).prepare(Msg({}, {}))
    with pytest.raises(MessageError, match="not a list"):
        sink({**fields, "args_mapping": "root = this"}).prepare(Msg({"id": 1}, {}))
    ready = sink({**fields, "args_mapping": "root = [ this, this.l ]"}).prepare(Msg({"l": [1]}, {}))
    assert ready.values == ['{"l":[1]}', "[1]"]


def test_any_statement(tmp_path: Path) -> None:
    """`sql_raw` runs it for each message, with its values in the places of question marks."""
    fields = database(
        tmp_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO t VALUES (1, 10), (2, 20)"
    )

    async def scenario() -> None:
        given = {**fields, "query": "UPDATE t SET n = n + ? WHERE id = ?", "args_mapping": "root = [this.by, this.id]"}
        output = SqlRaw(SqlRaw.Fields.model_validate(given), context())
        await output.connect()
        await output.write([output.prepare(Msg({"by": 5, "id": 1}, {})), output.prepare(Msg({"by": 7, "id": 2}, {}))])
        await output.close()

    run(scenario())
    assert rows(tmp_path, "SELECT n FROM t") == [(15,), (27,)]


def test_init_files_run_on_each_connection(tmp_path: Path) -> None:
    """In the order of their names; one that is missing is named."""
    (tmp_path / "1.sql").write_text("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, name TEXT);")
    (tmp_path / "2.sql").write_text("INSERT OR IGNORE INTO t VALUES (1, 'one');")
    fields = database(tmp_path)

    async def scenario() -> None:
        for _ in range(2):
            assert await everything(select(fields, table="t", columns=["*"], init_files=[f"{tmp_path}/*.sql"]))
        with pytest.raises(ConnectError, match=r"no\.sql cannot be read"):
            await select(fields, table="t", columns=["*"], init_files=[f"{tmp_path}/no.sql"]).connect()

    run(scenario())


def test_a_flow_sets_aside_what_the_table_refuses(tmp_path: Path) -> None:
    """The rest is written and the flow goes on; what was refused is counted, with the database's reason."""
    fields = database(tmp_path, "CREATE TABLE t (id INTEGER CHECK (id <> 3))")
    config = {
        "input": {"generate": {"mapping": "root.id = counter()", "count": 10, "batch_size": 5, "interval": ""}},
        "output": {"sql_insert": {**fields, "table": "t", "columns": ["id"], "args_mapping": "root = [ this.id ]"}},
    }

    async def scenario() -> None:
        engine = FlowEngine()
        ended = asyncio.Event()
        engine.watch("f", lambda status: ended.set() if not status.running else None)
        await engine.start("f", config)
        await asyncio.wait_for(ended.wait(), 10)
        status = engine.status("f")
        assert status is not None
        assert (status.finished, status.output_sent, status.output_set_aside) == (True, 9, 1)
        assert "CHECK constraint failed" in status.last_error
        await engine.close()

    run(scenario())
    assert rows(tmp_path, "SELECT count(*) FROM t") == [(9,)]


def flow(**fields: Any) -> list[str]:
    """What is wrong with a flow with this output."""
    try:
        parse(
            {"input": {"stdin": {}}, "output": {"sql_insert": {"driver": "sqlite", "dsn": "x.db", **PARTS, **fields}}}
        )
    except FlowConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_mistakes_are_found_when_the_config_is_read() -> None:
    """With the remedy, and without what is secret."""
    assert flow() == []
    assert "`engine: benthos` runs this flow" in flow(driver="mysql")[0]
    assert "'mod'; known are mode" in flow(dsn="file:x.db?mod=ro")[0]
    assert "database in memory" in flow(dsn="file::memory:")[0]
    wrong = flow(driver="postgres", dsn="geheim-Passw0rd@host")[0]
    assert "expected postgres://" in wrong
    assert "Passw0rd" not in wrong
    assert "args_mapping" in flow(args_mapping="root = [")[0]
    assert flow(dsn="file:x.db?_pragma=busy_timeout(5000)") == []
    with pytest.raises(ValueError, match="there is no message yet"):
        SqlSelect.Fields(driver="sqlite", dsn="x", table="t", columns=("a",), args_mapping="root = [this.a]")


@pytest.mark.parametrize(
    ("driver", "dsn", "shown"),
    [
        ("sqlite", "a b.db", "SQLite a b.db"),
        ("sqlite", "file:/x/a%20b.db?mode=ro", "SQLite /x/a b.db"),
        ("sqlite", "file:///x/a.db", "SQLite /x/a.db"),
        ("sqlite", "sqlite:///a.db", "SQLite a.db"),
        ("sqlite", "sqlite:////x/a.db", "SQLite /x/a.db"),
        ("postgres", "postgres://u:Passw0rd@h:1/d?sslmode=disable", "PostgreSQL h:1/d"),
        ("postgres", "postgresql:///d?host=/run", "PostgreSQL /run/d"),
        ("postgres", "host=h port=5 dbname=d password='Passw0rd'", "PostgreSQL h:5/d"),
    ],
)
def test_how_a_database_is_called(driver: str, dsn: str, shown: str) -> None:
    """By what it is and where, never with a password."""
    place = Place.parse(driver, dsn)  # type: ignore[arg-type]
    assert str(place) == shown
    assert "Passw0rd" not in repr(place)


def test_the_examples_of_the_page_are_configurations() -> None:
    """Each of docs/sql.md, with the other end where it has one only."""
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        parse({"input": {"stdin": {}}, "output": {"drop": {}}, **yaml.safe_load(block)})


def test_question_marks_become_numbers_but_not_in_texts() -> None:
    """As PostgreSQL has placeholders; two question marks are one of its operators."""
    assert numbered("a = ? AND b = '?' AND \"c?\" = ? -- ?\n AND d ?? 'x' /* ? */ OR ?") == (
        "a = $1 AND b = '?' AND \"c?\" = $2 -- ?\n AND d ? 'x' /* ? */ OR $3"
    )


@given(st.decimals(-(10**40), 10**40, allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_decimal_is_lost(value: Decimal) -> None:
    """It becomes a number that says the same, or a text; and equal ones are equal as cursors."""
    made = plain(value)
    assert Decimal(repr(made) if isinstance(made, float) else made) == value
    assert Decimal(key_of(value)) == value
    longer = f"{value:f}0" if "." in f"{value:f}" else f"{value:f}.0"
    assert key_of(Decimal(longer)) == key_of(value)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40), st.integers(1, 7))
def test_any_pages_of_any_rows_give_each_row_once(table: list[tuple[int, int]], page: int) -> None:
    """However the pages fall between rows with the same cursor, and in whatever order the database has those."""
    import random

    position, found = Position("t", ("at",)), []
    rng = random.Random(len(table) * 31 + page)
    while True:
        alike = [row for row in table if not position.after or (row[0],) >= position.after]
        rng.shuffle(alike)
        asked = sorted(alike, key=lambda row: row[0])[: page + len(position.seen)]
        keys = [(at,) for at, _ in asked]
        fresh = position.unread(asked, keys)
        if not fresh:
            break
        found += [asked[n] for n in fresh]
        position = position.moved([asked[n] for n in fresh], [keys[n] for n in fresh])
    assert sorted(found) == sorted(table)
