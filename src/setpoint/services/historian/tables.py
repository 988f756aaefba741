"""The SQL of the historian's tables, in both dialects. Times are `timestamptz` in PostgreSQL, whole milliseconds since 1970 in SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

TIMED: Final = ("values_number", "values_text", "documents")
REJECTED_KEPT: Final = 10_000
"""Rows of `rejected` that are kept; the oldest go first."""
EXPIRED_AT_ONCE: Final = 5_000


class Statements(msgspec.Struct, frozen=True):
    """What is sent to one kind of database. A statement for many rows takes columns in PostgreSQL (as arrays), rows in SQLite."""

    made: str
    """Asks whether all is there: the view, which is made last."""
    make: tuple[str, ...]
    add_topics: str
    ids: str
    numbers: str
    texts: str
    documents: str
    reject: str
    cap_rejected: str
    expire: Mapping[str, str]
    """By table: the oldest rows of a topic that are older than so many milliseconds since 1970."""
    expire_rejected: str


_VIEW: Final = """CREATE VIEW {view} AS
SELECT {time} AS time, t.topic, t.location, t.contract, t.path, t.name, v.value AS number, NULL{text} AS text
FROM {schema}values_number v JOIN {schema}topics t ON t.id = v.topic_id
UNION ALL
SELECT {time} AS time, t.topic, t.location, t.contract, t.path, t.name, NULL{number}, v.value
FROM {schema}values_text v JOIN {schema}topics t ON t.id = v.topic_id"""

POSTGRES: Final = Statements(
    made="SELECT 1 WHERE to_regclass('historian.readings') IS NOT NULL",
    make=(
        """CREATE TABLE IF NOT EXISTS historian.topics (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text NOT NULL UNIQUE, location text NOT NULL,
            contract text NOT NULL, path text NOT NULL, name text NOT NULL)""",
        """CREATE TABLE IF NOT EXISTS historian.values_number (
            topic_id integer NOT NULL, time timestamptz NOT NULL, value double precision NOT NULL, PRIMARY KEY (topic_id, time))""",
        """CREATE TABLE IF NOT EXISTS historian.values_text (
            topic_id integer NOT NULL, time timestamptz NOT NULL, value text NOT NULL, PRIMARY KEY (topic_id, time))""",
        """CREATE TABLE IF NOT EXISTS historian.documents (
            topic_id integer NOT NULL, time timestamptz NOT NULL, position bigint NOT NULL, payload jsonb NOT NULL,
            PRIMARY KEY (topic_id, time, position))""",
        """CREATE TABLE IF NOT EXISTS historian.rejected (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, time timestamptz NOT NULL, topic text NOT NULL,
            reason text NOT NULL, payload bytea NOT NULL)""",
        _VIEW.format(
            view="historian.readings", schema="historian.", time="v.time", text="::text", number="::double precision"
        ),
    ),
    add_topics="""INSERT INTO historian.topics (topic, location, contract, path, name)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) ON CONFLICT (topic) DO NOTHING""",
    ids="SELECT topic, id FROM historian.topics WHERE topic = ANY($1::text[])",
    numbers="""INSERT INTO historian.values_number AS v (topic_id, time, value)
        SELECT u.id, to_timestamp(u.ms / 1000::float8), u.value
        FROM unnest($1::integer[], $2::bigint[], $3::float8[]) AS u (id, ms, value)
        ON CONFLICT (topic_id, time) DO UPDATE SET value = excluded.value WHERE v.value IS DISTINCT FROM excluded.value""",
    texts="""INSERT INTO historian.values_text AS v (topic_id, time, value)
        SELECT u.id, to_timestamp(u.ms / 1000::float8), u.value
        FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS u (id, ms, value)
        ON CONFLICT (topic_id, time) DO UPDATE SET value = excluded.value WHERE v.value IS DISTINCT FROM excluded.value""",
    documents="""INSERT INTO historian.documents (topic_id, time, position, payload)
        SELECT u.id, to_timestamp(u.ms / 1000::float8), u.position, u.payload::jsonb
        FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[]) AS u (id, ms, position, payload)
        ON CONFLICT (topic_id, time, position) DO NOTHING""",
    reject="""INSERT INTO historian.rejected (time, topic, reason, payload)
        VALUES (to_timestamp($1::bigint / 1000::float8), $2, $3, $4)""",
    cap_rejected=f"DELETE FROM historian.rejected WHERE id <= (SELECT max(id) - {REJECTED_KEPT} FROM historian.rejected)",
    expire={
        table: f"""DELETE FROM historian.{table} WHERE (topic_id, time) IN (SELECT topic_id, time FROM historian.{table}
            WHERE topic_id = $1 AND time < to_timestamp($2::bigint / 1000::float8) ORDER BY time LIMIT {EXPIRED_AT_ONCE}) RETURNING 1"""
        for table in TIMED
    },
    expire_rejected="DELETE FROM historian.rejected WHERE time < to_timestamp($1::bigint / 1000::float8)",
)

SQLITE: Final = Statements(
    made="SELECT 1 FROM sqlite_schema WHERE name = 'readings'",
    make=(
        """CREATE TABLE IF NOT EXISTS topics (
            id INTEGER PRIMARY KEY, topic TEXT NOT NULL UNIQUE, location TEXT NOT NULL, contract TEXT NOT NULL,
            path TEXT NOT NULL, name TEXT NOT NULL)""",
        """CREATE TABLE IF NOT EXISTS values_number (
            topic_id INTEGER NOT NULL, time INTEGER NOT NULL, value REAL NOT NULL, PRIMARY KEY (topic_id, time)) WITHOUT ROWID""",
        """CREATE TABLE IF NOT EXISTS values_text (
            topic_id INTEGER NOT NULL, time INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (topic_id, time)) WITHOUT ROWID""",
        """CREATE TABLE IF NOT EXISTS documents (
            topic_id INTEGER NOT NULL, time INTEGER NOT NULL, position INTEGER NOT NULL, payload TEXT NOT NULL,
            PRIMARY KEY (topic_id, time, position))""",
        """CREATE TABLE IF NOT EXISTS rejected (
            id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
            payload BLOB NOT NULL)""",
        _VIEW.format(
            view="readings",
            schema="",
            time="strftime('%Y-%m-%dT%H:%M:%fZ', v.time / 1000.0, 'unixepoch')",
            text="",
            number="",
        ),
    ),
    add_topics="INSERT INTO topics (topic, location, contract, path, name) VALUES (?, ?, ?, ?, ?) ON CONFLICT (topic) DO NOTHING",
    ids="SELECT topic, id FROM topics WHERE topic IN (SELECT value FROM json_each(?))",
    numbers="""INSERT INTO values_number (topic_id, time, value) VALUES (?, ?, ?)
        ON CONFLICT (topic_id, time) DO UPDATE SET value = excluded.value""",
    texts="""INSERT INTO values_text (topic_id, time, value) VALUES (?, ?, ?)
        ON CONFLICT (topic_id, time) DO UPDATE SET value = excluded.value""",
    documents="""INSERT INTO documents (topic_id, time, position, payload) VALUES (?, ?, ?, ?)
        ON CONFLICT (topic_id, time, position) DO NOTHING""",
    reject="INSERT INTO rejected (time, topic, reason, payload) VALUES (?, ?, ?, ?)",
    cap_rejected=f"DELETE FROM rejected WHERE id <= (SELECT max(id) - {REJECTED_KEPT} FROM rejected)",
    expire={
        table: f"""DELETE FROM {table} WHERE (topic_id, time) IN (SELECT topic_id, time FROM {table}
            WHERE topic_id = ? AND time < ? ORDER BY time LIMIT {EXPIRED_AT_ONCE}) RETURNING 1"""
        for table in TIMED
    },
    expire_rejected="DELETE FROM rejected WHERE time < ?",
)
