"""What streams and batches cost: records a second from file to file, memory, what a commit adds, and records that survive being killed.

The machine has three states and two transforms (a product and a label). Each measurement is a process of its own, so that its peak memory
is its own; output is read back and counted. Where others use the machine, processor time a record says more than the rate. Run
``python benchmarks/stream.py [--records N] [--json]``.

``--kills 200`` kills a resumable stream that often, at random moments, and compares what is there with what should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setpoint.data.batch import arun_batch, run_batch
from setpoint.data.definition import ArcDef, DataMode, Definition, NetworkDef, StateDef
from setpoint.data.plan import Plan
from setpoint.data.stream import open_sink, run_stream


def product(record: Any) -> None:
    record["total"] = record["price"] * record["count"]


def label(record: Any) -> None:
    record["label"] = "large" if record["total"] > 500 else "small"


async def aproduct(record: Any) -> None:
    product(record)


def busy(record: Any) -> None:
    sum(number * number for number in range(20_000))


def round_number(record: Any) -> None:
    if record["id"] % 1000 == 0:
        raise ValueError("round")


def plan(*transforms: Callable[..., Any], mode: DataMode = DataMode.DIRECT) -> Plan:
    first, *more = transforms or (product, label)
    states = (
        StateDef(name="start", arcs=(ArcDef(target="middle", transforms=(first,)),)),
        StateDef(name="middle", arcs=(ArcDef(target="end", transforms=tuple(more)),)),
        StateDef(name="end", final=True),
    )
    return Plan(Definition(name="linear", networks=(NetworkDef(name="main", states=states),), data_mode=mode))


def record(number: int) -> dict[str, Any]:
    return {"id": number, "price": number % 100 + 0.5, "count": number % 10, "name": f"item {number}"}


def source(folder: Path, count: int) -> Path:
    path = folder / f"in-{count}.jsonl"
    if not path.exists():
        with path.open("w") as file:
            file.writelines(json.dumps(record(number)) + "\n" for number in range(count))
    return path


def stream(folder: Path, count: int, options: dict[str, Any]) -> dict[str, float]:
    """File to file."""
    out = folder / options.pop("out", "out.jsonl")
    made = plan(*([aproduct, label] if options.pop("waits", False) else []), mode=options.pop("mode", DataMode.DIRECT))
    report = run_stream(made, source(folder, count), out, **options)
    if report.emitted != {"end": count} or (out.suffix == ".jsonl" and sum(1 for _ in out.open("rb")) != count):
        raise SystemExit(f"{out}: {report.counts} of {count}")
    return {"records_per_s": report.throughput, **{f"{name}_s": spent for name, spent in report.seconds.items()}}


def batch(folder: Path, count: int, options: dict[str, Any]) -> dict[str, float]:
    """A list of records, in memory."""
    transforms = options.pop("transforms", (product, label))
    records = [record(number) for number in range(count)]
    made = plan(*transforms)
    started = time.perf_counter()
    results = (
        asyncio.run(arun_batch(made, records, **options)) if made.is_async else run_batch(made, records, **options)
    )
    spent = time.perf_counter() - started
    if len(results) != count or results.failed:
        raise SystemExit("a batch lost records")
    return {"records_per_s": count / spent}


def apart(work: Callable[..., dict[str, float]], folder: Path, count: int, **options: Any) -> dict[str, float]:
    """The measurement in a process of its own, with the most memory that it had."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, work, folder, count, options))
    process.start()
    theirs.close()
    figures: dict[str, float] = ours.recv()
    process.join()
    return figures


def _child(pipe: Any, work: Callable[..., dict[str, float]], folder: Path, count: int, options: dict[str, Any]) -> None:
    began = time.process_time()
    figures = work(folder, count, options)
    figures["cpu_us_per_record"] = (time.process_time() - began) / count * 1e6
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(figures)


def kills(folder: Path, count: int, times: int) -> dict[str, float]:
    """A stream that is killed at random moments, resumed each time, started anew when it is done: every record once, each time."""
    path, out, whole = source(folder, count), folder / "killed" / "out.jsonl", folder / "whole" / "out.jsonl"
    made = plan(round_number, product)
    run_stream(made, path, whole)
    rng = random.Random(1)
    killed = done = 0
    while killed < times:
        process = multiprocessing.get_context("fork").Process(target=_victim, args=(path, out))
        process.start()
        process.join(rng.uniform(0.0, 0.25))
        if process.is_alive():
            process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            killed += 1
            continue
        done += 1
        for name in ("out.jsonl", "out.jsonl.dead.jsonl"):
            if (out.parent / name).read_bytes() != (whole.parent / name).read_bytes():
                raise SystemExit(f"after {killed} kills {name} is not what it should be")
            (out.parent / name).unlink()
    return {"kills": killed, "streams_that_came_out_right": done}


def _victim(path: Path, out: Path) -> None:
    run_stream(plan(round_number, product), path, open_sink(out), chunk_size=50, resume=True)


def figures(folder: Path, count: int) -> dict[str, dict[str, float]]:
    few = max(count // 10, 1000)
    for size in (count, few):
        source(folder, size)
    busiest = {"transforms": (product, busy)}
    return {
        "jsonl to jsonl, DIRECT": apart(stream, folder, count),
        "jsonl to jsonl, COPY": apart(stream, folder, count, mode=DataMode.COPY),
        "jsonl to jsonl, DIRECT, a commit every 100 records": apart(stream, folder, count, chunk_size=100),
        "jsonl to jsonl, DIRECT, a commit every 10,000 records": apart(stream, folder, count, chunk_size=10_000),
        "jsonl to jsonl, a tenth of the records": apart(stream, folder, few),
        "jsonl to jsonl, async plan": apart(stream, folder, few, waits=True),
        "jsonl to csv": apart(stream, folder, few, out="out.csv"),
        "jsonl to json": apart(stream, folder, few, out="out.json"),
        "batch in memory": apart(batch, folder, few),
        "batch in memory, async plan": apart(batch, folder, few, transforms=(aproduct, label)),
        "batch of busy records, here": apart(batch, folder, 4000, **busiest),
        "batch of busy records, 2 processes": apart(batch, folder, 4000, processes=2, **busiest),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = (
            {"kills": kills(folder, min(arguments.records, 50_000), arguments.kills)}
            if arguments.kills
            else figures(folder, arguments.records)
        )
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for what, row in found.items():
        print(f"{what:55}" + "  ".join(f"{key} {value:,.1f}" for key, value in row.items()))


if __name__ == "__main__":
    main()
