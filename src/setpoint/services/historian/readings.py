"""What is to be written together: values and documents by their keys, and what cannot be written."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Place(NamedTuple):
    """A topic, taken apart."""

    topic: str
    location: str
    contract: str
    path: str
    name: str


class Rejected(NamedTuple):
    """A message that cannot be kept, and why. `time_ms` is when the namespace got it."""

    time_ms: int
    topic: str
    reason: str
    payload: bytes


class Readings(msgspec.Struct):
    """One batch; of values with the same topic and time (ms since 1970) the last one counts."""

    places: dict[str, Place] = {}
    numbers: dict[tuple[str, int], float] = {}
    texts: dict[tuple[str, int], str] = {}
    documents: dict[tuple[str, int, int], str] = {}
    """By topic, time and place in the log; JSON."""
    rejected: list[Rejected] = []

    @property
    def rows(self) -> int:
        """How many rows it makes."""
        return len(self.numbers) + len(self.texts) + len(self.documents)
