"""What the topic browser costs: memory for many topics with their history, processor at many updates a second, and the time of a search.

Memory: the resident set of a process in which so many topics are written to as often as a history is long, without a browser and with one
that has taken in all of it; each in a process of its own. Processor: the same paced publishing without the browser and with it, in turns;
the difference is the browser's, as a share of a core. Searches: each query several times over all topics, while nothing else happens; the
processor time that it took, and the time that passed, which is longer where the machine is busy with something else.

    python benchmarks/topics.py [--topics 100000] [--rate 20000] [--seconds 5] [--turns 3] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from setpoint.namespace import Message, encode_time_series
from setpoint.namespace.browser import Browser, Limits, Query, tree
from setpoint.namespace.embedded import EmbeddedBroker

QUERIES = {
    "text, all have it": Query("temperature"),
    "text, one in a hundred": Query("sensor-77"),
    "pattern at the end": Query(pattern="**.temperature"),
    "pattern within segments": Query(pattern="acme.*.area-4?.**.sensor-*7.*"),
    "metadata": Query(metadata={"bridged_by": "press-77"}),
    "text and metadata": Query("cell-1", metadata={"data_contract": "_raw"}),
}
BATCH = 100


def topic_names(count: int) -> list[str]:
    return [
        f"umh.v1.acme.plant-{i % 7}.area-{i % 50}.line-{i % 400}.cell-{i % 1000}._raw.motor.sensor-{i}.temperature"
        for i in range(count)
    ]


def message(name: str, number: int) -> Message:
    """One as the `uns` output writes it: a time series value, and headers that say what it is and who brought it."""
    place, _, rest = name.partition("._raw.")
    headers = {
        "location_path": place.removeprefix("umh.v1."),
        "data_contract": "_raw",
        "virtual_path": rest.rpartition(".")[0],
        "tag_name": "temperature",
        "umh_topic": name,
        "bridged_by": f"press-{number % 1000}",
    }
    return Message(name, encode_time_series(20.0 + number / 7, 1_700_000_000_000 + number), headers)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def until_followed(browser: Browser, messages: int = 0) -> None:
    while not browser.following or browser.status().messages < messages:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def publish_all(broker: EmbeddedBroker, names: list[str], rounds: int) -> None:
    for turn in range(rounds):
        for start in range(0, len(names), 1000):
            part = names[start : start + 1000]
            await broker.publish([message(name, turn + start + at) for at, name in enumerate(part)])


async def publish_paced(broker: EmbeddedBroker, names: Iterator[str], rate: int, seconds: float) -> tuple[float, int]:
    """Publish at the rate for so long: the share of a core that the process took, and how many were published."""
    loop = asyncio.get_running_loop()
    began, used, sent = loop.time(), time.process_time(), 0
    while (now := loop.time()) < began + seconds:
        due = int((now - began) * rate)
        while sent < due:
            await broker.publish([message(name, sent + at) for at, name in enumerate(itertools.islice(names, BATCH))])
            sent += BATCH
        await asyncio.sleep(0.005)
    return (time.process_time() - used) / (loop.time() - began), sent


async def processor(broker: EmbeddedBroker, browser: Browser, options: argparse.Namespace) -> dict[str, Any]:
    shares: dict[bool, list[float]] = {False: [], True: []}
    sent = 0
    names = itertools.cycle(topic_names(options.topics))
    for _ in range(options.turns):
        for followed in (False, True):
            if followed:
                await browser.begin(Limits(options.topics))
                await until_followed(browser)
            share, count = await publish_paced(broker, names, options.rate, options.seconds)
            shares[followed].append(share)
            sent += count
            behind = browser.status().behind_s
            await browser.end()
    without, following = statistics.median(shares[False]), statistics.median(shares[True])
    rate = sent / (2 * options.turns * options.seconds)
    return {
        "updates_per_second": round(rate),
        "cores_without": round(without, 3),
        "cores_with": round(following, 3),
        "browser_cores": round(following - without, 3),
        "behind_s": round(behind, 1),
    }


async def searches(browser: Browser, times: int = 15) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, query in QUERIES.items():
        taken, used, hits = [], [], 0
        for _ in range(times):
            began, began_used = time.perf_counter(), time.thread_time()
            hits = len(await query.find(browser.index))
            taken.append((time.perf_counter() - began) * 1000)
            used.append((time.thread_time() - began_used) * 1000)
        found[name] = {
            "hits": hits,
            "median_ms": round(statistics.median(taken), 1),
            "worst_ms": round(max(taken), 1),
            "cpu_ms": round(statistics.median(used), 1),
        }
    began = time.perf_counter()
    await tree(browser.index.names(), depth=64, limit=300)
    found["tree of 300 places"] = {"median_ms": round((time.perf_counter() - began) * 1000, 1)}
    return found


def memory(topics: int, followed: bool) -> dict[str, Any]:
    """The resident set in the end, in a process that did nothing else; and what searches took in it."""

    async def run() -> dict[str, Any]:
        limits, names = Limits(topics), topic_names(topics)
        with tempfile.TemporaryDirectory() as folder:
            async with EmbeddedBroker(Path(folder) / "broker.sqlite") as broker:
                browser = Browser(broker)
                await publish_all(broker, names, 1)
                began = time.perf_counter()
                if followed:
                    await browser.begin(limits)
                    await until_followed(browser)
                loading = time.perf_counter() - began
                await publish_all(broker, names, limits.history)
                if not followed:
                    return {"resident_mb": round(resident_mb())}
                await until_followed(browser, topics * limits.history)
                entries = [entry for name in names if (entry := browser.index.get(name))]
                found = {
                    "resident_mb": round(resident_mb()),
                    "topics": len(entries),
                    "values": sum(len(entry.history()) for entry in entries),
                    "load_s": round(loading, 2),
                    "searches": await searches(browser),
                }
                await browser.end()
                return found

    return asyncio.run(run())


def apart(topics: int, followed: bool) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(memory, topics, followed).result()


async def paced(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedBroker(Path(folder) / "broker.sqlite") as broker:
            return await processor(broker, Browser(broker), options)


def run(options: argparse.Namespace) -> dict[str, Any]:
    without, following = apart(options.topics, False), apart(options.topics, True)
    looking = following.pop("searches")
    kept = {
        "without_mb": without["resident_mb"],
        "with_mb": following.pop("resident_mb"),
        **following,
    }
    return {"memory": kept, "search": looking, "processor": asyncio.run(paced(options))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for part, figures in found.items():
        print(part)
        for name, figure in figures.items():
            print(f"  {name:26} {figure}")


if __name__ == "__main__":
    main()
