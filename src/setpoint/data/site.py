"""The things a walk is made of: where it stands, what it pauses at, what comes of a visit."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Mapping
from typing import Any

import msgspec

from setpoint.data.context import Token
from setpoint.data.result import Result
from setpoint.data.rows import Row, Way


class Pause(msgspec.Struct, frozen=True):
    """A walk that was told to pause stands here: before it enters the token's state, or (`arc` set) before it takes that arc."""

    token: Token
    arc: str = ""


Parted = list[Token]
Outcome = Token | Parted | Result
Steps = Generator[Awaitable[Any] | Pause, Any, Any]


class Arrived(msgspec.Struct, frozen=True):
    """A visit ended in a final state, with this record."""

    record: Any


class Site:
    """One attempt of one visit: where it is, what it works on, and what it has in hand."""

    __slots__ = (
        "arc_attempt", "attempt", "began", "deadline", "entered", "held", "path", "record", "row", "snapshot", "step", "token",
        "version", "way",
    )  # fmt: skip

    def __init__(self, row: Row, token: Token) -> None:
        self.row, self.token = row, token
        self.entered = token.record
        self.path = token.path if token.step or token.arc >= 0 else (*token.path, row.label)
        self.attempt = self.arc_attempt = 1
        self.held: list[tuple[Mapping[str, str], Mapping[str, Any]]] = []  # with what was there before
        self.way: Way | None = None
        self.record: Any = token.record
        self.snapshot: Any = None  # what the record was before the first attempt, in DIRECT mode
        self.step, self.version = 0, -1
        self.began = self.deadline = 0.0
