"""Loading a database from another: the four ways, what is rejected, and loads that are killed. With SQLite."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.patterns.patterns_folder import enter, module
from typer.testing import CliRunner

from setpoint.cli.run import run as cli_run
from setpoint.data.stream import StreamError, open_sink, open_source

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'setpoint[sql]'")
SHOP, WAREHOUSE = "sqlite:///shop.db", "sqlite:///warehouse.db"
GOOD = [1, 2, 3, 6, 7, 9, 10, 11, 12]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = enter("etl", tmp_path, monkeypatch)
    for name in ("shop", "warehouse"):
        run(Path(f"{name}.sql").read_text(), name)
    return found


def run(script: str, database: str = "warehouse") -> None:
    connection = sqlite3.connect(f"{database}.db")
    connection.executescript(script)
    connection.close()


def rows(query: str, database: str = "warehouse") -> list[Any]:
    connection = sqlite3.connect(f"{database}.db")
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def ids() -> list[int]:
    return [row[0] for row in rows("SELECT id FROM orders ORDER BY id")]


def total(order: int) -> float:
    return float(rows(f"SELECT total FROM orders WHERE id = {order}")[0][0])


def load(mode: str, **options: Any) -> Any:
    return module("load").load(mode, SHOP, WAREHOUSE, **options)


def test_a_row_is_cleaned_and_priced() -> None:
    """What the warehouse gets of one order."""
    load("full")
    assert rows("SELECT * FROM orders WHERE id = 2") == [
        (2, "Grace Hopper", "US", "gear 60", "EUR", 49.0, "2026-11-20 07:52:10")
    ]


def test_a_full_load_leaves_nothing_that_is_gone() -> None:
    """The row that the shop has no more is gone, the one that has changed is new; what is rejected is not there."""
    report = load("full")
    assert ids() == GOOD
    assert total(3) == 119.0
    assert (report.emitted, report.excluded, report.failed) == ({"loaded": 9}, {"test_order": 1}, {"failed": 2})


def test_a_full_load_is_seen_as_a_whole() -> None:
    """While it runs others see the old rows, all of them; then the new ones, all of them."""
    seen = []
    load("full", chunk_size=2, error_threshold=1.0, on_commit=lambda mark: seen.append(ids()))
    assert len(seen) == 6
    assert seen == [[3, 99]] * 6
    assert ids() == GOOD


def test_a_full_load_that_breaks_off_changes_nothing() -> None:
    """By too many errors, or told to stop: the old rows stand, and the next one does all of it."""
    with pytest.raises(StreamError, match=r"2 of 8 failed or were no records, and error_threshold is 0\.1"):
        load("full", error_threshold=0.1, chunk_size=8)
    assert ids() == [3, 99]
    asked = iter([False, False, True])
    assert load("full", chunk_size=2, stop=lambda: next(asked), error_threshold=1.0).interrupted
    assert ids() == [3, 99]
    load("full")
    assert ids() == GOOD


def test_rejected_rows_are_set_aside_with_their_reasons() -> None:
    """Each with its key, its state, the reason, and the row as the shop has it; also what the table itself refuses."""
    run("UPDATE orders SET price = 2000000 WHERE id = 10", "shop")
    report = load("full")
    letters = [json.loads(line) for line in Path("rejected.jsonl").read_text().splitlines()]
    assert [(letter["at"], letter["kind"], letter["state"]) for letter in letters] == [
        (4, "failed", "extracted"),
        (8, "failed", "extracted"),
        (10, "unwritable", "loaded"),
    ]
    assert [letter["reason"] for letter in letters[:2]] == ["quantity: 0 is below 1", "price: is None"]
    assert "CHECK constraint failed" in letters[2]["reason"]
    assert letters[1]["record"]["customer"] == "Ada Lovelace"
    assert report.failed == {"failed": 2, "loaded": 1}


def test_an_incremental_load_takes_what_is_new_and_what_has_changed_once() -> None:
    """The watermark is in the target. A row that was rejected comes again when it is mended; its rejection is told once."""
    assert load("incremental").read == 12
    assert ids() == [*GOOD, 99]
    run("UPDATE orders SET total = -1")  # to see what is written from here on
    assert load("incremental").read == 0
    run(
        """
        UPDATE orders SET quantity = 31, updated_at = '2026-11-21 06:00:00' WHERE id = 7;
        UPDATE orders SET price = 2.2, updated_at = '2026-11-21 06:00:00' WHERE id = 8;
        INSERT INTO orders VALUES (13, 1, 'motor', 1, 640, 'EUR', '2026-11-21 06:00:01'),
                                  (14, 1, 'motor', 0, 640, 'EUR', '2026-11-21 06:00:02');
        """,
        "shop",
    )
    report = load("incremental")
    assert (report.read, report.emitted, report.failed) == (4, {"loaded": 3}, {"failed": 1})
    assert rows("SELECT id, total FROM orders WHERE total <> -1 ORDER BY id") == [(7, 68.2), (8, 22.0), (13, 640.0)]
    assert load("incremental").success
    told = [json.loads(line)["record"]["id"] for line in Path("rejected.jsonl").read_text().splitlines()]
    assert told == [4, 8, 14]


def test_each_night_may_have_its_own_file_of_rejected_rows() -> None:
    """A file that was taken away, or another one, is no reason not to load."""
    load("incremental", dead_letters="monday.jsonl")
    Path("monday.jsonl").unlink()
    run("INSERT INTO orders VALUES (13, 1, 'motor', 0, 640, 'EUR', '2026-11-21 06:00:01')", "shop")
    load("incremental", dead_letters="tuesday.jsonl", error_threshold=1.0)
    assert [json.loads(line)["record"]["id"] for line in Path("tuesday.jsonl").read_text().splitlines()] == [13]


def test_upsert_deletes_nothing_and_append_touches_nothing() -> None:
    """The other two ways: all rows come and those that are there are updated; or only rows with new ids are inserted."""
    load("upsert")
    assert ids() == [*GOOD, 99]
    assert total(3) == 119.0
    run("DELETE FROM orders WHERE id <> 3; UPDATE orders SET total = -1")
    report = load("append")
    assert ids() == GOOD
    assert total(3) == -1
    assert report.failed == {"failed": 2, "loaded": 1}
    assert "UNIQUE constraint failed" in Path("rejected.jsonl").read_text()
    run("UPDATE orders SET quantity = 99, updated_at = '2027-01-01' WHERE id = 7", "shop")
    run("INSERT INTO orders VALUES (13, 1, 'motor', 1, 640, 'EUR', '2026-11-21 06:00:01')", "shop")
    assert load("append").read == 1
    assert ids() == [*GOOD, 13]
    assert total(7) == 66.0


def test_from_the_command_line() -> None:
    """The same load as one command: what is read by which key, and how it is written, stands in the URLs."""
    app = typer.Typer()
    app.command()(cli_run)
    command = ["orders.yaml", "--input", f"{SHOP}#orders_to_load?key=updated_at,id"]
    command += ["--output", f"{WAREHOUSE}#orders?mode=upsert", "--resume"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 1  # two were rejected
    assert "quantity: 0 is below 1" in first.output
    assert ids() == [*GOOD, 99]
    assert CliRunner().invoke(app, command).exit_code == 0


def test_settings_in_urls_that_there_are_not() -> None:
    """A wrong word is an error that names the right ones; so is a load that was read by another key before."""
    with pytest.raises(ValueError, match="there is no setting 'mod'; there are key, mode, stream"):
        open_sink(f"{WAREHOUSE}#orders?mod=upsert")
    with pytest.raises(ValueError, match="mode 'update' is unknown; there are insert, upsert, replace"):
        open_sink(f"{WAREHOUSE}#orders?mode=update")
    source: Any = open_source(f"{SHOP}#orders?key=updated_at,id")
    position = source.read(3).position
    with pytest.raises(ValueError, match="was read by updated_at, id, this one by id: begin anew"):
        open_source(f"{SHOP}#orders").seek(position)  # type: ignore[union-attr, unused-coroutine]


NIGHT = """
import sys
from load import load
load(sys.argv[1], "sqlite:///shop.db", "sqlite:///warehouse.db", chunk_size=int(sys.argv[2]))
"""


def killed(mode: str, at: int, table: str) -> bool:
    """A load in a process of its own, killed when so many rows are in that table; whether it came to that."""
    process = subprocess.Popen([sys.executable, "-c", NIGHT, mode, "7"])
    try:
        while process.poll() is None:
            if rows(f"SELECT count(*) FROM {table}")[0][0] >= at:
                os.kill(process.pid, signal.SIGKILL)
                return True
            time.sleep(0.002)
    finally:
        process.wait(10)
    return False


def many() -> None:
    """Five hundred orders, each tenth of them rejected; the warehouse notes every write."""
    orders = ", ".join(
        f"({n}, 1, 'gear', {n % 10}, 2, 'EUR', '2026-11-21 {n // 60 % 24:02}:{n % 60:02}:00')" for n in range(100, 600)
    )
    run(f"INSERT INTO orders VALUES {orders}", "shop")
    run("CREATE TABLE written (id INTEGER)")
    for event in ("INSERT", "UPDATE"):
        run(f"CREATE TRIGGER on_{event} AFTER {event} ON orders BEGIN INSERT INTO written VALUES (NEW.id); END")


def test_an_incremental_load_survives_kills() -> None:
    """Killed at random moments, by the last run each row was written once, and each rejection is told once."""
    many()
    chance = random.Random(7)
    kills = sum(killed("incremental", at, "written") for at in sorted(chance.sample(range(10, 420), 3)))
    assert kills >= 1
    assert load("incremental", chunk_size=7).finished
    written = [row[0] for row in rows("SELECT id FROM written ORDER BY id")]
    assert written == [*GOOD, *(n for n in range(100, 600) if n % 10)]
    told = sorted(json.loads(line)["record"]["id"] for line in Path("rejected.jsonl").read_text().splitlines())
    assert told == [4, 8, *range(100, 600, 10)]
    assert load("incremental").read == 0


def test_a_full_load_that_is_killed_leaves_the_old_rows() -> None:
    """All of them, and no others; the next one makes it whole."""
    many()
    told = NIGHT.replace("chunk_size", "error_threshold=1.0, on_commit=lambda mark: print('.', flush=True), chunk_size")
    with subprocess.Popen([sys.executable, "-c", told, "full", "1"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(200):
            assert process.stdout.readline() == b".\n"
        process.kill()
    assert ids() == [3, 99]
    load("full")
    assert len(ids()) == 9 + 450
