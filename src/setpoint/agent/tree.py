"""From a configuration to the tree of workers it asks for, and the registry that can make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from setpoint.agent.config import Bridge, Configuration, Flow, Item
from setpoint.agent.environment import Windows
from setpoint.control import ChildSpec, Monitor, Registry
from setpoint.flows import FlowEngine
from setpoint.namespace import Broker
from setpoint.services import Contacts, HostReader, Resolver
from setpoint.workers import bridge, broker, flow
from setpoint.workers.catalogue import known_types

ROOT = "agent"
BROKER = f"{ROOT}/broker"
KEEPING = "keeping"


def registry_for(
    *, engine: FlowEngine, broker_service: Broker, contacts: Contacts, data: Path, kept: Callable[[], Monitor]
) -> Registry:
    """All worker types, with what they may ask for, and those that installed packages offer."""
    return known_types(
        {KEEPING: kept},
        engine=engine,
        broker=broker_service,
        contacts=contacts,
        resolver=Resolver(),
        reader=HostReader(data),
    )


def tree_of(configuration: Configuration, windows: Windows) -> list[ChildSpec]:
    """The top of the tree: broker and monitor first, then bridges and flows in the order of the file."""
    wanted = configuration.broker
    broker_spec = broker.BrokerSpec(desired_state=wanted.desired_state, idle_window_s=windows.broker_idle_s)
    return [
        ChildSpec("broker", "broker", broker_spec),
        ChildSpec("container_monitor", "container_monitor", windows.container),
        ChildSpec("keeping", KEEPING),
        *(
            ChildSpec(f"bridges/{item.name}", "bridge", _bridge(item), reads={bridge.BROKER: BROKER}, needs=(BROKER,))
            for item in configuration.bridges
        ),
        *(ChildSpec(f"flows/{item.name}", "flow", _flow(item), needs=(BROKER,)) for item in configuration.flows),
        *(_worker(item, configuration.agent.location) for item in configuration.workers),
    ]


def _bridge(item: Bridge) -> bridge.BridgeSpec:
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
    return flow.FlowSpec(config=item.flow, desired_state=item.desired_state, idle_window_s=item.idle_window)
