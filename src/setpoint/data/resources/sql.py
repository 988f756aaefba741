"""SQL databases, by SQLAlchemy Core: any database it has a dialect for; SQLite and PostgreSQL are tested. Needs the extra
``setpoint[sql]``.

A handle is a `Database` (or, with await, an `AsyncDatabase`): statements as text or as SQLAlchemy constructs, rows as dicts, inserts and
upserts of records. Outside a transaction each statement is for good when it returns. A transaction is begun by the runtime (see
`setpoint.data.resources.holds`) or, with ``transactions: manual``, by `Database.begin`.

SQLite begins transactions with BEGIN IMMEDIATE: one that begins by reading could otherwise fail when it comes to write, without having
waited. A database in memory exists once for each connection, so its pool has one handle that is never ended for its age.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from setpoint.data.resources.provider import ResourceError, TransactionError
from setpoint.data.resources.statements import OnConflict, in_chunks, insert_statement, missing_sql

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Record = Mapping[str, Any]


class Database:
    """A connection to a database, in the hands of one run. `connection` is SQLAlchemy's own, for what is not here.

    All of it raises what SQLAlchemy raises (`sqlalchemy.exc.SQLAlchemyError`), which is an error of the state.
    """

    def __init__(self, connection: Connection, isolation: str = "") -> None:
        self.connection = connection
        self._isolation = isolation
        self.transaction: Any = None
        if not _is_sqlite(connection):
            connection.execution_options(isolation_level="AUTOCOMMIT")

    def execute(self, statement: Any, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement, text or a construct; ``:name`` in a text is a parameter. A list of parameter sets runs it for each."""
        return self.connection.execute(_statement(statement), parameters)

    def rows(self, statement: Any, parameters: Record | None = None) -> list[dict[str, Any]]:
        """All rows of a query."""
        return [dict(row) for row in self.execute(statement, parameters).mappings()]

    def row(self, statement: Any, parameters: Record | None = None) -> dict[str, Any] | None:
        """The first row of a query; None where there is none."""
        row = self.execute(statement, parameters).mappings().first()
        return None if row is None else dict(row)

    def value(self, statement: Any, parameters: Record | None = None) -> Any:
        """The first column of the first row; None where there is none."""
        return self.execute(statement, parameters).scalar()

    def insert(
        self,
        table: str,
        records: Record | Sequence[Record],
        *,
        key: Sequence[str] = (),
        on_conflict: OnConflict = "error",
    ) -> int:
        """Insert records; the number of rows that the database says were written.

        A record whose `key` is in the table already updates that row, is ignored, or is an error. Raises `ValueError` for a key with None
        in it, which would never be found again.
        """
        written = 0
        for columns, chunk in in_chunks(records, key):
            made = insert_statement(
                self.connection.dialect.name, table=table, columns=columns, key=key, on_conflict=on_conflict
            )
            done = self.connection.execute(made, chunk, execution_options={"preserve_rowcount": True})
            written += _count(done, chunk)
        return written

    def upsert(self, table: str, records: Record | Sequence[Record], *, key: Sequence[str]) -> int:
        """Insert records, or update the rows that have their key."""
        return self.insert(table, records, key=key, on_conflict="update")

    @contextlib.contextmanager
    def begin(self) -> Iterator[Database]:
        """A transaction: committed at the end of the block, rolled back when the block raises. For ``transactions: manual``."""
        if self.transaction is not None:
            raise TransactionError("a transaction is under way already; use `savepoint` for a part of it")
        self.start()
        try:
            yield self
        except BaseException:
            self.stop(commit=False)
            raise
        self.stop(commit=True)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[Database]:
        """A part of a transaction: undone alone when the block raises."""
        if self.transaction is None:
            raise TransactionError(
                "a savepoint is part of a transaction, and there is none; set `transactions` or use `begin`"
            )
        with self.connection.begin_nested():
            yield self

    def start(self) -> None:
        """Begin a transaction that `stop` ends."""
        self.connection.rollback()  # ends what SQLAlchemy calls a transaction where each statement commits itself
        if _is_sqlite(self.connection):
            self.transaction = self.connection.begin()
            self.connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            level = self._isolation or self.connection.default_isolation_level
            self.connection.execution_options(isolation_level=level)
            self.transaction = self.connection.begin()

    def stop(self, *, commit: bool) -> None:
        """End the transaction. Raises `TransactionError` where it is to be committed but has ended already."""
        transaction, self.transaction = self.transaction, None
        if transaction is None:
            return
        if commit and not transaction.is_active:
            raise TransactionError("it had ended before; a function has committed it or rolled it back itself")
        try:
            if commit:
                transaction.commit()
            elif transaction.is_active:
                transaction.rollback()
        finally:
            self.connection.rollback()
            if not _is_sqlite(self.connection) and not self.connection.invalidated:
                self.connection.execution_options(isolation_level="AUTOCOMMIT")


