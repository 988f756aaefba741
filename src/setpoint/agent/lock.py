"""One agent for one data directory: a lock that the kernel takes back when the agent dies, however it dies.

`agent.lock` in the data directory is locked with flock(2), and says who has it: the process id in its first line, then the host and the
config. What it says counts only while it is locked; the file of an agent that died is in nobody's way. Programs that the agent starts do
not inherit the lock.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class DataInUse(RuntimeError):
    """Another agent works on this data directory."""


class DataLock:
    """Holds the data directory until closed, for the agent that keeps the file `config`.

    Raises `DataInUse` that says who has it, `OSError` where the directory cannot be used.
    """

    def __init__(self, data: Path, *, config: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._file = os.open(data / "agent.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._file)
            self.close()
            raise DataInUse(
                f"{data} is in use by another agent ({holder}); stop it, or use another --data directory"
            ) from None
        except OSError:
            self.close()
            raise
        self._sign(f"{os.getpid()}\n{socket.gethostname()}\n{config}\n")

    def _sign(self, text: str) -> None:
        """Say who has it. The lock holds without; on a full disk nobody can be named, which is no reason not to run."""
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode(errors="replace"), 0)
        except OSError as error:
            log.warning("the lock of the data directory does not say who has it", why=error.strerror)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _holder(file: int) -> str:
    """Who has the lock, as far as the file says. A process id counts on its own host only, which for a container is the container."""
    pid, host, config, *_ = [*os.pread(file, 4096, 0).decode(errors="replace").splitlines(), "", "", ""]
    where = f" on {host}" if host not in ("", socket.gethostname()) else ""
    return f"pid {pid or 'unknown'}{where}" + (f", keeping {config}" if config else "")
