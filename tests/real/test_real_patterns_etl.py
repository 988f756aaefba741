"""The load of examples/patterns/etl against a real PostgreSQL: as the target of SQLite, and from one of its databases to another."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.patterns.patterns_folder import enter, module
from tests.real.real_servers import no_postgres, postgres

from setpoint.data.stream import StreamError

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'setpoint[sql]'")
pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'setpoint[sql]'")
pytestmark = pytest.mark.real
NUMBERS = itertools.count(1)
GOOD = [1, 2, 3, 6, 7, 9, 10, 11, 12]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if missing := no_postgres():
        pytest.skip(missing)
    with postgres() as url:
        yield url.rpartition("/")[0]


class Ends:
    """The shop and the warehouse of one test."""

    def __init__(self, server: str, kind: str) -> None:
        number = next(NUMBERS)
        for name in ("shop", "warehouse"):
            run(f"{server}/postgres", f"CREATE DATABASE {name}_{number} TEMPLATE template0")
        self.shop = f"{server}/shop_{number}" if kind == "postgresql" else "sqlite:///shop.db"
        self.warehouse = f"{server}/warehouse_{number}"
        for url, script in ((self.shop, "shop.sql"), (self.warehouse, "warehouse.sql")):
            text = "\n".join(line for line in Path(script).read_text().splitlines() if not line.startswith("--"))
            if url.startswith("postgresql"):
                text = text.replace("updated_at TEXT", "updated_at TIMESTAMP")
            run(url, *(part for part in text.split(";") if part.strip()))

    def load(self, mode: str, **options: Any) -> Any:
        return module("load").load(mode, self.shop, self.warehouse, **options)

    def ids(self) -> list[int]:
        return [row[0] for row in rows(self.warehouse, "SELECT id FROM orders ORDER BY id")]


def run(url: str, *statements: str) -> None:
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def ends(server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ends:
    enter("etl", tmp_path, monkeypatch)
    return Ends(server, request.param)


def test_a_full_load_replaces_everything_at_once(ends: Ends) -> None:
    """Others see the old rows until the end; a load that breaks off changes nothing."""
    with pytest.raises(StreamError, match="2 of 8 failed"):
        ends.load("full", error_threshold=0.1, chunk_size=8)
    assert ends.ids() == [3, 99]
    seen = []
    report = ends.load("full", chunk_size=2, error_threshold=1.0, on_commit=lambda mark: seen.append(ends.ids()))
    assert seen == [[3, 99]] * 6
    assert ends.ids() == GOOD
    assert rows(ends.warehouse, "SELECT country, total, updated_at::text FROM orders WHERE id = 2") == [
        ("US", 49.0, "2026-11-20 07:52:10")
    ]
    assert report.failed == {"failed": 2}


def test_the_other_ways(ends: Ends) -> None:
    """New and changed rows once, with the watermark in the target; upsert and append as they are called."""
    assert ends.load("incremental").read == 12
    assert ends.ids() == [*GOOD, 99]
    assert ends.load("incremental").read == 0
    run(ends.shop, "UPDATE orders SET price = 2, updated_at = '2026-11-21 06:00:00.25' WHERE id IN (7, 8)")
    run(ends.warehouse, "UPDATE orders SET total = -1")
    report = ends.load("incremental")
    assert (report.read, report.success) == (2, True)
    written = "SELECT id, total FROM orders WHERE total <> -1 ORDER BY id"
    assert rows(ends.warehouse, written) == [(7, 60.0), (8, 20.0)]
    assert ends.load("append", error_threshold=1.0).emitted == {}
    told = [json.loads(line)["reason"] for line in Path("rejected.jsonl").read_text().splitlines()]
    assert sum("duplicate key" in reason for reason in told) == 10
    assert rows(ends.warehouse, written) == [(7, 60.0), (8, 20.0)]
    assert ends.load("upsert").emitted == {"loaded": 10}
    assert rows(ends.warehouse, "SELECT id FROM orders WHERE total = -1") == [(99,)]


def test_an_incremental_load_survives_kills(ends: Ends) -> None:
    """Each row was written once, whenever the process was killed."""
    orders = ", ".join(
        f"({n}, 1, 'gear', {n % 10}, 2, 'EUR', '2026-11-21 06:{n // 60:02}:{n % 60:02}')" for n in range(100, 400)
    )
    run(ends.shop, f"INSERT INTO orders VALUES {orders}")
    run(
        ends.warehouse,
        "CREATE TABLE written (id INTEGER)",
        "CREATE FUNCTION note() RETURNS trigger AS 'BEGIN INSERT INTO written VALUES (NEW.id); RETURN NEW; END' LANGUAGE plpgsql",
        "CREATE TRIGGER noted AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note()",
    )
    night = f"from load import load; load('incremental', {ends.shop!r}, {ends.warehouse!r}, chunk_size=3)"
    chance, kills = random.Random(3), 0
    for at in sorted(chance.sample(range(5, 200), 2)):
        process = subprocess.Popen([sys.executable, "-c", night])
        while process.poll() is None:
            if rows(ends.warehouse, "SELECT count(*) FROM written")[0][0] >= at:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        process.wait(10)
    assert kills >= 1
    assert ends.load("incremental").finished
    written = [row[0] for row in rows(ends.warehouse, "SELECT id FROM written ORDER BY id")]
    assert written == [*GOOD, *(n for n in range(100, 400) if n % 10)]
