"""Resources against a real PostgreSQL and a real Redis: transactions of records and batches, lost connections, serialisation, caches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.real.real_servers import no_postgres, no_redis, postgres, redis

from setpoint.data.context import Context
from setpoint.data.definition import ArcDef, Definition, NetworkDef, ResourceDef, Retry, StateDef
from setpoint.data.fsm import SimpleFSM
from setpoint.data.resources import Manager, ResourceTimeout, ResourceUnavailable, TransactionError, manager

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'setpoint[sql]'")
pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'setpoint[sql]'")
pytestmark = pytest.mark.real

DB = {"db": "db"}
KV = {"kv": "kv"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if missing := no_postgres():
        pytest.skip(missing)
    with postgres() as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    """A database with the table `parts`, empty."""
    admin = manager([ResourceDef(name="db", type="database", config={"url": server})])
    db = admin.acquire(DB, "setup")["db"]
    db.execute("DROP TABLE IF EXISTS parts")
    db.execute("CREATE TABLE parts (id INTEGER PRIMARY KEY, name TEXT)")
    db.execute("DROP TABLE IF EXISTS stock")
    db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, qty INTEGER)")
    admin.release(DB, "setup", True)
    admin.close()
    return server


def database(url: str, *, transactions: Any = "none", type: str = "database", **settings: Any) -> Manager:
    config = {"url": url, **settings.pop("config", {})}
    made = ResourceDef(name="db", type=type, config=config, **{"timeout": 5.0, **settings})
    return manager([made], transactions=transactions)


def ids(url: str, table: str = "parts") -> list[int]:
    """What another connection finds."""
    look = database(url)
    found = [row["id"] for row in look.acquire(DB, "look")["db"].rows(f"SELECT id FROM {table} ORDER BY id")]
    look.release(DB, "look", True)
    look.close()
    return found


def insert(resources: Any, run: str, number: int, *, ok: bool = True) -> None:
    resources.acquire(DB, run)["db"].insert("parts", {"id": number})
    resources.release(DB, run, ok)


def test_a_record_is_one_transaction(url: str) -> None:
    """Seen by others when it is committed; a failed state is undone alone; a failed record leaves nothing."""
    resources = database(url, transactions="record")
    insert(resources, "a", 1)
    insert(resources, "a", 2, ok=False)
    insert(resources, "a", 3)
    assert ids(url) == []
    resources.finish("a", True)
    assert ids(url) == [1, 3]
    insert(resources, "b", 4)
    resources.finish("b", False)
    assert ids(url) == [1, 3]
    resources.close()


def test_after_an_error_of_the_database_the_record_goes_on(url: str) -> None:
    """PostgreSQL refuses everything after an error in a transaction; the savepoint of the state makes it whole again."""
    resources = database(url, transactions="record")
    insert(resources, "a", 1)
    with pytest.raises(Exception, match="duplicate key"):
        resources.acquire(DB, "a")["db"].insert("parts", {"id": 1})
    resources.release(DB, "a", False)
    insert(resources, "a", 2)
    resources.finish("a", True)
    assert ids(url) == [1, 2]
    resources.close()


def test_a_batch_commits_its_good_records_together(url: str) -> None:
    """A record that fails in the middle is undone alone; nothing is seen before the end; a batch given up leaves nothing."""
    resources = database(url, transactions="batch", pool_size=1)
    batch = resources.batch()
    for number in range(10):
        insert(batch, f"run {number}", number)
        batch.finish(f"run {number}", number % 3 > 0)
    assert ids(url) == []
    batch.end(True)
    assert ids(url) == [1, 2, 4, 5, 7, 8]
    batch = resources.batch()
    insert(batch, "x", 20)
    batch.finish("x", True)
    batch.end(False)
    assert ids(url) == [1, 2, 4, 5, 7, 8]
    resources.close()


def test_a_commit_that_the_database_refuses_is_an_error(url: str) -> None:
    """A deferred constraint fails at commit: the run fails with it, and the connection is whole for the next."""
    resources = database(url, transactions="record", pool_size=1)
    insert(resources, "a", 1)
    resources.finish("a", True)
    db = resources.acquire(DB, "b")["db"]
    db.execute("ALTER TABLE parts DROP CONSTRAINT parts_pkey, ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED")
    resources.release(DB, "b", True)
    resources.finish("b", True)
    db = resources.acquire(DB, "b")["db"]
    db.insert("parts", {"id": 1})
    resources.release(DB, "b", True)
    with pytest.raises(TransactionError, match="duplicate key"):
        resources.finish("b", True)
    insert(resources, "c", 2)
    resources.finish("c", True)
    assert ids(url) == [1, 2]
    resources.close()


def test_a_connection_that_is_lost_is_replaced(url: str) -> None:
    """In the middle of a record it is an error, and nothing was written; a dead idle one is found by its check."""
    resources = database(url, transactions="record", pool_size=1, health_check_interval=0)
    db = resources.acquire(DB, "a")["db"]
    db.insert("parts", {"id": 1})
    killer = database(url)
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
    )
    killer.acquire(DB, "k")["db"].execute(kill)
    with pytest.raises(TransactionError):
        resources.release(DB, "a", True)
    with pytest.raises(TransactionError):
        resources.finish("a", True)
    assert ids(url) == []
    insert(resources, "b", 2)
    resources.finish("b", True)
    killer.release(DB, "k", True)
    killer.acquire(DB, "k")["db"].execute(kill)
    insert(resources, "c", 3)
    resources.finish("c", True)
    assert ids(url) == [2, 3]
    killer.release(DB, "k", True)
    killer.close()
    resources.close()


def test_many_records_at_once_keep_to_the_pool(url: str) -> None:
    """Forty records in eight threads over three connections: each is committed or rolled back as a whole."""
    resources = database(url, transactions="record", pool_size=3, timeout=30.0)

    def work(first: int) -> None:
        for number in range(first, first + 5):
            insert(resources, f"run {number}", 2 * number)
            insert(resources, f"run {number}", 2 * number + 1)
            resources.finish(f"run {number}", number % 2 == 0)

    threads = [threading.Thread(target=work, args=(5 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    health = resources.health()["db"]
    assert health.made <= 3
    assert health.in_use == 0
    assert ids(url) == [number for number in range(80) if (number // 2) % 2 == 0]
    resources.close()


def test_async_records_share_a_small_pool(url: str) -> None:
    """Twenty tasks over two connections; those that are cancelled in the middle leave nothing, and nobody waits for ever."""

    async def scenario() -> None:
        resources = database(url, transactions="record", type="async_database", pool_size=2, timeout=20.0)

        async def record(number: int) -> None:
            run = f"run {number}"
            try:
                db = (await resources.acquire(DB, run))["db"]
                await db.upsert("parts", {"id": number, "name": "x"}, key=["id"])
                await db.execute("SELECT pg_sleep(:seconds)", {"seconds": 10 if number % 5 == 0 else 0})
                await resources.release(DB, run, True)
                await resources.finish(run, True)
            except asyncio.CancelledError:
                resources.drop(run)
                raise

        tasks = [asyncio.create_task(record(number)) for number in range(20)]
        await asyncio.sleep(0.3)
        for number in range(0, 20, 5):
            tasks[number].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        outcomes = [
            (n, answer) for n, answer in enumerate(answers) if n % 5 or not isinstance(answer, asyncio.CancelledError)
        ]
        assert [(n, answer) for n, answer in outcomes if answer is not None] == []
        assert await resources.aclose() == []

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert ids(url) == [number for number in range(20) if number % 5]


def test_async_connections_of_an_ended_loop_are_closed(url: str) -> None:
    """A machine used from one `asyncio.run` after the other leaves no connection behind."""
    resources = database(url, type="async_database")

    async def use() -> int:
        db = (await resources.acquire(DB, "a"))["db"]
        pid: int = await db.value("SELECT pg_backend_pid()")
        await resources.release(DB, "a", True)
        return pid

    first, second = asyncio.run(use()), asyncio.run(use())
    assert first != second
    look = database(url)
    db = look.acquire(DB, "look")["db"]
    for _ in range(100):
        alive = {row["pid"] for row in db.rows("SELECT pid FROM pg_stat_activity WHERE datname = 'postgres'")}
        if first not in alive:
            break
        db.execute("SELECT pg_sleep(0.02)")
    assert first not in alive
    look.release(DB, "look", True)
    look.close()
    resources.close()


def test_the_isolation_level_is_that_of_the_config(url: str) -> None:
    """SERIALIZABLE: of two records that each read what the other writes one fails, as PostgreSQL promises."""
    resources = database(url, transactions="record", config={"isolation_level": "SERIALIZABLE"})
    a, b = (resources.acquire(DB, run)["db"] for run in "ab")
    assert a.value("SHOW transaction_isolation") == "serializable"
    for number, db in enumerate((a, b)):
        db.value("SELECT coalesce(sum(qty), 0) FROM stock")
        db.insert("stock", {"id": number, "qty": 1})
    resources.release(DB, "a", True)
    resources.release(DB, "b", True)
    resources.finish("a", True)
    with pytest.raises(TransactionError, match="could not serialize"):
        resources.finish("b", True)
    assert ids(url, "stock") == [0]
    resources.close()


def test_manual_transactions(url: str) -> None:
    """A function's own transaction, with a savepoint in it; statements outside are for good at once."""
    resources = database(url, transactions="manual")
    db = resources.acquire(DB, "a")["db"]
    db.insert("parts", {"id": 1})
    with db.begin():
        db.insert("parts", {"id": 2})
        with pytest.raises(Exception, match="duplicate"), db.savepoint():
            db.insert("parts", {"id": 1})
        assert ids(url) == [1]
    assert ids(url) == [1, 2]
    resources.release(DB, "a", True)
    resources.finish("a", True)
    resources.close()


