"""A time of day that a test moves."""

from __future__ import annotations


class Clock:
    """The time of day, as the test says."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now
