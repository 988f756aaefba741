"""The three data modes: what a state works on, and what is left of it when the state fails.

    COPY        a deep copy. A state that fails leaves the record as it came in; nobody else's object is ever touched.
    REFERENCE   the caller's own object, changed in one go. A state works on a `Draft`, which copies what it reaches into; when the record
                leaves the state its changes are put into the object, unless another walk changed it meanwhile: `Conflict`. A state that
                fails puts nothing.
    DIRECT      the object itself. No copies, and a state that fails leaves what it did.

Drafts exist for dicts and lists. Any other record is copied in REFERENCE mode, and its copy goes on.

Walks find each other by the identity of the object, in a table that holds an object for as long as some walk has it in hand.
"""

from __future__ import annotations

import copy
import threading
from contextlib import suppress
from typing import Any, Final

from setpoint.data.draft import DraftDict, DraftList

ATOMIC: Final = frozenset({int, float, str, bool, type(None), bytes, complex, frozenset})


def deep_copy(record: Any) -> Any:
    """A copy that shares nothing changeable with the record. What `copy.deepcopy` gives, faster for dicts and lists of plain values."""
    kind = record.__class__
    if kind is dict:
        for value in record.values():
            if value.__class__ not in ATOMIC:
                return _nested(record, {})
        return record.copy()
    if kind in ATOMIC and kind is not frozenset:
        return record
    return _nested(record, {})


def _nested(value: Any, memo: dict[int, Any]) -> Any:
    kind = value.__class__
    if kind is dict or kind is list:
        known = memo.get(id(value))
        if known is not None:
            return known
        made: Any = value.copy()
        memo[id(value)] = made
        for key, item in made.items() if kind is dict else enumerate(made):
            if item.__class__ not in ATOMIC:
                made[key] = _nested(item, memo)
        return made
    return value if kind in ATOMIC and kind is not frozenset else copy.deepcopy(value, memo)


def restore(record: Any, before: Any) -> Any:
    """Gives a record its former content back and returns it; `before` itself where the object cannot be refilled."""
    if type(record) is dict and type(before) is dict:
        record.clear()
        record.update(before)
        return record
    if type(record) is list and type(before) is list:
        record[:] = before
        return record
    return before


class Conflict(Exception):
    """Another walk changed the shared record after this state had begun: retry the state, or give each run its own record."""


class _Shared:
    """An object that walks have in hand: how many, and how often it was changed."""

    __slots__ = ("record", "version", "walks")

    def __init__(self, record: Any) -> None:
        self.record, self.version, self.walks = record, 0, 0


class Versions:
    """How often each shared object was changed since the first of the runs that have it in hand took it."""

    def __init__(self) -> None:
        self._shared: dict[int, _Shared] = {}
        self._lock = threading.Lock()

    def take(self, record: Any) -> None:
        """Keep count of the record's changes until `leave`."""
        with self._lock:
            self._shared.setdefault(id(record), _Shared(record)).walks += 1

    def leave(self, record: Any) -> None:
        """This run is done with it."""
        with self._lock, suppress(KeyError):
            shared = self._shared[id(record)]
            shared.walks -= 1
            if not shared.walks:
                del self._shared[id(record)]

    def of(self, record: Any) -> int:
        """How often it was changed so far. Raises `KeyError` for a record that no run has in hand."""
        return self._shared[id(record)].version

    def commit(self, record: Any, content: Any, version: int) -> None:
        """Give the record that content, as one change. Raises `Conflict` where it is no longer of that version."""
        with self._lock:
            shared = self._shared[id(record)]
            if shared.version != version:
                times = shared.version - version
                raise Conflict(
                    f"another walk changed the record since this state began ({times} times); retry the state"
                )
            shared.version += 1
            restore(record, content)


VERSIONS: Final = Versions()


def draft(record: Any) -> Any:
    """What a state works on in REFERENCE mode."""
    if type(record) is dict:
        return DraftDict(record)
    if type(record) is list:
        return DraftList(record)
    return deep_copy(record)
