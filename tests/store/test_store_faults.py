"""The store and the disk: what cannot be written waits, which is said, and is over by itself."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.store.filling import assert_full, fill, move, set_asides, until

from setpoint.store import SqliteStore, rows, sqlite


def test_a_file_that_is_locked_is_not_damaged(tmp_path: Path) -> None:
    """It is left as it is, the fault is said, and what waited is written when the lock is gone."""
    file = tmp_path / "store.sqlite"
    SqliteStore(file).close()
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN IMMEDIATE")
    store = SqliteStore(file)
    fill(store)
    assert "locked" in store.trouble()
    assert_full(store)
    assert store.history("agent/a", 1) == [move(199)]
    with pytest.raises(RuntimeError, match="locked"):
        store.update("agent/x", "state", {}, version=0)
    holder.execute("COMMIT")
    holder.close()
    until(lambda: store.trouble() == "")
    assert not set_asides(tmp_path)
    store.close()
    store = SqliteStore(file)
    assert_full(store)
    store.close()


def test_a_lock_delays_nobody_but_the_writer(tmp_path: Path) -> None:
    """While another program writes, what the runtime calls returns at once, and the history can be read."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    fill(store)
    assert store.flush()
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    slowest = 0.0
    for number in range(300):
        start = time.perf_counter()
        store.put("agent/0", "observed", {"n": 0, "again": number}, at=2.0)
        store.append(move(200 + number))
        assert store.history("agent/a", 2)[-1].event == f"e{200 + number}"
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.045  # less than the lock is waited for
    holder.execute("COMMIT")
    holder.close()
    until(lambda: store.flush() and store.trouble() == "")
    assert len(store.history("agent/a", 1000)) == 500
    store.close()


def test_a_place_where_no_file_can_be_keeps_everything_in_memory(tmp_path: Path) -> None:
    """Nothing raises, the fault is said, and once there is a place all of it is written."""
    folder = tmp_path / "data"
    folder.write_text("a file where the directory should be")
    store = SqliteStore(folder / "store.sqlite")
    fill(store)
    assert not store.flush(0.05)
    assert store.trouble()
    assert_full(store)
    assert len(store.history("agent/a", 1000)) == 200
    folder.unlink()
    assert store.flush()
    assert store.trouble() == ""
    store.close()
    store = SqliteStore(folder / "store.sqlite")
    assert_full(store)
    assert len(store.history("agent/a", 1000)) == 200
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only_keeps_everything_in_memory(tmp_path: Path) -> None:
    """As after a file system was mounted read-only because of errors; who only reads can still read."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    fill(store, 10)
    store.close()
    file.chmod(0o444)
    tmp_path.chmod(0o555)
    reader = SqliteStore(file, read_only=True)
    assert_full(reader, 10)
    reader.close()
    store = SqliteStore(file)
    fill(store)
    assert not store.flush(0.05)
    assert store.trouble()
    assert_full(store)
    tmp_path.chmod(0o755)
    file.chmod(0o644)
    assert store.flush()
    assert store.trouble() == ""
    store.close()


def test_a_disk_that_hangs_holds_up_nobody_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a commit does not come back: what the runtime calls returns, flush and update give up in time, and then all is well again."""
    monkeypatch.setattr(sqlite, "HUNG_S", 0.05)
    store = SqliteStore(tmp_path / "store.sqlite")
    assert store.flush()
    inside, back, real = threading.Event(), threading.Event(), rows.write

    def hangs(*arguments: Any) -> Any:
        inside.set()
        back.wait(10)
        return real(*arguments)

    monkeypatch.setattr(rows, "write", hangs)
    fill(store, 3)
    assert inside.wait(5)
    fill(store, 5)
    assert not store.flush(0.1)
    with pytest.raises(RuntimeError, match="not answered"):
        store.update("agent/x", "state", {}, version=0)
    assert "not answered for" in store.trouble()
    assert_full(store, 5)
    back.set()
    assert store.flush()
    assert store.trouble() == ""
    assert_full(store, 5)
    store.close()


def test_what_waits_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written for days: the latest of each document, and the latest transitions."""
    monkeypatch.setattr("setpoint.store.waiting.KEEP_WAITING", 100)
    store = SqliteStore(Path("/proc/nowhere/store.sqlite"))
    for number in range(5000):
        store.put("agent/a", "observed", {"n": number}, at=1.0)
        store.append(move(number))
    assert store.load()["agent/a"]["observed"].value == {"n": 4999}
    assert [row.event for row in store.history("agent/a", 1000)] == [f"e{n}" for n in range(4900, 5000)]
    start = time.monotonic()
    store.close()
    assert time.monotonic() - start < 4


FULL_DISK = """
import resource, sys
from pathlib import Path
from typing import Any
from setpoint.store import SqliteStore, Transition, sqlite

sqlite.RETRY_S = 0.01
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
store = SqliteStore(Path(sys.argv[1]))
for number in range(3000):
    store.put(f"agent/{number}", "observed", {"text": "x" * 500}, at=1.0)
    store.append(Transition("agent/a", 1.0, f"e{number}", "s", "t", "y" * 500))
assert not store.flush(0.5)
print("trouble:", store.trouble())
assert store.trouble() and not store.set_aside
assert len(store.load()) == 3000
assert [row.event for row in store.history("agent/a", 5000)] == [f"e{n}" for n in range(3000)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.flush(10), store.trouble()
assert store.trouble() == ""
store.close()
"""


def test_a_disk_without_room_loses_nothing(tmp_path: Path) -> None:
    """What does not fit waits; once there is room it is written, in order and once."""
    file = tmp_path / "store.sqlite"
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    store = SqliteStore(file)
    assert len(store.load()) == 3000
    assert [row.event for row in store.history("agent/a", 5000)] == [f"e{n}" for n in range(3000)]
    assert not set_asides(tmp_path)
    store.close()


def test_what_is_observed_is_gathered_to_spare_the_disk(tmp_path: Path) -> None:
    """It waits for the next heartbeat, readable meanwhile; other documents do not, and a flush or the end writes everything."""
    store = SqliteStore(tmp_path / "s.sqlite")
    store.flush()
    for value in range(50):
        store.put("a", "observed", {"value": value}, at=1.0)
    store.put("a", "state", {"state": "up", "hash": ""}, at=1.0)
    ends = time.monotonic() + 5.0
    other = SqliteStore(tmp_path / "s.sqlite", read_only=True)
    while "state" not in other.refresh("a") and time.monotonic() < ends:
        time.sleep(0.01)
    assert set(other.refresh("a")) == {"state"}
    assert store.load()["a"]["observed"].value == {"value": 49}
    assert store.flush()
    assert other.refresh("a")["observed"].value == {"value": 49}
    store.put("a", "observed", {"value": 50}, at=2.0)
    store.close()
    assert other.refresh("a")["observed"].value == {"value": 50}
    other.close()