def test_upserts_and_conflicts(url: str) -> None:
    """Update, ignore, error: PostgreSQL's own words for them; the counts are what it says."""
    resources = database(url)
    db = resources.acquire(DB, "a")["db"]
    many = [{"id": number, "name": "x"} for number in range(500)]
    assert db.upsert("parts", many, key=["id"]) == 500
    assert db.upsert("public.parts", {"id": 3, "name": "y"}, key=["id"]) == 1
    assert db.insert("parts", {"id": 4, "name": "z"}, key=["id"], on_conflict="ignore") == 0
    assert db.rows("SELECT name FROM parts WHERE id IN (3, 4) ORDER BY id") == [{"name": "y"}, {"name": "x"}]
    resources.release(DB, "a", True)
    resources.close()


def test_a_server_that_is_not_there(server: str) -> None:
    """An error with the attempts it took, without the password; the pool's place is free afterwards."""
    gone = "postgresql://postgres:hunter2@127.0.0.1:1/postgres"
    resources = database(gone, pool_size=1, retry=Retry(attempts=2, delay=0.01))
    for _ in range(2):
        with pytest.raises(ResourceUnavailable, match="after 2 attempts") as caught:
            resources.acquire(DB, "a")
        assert "hunter2" not in str(caught.value)
    assert resources.health()["db"].status == "unhealthy"
    resources.close()


