"""What the control runtime costs: workers that change, workers that idle, stopping, and what a day leaves behind.

    changing   1,000 workers with one changed observation a second each: CPU, and how late the runtime was (p99)
    idle       10,000 workers that observe the same once a second: memory of one, CPU
    flat       a fixed number of changes a second among 100, 1,000 and 10,000 workers: CPU; observing costs the same in all (every 10 s)
    stop       clean stop of 100 and 1,000 children that need 200 ms each, and of 100 with one that ignores cancellation
    day        a simulated day of 50 idling workers: growth of the heap
    store      what a changed and an unchanged observation cost the loop, with a store on disk

Real time and a real event loop, except `day`. Run ``python benchmarks/control.py``, a case by name, ``--json`` for a machine to read,
``--plot FILE.svg`` to draw the case `flat`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import resource
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from setpoint.control import ChildSpec, Limits, Observation, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.store import SqliteStore
from setpoint.testing import run as run_virtually
from setpoint.testing import wall

Figures = dict[str, float]


class Seen(Observation, frozen=True):
    """A counter, and whether it runs."""

    count: int = 0
    running: bool = False


@guard
def alive(s: Snapshot[Any, Seen]) -> bool:
    "it runs"
    return s.observed.running


class Thing(Worker[Any, Any, Seen]):
    "Four states; stopping takes 0.2 s."

    stopped = State(Phase.STOPPED)
    starting = State(Phase.STARTING, act="start")
    running = State(Phase.HEALTHY)
    stopping = State(Phase.STOPPING, act="stop")
    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | running).to(stopping, on="stop", when=~wanted),
        starting.to(running, on="start_done", when=alive),
        running.to(starting, on="crashed", when=~alive),
        stopping.to(stopped, on="stop_done", when=~alive),
    ]
    changes_every: int = 0
    """So many observations are equal before one differs; 0: all are."""
    stop_takes = 0.0
    ignores_cancellation = False

    def __init__(self) -> None:
        self._running = False
        self._looks = 0

    async def collect_observed_state(self, desired: Any) -> Seen:
        self._looks += 1
        return Seen(self._looks // self.changes_every if self.changes_every else 0, self._running)

    async def start(self, desired: Any) -> None:
        self._running = True

    async def stop(self, desired: Any) -> None:
        try:
            await asyncio.sleep(self.stop_takes)
        except asyncio.CancelledError:
            if not self.ignores_cancellation:
                raise
            await asyncio.sleep(1000)
        self._running = False


def thing(**attributes: Any) -> Callable[[], Thing]:
    """A worker type with these attributes."""
    return type("Thing", (Thing,), {"machine_name": "thing", **attributes})


def supervisor(
    make: Callable[[], Thing], *, store: SqliteStore | None = None, limits: Limits | None = None
) -> Supervisor:
    registry = Registry()
    registry.add("thing", make)
    registry.add("stubborn", thing(stop_takes=1000.0, ignores_cancellation=True))
    return Supervisor(registry, store=store, limits=limits)


async def brought_up(s: Supervisor, count: int) -> None:
    s.want([ChildSpec(f"w{number}", "thing") for number in range(count)])
    if not await s.until(lambda s: all(record.state == "running" for record in s.records.values()), 120):
        raise SystemExit("not all workers came up")


async def cpu_over(seconds: float) -> float:
    """Cores used over so many seconds."""
    before, at = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    return (time.process_time() - before) / (time.perf_counter() - at)


def p99_lag(s: Supervisor) -> float:
    """Upper bound in seconds of the bucket that holds the 99th percentile."""
    lag, rank = s.core.lag, 0.99 * sum(s.core.lag.counts)
    for bound, so_far in zip((*lag.BUCKETS, float("inf")), itertools.accumulate(lag.counts), strict=True):
        if so_far >= rank:
            return bound
    return float("inf")


async def changing(count: int = 1000, seconds: float = 15.0) -> Figures:
    s = supervisor(thing(changes_every=1))
    await brought_up(s, count)
    await asyncio.sleep(2)
    s.core.lag = type(s.core.lag)()
    cores = await cpu_over(seconds)
    figures = {
        "cores": cores,
        "p99 lag, ms, at most": 1000 * p99_lag(s),
        "µs a changed observation": 1e6 * cores / count,
    }
    await s.stop()
    return figures


async def idle(count: int = 10_000, seconds: float = 15.0) -> Figures:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    s = supervisor(thing())
    await brought_up(s, count)
    await asyncio.sleep(2)
    gc.collect()
    one = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    cores = await cpu_over(seconds)
    await s.stop()
    return {
        "bytes a worker": one,
        "cores, one observation a second each": cores,
        "µs an observation": 1e6 * cores / count,
    }


async def flat(seconds: float = 10.0) -> Figures:
    """50 changes a second in all; each worker is observed every 10 s and the changes are pushed."""
    figures: Figures = {}
    for count in (100, 1000, 10_000):
        s = supervisor(thing(interval=1000.0), limits=Limits(resync=100_000, stale_after=100_000))
        await brought_up(s, count)
        await asyncio.sleep(1)
        pushing = asyncio.create_task(_push(s, per_second=500))
        figures[f"cores, 500 changes a second among {count:,}"] = await cpu_over(seconds)
        pushing.cancel()
        await s.stop()
    return figures


async def _push(s: Supervisor, per_second: int) -> None:
    workers = [record.worker for record in s.records.values()]
    start = time.perf_counter()
    for number in itertools.count(1):
        worker = workers[number * 7919 % len(workers)]
        assert worker is not None
        worker.context.push(Seen(number, True))
        if (ahead := start + number / per_second - time.perf_counter()) > 0.005:
            await asyncio.sleep(ahead)


async def stop() -> Figures:
    figures: Figures = {}
    for count in (100, 1000):
        s = supervisor(thing(stop_takes=0.2))
        await brought_up(s, count)
        at = time.perf_counter()
        if left := await s.stop():
            raise SystemExit(f"not stopped: {left}")
        figures[f"s to stop {count:,} that need 200 ms each"] = time.perf_counter() - at
    s = supervisor(thing(stop_takes=0.2))
    await brought_up(s, 100)
    s.want([*(record.given for record in s.records.values()), ChildSpec("stubborn", "stubborn")])
    await s.until(lambda s: s.records["agent/stubborn"].state == "running", 10)
    at = time.perf_counter()
    left = await s.stop()
    if left != ["agent/stubborn"]:
        raise SystemExit(f"expected the stubborn one to be reported, not {left}")
    figures["s to stop 100 with one that ignores cancellation (budget 2 s)"] = time.perf_counter() - at
    return figures


def day(count: int = 50, hours: float = 24.0) -> Figures:
    async def main() -> tuple[int, int, float]:
        registry = Registry()
        registry.add("thing", thing(interval=30.0))
        s = Supervisor(registry, wall=wall)
        await brought_up(s, count)
        await asyncio.sleep(3600)
        gc.collect()
        tracemalloc.start()
        await asyncio.sleep(3600)
        gc.collect()
        before, at = tracemalloc.get_traced_memory()[0], time.perf_counter()
        await asyncio.sleep(3600 * (hours - 2))
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        spent = time.perf_counter() - at
        await s.stop()
        return before, after, spent

    before, after, spent = run_virtually(main(), patience=600)
    return {"bytes the heap grew": float(after - before), "s this took": spent}


async def store(count: int = 200, rounds: int = 200) -> Figures:
    """The loop's time of one observation handed over, with and without a store; the difference is the store's share."""
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            for name, kept in (("without", None), ("with", SqliteStore(Path(folder) / f"{number}.sqlite"))):
                s = supervisor(thing(interval=1000.0), store=kept)
                await brought_up(s, count)
                for what in ("changed", "unchanged"):
                    figures.setdefault(f"{what} {name}", []).append(_handing_over(s, what, rounds))
                    await asyncio.sleep(0.3)
                await s.stop()
                if kept is not None:
                    kept.close()
    medians = {name: statistics.median(values) for name, values in figures.items()}
    return {
        f"µs of the loop for an observation that has {what}, {share}": medians[
            f"{what} {share} a store".replace(" a store", "")
        ]
        for what in ("changed", "unchanged")
        for share in ("without", "with")
    }


def _handing_over(s: Supervisor, what: str, rounds: int) -> float:
    """Microseconds of one `pushed` and the evaluation it causes, in the loop's own time."""
    records = list(s.records.values())
    spent = 0.0
    for number in range(1, rounds + 1):
        values = [Seen(number if what == "changed" else 10**9, True) for _ in records]
        at = time.perf_counter()
        for record, value in zip(records, values, strict=True):
            s.core.pushed(record.path, value)
        s.core.advance(asyncio.get_running_loop().time(), time.time())
        if number > 1:
            spent += time.perf_counter() - at
    return 1e6 * spent / (rounds - 1) / len(records)


