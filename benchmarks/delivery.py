"""Delivery under faults: numbered messages through an agent while something breaks; what was lost, doubled, set aside, and what it said.

    python benchmarks/delivery.py [--messages 2000] [--kills 20] [--only NAME ...] [--json] [--check]

Each case runs `setpoint up` as a process. Brokers and databases are real ones, started by the case; a case whose part is missing is left
out, and that is said. *Lost* is what neither arrived nor was set aside with its reason. *Doubled* is allowed: delivery is at least once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.delivery_agent import TAG, Outcome, Running, counter, flow, lines, logged, outcome  # noqa: E402
from tests.real.real_kafka import kafka, no_kafka  # noqa: E402
from tests.real.real_mosquitto import Mosquitto, mosquitto, no_mosquitto  # noqa: E402
from tests.real.real_postgres import running_postgres  # noqa: E402
from tests.real.real_servers import no_postgres  # noqa: E402

AWAY = 2.0
"""Seconds for which something that is stopped stays away."""
CUT_OFF = 2
"""Answers of the device that it had counted and not yet sent when it was stopped, at most: it is stopped twice."""
PACE = "2ms"
"""Between two messages of a flow that makes them."""
UNS = {"uns": {}}


class Missing(Exception):
    """What a case needs and is not here."""


def mqtt(broker: Mosquitto, **more: Any) -> dict[str, Any]:
    return {"mqtt": {"urls": [broker.url], "qos": 1, **more}}


def session(broker: Mosquitto) -> dict[str, Any]:
    """An input for which the broker keeps what comes while the agent is away."""
    return mqtt(broker, topics=["n"], client_id="agent", clean_session=False)


def mosquitto_restarted(folder: Path, count: int) -> Outcome:
    """A flow publishes, a flow reads into the namespace, the broker goes away between them."""
    if missing := no_mosquitto():
        raise Missing(missing)
    with mosquitto(folder / "mosquitto") as broker:
        flows = [
            flow("in", session(broker), UNS, tag=TAG),
            flow("out", counter(count, PACE), mqtt(broker, topic="n")),
        ]
        with Running(folder, flows) as agent:
            agent.watch("flows/in")
            agent.working("flows/in")
            agent.until(lambda: agent.count() > count // 5)
            broker.stop()
            time.sleep(AWAY)
            broker.start()
            agent.settled(agent.count, count)
            agent.stop()
            told = agent.trouble("input mqtt")
    return outcome("Mosquitto stopped and started", range(1, count + 1), logged(agent.data), told=told)


def kafka_killed(folder: Path, count: int) -> Outcome:
    """A flow writes to a topic, a flow reads it into the namespace, the broker is killed between them."""
    if missing := no_kafka():
        raise Missing(missing)
    with kafka() as broker:
        where = {"addresses": [broker.servers]}
        flows = [
            flow("in", {"kafka": {**where, "topics": ["n"], "consumer_group": "g"}}, UNS, tag=TAG),
            flow("out", counter(count, PACE), {"kafka": {**where, "topic": "n"}}),
        ]
        with Running(folder, flows) as agent:
            agent.watch("flows/in")
            agent.working("flows/in")
            agent.until(lambda: agent.count() > count // 5, 60)
            broker.kill()
            time.sleep(AWAY + 4)
            broker.start()
            agent.settled(agent.count, count, 90)
            agent.stop()
            told = agent.trouble("input kafka", broker.servers)
    return outcome("Kafka killed and started", range(1, count + 1), logged(agent.data), told=told)


def device_restarted(folder: Path, count: int) -> Outcome:
    """A Modbus device is polled into the namespace; it goes away and comes back. Sent is what it answered."""
    with modbus_device() as device:
        fields = {
            "controller": f"tcp://127.0.0.1:{device.port}", "slaveIDs": [1], "timeBetweenReads": "10ms",
            "addresses": [{"name": "n", "register": "holding", "address": 0, "type": "INT16"}],
        }  # fmt: skip
        tag = TAG.replace("msg.payload.n", "msg.payload")
        with Running(folder, [flow("in", {"modbus": fields}, UNS, tag=tag)]) as agent:
            agent.watch("flows/in")
            agent.working("flows/in")
            agent.until(lambda: agent.count() > 50)
            device.stop()
            time.sleep(AWAY)
            before = agent.count()
            begun = time.monotonic()
            device.start()
            agent.until(lambda: agent.count() > before + 50)
            back = time.monotonic() - begun
            device.stop()
            time.sleep(0.5)
            agent.stop()
            told = agent.trouble("input modbus")
    found = len(logged(agent.data))
    return Outcome(
        "device stopped and started", device.answered, found, max(0, device.answered - found - CUT_OFF),
        max(0, found - device.answered), 0, told,
        f"50 values {back:.1f} s after it was back",
    )  # fmt: skip


class Device:
    """A Modbus server in a thread with a loop of its own, which counts what it answers, and keeps its port."""

    def __init__(self) -> None:
        self.port, self.answered = 0, 0
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
        self._server: Any = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(10)

    async def _start(self) -> None:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        registers = SimData(0, count=10, values=[7] * 10, datatype=DataType.REGISTERS)
        device, address = SimDevice(1, simdata=[registers]), ("127.0.0.1", self.port)
        self._server = ModbusTcpServer(device, address=address, trace_pdu=self._counted)
        await self._server.serve_forever(background=True)
        self.port = self._server.transport.sockets[0].getsockname()[1]

    def _counted(self, sending: bool, pdu: Any) -> Any:
        self.answered += sending
        return pdu


@contextmanager
def modbus_device() -> Iterator[Device]:
    device = Device()
    device.start()
    try:
        yield device
    finally:
        device.stop()


def killed(folder: Path, count: int, *, kills: int) -> Outcome:
    """Somebody publishes numbers, the agent carries them into its namespace and from there into a file, and is killed again and again."""
    if missing := no_mosquitto():
        raise Missing(missing)
    into, dice, ready = folder / "out.jsonl", random.Random(1), 0.0
    with mosquitto(folder / "mosquitto") as broker:
        flows = [
            flow("in", session(broker), UNS, tag=TAG),
            flow("keep", {"uns": {"consumer_group": "keep"}}, {"file": {"path": str(into)}}),
        ]
        with Running(folder, flows) as agent:
            agent.until(lambda: agent.figures("flows/in").get("input_connected"))
            with publishing(broker, "n", count) as sent:
                for _ in range(kills):
                    time.sleep(dice.uniform(0.3, 1.0))
                    agent.kill()
                    begun = time.monotonic()
                    agent.start()
                    before = into.stat().st_size if into.exists() else 0
                    agent.until(lambda before=before: into.exists() and into.stat().st_size > before)  # type: ignore[misc]
                    ready = max(ready, time.monotonic() - begun)
            agent.settled(lambda: len(set(values(into))), len(sent), 60)
            told = agent.state("flows/in")
            agent.stop()
    note = f"{kills} kills; at work again within {ready:.1f} s"
    return outcome(f"agent killed with -9, {kills} times", sent, values(into), told=told, note=note)


def values(file: Path) -> list[int]:
    """The values of time series in a file; lines that a kill cut off, and that came again, are left out."""
    return [int(line["value"]) for line in lines(file) if isinstance(line, dict)]


@contextmanager
def connected(broker: Mosquitto) -> Iterator[Any]:
    """A client of a broker that is no part of the agent."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def publishing(broker: Mosquitto, topic: str, least: int) -> Iterator[list[int]]:
    """Publishes numbers at QoS 1, about a thousand a second, while the block runs and until there are so many; those acknowledged."""
    sent: list[int] = []
    done = threading.Event()

    def publish(client: Any) -> None:
        while not done.is_set() or len(sent) < least:
            numbers = range(len(sent) + 1, len(sent) + 51)
            for each in [client.publish(topic, json.dumps({"n": n}), qos=1) for n in numbers]:
                each.wait_for_publish(10)
            sent.extend(numbers)
            time.sleep(0.04)

    with connected(broker) as client:
        thread = threading.Thread(target=publish, args=(client,))
        thread.start()
        try:
            yield sent
        finally:
            done.set()
            thread.join()


