"""What the flight recorder costs: time of the event loop's thread a decision, processor of the whole process, and bytes on the disk.

`--bridges` bridges as they run: each second each flow has counted one message more, each connection has measured another latency, and one
in a hundred bridges sees a child change. The decisions are made beforehand; only recording is measured, as fast as the writer takes it, and
given for one second of the plant. Then the same recording is read and replayed.

    python benchmarks/recorder.py [--bridges 1000] [--seconds 20] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setpoint.control import ChildSpec, Fact, Facts, Snapshot, Worker
from setpoint.control.record import Record
from setpoint.control.recorder import Recorder
from setpoint.control.replay import replay, subject_of
from setpoint.control.snapshot import Figures
from setpoint.machine import Phase, Position, decide
from setpoint.store.recording import Entry, read
from setpoint.workers.bridge import Bridge, BridgeSpec, Nothing
from setpoint.workers.connection import Connection, ConnectionObserved, ConnectionSpec
from setpoint.workers.flow import Flow, FlowObserved, FlowSpec

Arguments = tuple[Any, ...]
CONFIG = {
    "input": {"modbus": {"controller": "tcp://10.0.0.7:502", "addresses": [{"name": "v0", "register": "holding"}]}},
    "pipeline": {"processors": [{"tag_processor": {"defaults": "msg.meta.location_path = 'acme.cologne';"}}]},
    "output": {"uns": {}},
}


def record_of(path: str, kind: str, worker: type[Worker[Any, Any, Any]]) -> Record:
    return Record(path, None, ChildSpec(path, kind), worker=object.__new__(worker))


class Plant:
    """Bridges, and the decisions they come to in each second."""

    def __init__(self, bridges: int) -> None:
        self.random = random.Random(7)
        self.bridges = bridges
        self.nobody = Facts({}, Fact)
        self.flows = [record_of(f"agent/bridges/press-{n}/read", "flow", Flow) for n in range(bridges)]
        self.connections = [
            record_of(f"agent/bridges/press-{n}/connection", "connection", Connection) for n in range(bridges)
        ]
        self.parents = [record_of(f"agent/bridges/press-{n}", "bridge", Bridge) for n in range(bridges)]
        self.flow_spec = FlowSpec(config=CONFIG)
        self.specs = [ConnectionSpec(target=f"10.0.{n // 250}.{n % 250}", port=502) for n in range(bridges)]
        self.bridge_spec = BridgeSpec(target="10.0.0.7", port=502, read=CONFIG)

    def flow(self, n: int, second: float) -> Arguments:
        count = int(second) + n
        seen = FlowObserved(
            up=True, current=True, uptime_s=10.0, input_connected=True, output_connected=True, moving=True,
            in_per_s=1.0, out_per_s=1.0, input_received=count, output_sent=count,
        )  # fmt: skip
        return self.decided(self.flows[n], "active", self.flow_spec, seen, self.nobody, second)

    def connection(self, n: int, second: float) -> Arguments:
        latency = 0.5 + (int(second) * 7 + n) % 25 / 10  # another one each second
        spec = self.specs[n]
        seen = ConnectionObserved(answer="open", detail=f"{spec.target}:502 answered", latency_ms=latency)
        return self.decided(self.connections[n], "up", spec, seen, self.nobody, second)

    def bridge(self, n: int, second: float) -> Arguments:
        path = self.parents[n].path
        facts = {
            name: Fact(f"{path}/{name}", kind, state, Phase.HEALTHY, f"in={second} msg/s", age=self.random.random())
            for name, kind, state in (("connection", "connection", "up"), ("read", "flow", "active"))
        }
        children = Facts({name: name for name in facts}, facts.__getitem__)
        return self.decided(self.parents[n], "active", self.bridge_spec, Nothing(), children, second)

    def decided(
        self, record: Record, state: str, desired: Any, observed: Any, children: Facts, second: float
    ) -> Arguments:
        now = 5000.0 + second + self.random.random()
        age = self.random.random() / 100
        figures = Figures(now - 100.0, age, 1, 4, 0, 0, 0, {}, self.random.random() / 1000)
        snapshot: Any = Snapshot(record.path, desired, observed, state, True, "", children, self.nobody, False, figures)
        position = Position(state, 100.0)
        assert record.worker is not None
        decision = decide(record.worker.machine, position, snapshot, now)
        return record, snapshot, position, now, 1_763_720_000.0 + second, decision

    def second(self, second: int) -> list[Arguments]:
        """All that is decided within one second."""
        changed = range(second % 100, self.bridges, 100)
        return [
            *(self.flow(n, second) for n in range(self.bridges)),
            *(self.connection(n, second) for n in range(self.bridges)),
            *(self.bridge(n, second) for n in changed),
        ]


def per_call(recorder: Recorder, calls: list[Arguments]) -> float:
    """Microseconds of the calling thread a decision."""
    begun = time.thread_time()
    for arguments in calls:
        recorder.decided(*arguments)
    return (time.thread_time() - begun) / len(calls) * 1e6


def measure(bridges: int, seconds: int, place: Path) -> Iterator[tuple[str, float]]:
    plant = Plant(bridges)
    recorder = Recorder(place, keep_bytes=10**12)
    cpu, decisions, first_bytes, calls_us = 0.0, 0, 0, []
    for second in range(seconds + 1):
        calls = plant.second(second)
        before = time.process_time()
        calls_us.append(per_call(recorder, calls))
        while recorder.written < decisions + len(calls):
            time.sleep(0.05)
        if second:  # the first second writes everything once
            cpu += time.process_time() - before
        else:
            first_bytes = size(place)
        decisions += len(calls)
    recorder.close()
    assert not recorder.lost
    grown = size(place) - first_bytes
    recorded = decisions * seconds / (seconds + 1)
    yield "decisions_per_s", round(decisions / (seconds + 1))
    yield "loop_us_a_decision", round(sorted(calls_us)[len(calls_us) // 2], 2)
    other = Recorder(place / "other")
    yield "loop_us_with_2_facts", round(per_call(other, [plant.bridge(n, 1) for n in range(bridges)]), 2)
    other.close()
    yield "cores", round(cpu / seconds, 4)
    yield "us_a_decision_in_all", round(cpu / recorded * 1e6, 1)
    yield "bytes_a_decision", round(grown / recorded, 1)
    yield "kb_per_s", round(grown / seconds / 1000, 2)
    yield "kept_minutes_in_64_mb", round(64e6 / (grown / seconds) / 60, 1)
    begun, entries = time.perf_counter(), sum(isinstance(item, Entry) for item in read(place))
    yield "read_per_s", round(entries / (time.perf_counter() - begun))
    subjects = {worker.machine.name: subject_of(worker) for worker in (Flow, Connection, Bridge)}
    begun = time.perf_counter()
    differing = sum(1 for _ in replay((item for item in read(place) if isinstance(item, Entry)), subjects))
    assert not differing
    yield "replayed_per_s", round(entries / (time.perf_counter() - begun))


def size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.glob("*.gz"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bridges", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = dict(measure(options.bridges, options.seconds, Path(folder)))
    print(json.dumps(figures) if options.json else "\n".join(f"{name}  {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
