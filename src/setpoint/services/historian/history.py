"""Writes the historian's tables over one connection. All of it blocks.

The ids of topics are remembered as long as the connection lasts, and only after the transaction that made them was committed.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec

from setpoint.services.historian.readings import Place, Readings, Rejected
from setpoint.services.historian.tables import EXPIRED_AT_ONCE, POSTGRES, SQLITE, TIMED
from setpoint.services.sql import Connection, StatementRefused

KNOWN_AT_MOST: Final = 200_000
_LOCK: Final = 7_305_804_402_463_662  # "setpoint": one historian at a time makes the tables


class History:
    """The tables behind one connection. Raises what `setpoint.services.sql` raises; then nothing of the call was written."""

    def __init__(self, connection: Connection) -> None:
        """Makes the tables that are missing."""
        self._connection = connection
        self._sql = POSTGRES if connection.dialect == "postgres" else SQLITE
        self._ids: dict[str, int] = {}
        self.hypertables = False
        if not connection.execute(self._sql.made):  # else a user who may only write them will do
            self._make()
        if connection.dialect == "postgres":
            self.hypertables = bool(self._has_timescale() and self._hypertables())

    def write(self, batch: Readings) -> None:
        """The whole batch, in one transaction, also what was rejected."""
        with self._connection.transaction():
            new = self._new_ids(batch.places)
            ids = self._ids | new if new else self._ids
            for statement, rows in (
                (self._sql.numbers, ((ids[topic], at, value) for (topic, at), value in batch.numbers.items())),
                (self._sql.texts, ((ids[topic], at, value) for (topic, at), value in batch.texts.items())),
                (self._sql.documents, ((ids[topic], at, n, text) for (topic, at, n), text in batch.documents.items())),
            ):
                self._put(statement, rows)
            self._reject(batch.rejected)
        self._ids = ids if len(ids) <= KNOWN_AT_MOST else {}

    def transaction(self) -> AbstractContextManager[None]:
        """See `Connection.transaction`."""
        return self._connection.transaction()

    def ping(self) -> None:
        """Raises when the database does not answer."""
        with self._connection.transaction():
            self._connection.execute("SELECT 1")

    def now_ms(self) -> int:
        """The time of the database, in ms since 1970: another clock than ours where it is another host."""
        if self._connection.dialect == "sqlite":
            return time.time_ns() // 1_000_000
        return int(self._connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")[0][0])

    def expire(self, before_ms: int) -> Iterator[int]:
        """Deletes what is older, bit by bit: each step is a transaction, and says how many rows are gone by it."""
        if self.hypertables:
            for table in TIMED:
                interval = "to_timestamp($1::bigint / 1000::float8)"
                yield len(
                    self._connection.execute(f"SELECT drop_chunks('historian.{table}', {interval})", (before_ms,))
                )
        self._connection.execute(self._sql.expire_rejected, (before_ms,))
        schema = "historian." if self._connection.dialect == "postgres" else ""
        for (topic,) in self._connection.execute(f"SELECT id FROM {schema}topics"):
            for table in TIMED:
                gone = EXPIRED_AT_ONCE
                while gone >= EXPIRED_AT_ONCE:
                    gone = len(self._connection.execute(self._sql.expire[table], (topic, before_ms)))
                    yield gone

    def _new_ids(self, places: dict[str, Place]) -> dict[str, int]:
        missing = [place for topic, place in places.items() if topic not in self._ids]
        if not missing:
            return {}
        topics = [place.topic for place in missing]
        found = self._look_up(topics)
        if len(found) < len(set(topics)):
            self._put(self._sql.add_topics, (place for place in missing if place.topic not in found))
            found = self._look_up(topics)
        return found

    def _look_up(self, topics: Sequence[str]) -> dict[str, int]:
        asked: Any = topics if self._connection.dialect == "postgres" else msgspec.json.encode(topics).decode()
        return {str(topic): int(number) for topic, number in self._connection.execute(self._sql.ids, (asked,))}

    def _put(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Many rows with one statement: as arrays, a column each, where the database takes those."""
        all_rows = list(rows)
        if not all_rows:
            return
        if self._connection.dialect == "sqlite":
            self._connection.many(statement, all_rows)
        else:
            self._connection.execute(statement, [_array(column) for column in zip(*all_rows, strict=True)])

    def _reject(self, rejected: Collection[Rejected]) -> None:
        if rejected:
            self._connection.many(self._sql.reject, list(rejected))
            self._connection.execute(self._sql.cap_rejected)

    def _make(self) -> None:
        postgres = self._connection.dialect == "postgres"
        with self._connection.transaction():
            if postgres:
                self._connection.execute("SELECT pg_advisory_xact_lock($1)", (_LOCK,))
            if self._connection.execute(self._sql.made):  # somebody else was first
                return
            if postgres:
                self._make_schema()
            for statement in self._sql.make:
                self._connection.execute(statement)
            if postgres and self._has_timescale():
                self._make_hypertables()

    def _make_schema(self) -> None:
        if self._connection.execute("SELECT to_regnamespace('historian') IS NULL")[0][0]:
            may = "SELECT has_database_privilege(current_database(), 'CREATE')"
            if not self._connection.execute(may)[0][0]:
                raise StatementRefused(
                    "the user may not make the schema 'historian': GRANT CREATE ON DATABASE … TO …, or make it with CREATE SCHEMA"
                    " historian AUTHORIZATION …"
                )
            self._connection.execute("CREATE SCHEMA historian")

    def _has_timescale(self) -> bool:
        return bool(self._connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"))

    def _hypertables(self) -> set[str]:
        """By TimescaleDB's documented view (timescaledb_information.hypertables)."""
        asked = "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = 'historian'"
        return {str(name) for (name,) in self._connection.execute(asked)}

    def _make_hypertables(self) -> None:
        """By TimescaleDB's documented function (create_hypertable)."""
        for table in TIMED:
            self._connection.execute(f"SELECT create_hypertable('historian.{table}', 'time', if_not_exists => true)")


def _array(column: tuple[Any, ...]) -> Any:
    """A column as one value: numbers as PostgreSQL's text of an array (8.15.2), which is quick to make; texts as the driver has them."""
    return list(column) if isinstance(column[0], str) else f"{{{str(column)[1:-1].rstrip(',')}}}"
