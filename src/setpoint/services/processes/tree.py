"""The tree of supervisors of one directory: begun, found alive, told to end.

It is a session of its own and outlives the agent. Its head holds a fifo open; as long as it does, the tree is there. The agent keeps the
other end open, and the kernel tells when the head has gone. A tree whose head has gone is cleared away and begun anew: a part of a tree
is not looked after by anybody. Everything here blocks, for milliseconds where all is well, and is called in a thread.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from setpoint.services.processes import builtin, control, leftovers, s6
from setpoint.services.processes.folders import Files, Folders, common_files, discard
from setpoint.services.processes.spec import INHERITED, ProcessError, ProcessSpec

Kind = Literal["s6", "builtin"]
READY_WITHIN_S: Final = 10.0
SLACK_S: Final = 3.0
"""What a stop may take beyond the time that a process has for it."""
_LOG_BYTES: Final = 1_000_000


class Tree:
    """The tree of one kind in one directory."""

    def __init__(self, folders: Folders, kind: Kind, *, grace_s: float) -> None:
        self.folders = folders
        self.kind = kind
        self._grace_s = grace_s
        self._pid = 0

    def files(self, name: str, spec: ProcessSpec) -> Files:
        """What the folder of a process consists of."""
        own = s6.files(name, spec) if self.kind == "s6" else {}
        return {**own, **common_files(spec)}

    def alive(self) -> bool:
        """Whether the tree has a head."""
        return control.tell_tree(self.folders.scan, b"")

    def adopt_or_begin(self) -> bool:
        """Have a tree of this kind; whether there was one. One that is begun has every process down."""
        kind = self.folders.root / "kind"
        if self.alive():
            with contextlib.suppress(OSError):
                if kind.read_text() == self.kind:
                    return True
            self.end()
        self._clear()
        self._renew()
        kind.write_text(self.kind)
        self._begin()
        return False

    def begin_again(self) -> None:
        """Begin the tree anew whose head has gone. What was wanted up is started again."""
        self._reap()
        self._clear()
        self._begin()

    def rescan(self) -> None:
        """Have the tree look for folders that came or went."""
        log = self.folders.root / "supervisor.log"
        with contextlib.suppress(OSError):
            if log.stat().st_size > _LOG_BYTES:
                os.truncate(log, 0)
        control.tell_tree(self.folders.scan, b"an")

    def end(self) -> list[str]:
        """Stop everything and end the tree. The names of those that left something behind and were killed.

        Each process has its own time to stop. What has escaped its group holds the pipe of its logger open: it is killed once its
        supervisor has gone.
        """
        deadline = time.monotonic() + self._longest_stop_s() + SLACK_S
        forced: list[str] = []
        names = self.folders.names()
        control.tell_tree(self.folders.scan, b"t")
        while self.alive() and time.monotonic() < deadline:
            if not any(control.supervised(self.folders.scan / name) for name in names):
                time.sleep(0.05)
                forced += leftovers.end(self.folders.scan, names)
            time.sleep(0.01)
        forced += leftovers.end(self.folders.scan, leftovers.marked(self.folders.scan))
        if self.alive():
            control.tell_tree(self.folders.scan, b"q")
            wait_until(lambda: not self.alive(), SLACK_S)
        self._reap()
        return sorted(set(forced))

    def complaint(self) -> str:
        """The last thing the tree had to say."""
        try:
            lines = (self.folders.root / "supervisor.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def _begin(self) -> None:
        command = s6.command() if self.kind == "s6" else builtin.command(self._grace_s)
        if self.kind == "s6":
            discard(self.folders.scan / s6.GUARD)
            self.folders.publish(s6.GUARD, s6.guard(self._grace_s), down=False)
        reading, writing = os.pipe()
        try:
            self._pid = _launch(command, self.folders.root, writing)
            if self.kind == "s6":
                _allow_files(self._pid)
        finally:
            os.close(writing)
        try:
            if not select.select([reading], [], [], READY_WITHIN_S)[0] or not os.read(reading, 1):
                raise ProcessError(f"the {self.kind} supervisor did not start: {self.complaint() or 'no answer'}")
        finally:
            os.close(reading)

    def _clear(self) -> None:
        """Let nothing of an earlier tree go on: supervisors without a head, and processes without a supervisor."""
        scan = self.folders.scan
        there = [entry.name for entry in os.scandir(scan) if entry.name[0] != "."]
        deadline = time.monotonic() + self._longest_stop_s() + SLACK_S
        for name in there:
            control.tell(scan / name, b"dx")
        _until(deadline, lambda: not any(control.supervised(scan / name) for name in there))
        for name in there:
            control.tell(scan / name / "log", b"dx")
        leftovers.end(scan, leftovers.marked(scan))
        _until(deadline, lambda: not any(control.supervised(scan / name / "log") for name in there))

    def _renew(self) -> None:
        """Write the folder of every process anew from its spec, down; its deaths are kept."""
        for name in self.folders.names():
            spec = self.folders.spec(name)
            if spec is None:
                continue  # whoever wants it creates it again
            deaths = self.folders.deaths(self.folders.scan / name)
            self.folders.retire(name)
            self.folders.publish(name, self.files(name, spec), down=True, deaths=deaths)

    def _longest_stop_s(self) -> float:
        specs = (self.folders.spec(name) for name in self.folders.names())
        return max((spec.stop_timeout_s for spec in specs if spec), default=0.0)

    def _reap(self) -> None:
        """Take note of the head's end, where it was this process' child."""
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._pid, os.WNOHANG)[0]:
                    self._pid = 0


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait for something that nobody tells of."""
    return _until(time.monotonic() + seconds, true)


def _until(deadline: float, true: Callable[[], bool]) -> bool:
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _launch(command: Sequence[str], root: Path, ready: int) -> int:
    """The pid of the head, in a session of its own, with few descriptors and few variables of the agent's."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    log = os.open(root / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
            (os.POSIX_SPAWN_DUP2, ready, 3),
        ]
        program = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(root), *command]
        pid = os.posix_spawn("/bin/sh", program, environment, file_actions=actions, setsid=True)
    finally:
        os.close(log)
        os.close(null)
    return pid


def _allow_files(pid: int) -> None:
    """s6-svscan holds two descriptors a service, and inherits a limit of mostly 1,024."""
    with contextlib.suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        enough = 2 * s6.MAX_SERVICES + 100
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (enough if most < 0 else min(enough, most), most))