class SqlDatabase:
    """Gives `Database` handles for a SQLAlchemy URL."""

    def __init__(self, url: str, *, isolation_level: str = "", timeout: float = 30.0, echo: bool = False) -> None:
        self.url = _url(url, asynchronous=False)
        self._isolation, self._timeout, self._echo = isolation_level, timeout, echo
        self._engine: Engine | None = None

    def open(self) -> None:
        sqlalchemy = missing_sql(self.url)
        self._engine = sqlalchemy.create_engine(self.url, **_options(self.url, self._timeout, self._echo))
        _plain_sqlite(sqlalchemy, self._engine)

    def acquire(self) -> Database:
        assert self._engine is not None, "opened before"
        return Database(self._engine.connect(), self._isolation)

    def check(self, handle: Database) -> bool:
        handle.connection.rollback()
        handle.value("SELECT 1")
        handle.connection.rollback()
        return True

    def release(self, handle: Database) -> None:
        handle.connection.close()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def begin(self, handle: Database) -> None:
        handle.start()

    def commit(self, handle: Database) -> None:
        handle.stop(commit=True)

    def rollback(self, handle: Database) -> None:
        handle.stop(commit=False)

    def savepoint(self, handle: Database) -> Any:
        return handle.connection.begin_nested()

    def keep(self, handle: Database, mark: Any) -> None:
        _must_be_active(mark)
        mark.commit()

    def undo(self, handle: Database, mark: Any) -> None:
        if mark.is_active:
            mark.rollback()
        else:
            _must_be_active(handle.transaction)

    def pending(self, handle: Database) -> bool:
        return handle.transaction is not None


class AsyncDatabase:
    """`Database` for async functions: the same methods, awaited. `connection` is an SQLAlchemy `AsyncConnection`."""

    def __init__(self, connection: AsyncConnection, isolation: str = "") -> None:
        self.connection = connection
        self.sync: Database
        self._isolation = isolation

    async def prepare(self) -> AsyncDatabase:
        """Called once, in the event loop of the connection."""
        self.sync = await self.connection.run_sync(lambda connection: Database(connection, self._isolation))
        return self

    async def execute(self, statement: Any, parameters: Any = None) -> CursorResult[Any]:
        """See `Database.execute`."""
        answer: CursorResult[Any] = await self._run("execute", statement, parameters)
        return answer

    async def rows(self, statement: Any, parameters: Record | None = None) -> list[dict[str, Any]]:
        """See `Database.rows`."""
        answer: list[dict[str, Any]] = await self._run("rows", statement, parameters)
        return answer

    async def row(self, statement: Any, parameters: Record | None = None) -> dict[str, Any] | None:
        """See `Database.row`."""
        answer: dict[str, Any] | None = await self._run("row", statement, parameters)
        return answer

    async def value(self, statement: Any, parameters: Record | None = None) -> Any:
        """See `Database.value`."""
        return await self._run("value", statement, parameters)

    async def insert(
        self,
        table: str,
        records: Record | Sequence[Record],
        *,
        key: Sequence[str] = (),
        on_conflict: OnConflict = "error",
    ) -> int:
        """See `Database.insert`."""
        answer: int = await self._run("insert", table, records, key=key, on_conflict=on_conflict)
        return answer

    async def upsert(self, table: str, records: Record | Sequence[Record], *, key: Sequence[str]) -> int:
        """See `Database.upsert`."""
        answer: int = await self._run("upsert", table, records, key=key)
        return answer

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncDatabase]:
        """See `Database.begin`."""
        if self.sync.transaction is not None:
            raise TransactionError("a transaction is under way already; use `savepoint` for a part of it")
        await self._run("start")
        try:
            yield self
        except BaseException:
            await self._run("stop", commit=False)
            raise
        await self._run("stop", commit=True)

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncIterator[AsyncDatabase]:
        """See `Database.savepoint`."""
        if self.sync.transaction is None:
            raise TransactionError(
                "a savepoint is part of a transaction, and there is none; set `transactions` or use `begin`"
            )
        async with self.connection.begin_nested():
            yield self

    async def _run(self, method: str, *arguments: Any, **options: Any) -> Any:
        call = getattr(self.sync, method)
        return await self.connection.run_sync(lambda _: call(*arguments, **options))


