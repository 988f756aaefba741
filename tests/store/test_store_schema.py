"""Files of other times and programs: what is taken over, what is brought up to date, and what is left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from setpoint.store import NewerSchema, NotAStore, SqliteStore, Transition, schema

OLD_JOURNAL = """
CREATE TABLE transitions (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, at REAL NOT NULL, event TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL,
    reason TEXT NOT NULL) STRICT;
CREATE INDEX transitions_by_path ON transitions (path, id);
INSERT INTO transitions (path, at, event, source, target, reason) VALUES ('agent/a', 1.0, 'old', 's', 't', 'because');
"""
"""What the first version of the program made, in its own words."""


@contextmanager
def opened(file: Path, **how: bool) -> Iterator[SqliteStore]:
    store = SqliteStore(file, **how)
    try:
        yield store
    finally:
        store.close()


def old_journal(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL;" + OLD_JOURNAL)


def events(store: SqliteStore) -> list[str]:
    return [row.event for row in store.history("agent/a")]


def layout(file: Path) -> set[tuple[str, str]]:
    """Tables and indexes with their columns, as SQLite has them."""
    with closing(sqlite3.connect(file)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {
            (name, f"{column}:{kind}:{null}")
            for (name,) in names
            for _, column, kind, null, *_ in connection.execute(f"PRAGMA table_info({name})")
        }


def test_the_journal_of_an_earlier_version_becomes_the_store_once(tmp_path: Path) -> None:
    """Its history is in the store, before what comes now; a second start finds nothing more to take over."""
    old_journal(tmp_path / "journal.sqlite")
    for number in range(2):
        with opened(tmp_path / "store.sqlite") as store:
            store.append(Transition("agent/a", 2.0, f"new{number}", "s", "t", "because", "connection"))
            assert events(store) == ["old", "new0", "new1"][: number + 2]
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite"]


def test_a_journal_that_was_killed_is_taken_over_whole(tmp_path: Path) -> None:
    """What was only in its log is not left behind."""
    connection = sqlite3.connect(tmp_path / "source.sqlite")
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;" + OLD_JOURNAL)
    for suffix in ("", "-wal"):  # as a kill -9 leaves them
        (tmp_path / f"journal.sqlite{suffix}").write_bytes((tmp_path / f"source.sqlite{suffix}").read_bytes())
    connection.close()
    with opened(tmp_path / "store.sqlite") as store:
        assert events(store) == ["old"]


def test_a_journal_beside_a_store_is_left_alone(tmp_path: Path) -> None:
    """As when an older version of the program ran in between."""
    with opened(tmp_path / "store.sqlite") as store:
        store.append(Transition("agent/a", 2.0, "mine", "s", "t", ""))
    old_journal(tmp_path / "journal.sqlite")
    with opened(tmp_path / "store.sqlite") as store:
        assert events(store) == ["mine"]
    assert (tmp_path / "journal.sqlite").exists()


def test_a_damaged_journal_is_left_as_it_is(tmp_path: Path) -> None:
    """The store starts without it."""
    (tmp_path / "journal.sqlite").write_bytes(b"not a database" * 100)
    with opened(tmp_path / "store.sqlite") as store:
        assert (store.load(), store.trouble()) == ({}, "")
    assert (tmp_path / "journal.sqlite").read_bytes() == b"not a database" * 100


@pytest.mark.parametrize("version", range(schema.SCHEMA + 1))
def test_every_schema_leads_to_the_present_one(tmp_path: Path, version: int) -> None:
    """Whichever it starts from, the file has the same layout in the end, keeps its rows, and works."""
    file, fresh = tmp_path / "store.sqlite", tmp_path / "fresh" / "store.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        schema.migrate(connection, to=version)
        if version:
            connection.execute(
                "INSERT INTO transitions (path, at, event, source, target, reason) VALUES ('agent/a', 1, 'old', 's', 't', '')"
            )
    with opened(file) as store, opened(fresh):
        assert events(store) == (["old"] if version else [])
        store.put("agent/a", "state", {"n": 1}, at=1.0)
        assert store.flush()
    assert layout(file) == layout(fresh)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is as it was, the fault is said, and the next version of the program gets it as it was."""
    file = tmp_path / "store.sqlite"
    old_journal(file)
    before = layout(file)
    broken = (*schema.MIGRATIONS[:1], (*schema.MIGRATIONS[1], "CREATE TABLE nonsense"))
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", broken)
        with opened(file) as store:
            store.append(Transition("agent/a", 2.0, "new", "s", "t", ""))
            assert store.trouble()
            assert events(store)[-1] == "new"
    assert layout(file) == before
    with opened(file) as store:
        assert events(store) == ["old"]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path, read_only: bool) -> None:
    """The message says which version wrote it, and the file keeps every byte."""
    file = tmp_path / "store.sqlite"
    with opened(file) as store:
        store.put("agent/a", "state", {"n": 1}, at=1.0)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "PRAGMA user_version = 99; UPDATE facts SET value = '9.9.9' WHERE name = 'written_by'; CREATE TABLE more (x)"
        )
    before = file.read_bytes()
    with pytest.raises(NewerSchema, match=r"Setpoint 9\.9\.9 \(schema 99\)"):
        SqliteStore(file, read_only=read_only)
    assert file.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("mark", ["PRAGMA application_id = 7", "PRAGMA user_version = 7", "CREATE TABLE theirs (x)"])
