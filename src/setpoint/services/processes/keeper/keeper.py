"""The loop of the keeper: which folders there are, what comes in, what is due, and when to end.

It listens to the fifo of the tree, in letters as s6-svscan does: ``a`` look for new folders, ``n`` let go of folders that are no longer
there, ``t`` stop everything and end. SIGTERM means ``t``, SIGHUP ``an``. One keeper a folder: a lock sees to that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Final

from setpoint.services.processes.keeper import spawn
from setpoint.services.processes.keeper.service import NEVER, Service

_READY: Final = 3


class Keeper:
    """All processes of one folder. Raises `OSError` when the folder cannot be used, or another keeper has it."""

    def __init__(self, scan: str, grace_s: float) -> None:
        self._scan = scan
        self._grace_s = grace_s
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._ends: dict[int, Callable[[int], None]] = {}
        self._services: dict[str, Service] = {}
        self._retired: list[Service] = []
        self._ending = False
        self._lock = _open_lock(scan)
        self._agent_gone_at = NEVER
        self._look_at = time.monotonic()
        self._listen()
        self._rescan(prune=False)

    def read_from(self, fd: int, call: Callable[[], object]) -> None:
        """Call this whenever there is something to read."""
        self._readers[fd] = call
        self._poll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Read from it no more."""
        self._readers.pop(fd, None)
        with contextlib.suppress(OSError):
            self._poll.unregister(fd)

    def await_end(self, pid: int, call: Callable[[int], None]) -> None:
        """Call this with the wait status of a child when it has ended."""
        self._ends[pid] = call

    def run(self) -> None:
        """Until everything was told to stop and has."""
        while not (self._ending and not self._all()):
            for fd, _ in self._poll.poll(self._timeout()):
                if call := self._readers.get(fd):
                    _guarded(call)
            now = time.monotonic()
            for service in self._all():
                if service.deadline <= now:
                    _guarded(partial(service.tick, now))
            self._retired = [service for service in self._retired if not service.gone]
            self._services = {name: service for name, service in self._services.items() if not service.gone}
            self._look_for_agent(now)

    def _all(self) -> list[Service]:
        return [*self._services.values(), *self._retired]

    def _timeout(self) -> float:
        due = min((service.deadline for service in self._all()), default=NEVER)
        return max(0.0, min(due, self._look_at) - time.monotonic())

    def _listen(self) -> None:
        os.makedirs(f"{self._scan}/.s6-svscan", mode=0o700, exist_ok=True)
        lock = os.open(f"{self._scan}/.s6-svscan/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        control = f"{self._scan}/.s6-svscan/control"
        with contextlib.suppress(FileExistsError):
            os.mkfifo(control, 0o600)
        self._control = os.open(control, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.read_from(self._control, self._obey)
        self._signals, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.read_from(self._signals, self._signalled)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            letters = os.read(self._control, 4096)
            if b"t" in letters:
                self._end()
            elif b"a" in letters or b"n" in letters:
                self._rescan(prune=b"n" in letters)

    def _signalled(self) -> None:
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._signals, 4096)
            self._reap()
            if signal.SIGTERM in numbers:
                self._end()
            elif signal.SIGHUP in numbers:
                self._rescan(prune=True)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if call := self._ends.pop(pid, None):
                call(status)

    def _end(self) -> None:
        self._ending = True
        for service in self._all():
            service.leave()

    def _rescan(self, *, prune: bool) -> None:
        if self._ending:
            return
        there: dict[str, tuple[int, int]] = {}
        for entry in os.scandir(self._scan):
            if entry.name[0] != "." and entry.is_dir():
                with contextlib.suppress(OSError):
                    stat = os.stat(entry.path)
                    there[entry.name] = (stat.st_dev, stat.st_ino)
        if prune:
            for name, service in list(self._services.items()):
                if name not in there or not service.is_in(there[name]):
                    self._retired.append(self._services.pop(name))
                    service.leave()
        for name in sorted(there.keys() - self._services.keys()):
            try:
                self._services[name] = Service(self, name, self._scan)
            except OSError as error:
                print(f"keeper: {name} cannot be supervised: {error}", file=sys.stderr, flush=True)

    def _look_for_agent(self, now: float) -> None:
        """End everything when no agent has held the lock for the grace period."""
        if now < self._look_at:
            return
        self._look_at = now + min(5.0, max(0.05, self._grace_s / 10))
        if self._agent_is_there():
            self._agent_gone_at = NEVER
        elif self._agent_gone_at == NEVER:
            self._agent_gone_at = now
        elif now - self._agent_gone_at >= self._grace_s and not self._ending:
            print("keeper: no agent came back; stopping everything", file=sys.stderr, flush=True)
            self._end()

    def _agent_is_there(self) -> bool:
        """Whether an agent holds the lock: the file that it held first, or the one that is there now."""
        if _is_held(self._lock):
            return True
        try:
            now = _open_lock(self._scan)
        except OSError:
            return False
        os.close(self._lock)
        self._lock = now
        return _is_held(now)


def _open_lock(scan: str) -> int:
    return os.open(f"{scan}/../lock", os.O_RDONLY | os.O_CLOEXEC)


def _is_held(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.lockf(fd, fcntl.LOCK_UN)
    return False


def _guarded(call: Callable[[], object]) -> None:
    """A fault concerns what it happened in: were the keeper to end, so would all its processes."""
    try:
        call()
    except Exception:
        with contextlib.suppress(OSError):
            traceback.print_exc()


def main(scan: str, grace_s: float) -> None:
    """Be the keeper of a folder until told otherwise. A newline on descriptor 3 says that it listens."""
    spawn.become_keeper()
    keeper = Keeper(scan, grace_s)
    with contextlib.suppress(OSError):
        os.write(_READY, b"\n")
        os.close(_READY)
    keeper.run()
