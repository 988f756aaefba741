"""Trouble: how a command ends that could not do what it was asked."""

from __future__ import annotations

FAILED = 1
"""It could not be done: no agent answers, no such worker, a file that cannot be read."""
USAGE = 2
"""The command line itself is wrong."""
NOT_HEALTHY = 3
"""It was done, and something is not as it is wanted."""
IN_USE = 4
"""Another agent has the data directory."""
AT_ONCE = 5
"""It was told to end at once, or did not stop in time; what ran was not waited for."""


class Trouble(Exception):
    """Ends the command: one sentence that says what is wrong, one that says what to do, and the exit code."""

    def __init__(self, error: str, remedy: str = "", *, code: int = FAILED) -> None:
        super().__init__(error)
        self.error, self.remedy, self.code = error, remedy, code
