"""Following a running agent after its config was written: until what was asked for is there, or it is plain why not.

The agent picks the file up by itself. It says which text is in force by its digest, and of each worker its state and the reason.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from setpoint.cli.connect import Connection, in_url
from setpoint.cli.output import clean
from setpoint.cli.trouble import Trouble

LOOK_S = 0.2
SETTLED_S = 1.0
"""For so long a worker must have failed: one that has just been told of its new config may still say what was before."""


class Follower:
    """Follows the agent that keeps this file. Raises `Trouble` where none answers, or it keeps another."""

    def __init__(self, url: str | None, file: Path, timeout: float) -> None:
        self._agent = Connection(url)
        self._timeout = timeout
        self._until = 0.0
        kept = str(self._agent.get("/config/status").get("file", ""))
        if os.path.realpath(kept) != os.path.realpath(file):
            raise Trouble(
                f"the agent at {self._agent.url} keeps {kept}, not {file}; nothing was written",
                "say where the right one is with --url, or leave --wait out",
            )

    def follow(self, digest: str, path: str, wanted: str, *, quiet: bool = False) -> None:
        """Wait until the text with this digest is in force, and then until the worker is as wanted: active, stopped or gone.

        Raises `Trouble` that says why not."""
        self._until = time.monotonic() + self._timeout
        self._in_force(digest)
        said = self._settled(path, wanted) if path else "in force"
        if not quiet:
            print(clean(f"{path}: {said}" if path else f"the agent at {self._agent.url}: {said}"))

    def _in_force(self, digest: str) -> None:
        while True:
            status = self._agent.get("/config/status")
            if status["applied_digest"] == digest and status["ok"]:
                return
            if status["digest"] == digest and not status["ok"]:
                texts = [problem["text"] for problem in status["problems"] if problem["severity"] == "error"]
                raise Trouble(
                    f"written, but the agent does not apply it: {clean('; '.join(texts[:3]))}", "see 'setpoint status'"
                )
            self._pause("written, but the agent has not read it")

    def _settled(self, path: str, wanted: str) -> str:
        failed_since = 0.0
        while True:
            worker = self._worker(path)
            if worker is None:
                if wanted == "gone":
                    return "gone"
                said = "is not there yet"
            else:
                said = f"is {worker['state']}: {worker['reason']}"
                if worker["reconciled"] and worker["phase"] == {"active": "healthy", "stopped": "stopped"}.get(wanted):
                    return f"{worker['state']}: {worker['reason']}".rstrip(": ")
                failed_since = (failed_since or time.monotonic()) if worker["phase"] == "failed" else 0.0
            if failed_since and time.monotonic() - failed_since > SETTLED_S:
                raise Trouble(f"written, but {path} {clean(said)}", f"see 'setpoint explain {path}'")
            self._pause(f"written, but {path} {clean(said)}")

    def _worker(self, path: str) -> dict[str, Any] | None:
        """The worker, with whether it has seen its latest spec; None where there is none."""
        if not any(worker["path"] == path for worker in self._agent.get("/workers")):
            return None
        found: dict[str, Any] = self._agent.get(f"/workers/{in_url(path)}")
        found["reconciled"] = found["generation"] == found["seen_generation"]
        return found

    def _pause(self, so_far: str) -> None:
        if time.monotonic() > self._until:
            raise Trouble(
                f"{so_far}, after {self._timeout:g} s", "it goes on trying; look again with 'setpoint status'"
            )
        time.sleep(LOOK_S)
