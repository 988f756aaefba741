"""An open log: all that exists between the opening and the closing of an embedded broker.

The session owns the files, the two lanes, the commits, the tail and the subscriptions, counts the traffic, and keeps
house: it writes the last values of topics every few seconds, applies retention every minute, and tries the disk again
after a fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from setpoint.namespace import log_file
from setpoint.namespace.broker import BrokerError, BrokerStats, GroupInfo, TopicInfo
from setpoint.namespace.commits import Commits
from setpoint.namespace.lane import Lane
from setpoint.namespace.log_file import Durability
from setpoint.namespace.log_reader import Fetched, LogReader
from setpoint.namespace.log_writer import LogWriter
from setpoint.namespace.records import Batch
from setpoint.namespace.subscription import EmbeddedSubscription
from setpoint.namespace.tail import Tail
from setpoint.namespace.topic import TopicFilter

FLUSH_EVERY: Final = 5.0
TRIM_EVERY: Final = 60.0
CHECKPOINT_BYTES: Final = 2 * 1024 * 1024
STALLED_AFTER: Final = 10.0
MEASURE_WITHIN: Final = 0.5
CLOSE_WITHIN: Final = 10.0


class Files:
    """The lock, the writer and the reader of a log. Opening and closing block."""

    def __init__(
        self, path: Path, durability: Durability, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        with contextlib.ExitStack() as undo:
            lock = log_file.lock(path)
            undo.callback(os.close, lock)
            self.writer = LogWriter(path, durability=durability, wall=wall, monotonic=monotonic)
            undo.callback(self.writer.close)
            self.reader = LogReader(path)
            undo.callback(self.reader.close)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Lets go of everything, in the reverse order. A last flush that fails loses nothing: the next opening makes up for it."""
        with contextlib.suppress(BrokerError):
            self._undo.close()


