"""Streams within the program: iterables and async iterables in; lists and functions out.

A position is how many records were taken. To resume, an iterable is run forward by as many, so it must give the same records again.
Malformed input does not exist here: whatever is in an iterable is a record.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from setpoint.data.stream.parts import Chunk, Mark, Position, Refused


class Records:
    """Takes records from an iterable. A generator is asked only when a chunk is wanted."""

    def __init__(self, records: Iterable[Any]) -> None:
        self._records: Iterator[Any] = iter(records)
        self._taken = 0
        self.name = type(records).__name__

    def read(self, limit: int) -> Chunk | None:
        """The next records. Raises what the iterable raises."""
        records = list(islice(self._records, limit))
        if not records:
            return None
        first, self._taken = self._taken, self._taken + len(records)
        return Chunk(records, {"taken": self._taken}, range(first, self._taken))

    def seek(self, position: Position) -> None:
        """Run forward. Raises `ValueError` where there are not so many records."""
        self._taken = sum(1 for _ in islice(self._records, position["taken"]))
        if self._taken < position["taken"]:
            raise ValueError(f"{self.name} has only {self._taken} records; {position['taken']} were taken before")

    def acknowledge(self, position: Position) -> None:
        """They are gone already."""

    def close(self) -> None:
        """Ends a generator."""
        if hasattr(self._records, "close"):
            self._records.close()


class AsyncRecords:
    """Takes records from an async iterable."""

    def __init__(self, records: AsyncIterable[Any]) -> None:
        self._records: AsyncIterator[Any] = aiter(records)
        self._taken = 0
        self.name = type(records).__name__

    async def read(self, limit: int) -> Chunk | None:
        """The next records. Raises what the iterable raises."""
        records: list[Any] = []
        async for record in self._records:
            records.append(record)
            if len(records) >= limit:
                break
        if not records:
            return None
        first, self._taken = self._taken, self._taken + len(records)
        return Chunk(records, {"taken": self._taken}, range(first, self._taken))

    async def seek(self, position: Position) -> None:
        """Run forward. Raises `ValueError` where there are not so many records."""
        while self._taken < position["taken"]:
            try:
                await anext(self._records)
            except StopAsyncIteration:
                raise ValueError(
                    f"{self.name} has only {self._taken} records; {position['taken']} were taken before"
                ) from None
            self._taken += 1

    async def acknowledge(self, position: Position) -> None:
        """They are gone already."""

    async def close(self) -> None:
        """Ends an async generator."""
        if hasattr(self._records, "aclose"):
            await self._records.aclose()


class Collected:
    """Appends to a list what is committed, chunk by chunk."""

    keeps_mark = False

    def __init__(self, target: list[Any]) -> None:
        self._target = target
        self._pending: list[Any] = []

    def open(self, resume: bool) -> Mark | None:
        """Ready."""
        return None

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Take all of them."""
        self._pending += records
        return ()

    def commit(self, mark: Mark) -> None:
        """They are in the list now."""
        self._target += self._pending
        self._pending.clear()

    def finish(self) -> None:
        """Done."""

    def abort(self) -> None:
        """Forget what was not committed."""
        self._pending.clear()


class Called:
    """Calls a function with each record. A record at which it raises is refused, with that reason; it may come twice after a resume."""

    keeps_mark = False

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function

    def open(self, resume: bool) -> Mark | None:
        """Ready."""
        return None

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """One call a record."""
        refused = []
        for index, record in enumerate(records):
            try:
                self._function(record)
            except Exception as error:
                refused.append(Refused(index, f"{type(error).__name__}: {error}"))
        return refused

    def commit(self, mark: Mark) -> None:
        """Done with the call."""

    def finish(self) -> None:
        """Done."""

    def abort(self) -> None:
        """Calls cannot be taken back."""


class AsyncCalled:
    """Awaits a function with each record, one after the other; otherwise as `Called`."""

    keeps_mark = False

    def __init__(self, function: Callable[[Any], Awaitable[object]]) -> None:
        self._function = function

    async def open(self, resume: bool) -> Mark | None:
        """Ready."""
        return None

    async def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """One call a record."""
        refused = []
        for index, record in enumerate(records):
            try:
                await self._function(record)
            except Exception as error:
                refused.append(Refused(index, f"{type(error).__name__}: {error}"))
        return refused

    async def commit(self, mark: Mark) -> None:
        """Done with the call."""

    async def finish(self) -> None:
        """Done."""

    async def abort(self) -> None:
        """Calls cannot be taken back."""


class Nowhere:
    """Keeps nothing: records are only counted."""

    keeps_mark = False

    def open(self, resume: bool) -> Mark | None:
        """Ready."""
        return None

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """All are gone."""
        return ()

    def commit(self, mark: Mark) -> None:
        """Nothing to keep."""

    def finish(self) -> None:
        """Done."""

    def abort(self) -> None:
        """Nothing to undo."""