def test_a_pool_that_is_empty_names_who_has_it(server: str) -> None:
    """With real connections as with any other."""
    resources = database(server, pool_size=1, timeout=0.05)
    resources.acquire(DB, "run 1", "load")
    with pytest.raises(ResourceTimeout, match="run 1, state load"):
        resources.acquire(DB, "run 2")
    resources.release(DB, "run 1", True)
    resources.close()


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    pytest.importorskip("redis", reason="the client of Redis is not installed: pip install 'setpoint[redis]'")
    if missing := no_redis():
        pytest.skip(missing)
    with redis() as url:
        yield url


def test_a_cache_in_redis(redis_url: str) -> None:
    """Values with a JSON form, for a time, under a prefix of their own, shared by all runs."""
    config = {"url": redis_url, "prefix": "t:", "ttl": 60}
    resources = manager([ResourceDef(name="kv", type="cache", config=config, pool_size=2, health_check_interval=0)])
    one, two = (resources.acquire(KV, run)["kv"] for run in ("a", "b"))
    one.set("x", {"n": [1, None, "é"]})
    assert two.get("x") == {"n": [1, None, "é"]}
    assert 0 < one.client.pttl("t:x") <= 60_000
    assert two.get_or("y", lambda: 5) == 5
    assert one.get_or("y", lambda: 6) == 5
    one.set("z", 1, ttl=0.01)
    assert one.client.pttl("t:z") <= 10
    assert one.delete("x")
    assert two.get("x", "none") == "none"
    for run in "ab":
        resources.release(KV, run, True)
    assert resources.probe()["kv"].status == "healthy"
    resources.close()


