"""The historian over a SQLite file and the built-in log: everything real except the network."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.machine import check
from setpoint.namespace import EmbeddedBroker, Message, Topic, TopicFilter, encode_time_series
from setpoint.services.historian import History
from setpoint.services.sql import DatabaseError, Limits, Place
from setpoint.testing import LAWS, check_worker, scripted
from setpoint.workers.historian import Historian, HistorianObserved, HistorianSpec, Sqlite, Timescale
from setpoint.workers.historian.reading import readings_of

PATH = "agent/historian"
PUMP = "umh.v1.acme.cologne._historian.pump.pressure"
Story = Callable[[Supervisor, EmbeddedBroker], Coroutine[Any, Any, None]]


def spec(folder: Path, **more: Any) -> HistorianSpec:
    return HistorianSpec(sqlite=Sqlite(path=str(folder / "history.db")), **more)


def play(folder: Path, wanted: HistorianSpec, story: Story) -> None:
    """Run a story with a historian over the built-in log, and stop it cleanly."""

    async def main() -> None:
        async with EmbeddedBroker(folder / "log.sqlite") as broker:
            registry = Registry(broker=broker)
            registry.add("historian", Historian)
            s = Supervisor(registry)
            want(s, wanted)
            try:
                await story(s, broker)
            finally:
                left = await s.stop(5.0)
            assert left == []

    asyncio.run(asyncio.wait_for(main(), 60))


def want(s: Supervisor, wanted: HistorianSpec) -> None:
    s.want([ChildSpec("historian", "historian", wanted)])


async def reach(s: Supervisor, state: str, text: str = "", seconds: float = 15.0) -> str:
    """The reason, once the historian is in the state with this in its reason."""

    def there(s: Supervisor) -> bool:
        fact = s.core.fact(PATH)
        return fact.state == state and text in fact.reason

    assert await s.until(there, seconds), (state, text, s.worker(PATH))
    return s.worker(PATH).reason


def rows(folder: Path, query: str) -> list[Any]:
    """What another program finds in the file."""
    with closing(sqlite3.connect(folder / "history.db")) as file:
        return file.execute(query).fetchall()


async def written(folder: Path, count: int, table: str = "values_number") -> None:
    """Waits until so many rows are there."""
    found: Any = None
    made = "SELECT count(*) FROM sqlite_schema WHERE name = 'readings'"
    for _ in range(750):
        if (folder / "history.db").exists() and rows(folder, made) == [(1,)]:
            found = rows(folder, f"SELECT count(*) FROM {table}")
            if found == [(count,)]:
                return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{table} has {found}")


def values(first: int, count: int, topic: str = PUMP) -> list[Message]:
    return [Message(topic, encode_time_series(n / 2, 1_700_000_000_000 + n)) for n in range(first, first + count)]


def test_values_texts_and_documents_have_tables_of_their_own(tmp_path: Path) -> None:
    """Numbers and truth values, texts, and everything else; only the contracts that were chosen."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await reach(s, "idle")
        await broker.publish(
            [
                Message(PUMP, encode_time_series(21.5, 1_700_000_000_000)),
                Message(PUMP, encode_time_series(True, 1_700_000_000_001)),
                Message("umh.v1.acme._historian.state", encode_time_series("läuft", 1_700_000_000_000)),
                Message("umh.v1.acme._historian.order", b'{"id":7}', timestamp_ms=1_700_000_000_000),
                Message("umh.v1.acme._historian.order", b'{"id":8}', timestamp_ms=1_700_000_000_000),
                Message("umh.v1.acme._raw._historian.x", encode_time_series(1, 1)),
            ]
        )
        await written(tmp_path, 2, "documents")
        await reach(s, "active")

    play(tmp_path, spec(tmp_path), story)
    assert rows(tmp_path, "SELECT time, topic, number, text FROM readings ORDER BY time, number") == [
        ("2023-11-14T22:13:20.000Z", "umh.v1.acme._historian.state", None, "läuft"),
        ("2023-11-14T22:13:20.000Z", PUMP, 21.5, None),
        ("2023-11-14T22:13:20.001Z", PUMP, 1.0, None),
    ]
    place = "SELECT location, contract, path, name FROM topics WHERE name = 'pressure'"
    assert rows(tmp_path, place) == [("acme.cologne", "_historian", "pump", "pressure")]
    documents = rows(tmp_path, "SELECT payload FROM documents ORDER BY position")
    assert [json.loads(payload) for (payload,) in documents] == [{"id": 7}, {"id": 8}]


