"""Kill -9 of ``setpoint run`` between the namespace, files, databases and an MQTT broker: what is in the input is in the output.

Exactly once where both ends can say where they stand (uns to SQLite, a file to uns), at least once from MQTT, with what came twice counted
and printed. ``SETPOINT_KILLS`` says how often it is killed in each test (CI: a few), ``SETPOINT_SEED`` repeats the moments of a run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.real.real_mosquitto import Mosquitto, mosquitto, no_mosquitto

from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

pytestmark = pytest.mark.real

KILLS = int(os.environ.get("SETPOINT_KILLS") or 4)
SEED = int(os.environ.get("SETPOINT_SEED") or random.randrange(1_000_000))
MACHINE = """\
name: copy
states:
  read: {arcs: [written]}
  written: {final: true}
"""
ONE_BY_ONE = """\
name: copy
states:
  read:
    transforms: [{javascript: "let n = 0; for (let i = 0; i < 3000; i++) n += i; return record;"}]
    arcs: [written]
  written: {final: true}
"""
"""Slow enough to be killed in the middle."""
TOPIC = "umh.v1.acme._raw.n"


@pytest.fixture(autouse=True)
def _seed() -> None:
    print(f"SETPOINT_SEED={SEED} SETPOINT_KILLS={KILLS}")


def started(folder: Path, source: str, sink: str, *, resume: bool = True) -> subprocess.Popen[str]:
    """``setpoint run`` on the machine of the folder."""
    command = [
        "run",
        str(folder / "copy.yaml"),
        "-i",
        source,
        "-o",
        sink,
        "--stream",
        *(["--resume"] if resume else []),
    ]
    program = f"from setpoint.cli.main import main; main({command!r})"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdout=pipe, stderr=pipe, text=True)


def killed_until_done(start: Callable[[], subprocess.Popen[str]], grown: Callable[[], int], *, wait: float) -> int:
    """Kills it `KILLS` times, mostly at a random moment after it has begun to write, then lets it end; how often it was at work."""
    chance, hits = random.Random(SEED), 0
    for _ in range(KILLS):
        before, process = grown(), start()
        deadline = time.monotonic() + 15
        moment = chance.random()
        if moment > 0.2:  # the others are killed at any moment from the start on
            while process.poll() is None and grown() == before and time.monotonic() < deadline:
                time.sleep(0.002)
        time.sleep(chance.uniform(0, wait if moment > 0.2 else 0.6))
        hits += process.poll() is None
        process.kill()
        process.communicate()
    done(start())
    return hits


def done(process: subprocess.Popen[str]) -> None:
    """It comes to its end, and all is well."""
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def told(way: str, total: int, found: list[int], hits: int) -> None:
    """What the faults cost, for whoever reads the log of the tests."""
    there = len(set(found))
    print(f"{way}: {total} in, {hits} kills at work, {total - there} lost, {len(found) - there} doubled")


def rows(database: Path) -> list[int]:
    connection = sqlite3.connect(database)
    try:
        return [n for (n,) in connection.execute("SELECT value FROM readings")]
    finally:
        connection.close()


def table(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE readings (umh_topic TEXT, timestamp_ms INTEGER, value INTEGER)")
    connection.commit()
    connection.close()


def messages(data: Path) -> list[int]:
    """The values in the namespace, in the order of the log."""

    async def all_of_them() -> list[int]:
        async with EmbeddedBroker(data / "broker.sqlite") as broker:
            last, found = (await broker.stats()).last_offset, []
            subscription = broker.subscribe("look")
            while batch := await subscription.read(timeout=0.1 if last >= 0 else 0):
                found += [json.loads(message.payload)["value"] for message in batch]
            return found

    return asyncio.run(all_of_them())


def logged(data: Path) -> int:
    """How far the log has come, while somebody else writes it."""
    if not (data / "broker.sqlite").exists():
        return 0
    connection = sqlite3.connect(data / "broker.sqlite")
    try:
        return int(connection.execute("SELECT coalesce(max(last), 0) FROM log").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


def test_from_the_namespace_to_sqlite_each_message_once(tmp_path: Path) -> None:
    """Killed at random moments: every message of the pattern is one row, those of other topics none."""
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'setpoint[sql]'")
    total = 12_000
    (tmp_path / "copy.yaml").write_text(ONE_BY_ONE)
    table(tmp_path / "out.sqlite")

    async def fill() -> None:
        async with EmbeddedBroker(tmp_path / "data" / "broker.sqlite") as broker:
            for first in range(0, total, 300):
                payloads = [b'{"timestamp_ms":1,"value":%d}' % n for n in range(first, first + 300)]
                await broker.publish([Message(TOPIC, payload) for payload in payloads])
                await broker.publish([Message("umh.v1.other._raw.n", payload) for payload in payloads])

    asyncio.run(fill())
    hits = killed_until_done(
        lambda: started(tmp_path, "uns://umh.v1.acme?data=data&idle=0s", "sqlite:///out.sqlite#readings"),
        lambda: len(rows(tmp_path / "out.sqlite")),
        wait=0.15,
    )
    found = rows(tmp_path / "out.sqlite")
    told("uns -> sqlite", total, found, hits)
    assert found == list(range(total))


def test_from_a_file_to_the_namespace_each_record_once(tmp_path: Path) -> None:
    """Killed at random moments: the log has every record once, in order; what has no valid topic is in no message."""
    total = 12_000
    (tmp_path / "copy.yaml").write_text(ONE_BY_ONE)
    lines = [f'{{"umh_topic": "{TOPIC}", "timestamp_ms": 1, "value": {n}}}\n' for n in range(total)]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    hits = killed_until_done(
        lambda: started(tmp_path, "in.jsonl", "uns://?data=data"), lambda: logged(tmp_path / "data"), wait=0.15
    )
    found = messages(tmp_path / "data")
    told("file -> uns", total, found, hits)
    assert found == list(range(total))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    pytest.importorskip("paho", reason="the client of MQTT is not installed: pip install 'setpoint[mqtt]'")
    if missing := no_mosquitto():
        pytest.skip(missing)
    with mosquitto(tmp_path / "mosquitto") as made:
        yield made


@pytest.mark.parametrize("qos", [1, 2])
def test_from_mqtt_to_sqlite_nothing_is_lost(tmp_path: Path, broker: Mosquitto, qos: int) -> None:
    """Killed at random moments, with a session at the broker: every message is there, at QoS 2 too; few are there twice."""
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'setpoint[sql]'")
    total = 3_000
    (tmp_path / "copy.yaml").write_text(ONE_BY_ONE)
    table(tmp_path / "out.sqlite")
    where = f"mqtt://127.0.0.1:{broker.port}/n?qos={qos}&client_id=loader&clean_session=false&topic_field=umh_topic"
    done(started(tmp_path, f"{where}&idle=300ms", "sqlite:///out.sqlite#readings", resume=False))  # there is a session
    (tmp_path / "in.jsonl").write_text("".join(f'{{"timestamp_ms": 1, "value": {n}}}\n' for n in range(total)))
    done(started(tmp_path, "in.jsonl", f"mqtt://127.0.0.1:{broker.port}/n?qos={qos}", resume=False))
    hits = killed_until_done(
        lambda: started(tmp_path, f"{where}&idle=1s", "sqlite:///out.sqlite#readings"),
        lambda: len(rows(tmp_path / "out.sqlite")),
        wait=0.1,
    )
    found = rows(tmp_path / "out.sqlite")
    told(f"mqtt qos {qos} -> sqlite", total, found, hits)
    assert set(found) == set(range(total))
    assert len(found) - total <= 1000 * KILLS
