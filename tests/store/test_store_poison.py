"""One row that cannot be written, and one that cannot be read: neither costs more than itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.store.filling import fill, move

from setpoint.store import SqliteStore, Transition, rows


def test_a_row_that_the_file_does_not_take_is_left_out_and_said(tmp_path: Path) -> None:
    """All else of its batch is written, in order and once; the next good value of the same document ends the trouble."""
    store = SqliteStore(tmp_path / "store.sqlite")
    none: Any = None
    for number in range(3):
        store.append(move(number))
    store.put("agent/a", none, {"n": 1}, at=1.0)
    store.put("agent/b", "state", {"n": 2}, at=1.0)
    store.keep_machine("cafe", {"name": "m"})
    assert store.flush()
    assert "None of agent/a is not stored" in store.trouble()
    assert store.load()["agent/b"]["state"].value == {"n": 2}
    assert [row.event for row in store.history("agent/a")] == ["e0", "e1", "e2"]
    store.close()
    store = SqliteStore(tmp_path / "store.sqlite")
    assert [row.event for row in store.history("agent/a")] == ["e0", "e1", "e2"]
    assert store.trouble() == ""
    store.close()


def test_a_transition_that_the_file_does_not_take_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the same worker moves again, or is gone."""
    real = rows.without_secret

    def spoilt(transition: Transition) -> Transition:
        kept: Any = real(transition)
        return Transition(None, *kept.__reduce__()[1][1:]) if transition.event == "e7" else kept  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "without_secret", spoilt)
    store = SqliteStore(tmp_path / "store.sqlite")
    for number in range(10):
        store.append(move(number))
    assert store.flush()
    assert "is not stored" in store.trouble()
    assert [row.event for row in store.history("agent/a")] == [f"e{n}" for n in range(10) if n != 7]
    store.close()


def test_a_machine_that_has_no_json_is_said_and_harms_nobody(tmp_path: Path) -> None:
    """Whoever keeps it goes on, and so does the store."""
    store = SqliteStore(tmp_path / "store.sqlite")
    store.keep_machine("cafe", {"name": "\udcff"})
    store.keep_machine("cade", {"name": "m"})
    assert store.flush()
    assert "the machine cafe is not stored" in store.trouble()
    assert (store.machine("cafe"), store.machine("cade")) == (None, {"name": "m"})
    store.close()


BROKEN = "CAST(X'22613aff22' AS TEXT)"  # a text that is not UTF-8

DAMAGES = [
    "UPDATE documents SET value = '{' WHERE path = 'agent/0' AND kind = 'state'",
    "UPDATE documents SET value = CAST(X'80ff' AS TEXT) WHERE path = 'agent/0' AND kind = 'state'",
    "UPDATE documents SET value = replace(printf('%10000d', 0), ' ', '[') WHERE path = 'agent/0' AND kind = 'state'",
    "UPDATE documents SET kind = 'other' WHERE path = 'agent/0' AND kind = 'state'",
    "UPDATE documents SET kind = CAST(X'80ff' AS TEXT) WHERE path = 'agent/0' AND kind = 'state'",
    "UPDATE documents SET path = CAST(X'80ff' AS TEXT) WHERE path = 'agent/0' AND kind = 'state'",
]


def damaged(file: Path, *statements: str) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_document_that_cannot_be_read_costs_only_itself(tmp_path: Path, damage: str) -> None:
    """The others are loaded, and it is there again once it is put again."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    fill(store, 3)
    store.close()
    damaged(file, damage)
    store = SqliteStore(file)
    assert (store.set_aside, store.trouble()) == ("", "")
    found = store.load()
    assert set(found["agent/0"]) == {"identity", "desired", "observed"}
    assert all(len(found[f"agent/{n}"]) == 4 for n in (1, 2))
    fill(store, 3)
    store.append(move(1))
    assert store.flush()
    assert store.trouble() == ""
    assert {path: len(of) for path, of in store.load().items() if path.startswith("agent/")} == {
        f"agent/{n}": 4 for n in range(3)
    }
    store.close()


@pytest.mark.parametrize("definition", ["'{'", "'[1]'", "CAST(X'80ff' AS TEXT)"])
def test_a_machine_that_cannot_be_read_counts_as_not_known(tmp_path: Path, definition: str) -> None:
    """And is repaired by the next process that keeps it."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    store.keep_machine("cafe", {"name": "m"})
    store.put("agent/a", "state", {"hash": "cafe"}, at=1.0)
    store.close()
    damaged(file, f"UPDATE machines SET definition = {definition}")
    store = SqliteStore(file)
    assert store.machine("cafe") is None
    assert store.trouble() == ""
    store.keep_machine("cafe", {"name": "m"})
    store.close()
    store = SqliteStore(file)
    assert store.machine("cafe") == {"name": "m"}
    store.close()


def test_facts_that_make_no_sense_are_found_again(tmp_path: Path) -> None:
    """The number of the last change follows from the documents; when the agent was alive is then not known."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    fill(store, 3)
    store.close()
    damaged(file, "UPDATE facts SET value = 'x'")
    store = SqliteStore(file)
    assert store.alive_at is None
    before = max(document.version for of in store.load().values() for document in of.values())
    store.put("agent/0", "state", {"n": 0, "new": True}, at=2.0)
    assert store.flush()
    assert store.refresh("agent/0")["state"].version > before
    store.close()


def test_a_reason_that_is_not_utf_8_is_read_as_well_as_can_be(tmp_path: Path) -> None:
    """The history is there, with a mark where a character was."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    store.append(move(1))
    store.append(move(2))
    store.close()
    damaged(file, f"UPDATE transitions SET reason = {BROKEN} WHERE event = 'e1'")
    store = SqliteStore(file)
    assert [row.reason for row in store.history("agent/a")] == ['"a:\ufffd"', "because"]
    assert store.trouble() == ""
    store.close()
