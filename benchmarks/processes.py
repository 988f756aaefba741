"""What processes cost, on each backend.

The sweep: `statuses()` of 100 services in the caller's thread. Start: from the call to the status that says up. Exit: from the kill to the
call of a listener that finds it ended. From nothing: 100 services created, started and ready. The loop: the longest that creating them held
up the event loop. Memory: what the tree takes (proportional set size) with 100 services, without the services; and what the loggers do.

    python benchmarks/processes.py [--kind s6|builtin] [--services 100] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

from setpoint.services.processes import ProcessBackend, ProcessSpec, open_backend

Figures = dict[str, float]
SLEEP = ProcessSpec(("sleep", "100000"))
ROUNDS = 30


async def measure(kind: Literal["s6", "builtin"], services: int) -> Figures:
    """All figures of one backend, in a directory that goes away."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        backend = await open_backend(kind, Path(directory))
        figures = {"open_ms": ms(began)}
        try:
            figures |= await from_nothing(backend, services)
            figures |= sweep(backend)
            figures |= await one(backend)
            figures["tree_mb"] = round(tree_memory(Path(directory)) / 1e6, 1)
        finally:
            began = time.perf_counter()
            await backend.close()
            figures["close_ms"] = ms(began)
        return figures


async def from_nothing(backend: ProcessBackend, services: int) -> Figures:
    """So many services until all are ready, and how long the loop stood still meanwhile."""
    longest = 0.0

    async def pulse() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    async def start(name: str) -> None:
        await backend.create(name, SLEEP)
        await backend.start(name)
        await backend.wait(name, lambda status: status.ready, timeout_s=60)

    watching = asyncio.create_task(pulse())
    began = time.perf_counter()
    await asyncio.gather(*(start(f"service-{i}") for i in range(services)))
    took = ms(began)
    watching.cancel()
    return {"from_nothing_ms": took, "loop_held_up_ms": round(longest * 1000, 2)}


def sweep(backend: ProcessBackend) -> Figures:
    """One look at all of them, again and again."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        backend.statuses()
        times.append(ms(began))
    return {"sweep_ms": round(statistics.median(times), 3), "sweep_worst_ms": max(times)}


async def one(backend: ProcessBackend) -> Figures:
    """Start to running and exit to seen, one after the other."""
    starts, exits, creates = [], [], []
    for number in range(ROUNDS):
        name = f"one-{number}"
        began = time.perf_counter()
        await backend.create(name, SLEEP)
        creates.append(ms(began))
        began = time.perf_counter()
        await backend.start(name)
        status = await backend.wait(name, lambda status: status.ready, timeout_s=10)
        starts.append(ms(began))
        seen = asyncio.Event()

        def look(name: str = name, seen: asyncio.Event = seen) -> None:
            if not backend.status(name).up:
                seen.set()

        stop = backend.listen(name, look)
        began = time.perf_counter()
        os.kill(status.pid or 0, signal.SIGKILL)
        await seen.wait()
        exits.append(ms(began))
        stop()
        await backend.remove(name)
    figures: Figures = {}
    for what, times in (("create", creates), ("start_to_running", starts), ("exit_to_seen", exits)):
        figures |= {f"{what}_ms": round(statistics.median(times), 2), f"{what}_worst_ms": max(times)}
    return figures


def tree_memory(directory: Path) -> int:
    """Bytes of all that supervises: what runs in the session of the tree or as a logger, by its working directory."""
    total = 0
    for process in Path("/proc").iterdir():
        try:
            cwd = str((process / "cwd").readlink())
            if cwd.startswith(str(directory)) and b"sleep" not in (process / "cmdline").read_bytes():
                rollup = (process / "smaps_rollup").read_text()
                total += int(rollup.split("Pss:")[1].split()[0]) * 1024
        except (OSError, IndexError, ValueError):
            continue
    return total


def ms(began: float) -> float:
    """Milliseconds since then."""
    return round((time.perf_counter() - began) * 1000, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["s6", "builtin"], action="append")
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kinds = options.kind or (["s6"] if shutil.which("s6-svscan") else []) + ["builtin"]
    results = {kind: asyncio.run(measure(kind, options.services)) for kind in kinds}
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'':24}" + "".join(f"{kind:>12}" for kind in results))
    for figure in next(iter(results.values())):
        print(f"{figure:24}" + "".join(f"{result[figure]:>12,}" for result in results.values()))


if __name__ == "__main__":
    main()
