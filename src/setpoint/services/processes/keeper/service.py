"""One process in the hands of the keeper: what is wanted of it, what it is doing, and what comes next.

It is down, up, or up and told to stop. A process that ends unasked is started again: at once when it had run for a while, else after a
pause that doubles up to `MAX_PAUSE_S`. Orders come through its fifo, as letters: ``u`` up, ``d`` down, ``x`` let go of it once it is down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from setpoint.services.processes import formats
from setpoint.services.processes.keeper import spawn
from setpoint.services.processes.keeper.log import LogWriter

FIRST_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 30.0
LONG_ENOUGH_S: Final = 10.0
"""Who ran that long, or longer than the last pause, is started again as if for the first time."""
MAX_TALLY: Final = 200
KEEP_TALLY: Final = 100
CHUNK: Final = 65_536
PUBLISH_AGAIN_S: Final = 1.0
NEVER: Final = float("inf")


class Loop(Protocol):
    """What a service needs of the keeper."""

    def read_from(self, fd: int, call: Callable[[], object]) -> None: ...

    def forget(self, fd: int) -> None: ...

    def await_end(self, pid: int, call: Callable[[int], None]) -> None: ...


class Service:
    """One process. Everything here happens in the keeper's thread and returns at once."""

    def __init__(self, loop: Loop, name: str, scan: str) -> None:
        self.name = name
        self._loop = loop
        self._path = f"{scan}/{name}"
        self._folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.identity = _identity(os.fstat(self._folder))
        self._environment = {**os.environ, formats.MARK: f"{os.path.realpath(scan)}/{name}"}
        self._logs = f"{scan}/../logs/{name}"
        self._log: LogWriter | None = None
        self._want = False
        self._leaving = False
        self.gone = False
        self._pid = 0
        self._up_since = 0.0
        self._pause = 0.0
        self._wait_status = 0
        self._ready = False
        self._stopping = False
        self._changed_ns = self._ready_ns = time.time_ns()
        self._start_at = self._kill_at = self._check_at = self._publish_at = NEVER
        self._checker = 0
        self._check_until = NEVER
        self._spec: dict[str, Any] = {}
        self._notify = -1
        self._control = self._open_control()
        self._pipe, self._output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._output, True)
        loop.read_from(self._control, self._obey)
        loop.read_from(self._pipe, self._collect)
        if self._exists("down"):
            self._publish()
        else:
            self._order_up()

    def is_in(self, identity: tuple[int, int]) -> bool:
        """Whether this is the folder it was made for."""
        return self.identity == identity

    def leave(self) -> None:
        """Stop the process, and let go of the folder then."""
        self._leaving = True
        self._order_down()

    @property
    def deadline(self) -> float:
        """When `tick` has something to do, on the monotonic clock."""
        return min(self._start_at, self._kill_at, self._check_at, self._check_until, self._publish_at)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._start_at:
            self._start_at = NEVER
            self._start()
        if now >= self._kill_at:
            self._kill_at = NEVER
            self._signal(signal.SIGKILL)
        if now >= self._check_until:
            self._check_until = NEVER
            _kill_group(self._checker)
        if now >= self._check_at:
            self._check_at = NEVER
            self._check()
        if now >= self._publish_at:
            self._publish()

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for letter in os.read(self._control, 1024):
                if letter == ord("u"):
                    self._order_up()
                elif letter == ord("d"):
                    self._order_down()
                elif letter == ord("x"):
                    self._leaving = True
                    self._leave_if_down()

    def _order_up(self) -> None:
        self._want = True
        self._pause = 0.0
        if self._pid:
            self._publish()
        else:
            self._start_at = NEVER
            self._start()

    def _order_down(self) -> None:
        changed, self._want = self._want, False
        self._start_at = NEVER
        if self._pid and not self._stopping:
            self._stopping = True
            self._kill_at = time.monotonic() + float(self._spec.get("stop_timeout_s", 5.0))
            self._signal(signal.Signals[f"SIG{self._spec.get('stop_signal', 'TERM')}"])
            self._signal(signal.SIGCONT)
        if changed or self._pid:
            self._publish()
        self._leave_if_down()

    def _start(self) -> None:
        """Start the program, as the spec has it now."""
        try:
            self._spec = self._read_spec()
            self._pid = self._spawn(self._spec["command"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._say(f"setpoint: {self.name} cannot be started: {error}")
            self._start_later()
            return
        self._up_since = time.monotonic()
        self._changed_ns = time.time_ns()
        self._ready = self._spec.get("ready") is None
        self._ready_ns = self._changed_ns
        self._loop.await_end(self._pid, self._ended)
        if isinstance(self._spec.get("ready"), dict):
            self._check_at = self._up_since
        self._publish()

    def _spawn(self, command: list[str]) -> int:
        notify = None
        if self._spec.get("ready") == "notify":
            self._close_notify()
            self._notify, notify = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._loop.read_from(self._notify, self._notified)
        try:
            return spawn.spawn(
                command,
                {**self._environment, **self._spec.get("environment", {})},
                folder=f"{self._path}/files",
                output=self._output,
                notify=notify,
            )
        finally:
            if notify is not None:
                os.close(notify)

    def _ended(self, wait_status: int) -> None:
        """The process has ended."""
        _kill_group(self._pid)
        self._collect_all()
        ran = time.monotonic() - self._up_since
        asked, self._stopping = self._stopping, False
        self._pid, self._wait_status, self._ready = 0, wait_status, False
        self._kill_at = self._check_at = NEVER
        self._close_notify()
        self._changed_ns = self._ready_ns = time.time_ns()
        self._remember_death(wait_status)
        policy = self._spec.get("restart", "always")
        if policy == "never" or (policy == "on-failure" and wait_status == 0):
            self._want = self._want and asked  # ordered up again while it was stopping
        if self._want:
            self._start_again(ran, asked=asked)
        self._publish()
        self._leave_if_down()

    def _start_again(self, ran: float, *, asked: bool) -> None:
        if asked or ran >= max(LONG_ENOUGH_S, self._pause):
            self._pause = 0.0
            self._start_at = time.monotonic()
        elif self._pause == 0.0 and ran >= FIRST_PAUSE_S:
            self._pause = FIRST_PAUSE_S
            self._start_at = time.monotonic()
        else:
            self._start_later()

    def _start_later(self) -> None:
        self._pause = min(MAX_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause))
        self._start_at = time.monotonic() + self._pause
        self._publish()

    def _check(self) -> None:
        """Run the command that tells whether it can be used."""
        check = self._spec["ready"]
        if not self._pid or self._ready:
            return
        try:
            self._checker = spawn.spawn(
                check["command"],
                {**self._environment, **self._spec.get("environment", {})},
                folder=f"{self._path}/files",
                output=self._output,
            )
        except OSError:
            self._check_at = time.monotonic() + float(check.get("interval_s", 0.2))
            return
        self._check_until = time.monotonic() + float(check.get("timeout_s", 2.0))
        checked = self._pid
        self._loop.await_end(self._checker, lambda status: self._checked(checked, status))

    def _checked(self, checked: int, wait_status: int) -> None:
        self._checker, self._check_until = 0, NEVER
        if self._pid != checked or self._ready:
            return
        if wait_status == 0:
            self._become_ready()
        else:
            self._check_at = time.monotonic() + float(self._spec["ready"].get("interval_s", 0.2))

    def _notified(self) -> None:
        """The program wrote on its descriptor, or closed it."""
        try:
            data = os.read(self._notify, 1024)
        except BlockingIOError:
            return
        if b"\n" in data:
            self._become_ready()
        if not data or b"\n" in data:
            self._close_notify()

    def _become_ready(self) -> None:
        self._ready, self._ready_ns = True, time.time_ns()
        self._publish()

    def _close_notify(self) -> None:
        if self._notify >= 0:
            self._loop.forget(self._notify)
            os.close(self._notify)
            self._notify = -1

    def _collect(self) -> bool:
        """Move some output into the log; whether there was any."""
        try:
            data = os.read(self._pipe, CHUNK)
        except BlockingIOError:
            return False
        self._writer().write(data)
        return True

    def _collect_all(self) -> None:
        for _ in range(64):  # a pipe holds at most 1 MB; who still writes does not hold up the others
            if not self._collect():
                break

    def _say(self, text: str) -> None:
        self._writer().write(text.encode(errors="replace") + b"\n")

    def _writer(self) -> LogWriter:
        if self._log is None:
            size, files = self._spec.get("log_bytes", 1_000_000), self._spec.get("log_files", 5)
            self._log = LogWriter(self._logs, size=size, files=files)
        return self._log

    def _signal(self, number: int) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _leave_if_down(self) -> None:
        if not (self._leaving and not self._pid and not self.gone):
            return
        self.gone = True
        self._collect_all()
        _kill_group(self._checker)
        self._close_notify()
        for fd in (self._control, self._pipe):
            self._loop.forget(fd)
        for fd in (self._control, self._pipe, self._output, self._folder):
            os.close(fd)
        if self._log is not None:
            self._log.close()

    def _read_spec(self) -> dict[str, Any]:
        with open(os.open("data/spec.json", os.O_RDONLY, dir_fd=self._folder), encoding="utf-8") as file:
            spec: dict[str, Any] = json.load(file)
        return spec

    def _open_control(self) -> int:
        """The fifo. Opened for writing as well, or it would be at its end whenever nobody writes."""
        with contextlib.suppress(FileExistsError):
            os.mkdir("supervise", 0o700, dir_fd=self._folder)
        with contextlib.suppress(FileExistsError):
            os.mkfifo("supervise/control", 0o600, dir_fd=self._folder)
        return os.open("supervise/control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._folder)
        except OSError:
            return False
        return True

    def _publish(self) -> None:
        """Let everybody know. A full disk leaves the old status behind, which readers can tell by its pid, until there is room."""
        status = formats.Status(
            self._changed_ns, self._ready_ns, self._pid, self._wait_status, False, self._want, self._ready
        )
        try:
            self._replace("supervise/status", formats.pack_status(status))
        except OSError:
            self._publish_at = time.monotonic() + PUBLISH_AGAIN_S
        else:
            self._publish_at = NEVER

    def _remember_death(self, wait_status: int) -> None:
        number = wait_status & 0x7F
        death = formats.Death(self._changed_ns, 128 + number if number else wait_status >> 8, number)
        with contextlib.suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = os.open("supervise/death_tally", flags, 0o600, dir_fd=self._folder)
            try:
                os.write(fd, formats.pack_death(death))
                size = os.fstat(fd).st_size
                keep = KEEP_TALLY * formats.RECORD
                if size > MAX_TALLY * formats.RECORD:
                    self._replace("supervise/death_tally", os.pread(fd, keep, size - keep))
            finally:
                os.close(fd)

    def _replace(self, path: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(f"{path}.new", flags, 0o600, dir_fd=self._folder)
        try:
            if os.write(fd, data) != len(data):
                raise OSError("written in part")
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path, src_dir_fd=self._folder, dst_dir_fd=self._folder)


def _kill_group(pid: int) -> None:
    """What is left of the group that a process led."""
    if pid:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