def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, mark: str, read_only: bool) -> None:
    """It is not damaged, so it is not set aside either."""
    file = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(f"{mark}; CREATE TABLE some (x)")
    before = file.read_bytes()
    with pytest.raises(NotAStore):
        SqliteStore(file, read_only=read_only)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite"]


def test_reading_along_with_an_agent(tmp_path: Path) -> None:
    """`read_only` sees what the agent has written so far, writes nothing, and says so when asked to."""
    file = tmp_path / "store.sqlite"
    with opened(file) as agent:
        agent.put("agent/a", "state", {"n": 1, "hash": "cafe"}, at=1.0)
        agent.keep_machine("cafe", {"name": "m"})
        agent.append(Transition("agent/a", 1.0, "e1", "s", "t", ""))
        assert agent.flush()
        with opened(file, read_only=True) as reader:
            assert reader.load()["agent/a"]["state"].value == {"n": 1, "hash": "cafe"}
            assert (events(reader), reader.machine("cafe"), reader.trouble()) == (["e1"], {"name": "m"}, "")
            agent.put("agent/a", "state", {"n": 2}, at=1.0)
            agent.append(Transition("agent/a", 3.0, "e2", "t", "u", ""))
            assert agent.flush()
            assert reader.refresh("agent/a")["state"].value == {"n": 2}
            assert events(reader) == ["e1", "e2"]
            assert [step.median for step in reader.typical(path="agent/a")] == [2.0]
            for write in (
                lambda: reader.put("agent/a", "state", {}, at=1.0),
                lambda: reader.drop("agent/a"),
                lambda: reader.append(Transition("agent/a", 1.0, "x", "s", "t", "")),
                lambda: reader.keep_machine("beef", {}),
                lambda: reader.update("agent/a", "state", {}, version=2),
            ):
                with pytest.raises(RuntimeError, match="read only"):
                    write()
        assert agent.load()["agent/a"]["state"].value == {"n": 2}


def test_reading_after_the_agent_has_ended(tmp_path: Path) -> None:
    """Also where it was killed and its log is still there."""
    file = tmp_path / "store.sqlite"
    with opened(file) as store:
        store.put("agent/a", "state", {"n": 1}, at=1.0)
    with opened(file, read_only=True) as reader:
        assert reader.load()["agent/a"]["state"].value == {"n": 1}


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100])
def test_reading_where_there_is_no_store_says_so(tmp_path: Path, content: bytes | None) -> None:
    """And makes none."""
    file = tmp_path / "store.sqlite"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NotAStore, match=r"store\.sqlite"):
        SqliteStore(file, read_only=True)
    assert (file.read_bytes() if file.exists() else None) == content
