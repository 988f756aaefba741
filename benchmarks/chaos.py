"""Chaos: services and flows that are added, removed, started, stopped and edited at random, while an agent is watched.

The rows are those of UMH Core's integration tests (1 to 6, 8 and 9), compressed where they only wait. What is demanded is the same: the
agent answers, nothing that is wanted running is lost, the loop's timers are late by at most 50 ms (99 of 100), and the agent stays small.

    python benchmarks/chaos.py --seconds 60 [--backend s6|builtin] [--flows 10] [--json] [--check]

Flows need a Benthos: SETPOINT_BENTHOS, or one in PATH; without one their rows are left out, and that is said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from setpoint.agent.agent import Agent
from setpoint.services.benthos.program import Programs
from setpoint.services.processes import ProcessBackend, ProcessSpec, open_backend

SLEEP = ProcessSpec(("sleep", "100000"), restart="always", stop_timeout_s=1.0)
GATES = {"config_loading": 0.5, "healthchecks": 0.5, "remain_running": 1.0}


class Row(NamedTuple):
    """One demand: what was found, what is allowed at most."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.limit


class Lateness:
    """How late a timer of the loop is, every 10 ms."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + 0.01
            await asyncio.sleep(0.01)
            self.seen.append(max(0.0, time.perf_counter() - due))

    def p99_ms(self) -> float:
        return sorted(self.seen)[int(len(self.seen) * 0.99)] * 1000 if self.seen else 0.0


def flow(folder: Path, name: str, *, factor: int, active: bool) -> dict[str, Any]:
    """A flow on Benthos that makes ten messages a second."""
    benthos = {
        "input": {"generate": {"interval": "100ms", "mapping": f"root.n = counter() * {factor}"}},
        "output": {"file": {"path": str(folder / f"{name}.jsonl"), "codec": "lines"}},
    }
    return {
        "name": name, "desiredState": "active" if active else "stopped", "engine": "benthos", "gates": GATES,
        "dataFlowComponentConfig": {"benthos": benthos},
    }  # fmt: skip


async def services(backend: ProcessBackend, dice: random.Random, seconds: float) -> list[Row]:
    """Rows 2 to 5: a golden service, a hundred others that come and go."""
    page = Path(tempfile.mkdtemp()) / "server.py"
    page.write_text(
        "import http.server as h\nh.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler).serve_forever()"
    )
    began = time.perf_counter()
    await backend.create("golden", ProcessSpec((sys.executable, str(page)), restart="always"))
    await backend.start("golden")
    await backend.wait("golden", lambda status: status.up, timeout_s=10)
    golden = time.perf_counter() - began
    wanted = {f"s{number}": True for number in range(100)}
    began = time.perf_counter()
    await asyncio.gather(*(_have(backend, name, up=True) for name in wanted))
    await _settled(backend, wanted, 20)
    hundred = time.perf_counter() - began
    end, done, numbers = time.perf_counter() + seconds, 0, 100
    while time.perf_counter() < end:
        if dice.random() < 0.3:
            name = f"s{numbers}"
            numbers += 1
            wanted[name] = True
            await _have(backend, name, up=True)
        elif dice.random() < 0.3 and len(wanted) > 50:
            name = dice.choice(list(wanted))
            del wanted[name]
            await backend.remove(name)
        else:
            name = dice.choice(list(wanted))
            wanted[name] = not wanted[name]
            await _have(backend, name, up=wanted[name])
        done += 1
        await asyncio.sleep(dice.uniform(0.02, 0.1))
    lost = await _settled(backend, wanted, 10)
    lost += not backend.status("golden").up
    print(f"  {done} random changes to services, {len(wanted)} at the end")
    return [
        Row("a service from nothing to running", golden, 10, "s"),
        Row("100 services from nothing to running", hundred, 10, "s"),
        Row("services lost in chaos", lost, 0, ""),
    ]


async def _have(backend: ProcessBackend, name: str, *, up: bool) -> None:
    await backend.create(name, SLEEP)
    await (backend.start(name) if up else backend.stop(name))


async def _settled(backend: ProcessBackend, wanted: dict[str, bool], seconds: float) -> int:
    """How many are not as they are wanted, once all are or the time is over."""
    end = time.perf_counter() + seconds
    while True:
        wrong = sum(backend.status(name).up != up for name, up in wanted.items())
        if not wrong or time.perf_counter() > end:
            return wrong
        await asyncio.sleep(0.05)


async def flows(folder: Path, backend: str, dice: random.Random, *, count: int, seconds: float) -> list[Row]:
    """Rows 6 and 8: flows on Benthos that are started, stopped and edited at random."""
    wanted = {f"f{number}": [1, True] for number in range(count)}

    def write() -> None:
        made = [flow(folder, name, factor=factor, active=active) for name, (factor, active) in wanted.items()]
        text = yaml.safe_dump({"agent": {"location": {0: "acme"}}, "dataFlow": made})
        (folder / "next.yaml").write_text(text)
        os.replace(folder / "next.yaml", folder / "config.yaml")

    write()
    agent = Agent(folder / "config.yaml", data=folder / "data", env=os.environ, processes=backend)  # type: ignore[arg-type]
    await agent.start()
    began = time.perf_counter()
    first = await _as_wanted(agent, wanted, 60)
    up = time.perf_counter() - began
    end, done = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        name = dice.choice(list(wanted))
        wanted[name] = [wanted[name][0] + 1, True] if dice.random() < 0.5 else [wanted[name][0], not wanted[name][1]]
        write()
        done += 1
        await asyncio.sleep(dice.uniform(0.3, 1.0))
    wrong = await _as_wanted(agent, wanted, 30)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    left = await agent.stop()
    print(f"  {done} random edits of flows; stopped in {time.perf_counter() - began:.1f} s, left: {left or 'none'}")
    return [
        Row(f"{count} flows from nothing to active", up, 20, "s"),
        Row("flows not active at first", first, 0, ""),
        Row("flows not as they are wanted after chaos", wrong, 0, ""),
        Row("memory of the agent", rss, 150, "MB"),
        Row("workers left after the stop", len(left), 0, ""),
    ]


async def _as_wanted(agent: Agent, wanted: dict[str, list[Any]], seconds: float) -> int:
    end = time.perf_counter() + seconds
    while True:
        states = {worker.path.rpartition("/")[2]: worker.state for worker in agent.supervisor.workers()}
        wrong = sum((states.get(name) in ("active", "idle")) != active for name, (_, active) in wanted.items())
        if not wrong or time.perf_counter() > end:
            return wrong
        await asyncio.sleep(0.1)


def restart(folder: Path, port: int) -> list[Row]:
    """Rows 1 and 9: the program with an empty config, stopped in order, and killed; each time up again."""
    (folder / "config.yaml").write_text("{}\n")
    command = [sys.executable, "-m", "setpoint.cli.main", "up", str(folder / "config.yaml"), "--port", str(port)]
    rows = []
    for what, number in (("stop", signal.SIGTERM), ("kill", signal.SIGKILL)):
        began = time.perf_counter()
        program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=1).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)
        rows.append(Row(f"metrics after a start (before a {what})", time.perf_counter() - began, 10, "s"))
        began = time.perf_counter()
        program.send_signal(number)
        program.wait()
        rows.append(Row(f"end after a {what}", time.perf_counter() - began, 10, "s"))
    return rows


async def storm(asked: argparse.Namespace) -> list[Row]:
    dice, late = random.Random(asked.seed), Lateness()
    watching = asyncio.create_task(late.watch())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        backend = await open_backend(asked.backend, Path(folder) / "processes")
        rows += await services(backend, dice, asked.seconds)
        await backend.close()
    with tempfile.TemporaryDirectory() as folder:
        if Programs(os.environ.get("SETPOINT_BENTHOS", "")).installed:
            rows += await flows(Path(folder), asked.backend, dice, count=asked.flows, seconds=asked.seconds)
        else:
            print(f"  flows are left out: {Programs.missing}")
    watching.cancel()
    rows.append(Row("lateness of timers, 99 of 100", late.p99_ms(), 50, "ms"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of chaos for services, and again for flows")
    parser.add_argument("--backend", choices=("auto", "s6", "builtin"), default="auto")
    parser.add_argument("--flows", type=int, default=10)
    parser.add_argument("--port", type=int, default=18099)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a limit is exceeded")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = restart(Path(folder), asked.port)
    rows += asyncio.run(storm(asked))
    if asked.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        for row in rows:
            print(
                f"{row.name:<44} {row.value:>8.2f} {row.unit:<3} (at most {row.limit:g}){'' if row.met else '  exceeded'}"
            )
    if asked.check and not all(row.met for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
