"""One agent for one data directory: a lock that the kernel takes back when the agent dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


class DataInUse(RuntimeError):
    """Another agent works on this data directory."""


class DataLock:
    """Holds the data directory until closed. Raises `DataInUse` with the other agent's pid."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = (data / "agent.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            pid = self._file.read().strip() or "unknown"
            self._file.close()
            raise DataInUse(
                f"{data} is in use by another agent (pid {pid}); stop it, or use another --data directory"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
