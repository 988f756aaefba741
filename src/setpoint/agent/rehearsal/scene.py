"""The scene of a rehearsal: the tree that a configuration asks for, over a plant, and what can befall that plant."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from setpoint.agent.rehearsal.plant import (
    Address,
    ModelEngine,
    ModelHost,
    Plant,
    RehearsedConnection,
    RehearsedFlow,
    RehearsedHistorian,
)
from setpoint.agent.tree import BROKER, KEEPING, ROOT
from setpoint.control import ChildSpec, Registry, Worker
from setpoint.services import Contacts, Gate, Resolver
from setpoint.testing.simulation import MakeScene, Scene, Trouble
from setpoint.workers.agent_monitor import AgentObserved
from setpoint.workers.bridge import BridgeSpec
from setpoint.workers.catalogue import known_types
from setpoint.workers.connection import ConnectionSpec
from setpoint.workers.flow import FlowSpec
from setpoint.workers.flow_gates import FLOW
from setpoint.workers.keeping import keeping
from setpoint.workers.stream_processor import StreamProcessorSpec

TROUBLES: Mapping[str, str] = {
    "device-down": "a device does not answer",
    "flow-crash": "a flow ends, and ends again when it is started",
    "broker-down": "the broker fails and cannot be opened",
    "host-full": "the host has no processor time left",
}
"""What can befall a plant, by name."""
StandIns = Mapping[str, type[Worker[Any, Any, Any]]]
"""Worker classes in place of those that do real I/O, by worker type."""
WAITS_S = ConnectionSpec(target="-", port=1).flaky_window_s + FlowSpec(config={}).error_window_s
"""A way that was flaky, and a flow that had errors, stay degraded until their windows have passed."""


def rehearsal_of(tree: Sequence[ChildSpec], *, stand_ins: StandIns = MappingProxyType({})) -> MakeScene:
    """What makes scenes of the tree. Worker types of installed packages run as they are, unless there is a stand-in for them: they must
    not do real I/O."""

    def make_scene(rng: random.Random) -> Scene:
        plant = Plant()
        engine = ModelEngine(plant)
        return Scene(
            lambda: registry_over(plant, engine, stand_ins),
            tree,
            troubles(tree, plant, engine),
            waits=WAITS_S,
            root=ROOT,
        )

    return make_scene


def registry_over(plant: Plant, engine: ModelEngine, stand_ins: StandIns) -> Registry:
    """Every worker type, over the plant."""
    host = ModelHost(plant)
    return known_types(
        {
            "connection": RehearsedConnection,
            "flow": RehearsedFlow,
            "historian": RehearsedHistorian,
            KEEPING: keeping(lambda: "", lambda: ""),
            **stand_ins,
        },
        engine=engine,
        broker=plant.broker,
        browser=plant.browser,
        plant=plant,
        reader=host,
        gate=Gate(host.latest),
        vitals=lambda: AgentObserved(measured=True),
        contacts=Contacts(),
        resolver=Resolver(),
    )


def troubles(tree: Sequence[ChildSpec], plant: Plant, engine: ModelEngine) -> dict[str, Trouble]:
    """What can befall the plant that this tree is about."""
    devices = {address_text(address): address for address in addresses(tree)}
    users = {
        text: [f"{ROOT}/{spec.name}" for spec in tree if address in addresses([spec])]
        for text, address in devices.items()
    }
    flows = [path for path, _, _ in flows_in(tree)]
    monitor = f"{ROOT}/container_monitor"
    gated = [f"{ROOT}/{spec.name}" for spec in tree if isinstance(spec.spec, BridgeSpec) and spec.spec.gate is not None]

    def broker_down(target: str, level: float) -> Any:
        plant.broker_fails += 1
        plant.broker.is_open = False
        return lambda: setattr(plant, "broker_fails", plant.broker_fails - 1)

    def host_full(target: str, level: float) -> Any:
        plant.host_is_full += 1
        return lambda: setattr(plant, "host_is_full", plant.host_is_full - 1)

    return {
        "device-down": Trouble(
            list(devices), lambda target, level: plant.befall(plant.down, devices[target]), lambda target: users[target]
        ),
        "flow-crash": Trouble(flows, lambda target, level: plant.befall(plant.crashed, target)),
        "broker-down": Trouble([BROKER], broker_down, lambda target: [f"{ROOT}/{spec.name}" for spec in tree]),
        "host-full": Trouble([monitor], host_full, lambda target: [monitor, *gated]),
    }


def addresses(tree: Iterable[ChildSpec]) -> list[Address]:
    """The devices that the tree is about: those of its bridges, and those that flows of their own read."""
    found: dict[Address, None] = {}
    for spec in tree:
        if isinstance(spec.spec, BridgeSpec):
            found[spec.spec.target, spec.spec.port] = None
        for config in _configs(spec):
            modbus = config.get("input", {}).get("modbus") if isinstance(config.get("input"), Mapping) else None
            if isinstance(modbus, Mapping) and "controller" in modbus:
                found[_endpoint(str(modbus["controller"]))] = None
    return list(found)


def _endpoint(controller: str) -> Address:
    from urllib.parse import urlsplit

    url = urlsplit(controller)
    return str(url.hostname), url.port or 502


def _configs(spec: ChildSpec) -> list[Mapping[str, Any]]:
    if isinstance(spec.spec, BridgeSpec):
        return [config for config in (spec.spec.read, spec.spec.write) if config is not None]
    return [spec.spec.config] if isinstance(spec.spec, FlowSpec) else []


def flows_in(tree: Iterable[ChildSpec]) -> Iterable[tuple[str, Mapping[str, Any], str]]:
    """The flows that the tree asks for: path, config, and what they are bridged by."""
    for spec in tree:
        path, asked = f"{ROOT}/{spec.name}", spec.spec
        if isinstance(asked, FlowSpec):
            yield path, asked.config, asked.bridged_by
        elif isinstance(asked, BridgeSpec):
            for name, config in (("read", asked.read), ("write", asked.write)):
                if config is not None:
                    yield f"{path}/{name}", config, asked.bridged_by
        elif isinstance(asked, StreamProcessorSpec):
            yield f"{path}/{FLOW}", asked.flow, asked.bridged_by


def address_text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