def disk_full(folder: Path, count: int) -> Outcome:
    """The disk below the data directory is full for a while."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        raise Missing("a small disk cannot be mounted: run as root, where mounting is allowed")
    try:
        with Running(folder, [flow("in", counter(count, PACE), UNS, tag=TAG)], data=disk / "data") as agent:
            agent.watch("flows/in")
            agent.working("flows/in")
            agent.until(lambda: agent.count() > count // 5)
            with (disk / "filler").open("wb") as filler, suppress(OSError):
                while True:
                    filler.write(b"x" * 4096)
                    filler.flush()
            agent.until(lambda: agent.trouble("output uns"), 60)
            full = agent.state("broker")
            (disk / "filler").unlink()
            agent.settled(agent.count, count)
            agent.stop()
            told = agent.trouble("output uns")
        found = logged(agent.data)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    return outcome("disk full under the log", range(1, count + 1), found, told=told, note=f"broker {full}")


def clock_stepped(folder: Path, count: int) -> Outcome:
    """The clock is set back by an hour while a flow writes into the namespace and another reads it."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        raise Missing("no libfaketime is installed: apt-get install faketime")
    shift, into = folder / "shift", folder / "out.jsonl"
    shift.write_text("+0")
    env = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    flows = [
        flow("in", counter(count, PACE), UNS, tag=TAG),
        flow("keep", {"uns": {"consumer_group": "keep"}}, {"file": {"path": str(into)}}),
    ]
    with Running(folder, flows, env=env) as agent:
        agent.until(lambda: agent.count() > count // 5)
        shift.write_text("-3600")
        agent.watch("flows/in")
        agent.settled(lambda: len(set(values(into))), count)
        told = agent.told[0] if agent.told else ""
        agent.stop()
    times = [line["timestamp_ms"] for line in lines(into)]
    stepped = sum(after < before - 3_000_000 for before, after in pairwise(times))
    return outcome(
        "clock stepped back an hour",
        range(1, count + 1),
        values(into),
        told=told,
        note=f"{stepped} step back in the timestamps",
    )


def script(case: str, code: str, folder: Path, count: int, *, good: Callable[[int], bool], words: str) -> Outcome:
    """A tag processor with this code, and beside it a flow that must not suffer. Those that are not `good` are to be set aside."""
    flows = [
        flow("in", counter(count, PACE), UNS, tag=code),
        flow("neighbour", counter(10**9, "10ms"), {"file": {"path": str(folder / "neighbour.jsonl")}}),
    ]
    with Running(folder, flows) as agent:
        agent.watch("flows/in")
        begun = time.monotonic()
        agent.until(lambda: agent.figures("flows/in").get("finished"), 120)
        took = time.monotonic() - begun
        written = len(lines(folder / "neighbour.jsonl"))
        agent.stop()
        told = agent.trouble(words)
    found = logged(agent.data)
    missed = sorted(n for n in found if not good(n))
    note = f"a neighbour at 100/s wrote {written / took:.0f}/s meanwhile" + (
        f"; not expected: {missed[:5]}" if missed else ""
    )
    return outcome(case, range(1, count + 1), found, told=told, set_aside=agent.letters(), note=note)


def script_that_loops(folder: Path, count: int) -> Outcome:
    """It never returns: each message costs its time limit, and is set aside."""
    return script(
        "tag_processor that loops for ever",
        "while (true) {}",
        folder,
        min(count, 20),
        good=lambda n: False,
        words="processor",
    )


def script_that_throws(folder: Path, count: int) -> Outcome:
    """On every tenth message."""
    code = "if (msg.payload.n % 10 === 0) throw new Error('the tenth');" + TAG
    return script(
        "tag_processor that throws, 1 in 10",
        code,
        folder,
        min(count, 500),
        good=lambda n: n % 10 != 0,
        words="the tenth",
    )


def script_of_nonsense(folder: Path, count: int) -> Outcome:
    """It returns what is no message, each time something else."""
    code = "return [42, 'x', [[1]], {payload: 1}, {meta: 3}, true][msg.payload.n % 6];"
    return script(
        "tag_processor that returns nonsense", code, folder, min(count, 50), good=lambda n: False, words="processor"
    )


def illegal_topics(folder: Path, count: int) -> Outcome:
    """Every fifth message has a topic that cannot be."""
    wrong = "msg.meta.location_path = ['_acme.x', 'a b', 'acme.#', '.', 'ä/ö', 'acme.' + 'x'.repeat(5000)][(msg.payload.n / 5) % 6];"
    code = TAG.replace("msg.payload = ", f"if (msg.payload.n % 5 === 0) {{ {wrong} }}\nmsg.payload = ")
    return script(
        "topics with illegal segments, 1 in 5",
        code,
        folder,
        min(count, 250),
        good=lambda n: n % 5 != 0,
        words="topic to build",
    )


def large_payload(folder: Path, count: int) -> Outcome:
    """A payload of 2 MB among others, by MQTT into the namespace, which takes 1 MiB."""
    if missing := no_mosquitto():
        raise Missing(missing)
    texts = [json.dumps({"n": 1}), json.dumps({"n": 2, "text": "x" * (2 << 20)}), json.dumps({"n": 3})]
    code = TAG.replace(".payload.n;", ".payload.n === 2 ? msg.payload : msg.payload.n;")
    with (
        mosquitto(folder / "mosquitto") as broker,
        Running(folder, [flow("in", session(broker), UNS, tag=code)]) as agent,
    ):
        agent.watch("flows/in")
        agent.working("flows/in")
        with connected(broker) as client:
            for text in texts:
                client.publish("n", text, qos=1).wait_for_publish(10)
        agent.until(lambda: agent.count() >= 2)
        agent.until(lambda: agent.trouble("set aside"))
        told = agent.trouble("set aside")
        agent.stop()
    return outcome("a payload of 2 MB", [1, 2, 3], logged(agent.data), told=told, set_aside=agent.letters())


def postgres_restarted(folder: Path, count: int) -> Outcome:
    """Rows are inserted, each by its number, while the database is stopped and started."""
    import psycopg

    insert = {
        "driver": "postgres", "table": "readings", "columns": ["n"], "args_mapping": "root = [ this.n ]",
        "init_statement": "CREATE TABLE IF NOT EXISTS readings (n bigint)",
    }  # fmt: skip
    if missing := no_postgres():
        raise Missing(missing)
    with running_postgres() as database:
        insert["dsn"] = database.url
        with Running(folder, [flow("out", counter(count, PACE), {"sql_insert": insert})]) as agent:
            agent.watch("flows/out")
            agent.working("flows/out")
            database.stop()
            time.sleep(AWAY)
            database.start()
            agent.until(lambda: agent.figures("flows/out").get("finished"), 60)
            told = agent.trouble("output sql_insert")
            agent.stop()
        with psycopg.connect(database.url) as connection:
            found = [n for (n,) in connection.execute("SELECT n FROM readings")]
    return outcome("PostgreSQL stopped and started", range(1, count + 1), found, told=told)


CASES: dict[str, Callable[..., Outcome]] = {
    "device": device_restarted,
    "mosquitto": mosquitto_restarted,
    "kafka": kafka_killed,
    "postgres": postgres_restarted,
    "kill": killed,
    "disk": disk_full,
    "clock": clock_stepped,
    "loops": script_that_loops,
    "throws": script_that_throws,
    "nonsense": script_of_nonsense,
    "large": large_payload,
    "topics": illegal_topics,
}


def run(name: str, count: int, kills: int) -> Outcome:
    """One case in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix=f"setpoint-delivery-{name}-"))
    try:
        more = {"kills": kills} if name == "kill" else {}
        return CASES[name](folder, count, **more)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--check", action="store_true", help="exit code 1 where something was lost, or nothing was said"
    )
    asked = parser.parse_args()
    rows: list[Outcome] = []
    if not asked.json:
        print(f"{'':<38} {'sent':>6} {'arrived':>7} {'lost':>5} {'doubled':>7} {'set aside':>9}", flush=True)
    for name in asked.only:
        try:
            row = run(name, asked.messages, asked.kills)
        except Missing as why:
            print(f"{name}: left out: {why}", file=sys.stderr)
            continue
        rows.append(row)
        if not asked.json:
            print(f"{row.case:<38} {row.sent:>6} {row.arrived:>7} {row.lost:>5} {row.doubled:>7} {row.set_aside:>9}")
            print(f"    {row.told}" + (f"\n    {row.note}" if row.note else ""), flush=True)
    if asked.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    if asked.check and not all(row.good for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
