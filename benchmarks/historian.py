"""What the historian writes, and what it costs.

Draining: a log with a backlog of values of `--topics` topics, written as fast as the database takes them; reported are rows a second, and
the processor time of this process a row (the database's own is another process, except SQLite). Paced: 5,000 values a second published
beside it; reported is the share of a core of this process with publishing and without, and how far behind it was at the most.

    python benchmarks/historian.py [--postgres postgresql://user@host:5432/db] [--rows 200000] [--seconds 10] [--rate 5000] [--json]

Without `--postgres` only SQLite is measured. The tables of the schema ``historian`` in that database are dropped first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from setpoint.namespace import EmbeddedBroker, Message, encode_time_series
from setpoint.workers.historian import HistorianSpec, Sqlite, Timescale
from setpoint.workers.historian.following import Following

Figures = dict[str, float]


def values(first: int, count: int, topics: int) -> list[Message]:
    return [
        Message(
            f"umh.v1.acme.cologne.press-shop.line-{n % topics}._historian.temperature",
            encode_time_series(20.0 + n % 1000 / 10, 1_700_000_000_000 + n),
        )
        for n in range(first, first + count)
    ]


async def until(following: Following, rows: int) -> None:
    """Raises when nothing is written for a minute."""
    last, at = -1, time.monotonic()
    while following.progress.rows < rows:
        await asyncio.sleep(0.01)
        if following.progress.rows != last:
            last, at = following.progress.rows, time.monotonic()
        elif time.monotonic() - at > 60:
            raise TimeoutError(following.progress.database_fault or "nothing is written")


async def drain(spec: HistorianSpec, options: argparse.Namespace, folder: Path) -> Figures:
    """A backlog, as fast as it goes."""
    async with EmbeddedBroker(folder / "drain.sqlite") as broker:
        for first in range(0, options.rows, 1000):
            await broker.publish(values(first, 1000, options.topics))
        wall, cpu = time.perf_counter(), time.process_time()
        following = Following(spec, broker, changed=lambda: None)
        await until(following, options.rows)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        await following.close()
    return {"rows_per_second": round(options.rows / wall), "process_us_per_row": round(cpu / options.rows * 1e6, 2)}


async def paced(spec: HistorianSpec | None, options: argparse.Namespace, folder: Path) -> Figures:
    """So many values a second, in batches of 100; without a spec nobody writes them."""
    async with EmbeddedBroker(folder / f"paced-{spec is None}.sqlite") as broker:
        following = Following(spec, broker, changed=lambda: None) if spec else None
        began, cpu, count, behind = time.perf_counter(), time.process_time(), 0, 0
        while (passed := time.perf_counter() - began) < options.seconds:
            while count < passed * options.rate:
                await broker.publish(values(count, 100, options.topics))
                count += 100
            behind = max(behind, count - following.progress.rows if following else 0)
            await asyncio.sleep(0.01)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        if following:
            await until(following, count)
            await following.close()
    return {"cores": round(cpu / wall, 3), "behind_at_most": behind, "values": count}


async def measure(
    spec: HistorianSpec, options: argparse.Namespace, folder: Path, make_empty: bool
) -> dict[str, Figures]:
    if make_empty:
        empty(options.postgres)
    return {
        "drain": await drain(spec, options, folder),
        "paced": await paced(spec, options, folder),
        "paced, publishing alone": await paced(None, options, folder),
    }


def empty(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS historian CASCADE")


def timescale(url: str) -> Timescale:
    parts = urlsplit(url)
    return Timescale(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        database=parts.path.strip("/") or "postgres",
        username=unquote(parts.username or "postgres"),
        password=unquote(parts.password or ""),
        sslmode="disable",
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", default="")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--topics", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=5000.0)
    parser.add_argument("--directory", default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        folder = Path(name)
        (folder / "sqlite").mkdir()
        results["SQLite"] = await measure(
            HistorianSpec(sqlite=Sqlite(path=str(folder / "history.db"))), options, folder / "sqlite", False
        )
        if options.postgres:
            (folder / "postgres").mkdir()
            spec = HistorianSpec(timescale=timescale(options.postgres))
            results["PostgreSQL"] = await measure(spec, options, folder / "postgres", True)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for database, figures in results.items():
        for what, found in figures.items():
            print(f"{database:12}{what:26}" + "  ".join(f"{key} {value:,}" for key, value in found.items()))


if __name__ == "__main__":
    asyncio.run(main())
