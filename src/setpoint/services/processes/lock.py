"""The lock of a backend's directory: one agent at a time, and a way for the tree to know that there is one.

It belongs to the open file, not to the process (an OFD lock), so that two backends in one program exclude each other as well. The kernel
lets go of it when the agent ends, however it ends. The tree looks now and then whether it is free, for an instant and with a shared lock;
an agent that meets such a look tries again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Final

from setpoint.services.processes.spec import ProcessError

_FLOCK: Final = struct.Struct("hhqqi4x")
_TRY_FOR_S: Final = 1.0


def take(path: Path) -> int:
    """The descriptor that holds the lock until it is closed. Blocks for up to a second. Raises `ProcessError` when another agent has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _TRY_FOR_S
    while not _taken(fd):
        if time.monotonic() > deadline:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            who = f"pid {holder}" if holder else "another process"
            raise ProcessError(
                f"{path.parent} is in use by another agent ({who}); stop it, or choose another directory"
            )
        time.sleep(0.01)
    os.ftruncate(fd, 0)
    with contextlib.suppress(OSError):  # a full disk: the lock holds, the text is for people
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _taken(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True
