"""The built-in workers keep the laws of the test kit. Those that reach outside are run with scripted eyes and hands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from setpoint.control import ChildSpec
from setpoint.flows import FlowEngine
from setpoint.namespace import EmbeddedBroker
from setpoint.services import HostFigures, HostReader
from setpoint.testing import LAWS, check_worker, scripted, stand_in
from setpoint.workers.agent_monitor import CONSOLE, AgentMonitor, AgentObserved
from setpoint.workers.bridge import BROKER, Bridge, BridgeSpec
from setpoint.workers.broker import Broker, BrokerObserved
from setpoint.workers.connection import Connection, ConnectionObserved, ConnectionSpec
from setpoint.workers.container_monitor import ContainerMonitor, ContainerObserved
from setpoint.workers.flow import Flow, FlowObserved, FlowSpec

FLOW: Mapping[str, Any] = {"input": {"generate": {"mapping": 'root = "tick"'}}, "output": {"drop": {}}}
UP = FlowObserved(up=True, current=True, uptime_s=60.0, input_connected=True, output_connected=True, moving=True)
FIGURES = HostFigures(
    cpu_percent=10.0, cpu_cores=2.0, throttled_percent=0.0, memory_percent=10.0, memory_used_bytes=1, memory_total_bytes=10,
    disk_percent=10.0, disk_used_bytes=1, disk_total_bytes=10,
)  # fmt: skip


def connection() -> Any:
    return scripted(lambda: Connection(None, None), ConnectionObserved(answer="open", detail="fine"))  # type: ignore[arg-type]


def container_monitor() -> Any:
    return scripted(lambda: ContainerMonitor(HostReader(Path("/"))), ContainerObserved(figures=FIGURES))


def agent_monitor() -> Any:
    return scripted(lambda: AgentMonitor(AgentObserved), AgentObserved(measured=True))


def broker(tmp_path: Path) -> Any:
    script = scripted(lambda: Broker(EmbeddedBroker(tmp_path)), BrokerObserved())
    return script.on("open", open=True, bytes_in_per_s=5.0).on("shut", BrokerObserved())


def flow(tmp_path: Path) -> Any:
    engine = FlowEngine(EmbeddedBroker(tmp_path))
    script = scripted(lambda: Flow(engine), FlowObserved(fault="not started"))
    return script.on("start_flow", UP).on("stop_flow", FlowObserved(fault="not started"))


def test_connection() -> None:
    """All laws."""
    report = check_worker(connection(), spec=ConnectionSpec(target="plc", port=502))
    assert report.kept == tuple(LAWS)


def test_container_monitor() -> None:
    """All laws."""
    assert check_worker(container_monitor()).kept == tuple(LAWS)


def test_agent_monitor() -> None:
    """All laws, with no link to a console."""
    assert check_worker(agent_monitor(), peers={CONSOLE: None}).kept == tuple(LAWS)


def test_broker(tmp_path: Path) -> None:
    """All laws."""
    assert check_worker(broker(tmp_path)).kept == tuple(LAWS)


def test_flow(tmp_path: Path) -> None:
    """All laws, over the real engine's reading of its config."""
    assert check_worker(flow(tmp_path), spec=FlowSpec(config=FLOW)).kept == tuple(LAWS)


def test_bridge() -> None:
    """All laws, with children and a broker that are where they are told to be."""
    report = check_worker(
        Bridge,
        spec=BridgeSpec(target="plc", port=502, read=FLOW),
        types={
            "connection": stand_in(Connection, "up"),
            "flow": stand_in(Flow, "active"),
            "broker": stand_in(Broker, "active"),
        },
        peers={BROKER: Broker},
        beside=[ChildSpec("broker", "broker")],
        reads={BROKER: "broker"},
    )
    assert report.kept == tuple(LAWS)


@pytest.mark.parametrize("worker", [ContainerMonitor, Broker, Flow])
def test_whatever_is_asked_every_wait_ends(worker: Any) -> None:
    """For every spec that is accepted."""
    check_worker(worker, skip=LAWS.keys() - {"waiting"})


def test_a_bridge_can_name_its_children_for_every_spec() -> None:
    """For every spec that is accepted."""
    check_worker(Bridge, skip=LAWS.keys() - {"children"})
