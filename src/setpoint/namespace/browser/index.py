"""The index: all topics in memory, each with its last values, within bounds.

One `Entry` a topic holds the payloads as they were written, and equal texts in headers are one text for all. Topics are kept in the order
in which they were last written to, so that when there are more than `Limits.topics`, or their payloads take more than `HELD_BYTES`, those
idle longest go; `Index.dropped` counts them. Beside them there are two columns, the names in order and their headers, brought up to date
when somebody searches: searching goes through the columns, and a tree is stretches of the names.

The rate of a topic is the number of its messages, each weighing less the longer ago it came (by e every `RATE_WINDOW_S`), divided by what
one message a second would have gathered since the topic is watched. It needs one number and no list of moments.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from struct import Struct
from sys import intern
from typing import Final, NamedTuple

import msgspec

from setpoint.namespace.broker import Message, TopicInfo
from setpoint.namespace.topic import PREFIX

RATE_WINDOW_S: Final = 30.0
HISTORY_BYTES: Final = 16 * 1024
"""Most bytes that the history of one topic takes; the last value is kept whatever its size."""
HELD_BYTES: Final = 128 * 1024 * 1024
"""Most bytes of payloads and headers that all topics take together."""
_HEAD: Final = Struct("<Iq")
"""Of a value in the history: its length, and when it was written."""
_FEW: Final = 200
"""Topics that come and go for which the columns are not made anew."""
_SLICE: Final = 2_000
"""Entries that are made before others get a turn."""


class Limits(NamedTuple):
    """At most so many topics, and so many values of each, the last one included."""

    topics: int = 100_000
    history: int = 10


LIMITS: Final = Limits()


class Entry(msgspec.Struct, gc=False):
    """One topic: the last `payload` and when it was `written` (ms since 1970), and `count` of all its messages.

    `earlier` has the values before, packed, because a number and a text of their own for each would take three times the room. Times
    are those of the clock that the index is given, in seconds. An entry is changed in place: read it, do not keep it.
    """

    topic: str
    headers: dict[str, str]
    payload: bytes
    written: int
    offset: int
    count: int
    size: int
    since: float
    weight: float
    weighed_at: float
    earlier: bytes = b""
    kept: int = 0

    def history(self) -> list[tuple[int, bytes]]:
        """When they were written, and the values: oldest first, the last one included."""
        found, at = [], 0
        while at < len(self.earlier):
            length, written = _HEAD.unpack_from(self.earlier, at)
            at += _HEAD.size + length
            found.append((written, self.earlier[at - length : at]))
        return [*found, (self.written, self.payload)]

    def rate(self, now: float) -> float:
        """Messages a second."""
        gathered = self.weight * math.exp((self.weighed_at - now) / RATE_WINDOW_S)
        watched = max(now - self.since, 1.0)
        return gathered / (RATE_WINDOW_S * -math.expm1(-watched / RATE_WINDOW_S))


class Index:
    """All topics, by name. Belongs to one event loop."""

    def __init__(self, limits: Limits = LIMITS, *, held_bytes: int = HELD_BYTES) -> None:
        self.limits = limits
        self.dropped = 0
        self.size = 0
        self._held_bytes = held_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.get: Callable[[str], Entry | None] = self._entries.get
        """The topic's entry; None when it is not known."""
        self._names: list[str] = []
        self._headers: list[dict[str, str]] = []
        self._added: dict[str, None] = {}
        self._removed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        """All topics in order. The list that is handed out does not change any more."""
        return self.columns()[0]

    def columns(self) -> tuple[list[str], list[dict[str, str]]]:
        """All topics in order, and beside each the headers of its last message."""
        if len(self._added) + len(self._removed) > _FEW:
            kept = [name for name in self._names if name not in self._removed] if self._removed else self._names
            self._names = sorted([*kept, *sorted(self._added)])  # two runs, which are merged
            self._headers = [self._entries[name].headers for name in self._names]
        elif self._added or self._removed:
            self._names, self._headers = self._names.copy(), self._headers.copy()
            for topic in self._removed:
                if (at := bisect_left(self._names, topic)) < len(self._names) and self._names[at] == topic:
                    del self._names[at], self._headers[at]
            for topic in self._added:
                at = bisect_left(self._names, topic)
                self._names.insert(at, topic)
                self._headers.insert(at, self._entries[topic].headers)
        self._added, self._removed = {}, {}
        return self._names, self._headers

    def update(self, messages: Sequence[Message], now: float) -> None:
        """Takes in messages in the order of their offsets. What the index has already, by its offset, changes nothing."""
        entries = self._entries
        for message in messages:
            entry = entries.get(message.topic)
            if entry is None:
                if message.topic.startswith(PREFIX):
                    self._add(message, now)
            elif message.offset > entry.offset:
                self._renew(entry, message, now)
                entries.move_to_end(message.topic)
        self._make_room()

    def _add(self, message: Message | TopicInfo, now: float, count: int = 1, weight: float = 1.0) -> None:
        headers = _interned(message.headers)
        size = len(message.payload) + _size_of(headers)
        topic = intern(message.topic)
        self._entries[topic] = Entry(
            topic, headers, message.payload, message.timestamp_ms, message.offset, count, size, now, weight, now
        )
        self._added[topic] = None
        self.size += size

    def _renew(self, entry: Entry, message: Message, now: float) -> None:
        if entry.weighed_at != now:
            entry.weight *= math.exp((entry.weighed_at - now) / RATE_WINDOW_S)
            entry.weighed_at = now
        entry.weight += 1.0
        entry.offset = message.offset
        entry.count += 1
        self.size -= entry.size
        if message.headers != entry.headers:
            entry.size += _size_of(message.headers) - _size_of(entry.headers)
            entry.headers.clear()  # the mapping stays: it stands in the columns
            entry.headers.update(_interned(message.headers))
        entry.size -= len(entry.payload) + len(entry.earlier)
        entry.earlier, entry.kept = self._earlier(entry)
        entry.payload, entry.written = message.payload, message.timestamp_ms
        entry.size += len(entry.payload) + len(entry.earlier)
        self.size += entry.size

    def _earlier(self, entry: Entry) -> tuple[bytes, int]:
        """The history with what was the last value, less the oldest where it gets too long or too large; and how many there are."""
        packed, kept = entry.earlier + _HEAD.pack(len(entry.payload), entry.written) + entry.payload, entry.kept + 1
        cut = 0
        while kept >= self.limits.history or (len(packed) - cut > HISTORY_BYTES and kept):
            cut += _HEAD.size + _HEAD.unpack_from(packed, cut)[0]
            kept -= 1
        return packed[cut:], kept

    def _make_room(self) -> None:
        entries = self._entries
        while len(entries) > self.limits.topics or (self.size > self._held_bytes and len(entries) > 1):
            topic, entry = entries.popitem(last=False)
            self.size -= entry.size
            self.dropped += 1
            if topic in self._added:
                del self._added[topic]
            else:
                self._removed[topic] = None


async def loaded(infos: Sequence[TopicInfo], limits: Limits, now: float) -> Index:
    """An index of what a broker says of its topics, in their order; made a little at a time. Nothing is known of rates yet."""
    index = Index(limits)
    for part in _slices(sorted(infos, key=attrgetter("offset"))):
        for info in part:
            if info.topic.startswith(PREFIX):
                index._add(info, now, info.count, 0.0)
        index._make_room()
        await asyncio.sleep(0)
    for part in _slices(infos):
        here = [entry for info in part if (entry := index.get(info.topic))]
        index._names += [entry.topic for entry in here]
        index._headers += [entry.headers for entry in here]
        await asyncio.sleep(0)
    index._added, index._removed = {}, {}
    return index


def _slices(infos: Sequence[TopicInfo]) -> Iterator[Sequence[TopicInfo]]:
    return (infos[start : start + _SLICE] for start in range(0, len(infos), _SLICE))


def _size_of(headers: dict[str, str]) -> int:
    return sum(map(len, headers)) + sum(map(len, headers.values()))


def _interned(headers: dict[str, str]) -> dict[str, str]:
    """A copy whose texts are shared: a topic, its place and its producer stand in the headers of many messages."""
    return {intern(key): intern(value) for key, value in headers.items()}
