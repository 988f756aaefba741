"""What the embedded broker does when the disk fails, fills up or hangs, and when its callers give up."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.namespace.scenarios import everything, message, run

from setpoint.namespace import BrokerError, BrokerStats, Message, log_file, session
from setpoint.namespace.embedded import EmbeddedBroker


async def until(broker: EmbeddedBroker, condition: Callable[[BrokerStats], bool]) -> BrokerStats:
    """The stats, once they are as expected."""
    while not condition(stats := await broker.stats()):  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.005)
    return stats


async def attempt(broker: EmbeddedBroker, *messages: Message) -> int | None:
    """The offset that a publish gives, or None if it fails."""
    try:
        return await broker.publish(messages)
    except BrokerError:
        return None


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: writes fail as on a full disk, in the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def disk_hangs(path: Path) -> Iterator[None]:
    """Writes to the log wait: another connection holds SQLite's write lock."""
    blocker = sqlite3.connect(path, isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        yield
        blocker.execute("ROLLBACK")
    finally:
        blocker.close()


def test_failing_writes_are_told_and_recovered_from(tmp_path: Path) -> None:
    """When the file cannot grow, publishers get an error, nothing of theirs is written, the stats say so, and it passes by itself."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log.db", retry_interval=0.01) as broker:
            await broker.publish([message(0)])
            with files_limited_to(200_000):
                results = [await attempt(broker, message(number, 20_000)) for number in range(1, 20)]
                written = results.index(None)
                assert results[:written] == list(range(1, written + 1))
                assert not any(results[written:])
                stats = await broker.stats()
                assert not stats.ready
                assert "cannot be written" in stats.error
            await until(broker, lambda stats: stats.ready and stats.error == "")
            assert await broker.publish([message(99)]) == written + 1
            assert [m.offset for m in await everything(broker)] == list(range(written + 2))

    run(scenario)


FULL_DISK = """
import asyncio, os, sys
from setpoint.namespace import BrokerError, Message
from setpoint.namespace.embedded import EmbeddedBroker

async def main():
    async with EmbeddedBroker(sys.argv[1] + "/log.db", retry_interval=0.01) as broker:
        acknowledged = 0
        try:
            while True:
                await broker.publish([Message("t", os.urandom(30_000))])
                acknowledged += 1
        except BrokerError as fault:
            assert "full" in str(fault), fault
        assert not (await broker.stats()).ready
        os.unlink(sys.argv[1] + "/ballast")
        while not (await broker.stats()).ready:
            await asyncio.sleep(0.01)
        await broker.publish([Message("t", b"after")])
        subscription, found = broker.subscribe("g", ["t"]), []
        while part := await subscription.read(timeout=0):
            found += part
        assert len(found) == acknowledged + 1 and found[-1].payload == b"after"
        print("recovered after", acknowledged)

asyncio.run(main())
"""


@pytest.mark.real
def test_a_full_disk_is_recovered_from(tmp_path: Path) -> None:
    """On a file system that is full, publishing fails, and goes on when something else was deleted; all that was acknowledged is there."""
    shell = f'mount -t tmpfs -o size=4m none {tmp_path} && dd if=/dev/zero of={tmp_path}/ballast bs=1M count=2 2>/dev/null && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell, "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    done = subprocess.run(
        [*command, sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "recovered after" in done.stdout, done.stderr


def test_closing_while_publishing_leaves_nobody_waiting(tmp_path: Path) -> None:
    """Each publisher either gets the offset its messages have, or an error; none hangs."""

    async def scenario() -> None:
        broker = EmbeddedBroker(tmp_path / "log.db", queue_bytes=1000)
        await broker.open()
        publishing = [asyncio.create_task(broker.publish([message(n, 50)])) for n in range(100)]
        await asyncio.sleep(0)
        await broker.close()
        results = await asyncio.gather(*publishing, return_exceptions=True)
        await broker.open()
        found = {m.offset: m.payload for m in await everything(broker)}
        await broker.close()
        assert all(isinstance(result, (int, BrokerError)) for result in results)
        written = {result for result in results if isinstance(result, int)}
        assert written
        assert written == found.keys()

    run(scenario)


def test_a_publish_cancelled_in_the_queue_is_not_written(tmp_path: Path) -> None:
    """Cancelling publishes that wait, in the queue or before it, withdraws them and lets the next ones through."""
    path = tmp_path / "log.db"

    async def scenario() -> None:
        async with EmbeddedBroker(path, queue_bytes=300) as broker:
            with disk_hangs(path):
                publishing = [asyncio.create_task(broker.publish([message(0)]))]
                await asyncio.sleep(0.02)
                publishing += [asyncio.create_task(broker.publish([message(n, 50)])) for n in range(1, 6)]
                await asyncio.sleep(0)
                for task in publishing[1:5]:
                    task.cancel()
                await asyncio.wait(publishing[1:5])
            assert [await publishing[0], await publishing[5]] == [0, 1]
            assert [m.payload[:1] for m in await everything(broker)] == [b"0", b"5"]

    run(scenario)


def test_publishers_wait_while_the_queue_is_full(tmp_path: Path) -> None:
    """While the disk hangs publishers wait, and are written in their order when it answers."""
    path = tmp_path / "log.db"

    async def scenario() -> None:
        async with EmbeddedBroker(path, queue_bytes=2000) as broker:
            with disk_hangs(path):
                publishing = [asyncio.create_task(broker.publish([message(n, 100)])) for n in range(50)]
                done, _ = await asyncio.wait(publishing, timeout=0.02)
                assert not done
            assert await asyncio.gather(*publishing) == list(range(50))

    run(scenario)


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    """Only so many bytes are queued: when the broker is closed these are written, and those who stood in line get an error."""
    path = tmp_path / "log.db"

    async def scenario() -> None:
        broker = EmbeddedBroker(path, queue_bytes=2000)
        await broker.open()
        with disk_hangs(path):
            publishing = [asyncio.create_task(broker.publish([message(n, 100)])) for n in range(50)]
            await asyncio.sleep(0.02)
            closing = asyncio.create_task(broker.close())
            await asyncio.sleep(0)
        await closing
        results = await asyncio.gather(*publishing, return_exceptions=True)
        written = [result for result in results if isinstance(result, int)]
        assert results[: len(written)] == written == list(range(len(written)))
        assert 8 <= len(written) <= 2 * 2000 // 200  # what was being written, and a queue full
        assert all("before there was room" in str(result) for result in results[len(written) :])

    run(scenario)


def test_a_disk_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that does not come back makes the broker not ready, and passes when it does."""
    monkeypatch.setattr(session, "STALLED_AFTER", 0.02)
    path = tmp_path / "log.db"

    async def scenario() -> None:
        async with EmbeddedBroker(path) as broker:
            with disk_hangs(path):
                publishing = asyncio.create_task(broker.publish([message(0)]))
                stats = await until(broker, lambda stats: not stats.ready)
                assert "has been running for" in stats.error
            await publishing
            assert (await broker.stats()).ready

    run(scenario)


def test_closing_does_not_wait_for_a_dead_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing gives up on a write that hangs: its publisher and those behind it get an error."""
    monkeypatch.setattr(session, "CLOSE_WITHIN", 0.02)
    path = tmp_path / "log.db"

    async def scenario() -> None:
        broker = EmbeddedBroker(path)
        await broker.open()
        with disk_hangs(path):
            publishing = [asyncio.create_task(broker.publish([message(0)]))]
            await asyncio.sleep(0.01)
            publishing.append(asyncio.create_task(broker.publish([message(1)])))
            await asyncio.sleep(0)
            await broker.close()
            for task in publishing:
                with pytest.raises(BrokerError, match="did not answer"):
                    await task

    run(scenario)


def test_a_file_deleted_under_the_broker_is_told(tmp_path: Path) -> None:
    """The stats say that the log is gone while the broker still has it open, and opening again starts a new one."""
    path = tmp_path / "log.db"

    async def scenario() -> None:
        broker = EmbeddedBroker(path)
        await broker.open()
        path.unlink()
        stats = await broker.stats()
        assert not stats.ready
        assert "gone" in stats.error
        await broker.close()
        await broker.open()
        assert (await broker.stats()).ready
        await broker.close()

    run(scenario)


def test_a_cancelled_open_lets_go_of_the_file(tmp_path: Path) -> None:
    """Cancelling an open at any point leaves the log free for the next one."""
    path = tmp_path / "log.db"

    async def scenario() -> None:
        opening = asyncio.create_task(EmbeddedBroker(path).open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        broker = EmbeddedBroker(path)
        while True:
            try:
                await broker.open()
            except BrokerError:
                await asyncio.sleep(0.001)
                continue
            break
        await broker.close()

    run(scenario)


def test_a_fault_of_our_own_does_not_stop_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should committing raise what nobody thought of, its publishers get an error and the next ones are served."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log.db") as broker:
            with monkeypatch.context() as patch:
                patch.setattr("setpoint.namespace.tail.Tail.add", None)
                with pytest.raises(BrokerError, match="fault of its own"):
                    await broker.publish([message(0)])
            assert await broker.publish([message(1)]) == 1
            assert [m.payload for m in await everything(broker)] == [b"0", b"1"]

    run(scenario)


def test_power_durability_forces_every_commit_to_the_disk(tmp_path: Path) -> None:
    """The stricter setting has SQLite sync with each commit (FULL); the default leaves that to checkpoints (NORMAL)."""
    for durability, expected in (("crash", 1), ("power", 2)):
        connection, _ = log_file.connect(tmp_path / f"{durability}.db", durability, lambda _: None)  # type: ignore[arg-type]
        assert connection.execute("PRAGMA synchronous").fetchone() == (expected,)
        connection.close()
