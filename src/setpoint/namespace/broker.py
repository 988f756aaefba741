"""The broker: one ordered, durable log of messages that many publish to and groups read from.

A message has a topic (its key), a payload, headers and a time. Publishing gives it an *offset*: its place in the log,
growing by one a message and never used twice. A *group* reads the log in order and commits the offset it has dealt
with; whoever reads for that group later goes on after it. A message that was read and not committed is read again:
delivery is at least once.

This module is the interface alone. `EmbeddedBroker` implements it in this process; a Kafka client can implement it as
well. The conformance suite in ``tests/conformance`` says precisely what is expected of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

EVERYTHING = (r"umh\.v1\..*",)


class BrokerError(Exception):
    """The broker could not do what was asked; says why, what to do, and if it is not certain that nothing was written."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message. A publisher leaves `offset` alone, and `timestamp_ms` at 0 to have the broker stamp it (ms since 1970, UTC)."""

    topic: str
    payload: bytes
    headers: dict[str, str] = {}
    timestamp_ms: int = 0
    offset: int = -1


class TopicInfo(msgspec.Struct, frozen=True):
    """The last message of a topic and how many there have been in all; it outlives the message itself in the log."""

    topic: str
    payload: bytes
    headers: dict[str, str]
    timestamp_ms: int
    offset: int
    count: int


class GroupInfo(msgspec.Struct, frozen=True):
    """Where a group stands: it goes on at `position`, has `lag` messages before it, and lost `skipped` to retention."""

    group: str
    position: int
    lag: int
    skipped: int


class BrokerStats(msgspec.Struct, frozen=True):
    """What the broker says about itself. The four traffic figures are totals since it was opened (bytes: topics and payloads).

    `first_offset` is that of the oldest message kept and `last_offset` that of the newest (-1: none so far).
    `size_bytes` is what the log occupies on disk. `error` is the last fault not yet recovered from, or empty.
    `recovered_from` names the file that was damaged when the broker was opened and is set aside for inspection, or is
    empty.
    """

    ready: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    first_offset: int = 0
    last_offset: int = -1
    topics: int = 0
    size_bytes: int = 0
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0
    error: str = ""
    recovered_from: str = ""
    groups: tuple[GroupInfo, ...] = ()


class Subscription(Protocol):
    """The view of one group on the log. One reader at a time."""

    async def read(self, limit: int = 1000, timeout: float | None = None) -> list[Message]:
        """The next messages, at least one and at most `limit`, in order; ``[]`` when `timeout` seconds pass first.

        Raises `BrokerError` when the subscription or the broker is closed, also while waiting.
        """
        ...

    async def commit(self, offset: int) -> None:
        """Says that all up to and including `offset` is dealt with: the group resumes after it. Durable when it returns."""
        ...

    async def close(self) -> None:
        """Ends the subscription; what was not committed is read again by the next one. Idempotent."""
        ...


class Broker(Protocol):
    """A durable, ordered log of messages."""

    async def open(self) -> None:
        """Makes the broker usable. Idempotent. Raises `BrokerError` when it cannot be."""
        ...

    async def close(self) -> None:
        """Writes what is queued and lets go of everything; publishers and readers that still wait get `BrokerError`. Idempotent."""
        ...

    async def publish(self, messages: Sequence[Message]) -> int:
        """Appends the messages, all or none, in order and without gaps; they are durable when it returns the last one's offset.

        Raises `BrokerError` when they cannot be written. A cancelled publish may have been written.
        """
        ...

    def subscribe(
        self, group: str, topics: Sequence[str] = EVERYTHING, *, start: Literal["earliest", "latest"] = "earliest"
    ) -> Subscription:
        """A subscription of `group` to the topics that match any of the regular expressions (see `TopicFilter`).

        It goes on after the group's last commit; a group without one begins at `start`. The newest subscription of a
        group is the only one: those before it raise `BrokerError` from then on, so that a reader that hangs can be
        replaced. Raises `TopicError` for a bad pattern and `BrokerError` when the broker is not open.
        """
        ...

    async def topics(self, contains: str = "") -> list[TopicInfo]:
        """The last message of every topic that has `contains` in its name, ordered by topic."""
        ...

    async def stats(self) -> BrokerStats:
        """How the broker is doing. Answers within a second or so, whatever state the disk is in; never raises."""
        ...
