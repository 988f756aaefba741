"""Throughput of the embedded broker, and what it costs.

Publishing: many tasks publish batches of 1, 10 and 100 messages as fast as the broker takes them; reported are
messages a second, the processor time of the whole process a message, and the time of the event loop's thread a
message (that is what the flows of the same process feel). Paced: 1,000 tasks publish one message a second each;
reported is the share of a core. Reading: one group reads all from the disk, and one follows at the end of the log
while others publish.

    python benchmarks/broker.py [--seconds 2] [--publishers 50] [--topics 1000] [--durability crash|power] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from setpoint.namespace import Message, encode_time_series
from setpoint.namespace.embedded import EmbeddedBroker

Figures = dict[str, float]


def messages(size: int, start: int, topics: int) -> list[Message]:
    """A batch like that of a bridge: short topics, a time series value, the header that names the bridge."""
    return [
        Message(
            f"umh.v1.acme.cologne.press-shop.line-{(start + i) % topics}._raw.temperature",
            encode_time_series(20.0 + i, 1_700_000_000_000 + i),
            {"bridged_by": "protocol-converter_agent_press-1"},
        )
        for i in range(size)
    ]


class Meter:
    """Wall, process and event loop thread time since it was made, a message."""

    def __init__(self) -> None:
        self._wall, self._process, self._thread = time.perf_counter(), time.process_time(), time.thread_time()

    def read(self, count: int) -> Figures:
        """What `count` messages took."""
        wall = time.perf_counter() - self._wall
        return {
            "messages": count,
            "messages_per_second": round(count / wall),
            "process_us_per_message": round((time.process_time() - self._process) / count * 1e6, 2),
            "loop_us_per_message": round((time.thread_time() - self._thread) / count * 1e6, 2),
            "cores": round((time.process_time() - self._process) / wall, 3),
        }


@asynccontextmanager
async def broker(options: argparse.Namespace) -> AsyncIterator[EmbeddedBroker]:
    """A fresh broker in a directory that goes away."""
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        async with EmbeddedBroker(Path(directory) / "log.db", durability=options.durability) as opened:
            yield opened


async def publish(options: argparse.Namespace, size: int) -> Figures:
    """Tasks that publish batches of `size` without pause."""
    count = 0

    async def one(number: int, until: float) -> None:
        nonlocal count
        batch = messages(size, number * size, options.topics)
        while time.perf_counter() < until:
            await opened.publish(batch)
            count += size

    async with broker(options) as opened:
        meter = Meter()
        until = time.perf_counter() + options.seconds
        await asyncio.gather(*(one(number, until) for number in range(options.publishers)))
        figures = meter.read(count)
        stats = await opened.stats()
    return {**figures, "disk_bytes_per_message": round(stats.size_bytes / count, 1)}


async def paced(options: argparse.Namespace) -> Figures:
    """1,000 tasks with one message a second each, spread evenly."""
    latencies: list[float] = []

    async def one(number: int) -> None:
        batch = messages(1, number, options.topics)
        await asyncio.sleep(number / 1000)
        for _ in range(max(1, round(options.seconds))):
            began = time.perf_counter()
            await opened.publish(batch)
            latencies.append(time.perf_counter() - began)
            await asyncio.sleep(1 - (time.perf_counter() - began))

    async with broker(options) as opened:
        meter = Meter()
        await asyncio.gather(*(one(number) for number in range(1000)))
        figures = meter.read(len(latencies))
    latencies.sort()
    return {
        **figures,
        "p50_ms": round(latencies[len(latencies) // 2] * 1e3, 2),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1e3, 2),
    }


async def read(options: argparse.Namespace) -> Figures:
    """One group reads a log of 200,000 messages from the disk."""
    async with broker(options) as opened:
        for start in range(0, 200_000, 1000):
            await opened.publish(messages(1000, start, options.topics))
        subscription = opened.subscribe("benchmark")
        meter = Meter()
        count = 0
        while batch := await subscription.read(timeout=0):
            count += len(batch)
        return meter.read(count)


async def follow(options: argparse.Namespace) -> Figures:
    """One group follows while tasks publish batches of 10: both together."""
    async with broker(options) as opened:
        subscription = opened.subscribe("benchmark")
        meter = Meter()
        until = time.perf_counter() + options.seconds
        count = 0

        async def one(number: int) -> None:
            batch = messages(10, number, options.topics)
            while time.perf_counter() < until:
                await opened.publish(batch)

        tasks = [asyncio.create_task(one(number)) for number in range(options.publishers)]
        while found := await subscription.read(timeout=0.2):
            count += len(found)
            await subscription.commit(found[-1].offset)
        await asyncio.gather(*tasks)
        return meter.read(count)


async def measure(options: argparse.Namespace) -> dict[str, Figures]:
    """All of it."""
    results = {f"publish batches of {size}": await publish(options, size) for size in (1, 10, 100)}
    results["1,000 publishers of 1 message/s"] = await paced(options)
    results["read from disk"] = await read(options)
    results["publish batches of 10 and follow"] = await follow(options)
    return results


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each publishing part runs")
    parser.add_argument("--publishers", type=int, default=50, help="tasks that publish at the same time")
    parser.add_argument("--topics", type=int, default=1000, help="how many different topics there are")
    parser.add_argument("--durability", choices=["crash", "power"], default="crash")
    parser.add_argument("--directory", help="where the log is written (default: the temporary directory)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, figures in results.items():
        print(name)
        for figure, value in figures.items():
            print(f"  {figure:26} {value:>14,}")


if __name__ == "__main__":
    main()
