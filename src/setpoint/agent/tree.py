"""From a configuration to the tree of workers it asks for, and the registry that can make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from setpoint.agent.config import Bridge, Configuration, Flow, Item, StreamProcessor
from setpoint.agent.environment import Windows
from setpoint.control import ChildSpec, Monitor, Registry
from setpoint.flows import FlowEngine
from setpoint.namespace.browser import Browser
from setpoint.services import Contacts, Gate, HostLimits, HostReader, Resolver
from setpoint.services.benthos.flows import BenthosFlows
from setpoint.workers import agent_monitor, bridge, broker, flow, stream_processor, topic_browser
from setpoint.workers.catalogue import known_types
from setpoint.workers.container_monitor import ContainerMonitorSpec

ROOT = "agent"
BROKER = f"{ROOT}/broker"
COMMUNICATOR = f"{ROOT}/communicator"
CONTAINER_MONITOR = f"{ROOT}/container_monitor"
KEEPING = "keeping"
HIDDEN = "setpoint_secrets"
"""The variable under which workers know what the config refers to and must be hidden."""


def registry_for(
    *,
    engine: FlowEngine,
    benthos: BenthosFlows,
    log: broker.NamespaceLog,
    browser: Browser,
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
        browser=browser,
        contacts=contacts,
        resolver=Resolver(),
        reader=reader,
        gate=Gate(reader.latest),
        vitals=vitals,
    )


def tree_of(configuration: Configuration, windows: Windows) -> list[ChildSpec]:
    """The top of the tree: broker and monitors first, then bridges, flows and so on in the order of the file."""
    wanted, own, wanted_historian = configuration.broker, configuration.agent, configuration.historian
    broker_spec = broker.BrokerSpec(
        desired_state=wanted.desired_state,
        idle_window_s=windows.broker_idle_s,
        external=wanted.external,
        managed=wanted.managed,
        settings=wanted.settings,
    )
    container = ContainerMonitorSpec.model_validate({**own.limits, **windows.container})
    gate = container.limits if (own.gate if windows.gate is None else windows.gate) else None
    tree = [
        ChildSpec("broker", "broker", broker_spec),
        ChildSpec("container_monitor", "container_monitor", container),
        ChildSpec(
            "agent_monitor",
            "agent_monitor",
            agent_monitor.AgentMonitorSpec(console=own.console),
            reads={agent_monitor.CONSOLE: COMMUNICATOR},
        ),
        ChildSpec("keeping", KEEPING),
        ChildSpec(
            "topic_browser",
            "topic_browser",
            configuration.topic_browser,
            reads={topic_browser.BROKER: BROKER},
            needs=(BROKER,),
        ),
        *([ChildSpec("historian", "historian", wanted_historian, needs=(BROKER,))] if wanted_historian else []),
        *(
            ChildSpec(
                f"bridges/{item.name}", "bridge", _bridge(item, gate), reads={bridge.BROKER: BROKER}, needs=(BROKER,)
            )
            for item in configuration.bridges
        ),
        *(ChildSpec(f"flows/{item.name}", "flow", _flow(item), needs=(BROKER,)) for item in configuration.flows),
        *(
            ChildSpec(
                f"stream_processors/{item.name}",
                "stream_processor",
                _stream_processor(item),
                reads={stream_processor.BROKER: BROKER},
                needs=(BROKER,),
            )
            for item in configuration.stream_processors
        ),
        *(_worker(item, own.location) for item in configuration.workers),
    ]
    return [_hiding(child, configuration.secrets) for child in tree] if configuration.secrets else tree


def _hiding(child: ChildSpec, secrets: frozenset[str]) -> ChildSpec:
    """The same worker, which knows what must be hidden: a variable with the name of a secret (`setpoint.secrets.secrets_among`)."""
    return replace(child, variables={**child.variables, HIDDEN: sorted(secrets)})


def flow_paths(configuration: Configuration) -> set[str]:
    """The paths of all flows, whoever runs them."""
    read = {f"{ROOT}/bridges/{item.name}/read" for item in configuration.bridges if item.read is not None}
    write = {f"{ROOT}/bridges/{item.name}/write" for item in configuration.bridges if item.write is not None}
    derived = {f"{ROOT}/stream_processors/{item.name}/flow" for item in configuration.stream_processors}
    return read | write | derived | {f"{ROOT}/flows/{item.name}" for item in configuration.flows}


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


def _stream_processor(item: StreamProcessor) -> stream_processor.StreamProcessorSpec:
    return stream_processor.StreamProcessorSpec(
        flow=item.flow,
        bridged_by=item.bridged_by,
        desired_state=item.desired_state,
        idle_window_s=item.idle_window,
        running=_running(item),
    )


def _running(item: Bridge | Flow | StreamProcessor) -> flow.Running:
    return item.running.model_copy(update={"debug": item.debug_level})
