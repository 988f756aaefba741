"""From a configuration to the tree of workers it asks for, and the registry that can make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from setpoint.agent.config import Bridge, Configuration, Flow, Item
from setpoint.agent.environment import Windows
from setpoint.control import ChildSpec, Monitor, Registry
from setpoint.flows import FlowEngine
from setpoint.services import Contacts, Gate, HostLimits, HostReader, Resolver
from setpoint.services.benthos.flows import BenthosFlows
from setpoint.workers import agent_monitor, bridge, broker, flow
from setpoint.workers.catalogue import known_types
from setpoint.workers.container_monitor import ContainerMonitorSpec

ROOT = "agent"
BROKER = f"{ROOT}/broker"
COMMUNICATOR = f"{ROOT}/communicator"
CONTAINER_MONITOR = f"{ROOT}/container_monitor"
KEEPING = "keeping"


def registry_for(
    *,
    engine: FlowEngine,
    benthos: BenthosFlows,
    log: broker.NamespaceLog,
    contacts: Contacts,
    data: Path,
    kept: Callable[[], Monitor],
    vitals: agent_monitor.Vitals,
) -> Registry:
    """All worker types, with what they may ask for, and those that installed packages offer."""
    reader = HostReader(data)
    return known_types(
        {KEEPING: kept},
        engine=engine,
        benthos=benthos,
        broker=log,
        contacts=contacts,
        resolver=Resolver(),
        reader=reader,
        gate=Gate(reader.latest),
        vitals=vitals,
    )


def tree_of(configuration: Configuration, windows: Windows) -> list[ChildSpec]:
    """The top of the tree: broker and monitors first, then bridges and flows in the order of the file."""
    wanted, own = configuration.broker, configuration.agent
    broker_spec = broker.BrokerSpec(
        desired_state=wanted.desired_state,
        idle_window_s=windows.broker_idle_s,
        external=wanted.external,
        managed=wanted.managed,
        settings=wanted.settings,
    )
    container = ContainerMonitorSpec.model_validate({**own.limits, **windows.container})
    gate = container.limits if (own.gate if windows.gate is None else windows.gate) else None
    return [
        ChildSpec("broker", "broker", broker_spec),
        ChildSpec("container_monitor", "container_monitor", container),
        ChildSpec(
            "agent_monitor",
            "agent_monitor",
            agent_monitor.AgentMonitorSpec(console=own.console),
            reads={agent_monitor.CONSOLE: COMMUNICATOR},
        ),
        ChildSpec("keeping", KEEPING),
        *(
            ChildSpec(
                f"bridges/{item.name}", "bridge", _bridge(item, gate), reads={bridge.BROKER: BROKER}, needs=(BROKER,)
            )
            for item in configuration.bridges
        ),
        *(ChildSpec(f"flows/{item.name}", "flow", _flow(item), needs=(BROKER,)) for item in configuration.flows),
        *(_worker(item, own.location) for item in configuration.workers),
    ]


def flow_paths(configuration: Configuration) -> set[str]:
    """The paths of all flows, whoever runs them."""
    read = {f"{ROOT}/bridges/{item.name}/read" for item in configuration.bridges if item.read is not None}
    write = {f"{ROOT}/bridges/{item.name}/write" for item in configuration.bridges if item.write is not None}
    return read | write | {f"{ROOT}/flows/{item.name}" for item in configuration.flows}


def _bridge(item: Bridge, gate: HostLimits | None) -> bridge.BridgeSpec:
    return bridge.BridgeSpec(
        target=item.target,
        port=item.port,
        read=item.read,
        write=item.write,
        bridged_by=item.bridged_by,
        desired_state=item.desired_state,
        read_desired=item.read_desired,
        write_desired=item.write_desired,
        idle_window_s=item.idle_window,
        running=_running(item),
        gate=gate,
    )


def _worker(item: Item, location: Mapping[int, str]) -> ChildSpec:
    levels = {"location": location} if location else {}
    return ChildSpec(
        f"workers/{item.name}",
        item.type,
        item.spec,
        enabled=item.desired_state == "active",
        needs=(BROKER,),
        after=tuple(f"workers/{name}" for name in item.after),
        variables={**levels, **item.variables},
    )


def _flow(item: Flow) -> flow.FlowSpec:
    return flow.FlowSpec(
        config=item.flow,
        desired_state=item.desired_state,
        idle_window_s=item.idle_window,
        **_running(item).model_dump(),
    )


def _running(item: Bridge | Flow) -> flow.Running:
    return item.running.model_copy(update={"debug": item.debug_level})
