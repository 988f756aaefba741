"""A damaged, deleted or replaced file: it is set aside and made again, and no document of the run is lost."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from tests.store.filling import assert_full, fill, move, set_asides, until

from setpoint.store import SqliteStore


@pytest.mark.parametrize("content", [b"this is not a database" * 1000, b"x" * 600, b"\0" * 100_000])
def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """The agent comes up; what is damaged is kept for whoever wants to look, and named."""
    file = tmp_path / "store.sqlite"
    file.write_bytes(content)
    store = SqliteStore(file)
    fill(store)
    assert store.flush()
    assert_full(store)
    assert set_asides(tmp_path) == [store.set_aside]
    assert (tmp_path / store.set_aside).read_bytes() == content
    assert store.trouble() == ""
    store.close()


def test_two_files_damaged_within_a_second_are_both_kept(tmp_path: Path) -> None:
    """Nothing is overwritten by what is set aside."""
    for number in range(2):
        (tmp_path / "store.sqlite").write_bytes(b"not a database %d" % number * 100)
        SqliteStore(tmp_path / "store.sqlite").close()
    assert len(set_asides(tmp_path)) == 2


def test_damage_inside_is_found_at_opening(tmp_path: Path) -> None:
    """Also where the beginning of the file is sound."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    fill(store)
    store.close()
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = b"\xa5" * 20_000
    file.write_bytes(content)
    store = SqliteStore(file)
    assert store.set_aside
    assert store.load() == {}
    fill(store)
    store.close()
    store = SqliteStore(file)
    assert_full(store)
    store.close()


def test_a_file_that_was_cut_is_set_aside(tmp_path: Path) -> None:
    """As after a copy that did not end."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    fill(store)
    store.close()
    os.truncate(file, file.stat().st_size // 2)
    store = SqliteStore(file)
    assert (store.set_aside, store.trouble()) == (set_asides(tmp_path)[0], "")
    store.close()


def test_damage_while_running_costs_no_document(tmp_path: Path) -> None:
    """It is found when somebody reads; all documents of this run are then in a fresh file, and what comes later too."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    store.keep_machine("cafe", {"name": "m"})
    fill(store)
    assert store.flush()
    for part in (file, file.with_name("store.sqlite-wal")):
        size = part.stat().st_size
        with part.open("r+b") as damaged:
            damaged.seek(100)
            damaged.write(b"\xa5" * max(0, size - 100))
    store.history("agent/a")
    until(lambda: store.set_aside)
    store.append(move(900))
    assert store.flush()
    assert_full(store)
    assert [row.event for row in store.history("agent/a")][-1] == "e900"
    assert store.trouble() == ""
    store.close()
    store = SqliteStore(file)
    assert_full(store)
    assert store.machine("cafe") is None  # no state names it
    assert set_asides(tmp_path)
    store.close()


def test_a_disk_that_damages_every_file_is_not_filled_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file is set aside, then the fault is said and the values wait."""

    def rotten(*_: object) -> None:
        raise fault

    fault = sqlite3.DatabaseError("database disk image is malformed")
    fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    monkeypatch.setattr("setpoint.store.rows.write", rotten)
    store = SqliteStore(tmp_path / "store.sqlite")
    for number in range(20):
        store.put("agent/a", "observed", {"n": number}, at=1.0)
        assert not store.flush(0.01)
    assert len(set_asides(tmp_path)) == 1
    assert "malformed" in store.trouble()
    assert store.load()["agent/a"]["observed"].value == {"n": 19}
    monkeypatch.undo()
    assert store.flush()
    assert store.trouble() == ""
    store.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_or_replaced_is_made_again(tmp_path: Path, replaced: bool) -> None:
    """Somebody cleans up, or puts an older copy there, while the agent runs: all that it put is in the file again."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(tmp_path / "older.sqlite")
    store.put("agent/older", "observed", {"n": 0}, at=1.0)
    store.put("agent/0", "observed", {"n": 99}, at=1.0)
    store.close()
    store = SqliteStore(file)
    fill(store)
    assert store.flush()
    for part in tmp_path.glob("store.sqlite*"):
        part.unlink()
    if replaced:
        (tmp_path / "older.sqlite").rename(file)
    assert store.flush()
    assert (store.load().pop("agent/older", None) is not None) == replaced
    store.drop("agent/older")
    assert_full(store)
    store.close()
    store = SqliteStore(file)
    assert_full(store)
    assert store.history("agent/a") == []  # those went with the file
    store.close()
