"""The namespace on a real Kafka: throughput of one process that publishes and reads, and what is lost or doubled in faults.

*Flat out*: publishers as fast as they are taken, a group reads along. *Paced*: 20,000 messages a second from 40 publishers, read by a
group; reported is the share of a core that the process needs, and how old a message is when it is read. *Killed*: publisher, reader and
broker are processes and killed with -9 in turn while keyed messages pass; reported are lost and doubled messages. Kafka is that of
``scripts/real-parts``, one node on loopback.

    python benchmarks/kafka.py [--seconds 10] [--messages 100000] [--kills 6] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.real.real_kafka import Kafka, kafka, no_kafka  # noqa: E402

from setpoint.namespace import Message, encode_time_series  # noqa: E402
from setpoint.namespace.kafka.broker import KafkaBroker  # noqa: E402
from setpoint.namespace.kafka.client import Access  # noqa: E402

Figures = dict[str, float]
PUBLISHERS = 40
RATE = 20_000
TICK = 0.05


def batch(size: int, publisher: int) -> list[Message]:
    """Like that of a bridge; the time is when it was made, to the millisecond."""
    now = time.time_ns() // 1_000_000
    topic, headers = f"umh.v1.acme.cologne.line-{publisher}._raw.temperature", {"bridged_by": f"press-{publisher}"}
    return [Message(topic, encode_time_series(20.0 + n, now), headers, now) for n in range(size)]


async def read(broker: KafkaBroker, count: int, ages: list[float]) -> None:
    """Reads so many messages as a group, committing as it goes; notes the age of the first of each batch (ms)."""
    reader, seen = broker.subscribe("benchmark"), 0
    while seen < count:
        messages = await reader.read(2000)
        ages.append(time.time() * 1000 - messages[0].timestamp_ms)
        seen += len(messages)
        await reader.commit(messages[-1].offset)


async def flat_out(server: Kafka, seconds: float) -> Figures:
    async with KafkaBroker(Access(servers=(server.servers,)), topic="flat-out") as broker:
        published = 0
        ends = time.monotonic() + seconds

        async def publish(publisher: int) -> None:
            nonlocal published
            while time.monotonic() < ends:
                await broker.publish(batch(100, publisher))
                published += 100

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(publish(publisher) for publisher in range(PUBLISHERS)))
        await read(broker, published, [])
        took = time.perf_counter() - wall
        return {
            "messages_per_second": round(published / took),
            "process_us_per_message": round((time.process_time() - cpu) / published * 1e6, 1),
        }


async def paced(server: Kafka, seconds: float) -> Figures:
    async with KafkaBroker(Access(servers=(server.servers,)), topic="paced") as broker:
        each = round(RATE * TICK / PUBLISHERS)
        ticks = round(seconds / TICK)
        ages: list[float] = []
        reading = asyncio.create_task(read(broker, each * ticks * PUBLISHERS, ages))
        begin, cpu = time.monotonic(), time.process_time()

        async def publish(publisher: int) -> None:
            for tick in range(ticks):
                await asyncio.sleep(max(0.0, begin + (tick + publisher / PUBLISHERS) * TICK - time.monotonic()))
                await broker.publish(batch(each, publisher))

        await asyncio.gather(*(publish(publisher) for publisher in range(PUBLISHERS)))
        await reading
        took = time.monotonic() - begin
        ages.sort()
        return {
            "messages_per_second": round(each * ticks * PUBLISHERS / took),
            "cores": round((time.process_time() - cpu) / took, 2),
            "age_ms_median": round(ages[len(ages) // 2], 1),
            "age_ms_p99": round(ages[int(len(ages) * 0.99)], 1),
        }


def killed(server: Kafka, messages: int, kills: int, seed: int) -> Figures:
    """Kills publisher, broker and reader in turn."""
    with tempfile.TemporaryDirectory() as folder:
        files = {what: Path(folder) / what for what in ("produce", "consume")}

        def start(what: str) -> subprocess.Popen[bytes]:
            program = ROOT / "tests/real/kafka_passer.py"
            command = [sys.executable, str(program), what, server.servers, "passed", str(files[what]), str(messages)]
            return subprocess.Popen(command, stderr=subprocess.DEVNULL)

        chance, done = random.Random(seed), 0
        processes = {what: start(what) for what in files}
        begin = time.monotonic()
        for turn in range(kills):
            time.sleep(chance.uniform(0.3, 1.5))
            victim = ("produce", "broker", "consume")[turn % 3]
            if victim == "broker":
                server.kill()
                server.start()
            elif processes[victim].poll() is None:
                processes[victim].kill()
                processes[victim].wait()
                processes[victim] = start(victim)
            else:
                continue
            done += 1
        for process in processes.values():
            process.wait(300)
        found = files["consume"].read_bytes().split()
        there = len(set(found))
        return {
            "messages": messages,
            "kills": done,
            "lost": messages - there,
            "doubled": len(found) - there,
            "seconds": round(time.monotonic() - begin, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if missing := no_kafka():
        sys.exit(missing)
    with kafka() as server:
        found = {
            "flat out": asyncio.run(flat_out(server, options.seconds)),
            "paced": asyncio.run(paced(server, options.seconds)),
            "killed": killed(server, options.messages, options.kills, options.seed),
        }
    if options.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
