"""What the embedded broker does with damaged files, files of others, other processes and sudden death."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.namespace.scenarios import everything, message, run

from setpoint.namespace import BrokerError
from setpoint.namespace.embedded import EmbeddedBroker


@pytest.mark.parametrize("where", [0, 4096], ids=["header", "schema and all behind it"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, where: int) -> None:
    """A file that is damaged when it is opened is kept under a new name, which the stats give, and a fresh log is started."""
    path = tmp_path / "log.db"

    async def fill() -> None:
        async with EmbeddedBroker(path) as broker:
            await broker.publish([message(n, 1000) for n in range(100)])

    async def look() -> None:
        async with EmbeddedBroker(path) as broker:
            stats = await broker.stats()
            assert stats.ready
            asides.append(Path(stats.recovered_from))
            assert await broker.publish([message(0)]) == 0
        async with EmbeddedBroker(path) as broker:
            assert (await broker.stats()).recovered_from == ""

    run(fill)
    intact = path.read_bytes()
    damaged = intact[:where] + b"\xa5" * (len(intact) - where)
    path.write_bytes(damaged)
    asides: list[Path] = []
    run(look)
    assert asides[0].read_bytes()[100:] == damaged[100:]  # SQLite counts openings in the first 100


def test_damage_met_while_running_is_dealt_with_at_the_next_opening(tmp_path: Path) -> None:
    """A broken page in the middle makes reads fail and the broker not ready; opened again, the file is checked and set aside."""
    path = tmp_path / "log.db"

    async def fill() -> None:
        async with EmbeddedBroker(path) as broker:
            for start in range(0, 1000, 100):
                await broker.publish([message(start + n, 1000) for n in range(100)])

    async def look() -> None:
        async with EmbeddedBroker(path) as broker:
            assert (await broker.stats()).ready
            with pytest.raises(BrokerError, match="open the broker again"):
                await everything(broker)
            assert not (await broker.stats()).ready
            assert "cannot be read" in (await broker.stats()).error
        async with EmbeddedBroker(path) as broker:
            assert (await broker.stats()).recovered_from

    run(fill)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)
    run(look)


def test_a_damaged_row_costs_only_itself(tmp_path: Path) -> None:
    """Messages that cannot be unpacked are passed over, counted for the group and told in the stats; the rest is delivered."""
    path = tmp_path / "log.db"

    async def fill() -> None:
        async with EmbeddedBroker(path) as broker:
            for n in range(3):
                await broker.publish([message(n)])

    async def look() -> None:
        async with EmbeddedBroker(path) as broker:
            assert [m.offset for m in await everything(broker)] == [0, 2]
            broker.subscribe("reader")
            stats = await broker.stats()
            assert stats.ready
            assert "1 to 1 are damaged" in stats.error
            assert [group.skipped for group in stats.groups] == [1]

    run(fill)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE log SET data = x'0199' WHERE last = 1")
    run(look)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("CREATE TABLE theirs (x)", "another program"),
        ("PRAGMA user_version=99; PRAGMA application_id=1397771335; CREATE TABLE theirs (x)", "format 99"),
    ],
)
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, spoil: str, reason: str) -> None:
    """A database of another program, or of a newer version of this one, is refused and not changed."""
    path = tmp_path / "log.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(spoil)
    before = path.read_bytes()

    async def scenario() -> None:
        broker = EmbeddedBroker(path)
        with pytest.raises(BrokerError, match=reason):
            await broker.open()
        with pytest.raises(BrokerError, match=reason):  # the refusal left no lock behind
            await broker.open()

    run(scenario)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A path below a file gives an error that says which path."""
    (tmp_path / "file").touch()

    async def scenario() -> None:
        with pytest.raises(BrokerError, match=r"file/log\.db cannot be opened"):
            await EmbeddedBroker(tmp_path / "file" / "log.db").open()

    run(scenario)


HOLD = """
import asyncio, sys
from setpoint.namespace.embedded import EmbeddedBroker

async def main():
    async with EmbeddedBroker(sys.argv[1]):
        print("open", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """While one process has the log another cannot open it, and is told which process that is; when that one dies it can."""
    path = tmp_path / "log.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"

        async def refused() -> None:
            with pytest.raises(BrokerError, match=f"in use by process {holder.pid};"):
                await EmbeddedBroker(path).open()

        run(refused)
        holder.kill()

    async def allowed() -> None:
        async with EmbeddedBroker(path) as broker:
            assert (await broker.stats()).ready

    run(allowed)


PUBLISH = """
import asyncio, sys
from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

async def main():
    async with EmbeddedBroker(sys.argv[1]) as broker:
        async def publish(publisher):
            number = 0
            while True:
                last = await broker.publish([Message(f"umh.v1.acme._raw.p{publisher}", b"%d" % (number + n)) for n in range(7)])
                print(publisher, number, last, flush=True)
                number += 7
        await asyncio.gather(*(publish(publisher) for publisher in range(5)))

asyncio.run(main())
"""


def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path) -> None:
    """After kill -9 all that was acknowledged is at its offset, the last values fit, and no offset is used again."""
    path = tmp_path / "log.db"
    acknowledged: dict[int, tuple[str, bytes]] = {}
    with subprocess.Popen([sys.executable, "-c", PUBLISH, str(path)], stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdout
        for count, line in enumerate(publisher.stdout):
            if count == 300:
                publisher.send_signal(signal.SIGKILL)
            if line.endswith("\n"):
                who, number, last = map(int, line.split())
                acknowledged.update(
                    {last - 6 + n: (f"umh.v1.acme._raw.p{who}", b"%d" % (number + n)) for n in range(7)}
                )

    async def look() -> None:
        async with EmbeddedBroker(path) as broker:
            found = await everything(broker)
            assert [m.offset for m in found] == list(range(len(found)))
            assert acknowledged.items() <= {m.offset: (m.topic, m.payload) for m in found}.items()
            topics = await broker.topics()
            assert {t.topic: (t.offset, t.payload) for t in topics} == {m.topic: (m.offset, m.payload) for m in found}
            assert sum(t.count for t in topics) == len(found)
            assert await broker.publish([message(0)]) == len(found)

    assert len(acknowledged) >= 7 * 300
    run(look)
