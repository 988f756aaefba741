"""What the store costs: the caller's time of a put, documents and transitions a second in the file, bytes on the disk, and loading.

Documents are those of a bridge-sized worker. The caller's figures are medians over single puts while the writer works beside them, in
microseconds; what was written is read back and counted. Written bytes are those the kernel counts for this process (/proc/self/io).
Run ``python benchmarks/store.py``, with ``--json`` for a machine to read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

import msgspec

from setpoint.store import SqliteStore, Transition


class Observed(msgspec.Struct, frozen=True):
    """What a bridge observes, in size."""

    reachable: bool
    latency_ms: float
    messages: int
    error: str = ""
    connection: str = "10.0.0.5:502 answered"
    flow: str = "active"
    rates: tuple[float, ...] = (12.5, 11.0, 10.5)


def observed(number: int) -> Observed:
    return Observed(True, 1.5, number)


def state(number: int) -> dict[str, object]:
    return {
        "machine": "bridge",
        "version": "1",
        "hash": "0123456789abcdef",
        "state": "active",
        "in_state": number,
        "clocks": {},
    }


def path(number: int) -> str:
    return f"agent/bridges/press-{number}/connection"


def each(count: int, call: Callable[[int], None], pause: float = 0.0) -> tuple[float, float]:
    """Median and 99th percentile of the caller's time of one call, in microseconds."""
    times = []
    for number in range(count):
        start = time.perf_counter_ns()
        call(number)
        times.append((time.perf_counter_ns() - start) / 1000)
        if pause and number % 100 == 0:
            time.sleep(pause)
    parts = quantiles(times, n=100)
    return parts[49], parts[98]


def written_bytes() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["wchar"])


def puts(folder: Path, count: int) -> dict[str, float]:
    """The caller's time of a put."""
    store = SqliteStore(folder / "puts.sqlite")
    values = [observed(number) for number in range(count)]
    changed = each(count, lambda n: store.put(path(n % 1000), "observed", values[n], at=1.0), pause=0.001)
    same = each(count, lambda n: store.put(path(n % 1000), "observed", values[count - 1000 + n % 1000], at=2.0))
    if not store.flush(60) or {p: d["observed"].value["messages"] for p, d in store.load().items()} != {
        path(n % 1000): n for n in range(count - 1000, count)
    }:
        raise SystemExit(f"the store does not hold what was put: {store.trouble()}")
    store.close()
    return {
        "µs of the caller, changed (median)": changed[0],
        "µs of the caller, changed (99 %)": changed[1],
        "µs of the caller, unchanged (median)": same[0],
        "µs of the caller, unchanged (99 %)": same[1],
    }


def committing(folder: Path, count: int) -> dict[str, float]:
    """What the writer gets into the file, all of it new."""
    store = SqliteStore(folder / "committing.sqlite")
    store.flush()
    before, start = written_bytes(), time.perf_counter()
    for number in range(count):
        store.put(path(number), "observed", observed(number), at=1.0)
    store.flush(60)
    documents, content = count / (time.perf_counter() - start), count * len(msgspec.json.encode(observed(count)))
    amplification = (written_bytes() - before) / content
    start = time.perf_counter()
    for number in range(min(count, 20_000)):
        store.append(
            Transition(path(number % 1000), 1.0, "start_done", "starting", "active", "it answers", "connection")
        )
    store.flush(60)
    transitions = min(count, 20_000) / (time.perf_counter() - start)
    if len(store.load()) != count or sum(len(store.history(path(n), 10**6)) for n in range(1000)) != min(count, 20_000):
        raise SystemExit(f"the store does not hold what was written: {store.trouble()}")
    store.close()
    return {
        "documents/s committed": documents,
        "transitions/s committed": transitions,
        "bytes written for each byte of content": amplification,
    }


def trickle(folder: Path) -> dict[str, float]:
    """The same worker again and again, a batch each: what one small change costs the disk."""
    store = SqliteStore(folder / "trickle.sqlite")
    store.flush()
    before = written_bytes()
    for number in range(200):
        store.put(path(0), "observed", observed(number), at=1.0)
        store.flush()
    spent = (written_bytes() - before) / 200
    store.close()
    return {"bytes written for one change committed by itself": spent}


def loading(folder: Path, workers: int) -> dict[str, float]:
    """Opening and reading everything after a restart."""
    store = SqliteStore(folder / "loading.sqlite")
    for number in range(workers):
        store.put(path(number), "identity", {"path": path(number), "type": "connection", "name": "connection"}, at=1.0)
        store.put(path(number), "desired", {"target": "10.0.0.5", "port": 502, "desired_state": "up"}, at=1.0)
        store.put(path(number), "observed", observed(number), at=1.0)
        store.put(path(number), "state", state(number), at=1.0)
    for number in range(20_000):
        store.append(Transition(path(number % workers), 1.0, "e", "a", "b", "because", "connection"))
    if not store.flush(120):
        raise SystemExit(store.trouble())
    store.close()
    start = time.perf_counter()
    store = SqliteStore(folder / "loading.sqlite")
    opened = time.perf_counter()
    found = store.load()
    loaded = time.perf_counter()
    store.typical(type="connection")
    asked = time.perf_counter()
    if len(found) != workers or any(len(documents) != 4 for documents in found.values()):
        raise SystemExit("not everything was loaded")
    store.close()
    return {
        f"ms to open {workers:,} workers": (opened - start) * 1000,
        f"ms to load {workers:,} workers": (loaded - opened) * 1000,
        "ms to ask what is typical of a type": (asked - loaded) * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the store.")
    parser.add_argument("--count", type=int, default=20_000, help="puts of each kind (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=10_000, help="workers to load (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.count < 1000 or arguments.workers < 1:
        parser.error("--count must be at least 1000 and --workers at least 1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = puts(folder, arguments.count) | committing(folder, arguments.count) | trickle(folder)
        figures |= loading(folder, arguments.workers)
    if arguments.json:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
    else:
        print("\n".join(f"{figure:>14,.1f}  {name}" for name, figure in figures.items()))


if __name__ == "__main__":
    main()