def test_a_database_that_is_away_loses_nothing(tmp_path: Path) -> None:
    """The state says what is the matter and how much waits; once it is there, all of it is written, once. A file that is deleted while
    it is open is noticed: the next one takes what comes then."""
    folder = tmp_path / "later"

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await broker.publish(values(0, 300))
        reason = await reach(s, "degraded_database", "there is no folder")
        assert "300 messages wait" in reason
        folder.mkdir()
        await written(folder, 300)
        await reach(s, "active")
        (folder / "history.db").unlink()
        await broker.publish(values(300, 10))
        await written(folder, 10)

    play(tmp_path, spec(folder), story)


def test_a_message_that_cannot_be_kept_is_set_aside(tmp_path: Path) -> None:
    """With its reason and its payload, also where only the database knows that it will not take it; the others are written."""
    with closing(sqlite3.connect(tmp_path / "history.db")) as file:
        History(Place.parse("sqlite", str(tmp_path / "history.db")).opener(Limits())())
        file.execute(
            "CREATE TRIGGER no_thirteen BEFORE INSERT ON values_number WHEN new.value = 13 BEGIN SELECT RAISE(ABORT, 'thirteen'); END"
        )
        file.commit()

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        bad = [Message(PUMP, encode_time_series(1, 10**15)), Message(PUMP, b"no json"), Message("nonsense", b"{}")]
        await broker.publish([*values(0, 100), *bad])
        await written(tmp_path, 99)
        reason = await reach(s, "degraded_messages", "set aside in the last 2 s")
        assert "3 messages" in reason
        await reach(s, "idle")

    play(tmp_path, spec(tmp_path, error_window_s=2.0, contracts=("*",)), story)
    found = rows(tmp_path, "SELECT topic, reason, payload FROM rejected ORDER BY reason")
    assert [topic for topic, _, _ in found] == [PUMP] * 3
    reasons = sorted(reason for _, reason, _ in found)
    assert "thirteen" in reasons[0]
    assert "is not valid JSON" in reasons[1]
    assert "not within the years 1 to 9999" in reasons[2]
    assert (b"no json",) in [row[2:] for row in found]


def test_rows_older_than_the_retention_go(tmp_path: Path) -> None:
    """Of values and documents alike; what is newer stays."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        import time

        now = int(time.time() * 1000)
        old = [Message(PUMP, encode_time_series(n, now - 8 * 86_400_000 + n)) for n in range(12_000)]
        for start in range(0, len(old), 1000):
            await broker.publish(old[start : start + 1000])
        await broker.publish([Message(PUMP, encode_time_series(1, now)), Message(PUMP, b'{"a":1}', timestamp_ms=now)])
        await written(tmp_path, 1, "documents")
        want(s, spec(tmp_path, retention_s=7 * 86_400.0))
        await written(tmp_path, 1)
        await reach(s, "idle")

    play(tmp_path, spec(tmp_path), story)
    assert rows(tmp_path, "SELECT count(*) FROM documents") == [(1,)]


def test_without_contracts_the_database_is_only_watched(tmp_path: Path) -> None:
    """Nothing is read and nothing is written, and the reason says so."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await broker.publish(values(0, 5))
        await reach(s, "idle", "no contract is chosen")
        want(s, spec(tmp_path))
        await written(tmp_path, 5)

    play(tmp_path, spec(tmp_path, contracts=()), story)


def test_another_database_gets_what_the_namespace_still_has(tmp_path: Path) -> None:
    """Each database has a position of its own; one that was used before goes on where it stood."""

    async def story(s: Supervisor, broker: EmbeddedBroker) -> None:
        await broker.publish(values(0, 50))
        await written(tmp_path, 50)
        (tmp_path / "b").mkdir()
        want(s, spec(tmp_path / "b"))
        await written(tmp_path / "b", 50)
        await broker.publish(values(50, 5))
        await written(tmp_path / "b", 55)
        want(s, spec(tmp_path))
        await written(tmp_path, 55)
        want(s, spec(tmp_path, desired_state="stopped"))
        await reach(s, "stopped")

    play(tmp_path, spec(tmp_path), story)


