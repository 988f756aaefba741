"""Streams against a real PostgreSQL: what it refuses, upserts, keys that are times, and exactly once."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.data.stream.stream_samples import adouble, numbers, plan, straight, write_lines
from tests.real.real_servers import no_postgres, postgres

from setpoint.data.stream import StreamError, open_sink, open_source, run_stream

sa = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'setpoint[sql]'")
pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'setpoint[sql]'")
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if missing := no_postgres():
        pytest.skip(missing)
    with postgres() as found:
        yield found


def asked(url: str, *statements: str) -> list[Any]:
    """What the last statement gives."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in statements:
            done = connection.execute(sa.text(statement))
        found = [tuple(row) for row in done] if done.returns_rows else []
    engine.dispose()
    return found


def test_rows_that_postgres_refuses_leave_the_transaction_whole(url: str) -> None:
    """A constraint, a type, a value that is no row: each is refused alone, the rest of the chunk is there."""
    asked(url, "create table parts (id integer primary key, a integer check (a <> 3), more jsonb, text text)")
    records: list[Any] = [{"id": n, "a": n % 5, "more": {"x": [n]}, "text": [n]} for n in range(100)]
    records += [{"id": "x"}, {"id": 0}, {"id": 500, "nope": 1}, {"id": 501, "a": 10**30}]
    report = run_stream(straight(), records, open_sink(f"{url}#parts"), chunk_size=30)
    assert report.emitted == {"done": 80}
    assert report.failed == {"done": 24}
    assert asked(url, "select more, text from parts where id = 7") == [({"x": [7]}, "[7]")]
    report = run_stream(straight(), [{"id": 7, "text": "new"}], open_sink(f"{url}#parts", mode="upsert"))
    assert asked(url, "select a, text from parts where id = 7") == [(2, "new")]


def test_a_time_with_its_zone_as_key(url: str) -> None:
    """Pages are asked for above the last one, also after its position went through JSON."""
    asked(url, "create table ticks as select now() + n * interval '1 second' as at from generate_series(1, 50) n")
    whole: list[Any] = []
    marks: list[Any] = []
    source = open_source(url, table="ticks", key="at")
    turns = iter([False, False, True])
    run_stream(straight(), source, whole, chunk_size=20, stop=lambda: next(turns), on_commit=marks.append)
    assert len(whole) == 40
    run_stream(straight(), open_source(url, table="ticks", key="at"), whole, resume=True, start=marks[-1])
    assert len({record["at"] for record in whole}) == len(whole) == 50
    assert whole[0]["at"].utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize("waits", [False, True])
def test_rows_and_mark_are_one_transaction(url: str, tmp_path: Path, waits: bool) -> None:
    """A connection that the server ends before a commit: resumed, each record is there once."""
    asked(url, "drop table if exists doubled", "create table doubled (a integer, b integer)")
    source = write_lines(tmp_path / "in.jsonl", numbers(60))
    made = plan(adouble) if waits else plan()
    sink: Any = open_sink(f"{url}#doubled")
    write, calls = sink.write, iter(range(100))

    def cut(*given: Any) -> Any:
        done = write(*given)
        if next(calls) == 3:
            asked(
                url,
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = 'postgres'",
            )
        return done

    sink.write = cut
    with pytest.raises(StreamError, match="the sink broke: OperationalError"):
        run_stream(made, source, sink, chunk_size=10)
    report = run_stream(made, source, f"{url}#doubled", chunk_size=10, resume=True)
    assert report.resumed_from is not None
    assert report.resumed_from.counts.read == 30
    assert asked(url, "select a, b from doubled order by a") == [(n, 2 * n) for n in range(0, 60, 2)]