class AsyncSqlDatabase:
    """Gives `AsyncDatabase` handles for a SQLAlchemy URL."""

    def __init__(self, url: str, *, isolation_level: str = "", timeout: float = 30.0, echo: bool = False) -> None:
        self.url = _url(url, asynchronous=True)
        self._sync = SqlDatabase(url)
        self._isolation, self._timeout, self._echo = isolation_level, timeout, echo
        self._engine: AsyncEngine | None = None

    async def open(self) -> None:
        sqlalchemy = missing_sql(self.url)
        from sqlalchemy.ext.asyncio import create_async_engine

        self._engine = create_async_engine(self.url, **_options(self.url, self._timeout, self._echo))
        _plain_sqlite(sqlalchemy, self._engine.sync_engine)

    async def acquire(self) -> AsyncDatabase:
        assert self._engine is not None, "opened before"
        connection = await self._engine.connect()
        return await AsyncDatabase(connection, self._isolation).prepare()

    async def check(self, handle: AsyncDatabase) -> bool:
        await self._with(handle, self._sync.check)
        return True

    async def release(self, handle: AsyncDatabase) -> None:
        await handle.connection.close()

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()

    def abandon(self, handle: AsyncDatabase) -> None:
        """Close the driver's connection without its event loop: psycopg by its libpq connection, aiosqlite by its thread."""
        driver: Any = handle.sync.connection.connection.driver_connection
        handle.sync.connection.detach()  # from SQLAlchemy's pool, which would try to end it as well
        libpq = getattr(driver, "pgconn", None)
        end = getattr(libpq, "finish", None) or getattr(driver, "stop", None)
        if end is not None:
            end()

    async def begin(self, handle: AsyncDatabase) -> None:
        await self._with(handle, self._sync.begin)

    async def commit(self, handle: AsyncDatabase) -> None:
        await self._with(handle, self._sync.commit)

    async def rollback(self, handle: AsyncDatabase) -> None:
        await self._with(handle, self._sync.rollback)

    async def savepoint(self, handle: AsyncDatabase) -> Any:
        return await self._with(handle, self._sync.savepoint)

    async def keep(self, handle: AsyncDatabase, mark: Any) -> None:
        await handle.connection.run_sync(lambda _: self._sync.keep(handle.sync, mark))

    async def undo(self, handle: AsyncDatabase, mark: Any) -> None:
        await handle.connection.run_sync(lambda _: self._sync.undo(handle.sync, mark))

    def pending(self, handle: AsyncDatabase) -> bool:
        return self._sync.pending(handle.sync)

    @staticmethod
    async def _with(handle: AsyncDatabase, method: Any) -> Any:
        return await handle.connection.run_sync(lambda _: method(handle.sync))


def in_memory(url: str) -> bool:
    """Whether this is a SQLite database that lives in its connection."""
    rest = url.partition("://")[2]
    return url.startswith("sqlite") and (rest in ("", "/") or ":memory:" in rest)


def _url(text: str, *, asynchronous: bool) -> URL:
    sqlalchemy = missing_sql(text)
    try:
        url: URL = sqlalchemy.make_url(text)
    except sqlalchemy.exc.ArgumentError:
        raise ResourceError(
            "the url of a database is no SQLAlchemy URL; write, for example, postgresql://user:password@host/name"
        ) from None
    drivers = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
    drivers["sqlite"] = "sqlite+aiosqlite" if asynchronous else "sqlite+pysqlite"
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def _options(url: Any, timeout: float, echo: bool) -> dict[str, Any]:
    """NullPool: the connections are kept by our own pool."""
    from sqlalchemy.pool import NullPool

    options: dict[str, Any] = {"poolclass": NullPool, "echo": echo}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": timeout, "check_same_thread": False}
    elif url.get_driver_name() == "psycopg":
        options["connect_args"] = {"connect_timeout": max(2, int(timeout))}
    return options


def _plain_sqlite(sqlalchemy: Any, engine: Any) -> None:
    """SQLite's Python driver begins transactions by itself, at odd moments; this leaves it to us."""
    if engine.dialect.name != "sqlite":
        return

    def plain(connection: Any, _: object) -> None:
        connection.isolation_level = None

    sqlalchemy.event.listen(engine, "connect", plain)


def _is_sqlite(connection: Connection) -> bool:
    return bool(connection.dialect.name == "sqlite")


def _statement(statement: Any) -> Any:
    if not isinstance(statement, str):
        return statement
    from sqlalchemy import text

    return text(statement)


def _count(result: Any, chunk: Sequence[Record]) -> int:
    return int(result.rowcount) if result.rowcount >= 0 else len(chunk)


def _must_be_active(transaction: Any) -> None:
    if transaction is None or not transaction.is_active:
        raise TransactionError("the transaction has ended; a function has committed it or rolled it back itself")
