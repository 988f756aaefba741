"""What a connection to a database can do, whichever it is. All of it blocks, and raises the faults of `setpoint.services.sql.faults`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import msgspec

Row = tuple[Any, ...]


class Limits(msgspec.Struct, frozen=True):
    """How long the database may take, in seconds: to connect, and for one statement."""

    connect: float = 10.0
    statement: float = 30.0


class Result(Protocol):
    """Rows of a query, fetched page by page."""

    columns: list[str]

    def fetch(self, size: int) -> list[Row]:
        """The next rows, at most `size`; [] at the end."""
        ...

    def close(self) -> None:
        """Let go of it. Idempotent; raises nothing."""
        ...


class Connection(Protocol):
    """One connection. One thread at a time, except for `cut`."""

    @property
    def dialect(self) -> Literal["postgres", "sqlite"]:
        """Whose SQL it speaks."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement; its rows, where it gives any. Placeholders are ``$1`` for PostgreSQL and ``?`` for SQLite."""
        ...

    def script(self, sql: str) -> None:
        """Run statements without values, separated by semicolons."""
        ...

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run the statement for each row of values."""
        ...

    def query(self, sql: str, values: Sequence[Any] = ()) -> Result:
        """Run a query whose rows are fetched as they are needed. One at a time; the connection does nothing else meanwhile."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """A block that is committed at its end and undone when it raises; within another one, a savepoint of that."""
        ...

    def cut(self) -> None:
        """End a call that hangs in another thread; the connection is of no use afterwards. Raises nothing."""
        ...

    def close(self) -> None:
        """Let go of it. Idempotent; raises nothing."""
        ...
