"""The catalogue: every machine there is, by name, and which worker type it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from setpoint.control import LIFECYCLE, Monitor, Registry, Worker
from setpoint.control.registry import Factory
from setpoint.machine import Machine
from setpoint.workers.agent_monitor import AgentMonitor
from setpoint.workers.bridge import Bridge
from setpoint.workers.broker import Broker
from setpoint.workers.connection import Connection
from setpoint.workers.container_monitor import ContainerMonitor
from setpoint.workers.flow import Flow
from setpoint.workers.historian import Historian
from setpoint.workers.stream_processor import StreamProcessor
from setpoint.workers.topic_browser import TopicBrowser

WORKERS: Mapping[str, type[Worker[Any, Any, Any]]] = {
    "bridge": Bridge,
    "connection": Connection,
    "flow": Flow,
    "historian": Historian,
    "broker": Broker,
    "container_monitor": ContainerMonitor,
    "agent_monitor": AgentMonitor,
    "topic_browser": TopicBrowser,
    "stream_processor": StreamProcessor,
    "keeping": Monitor,
}
"""Worker classes by worker type."""


def known_types(others: Mapping[str, Factory] = MappingProxyType({}), **dependencies: Any) -> Registry:
    """All worker types that a config may ask for: the built-in ones and those of installed packages, `others` in the place of those of the
    same name. Keyword arguments are what constructors may ask for by name."""
    registry = Registry(**dependencies)
    types: dict[str, Factory] = {**WORKERS, **others}
    for name, factory in types.items():
        registry.add(name, factory)
    registry.load_entry_points()
    return registry


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
