"""A database for an event loop: each call runs in a thread, one at a time, and is given up when its time is over.

A call that is given up, or whose caller was cancelled, has its connection cut off under it, so that its thread ends and its transaction is
undone by the server; whether a commit that was on its way arrived is then not known, and whoever repeats it must be able to.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from setpoint.services.blocking import in_thread
from setpoint.services.sql.faults import DatabaseAway
from setpoint.services.sql.interface import Connection, Limits

Answer = TypeVar("Answer")
GRACE: Final = 2.0
"""Seconds on top of the database's own time limit before it counts as hanging."""
CLOSE_WITHIN: Final = 1.0


class _GivenUp(DatabaseAway):
    """The database does not answer. Its connection is closed when the thread that waits for it has ended."""


class Database:
    """One connection that may come and go. `open` makes it; `where` is how messages call the database."""

    def __init__(self, open: Callable[[], Connection], where: str, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._open, self._where, self._limits = open, where, limits
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    async def connect(self, prepare: Callable[[Connection], None] = lambda connection: None) -> None:
        """Have a connection, `prepare`d. Idempotent. Raises what can go wrong, and has no connection then."""
        async with self._turn:
            if self._connection is not None:
                return
            opened: list[Connection] = []
            limit = self._limits.connect + self._limits.statement + GRACE

            def work() -> Connection:
                connection = self._open()
                opened.append(connection)
                try:
                    prepare(connection)
                except BaseException:
                    connection.close()
                    raise
                return connection

            self._connection = await self._within(limit, work, lambda: opened[0] if opened else None)

    async def call(self, work: Callable[[Connection], Answer], *, statements: int = 1) -> Answer:
        """What the work returns or raises, within the time of so many statements. Raises `DatabaseAway` where there is no connection."""
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise DatabaseAway(f"not connected to {self._where}")
            limit = self._limits.statement * statements + GRACE
            try:
                return await self._within(limit, partial(work, connection), lambda: connection)
            except _GivenUp:
                self._connection = None
                raise
            except DatabaseAway:
                self._connection = None
                await _closed(connection)
                raise
            except asyncio.CancelledError:
                self._connection = None
                raise

    async def close(self) -> None:
        """Let go of the connection; a call that is under way is cut off. Idempotent, never hangs. Not while `connect` is under way."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._turn.locked():
            connection.cut()
        async with self._turn:
            await _closed(connection)

    async def _within(
        self, seconds: float, work: Callable[[], Answer], connection: Callable[[], Connection | None]
    ) -> Answer:
        task = asyncio.ensure_future(in_thread(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            _abandon(task, connection)
            raise
        if not done:
            _abandon(task, connection)
            raise _GivenUp(f"no answer from {self._where} within {seconds:g} s")
        return task.result()


def _abandon(task: asyncio.Future[Answer], connection: Callable[[], Connection | None]) -> None:
    """Nobody waits any more: have its thread end, and its connection closed then."""
    if (there := connection()) is not None:
        there.cut()

    def ended(task: asyncio.Future[Answer]) -> None:
        if not task.cancelled():
            task.exception()  # so that it counts as seen
        if (there := connection()) is not None:
            threading.Thread(target=there.close, name="closing-database", daemon=True).start()

    task.add_done_callback(ended)


async def _closed(connection: Connection) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_WITHIN):
            await in_thread(connection.close)
