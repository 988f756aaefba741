"""SQL databases, by SQLAlchemy URL (``pip install setpoint[sql]``). The table may stand behind a #, and settings behind the table:
``sqlite:///shop.db#orders``, ``sqlite:///shop.db#orders?key=updated_at,id``, ``postgresql://host/shop#orders?mode=upsert``.

In:  rows in the order of a key, page by page, each page asking for keys above the last one (keyset paging): no page is slower than the
     first, and rows that come meanwhile shift nothing. The position is the last key. The key must be unique and never null; a row that
     breaks this ends the stream with an error, since rows would be passed over in silence.
Out: rows into a table, inserted or upserted by its key. A chunk and its mark (table ``setpoint_streams``) are one transaction, so each
     record is there exactly once, whatever happens. A row that the database refuses (a constraint, a type) is refused alone, by a
     savepoint. The mark stays when the stream is done: resuming later loads what has come since.
     With ``mode="replace"`` the whole stream is one transaction, which begins by deleting all rows: others see the old rows until it is
     done, and where it breaks off they stay. It cannot go on in the middle, so resuming begins it anew.

Lists and mappings go into columns that are not JSON as JSON text.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from setpoint.data.stream.parts import Chunk, Mark, Position, Refused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

MARKS: Final = "setpoint_streams"
MODES: Final = ("insert", "upsert", "replace")
_TAGGED: Final[Mapping[str, Callable[[str], Any]]] = {
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
}


class SqlSource:
    """Reads the rows of a table, a view or a query as mappings, in the order of `key` (default: the table's primary key).

    With a key that grows when a row changes (``key=["updated_at", "id"]``) a resume gives what is new and what has changed. Raises
    `ValueError` where it is not said what to read or by which key.
    """

    def __init__(self, url: str, *, table: str = "", query: str = "", key: str | Sequence[str] = ()) -> None:
        url, named = _named(url, {"key"})
        table, key = table or named.get("table", ""), key or named.get("key", "").split(",")
        if bool(table) == bool(query):
            raise ValueError(f"{_shown(url)}: say which table, or give a query (one of them)")
        self._engine = engine_of(url)
        self.name = table or "query"
        self._from, self._key = self._chosen(table, query, _columns(key))
        self._after: list[Any] | None = None
        self._checked = False

    def read(self, limit: int) -> Chunk | None:
        """The rows with the next keys. Raises the database's errors; `ValueError` for a key that is null or not unique."""
        import sqlalchemy as sa

        columns: list[sa.ColumnElement[Any]] = [sa.literal_column(name) for name in self._quoted]
        statement = sa.select(sa.text("*")).select_from(self._from).order_by(*columns).limit(limit + 1)
        if self._after is not None:
            after = [sa.literal(value) for value in self._after]
            above = columns[0] > after[0] if len(columns) == 1 else sa.tuple_(*columns) > sa.tuple_(*after)
            statement = statement.where(above)
        with self._engine.connect() as connection:
            self._no_nulls(connection)
            rows = [dict(row) for row in connection.execute(statement).mappings()]
        if not rows:
            return None
        keys = [[row[name] for name in self._key] for row in rows]
        if len(rows) > limit and keys[limit] == keys[limit - 1]:
            raise ValueError(
                f"{self.name}: several rows have {', '.join(self._key)} = {keys[limit]}: the key must be unique"
            )
        del rows[limit:], keys[limit:]
        self._after = keys[-1]
        places = [key[0] if len(key) == 1 else key for key in keys]
        return Chunk(rows, {"after": [_tagged(value) for value in keys[-1]], "key": list(map(str, self._key))}, places)

    def seek(self, position: Position) -> None:
        """Go on above that key. Raises `ValueError` where it is not the key that is read by now."""
        if position.get("key", self._key) != self._key:
            before, now = ", ".join(position["key"]), ", ".join(self._key)
            raise ValueError(f"{self.name}: the load to go on from was read by {before}, this one by {now}: begin anew")
        self._after = [_untagged(value) for value in position["after"]]

    def acknowledge(self, position: Position) -> None:
        """Rows stay."""

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    def _chosen(self, table: str, query: str, key: list[str]) -> tuple[Any, list[str]]:
        import sqlalchemy as sa

        if query:
            if not key:
                raise ValueError("a query is read by a key: say which of its columns (key=…)")
            chosen: Any = sa.text(f"({query.strip().rstrip(';')}) AS records")
        else:
            chosen = _table(self._engine, table)
            key = key or [column.name for column in chosen.primary_key]
            if not key:
                raise ValueError(f"table {table} has no primary key: say by which unique column to read it (key=…)")
            missing = [name for name in key if name not in chosen.c]
            if missing:
                raise ValueError(
                    f"table {table} has no column {', '.join(missing)}; it has {', '.join(chosen.c.keys())}"
                )
        self._quoted = [self._engine.dialect.identifier_preparer.quote(name) for name in key]
        return chosen, key

    def _no_nulls(self, connection: Connection) -> None:
        import sqlalchemy as sa

        if self._checked:
            return
        nulls = sa.or_(*(sa.literal_column(name).is_(None) for name in self._quoted))
        if connection.execute(sa.select(sa.literal(1)).select_from(self._from).where(nulls).limit(1)).first():
            raise ValueError(f"{self.name}: some rows have no {' or '.join(self._key)}; they would be passed over")
        self._checked = True


class SqlSink:
    """Writes mappings as rows of a table that is there. `mode`: insert, upsert by `key` (default: the primary key), or replace.

    `stream` names the mark (default: the table's name); two streams into one table need two names. Raises `ValueError`.
    """

    keeps_mark = True

    def __init__(
        self,
        url: str,
        *,
        table: str = "",
        mode: Literal["insert", "upsert", "replace"] | None = None,
        key: str | Sequence[str] = (),
        stream: str = "",
    ) -> None:
        url, named = _named(url, {"mode", "key", "stream"})
        table, key = table or named.get("table", ""), key or named.get("key", "").split(",")
        chosen = mode or named.get("mode", "insert")
        if chosen not in MODES:
            raise ValueError(f"mode {chosen!r} is unknown; there are {', '.join(MODES)}")
        if not table:
            raise ValueError(f"{_shown(url)}: say into which table")
        self._engine = engine_of(url)
        self._table = _table(self._engine, table)
        self.name = self._table.name
        self._stream = stream or named.get("stream", "") or self.name
        self._key = _columns(key) or [column.name for column in self._table.primary_key]
        if chosen == "upsert" and not self._key:
            raise ValueError(f"table {self.name} has no primary key: say by which columns to upsert (key=…)")
        self._upserts, self._replaces = chosen == "upsert", chosen == "replace"
        self._mark: Mark | None = None
        self._connection: Connection | None = None
        self._marks = _marks()

    def open(self, resume: bool) -> Mark | None:
        """Begin. To resume: the mark that was committed with the last rows. Raises the database's errors."""
        import sqlalchemy as sa

        self._marks.create(self._engine, checkfirst=True)
        self._connection = self._engine.connect()
        mine = self._marks.c.name == self._stream
        if not resume or self._replaces:
            self._connection.execute(sa.delete(self._marks).where(mine))
            if self._replaces:
                self._connection.execute(sa.delete(self._table))
            else:
                self._connection.commit()
            return None
        kept = self._connection.execute(sa.select(self._marks.c.mark).where(mine)).scalar()
        self._connection.commit()
        self._mark = None if kept is None else msgspec.json.decode(kept, type=Mark)
        return self._mark

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Insert or upsert, in a transaction that `commit` ends. Raises where the database cannot be reached."""
        refused: list[Refused] = []
        rows: list[tuple[int, dict[str, Any]]] = []
        for number, record in enumerate(records):
            fault = self._misfit(record)
            if fault:
                refused.append(Refused(number, fault))
            else:
                rows.append((number, {field: self._value(field, value) for field, value in record.items()}))
        for columns, group in groupby(rows, key=lambda row: tuple(sorted(row[1]))):
            refused += self._put(list(group), columns)
        return refused

    def commit(self, mark: Mark) -> None:
        """The rows and the mark, in one transaction; to replace a table, only at the end. Raises the database's errors."""
        import sqlalchemy as sa

        self._mark = mark
        connection = self._open()
        if self._replaces:
            return
        values = {"mark": msgspec.json.encode(mark).decode()}
        changed = connection.execute(sa.update(self._marks).where(self._marks.c.name == self._stream).values(values))
        if not changed.rowcount:
            connection.execute(sa.insert(self._marks).values(name=self._stream, **values))
        connection.commit()

    def finish(self) -> None:
        """All is there; the mark stays, for what comes later. Raises the database's errors."""
        if self._replaces:
            self._open().commit()
        elif self._mark is not None and not self._mark.done:
            self.commit(msgspec.structs.replace(self._mark, done=True))
        self.abort()

    def abort(self) -> None:
        """Roll back what was not committed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    def _put(self, rows: list[tuple[int, dict[str, Any]]], columns: tuple[str, ...]) -> Iterator[Refused]:
        """The rows together; where the database refuses them, one by one."""
        from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, StatementError

        faults = (DataError, IntegrityError, ProgrammingError)
        connection, statement = self._open(), self._statement(columns)
        try:
            with connection.begin_nested():
                connection.execute(statement, [row for _, row in rows])
            return
        except StatementError as error:
            if type(error) is not StatementError and not isinstance(error, faults):
                raise
        for number, row in rows:
            try:
                with connection.begin_nested():
                    connection.execute(statement, [row])
            except StatementError as error:
                if type(error) is not StatementError and not isinstance(error, faults):
                    raise
                yield Refused(number, f"refused by the database: {str(error.orig or error).splitlines()[0]}")

    def _statement(self, columns: tuple[str, ...]) -> Any:
        import sqlalchemy as sa

        if not self._upserts:
            return sa.insert(self._table)
        name = self._engine.dialect.name
        changed = [column for column in columns if column not in self._key]
        if name in ("sqlite", "postgresql"):
            from sqlalchemy.dialects import postgresql, sqlite

            insert: Any = (sqlite if name == "sqlite" else postgresql).insert(self._table)
            if not changed:
                return insert.on_conflict_do_nothing(index_elements=self._key)
            return insert.on_conflict_do_update(
                index_elements=self._key, set_={column: insert.excluded[column] for column in changed}
            )
        if name in ("mysql", "mariadb"):
            from sqlalchemy.dialects import mysql

            replace = mysql.insert(self._table)
            same = changed or self._key
            return replace.on_duplicate_key_update({column: replace.inserted[column] for column in same})
        raise ValueError(f"upsert is not known for {name}; use mode='insert'")

    def _misfit(self, record: Any) -> str:
        if not isinstance(record, Mapping):
            return f"is {type(record).__name__}, not a mapping: it has no columns"
        strange = [str(field) for field in record if field not in self._table.c]
        if strange:
            return f"table {self.name} has no column {', '.join(strange)}"
        missing = [name for name in self._key if name not in record] if self._upserts else []
        return f"has no {', '.join(missing)}, the key of table {self.name}" if missing else ""

    def _value(self, field: str, value: Any) -> Any:
        import sqlalchemy as sa

        if isinstance(value, list | dict) and not isinstance(self._table.c[field].type, sa.JSON | sa.ARRAY):
            return msgspec.json.encode(value).decode()
        return value

    def _open(self) -> Connection:
        if self._connection is None:
            raise ValueError(f"table {self.name} is not open for writing")
        return self._connection


def engine_of(url: str) -> Engine:
    """The engine of a URL. SQLite begins its transactions itself, so that savepoints are inside of them. Raises `ValueError`."""
    try:
        import sqlalchemy as sa
    except ImportError:
        raise ValueError("streams from and to SQL need SQLAlchemy: pip install 'setpoint[sql]'") from None
    made = sa.make_url(url)
    if made.drivername in ("postgres", "postgresql"):  # the driver that setpoint[sql] brings
        made = made.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(made)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _manual)
        sa.event.listen(engine, "begin", _begin)
    return engine


def _manual(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _table(engine: Engine, name: str) -> Table:
    import sqlalchemy as sa

    schema, _, short = name.rpartition(".")
    try:
        return sa.Table(short, sa.MetaData(), schema=schema or None, autoload_with=engine)
    except sa.exc.NoSuchTableError:
        raise ValueError(f"there is no table {name} in {_shown(str(engine.url))}") from None


def _marks() -> Table:
    import sqlalchemy as sa

    return sa.Table(
        MARKS,
        sa.MetaData(),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("mark", sa.Text, nullable=False),
    )


def _named(url: str, known: Collection[str]) -> tuple[str, Mapping[str, str]]:
    """The URL of the database, and what stands behind the #: the table and its settings. Raises `ValueError` for others than are known."""
    url, _, behind = url.partition("#")
    table, _, settings = behind.partition("?")
    given = dict(parse_qsl(settings, keep_blank_values=True, strict_parsing=bool(settings)))
    for name in given:
        if name not in known:
            raise ValueError(
                f"{_shown(url)}#{table}: there is no setting {name!r}; there are {', '.join(sorted(known))}"
            )
    return url, {"table": table, **given}


def _columns(key: str | Sequence[str]) -> list[str]:
    return [name for name in ([key] if isinstance(key, str) else key) if name]


def _shown(url: str) -> str:
    """The URL without what may be secret in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _tagged(value: Any) -> Any:
    """A key's value as JSON data."""
    kind = type(value).__name__
    if kind not in _TAGGED:
        return value
    return {kind: value.isoformat() if hasattr(value, "isoformat") else str(value)}


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    return _TAGGED[kind](text)
