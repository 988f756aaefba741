"""Statements that write records: inserts and upserts, in the dialect of the database.

SQLAlchemy quotes the names of tables and columns; values are always parameters.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from setpoint.data.resources.provider import ResourceError

OnConflict = Literal["error", "update", "ignore"]

_UPSERTS: Final = {"postgresql": "sqlalchemy.dialects.postgresql", "sqlite": "sqlalchemy.dialects.sqlite"}


def missing_sql(url: object) -> Any:
    """SQLAlchemy. Raises `ResourceError` where it is not installed."""
    try:
        return importlib.import_module("sqlalchemy")
    except ImportError as error:
        raise ResourceError("a database needs SQLAlchemy: pip install 'setpoint[sql]'") from error


def insert_statement(
    dialect: str, *, table: str, columns: Sequence[str], key: Sequence[str] = (), on_conflict: OnConflict = "error"
) -> Any:
    """An INSERT for one record with these columns. Raises `ResourceError` where the dialect has no upsert that is known here."""
    sqlalchemy = importlib.import_module("sqlalchemy")
    schema, _, name = table.rpartition(".")
    target = sqlalchemy.table(name, *(sqlalchemy.column(column) for column in columns), schema=schema or None)
    values = {column: sqlalchemy.bindparam(column) for column in columns}
    if on_conflict == "error":
        return sqlalchemy.insert(target).values(values)
    if dialect not in _UPSERTS:
        raise ResourceError(
            f"no upsert is known for {dialect}; known: {', '.join(_UPSERTS)}. Write the statement yourself"
        )
    if on_conflict == "update" and not key:
        raise ValueError(f"an upsert into {table} needs a key: the columns of a unique constraint")
    made = importlib.import_module(_UPSERTS[dialect]).insert(target).values(values)
    rest = {column: made.excluded[column] for column in columns if column not in key}
    if on_conflict == "update" and rest:
        return made.on_conflict_do_update(index_elements=list(key), set_=rest)
    return made.on_conflict_do_nothing(index_elements=list(key) or None)


def in_chunks(
    records: Mapping[str, Any] | Sequence[Mapping[str, Any]], key: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    """The records, those in a row that have the same columns together. Raises `ValueError` for records without columns, or without key."""
    rows = [records] if isinstance(records, Mapping) else records
    for columns, chunk in itertools.groupby(rows, key=tuple):
        made = list(chunk)
        if not columns:
            raise ValueError("a record without fields cannot be inserted")
        for record in made:
            if without := [column for column in key if record.get(column) is None]:
                raise ValueError(f"a record has no value for its key column {', '.join(without)}")
        yield columns, made
