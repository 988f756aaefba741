"""The journal: what moved is kept, across restarts and faults of the disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from setpoint.store import Journal, MemoryJournal, SqliteJournal, Transition


def move(number: int, path: str = "agent/a") -> Transition:
    return Transition(path, 1000.0 + number, f"e{number}", "s", "t", "because")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "j.sqlite")


def test_the_history_of_a_worker_is_the_latest_oldest_first(journal: Journal) -> None:
    """Only its own, at most as many as asked for."""
    for number in range(30):
        journal.append(move(number))
    journal.append(move(0, "agent/b"))
    assert [row.event for row in journal.history("agent/a", 3)] == ["e27", "e28", "e29"]
    assert len(journal.history("agent/b")) == 1
    assert journal.history("agent/nobody") == []
    journal.close()


def test_history_survives_a_restart_and_goes_on(tmp_path: Path) -> None:
    """What was closed properly is all there, in order, before what came later."""
    file = tmp_path / "j.sqlite"
    journal = SqliteJournal(file)
    for number in range(5):
        journal.append(move(number))
    journal.close()
    journal = SqliteJournal(file)
    for number in range(5, 8):
        journal.append(move(number))
    assert [row.event for row in journal.history("agent/a", 6)] == ["e2", "e3", "e4", "e5", "e6", "e7"]
    journal.close()


def test_a_damaged_file_is_set_aside_and_a_fresh_one_is_started(tmp_path: Path) -> None:
    """The agent comes up; what is damaged is kept for whoever wants to look."""
    file = tmp_path / "j.sqlite"
    file.write_bytes(b"this is not a database" * 1000)
    journal = SqliteJournal(file)
    journal.append(move(1))
    journal.close()
    assert [row.event for row in SqliteJournal(file).history("agent/a")] == ["e1"]
    aside = [path for path in tmp_path.iterdir() if ".damaged-" in path.name]
    assert aside[0].read_bytes().startswith(b"this is not a database")


def test_a_disk_that_cannot_be_written_keeps_the_history_in_memory_until_it_can(tmp_path: Path) -> None:
    """Nothing raises, the fault is said, and what waited is written when there is room again."""
    import sqlite3

    file = tmp_path / "j.sqlite"
    journal = SqliteJournal(file)
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("ALTER TABLE transitions RENAME TO away")
    journal.append(move(1))
    deadline = time.monotonic() + 5
    while not journal.error and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "no such table" in journal.error
    assert [row.event for row in journal.history("agent/a")] == ["e1"]
    blocker.execute("ALTER TABLE away RENAME TO transitions")
    blocker.close()
    journal.close()
    assert [row.event for row in SqliteJournal(file).history("agent/a")] == ["e1"]


def test_text_that_is_not_unicode_costs_nothing_but_itself(tmp_path: Path) -> None:
    """A reason with a broken character, as from a file name, is kept with a `?` in its place, and what follows is kept too."""
    journal = SqliteJournal(tmp_path / "j.sqlite")
    journal.append(Transition("agent/a", 1.0, "e", "s", "t", "no such file: \udcff"))
    journal.append(move(2))
    journal.close()
    assert [row.reason for row in SqliteJournal(tmp_path / "j.sqlite").history("agent/a")] == [
        "no such file: ?",
        "because",
    ]


def test_a_clock_that_goes_back_does_not_hide_the_past(tmp_path: Path) -> None:
    """History is in the order in which things happened, whatever the clock said."""
    journal = SqliteJournal(tmp_path / "j.sqlite")
    journal.append(Transition("agent/a", 1_700_000_000.0, "old", "s", "t", ""))
    journal.close()
    journal = SqliteJournal(tmp_path / "j.sqlite")
    journal.append(Transition("agent/a", 100.0, "new", "s", "t", ""))
    assert [row.event for row in journal.history("agent/a")] == ["old", "new"]
    journal.close()


def test_a_long_history_of_one_run_is_all_there(tmp_path: Path) -> None:
    """Also what has left memory; nothing twice while it is written."""
    journal = SqliteJournal(tmp_path / "j.sqlite")
    for number in range(1500):
        journal.append(move(number))
        if number % 100 == 0:
            assert [row.event for row in journal.history("agent/a", 2000)] == [f"e{n}" for n in range(number + 1)]
    assert len(journal.history("agent/a", 2000)) == 1500
    journal.close()


def test_a_file_that_is_locked_is_not_damaged(tmp_path: Path) -> None:
    """It is left as it is, the fault is said, and what waited is written when the lock is gone."""
    import sqlite3

    file = tmp_path / "j.sqlite"
    SqliteJournal(file).close()
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN IMMEDIATE")
    journal = SqliteJournal(file)
    journal.append(move(1))
    assert "locked" in journal.error
    assert [row.event for row in journal.history("agent/a")] == ["e1"]
    holder.execute("COMMIT")
    holder.close()
    journal.close()
    assert [row.event for row in SqliteJournal(file).history("agent/a")] == ["e1"]
    assert not [path for path in tmp_path.iterdir() if "damaged" in path.name]


def test_the_number_of_rows_is_bounded_over_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that restarts all the time does not fill its disk."""
    monkeypatch.setattr("setpoint.store.sqlite.KEEP_ROWS", 10)
    for run in range(5):
        journal = SqliteJournal(tmp_path / "j.sqlite")
        for number in range(8):
            journal.append(move(100 * run + number))
        journal.close()
    assert len(SqliteJournal(tmp_path / "j.sqlite").history("agent/a", 1000)) <= 18


def test_writing_while_others_append_is_no_fault(tmp_path: Path) -> None:
    """A burst from the loop meets the writer at work; nothing is lost, doubled or complained about."""
    journal = SqliteJournal(tmp_path / "j.sqlite")
    faults = set()
    for number in range(15_000):
        journal.append(move(number))
        faults.add(journal.error)
    journal.close()
    assert faults == {""}
    assert [row.event for row in SqliteJournal(tmp_path / "j.sqlite").history("agent/a", 20_000)] == [
        f"e{n}" for n in range(15_000)
    ]
