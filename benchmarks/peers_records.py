"""Records through three states, and durable steps: our part in the comparison of libraries that measures all in one go.

The harness is the module ``fsm_common``, which is not ours and must be on the path. Its runner takes this file beside those of the
libraries:

    python fsm_run_all.py bytewax burr langgraph harel dataknobs --extra <path of this file>

A record goes from start through middle to end, a condition and a transform on each arc, as the others are measured. A durable step is one
state of a ring left, with a commit to SQLite that survives ``kill -9`` before the next is entered.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsm_common import Case, main

from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import Runs

Made = tuple[Callable[[int], Any], Callable[[int], None]]
STEPS = 50


def more(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "n": record["n"] + 1}


def allowed(record: dict[str, Any]) -> bool:
    return bool(record["ok"])


async def later(record: dict[str, Any]) -> dict[str, Any]:
    return more(record)


def machine(mode: str, transform: Any = more) -> SimpleFSM:
    """Three states, a condition and a transform on each of its two arcs."""
    ways = [
        {"from": a, "to": b, "condition": "allowed", "transform": "more"}
        for a, b in (("start", "middle"), ("middle", "end"))
    ]
    config = {
        "name": "ring",
        "data_mode": mode,
        "states": {"start": {}, "middle": {}, "end": {"final": True}},
        "arcs": ways,
    }
    return SimpleFSM(config, functions={"allowed": allowed, "more": transform})


def single(mode: str) -> Callable[[], Made]:
    def make() -> Made:
        fsm, out = machine(mode), {"t": 0}

        def run(n: int) -> None:
            total = 0
            for _ in range(n):
                total += fsm.process({"ok": True, "n": 0}).data["n"]
            out["t"] = total

        return run, lambda n: _same(out["t"], 2 * n)

    return make


def batch(mode: str) -> Callable[[], Made]:
    def make() -> Made:
        fsm, out = machine(mode), {"t": 0}

        def run(n: int) -> None:
            out["t"] = sum(result.data["n"] for result in fsm.process_batch([{"ok": True, "n": 0} for _ in range(n)]))

        return run, lambda n: _same(out["t"], 2 * n)

    return make


def asynchronous() -> Made:
    fsm, out = machine("direct", later), {"t": 0}

    async def run(n: int) -> None:
        results = await fsm.aprocess_batch([{"ok": True, "n": 0} for _ in range(n)])
        out["t"] = sum(result.data["n"] for result in results)

    return run, lambda n: _same(out["t"], 2 * n)


def _ring(sync: str) -> tuple[SimpleFSM, Callable[[], str]]:
    """A ring that is left after `STEPS` steps, its runs kept in a file of their own."""
    states: dict[str, Any] = {
        name: {"transforms": ["more"], "arcs": [{"target": "end", "condition": f"n >= {STEPS}"}, {"target": after}]}
        for name, after in (("a", "b"), ("b", "c"), ("c", "a"))
    }
    runs = Runs(Path(tempfile.mkdtemp(prefix="peers-")) / "runs.sqlite", sync=sync, records=False)  # type: ignore[arg-type]
    numbers = itertools.count()
    config = {"name": "ring", "states": {**states, "end": {"final": True}}}
    return SimpleFSM(config, functions={"more": more}, runs=runs), lambda: f"r{next(numbers)}"


def durable(sync: str) -> Callable[[], Made]:
    def make() -> Made:
        fsm, name = _ring(sync)
        out = {"t": 0}

        def run(n: int) -> None:
            out["t"] = sum(fsm.process({"n": 0}, run=name()).data["n"] for _ in range(-(-n // STEPS)))

        return run, lambda n: _same(out["t"], -(-n // STEPS) * STEPS)

    return make


def durable_together(sync: str) -> Callable[[], Made]:
    def make() -> Made:
        fsm, name = _ring(sync)
        out = {"t": 0}

        async def run(n: int) -> None:
            numbers = iter(range(-(-n // STEPS)))

            async def worker() -> int:
                return sum([(await fsm.aprocess({"n": 0}, run=name())).data["n"] for _ in numbers])

            out["t"] = sum(await asyncio.gather(*(worker() for _ in range(300))))

        return run, lambda n: _same(out["t"], -(-n // STEPS) * STEPS)

    return make


def _same(found: int, expected: int) -> None:
    if found != expected:
        raise AssertionError(f"{found} of {expected}")


main(
    [
        Case("setpoint process COPY", single("copy"), unit="records/s", note="2 arcs per record"),
        Case("setpoint process DIRECT", single("direct"), unit="records/s", note="2 arcs per record"),
        Case("setpoint process_batch COPY", batch("copy"), unit="records/s", note="2 arcs per record"),
        Case("setpoint process_batch DIRECT", batch("direct"), unit="records/s", note="2 arcs per record"),
        Case("setpoint aprocess_batch DIRECT", asynchronous, unit="records/s", note="async transforms"),
        Case("setpoint durable, one by one", durable("process"), unit="durable steps/s", note="a commit a step"),
        Case(
            "setpoint durable, 300 at once",
            durable_together("process"),
            start=15_000,
            unit="durable steps/s",
            note="group commit",
        ),
        Case("setpoint durable + fsync, one by one", durable("power"), unit="durable steps/s", note="a commit a step"),
        Case(
            "setpoint durable + fsync, 300 at once",
            durable_together("power"),
            unit="durable steps/s",
            note="group commit",
        ),
    ]
)
