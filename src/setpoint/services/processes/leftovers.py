"""Processes that nobody supervises any more, and how they are found: by the mark in their environment, which all that they start inherit.

A supervisor that is killed leaves its process behind, and a process may leave others behind that left its group. Both carry the folder of
their service as `MARK`. Looking costs some 10 ms and reads ``/proc``: it is done when a tree is begun anew and when a process is removed or
replaced, in a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from setpoint.services.processes.formats import MARK


def marked(scan: Path) -> dict[str, list[int]]:
    """The living processes that belong to the services in a scan folder, by name."""
    prefix = f"{MARK}={os.path.realpath(scan)}/".encode()
    found: dict[str, list[int]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            environment = Path(entry.path, "environ").read_bytes()  # empty for what has ended
            at = environment.find(prefix)
            if at == 0 or (at > 0 and environment[at - 1] == 0):
                name = environment[at + len(prefix) :].split(b"\0", 1)[0]
                found.setdefault(os.fsdecode(name), []).append(int(entry.name))
    return found


def end(scan: Path, names: Iterable[str], *, grace_s: float = 0.0) -> list[str]:
    """End what these services left behind: by SIGTERM, and after `grace_s` by SIGKILL. The names of those that had left something.

    Blocks until nothing is there any more, for at most 5 s beyond the grace (a process in an uninterruptible wait does not end).
    """
    wanted = set(names)
    had: set[str] = set()
    kill_at = time.monotonic() + grace_s
    number = signal.SIGTERM if grace_s > 0 else signal.SIGKILL
    while left := {name: pids for name, pids in marked(scan).items() if name in wanted}:
        had |= left.keys()
        now = time.monotonic()
        if now > kill_at + 5:
            break
        if now >= kill_at:
            number = signal.SIGKILL
        for pid in (pid for pids in left.values() for pid in pids):
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        time.sleep(0.02)
    return sorted(had)
