"""The newest messages, kept in memory for those who read as fast as others write.

Most groups are at the end of the log nearly always. What they want was in memory a moment ago, and the tail keeps it
there, up to a bound in bytes, so that they need no disk and no unpacking. Messages get their offsets when somebody
first reads them here, and then for all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from setpoint.namespace import records
from setpoint.namespace.broker import Message
from setpoint.namespace.records import Batch

TAIL_BYTES: Final = 4 * 1024 * 1024
_SCAN: Final = 10_000
"""Most messages that one look goes through: bounds how long the event loop is kept."""


class _Stretch:
    """Some messages in a row; `messages` as published until `resolved` once."""

    __slots__ = ("end", "first", "messages", "resolved", "size", "stamp")

    def __init__(self, messages: Sequence[Message], first: int, stamp: int, size: int) -> None:
        self.messages, self.first, self.stamp, self.size = messages, first, stamp, size
        self.end = first + len(messages)
        self.resolved = False

    def read(self) -> Sequence[Message]:
        if not self.resolved:
            self.messages = records.stamped(self.messages, first=self.first, stamp=self.stamp)
            self.resolved = True
        return self.messages


class Tail:
    """The messages from `first` to before `end`, without a gap."""

    def __init__(self, end: int) -> None:
        self.first = self.end = end
        self._stretches: deque[_Stretch] = deque()
        self._size = 0

    def add(self, batches: Sequence[Batch], *, first: int, stamp: int) -> None:
        """Takes in what was written from offset `first` on, and lets go of the oldest where it gets too much."""
        if (
            first != self.end
        ):  # after a fault that turned out to be none: there are messages in between that we never saw
            self._stretches.clear()
            self._size = 0
        self.end = first
        for batch in batches:
            self._stretches.append(_Stretch(batch.messages, self.end, stamp, batch.size))
            self.end += len(batch.messages)
            self._size += batch.size
        while self._size > TAIL_BYTES:
            self._size -= self._stretches.popleft().size
        self.first = self._stretches[0].first if self._stretches else self.end

    def read(self, position: int) -> tuple[Sequence[Message], int]:
        """Messages from `position`, which must not be before `first`, and where to go on. Empty at the end."""
        found: list[Message] = []
        for stretch in self._from(position):
            messages = stretch.read()
            found += messages[max(0, position - stretch.first) :]
            position = stretch.end
            if len(found) >= _SCAN:
                break
        return found, position

    def _from(self, position: int) -> list[_Stretch]:
        """The stretches that end after `position`, oldest first: looked for from the new end, where readers are."""
        wanted: list[_Stretch] = []
        for stretch in reversed(self._stretches):
            if stretch.end <= position:
                break
            wanted.append(stretch)
        wanted.reverse()
        return wanted
