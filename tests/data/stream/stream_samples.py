"""Machines and records for the tests of batches and streams; at the top level of a module, so that they can go to other processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from setpoint.data.definition import ArcDef, DataMode, Definition, NetworkDef, StateDef, Strategy
from setpoint.data.plan import Plan
from setpoint.data.result import DROP, Several


def double(record: Any) -> None:
    record["b"] = record["a"] * 2


async def adouble(record: Any) -> None:
    await asyncio.sleep(0)
    record["b"] = record["a"] * 2


def odd(record: Any) -> bool:
    return bool(record["a"] % 2)


def sorted_out(record: Any) -> Any:
    """Multiples of 10 fail, of 7 are dropped, of 11 come twice."""
    if record["a"] % 10 == 0:
        raise ValueError(f"{record['a']} is round")
    if record["a"] % 7 == 0:
        return DROP
    if record["a"] % 11 == 0:
        return Several([dict(record, part=1), dict(record, part=2)])
    return record


def deadly(record: Any) -> Any:
    """13 kills the process."""
    if record["a"] == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return record


def slow(record: Any) -> None:
    time.sleep(record.get("seconds", 0.0))


def plan(
    *transforms: Callable[..., Any],
    mode: DataMode = DataMode.COPY,
    strategy: Strategy = Strategy.DEPTH_FIRST,
    **options: Any,
) -> Plan:
    """in → work → even | odd; what ends in `odd` is not written."""
    states = (
        StateDef(name="in", arcs=(ArcDef(target="work"),)),
        StateDef(
            name="work",
            transforms=transforms or (double,),
            arcs=(ArcDef(target="odd", condition=odd, priority=1), ArcDef(target="even")),
        ),
        StateDef(name="even", final=True),
        StateDef(name="odd", final=True, emit_output=False),
    )
    networks = (NetworkDef(name="main", states=states),)
    return Plan(Definition(name="numbers", networks=networks, data_mode=mode, strategy=strategy, **options))


def straight(*transforms: Callable[..., Any], **options: Any) -> Plan:
    """in → done, with everything written."""
    states = (
        StateDef(name="in", transforms=transforms, arcs=(ArcDef(target="done"),)),
        StateDef(name="done", final=True),
    )
    return Plan(Definition(name="straight", networks=(NetworkDef(name="main", states=states),), **options))


def numbers(count: int) -> list[dict[str, int]]:
    return [{"a": number} for number in range(count)]


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return path


def read_lines(path: Path) -> list[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
