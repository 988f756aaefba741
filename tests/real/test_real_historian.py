"""The historian on a real PostgreSQL: what it writes, what it says when the server is away, and what is lost and doubled (nothing)."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.real.real_postgres import Postgres, running_postgres
from tests.real.real_servers import no_postgres

from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.namespace import EmbeddedBroker, Message, encode_time_series
from setpoint.workers.historian import Historian, HistorianObserved, HistorianSpec, Sqlite, Timescale, following

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'setpoint[sql]'")
pytestmark = pytest.mark.real

PATH = "agent/historian"
PUMP = "umh.v1.acme.cologne._historian.pump.pressure"
Story = Callable[[Supervisor, EmbeddedBroker], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if missing := no_postgres():
        pytest.skip(missing)
    with running_postgres() as one:
        yield one


@pytest.fixture
def fresh(server: Postgres) -> Postgres:
    """The server without tables."""
    server.sql("DROP SCHEMA IF EXISTS historian CASCADE")
    return server


def spec(server: Postgres, **more: Any) -> HistorianSpec:
    login = {"username": "postgres", "sslmode": "disable", "database": "postgres", **more.pop("login", {})}
    return HistorianSpec(timescale=Timescale(host="127.0.0.1", port=server.port, **login), **more)


def play(folder: Path, wanted: HistorianSpec, story: Story) -> None:
    async def main() -> None:
        async with EmbeddedBroker(folder / "log.sqlite") as broker:
            registry = Registry(broker=broker)
            registry.add("historian", Historian)
            s = Supervisor(registry)
            s.want([ChildSpec("historian", "historian", wanted)])
            try:
                await story(s, broker)
            finally:
                left = await s.stop(5.0)
            assert left == []

    asyncio.run(asyncio.wait_for(main(), 90))


async def reach(s: Supervisor, state: str, text: str = "", seconds: float = 20.0) -> str:
    def there(s: Supervisor) -> bool:
        fact = s.core.fact(PATH)
        return fact.state == state and text in fact.reason

    assert await s.until(there, seconds), (state, text, s.worker(PATH))
    return s.worker(PATH).reason


def seen(s: Supervisor) -> HistorianObserved:
    found: HistorianObserved = s.records[PATH].observed or HistorianObserved()
    return found


async def written(server: Postgres, count: int, table: str = "values_number") -> None:
    """Waits until so many rows are there."""
    for _ in range(600):
        if there(server) and server.sql(f"SELECT count(*) FROM historian.{table}") == [(count,)]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(server.sql(f"SELECT count(*) FROM historian.{table}"))


def there(server: Postgres) -> bool:
    return bool(server.sql("SELECT 1 WHERE to_regclass('historian.readings') IS NOT NULL"))


def values(first: int, count: int, topic: str = PUMP) -> list[Message]:
    return [Message(topic, encode_time_series(n / 2, 1_700_000_000_000 + n)) for n in range(first, first + count)]


def test_what_is_where(fresh: Postgres, tmp_path: Path) -> None:
    """Values at their own time to the millisecond, texts and documents in tables of their own, and one view over the values."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await reach(s, "idle")
        await broker.publish(
            [
                Message(PUMP, encode_time_series(21.5, 1_700_000_000_123)),
                Message(PUMP, encode_time_series(False, -1)),
                Message("umh.v1.acme._historian.state", encode_time_series('l"ä,u{f}t\\', 253_402_300_799_999)),
                Message(
                    "umh.v1.acme._historian.order",
                    b'{"id":7,"big":12345678901234567890}',
                    timestamp_ms=1_700_000_000_000,
                ),
            ]
        )
        await written(fresh, 1, "documents")
        await reach(s, "active")

    play(tmp_path, spec(fresh), story)
    shown = (
        "SELECT (extract(epoch FROM time) * 1000)::bigint, topic, number, text FROM historian.readings ORDER BY time"
    )
    assert fresh.sql(shown) == [
        (-1, PUMP, 0.0, None),
        (1_700_000_000_123, PUMP, 21.5, None),
        (253_402_300_799_999, "umh.v1.acme._historian.state", None, 'l"ä,u{f}t\\'),
    ]
    assert fresh.sql("SELECT payload->>'big' FROM historian.documents") == [("12345678901234567890",)]


