"""Processes: programs that run beside the agent, and go on when it does not.

    backend = await open_backend("auto", data / "processes")
    await backend.create("echo", ProcessSpec(("ncat", "-l", "8082"), restart="on-failure"))
    await backend.start("echo")
    backend.status("echo")  # up (pid 4711), ready

One interface (`ProcessBackend`) and two backends: `s6` where it is installed, and `builtin`, which needs nothing but Python. Workers
call it directly. A process belongs to a tree of supervisors that outlives the agent: an agent that was killed finds everything again as
it is now; when no agent comes back within `orphan_grace_s`, the tree stops everything and ends. See docs/processes.md.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final, Literal

from setpoint.services.blocking import in_thread
from setpoint.services.processes import formats, leftovers, lock, s6
from setpoint.services.processes.backend import Backend
from setpoint.services.processes.folders import Folders
from setpoint.services.processes.interface import ProcessBackend
from setpoint.services.processes.logs import LogCursor, LogLine
from setpoint.services.processes.spec import INHERITED, ProcessError, ProcessSpec, ReadyCheck, check_name
from setpoint.services.processes.status import ExitRecord, ProcessState, ProcessStatus
from setpoint.services.processes.tree import Kind, Tree

ORPHAN_GRACE_S: Final = 60.0
"""How long processes go on without an agent."""

__all__ = [
    "INHERITED",
    "ORPHAN_GRACE_S",
    "ExitRecord",
    "LogCursor",
    "LogLine",
    "ProcessBackend",
    "ProcessError",
    "ProcessSpec",
    "ProcessState",
    "ProcessStatus",
    "ReadyCheck",
    "check_name",
    "open_backend",
]


async def open_backend(
    kind: Literal["auto", "s6", "builtin"], directory: Path, *, orphan_grace_s: float = ORPHAN_GRACE_S
) -> ProcessBackend:
    """The processes of a directory; those that run are adopted. `auto` is s6 where it is installed.

    A tree of the other kind is stopped first. Where no tree runs, all processes are down at first, whatever was wanted of them before.
    Raises `ProcessError` when s6 is asked for and missing, when the directory cannot be used, or another agent uses it.
    """
    chosen = _chosen(kind)
    folders = Folders(Path.cwd() / directory)
    tree = Tree(folders, chosen, grace_s=orphan_grace_s)

    given_up = False

    def prepare() -> tuple[int, int, set[str]]:
        folders.prepare()
        held = lock.take(folders.root / "lock")
        try:
            ahead = s6.calibrate() if chosen == "s6" else formats.TAI_AHEAD
            running = set(leftovers.marked(folders.scan)) if tree.adopt_or_begin() else set()
            folders.tidy()
            if given_up:
                raise ProcessError(f"opening {directory} was given up")
        except BaseException:
            os.close(held)
            raise
        return held, ahead, running

    try:
        held, ahead, running = await in_thread(prepare)
    except asyncio.CancelledError:
        given_up = True  # the thread goes on, and lets go of the lock
        raise
    except OSError as error:
        raise ProcessError(f"{directory} cannot be used for processes: {error.strerror or error}") from error
    return Backend(tree, lock=held, ahead=ahead, running=running)


def _chosen(kind: Literal["auto", "s6", "builtin"]) -> Kind:
    if kind == "builtin":
        return "builtin"
    missing = s6.missing()
    if not missing:
        return "s6"
    if kind == "s6":
        raise ProcessError(
            f"s6 is not installed ({', '.join(missing)} not found on PATH); install the package s6, or use the builtin backend"
        )
    return "builtin"
