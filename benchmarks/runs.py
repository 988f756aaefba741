"""What keeping runs costs: durable steps a second, one by one and in group commit, and what history and marks add to a stream.

The workload is a chain of ten states without functions, the record a mapping of four fields; every step is a commit that survives
``kill -9`` (``--power``: also the machine's death, by fsync). Wall time; rates are the median of several rounds. Run
``python benchmarks/runs.py``, with ``--json`` for a machine to read; ``--check`` fails where a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import Runs

STATES = 10
CHAIN: dict[str, Any] = {
    "name": "chain",
    "states": {
        **{f"s{number}": {"on_complete": f"s{number + 1}"} for number in range(STATES - 1)},
        f"s{STATES - 1}": {"final": True},
    },
}
PRICED: dict[str, Any] = {
    "name": "priced",
    "states": {
        "intake": {"transforms": ["total"], "on_complete": "priced"},
        "priced": {"transforms": ["label"], "on_complete": "done"},
        "done": {"final": True},
    },
}


class Figure(NamedTuple):
    """One result, and what it should be at least (rates) or at most (ratios)."""

    name: str
    value: float
    unit: str
    target: float
    spread: str = ""

    @property
    def reached(self) -> bool:
        return self.value >= self.target if self.unit.endswith("/s") else self.value <= self.target


def record(number: int) -> dict[str, Any]:
    return {"id": number, "price": 3.5, "name": "bolt", "qty": number % 50}


def total(one: dict[str, Any]) -> dict[str, Any]:
    one["total"] = one["qty"] * one["price"]
    return one


def label(one: dict[str, Any]) -> dict[str, Any]:
    one["label"] = "big" if one["total"] >= 100 else "small"
    return one


def one_by_one(folder: Path, sync: str, count: int) -> float:
    """Steps a second, each run after the other."""
    with SimpleFSM(CHAIN, runs=Runs(folder / f"{time.perf_counter_ns()}", sync=sync)) as fsm:  # type: ignore[arg-type]
        began = time.perf_counter()
        for number in range(count):
            assert fsm.process(record(number)).success
        return count * STATES / (time.perf_counter() - began)


def in_groups(folder: Path, sync: str, count: int, *, at_once: int) -> float:
    """Steps a second, with so many runs at once."""
    fsm = SimpleFSM(CHAIN, runs=Runs(folder / f"{time.perf_counter_ns()}", sync=sync))  # type: ignore[arg-type]

    async def carry() -> float:
        numbers = iter(range(count))

        async def worker() -> None:
            for number in numbers:
                assert (await fsm.aprocess(record(number))).success

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        return count * STATES / (time.perf_counter() - began)

    return asyncio.run(carry())


def stream(folder: Path, count: int, *, kept: bool) -> float:
    """Records a second from JSON Lines to JSON Lines, its marks kept as a run or not."""
    source = folder / "in.jsonl"
    if not source.exists():
        with source.open("w") as file:
            file.writelines(json.dumps(record(number)) + "\n" for number in range(count))
    functions = {"total": total, "label": label}
    runs = Runs(folder / f"{time.perf_counter_ns()}") if kept else None
    with SimpleFSM(PRICED, functions=functions, runs=runs) as fsm:
        began = time.perf_counter()
        assert fsm.process_stream(source, folder / "out.jsonl").success
        return count / (time.perf_counter() - began)


def batch(folder: Path, count: int, *, kept: bool) -> float:
    """Records a second of a batch, the results of every thousand kept or not."""
    records = [record(number) for number in range(count)]
    runs = Runs(folder / f"{time.perf_counter_ns()}") if kept else None
    with SimpleFSM(PRICED, functions={"total": total, "label": label}, runs=runs) as fsm:
        began = time.perf_counter()
        assert len(fsm.process_batch(records)) == count
        return count / (time.perf_counter() - began)


def median(measure: Callable[[], float], rounds: int) -> tuple[float, str]:
    found = sorted(measure() for _ in range(rounds))
    return statistics.median(found), f"{found[0]:,.0f}-{found[-1]:,.0f}"


def ratio(with_it: Callable[[], float], without: Callable[[], float], rounds: int) -> tuple[float, str]:
    """How much longer it takes, the rounds in turns."""
    found = sorted(without() / with_it() for _ in range(rounds))
    return statistics.median(found), f"{found[0]:.2f}-{found[-1]:.2f}"


def figures(folder: Path, *, power: bool, rounds: int) -> list[Figure]:
    sync = "power" if power else "process"
    alone = median(lambda: one_by_one(folder, sync, 200), rounds)
    groups = median(lambda: in_groups(folder, sync, 3000, at_once=300), rounds)
    streams = ratio(lambda: stream(folder, 200_000, kept=True), lambda: stream(folder, 200_000, kept=False), rounds)
    batches = ratio(lambda: batch(folder, 50_000, kept=True), lambda: batch(folder, 50_000, kept=False), rounds)
    return [
        Figure("durable steps, one by one", alone[0], "steps/s", 2_000, alone[1]),
        Figure("durable steps, 300 runs at once", groups[0], "steps/s", 20_000, groups[1]),
        Figure("a stream, a checkpoint per 1,000 records", streams[0], "x the time", 1.05, streams[1]),
        Figure("a batch, the result of each record kept", batches[0], "x the time", 2.0, batches[1]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    parser.add_argument("--power", action="store_true", help="each commit reaches the disk")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = figures(Path(folder), power=asked.power, rounds=asked.rounds)
    if asked.json:
        print(json.dumps([figure._asdict() for figure in found], indent=2))
    else:
        for figure in found:
            value = f"{figure.value:,.0f}" if figure.unit.endswith("/s") else f"{figure.value:.2f}"
            mark = "" if figure.reached else "  missed"
            print(f"{figure.name:<42} {value:>10} {figure.unit:<10} ({figure.spread}; target {figure.target:,g}){mark}")
    if asked.check and not all(figure.reached for figure in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
