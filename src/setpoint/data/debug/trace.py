"""Traces: all that happened to records, written down as data.

A `Trace` is a listener. It copies what it hears of, so that an entry shows the record as it was then, whatever became of it. Where the
functions of a state (exit) or of an arc (arc) may have changed the record, the entry has it as it was before, too. Only the last entries
are kept, `limit` of them; `dropped` says how many had to go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from setpoint.data.context import Event, Kind, Token
from setpoint.data.debug.moments import plain
from setpoint.data.result import StepError

CHANGING: Final = frozenset({Kind.EXIT, Kind.ARC})
HOLDING: Final = frozenset({Kind.ACQUIRED, Kind.RELEASED})
"""Events of resources, which bring no record."""
RUNS: Final = 1000
"""So many runs that have begun and not ended are remembered: one that was broken off never ends."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. `at` is in seconds since its run began; `path`, the states the record had been in; the rest is as in `Event`."""

    at: float
    kind: Kind
    run: str
    network: str = ""
    state: str = ""
    arc: str = ""
    target: str = ""
    attempt: int = 1
    seconds: float = 0.0
    resources: tuple[str, ...] = ()
    error: StepError | None = None
    path: tuple[str, ...] = ()
    before: Any = None
    after: Any = None

    def data(self) -> dict[str, Any]:
        """The entry as plain data, as JSON has it; the text of what JSON cannot say."""
        decoded: dict[str, Any] = msgspec.json.decode(self.json())
        return decoded

    def json(self) -> bytes:
        """The entry as one line of JSON."""
        try:
            return msgspec.json.encode(self, enc_hook=str)
        except Exception:  # keys that are no text, values that hold themselves
            said = msgspec.structs.replace(self, before=_said(self.before), after=_said(self.after))
            return msgspec.json.encode(said)


class Trace:
    """What happened, entry by entry, in the order in which it was heard."""

    def __init__(self, limit: int = 10_000) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit}: at least one entry must be kept")
        self._entries: deque[Entry] = deque(maxlen=limit)
        self.dropped = 0
        self._runs: dict[
            str, tuple[float, Token | None, Any]
        ] = {}  # when it began, where it was last, the record there

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Those that are kept."""
        return tuple(self._entries)

    def lines(self) -> Iterator[str]:
        """The entries as JSON Lines, one object each, without those fields that are empty."""
        for entry in tuple(self._entries):
            yield entry.json().decode()

    def __call__(self, event: Event) -> None:
        began, token, before = self._runs.pop(event.run, (event.at, None, None))
        after = before if event.kind in HOLDING else _still(event.record)
        if event.kind is not Kind.END:
            self._runs[event.run] = (began, event.token, after)
            if len(self._runs) > RUNS:
                del self._runs[next(iter(self._runs))]
        if event.kind not in CHANGING:
            before = None
        elif token is not event.token and event.token is not None:
            before = _still(event.token.record)
        self.dropped += len(self._entries) == self._entries.maxlen
        self._entries.append(
            Entry(
                event.at - began, event.kind, event.run, event.network, event.state, event.arc, event.target, event.attempt,
                event.seconds, event.resources, event.error and _bare(event.error), event.token.path if event.token else (), before, after,
            )
        )  # fmt: skip


def _still(record: Any) -> Any:
    """The record as it is now."""
    try:
        return plain(record)
    except Exception:
        return _said(record)


def _said(record: Any) -> Any:
    """The record as text."""
    try:
        return None if record is None else repr(record)
    except Exception as error:
        return f"it could not be written as text: {type(error).__name__}"


def _bare(error: StepError) -> StepError:
    """The error and its cause, without exception objects, and without those that came earlier: they have entries of their own."""
    return msgspec.structs.replace(error, exception=None, earlier=None, cause=error.cause and _bare(error.cause))
