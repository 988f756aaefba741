"""The process of a Redpanda that this program starts: one node in one directory, kept running by whoever keeps processes.

It outlives an agent that is killed, and is taken over by the next. A digest of its config file is in its environment, so that it is
restarted when that is another, and only then. What is known of it is its status, how its runs ended, and the few lines of its log that
say what is wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from setpoint.services.blocking import in_thread
from setpoint.services.ports import holder, is_free
from setpoint.services.processes import ExitRecord, LogCursor, ProcessBackend, ProcessError, ProcessSpec
from setpoint.services.redpanda.health import STARTED, complaint
from setpoint.services.redpanda.managed import DRAIN_S, Managed

NAME: Final = "redpanda"
"""What the process is called."""
DIGEST: Final = "SETPOINT_REDPANDA"
"""The variable that says which config it runs."""
KEEPS_EXITING: Final = 3
"""So many ends within `LATELY_S` are more than an accident."""
LATELY_S: Final = 60.0
"""How long a line of the log that says that something is wrong, and an end of the process, count."""
SAID_FOR_S: Final = 10.0
"""How long it is said that the process has ended, although it was started again at once."""
_SHOWN: Final = 200

OpenBackend = Callable[[], Awaitable[ProcessBackend]]


class ProcessFacts(msgspec.Struct, frozen=True):
    """One look: whether it runs, and what is wrong with it, for people."""

    up: bool = False
    fault: str = ""


class RedpandaProcess:
    """The node of one directory. For the event loop's thread. Nothing is opened before it is first needed."""

    def __init__(self, managed: Managed, *, open_backend: OpenBackend) -> None:
        self.managed = managed
        self._open_backend = open_backend
        self._backend: ProcessBackend | None = None
        self._opening = asyncio.Lock()
        self._cursor: LogCursor | None = None
        self._complaint, self._complained_at = "", float("-inf")
        self._said = ""
        self._asked_at = float("-inf")
        self._unlisten: Callable[[], None] | None = None

    @property
    def begun(self) -> bool:
        """Whether there may be a process: it was started and not removed, by this agent or one before it."""
        return self.managed.config_file.exists()

    async def start(self, changed: Callable[[], None]) -> None:
        """Have it running as `managed` says. Idempotent; returns without waiting. `changed` is called whenever its status may have changed.

        Raises `ProcessError` where there is no program, a port is taken, or its files cannot be written.
        """
        command = await in_thread(self._command)
        backend = await self._processes()
        if backend.status(NAME).want == "down":
            await in_thread(self._check_ports)
        try:
            await in_thread(self.managed.write)
        except OSError as error:
            raise ProcessError(f"{self.managed.config_file} cannot be written: {error.strerror or error}") from error
        digest = hashlib.sha256(repr(self.managed.config()).encode()).hexdigest()[:16]
        spec = ProcessSpec(command, environment={DIGEST: digest}, stop_timeout_s=DRAIN_S)
        if await backend.create(NAME, spec) or backend.status(NAME).want == "down":
            self._asked_at = time.time()
        await backend.start(NAME)
        if self._unlisten is None:
            self._unlisten = backend.listen(NAME, changed)

    def _command(self) -> tuple[str, ...]:
        try:
            return tuple(self.managed.command())
        except FileNotFoundError as error:
            raise ProcessError(str(error)) from None

    def _check_ports(self) -> None:
        for port, what in self.managed.ports().items():
            if not is_free(port):
                who = holder(port) or "another program"
                raise ProcessError(f"port {port} for {what} is held by {who}; end that, or configure another port")

    async def stop(self) -> None:
        """Want it down. It drains its clients first, for `DRAIN_S` at most; does not wait for that. Idempotent."""
        if self.begun:
            backend = await self._processes()
            if backend.status(NAME).want == "up":
                await backend.stop(NAME)

    async def remove(self) -> None:
        """Stop it and forget the process; its data stays. Idempotent."""
        self._forget()
        if self.begun:
            await (await self._processes()).remove(NAME)
            await in_thread(lambda: self.managed.config_file.unlink(missing_ok=True))

    async def look(self) -> ProcessFacts:
        """How it is. Raises `ProcessError`."""
        if not self.begun:
            return ProcessFacts()
        backend = await self._processes()
        await self._read_log(backend)
        status, now = backend.status(NAME), time.time()
        if status.want == "down":
            return ProcessFacts(status.state in ("up", "ending"))
        wrong = self._complaint if now - self._complained_at < LATELY_S else ""
        since = max(self._asked_at, now - LATELY_S)
        ends = [one for one in await backend.history(NAME) if since < one.at <= now]
        if len(ends) >= KEEPS_EXITING:
            how = f"keeps exiting, {len(ends)} times in {LATELY_S:.0f} s; it {_ended(ends[-1])}"
        elif not status.up:
            how = f"is {status}"
        elif ends and ends[-1].at > now - SAID_FOR_S:
            how = f"{_ended(ends[-1])} and was started again"
        else:
            return ProcessFacts(up=True, fault=wrong)
        words = wrong or self._said
        return ProcessFacts(status.state in ("up", "ending"), f"the process {how}{f': {words}' if words else ''}")

    async def _read_log(self, backend: ProcessBackend) -> None:
        """Takes from the new lines what matters. What was wrong before it had started is over then."""
        cursor = self._cursor = self._cursor or backend.cursor(NAME)
        for line in await in_thread(cursor.read):
            text = line.text.strip()
            self._said = text[:_SHOWN] or self._said
            if STARTED in text:
                self._complaint = ""
            elif wrong := complaint(text):
                self._complaint, self._complained_at = wrong, line.at or time.time()

    def _forget(self) -> None:
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    async def _processes(self) -> ProcessBackend:
        async with self._opening:
            if self._backend is None:
                self._backend = await self._open_backend()
            return self._backend


def _ended(how: ExitRecord) -> str:
    return str(how) if how.signal is None else f"was {how}"