def test_what_the_server_will_never_take_is_set_aside(fresh: Postgres, tmp_path: Path) -> None:
    """A number in a document that jsonb cannot hold, and what a constraint of the user's forbids; the rest of the batch is written."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await reach(s, "idle")
        fresh.sql("ALTER TABLE historian.values_number ADD CHECK (value <> 7)")
        bad = Message("umh.v1.acme._historian.order", b'{"x":1e999999}')
        zero = Message("umh.v1.acme._historian.order", b'{"x":"a\\u0000b"}')
        await broker.publish([*values(0, 500), bad, zero, Message("umh.v1.acme._historian.order", b'{"x":1}')])
        await written(fresh, 499)
        await written(fresh, 1, "documents")
        reason = await reach(s, "degraded_messages")
        assert "3 messages set aside" in reason

    play(tmp_path, spec(fresh), story)
    reasons = " ".join(str(reason) for (reason,) in fresh.sql("SELECT reason FROM historian.rejected"))
    for words in ("violates check constraint", "u0000 cannot be converted"):
        assert words in reasons
    assert fresh.sql("SELECT count(*) FROM historian.rejected WHERE payload = '{\"x\":1e999999}'::bytea") == [(1,)]


def test_a_flood_of_what_it_will_never_take(fresh: Postgres, tmp_path: Path) -> None:
    """Thousands of bad messages in one batch take seconds, and the good ones among them are there."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        order = "umh.v1.acme._historian.order"
        for first in range(0, 3000, 500):
            await broker.publish(
                [Message(order, b'{"x":1e999999}' if n % 10 else b"{}") for n in range(first, first + 500)]
            )
        began = time.monotonic()
        await written(fresh, 300, "documents")
        assert time.monotonic() - began < 20
        assert fresh.sql("SELECT count(*) FROM historian.rejected") == [(2700,)]

    play(tmp_path, spec(fresh), story)


@pytest.mark.parametrize("fault", ["stop", "kill", "hang"])
def test_a_server_that_goes_and_comes_back(
    fresh: Postgres, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped, killed or standing still in the middle of writing: it says so and how much waits; afterwards all is there, once."""
    monkeypatch.setattr(following, "SLOW_S", 1.0)
    total = 20_000

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        async def publish() -> None:
            for first in range(0, total, 200):
                await broker.publish(values(first, 200))
                await asyncio.sleep(0.02)

        publishing = asyncio.create_task(publish())
        await reach(s, "active")
        getattr(fresh, fault)()
        reason = await reach(s, "degraded_database")
        await publishing
        reason = await reach(s, "degraded_database", "messages wait")
        assert "has not answered" in reason if fault == "hang" else "127.0.0.1" in reason
        if fault == "hang":
            fresh.wake()
        else:
            fresh.start()
        await written(fresh, total)
        await reach(s, "active")

    play(tmp_path, spec(fresh), story)
    [(found, different)] = fresh.sql("SELECT count(*), count(DISTINCT value) FROM historian.values_number")
    with capsys.disabled():
        print(
            f"\n{fault}: {total - int(str(different))} lost, {int(str(found)) - int(str(different))} doubled of {total}"
        )
    assert (found, different) == (total, total)


def test_a_login_that_is_refused_is_a_reason(fresh: Postgres, tmp_path: Path) -> None:
    """The password, the database and the right to make tables, each in words; no secret in any of them."""
    fresh.sql("CREATE USER guarded PASSWORD 'right-Passw0rd'")
    cases = [
        ({"username": "guarded", "password": "wrong-Passw0rd"}, "the database refused the password"),
        ({"database": "nowhere"}, "there is no such database"),
        ({"username": "guarded", "password": "right-Passw0rd"}, "GRANT CREATE ON DATABASE"),
    ]
    for number, (login, words) in enumerate(cases):

        async def story(s: Supervisor, broker: EmbeddedBroker, words: str = words) -> None:
            reason = await reach(s, "degraded_database", words)
            assert "Passw0rd" not in reason

        (tmp_path / str(number)).mkdir()
        play(tmp_path / str(number), spec(fresh, login=login), story)
    fresh.sql("DROP USER guarded")


def test_rows_older_than_the_retention_go(fresh: Postgres, tmp_path: Path) -> None:
    """By the earlier of our clock and the server's; what is newer stays."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        now = int(time.time() * 1000)
        await broker.publish([Message(PUMP, encode_time_series(n, now - 8 * 86_400_000 + n)) for n in range(500)])
        await broker.publish([Message(PUMP, encode_time_series(1, now))])
        await written(fresh, 501)
        s.want([ChildSpec("historian", "historian", spec(fresh, retention_s=7 * 86_400.0))])
        await written(fresh, 1)
        await asyncio.sleep(1.1)
        assert seen(s).deleted == 500

    play(tmp_path, spec(fresh), story)


WRITER = """
import asyncio, sys
from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.namespace import EmbeddedBroker
from setpoint.workers.historian import Historian, HistorianSpec

async def main():
    async with EmbeddedBroker(sys.argv[1]) as broker:
        registry = Registry(broker=broker)
        registry.add("historian", Historian)
        s = Supervisor(registry)
        s.want([ChildSpec("historian", "historian", HistorianSpec.model_validate_json(sys.argv[2]))])
        print("ready", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("database", ["postgres", "sqlite"])
def test_kill_9_while_writing(
    fresh: Postgres, tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The writing process is killed again and again at any moment; in the end each message is there once."""
    total, kills = 200_000, 8
    file = tmp_path / "history.db"
    wanted = spec(fresh) if database == "postgres" else HistorianSpec(sqlite=Sqlite(path=str(file)))
    text = wanted.model_dump_json(exclude_none=True)

    async def fill() -> None:
        async with EmbeddedBroker(tmp_path / "log.sqlite") as broker:
            for first in range(0, total, 1000):
                await broker.publish(values(first, 1000, f"umh.v1.acme._historian.t{first % 7000}"))

    def count() -> int:
        if database == "postgres":
            return int(str(fresh.sql("SELECT count(*) FROM historian.values_number")[0][0])) if there(fresh) else 0
        with closing(sqlite3.connect(file)) as read:
            made = read.execute("SELECT 1 FROM sqlite_schema WHERE name = 'readings'").fetchall()
            return int(read.execute("SELECT count(*) FROM values_number").fetchone()[0]) if made else 0

    asyncio.run(fill())
    rng, cut_short = random.Random(7), 0
    for attempt in range(kills + 1):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "log.sqlite"), text],
            stdout=subprocess.PIPE,
            env={**os.environ},
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            before, deadline = count(), time.monotonic() + 60
            if attempt < kills:
                while count() <= before < total and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(rng.random() * 0.15)
                cut_short += before < total
            else:
                while count() < total and time.monotonic() < deadline:
                    time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    found = count()
    with capsys.disabled():
        print(
            f"\nkill -9, {cut_short} times while writing: {max(0, total - found)} lost, {max(0, found - total)} doubled of {total}"
        )
    assert found == total
    assert cut_short >= 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here: it needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a state with a reason; once there is room, all is there."""
    total = 20_000
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_700_000))
    file = small_disk / "history.db"

    def count() -> int:
        with closing(sqlite3.connect(file)) as read:
            return int(read.execute("SELECT count(*) FROM values_number").fetchone()[0])

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await reach(s, "idle")
        for first in range(0, total, 1000):
            await broker.publish(values(first, 1000))
        await reach(s, "degraded_database", "full")
        await reach(s, "degraded_database", "messages wait")
        ballast.unlink()
        for _ in range(600):
            if count() == total:
                break
            await asyncio.sleep(0.05)
        await reach(s, "active")

    play(tmp_path, HistorianSpec(sqlite=Sqlite(path=str(file))), story)
    found = count()
    with capsys.disabled():
        print(f"\nfull disk: {total - found} lost, 0 doubled of {total}")
    assert found == total


def test_tables_that_are_dropped_are_made_again(fresh: Postgres, tmp_path: Path) -> None:
    """Also while it is at work."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await broker.publish(values(0, 5))
        await written(fresh, 5)
        fresh.sql("DROP SCHEMA historian CASCADE")
        await broker.publish(values(5, 3))
        await written(fresh, 3)
        await reach(s, "active")

    play(tmp_path, spec(fresh), story)


