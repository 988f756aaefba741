"""Databases, spoken to directly by their drivers: PostgreSQL (psycopg, ``pip install 'setpoint[sql]'``) and SQLite (Python's own).

    Place          which database: a driver and a DSN, checked; never shown with what is secret in it
    Connection     one connection, for one thread at a time: statements, transactions, results page by page
    Database       the same for an event loop: one call at a time in a thread of its own, with a time limit

What can go wrong has three names, because what follows differs: `DatabaseAway` (connect again), `StatementRefused` (try again later, on the
same connection) and `ValuesRefused` (these values can never be written, others can).

Values are given to PostgreSQL as text of no type, so that the column decides what they are: a number may go into a text column, a text such
as ``2026-01-01`` into a date. What does not fit is then always a fault of the value. Lists and mappings are written as JSON text.
"""

from setpoint.services.sql.database import Database
from setpoint.services.sql.faults import DatabaseAway, DatabaseError, StatementRefused, ValuesRefused
from setpoint.services.sql.interface import Connection, Limits, Result, Row
from setpoint.services.sql.place import Place

__all__ = [
    "Connection",
    "Database",
    "DatabaseAway",
    "DatabaseError",
    "Limits",
    "Place",
    "Result",
    "Row",
    "StatementRefused",
    "ValuesRefused",
]