class Session:
    """Made by `EmbeddedBroker.open`, in the event loop it then belongs to."""

    def __init__(
        self,
        files: Files,
        writing: Lane,
        *,
        retention: tuple[int, int],
        commit_interval: float,
        queue_bytes: int,
        tick: float,
    ) -> None:
        self._files, self._writing, self._reading = files, writing, Lane("setpoint-log-reader")
        self._checkpointing = Lane("setpoint-log-checkpoint")  # a sync of the disk, which publishers need not wait for
        self._writer = files.writer
        self.retention = retention
        self._tick = tick
        self.commits = Commits(
            writing, self._writer.append, self._committed, interval=commit_interval, queue_bytes=queue_bytes
        )
        self.tail = Tail(self._writer.next)
        self.bytes_in = self.bytes_out = self.messages_in = self.messages_out = 0
        self._subscriptions: dict[str, EmbeddedSubscription] = {}
        self._skipped: dict[str, int] = {}
        self._read_fault = self._disk_fault = self._damage = ""
        self._sizes = (0, 0, 0)
        self._measuring: asyncio.Future[tuple[int, int, int]] | None = None
        self._housekeeping = asyncio.get_running_loop().create_task(self._keep_house())

    def _committed(self, batches: Sequence[Batch], first: int, stamp: int) -> None:
        self.tail.add(batches, first=first, stamp=stamp)
        for batch in batches:
            self.messages_in += len(batch.messages)
            self.bytes_in += batch.size
        for subscription in self._subscriptions.values():
            subscription.wake()

    def subscribe(self, group: str, wanted: TopicFilter, start: Literal["earliest", "latest"]) -> EmbeddedSubscription:
        """The new and only subscription of `group`."""
        beginning = self._writer.first if start == "earliest" else self.tail.end
        position = min(self._writer.positions.get(group, beginning), self._writer.next)
        subscription = EmbeddedSubscription(self, group, wanted, position)
        if before := self._subscriptions.get(group):
            before.end("a newer subscription has taken over the group")
            self.forget(before)
        self._subscriptions[group] = subscription
        return subscription

    def forget(self, subscription: EmbeddedSubscription) -> None:
        """Takes a subscription that ended off the list; what it missed stays counted for its group."""
        if self._subscriptions.get(subscription.group) is subscription:
            del self._subscriptions[subscription.group]
            self._skipped[subscription.group] = self._skipped.get(subscription.group, 0) + subscription.skipped

    async def fetch(self, position: int, limit: int, wanted: TopicFilter) -> Fetched:
        """Messages from the disk. Raises `BrokerError`."""
        try:
            fetched = await self._reading.run(self._files.reader.fetch, position, limit, wanted)
        except BrokerError as fault:
            self._read_fault = str(fault)
            raise
        self._read_fault = ""
        self._damage = fetched.damage or self._damage
        return fetched

    async def topics(self, contains: str) -> list[TopicInfo]:
        """The last values. Raises `BrokerError`."""
        return await self._reading.run(self._files.reader.topics, contains, lambda: self._writer.unwritten)

    async def trim(self) -> None:
        """Applies retention, a little at a time so that publishing goes on in between. Raises `BrokerError`."""
        retention_ms, retention_bytes = self.retention
        await self._flush()
        more = True
        while more:
            more = await self._writing.run(self._writer.trim, retention_ms, retention_bytes)
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        if self._writer.since_checkpoint >= CHECKPOINT_BYTES:
            self._writer.since_checkpoint = 0
            await self._checkpointing.run(log_file.checkpoint, self._writer.path)

    async def _flush(self) -> None:
        """Writes the last values of topics, a part at a time so that publishing goes on in between. Raises `BrokerError`."""
        while await self._writing.run(self._writer.flush):
            pass

    async def stats(self) -> BrokerStats:
        """How it is going; sizes of the disk as of the last time that it answered."""
        size, free, total = await self._measured()
        fault = self._fault()
        return BrokerStats(
            ready=not fault,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            messages_in=self.messages_in,
            messages_out=self.messages_out,
            first_offset=self._writer.first,
            last_offset=self.tail.end - 1,
            topics=self._writer.topics,
            size_bytes=size,
            disk_free_bytes=free,
            disk_total_bytes=total,
            error=fault or self._damage,
            recovered_from=self._writer.recovered_from,
            groups=self._groups(),
        )

    async def _measured(self) -> tuple[int, int, int]:
        """Sizes of the files and the disk. One measurement at a time: a disk that hangs must not gather them."""
        if self._measuring is None:
            self._measuring = self._reading.run(_measure, self._writer.path)
        done, _ = await asyncio.wait({self._measuring}, timeout=MEASURE_WITHIN)
        for measuring in done:
            self._measuring = None
            try:
                self._sizes = measuring.result()
                self._disk_fault = ""
            except OSError as fault:
                self._disk_fault = (
                    f"the message log is gone or out of reach: {fault}; restore it or open the broker again"
                )
        return self._sizes

    def _fault(self) -> str:
        """Why the broker is not ready, or nothing."""
        since = self.commits.writing_since
        if since is not None and (seconds := asyncio.get_running_loop().time() - since) > STALLED_AFTER:
            return f"a write to {self._writer.path} has been running for {seconds:.0f} s; check the disk"
        if self._writer.damaged:
            return f"the message log {self._writer.path} is damaged; open the broker again to have it checked"
        return self.commits.fault or self._read_fault or self._disk_fault

    def _groups(self) -> tuple[GroupInfo, ...]:
        positions = {**{group: one.position for group, one in self._subscriptions.items()}, **self._writer.positions}
        return tuple(
            GroupInfo(group, position, max(0, self.tail.end - position), self._skipped_by(group))
            for group, position in sorted(positions.items())
        )

    def _skipped_by(self, group: str) -> int:
        current = self._subscriptions.get(group)
        return self._skipped.get(group, 0) + (current.skipped if current else 0)

    async def _keep_house(self) -> None:
        loop = asyncio.get_running_loop()
        flushed = trimmed = loop.time()
        while True:
            await asyncio.sleep(self._tick)
            try:
                if self.commits.fault:
                    await self._writing.run(self._writer.probe)
                    self.commits.fault = ""
                if loop.time() - flushed >= FLUSH_EVERY or self._writer.flush_is_due:
                    await self._flush()
                    flushed = loop.time()
                await self._checkpoint()
                if loop.time() - trimmed >= TRIM_EVERY:
                    await self.trim()
                    trimmed = loop.time()
            except Exception as fault:
                self.commits.fault = str(fault) or repr(fault)

    async def close(self) -> None:
        """Ends everything within a bounded time. What the disk keeps for longer is let go of when it answers."""
        ends = asyncio.get_running_loop().time() + CLOSE_WITHIN
        self._housekeeping.cancel()
        for subscription in list(self._subscriptions.values()):
            subscription.end("the broker is closed")
        await self.commits.close(ends)
        await _by(ends, self._reading.run(_nothing))  # behind the reads that are still running
        await _by(ends, self._writing.run(self._files.close))
        for lane in (self._reading, self._checkpointing, self._writing):
            lane.stop()


async def _by(deadline: float, future: asyncio.Future[None]) -> None:
    await asyncio.wait({future}, timeout=max(0, deadline - asyncio.get_running_loop().time()))


def _nothing() -> None:
    pass


def _measure(path: Path) -> tuple[int, int, int]:
    """Bytes of the log's files, and free and in all of the file system they are on."""
    usage = shutil.disk_usage(path.parent)
    size = path.stat().st_size
    with contextlib.suppress(FileNotFoundError):
        size += path.with_name(path.name + "-wal").stat().st_size
    return size, usage.free, usage.total