def test_an_async_cache_in_redis(redis_url: str) -> None:
    """The same for async functions; its connections end with it."""

    async def scenario() -> Any:
        config = {"url": redis_url, "prefix": "a:"}
        resources = manager([ResourceDef(name="kv", type="async_cache", config=config)])
        cache = (await resources.acquire(KV, "a"))["kv"]
        await cache.set("x", [1], ttl=60)
        found = await cache.get("x"), await cache.delete("x"), await cache.get("x", "none")
        await resources.release(KV, "a", True)
        await resources.aclose()
        return found

    assert asyncio.run(scenario()) == ([1], True, "none")


def test_a_redis_that_is_not_there() -> None:
    """An error of the state that asks, not of the first use."""
    pytest.importorskip("redis", reason="the client of Redis is not installed: pip install 'setpoint[redis]'")
    resources = manager([ResourceDef(name="kv", type="cache", config={"url": "redis://:hunter2@127.0.0.1:1/0"})])
    with pytest.raises(ResourceUnavailable, match="kv") as caught:
        resources.acquire(KV, "a")
    assert "hunter2" not in str(caught.value)


def load(record: dict[str, Any], context: Context) -> None:
    """A state that writes its record and, where the record says so, fails afterwards."""
    db = context.require("db")
    db.insert("parts", {"id": record["id"], "name": context.state})
    if record.get("bad"):
        raise ValueError("a bad record")


def loading(url: str, transactions: Any) -> SimpleFSM:
    """A machine of two states that both write."""
    twice = StateDef(name="twice", resources=DB, transforms=(_next, load), arcs=(ArcDef(target="done"),))
    once = StateDef(name="once", start=True, resources=DB, transforms=(load,), arcs=(ArcDef(target="twice"),))
    network = NetworkDef(name="main", states=(once, twice, StateDef(name="done", final=True)))
    resource = ResourceDef(name="db", type="database", config={"url": url}, pool_size=2, timeout=10)
    return SimpleFSM(Definition(name="load", networks=(network,), resources=(resource,), transactions=transactions))


def _next(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "id": record["id"] + 100, "bad": record.get("worse")}


@pytest.mark.parametrize("transactions", ["record", "batch"])
def test_a_machine_leaves_nothing_of_records_that_failed(url: str, transactions: Any) -> None:
    """In one call or in a batch: of a record that failed in its second state the first is undone as well."""
    fsm = loading(url, transactions)
    records = [{"id": 1}, {"id": 2, "bad": True}, {"id": 3, "worse": True}, {"id": 4}]
    results = fsm.process_batch(records)
    assert [result.success for result in results] == [True, False, False, True]
    assert ids(url) == [1, 4, 101, 104]
    assert fsm.process({"id": 5}).success
    failed = fsm.process({"id": 1})
    assert failed.error is not None
    assert (failed.error.type, failed.error.state) == ("IntegrityError", "once")
    assert ids(url) == [1, 4, 5, 101, 104, 105]
    fsm.close()


def test_a_machine_without_transactions_leaves_what_it_did(url: str) -> None:
    """Each statement is for good: that is what `none` says."""
    fsm = loading(url, "none")
    assert not fsm.process({"id": 3, "worse": True}).success
    assert ids(url) == [3, 103]
    fsm.close()
