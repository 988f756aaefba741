"""The real Bento for the tests that need one: `scripts/real-parts` builds it into the user's cache; one in PATH serves as well."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from setpoint.services.benthos import (
    Document,
    Endpoints,
    FlowFacts,
    LogErrors,
    Program,
    Scan,
    Traffic,
    deploy,
    facts_of,
    find_program,
)


def bento_path() -> str:
    """Where Bento is; "" where there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "setpoint"
    built = max(cache.glob("bento-*/bento"), key=lambda path: path.stat().st_mtime, default=None)
    return str(built) if built else shutil.which("bento") or ""


def no_bento() -> str:
    """Why there is no Bento to test with; "" when there is one."""
    return "" if bento_path() else "no Bento is here: scripts/real-parts builds it where Go is installed"


async def program() -> Program:
    """The real program."""
    found = await find_program(bento_path())
    assert found.program is not None, found.reason
    return found.program


class Running:
    """A flow whose Bento runs: its process, what it wrote, and looks at it."""

    def __init__(self, made: Document, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self.process = process
        self.output = output
        self.errors = errors
        self.endpoints = Endpoints(made.port, made.digest, timeout=5.0)
        self.traffic = Traffic(error_window_s=1.5)
        self.log = LogErrors()
        self.started = time.monotonic()
        self._read = [0, 0]

    async def look(self) -> FlowFacts:
        """One look, with what was written to the log until now."""
        scan = await self.endpoints.scan()
        self.read_log()
        now = time.monotonic()
        pid = self.process.pid if self.process.poll() is None else None
        return facts_of(scan, self.traffic, self.log, pid=pid, uptime_s=now - self.started, now=now, log_now=now)

    def read_log(self) -> None:
        """Give what was written since to `log`."""
        for number, file in enumerate((self.output, self.errors)):
            lines = file.read_text(errors="replace").splitlines()
            for line in lines[self._read[number] :]:
                self.log.add(line, at=time.monotonic())
            self._read[number] = len(lines)

    async def until(self, true: Callable[[FlowFacts], Any], *, seconds: float = 20.0) -> FlowFacts:
        """Looks until this is so; fails with what was seen last."""
        deadline = time.monotonic() + seconds
        while not true(facts := await self.look()):
            assert time.monotonic() < deadline, facts
            await asyncio.sleep(0.05)
        return facts


@asynccontextmanager
async def running(made: Document, folder: Path, *, judged: bool = True) -> AsyncIterator[Running]:
    """Bento with this document, ended afterwards. `judged`: it must pass the lint first."""
    bento, file = await program(), folder / "flow.yaml"
    if judged:
        deployed = await deploy(made, file, bento)
        assert deployed.outcome != "refused", deployed.reason
    else:
        file.write_text(made.text)
    output, errors = folder / "stdout", folder / "stderr"
    process = _started(bento.run(file), folder, output, errors)
    flow = Running(made, process, output, errors)
    try:
        yield flow
    finally:
        flow.endpoints.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(command: tuple[str, ...], folder: Path, output: Path, errors: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as out, errors.open("wb") as err:
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err)


async def scanned(made: Document) -> Scan:
    """One look from outside at whoever is on this document's port."""
    endpoints = Endpoints(made.port, made.digest, timeout=5.0)
    scan = await endpoints.scan()
    endpoints.close()
    return scan
