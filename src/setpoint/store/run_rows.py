"""Rows of the run store, and every change that can be made to them, as a statement that is still to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

Status = Literal["running", "waiting", "interrupted", "done", "failed", "stopped"]
"""`interrupted` is a run that nobody carries and that does not wait; `stopped` one that was ended on request."""
Statement = tuple[str, Sequence[Any]]
PARTS: Final = ("progress", "steps", "results")
"""The tables that have rows of a run."""


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is kept. Times are seconds since the epoch; `wake` is when time may let it go on.

    `about` says what it was started with.
    """

    id: str
    kind: str
    machine: str
    version: str = ""
    hash: str = ""
    owner: str = ""
    status: Status = "running"
    state: str = ""
    started: float = 0.0
    updated: float = 0.0
    ended: float | None = None
    seconds: float = 0.0
    wake: float | None = None
    waits: str = ""
    error: str = ""
    counts: str = ""
    about: Mapping[str, Any] = {}


class StepRow(msgspec.Struct, frozen=True):
    """One thing that happened to a run of one record; `record` is what it was then, as bytes, where that is kept."""

    run: str
    number: int
    at: float
    kind: str
    state: str
    arc: str = ""
    target: str = ""
    attempt: int = 1
    seconds: float = 0.0
    error: str = ""
    record: bytes | None = None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs: those of a machine, a kind, a status, started in a span of time, whose `about` has these values; the newest first."""

    machine: str = ""
    kind: str = ""
    status: Status | Literal["", "unfinished"] = ""
    since: float | None = None
    until: float | None = None
    about: Mapping[str, str] = {}
    limit: int = 100
    offset: int = 0


COLUMNS: Final = RunRow.__struct_fields__
STEP_COLUMNS: Final = StepRow.__struct_fields__
ALL: Final = ", ".join(COLUMNS)

# what can be written


def created(run: RunRow, progress: bytes) -> list[Statement]:
    """A run begins."""
    values = [getattr(run, name) for name in COLUMNS[:-1]]
    marks = ", ".join("?" * len(COLUMNS))
    return [
        (f"INSERT INTO runs ({ALL}) VALUES ({marks})", (*values, _json(run.about))),
        kept(run.id, progress),
    ]


def kept(run: str, progress: bytes) -> Statement:
    """A run has come so far."""
    return "INSERT OR REPLACE INTO progress VALUES (?, ?)", (run, progress)


def changed(run: str, **fields: Any) -> Statement:
    """Columns of a run, by name."""
    names = ", ".join(f"{name} = ?" for name in fields)
    return f"UPDATE runs SET {names} WHERE id = ?", (*fields.values(), run)


def released(run: str, owner: str, **fields: Any) -> Statement:
    """The owner lets go of a run, if it still has it; columns of it, by name."""
    names = ", ".join(f"{name} = ?" for name in ("owner", *fields))
    return f"UPDATE runs SET {names} WHERE id = ? AND owner = ?", ("", *fields.values(), run, owner)


def stepped(step: StepRow) -> Statement:
    """One more step of a run."""
    marks = ", ".join("?" * len(STEP_COLUMNS))
    return f"INSERT OR REPLACE INTO steps VALUES ({marks})", msgspec.structs.astuple(step)


def came(run: str, first: int, data: bytes) -> Statement:
    """What came of a lot of records of a batch or a stream, the first of which has this number."""
    return "INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (run, first, data)


def ended(run: str, *, again: bool, **fields: Any) -> list[Statement]:
    """A run has come to its end. Where it was is kept only if it may be tried `again` from there."""
    end = changed(run, owner="", wake=None, waits="", **fields)
    return [end] if again else [end, ("DELETE FROM progress WHERE run = ?", (run,))]


def forgotten(run: str) -> list[Statement]:
    """Everything about a run goes."""
    return [
        *((f"DELETE FROM {part} WHERE run = ?", (run,)) for part in PARTS),
        ("DELETE FROM runs WHERE id = ?", (run,)),
    ]


def defined(hash: str, name: str, text: str) -> Statement:
    """A machine is kept under its hash."""
    return "INSERT OR IGNORE INTO definitions VALUES (?, ?, ?)", (hash, name, text)


def storable(text: str) -> str:
    """The text as a database can hold it: half a character, which Python makes of file names that are no UTF-8, as an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
