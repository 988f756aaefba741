"""What can go wrong with a database, by what follows from it."""

from __future__ import annotations


class DatabaseError(Exception):
    """The database did not do what was asked; says why, without what is secret."""


class DatabaseAway(DatabaseError):
    """It cannot be reached, refuses the login, or the connection broke: connect again."""


class StatementRefused(DatabaseError):
    """It did not take the statement now (a table that is missing, a lock, a full disk, a time limit): nothing was written."""


class ValuesRefused(DatabaseError):
    """It will never take these values (a constraint, a type, a range): nothing was written."""


def one_line(text: str, limit: int = 300) -> str:
    """The text in one line, cut at so many characters."""
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return line if len(line) <= limit else f"{line[:limit]}…"
