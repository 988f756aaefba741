"""An agent for `process_conformance` to kill: it takes one process through its life, and dies at the step it was told.

    python process_agent.py DIRECTORY KIND STEP

A step is something it does to a file, a folder, a fifo or another process, as the interpreter's audit events tell. With step 0 it lives: it
leaves its processes running, says ``ready``, and waits to be killed. Otherwise it prints how many steps there were, if it was not killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Literal, cast

from setpoint.services.processes import ProcessSpec, open_backend

COUNTED = (
    "open",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.remove",
    "os.posix_spawn",
    "fcntl.fcntl",
    "subprocess.Popen",
)
SLEEP = ProcessSpec(("sleep", "1000"))
OTHER = ProcessSpec(("sleep", "2000"))


class Steps:
    """Counts them, and ends the process at the one it was told."""

    def __init__(self, fatal: int, directory: str) -> None:
        self.fatal, self.directory = fatal, directory
        self.count = 0
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in COUNTED or (event == "open" and self.directory not in str(arguments[0])):
            return
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(directory: Path, kind: Literal["s6", "builtin"], fatal: int) -> None:
    steps = Steps(fatal, str(directory)) if fatal else None
    backend = await open_backend(kind, directory, orphan_grace_s=float(os.environ.get("GRACE_S", "60")))
    await backend.create("a", SLEEP)
    await backend.start("a")
    await backend.wait("a", lambda status: status.ready, timeout_s=10)
    if steps is None:
        print("ready", flush=True)
        await asyncio.sleep(1000)
        return
    await backend.restart("a")
    await backend.create("a", OTHER)
    await backend.stop("a")
    await backend.start("a")
    await backend.create("b", SLEEP)
    await backend.start("b")
    await backend.remove("a")
    await backend.close()
    print(steps.count, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), cast(Literal["s6", "builtin"], sys.argv[2]), int(sys.argv[3])))
