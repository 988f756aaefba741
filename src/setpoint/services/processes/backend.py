"""A backend: the processes of one directory, under a tree of supervisors of either kind.

Nothing about a process is kept here that cannot be seen on the disk: a new agent opens the directory and knows as much as the one before.
The order of what is done makes it safe to be killed anywhere: an order to the supervisor is one write; a folder appears and goes by one
rename; what was on its way is cleared away at the next opening; and `create` compares what is there with what is asked for.

A status is read in the loop's thread (a file of 35 bytes, a fifo opened to see that somebody listens, a signal 0 to see that the process is
there); changes and everything that walks through folders go through a thread, one at a time for each name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import structlog

from setpoint.services.blocking import in_thread
from setpoint.services.processes import control, formats, leftovers
from setpoint.services.processes.folders import Files, discard
from setpoint.services.processes.logs import LogCursor, LogLine, last_lines
from setpoint.services.processes.look import Looker
from setpoint.services.processes.spec import ProcessError, ProcessSpec, check_name
from setpoint.services.processes.status import ExitRecord, ProcessStatus
from setpoint.services.processes.tree import SLACK_S, Kind, Tree
from setpoint.services.processes.watch import Watch

log = structlog.get_logger(__name__)

SUPERVISED_WITHIN_S: Final = 10.0
RETRY_TREE_S: Final = 1.0
LANES: Final = 2
POLL_S: Final = 0.005
Answer = TypeVar("Answer")


class Backend:
    """See `setpoint.services.processes.interface.ProcessBackend`. Made by `open_backend`."""

    def __init__(self, tree: Tree, *, lock: int, ahead: int, running: Iterable[str]) -> None:
        self.kind: Kind = tree.kind
        self.directory = tree.folders.root
        self._tree = tree
        self._folders = tree.folders
        self._lock = lock
        self._ahead = ahead
        self._look = Looker(tree.folders.scan, ahead)
        self._seen = {*running, *self.names()}
        self._lanes = [asyncio.Lock() for _ in range(LANES)]
        self._turns: dict[str, asyncio.Lock] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._watch = Watch(self._tell)
        self._loop = asyncio.get_running_loop()
        self._head = -1
        self._mending: asyncio.Task[None] | None = None
        self._closed = False
        for name in self.names():
            self._watch_process(name)
        self._watch_head()

    def exists(self, name: str) -> bool:
        return os.path.isdir(self._folders.scan / check_name(name))

    def names(self) -> list[str]:
        try:
            return self._folders.names()
        except OSError as error:
            raise ProcessError(
                f"the processes in {self.directory} cannot be listed: {error.strerror or error}"
            ) from error

    def spec(self, name: str) -> ProcessSpec | None:
        return self._folders.spec(check_name(name))

    def status(self, name: str) -> ProcessStatus:
        if not self._watch.watches(name):
            self._watch_process(name)
        return self._look.at(name)

    def statuses(self) -> dict[str, ProcessStatus]:
        return {name: self.status(name) for name in self.names()}

    async def create(self, name: str, spec: ProcessSpec) -> bool:
        files = self._tree.files(check_name(name), spec)
        async with self._turn(name):
            whole = await self._do(name, "looked at", lambda: self._is_whole(name, files))
            if not whole:
                await self._replace(name, files, self.status(name))
            await self._have_supervisor(name)
            self._seen.add(name)
            self._watch_process(name)
            return not whole

    async def start(self, name: str) -> None:
        await self._order_up(name, "started", b"u")

    async def stop(self, name: str) -> None:
        folder = self._folders.scan / self._known(name)

        def order() -> bool:
            told = control.tell(folder, b"d")
            (folder / "down").touch()
            return told

        async with self._turn(name):
            if not await self._do(name, "stopped", order):  # its supervisor was killed; what it left runs on
                await in_thread(lambda: leftovers.end(self._folders.scan, [name], grace_s=self._stop_s(name)))

    async def restart(self, name: str) -> None:
        await self._order_up(name, "restarted", b"du")

    async def remove(self, name: str) -> None:
        async with self._turn(check_name(name)):
            await self._take_away(name)
            await self._do(name, "forgotten", lambda: self._folders.forget_logs(name))
            self._look.forget(name)
            self._seen.discard(name)

    async def wait(self, name: str, until: Callable[[ProcessStatus], bool], *, timeout_s: float) -> ProcessStatus:
        news = asyncio.Event()
        stop_listening = self.listen(name, news.set)
        try:
            async with asyncio.timeout(timeout_s):
                while not until(status := self.status(name)):
                    with contextlib.suppress(TimeoutError):  # a full disk keeps news away
                        await asyncio.wait_for(news.wait(), 0.25)
                    news.clear()
                return status
        finally:
            stop_listening()

    def listen(self, name: str, call: Callable[[], None]) -> Callable[[], None]:
        calls = self._listeners.setdefault(check_name(name), [])
        calls.append(call)

        def end() -> None:
            with contextlib.suppress(ValueError):
                calls.remove(call)
            if not calls and self._listeners.get(name) is calls:
                del self._listeners[name]

        return end

    async def logs(self, name: str, *, lines: int = 100) -> list[LogLine]:
        folder = self._folders.logs / check_name(name)
        return await in_thread(lambda: last_lines(folder, lines, self._ahead))

    def cursor(self, name: str, *, from_start: bool = False) -> LogCursor:
        return LogCursor(self._folders.logs / check_name(name), self._ahead, from_start=from_start)

    async def follow(self, name: str, *, interval_s: float = 0.2) -> AsyncIterator[LogLine]:
        cursor = self.cursor(name)
        try:
            while True:
                lines = await in_thread(cursor.read)
                for line in lines:
                    yield line
                if not lines:
                    await asyncio.sleep(interval_s)
        finally:
            cursor.close()

    async def history(self, name: str) -> list[ExitRecord]:
        folder = self._folders.scan / check_name(name)
        deaths = formats.unpack_deaths(await in_thread(lambda: self._folders.deaths(folder)), self._ahead)
        return [
            ExitRecord(at_ns / 1e9, signal=number) if number else ExitRecord(at_ns / 1e9, code=code)
            for at_ns, code, number in deaths
        ]

    async def close(self, *, leave_running: bool = False) -> list[str]:
        if self._closed:
            return []
        self._closed = True
        self._unwatch_head()
        if self._mending is not None:
            await asyncio.wait([self._mending])
        self._watch.close()
        try:
            return [] if leave_running else await in_thread(self._tree.end)
        except OSError as error:
            raise ProcessError(
                f"the processes in {self.directory} cannot be ended: {error.strerror or error}"
            ) from error
        finally:
            os.close(self._lock)

    async def _replace(self, name: str, files: Files, before: ProcessStatus) -> None:
        """Put a folder in the place of another, or of none."""
        deaths = await self._take_away(name)
        down = before.want == "down"
        await self._do(name, "created", lambda: self._folders.publish(name, files, down=down, deaths=deaths))

    async def _take_away(self, name: str) -> bytes:
        """Stop a process and take its folder out of the tree; nothing of it runs any more then. Its deaths, as the tally has them."""
        stop_s = self._stop_s(name)
        if control.tell(self._folders.scan / name, b"d"):
            with contextlib.suppress(TimeoutError):  # then harder means
                await self.wait(name, lambda status: status.state not in ("up", "ending"), timeout_s=stop_s + SLACK_S)
        self._watch.drop(name)
        old = await self._do(name, "taken away", lambda: self._folders.retire(name))
        self._tree.rescan()
        deaths = b""
        if old is not None:
            await self._supervisors_end(name, old, stop_s)
            deaths = await self._do(name, "cleared away", lambda: self._clear_away(old))
        elif name in self._seen:  # somebody else deleted its folder
            await in_thread(lambda: leftovers.end(self._folders.scan, [name], grace_s=stop_s))
        self._tell(name)
        return deaths

    def _stop_s(self, name: str) -> float:
        """How long a process has to stop."""
        spec = self._folders.spec(name)
        return spec.stop_timeout_s if spec else ProcessSpec(("true",)).stop_timeout_s

    async def _supervisors_end(self, name: str, old: Path, stop_s: float) -> None:
        """The supervisors of a folder that was taken away let go of it. What has escaped holds the pipe of the logger open."""
        await _eventually(lambda: not control.supervised(old), stop_s + SLACK_S)
        await in_thread(lambda: leftovers.end(self._folders.scan, [name]))
        if not await _eventually(lambda: not (control.supervised(old) or control.supervised(old / "log")), SLACK_S):
            raise ProcessError(f"the supervisor of {name} does not end: {self._tree.complaint() or 'no reason given'}")

    def _clear_away(self, old: Path) -> bytes:
        deaths = self._folders.deaths(old)
        discard(old.parent)
        return deaths

    def _is_whole(self, name: str, files: Files) -> bool:
        """Whether a folder is as it should be, and the supervisor of it can be reached."""
        return self._folders.same(name, files) and (self._folders.scan / name / "supervise/control").exists()

    async def _have_supervisor(self, name: str) -> None:
        folder = self._folders.scan / name
        if self._is_supervised(folder):
            return
        self._tree.rescan()
        if not await _eventually(lambda: self._is_supervised(folder), SUPERVISED_WITHIN_S):
            raise ProcessError(f"nothing supervises {name}: {self._tree.complaint() or 'no reason given'}")

    async def _order_up(self, name: str, verb: str, letters: bytes) -> None:
        """Tell the supervisor; and leave the same wish behind for the one that may follow it."""
        folder = self._folders.scan / self._known(name)

        def order() -> bool:
            (folder / "down").unlink(missing_ok=True)
            return control.tell(folder, letters)

        async with self._turn(name):
            if not await self._do(name, verb, order):
                await self._have_supervisor(name)
                if not control.tell(folder, letters):
                    raise ProcessError(f"the supervisor of {name} did not take the order; try again")

    def _is_supervised(self, folder: Path) -> bool:
        return control.supervised(folder) and (folder / "supervise/status").exists()

    def _known(self, name: str) -> str:
        if not self.exists(name):
            raise ProcessError(f"there is no process {name!r}; create it first")
        return name

    def _turn(self, name: str) -> asyncio.Lock:
        if self._closed:
            raise ProcessError("the backend is closed")
        return self._turns.setdefault(name, asyncio.Lock())

    async def _do(self, name: str, verb: str, call: Callable[[], Answer]) -> Answer:
        """Do this in a thread. What the disk says becomes a `ProcessError`.

        Only so many threads work at a time: a hundred of them would leave the loop waiting for its turn.
        """
        try:
            async with self._lanes[hash(name) % LANES]:
                return await in_thread(call)
        except OSError as error:
            raise ProcessError(f"{name} cannot be {verb}: {error.strerror or error}") from error

    def _watch_process(self, name: str) -> None:
        self._watch.add(name, self._folders.scan / name / "supervise")

    def _tell(self, name: str) -> None:
        for call in list(self._listeners.get(name, ())):
            call()

    def _watch_head(self) -> None:
        """Hold the fifo of the tree's head open: the kernel reports an error on it when nobody reads it any more."""
        try:
            self._head = os.open(self._folders.scan / ".s6-svscan/control", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._mend()
        else:
            self._loop.add_reader(self._head, self._mend)

    def _unwatch_head(self) -> None:
        if self._head >= 0:
            self._loop.remove_reader(self._head)
            os.close(self._head)
            self._head = -1

    def _mend(self) -> None:
        """The tree's head has gone: begin it anew, now and as often as it takes."""
        self._unwatch_head()
        if not self._closed and self._mending is None:
            log.warning("the tree of processes has lost its head; it is begun anew", directory=str(self.directory))
            self._mending = self._loop.create_task(self._begin_again())

    async def _begin_again(self) -> None:
        told = ""
        while not self._closed:
            try:
                await in_thread(self._tree.begin_again)
                break
            except (OSError, ProcessError) as error:
                if str(error) != told:
                    told = str(error)
                    log.error("the tree of processes has gone and cannot be begun again; trying on", why=told)
                await asyncio.sleep(RETRY_TREE_S)
        self._mending = None
        if not self._closed:
            for name in self.names():
                self._watch_process(name)
                self._tell(name)
            self._watch_head()


async def _eventually(true: Callable[[], bool], seconds: float) -> bool:
    """Wait for something that nobody tells of, for so long."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
