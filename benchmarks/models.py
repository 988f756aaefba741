"""Data contracts: messages checked in a second on one core, and how long a large file of models takes to read and to check.

    python benchmarks/models.py [--json FILE]

Checked is what the `uns` output does with a message: its `prepare`, with a topic it has seen, and the check of the contract in it alone.
The files are made here: 1,000 models of ten fields, each with a contract, every second one referring to the one before.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from setpoint.agent.config import read_config
from setpoint.flows.component import Context, Msg
from setpoint.flows.outputs.uns import Uns
from setpoint.namespace import Topic
from setpoint.namespace.contracts import ContractBook, Contracts
from setpoint.namespace.models import DataContract, DataModel, ModelRef, Models, PayloadShape, ShapeRef
from setpoint.namespace.models_check import examine

MODELS = 1000
ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    book = ContractBook(Contracts(shop()))
    output = Uns(Uns.Fields(), context(book))
    for name, topic, payload in messages():
        address, body = Topic.parse(topic), msgspec.json.encode(payload)
        msg = Msg(payload, {"umh_topic": topic})
        figures[f"{name}: checked/s"] = rate(lambda a=address, b=body: book.check(a, b))
        figures[f"{name}: prepared/s"] = rate(lambda m=msg: output.prepare(m))
    text, large = large_file(), large_models()
    figures[f"{MODELS} models: examined, s"] = seconds(lambda: examine(large))
    figures[f"{MODELS} models: compiled, s"] = seconds(lambda: [Contracts(large).schemas()])
    figures[f"{MODELS} models: file read and examined, s"] = seconds(lambda: read_config(text))
    for name, figure in figures.items():
        print(f"{name:42} {figure:>12,.3f}" if figure < 1000 else f"{name:42} {figure:>12,.0f}")
    if asked.json:
        about = {"python": platform.python_version(), "machine": platform.machine()}
        asked.json.write_text(json.dumps({"figures": figures, **about}, indent=2) + "\n")


def shop() -> Models:
    """Three payloads: a time series, a nested record, and one of 200 fields."""
    nested = {
        "id": "string",
        "at": {"x": "number", "y": "number"},
        "part": {"name": "string", "size": {"mm": "number"}},
    }
    wide = {f"field-{n}": ("number", "string", "integer", "boolean")[n % 4] for n in range(200)}
    shapes = {"nested": PayloadShape("nested", nested), "wide": PayloadShape("wide", wide)}
    structure = {
        "motor": {"speed": ShapeRef("timeseries-number")},
        "nested": ShapeRef("nested"),
        "wide": ShapeRef("wide"),
    }
    pump = DataModel("pump", {"v1": structure})
    return Models(shapes, {"pump": pump}, (DataContract("_pump_v1", ModelRef("pump", "v1")),))


def messages() -> list[tuple[str, str, dict[str, Any]]]:
    nested = {"id": "a", "at": {"x": 1.5, "y": 2}, "part": {"name": "b", "size": {"mm": 3.5}}}
    wide = {f"field-{n}": (1.5, "text", 7, True)[n % 4] for n in range(200)}
    return [
        ("time series", "umh.v1.acme.cologne._pump_v1.motor.speed", {"timestamp_ms": 1_700_000_000_000, "value": 1.5}),
        ("nested record", "umh.v1.acme.cologne._pump_v1.nested", nested),
        ("200 fields", "umh.v1.acme.cologne._pump_v1.wide", wide),
    ]


def context(book: ContractBook) -> Context:
    return Context(
        flow="benchmark",
        bridged_by="benchmark",
        broker=None,
        clock=time.time,
        now=time.monotonic,
        random=lambda: 0.5,
        failed=lambda reason: None,
        answered=lambda host, port: None,
        contracts=book,
    )


def large_models() -> Models:
    return read_config(large_file()).models


def large_file() -> str:
    """A config file with so many models of ten fields, every second one referring to the one before, each with a contract."""
    lines = ["agent: {location: {0: acme}}", "dataModels:"]
    for n in range(MODELS):
        lines += [f"  - name: model-{n}", "    version:", "      v1:", "        structure:"]
        lines += [f"          field-{m}: {{_payloadshape: timeseries-number}}" for m in range(9)]
        last = f"_refModel: {{name: model-{n - 1}, version: v1}}" if n % 2 else "_payloadshape: timeseries-string"
        lines.append(f"          last: {{{last}}}")
    lines.append("dataContracts:")
    lines += [f"  - {{name: _model-{n}_v1, model: {{name: model-{n}, version: v1}}}}" for n in range(MODELS)]
    return "\n".join(lines) + "\n"


def rate(call: Callable[[], object]) -> float:
    """Calls a second, the median of several rounds of about 50 ms each."""
    call()
    count = max(1, int(0.05 / max(seconds(call, rounds=5), 1e-7)))
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append(count / (time.perf_counter() - begun))
    return statistics.median(rounds)


def seconds(call: Callable[[], object], *, rounds: int = 5) -> float:
    """How long it takes, the median of several."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main())
