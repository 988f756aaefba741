"""Cases of `delivery.py` in which the other side goes away and comes back, or sends too much: brokers, a database, a device."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.delivery_agent import AWAY, PACE, TAG, UNS, Missing, Outcome, Running, counter, flow, logged, outcome
from tests.real.real_kafka import kafka, no_kafka
from tests.real.real_mosquitto import Mosquitto, mosquitto, no_mosquitto
from tests.real.real_postgres import running_postgres
from tests.real.real_servers import no_postgres

CUT_OFF = 2
"""Answers of the device that it had counted and not yet sent when it was stopped, at most: it is stopped twice."""


def mqtt(broker: Mosquitto, **more: Any) -> dict[str, Any]:
    return {"mqtt": {"urls": [broker.url], "qos": 1, **more}}


def session(broker: Mosquitto) -> dict[str, Any]:
    """An input for which the broker keeps what comes while the agent is away."""
    return mqtt(broker, topics=["n"], client_id="agent", clean_session=False)


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