def test_what_is_read_again_changes_nothing(tmp_path: Path) -> None:
    """A batch that was written and not committed is written again, and leaves the same rows; of two values at one time the last stays."""
    history = History(Place.parse("sqlite", str(tmp_path / "history.db")).opener(Limits())())
    batch = [*values(0, 3), Message(PUMP, encode_time_series(99, 1_700_000_000_000)), Message(PUMP, b"{}", offset=7)]
    for _ in range(2):
        history.write(readings_of(batch))
    assert rows(tmp_path, "SELECT value FROM values_number ORDER BY time") == [(99.0,), (0.5,), (1.0,)]
    assert rows(tmp_path, "SELECT count(*) FROM documents") == [(1,)]


def test_a_transaction_that_failed_leaves_no_topic_behind(tmp_path: Path) -> None:
    """A topic whose first batch was undone gets its id with the next one."""
    connection = Place.parse("sqlite", str(tmp_path / "history.db")).opener(Limits())()
    history = History(connection)
    connection.execute("CREATE TRIGGER never BEFORE INSERT ON values_number BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(DatabaseError, match="no"):
        history.write(readings_of(values(0, 1)))
    connection.execute("DROP TRIGGER never")
    history.write(readings_of(values(0, 1)))
    assert rows(tmp_path, "SELECT number FROM readings") == [(0.0,)]


def test_who_may_only_write_finds_the_tables_as_they_are(tmp_path: Path) -> None:
    """Tables are made once; opening them again makes nothing."""
    place = Place.parse("sqlite", str(tmp_path / "history.db"))
    History(place.opener(Limits())())
    before = rows(tmp_path, "PRAGMA schema_version")
    History(place.opener(Limits())())
    assert rows(tmp_path, "PRAGMA schema_version") == before


SEGMENTS = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,4}", fullmatch=True)


@given(st.lists(SEGMENTS, min_size=1, max_size=4), st.from_regex(r"_[a-z]{1,4}", fullmatch=True), SEGMENTS)
def test_the_topics_of_a_contract_are_those_that_have_it(before: list[str], contract: str, name: str) -> None:
    """The pattern that is subscribed to and the parser of topics agree about which segment is the contract."""
    topic = ".".join(("umh.v1", *before, contract, name))
    try:
        is_of = Topic.parse(topic).contract == contract
    except ValueError:
        return
    patterns = HistorianSpec(sqlite=Sqlite(path="x"), contracts=(contract,)).topics()
    assert bool(TopicFilter(patterns).matches(topic)) == is_of
    everything = HistorianSpec(sqlite=Sqlite(path="x"), contracts=("*",)).topics()
    assert TopicFilter(everything).matches(topic)


def test_the_password_is_in_no_text() -> None:
    """Neither in what messages call the database, nor in the spec when it is shown."""
    wanted = HistorianSpec(timescale=Timescale(host="db", password="tops3cret/@:"))
    shown = (str(wanted), repr(wanted), str(wanted.place()), repr(wanted.place()), wanted.group())
    assert all("tops3cret" not in text for text in shown)
    assert "tops3cret%2F%40%3A@db:5432/umh?sslmode=require" in wanted.place().dsn


def test_it_keeps_the_laws_of_workers() -> None:
    """All laws of the kit, with scripted eyes and hands; and no fault in its machine."""
    wanted = HistorianSpec(sqlite=Sqlite(path="x"))
    worker = scripted(lambda: Historian(None), HistorianObserved())  # type: ignore[arg-type]
    worker.on("begin", running=True, current=True, connected=True, rows_per_s=5.0).on("end", HistorianObserved())
    assert check_worker(worker, spec=wanted).kept == tuple(LAWS)
    assert [finding for finding in check(Historian.machine) if finding.severity == "error"] == []