def test_who_may_only_write_can_write(fresh: Postgres, tmp_path: Path) -> None:
    """Once the tables are there, no right to make any is needed."""
    fresh.sql("CREATE USER guarded PASSWORD 'right-Passw0rd'")

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await broker.publish(values(0, 5))
        await written(fresh, 5)
        login = {"username": "guarded", "password": "right-Passw0rd"}
        fresh.sql("GRANT USAGE ON SCHEMA historian TO guarded")
        fresh.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA historian TO guarded")
        s.want([ChildSpec("historian", "historian", spec(fresh, login=login))])
        await broker.publish(values(5, 3))
        await written(fresh, 8)
        assert fresh.sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'guarded'")

    try:
        play(tmp_path, spec(fresh), story)
    finally:
        fresh.sql("DROP OWNED BY guarded")
        fresh.sql("DROP USER guarded")


def test_the_queries_of_the_page_run(fresh: Postgres, tmp_path: Path) -> None:
    """Each of docs/historian.md, over tables with something in them."""
    page = (Path(__file__).parents[2] / "docs" / "historian.md").read_text(encoding="utf-8")
    queries = [
        query
        for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
        for query in block.split(";")
        if query.strip()
    ]
    assert len(queries) == 3
    now = int(time.time() * 1000)
    topic = "umh.v1.acme.cologne._historian.pump-1.pressure"

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await broker.publish([Message(topic, encode_time_series(4.5, now)), Message(topic, b"no json")])
        await written(fresh, 1)

    play(tmp_path, spec(fresh), story)
    last, minutes, aside = (fresh.sql(query) for query in queries)
    assert [row[0] for row in last] == [topic]
    assert [row[1:] for row in minutes] == [(4.5, 4.5, 4.5)]
    assert [(row[1], row[3]) for row in aside] == [(topic, "no json")]
