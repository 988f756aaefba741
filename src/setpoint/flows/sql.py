"""What the SQL components share: which database, how a connection is prepared, values of messages as arguments, and placeholders.

Fields as documented for Benthos: `driver`, `dsn`, `init_files`, `init_statement`; beyond it `connect_timeout` and `timeout`, in which the
database must answer one statement. The drivers are ``postgres`` and ``sqlite``; a flow with another one runs on Benthos.
"""

from __future__ import annotations

import base64
import glob
import math
import re
from collections.abc import Callable
from datetime import date, datetime
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from setpoint.flows.bloblang import Mapping, World
from setpoint.flows.component import Context, Duration, MessageError, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.services.sql import Connection, Database, DatabaseError, Limits, Place

OTHERS: Final = ("mysql", "clickhouse", "mssql", "oracle", "snowflake", "trino", "gocosmos", "spanner", "databricks")
"""Drivers that Benthos documents and that are not here."""
_TOKEN: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\?\??""", re.DOTALL)


def _driver(value: object) -> object:
    if value == "postgresql":
        return "postgres"
    if value in OTHERS:
        raise ValueError(
            f"the driver {value} is not known here; postgres and sqlite are. `engine: benthos` runs this flow"
        )
    return value


def arguments(text: str) -> str:
    """The text itself, if it is a mapping to a list. Raises `ValueError`."""
    Mapping(text)
    return text


Arguments = Annotated[str, AfterValidator(arguments)]
"""A mapping whose result is a list: ``root = [ this.id, meta("umh_topic"), this.value ]``."""


class SqlFields(ComponentFields):
    """Which database, and how to talk to it."""

    driver: Annotated[Literal["postgres", "sqlite"], BeforeValidator(_driver)]
    dsn: str = Field(min_length=1, repr=False)
    init_files: tuple[str, ...] = ()
    init_statement: str = ""
    connect_timeout: Duration = Field(default=10.0, gt=0, le=3600)
    timeout: Duration = Field(default=30.0, gt=0, le=86_400)

    @model_validator(mode="after")
    def _place(self) -> Self:
        try:
            self.place()
        except ValueError as error:
            raise ValueError(f"dsn: {error}") from None  # here, because the fault of one field shows its value
        return self

    def place(self) -> Place:
        """The database."""
        return Place.parse(self.driver, self.dsn)

    def database(self, context: Context) -> Database:
        """A way to it, not connected."""
        limits = Limits(connect=self.connect_timeout, statement=self.timeout)
        place = self.place()
        return Database(place.opener(limits, name=f"setpoint {context.flow}"), str(place), limits)

    def prepare(self, connection: Connection) -> None:
        """What is run on each new connection. Blocks. Raises `DatabaseError`."""
        for pattern in self.init_files:
            for path in sorted(glob.glob(pattern)) or [pattern]:
                try:
                    text = Path(path).read_text()
                except (OSError, UnicodeError) as error:
                    raise DatabaseError(f"init_files: {path} cannot be read: {error}") from error
                connection.script(text)
        if self.init_statement:
            connection.script(self.init_statement)


def binder(text: str, context: Context) -> Callable[[Msg], list[Any]]:
    """The arguments of a message, as a database takes them. Raises `MessageError` for a mapping that gives no list."""
    mapped = Mapping(text).bind(World(context.clock, context.random))

    def bound(msg: Msg) -> list[Any]:
        made = mapped(msg)
        if made is None or not isinstance(made.payload, list):
            got = "nothing" if made is None else type(made.payload).__name__
            raise MessageError(f"args_mapping gives {got}, not a list: begin it with 'root = ['")
        return [value_of(value) for value in made.payload]

    return bound


def value_of(value: Any) -> Any:
    """A value as a driver takes it: what is structured as JSON text, times as ISO 8601 texts."""
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    if isinstance(value, datetime | date | clock_time):
        return value.isoformat()
    return value


def plain(value: Any) -> Any:
    """A value of a database as JSON has it: decimals as numbers where no digit is lost, bytes as base64, not-a-number as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def _number(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and abs(value) < 2**63:
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def key_of(value: Any) -> Any:
    """A value of a cursor column as it is kept and given back to the database; equal values are equal here."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return value if isinstance(value, bool | int | float | str | bytes) else str(value)


def numbered(sql: str) -> str:
    """The statement with ``$1``, ``$2`` … in place of question marks, as PostgreSQL has them; ``??`` is a question mark.

    Texts, quoted names and comments are left as they are.
    """
    count = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] == "?":
            count += 1
            return f"${count}"
        return "?" if found[0] == "??" else found[0]

    return _TOKEN.sub(replaced, sql)


def quoted(name: str) -> str:
    """A name as an identifier (SQL-92, 5.2)."""
    return '"' + name.replace('"', '""') + '"'
