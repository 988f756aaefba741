"""`sql_insert` and `sql_raw`: write messages to a table, or by any statement, in one transaction a batch.

Fields as documented for Benthos (`setpoint.flows.sql` has those of the connection): `table`, `columns`, `args_mapping`, whose list has a
value for each column; `prefix`, `suffix` and `options`, which stand before INSERT, at its end, and before INTO; for `sql_raw` a `query`
with ``$1`` (postgres) or ``?`` (sqlite) in the places of values. Beyond Benthos `on_conflict: {columns: [id], do: update}` says what makes
a row the same one, and what becomes of it: the others of its columns are `update`d, or `nothing` happens.

**All or nothing, at least once.** A batch is one transaction; it is acknowledged when that is committed. A batch whose commit nobody heard
of is written again: with `on_conflict` (or a `suffix` to that effect) it leaves what one writing leaves, else rows may be there twice.

**A row that can never be written** (a constraint, a type, a range) is found by trying halves of its batch within one transaction, which is
undone; it is set aside with the database's reason, and the rest is written. What may be otherwise later (a table that is missing, a lock,
a full disk) is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field

from setpoint.flows.component import ConnectError, Context, MessageError, Msg, Rejected, WriteError, serialized
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.sql import Arguments, SqlFields, binder
from setpoint.services.sql import Connection, DatabaseAway, DatabaseError, ValuesRefused

STATEMENTS: int = 10
"""How many times the time limit of a statement a batch may take."""


class Ready(NamedTuple):
    """The values of one row, and the bytes of the payload they come from."""

    values: list[Any]
    size: int


class OnConflict(ComponentFields):
    """What makes two rows the same, and what is done with the second."""

    columns: tuple[str, ...] = Field(min_length=1)
    do: Literal["update", "nothing"] = "update"


class Writing:
    """Runs one statement for each message."""

    def __init__(
        self, fields: SqlFields, context: Context, *, statement: str, arguments: str, count: int | None
    ) -> None:
        self._fields, self._statement, self._count = fields, statement, count
        self._bind = binder(arguments, context)
        self._database = fields.database(context)

    async def connect(self) -> None:
        """See `Output.connect`."""
        try:
            await self._database.connect(self._fields.prepare)
        except DatabaseError as error:
            raise ConnectError(str(error)) from error

    def prepare(self, msg: Msg) -> Ready:
        """The values of its row. Raises `MessageError`."""
        values = self._bind(msg)
        if self._count is not None and len(values) != self._count:
            raise MessageError(f"args_mapping gives {len(values)} values for {self._count} columns")
        return Ready(values, len(serialized(msg.payload)))

    async def write(self, batch: Sequence[Ready]) -> int:
        """See `Output.write`."""
        rows = [ready.values for ready in batch]
        try:
            reasons = await self._database.call(partial(_written, self._statement, rows), statements=STATEMENTS)
        except DatabaseAway as error:
            raise ConnectError(str(error)) from error
        except DatabaseError as error:
            raise WriteError(str(error)) from error
        if reasons:
            raise Rejected(reasons)
        return sum(ready.size for ready in batch)

    async def close(self) -> None:
        """See `Output.close`."""
        await self._database.close()


class SqlInsert(Writing):
    """Inserts a row for each message."""

    class Fields(SqlFields):
        table: str = Field(min_length=1)
        columns: tuple[str, ...] = Field(min_length=1)
        args_mapping: Arguments
        prefix: str = ""
        suffix: str = ""
        options: tuple[str, ...] = ()
        on_conflict: OnConflict | None = None

    def __init__(self, fields: Fields, context: Context) -> None:
        count = len(fields.columns)
        super().__init__(
            fields, context, statement=insert_statement(fields), arguments=fields.args_mapping, count=count
        )


class SqlRaw(Writing):
    """Runs a statement for each message."""

    class Fields(SqlFields):
        query: str = Field(min_length=1)
        args_mapping: Arguments = "root = []"
        unsafe_dynamic_query: Literal[False] = False

    def __init__(self, fields: Fields, context: Context) -> None:
        super().__init__(fields, context, statement=fields.query, arguments=fields.args_mapping, count=None)


def insert_statement(fields: SqlInsert.Fields) -> str:
    """The INSERT of one row. Table and columns are written as they are given, as in Benthos."""
    places = [f"${n + 1}" if fields.driver == "postgres" else "?" for n in range(len(fields.columns))]
    words = [fields.prefix, "INSERT", *fields.options, "INTO", fields.table]
    words += [f"({', '.join(fields.columns)})", f"VALUES ({', '.join(places)})", _conflict(fields), fields.suffix]
    return " ".join(filter(None, words))


def _conflict(fields: SqlInsert.Fields) -> str:
    wanted = fields.on_conflict
    if wanted is None:
        return ""
    others = [column for column in fields.columns if column not in wanted.columns]
    clause = f"ON CONFLICT ({', '.join(wanted.columns)}) DO "
    if wanted.do == "nothing" or not others:
        return clause + "NOTHING"
    return clause + "UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in others)


class _Undone(Exception):
    """Ends a transaction that was only a trial."""


def _written(statement: str, rows: Sequence[Sequence[Any]], connection: Connection) -> dict[int, str]:
    """Writes the rows in one transaction; nothing, and the reasons by place, where some can never be written. Blocks."""
    try:
        with connection.transaction():
            connection.many(statement, rows)
    except ValuesRefused as error:
        if reasons := _culprits(connection, statement, rows):
            return reasons
        raise DatabaseError(f"{error}; none of its rows is refused by itself") from error
    return {}


def _culprits(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> dict[int, str]:
    """The rows that are refused, with the reasons. What others left in the transaction counts, and all is undone in the end."""
    reasons: dict[int, str] = {}

    def attempt(first: int, last: int) -> None:
        try:
            with connection.transaction():
                connection.many(statement, rows[first:last])
        except ValuesRefused as error:
            if last - first == 1:
                reasons[first] = str(error)
                return
            middle = (first + last) // 2
            attempt(first, middle)
            attempt(middle, last)

    try:
        with connection.transaction():
            if connection.dialect == "postgres":
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else they would speak up at the commit, of no row
            attempt(0, len(rows))
            raise _Undone
    except _Undone:
        return reasons
