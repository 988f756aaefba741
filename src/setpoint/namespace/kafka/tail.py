"""The newest messages of a Kafka log, kept in memory for the groups that read along at its end.

Many groups read the same log, and nearly all of them are at its end. One consumer follows it for all of them, and what it brings is kept
here up to a bound in bytes. Offsets may have gaps, which compaction and transactions leave; a stretch says from where to where it reaches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from setpoint.namespace.broker import Message
from setpoint.namespace.records import size_of

TAIL_BYTES: Final = 8 * 1024 * 1024
SCAN: Final = 10_000
"""Most messages that one look goes through: bounds how long the event loop is kept."""
_offset = attrgetter("offset")


class _Stretch(NamedTuple):
    """All messages there are from `start` to before `end`."""

    start: int
    end: int
    messages: Sequence[Message]
    size: int


class KafkaTail:
    """The messages from `first` to before `end`."""

    def __init__(self, end: int) -> None:
        self.first = self.end = end
        self._stretches: deque[_Stretch] = deque()
        self._size = 0

    def add(self, messages: Sequence[Message]) -> None:
        """Takes in the messages that come next, and lets go of the oldest where it gets too much."""
        stretch = _Stretch(self.end, messages[-1].offset + 1, messages, size_of(messages))
        self._stretches.append(stretch)
        self.end = stretch.end
        self._size += stretch.size
        while self._size > TAIL_BYTES and len(self._stretches) > 1:
            self._size -= self._stretches.popleft().size
        self.first = self._stretches[0].start

    def read(self, position: int) -> tuple[list[Message], int]:
        """Messages from `position`, which must not be before `first`, and where to go on. Empty at the end."""
        found: list[Message] = []
        for stretch in self._from(position):
            messages = stretch.messages
            found += messages if position <= stretch.start else messages[bisect_left(messages, position, key=_offset) :]
            position = stretch.end
            if len(found) >= SCAN:
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