CASES: dict[str, Callable[[], Coroutine[Any, Any, Figures] | Figures]] = {
    "changing": changing,
    "idle": idle,
    "flat": flat,
    "stop": stop,
    "day": day,
    "store": store,
}


def plotted(figures: Figures) -> str:
    """The case `flat` as an SVG: cores by number of workers."""
    values = list(figures.values())
    top = max(*values, 0.01)
    points = [(80 + 180 * index, 220 - 180 * value / top) for index, value in enumerate(values)]
    labels = ("100", "1,000", "10,000")
    dots = "".join(
        f'<circle cx="{x}" cy="{y:.1f}" r="4"/><text x="{x}" y="{y - 10:.1f}">{value:.3f}</text><text x="{x}" y="240">{label}</text>'
        for (x, y), value, label in zip(points, values, labels, strict=True)
    )
    line = " ".join(f"{x},{y:.1f}" for x, y in points)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 260" font-family="sans-serif" font-size="12" text-anchor="middle">'
        f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="2"/>{dots}'
        '<text x="260" y="256">workers</text><text x="60" y="16">cores</text></svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the control runtime.")
    parser.add_argument("case", nargs="*", choices=[*CASES, []], help="cases (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", type=Path, help="write the plot of the case `flat` to this SVG file")
    arguments = parser.parse_args()
    found: dict[str, Figures] = {}
    for name in arguments.case or CASES:
        measured = CASES[name]()
        found[name] = asyncio.run(measured) if isinstance(measured, Coroutine) else measured
        if not arguments.json:
            print(name, *(f"{value:>14,.3f}  {what}" for what, value in found[name].items()), sep="\n", flush=True)
    if arguments.json:
        json.dump(found, sys.stdout, indent=2)
    else:
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:>14,.0f}  MB at most")
    if arguments.plot and "flat" in found:
        with contextlib.suppress(BrokenPipeError):
            arguments.plot.write_text(plotted(found["flat"]))


if __name__ == "__main__":
    main()
