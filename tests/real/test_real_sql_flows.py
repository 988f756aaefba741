"""`sql_select` and `sql_insert` against a real PostgreSQL: values, faults of rows, a server that goes and comes back, kill -9."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.real_postgres import Postgres, running_postgres
from tests.real.real_servers import no_postgres

from setpoint.flows import FlowEngine
from setpoint.flows.component import Context, Msg, Rejected
from setpoint.flows.inputs.sql_select import SqlSelect
from setpoint.flows.outputs.sql import SqlInsert, SqlRaw

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'setpoint[sql]'")
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if missing := no_postgres():
        pytest.skip(missing)
    with running_postgres() as one:
        yield one


@pytest.fixture
def dsn(server: Postgres) -> str:
    """A server without tables, as Benthos writes it."""
    server.sql("DROP SCHEMA public CASCADE")
    server.sql("CREATE SCHEMA public")
    return f"postgres://postgres@127.0.0.1:{server.port}/postgres?sslmode=disable"


def context() -> Context:
    import itertools

    return Context(
        flow="test",
        bridged_by="",
        broker=None,
        clock=time.time,
        now=lambda: asyncio.get_running_loop().time(),
        random=itertools.repeat(0.5).__next__,
        failed=lambda reason: None,
        answered=lambda host, port: None,
    )


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to that")


def test_what_postgresql_has_becomes_json(server: Postgres, dsn: str) -> None:
    """Times as texts, decimals as numbers where no digit is lost, JSON as it is; also what Python cannot hold."""
    server.sql(
        "CREATE VIEW v AS SELECT 1::bigint a, 1.5::numeric b, 12345678901234567890.5::numeric c, true d, null::text e, "
        "'2026-01-01 12:00:00.123456+02'::timestamptz f, 'infinity'::timestamp g, '2026-01-01'::date h, '{\"x\":[1]}'::jsonb i, "
        "'\\x00ff'::bytea j, ARRAY[1,2] k, 'NaN'::float8 l, '10.0.0.1'::inet m, '00:00:01'::interval n, "
        "'b5ef3a33-52c1-4f20-8a8a-9f58bd1fd4f8'::uuid o"
    )

    async def scenario() -> None:
        fields = {"driver": "postgres", "dsn": dsn, "table": "v", "columns": ["*"]}
        fields |= {"where": "i ?? 'x' AND a = ? AND f > ?", "args_mapping": 'root = [ 1, "2026-01-01" ]'}
        source = SqlSelect(SqlSelect.Fields.model_validate(fields), context())
        await source.connect()
        batch = await source.read()
        await source.close()
        assert [msg.payload for msg in batch or []] == [
            {
                "a": 1, "b": 1.5, "c": "12345678901234567890.5", "d": True, "e": None, "f": "2026-01-01T10:00:00.123456Z",
                "g": "infinity", "h": "2026-01-01", "i": {"x": [1]}, "j": "AP8=", "k": [1, 2], "l": None, "m": "10.0.0.1",
                "n": "PT1S", "o": "b5ef3a33-52c1-4f20-8a8a-9f58bd1fd4f8",
            }
        ]  # fmt: skip

    asyncio.run(scenario())


def test_the_column_decides_what_a_value_is(server: Postgres, dsn: str) -> None:
    """A number into a text, a text into a date, an object into jsonb; what does not fit is the row's fault, at the commit as well."""
    server.sql("CREATE TABLE other (id int PRIMARY KEY)")
    server.sql("INSERT INTO other VALUES (1)")
    server.sql(
        "CREATE TABLE t (a text, b date, c jsonb, d boolean, e numeric, f int REFERENCES other DEFERRABLE INITIALLY DEFERRED)"
    )
    mapping = "root = [ this.a, this.b, this.c, this.d, this.e, this.f ]"
    good = {"a": 5, "b": "2026-01-01", "c": {"x": 1}, "d": "yes", "e": 1e300, "f": 1}
    faults = [{"b": "not a date"}, {"a": "\x00"}, {"d": 7.5}, {"f": 2}, {"f": 2**40}, {"c": "{"}]

    async def scenario() -> None:
        fields = {"driver": "postgres", "dsn": dsn, "table": "t", "columns": list("abcdef"), "args_mapping": mapping}
        output = SqlInsert(SqlInsert.Fields.model_validate(fields), context())
        await output.connect()
        messages = [good, *({**good, **fault} for fault in faults), good]
        batch = [output.prepare(Msg(one, {})) for one in messages]
        with pytest.raises(Rejected) as caught:
            await output.write(batch)
        assert sorted(caught.value.reasons) == [1, 2, 3, 4, 5, 6]
        assert "violates foreign key constraint" in caught.value.reasons[4]
        await output.write([batch[0], batch[-1]])
        await output.close()

    asyncio.run(scenario())
    assert server.sql("SELECT a, b::text, c->>'x', d, f FROM t") == [("5", "2026-01-01", "1", True, 1)] * 2


def test_any_statement(server: Postgres, dsn: str) -> None:
    """`sql_raw` with the placeholders of PostgreSQL."""
    server.sql("CREATE TABLE t (id int PRIMARY KEY, n int)")
    server.sql("INSERT INTO t VALUES (1, 10)")

    async def scenario() -> None:
        fields = {
            "driver": "postgres",
            "dsn": dsn,
            "query": "UPDATE t SET n = n + $2 WHERE id = $1",
            "args_mapping": "root = [this.id, this.by]",
        }
        output = SqlRaw(SqlRaw.Fields.model_validate(fields), context())
        await output.connect()
        await output.write([output.prepare(Msg({"by": 5, "id": 1}, {}))] * 2)
        await output.close()

    asyncio.run(scenario())
    assert server.sql("SELECT n FROM t") == [(20,)]


