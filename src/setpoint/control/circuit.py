"""The circuit of one worker: whether its own code may run.

It opens after several faults within a window, or at once when the worker could not even be made. An open circuit is visible and never
final: it is tried half-open for ever, ever more slowly, and closes with the first evaluation that succeeds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from setpoint.control.limits import Limits


@dataclass(slots=True)
class Circuit:
    """`reason` says why it is open and is empty while it is closed. `retry_at` is when a half-open try is due."""

    reason: str = ""
    retry_at: float = float("-inf")
    failures: int = 0  # in a row
    recent: list[float] = field(default_factory=list)  # times of the faults within the window

    @property
    def open(self) -> bool:
        return bool(self.reason)

    def fault(self, now: float, text: str, limits: Limits, jitter: random.Random, *, at_once: bool = False) -> float:
        """Count a fault; returns when the next try is due. `at_once`: one is enough to open."""
        self.failures += 1
        self.recent = [when for when in self.recent if now - when < limits.fault_window] + [now]
        if self.reason or at_once or len(self.recent) >= limits.faults:
            self.reason = text
        self.retry_at = now + limits.backoff(self.failures, jitter)
        return self.retry_at

    def try_now(self, now: float) -> None:
        """What is asked of the worker has changed: one try, whatever the pause."""
        self.retry_at = min(self.retry_at, now)

    def close(self) -> None:
        """An evaluation succeeded."""
        if self.failures or self.reason:
            self.reason, self.failures = "", 0
