"""The store in SQLite while all is well: threads, bounds, and what is written when."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.store.filling import fill, move

from setpoint.store import SqliteStore, Transition, sqlite


def test_writing_while_others_append_is_no_fault(tmp_path: Path) -> None:
    """A burst from the loop meets the writer at work; nothing is lost, doubled or complained about, and readers see all of it."""
    store = SqliteStore(tmp_path / "store.sqlite")
    faults = set()
    for number in range(15_000):
        store.append(move(number))
        store.put("agent/a", "observed", {"n": number}, at=1.0)
        if number % 500 == 0:
            faults.add(store.trouble())
            assert [row.event for row in store.history("agent/a", 20_000)] == [f"e{n}" for n in range(number + 1)]
    store.close()
    assert faults == {""}
    store = SqliteStore(tmp_path / "store.sqlite")
    assert [row.event for row in store.history("agent/a", 20_000)] == [f"e{n}" for n in range(15_000)]
    assert store.load()["agent/a"]["observed"].value == {"n": 14_999}
    store.close()


def test_puts_and_drops_from_many_threads_end_as_the_last_one_said(tmp_path: Path) -> None:
    """Each worker's last word is what the file has, however the writer came between."""
    store = SqliteStore(tmp_path / "store.sqlite")

    def lives(name: str) -> None:
        for life in range(200):
            store.put(name, "observed", {"life": life}, at=1.0)
            if life % 3 == 0:
                store.drop(name)
            if life % 7 == 0:
                store.flush()
        store.put(name, "state", {"of": name}, at=1.0)

    threads = [threading.Thread(target=lives, args=(f"agent/{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"agent/{n}": {"observed": {"life": 199}, "state": {"of": f"agent/{n}"}} for n in range(4)}
    assert {p: {k: d.value for k, d in of.items()} for p, of in store.load().items()} == expected
    store.close()
    store = SqliteStore(tmp_path / "store.sqlite")
    assert {p: {k: d.value for k, d in of.items()} for p, of in store.load().items()} == expected
    assert store.trouble() == ""
    store.close()


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    """The file stays as it is while equal values come, but for a word every ten seconds that somebody is there."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    fill(store)
    assert store.flush()
    log = file.with_name("store.sqlite-wal")
    before = (log.stat().st_size, log.stat().st_mtime_ns)
    for _ in range(5):
        for number in range(200):
            store.put(f"agent/{number}", "observed", {"n": number, "text": "x" * 300}, at=2.0)
        assert store.flush()
    assert (log.stat().st_size, log.stat().st_mtime_ns) == before
    store.close()


def test_the_end_of_the_previous_run_is_known_and_not_overwritten_by_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`alive_at` is what the previous user left, at each heartbeat and at its end; who only reads sees how far this one is."""
    monkeypatch.setattr(sqlite, "HEARTBEAT_S", 0.005)
    file, now = tmp_path / "store.sqlite", [100.0]
    store = SqliteStore(file, wall=lambda: now[0])
    now[0] = 110.0
    time.sleep(0.02)
    assert store.flush()
    reader = SqliteStore(file, read_only=True)
    assert reader.alive_at == 110.0
    reader.close()
    now[0] = 120.0
    store.close()
    now[0] = 200.0
    store = SqliteStore(file, wall=lambda: now[0])
    assert store.flush()
    assert store.alive_at == 120.0
    store.close()


def test_the_number_of_transitions_is_bounded_over_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that restarts all the time does not fill its disk."""
    monkeypatch.setattr("setpoint.store.rows.KEEP_ROWS", 10)
    for run in range(5):
        store = SqliteStore(tmp_path / "store.sqlite")
        for number in range(8):
            store.append(move(100 * run + number))
        store.close()
    store = SqliteStore(tmp_path / "store.sqlite")
    assert len(store.history("agent/a", 1000)) <= 18
    store.close()


def test_machines_that_no_state_names_are_gone_after_a_restart(tmp_path: Path) -> None:
    """Those of the running process stay, those that a stored state names too."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    for name in ("named", "unnamed"):
        store.keep_machine(name, {"name": name})
    store.put("agent/a", "state", {"state": "up", "hash": "named"}, at=1.0)
    store.close()
    store = SqliteStore(file)
    store.keep_machine("new", {"name": "new"})
    store.append(move(1))
    assert store.flush()
    store.close()
    store = SqliteStore(file, read_only=True)
    assert [store.machine(name) is not None for name in ("named", "unnamed", "new")] == [True, False, True]
    store.close()


def test_text_that_is_not_unicode_costs_nothing_but_itself(tmp_path: Path) -> None:
    """A broken character, as from a file name, is kept as a `?`, and what follows is kept too."""
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append(Transition("agent/a", 1.0, "e", "s", "t", "no such file: \udcff"))
    store.append(move(2))
    store.put("agent/a", "observed", {"file\udcff": "\udcff"}, at=1.0)
    store.close()
    store = SqliteStore(tmp_path / "store.sqlite")
    assert [row.reason for row in store.history("agent/a")] == ["no such file: ?", "because"]
    assert store.load()["agent/a"]["observed"].value == {"file?": "?"}
    store.close()
