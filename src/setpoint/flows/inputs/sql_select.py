"""`sql_select`: reads the rows of a table, once or again and again; each row is a message, an object with its columns.

Fields as documented for Benthos (`setpoint.flows.sql` has those of the connection): `table`, `columns` (``["*"]`` for all), `where` with
a question mark for each value of `args_mapping`, which may only have literals; `prefix` and `suffix`, which stand before SELECT and at the
end. Beyond Benthos:

`interval`   read again so long after the last reading began. Without it the input ends after one.
`cursor`     read only what is new, page by page: rows whose `column` (one, or several that together grow) is above the last value that was
             read. How far the flow has delivered is kept in `file`, so that after a restart, also after ``kill -9``, nothing is lost; what
             was delivered and not kept comes again (at least once). `start` is where to begin where nothing was kept yet. Rows with a null
             there are not read (`setpoint.flows.sql_position` has the rest).

Without a `cursor` each reading gives all rows, through a cursor of the database's own, so that a table of any size needs no memory; a
connection that breaks in the middle has it begin anew.

Values are as JSON has them: times as ISO 8601 texts, decimals as numbers where no digit is lost, else as texts, bytes as base64.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from setpoint.flows.bloblang import Mapping
from setpoint.flows.component import ConnectError, Context, Duration, Msg, one_or_many
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.sql import SqlFields, arguments, binder, key_of, numbered, plain, quoted
from setpoint.flows.sql_position import Position, PositionError
from setpoint.services.blocking import in_thread
from setpoint.services.sql import Connection, DatabaseError, Result, Row

PAGE: Final = 500
"""Rows in a batch."""
Page = tuple[list[dict[str, Any]], Position | None]
"""Rows as messages, and the position after them."""


def _literal(text: str) -> str:
    if unread := Mapping(arguments(text)).reads:
        raise ValueError(f"there is no message yet whose {' and '.join(sorted(unread))} the mapping could read")
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | int | float) else value


class Cursor(ComponentFields):
    """By what new rows are known, and where it is kept how far was read."""

    column: Annotated[tuple[str, ...], BeforeValidator(one_or_many), Field(min_length=1)]
    file: str = Field(min_length=1)
    start: Annotated[tuple[int | float | str, ...], BeforeValidator(_listed)] = ()


class SqlSelect:
    """Reads rows."""

    class Fields(SqlFields):
        table: str = Field(min_length=1)
        columns: tuple[str, ...] = Field(min_length=1)
        where: str = ""
        args_mapping: Annotated[str, AfterValidator(_literal)] = ""
        prefix: str = ""
        suffix: str = ""
        interval: Duration = Field(default=0.0, ge=0)
        cursor: Cursor | None = None

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields, self._now, self._failed = fields, context.now, context.failed
        self._database = fields.database(context)
        self._values = binder(fields.args_mapping, context)(Msg(None, {})) if fields.args_mapping else []
        self._query = select_statement(fields)
        self._position: Position | None = None
        self._out: deque[Position | None] = deque()
        self._result: Result | None = None
        self._fetching: asyncio.Task[Page | None] | None = None
        self._began = 0.0
        self._due: float | None = 0.0  # when the next reading begins; None while one is under way
        self._ended = False

    async def connect(self) -> None:
        """See `Input.connect`."""
        try:
            await self._database.connect(self._fields.prepare)
            cursor = self._fields.cursor
            if cursor is not None and self._position is None:
                fresh = Position(self._fields.table, cursor.column, cursor.start)
                self._position = await in_thread(partial(fresh.resumed, Path(cursor.file)))
        except (DatabaseError, PositionError) as error:
            await self._database.close()
            raise ConnectError(str(error)) from error

    async def read(self) -> list[Msg] | None:
        """The next rows; waits for the interval. A call that is cancelled leaves its rows to the next one."""
        while not self._ended:
            if self._fetching is None:
                await self._beat()
                self._fetching = asyncio.create_task(self._fetch())
            try:
                page = await asyncio.shield(self._fetching)
            except DatabaseError as error:
                self._fetching = None
                raise ConnectError(str(error)) from error
            except PositionError as error:
                raise RuntimeError(str(error)) from error
            self._fetching = None
            if page is not None:
                rows, self._position = page
                self._out.append(self._position)
                return [Msg(row, {}) for row in rows]
            self._ended = not self._fields.interval
        return None

    async def acknowledge(self) -> None:
        """The oldest batch was delivered: that far the position is kept. Where it cannot be, the rows may come again."""
        position, cursor = self._out.popleft(), self._fields.cursor
        if position is not None and cursor is not None:
            try:
                await in_thread(partial(position.save, Path(cursor.file)))
            except PositionError as error:
                self._failed(str(error))

    async def close(self) -> None:
        """See `Input.close`."""
        fetching, self._fetching, self._result = self._fetching, None, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait({fetching})
            if not fetching.cancelled():
                fetching.exception()  # it counts as seen
        await self._database.close()

    async def _beat(self) -> None:
        """Waits until the next reading is due; one that is under way goes on at once."""
        if self._due is None:
            return
        if (left := self._due - self._now()) > 0:
            await asyncio.sleep(left)
        self._began, self._due = self._now(), None

    async def _fetch(self) -> Page | None:
        """The next page, and when to ask for the one after it; None where there is none for now."""
        page, more = await self._database.call(self._next_new if self._fields.cursor else self._next_of_all)
        if not more:
            self._due = self._began + self._fields.interval
        return page

    def _next_of_all(self, connection: Connection) -> tuple[Page | None, bool]:
        """A page of the reading that is under way. Blocks."""
        if self._result is None:
            self._result = connection.query(self._query, self._values)
        rows = self._result.fetch(PAGE)
        if not rows:
            self._result.close()
            self._result = None
            return None, False
        return (_records(self._result.columns, rows), None), True

    def _next_new(self, connection: Connection) -> tuple[Page | None, bool]:
        """A page of rows that were not read yet. Blocks."""
        position = self._position
        assert position is not None, "read or made when connecting"
        limit = PAGE + len(position.seen)
        query = cursor_statement(self._fields, self._query, position, limit, before=len(self._values))
        result = connection.query(query, [*self._values, *position.after])
        try:
            raw = result.fetch(limit)
        finally:
            result.close()
        rows, keys = _records(result.columns, raw), _keys(result, position.columns, raw)
        fresh = position.unread(rows, keys)
        if not fresh:
            return None, False
        rows, keys = [rows[number] for number in fresh], [keys[number] for number in fresh]
        return (rows, position.moved(rows, keys)), len(raw) == limit


def select_statement(fields: SqlSelect.Fields) -> str:
    """The SELECT, with the placeholders of its driver."""
    words = [fields.prefix, "SELECT", ", ".join(fields.columns), "FROM", fields.table]
    words += [f"WHERE {fields.where}" if fields.where else "", fields.suffix]
    text = " ".join(filter(None, words))
    return numbered(text) if fields.driver == "postgres" and fields.args_mapping else text


def cursor_statement(fields: SqlSelect.Fields, query: str, position: Position, limit: int, *, before: int) -> str:
    """The SELECT, from a position on, in the order of its columns. `before` is how many placeholders the query has."""
    names = [quoted(name) for name in position.columns]
    conditions = [f"{name} IS NOT NULL" for name in names]
    if position.after:
        marks = [f"${before + n + 1}" if fields.driver == "postgres" else "?" for n in range(len(position.after))]
        few = names[: len(marks)]
        conditions.append(f"({', '.join(few)}) >= ({', '.join(marks)})" if len(few) > 1 else f"{few[0]} >= {marks[0]}")
    order = ", ".join(names)
    return f"SELECT * FROM ({query}\n) AS selected WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT {limit}"


def _records(columns: Sequence[str], rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [dict(zip(columns, map(plain, row), strict=True)) for row in rows]


def _keys(result: Result, names: Sequence[str], rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    places = [result.columns.index(name) for name in names]
    return [tuple(key_of(row[place]) for place in places) for row in rows]
