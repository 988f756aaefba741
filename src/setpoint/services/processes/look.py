"""One look at a process: from its status file, whether its supervisor listens, and whether the process is there."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Final, Literal

import structlog

from setpoint.services.processes import control, formats
from setpoint.services.processes.formats import Status
from setpoint.services.processes.spec import name_fault
from setpoint.services.processes.status import ProcessStatus

log = structlog.get_logger(__name__)

SAYS_SO_WITHIN_S: Final = 1.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_FIELDS: Final = "pid,wantedup,ready,exitcode,signum,updownsince,readysince"


class Looker:
    """Looks at the processes of a scan folder. About 20 µs each, in the caller's thread."""

    def __init__(self, scan: Path, ahead: int) -> None:
        self._scan = str(scan)
        self._ahead = ahead
        self._started: dict[str, tuple[int, int, float]] = {}
        """When the present run of each began, on the clock since boot; valid for a pid and the time of a change."""
        self._missed: dict[str, tuple[int, float]] = {}
        """Of those that ended without a word of their supervisor: the pid, and when that was seen."""
        self._warned = False

    def forget(self, name: str) -> None:
        """It has been removed."""
        self._started.pop(name, None)
        self._missed.pop(name, None)

    def at(self, name: str) -> ProcessStatus:
        """One look."""
        folder = f"{self._scan}/{name}"
        if name[:1] in "@." or "/" in name:  # the tree's own, or no name at all
            return ProcessStatus(name, "missing")
        try:
            fd = os.open(f"{folder}/supervise/status", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return self._without_status(name, folder)
        try:
            data = os.read(fd, 64)
        finally:
            os.close(fd)
        status = formats.unpack_status(data, self._ahead) or self.asked(folder)
        want: Literal["up", "down"] = "up" if status and status.want_up else "down"
        if status is None:
            return ProcessStatus(
                name, "unknown", fault=f"its status file has {len(data)} bytes, which no known supervisor writes"
            )
        if not control.supervised(folder):
            return ProcessStatus(name, "unknown", want, fault="its supervisor is gone")
        if status.pid and not _is_there(status.pid):
            return self._out_of_date(name, status.pid, want)
        self._missed.pop(name, None)
        return self._told(name, folder, status, want)

    def _out_of_date(self, name: str, pid: int, want: Literal["up", "down"]) -> ProcessStatus:
        """It has ended, and its supervisor has not said so: it is about to, or it cannot, because the disk is full."""
        now = time.monotonic()
        known, since = self._missed.setdefault(name, (pid, now))
        if known != pid:
            self._missed[name] = (pid, now)
        elif now - since > SAYS_SO_WITHIN_S:
            control.tell(f"{self._scan}/{name}", b"c")  # s6-supervise writes its status anew then
            fault = f"its status is out of date: there is no pid {pid}; is the disk full?"
            return ProcessStatus(name, "unknown", want, fault=fault)
        return ProcessStatus(name, "ending", want)

    def _told(self, name: str, folder: str, status: Status, want: Literal["up", "down"]) -> ProcessStatus:
        up = status.pid > 0 and not status.finishing
        number = status.wait_status & 0x7F
        died = status.wait_status != 0 or _size(f"{folder}/supervise/death_tally") > 0
        return ProcessStatus(
            name,
            "up" if up else "ending" if status.finishing else "down",
            want,
            pid=status.pid if up else None,
            since=status.changed_ns / 1e9,
            ready=up and status.ready,
            ready_since=status.ready_ns / 1e9 if up and status.ready else None,
            uptime_s=self._uptime(name, status) if up else None,
            exit_code=status.wait_status >> 8 if died and not number else None,
            exit_signal=number if died and number else None,
            fault=self._cannot_start(folder) if want == "up" and not up else "",
        )

    def _uptime(self, name: str, status: Status) -> float | None:
        """Seconds since the process was started, as the kernel counts them."""
        known = self._started.get(name)
        if known is None or known[0] != status.pid or known[1] != status.changed_ns:
            began = _began(status.pid)
            if began is None:
                return None
            known = self._started[name] = (status.pid, status.changed_ns, began)
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - known[2])

    def _without_status(self, name: str, folder: str) -> ProcessStatus:
        if name_fault(name) or not os.path.lexists(folder):
            return ProcessStatus(name, "missing")
        return ProcessStatus(
            name, "unknown", fault="its folder has no status: it is damaged, or was published just now; create it again"
        )

    def _cannot_start(self, folder: str) -> str:
        """What is missing in the folder of a process that should be up and is not."""
        if not os.path.exists(f"{folder}/data/spec.json"):
            return "its folder is damaged: there is no data/spec.json; create it again"
        if os.path.exists(f"{folder}/finish") and not os.access(f"{folder}/run", os.X_OK):
            return "its folder is damaged: run is missing or cannot be executed; create it again"
        return ""

    def asked(self, folder: str) -> Status | None:
        """What `s6-svstat` says, for an s6 whose format is not known here. Takes 1.3 ms and a process."""
        command = ["s6-svstat", "-o", _FIELDS, folder]
        try:
            text = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True).stdout
            pid, want, ready, code, number, changed, ready_at = text.split()
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        if not self._warned:
            self._warned = True
            log.warning(
                "this s6 writes its status in an unknown format; s6-svstat is run for each look, which takes 1.3 ms"
            )
        return Status(
            _label_ns(changed, self._ahead),
            _label_ns(ready_at, self._ahead),
            max(0, int(pid)),
            int(number) if int(number) > 0 else max(0, int(code)) << 8,
            False,
            want == "true",
            ready == "true",
        )


def _label_ns(text: str, ahead: int) -> int:
    return formats.unlabel_ns(text.encode(), ahead) or 0


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs as somebody else
        return True
    return True


def _began(pid: int) -> float | None:
    """When a process began, in seconds since boot: the 22nd field of its stat (proc(5)), in ticks."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19]) / _TICKS
    except (OSError, ValueError, IndexError):
        return None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
