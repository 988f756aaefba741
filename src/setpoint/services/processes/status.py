"""What is known of one process, as plain data."""

from __future__ import annotations

import signal
from typing import Literal

import msgspec

ProcessState = Literal["missing", "down", "up", "ending", "unknown"]
"""`missing`: nobody created it. `ending`: it has ended, what it leaves behind is being cleared away. `unknown`: `fault` says why."""


class ExitRecord(msgspec.Struct, frozen=True):
    """How a run of a process ended: by itself with a code, or by a signal. `at` in seconds since 1970."""

    at: float
    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        return exit_text(self.code, self.signal)


class ProcessStatus(msgspec.Struct, frozen=True):
    """One look at a process.

    `since` is when its state last changed, `ready_since` when it became ready, in seconds since 1970 as the wall clock had it then;
    `uptime_s` is measured by the kernel, and a clock that is set changes nothing about it. `exit_code` or `exit_signal` is how its
    previous run ended; neither when there was none. `fault` says what keeps it from being looked at or supervised.
    """

    name: str
    state: ProcessState
    want: Literal["up", "down"] = "down"
    pid: int | None = None
    since: float | None = None
    ready: bool = False
    ready_since: float | None = None
    uptime_s: float | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    fault: str = ""

    @property
    def up(self) -> bool:
        """Whether its program runs."""
        return self.state == "up"

    def __str__(self) -> str:
        if self.fault:
            return f"{self.state}: {self.fault}"
        if self.state == "up":
            return f"up (pid {self.pid}), {'ready' if self.ready else 'not ready yet'}"
        ended = exit_text(self.exit_code, self.exit_signal)
        return f"{self.state}{f', {ended}' if ended else ''}{', to be started again' if self.want == 'up' else ''}"


def exit_text(code: int | None, number: int | None) -> str:
    """How a run ended, for people; nothing when there was none."""
    if number is not None:
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            return f"killed by signal {number}"
    if code is None:
        return ""
    known = {126: " (its program cannot be executed)", 127: " (its program was not found)"}
    return f"exited with code {code}{known.get(code, '')}"
