"""What a stream is made of: chunks that know where they came from, a source that gives them, a sink that commits them.

A source gives its records in chunks. Reading runs ahead of writing, so a chunk carries the position behind it, and the source itself is
never asked where it stands. When the records of a chunk have been written, the sink commits them together with a `Mark`: that position,
what was counted so far and how long the dead-letter file is. A stream that was broken off goes on from the last mark::

    chunk = source.read(1000)           chunk.position is where the next one starts
    sink.write(records)                 not yet kept
    sink.commit(Mark(...))              kept, with the mark where the sink can: nothing lost and nothing twice
    source.acknowledge(chunk.position)  a broker may forget it now

Everything in a position and in a mark is plain JSON data, so that it can be stored anywhere.

Sources and sinks are synchronous or asynchronous: same names, coroutine methods in the second case. A stream of synchronous parts runs
without an event loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeGuard

import msgspec

Position = Mapping[str, Any]
"""Where a source stands, as plain JSON data: what its `seek` understands."""


class Malformed(NamedTuple):
    """A piece of input that is no record: where it is, what is wrong with it and its text (cut where it is long)."""

    place: Any
    reason: str
    text: str


class Refused(NamedTuple):
    """A record that the sink can never write: its number in what was given to `write`, from 0, and why."""

    number: int
    reason: str


class Chunk(msgspec.Struct, frozen=True):
    """Records read in one go, and the position behind them.

    `places` says where each record was (a line number, a row's key), `malformed` what was found between them. `original` gives a record as
    it was read, also after a plan has changed it in place; without it, the record itself is all there is.
    """

    records: list[Any]
    position: Position
    places: Sequence[Any]
    malformed: Sequence[Malformed] = ()
    original: Callable[[int], Any] | None = None

    def was(self, index: int) -> Any:
        """The record as it was read."""
        return self.records[index] if self.original is None else self.original(index)


class Counts(msgspec.Struct):
    """What became of what was read. Every record read ends in at least one of emitted, excluded or failed, by the state where it ended.

    `excluded` records ended well in a state that emits no output, or were dropped on purpose. A record that was split counts once for each
    of its parts.
    """

    read: int = 0
    malformed: int = 0
    emitted: dict[str, int] = {}
    excluded: dict[str, int] = {}
    failed: dict[str, int] = {}


class Mark(msgspec.Struct, frozen=True):
    """What the stream had done at a commit: the source's position, the counts so far, the length of the dead-letter file in bytes.

    `done`: the stream came to its end there. A resume is then the next load, of what has come since: it counts anew, and adds its dead
    letters to whatever is in their file by then.
    """

    source: Position
    counts: Counts = msgspec.field(default_factory=Counts)
    dead: int = 0
    done: bool = False


class Source(Protocol):
    """Where records come from."""

    def read(self, limit: int) -> Chunk | None:
        """The next records, at least one piece of input and at most `limit`; None at the end. Waits for the first, not for more."""

    def seek(self, position: Position) -> None:
        """Go on from a position that an earlier source over the same data gave. Called before the first `read`. Raises `ValueError`."""

    def acknowledge(self, position: Position) -> None:
        """Everything up to there is safe."""

    def close(self) -> None:
        """Let go of everything. Idempotent."""


class AsyncSource(Protocol):
    """A source that waits with the event loop."""

    async def read(self, limit: int) -> Chunk | None:
        """As in `Source`."""

    async def seek(self, position: Position) -> None:
        """As in `Source`."""

    async def acknowledge(self, position: Position) -> None:
        """As in `Source`."""

    async def close(self) -> None:
        """As in `Source`."""


class Sink(Protocol):
    """Where records go. With `keeps_mark` a commit keeps output and mark together; otherwise output may come twice after a resume."""

    keeps_mark: bool

    def open(self, resume: bool) -> Mark | None:
        """Make it ready. To resume: undo what was written after the last commit, and give its mark; None if it knows none."""

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Take the records, in order, except those that can never be written. Raises what makes it impossible to go on.

        `at` is the position behind their chunk: the same records have the same one when they come again after a resume.
        """

    def commit(self, mark: Mark) -> None:
        """Keep what was written since the last commit, and the mark."""

    def finish(self) -> None:
        """The stream is done, all is committed: publish the output.

        A sink that replaces what was there forgets its mark. One that adds keeps it, so that a later resume goes on behind.
        """

    def abort(self) -> None:
        """The stream broke off: what is committed stays for a resume, the rest goes. Idempotent; does nothing after `finish`."""


class AsyncSink(Protocol):
    """A sink that waits with the event loop."""

    keeps_mark: bool

    async def open(self, resume: bool) -> Mark | None:
        """As in `Sink`."""

    async def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """As in `Sink`."""

    async def commit(self, mark: Mark) -> None:
        """As in `Sink`."""

    async def finish(self) -> None:
        """As in `Sink`."""

    async def abort(self) -> None:
        """As in `Sink`."""


AnySource = Source | AsyncSource
AnySink = Sink | AsyncSink


def reads_async(source: AnySource) -> TypeGuard[AsyncSource]:
    """Whether the source waits with the event loop."""
    return inspect.iscoroutinefunction(source.read)


def writes_async(sink: AnySink) -> TypeGuard[AsyncSink]:
    """Whether the sink waits with the event loop."""
    return inspect.iscoroutinefunction(sink.write)


TEXT_LIMIT = 2000


def shown(text: bytes | str) -> str:
    """A piece of input for people and dead letters: as text, cut where it is long."""
    cut = text[:TEXT_LIMIT]
    plain = cut.decode("utf-8", errors="backslashreplace") if isinstance(cut, bytes) else cut
    return plain if len(text) <= TEXT_LIMIT else f"{plain}… ({len(text)} in all)"
