"""Retention: what goes, what stays, and how groups go on. Time is given by hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from setpoint.namespace import BrokerError, Message
from setpoint.namespace.embedded import EmbeddedBroker


class Clock:
    """A wall clock and a monotonic clock, in seconds, that stand still."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_700_000_000.0, 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def broker(directory: Path, clock: Clock, *, retention_ms: int = 10_000, retention_bytes: int = 0) -> EmbeddedBroker:
    return EmbeddedBroker(
        directory / "log.db",
        retention_ms=retention_ms,
        retention_bytes=retention_bytes,
        wall=lambda: clock.wall,
        monotonic=lambda: clock.monotonic,
        commit_interval=0,
    )


def message(number: int, topic: str = "umh.v1.acme._raw.x") -> Message:
    return Message(topic, b"%d" % number)


def test_old_messages_go_and_last_values_stay(tmp_path: Path) -> None:
    """What is older than the retention is deleted, but topics keep their last value and count, also after opening again."""

    async def scenario() -> None:
        clock = Clock()
        async with broker(tmp_path, clock) as opened:
            await opened.publish([message(1, "umh.v1.old._raw.x"), message(2, "umh.v1.old._raw.x")])
            clock.pass_(9)
            await opened.publish([message(3)])
            await opened.trim()
            assert (await opened.stats()).first_offset == 0
            clock.pass_(2)
            await opened.trim()
            assert [m.offset for m in await opened.subscribe("g").read()] == [2]
        async with broker(tmp_path, clock) as opened:
            assert (await opened.stats()).first_offset == 2
            (old,) = await opened.topics("old")
            assert (old.payload, old.offset, old.count) == (b"2", 1, 2)

    run(scenario)


def test_retention_can_be_changed(tmp_path: Path) -> None:
    """A new retention applies to an open broker, and to one that is opened later; one below zero is refused."""

    async def scenario() -> None:
        clock = Clock()
        changed = broker(tmp_path, clock, retention_ms=0)
        with pytest.raises(ValueError, match="or more"):
            changed.set_retention(retention_ms=-1, retention_bytes=0)
        async with changed:
            for number in range(3):
                await changed.publish([message(number)])
                clock.pass_(60)
            await changed.trim()
            assert (await changed.stats()).first_offset == 0
            changed.set_retention(retention_ms=150_000, retention_bytes=0)
            await changed.trim()
            assert (await changed.stats()).first_offset == 1
        changed.set_retention(retention_ms=1, retention_bytes=0)
        async with changed:
            await changed.trim()
            assert (await changed.stats()).first_offset == 2

    run(scenario)


def test_the_newest_messages_stay_and_offsets_go_on(tmp_path: Path) -> None:
    """However old all is, what was written last stays, and the next offset follows it."""

    async def scenario() -> None:
        clock = Clock()
        async with broker(tmp_path, clock) as opened:
            await opened.publish([message(1)])
            await opened.publish([message(2)])
            clock.pass_(1_000_000)
            await opened.trim()
        async with broker(tmp_path, clock) as opened:
            await opened.trim()
            assert [m.offset for m in await opened.subscribe("g").read()] == [1]
            assert await opened.publish([message(3)]) == 2

    run(scenario)


def test_the_log_keeps_to_its_size(tmp_path: Path) -> None:
    """With a limit in bytes the oldest go, and the file stops growing."""

    async def scenario() -> None:
        clock = Clock()
        async with broker(tmp_path, clock, retention_ms=0, retention_bytes=2_000_000) as opened:
            for _ in range(16):
                await opened.publish([Message("umh.v1.a._raw.x", os.urandom(1_000_000))])
                await opened.trim()
            stats = await opened.stats()
            assert 11 < stats.first_offset < stats.last_offset == 15
            assert stats.size_bytes < 12_000_000  # of 16,000,000, with some megabytes of journal

    run(scenario)


def test_space_goes_back_to_the_disk(tmp_path: Path) -> None:
    """When most of a large log goes the file shrinks."""

    async def scenario() -> None:
        clock = Clock()
        async with broker(tmp_path, clock) as opened:
            for _ in range(10):
                await opened.publish([Message("umh.v1.a._raw.x", os.urandom(1_000_000))])
        large = (tmp_path / "log.db").stat().st_size
        async with broker(tmp_path, clock) as opened:
            clock.pass_(1000)
            await opened.publish([message(1)])
            await opened.trim()
        assert (tmp_path / "log.db").stat().st_size < large / 2

    run(scenario)


def test_a_group_that_fell_behind_goes_on_and_is_counted(tmp_path: Path) -> None:
    """A group whose messages were deleted before it read them resumes at the oldest kept, and the stats say how many it missed."""

    async def scenario() -> None:
        clock = Clock()
        async with broker(tmp_path, clock) as opened:
            await opened.publish([message(0)])
            subscription = opened.subscribe("slow")
            await subscription.commit((await subscription.read())[0].offset)
            await subscription.close()
            await opened.publish([message(n) for n in range(1, 6)])
            clock.pass_(60)
            await opened.publish([message(6)])
            await opened.trim()
        async with broker(tmp_path, clock) as opened:
            received = await opened.subscribe("slow").read()
            assert [m.offset for m in received] == [6]
            (group,) = (await opened.stats()).groups
            assert (group.group, group.skipped, group.lag) == ("slow", 5, 6)

    run(scenario)


def test_a_wall_clock_that_jumps_deletes_nothing(tmp_path: Path) -> None:
    """Age is counted by the time that passed, not by what the wall clock says: years forward or back make no difference."""

    async def scenario() -> None:
        clock = Clock()
        async with broker(tmp_path, clock) as opened:
            await opened.publish([message(1)])
            clock.wall += 10 * 365 * 86_400
            await opened.publish([message(2)])
            clock.wall = 0.0
            await opened.publish([message(3)])
            await opened.trim()
            assert len(await opened.subscribe("g").read()) == 3
        async with broker(tmp_path, clock) as opened:  # still in 1970
            await opened.trim()
            assert (await opened.stats()).first_offset == 0
            clock.pass_(11)
            await opened.publish([message(4)])
            await opened.trim()
            assert (await opened.stats()).first_offset == 3

    run(scenario)


def test_readers_and_publishers_go_on_during_retention(tmp_path: Path) -> None:
    """Trimming thousands of rows lets publishers in between: it never holds the log for long."""

    async def scenario() -> None:
        clock = Clock()
        async with broker(tmp_path, clock) as opened:
            for n in range(2_000):  # a row each
                await opened.publish([message(n)])
            clock.pass_(60)
            trimming = asyncio.create_task(opened.trim())
            last = await opened.publish([message(0)])
            assert not trimming.done()
            await trimming
            assert (await opened.stats()).first_offset == last
            assert [m.offset for m in await opened.subscribe("g").read()] == [last]

    run(scenario)


def test_closing_during_retention_ends_it(tmp_path: Path) -> None:
    """A trim that runs while the broker is closed comes back, with an error if there is more to do."""

    async def scenario() -> None:
        clock = Clock()
        opened = broker(tmp_path, clock)
        await opened.open()
        for n in range(1_200):
            await opened.publish([message(n)])
        clock.pass_(60)
        trimming = asyncio.create_task(opened.trim())
        await asyncio.sleep(0)
        await opened.close()
        await asyncio.wait({trimming})
        assert isinstance(trimming.exception(), BrokerError | None)

    run(scenario)
