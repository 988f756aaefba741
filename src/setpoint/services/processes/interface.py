"""What a backend can do: the one interface that workers use, whatever supervises the processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal, Protocol

from setpoint.services.processes.logs import LogCursor, LogLine
from setpoint.services.processes.spec import ProcessSpec
from setpoint.services.processes.status import ExitRecord, ProcessStatus


class ProcessBackend(Protocol):
    """Keeps processes running, beyond the life of the agent. For the event loop's thread.

    What is not async returns at once (some 10 µs); what is async does its work in a thread. A method that changes something may be called
    again, and then does nothing. Methods raise `ProcessError`, with a text that says what to do.
    """

    kind: Literal["s6", "builtin"]
    directory: Path

    async def create(self, name: str, spec: ProcessSpec) -> bool:
        """Have a process of this spec, down unless it is up; whether anything had to be done.

        One of another spec is stopped, replaced, and started again if it was wanted up. Its log and its exits are kept.
        """
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a process of this name."""
        ...

    def names(self) -> list[str]:
        """All processes, in alphabetical order."""
        ...

    def spec(self, name: str) -> ProcessSpec | None:
        """What was asked of a process; None where there is none, or its folder is damaged."""
        ...

    async def start(self, name: str) -> None:
        """Want it up. Returns once its supervisor has been told; `status` tells when it is."""
        ...

    async def stop(self, name: str) -> None:
        """Want it down, without waiting for it."""
        ...

    async def restart(self, name: str) -> None:
        """Stop it and start it again, without waiting for either. Once told, it happens even if the agent ends."""
        ...

    async def remove(self, name: str) -> None:
        """Stop it and forget all about it. Returns when nothing of it is left."""
        ...

    def status(self, name: str) -> ProcessStatus:
        """One look at a process. Never raises; what is wrong is its `fault`."""
        ...

    def statuses(self) -> dict[str, ProcessStatus]:
        """One look at all of them."""
        ...

    async def wait(self, name: str, until: Callable[[ProcessStatus], bool], *, timeout_s: float) -> ProcessStatus:
        """The first status for which `until` says yes. Raises `TimeoutError`."""
        ...

    def listen(self, name: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call this, in the loop, whenever the status of a process may have changed, within milliseconds. Returns what ends it."""
        ...

    async def logs(self, name: str, *, lines: int = 100) -> list[LogLine]:
        """The last lines of its output, oldest first."""
        ...

    def cursor(self, name: str, *, from_start: bool = False) -> LogCursor:
        """A place in its log, to read what is new from time to time. Reading blocks, for microseconds where there is little."""
        ...

    def follow(self, name: str, *, interval_s: float = 0.2) -> AsyncIterator[LogLine]:
        """Its output from now on, across rotation, as it comes."""
        ...

    async def history(self, name: str) -> list[ExitRecord]:
        """How its last hundred runs ended, oldest first."""
        ...

    async def close(self, *, leave_running: bool = False) -> list[str]:
        """Stop everything and end; the names of those that had to be killed with what they left behind.

        `leave_running` only lets go: another agent may adopt what runs. When none does within the grace period, it is stopped.
        """
        ...