@pytest.mark.parametrize("fault", ["stop", "kill", "hang"])
def test_a_server_that_goes_and_comes_back(
    server: Postgres, dsn: str, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """From one table into another while the server is stopped, killed, or stands still: nothing is lost, nothing doubled."""
    total = 20_000
    server.sql("CREATE TABLE source (id serial PRIMARY KEY, n int)")
    server.sql("CREATE TABLE sink (id int PRIMARY KEY, n int, writes int DEFAULT 1)")
    server.sql(f"INSERT INTO source (n) SELECT g FROM generate_series(1, {total}) g")
    config = flow(dsn, tmp_path)
    config["input"]["sql_select"]["timeout"] = config["output"]["sql_insert"]["timeout"] = "1s"

    async def scenario() -> None:
        engine = FlowEngine()
        await engine.start("copy", config)

        def status() -> Any:
            return engine.status("copy")

        await until(lambda: status().output_sent > 2000)
        getattr(server, fault)()
        sent = status().output_sent
        assert sent < total
        await until(lambda: not (status().input_connected and status().output_connected))
        reason = status().last_error
        server.wake() if fault == "hang" else server.start()
        await until(lambda: status().output_sent >= total)
        assert status().running
        assert "sql_" in reason
        await engine.close()

    asyncio.run(asyncio.wait_for(scenario(), 90))
    [(count, different)] = server.sql("SELECT count(*), count(DISTINCT n) FROM sink")
    with capsys.disabled():
        print(
            f"\n{fault}: {total - int(str(different))} lost, {int(str(count)) - int(str(different))} doubled of {total}"
        )
    assert (count, different) == (total, total)


def flow(dsn: str, folder: Path, **cursor: Any) -> dict[str, Any]:
    """From `source` to `sink`."""
    return {
        "input": {
            "sql_select": {
                "driver": "postgres",
                "dsn": dsn,
                "table": "source",
                "columns": ["id", "n"],
                "interval": "50ms",
                "cursor": {"column": "id", "file": str(folder / "position.json"), **cursor},
            }
        },
        "output": {
            "sql_insert": {
                "driver": "postgres",
                "dsn": dsn,
                "table": "sink",
                "columns": ["id", "n"],
                "args_mapping": "root = [ this.id, this.n ]",
                "suffix": "ON CONFLICT (id) DO UPDATE SET writes = sink.writes + 1",
            }
        },
    }


RUNNER = """
import asyncio, json, sys
from setpoint.flows import FlowEngine

async def main():
    engine = FlowEngine()
    await engine.start("copy", json.loads(sys.argv[1]))
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_kill_9_while_copying(server: Postgres, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program is killed again and again: each row arrives, and what comes twice is as much as was not acknowledged."""
    total, kills = 60_000, 8
    server.sql("CREATE TABLE source (id serial PRIMARY KEY, n int)")
    server.sql("CREATE TABLE sink (id int PRIMARY KEY, n int, writes int DEFAULT 1)")
    server.sql(f"INSERT INTO source (n) SELECT g FROM generate_series(1, {total}) g")
    config = json.dumps(flow(dsn, tmp_path))

    def count() -> int:
        return int(str(server.sql("SELECT count(*) FROM sink")[0][0]))

    rng, cut_short = random.Random(11), 0
    for attempt in range(kills + 1):
        process = subprocess.Popen([sys.executable, "-c", RUNNER, config], stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            before, deadline = count(), time.monotonic() + 60
            while count() <= before < total and time.monotonic() < deadline:
                time.sleep(0.005)
            if attempt < kills:
                time.sleep(rng.random() * 0.2)
                cut_short += count() < total
            while attempt == kills and count() < total and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
    found = count()
    again = Counter(int(str(writes)) for (writes,) in server.sql("SELECT writes FROM sink WHERE writes > 1"))
    with capsys.disabled():
        print(
            f"\nkill -9, {cut_short} times while copying: {total - found} lost, 0 doubled, {sum(again.values())} written again"
        )
    assert found == total
    assert cut_short >= 4
    assert sum(again.values()) <= cut_short * 2 * 500


def test_neither_end_keeps_a_thread_or_a_session(server: Postgres, dsn: str, tmp_path: Path) -> None:
    """Once a flow is stopped nothing of it is left, here or at the server."""
    import threading

    server.sql("CREATE TABLE source (id int, n int)")
    server.sql("CREATE TABLE sink (id int PRIMARY KEY, n int)")
    server.sql("INSERT INTO source VALUES (1, 1)")

    async def scenario() -> None:
        engine = FlowEngine()
        config = flow(dsn, tmp_path)
        config["output"]["sql_insert"]["suffix"] = ""
        await engine.start("copy", config)
        await until(lambda: bool(server.sql("SELECT 1 FROM sink")))
        await engine.close()

    before = threading.active_count()
    asyncio.run(scenario())
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'setpoint%'"
    for _ in range(100):
        if server.sql(sessions) == [(0,)] and threading.active_count() == before:
            break
        time.sleep(0.02)
    assert (server.sql(sessions), threading.active_count()) == ([(0,)], before)
