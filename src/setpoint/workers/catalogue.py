"""The catalogue: every machine there is, by name, and which worker type it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from setpoint.control import LIFECYCLE, Monitor, Worker
from setpoint.control.registry import ENTRY_POINTS
from setpoint.machine import Machine
from setpoint.workers.bridge import Bridge
from setpoint.workers.broker import Broker
from setpoint.workers.connection import Connection
from setpoint.workers.container_monitor import ContainerMonitor
from setpoint.workers.flow import Flow

WORKERS: Mapping[str, type[Worker[Any, Any, Any]]] = {
    "bridge": Bridge,
    "connection": Connection,
    "flow": Flow,
    "broker": Broker,
    "container_monitor": ContainerMonitor,
    "keeping": Monitor,
}
"""Worker classes by worker type."""


def worker_types() -> list[str]:
    """All worker types that a config may ask for: the built-in ones and those of installed packages."""
    return [*WORKERS, *(point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in WORKERS)]


def spec_type_of(worker_type: str) -> Any:
    """The type of spec that a worker type declares; `Any` where it declares none, or cannot be imported (it says so when it runs)."""
    worker: Any = WORKERS.get(worker_type)
    for point in entry_points(group=ENTRY_POINTS) if worker is None else ():
        if point.name == worker_type:
            try:
                worker = point.load()
            except Exception:
                return Any
    return getattr(worker, "spec_type", Any)


def machines() -> dict[str, Machine]:
    """All machines by name."""
    return {worker.machine.name: worker.machine for worker in WORKERS.values()} | {LIFECYCLE.name: LIFECYCLE}


def find_machine(name: str) -> Machine:
    """A machine by its name or that of its worker type. Raises `LookupError` with the nearest name."""
    known = machines()
    if name in known:
        return known[name]
    if name in WORKERS:
        return WORKERS[name].machine
    near = get_close_matches(name, [*known, *WORKERS], n=1)
    raise LookupError(
        f"there is no machine {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}")
    )
