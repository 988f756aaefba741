"""The bridges: ``protocolConverter``, each a config of its own or of a template, rendered (`setpoint.agent.config.templated`)."""

from __future__ import annotations

from typing import Final

from setpoint.agent.config.bridge_config import read_bridge_config
from setpoint.agent.config.code import with_code_read
from setpoint.agent.config.model import Bridge, DesiredState, Part
from setpoint.agent.config.settings import running
from setpoint.agent.config.templated import NAME, Kind, Surroundings, identity, read_service
from setpoint.configfile.fields import Fields, Place
from setpoint.configfile.node import Node, Scalar, plain
from setpoint.namespace.location import location_path

__all__ = ["BRIDGES", "NAME", "bridged_by", "desired", "name_of", "read_bridge", "scalar_text"]


def name_of(item: Fields) -> str:
    """The name of an item, empty when there is none; a name that is not allowed is reported."""
    name = item.text("name", required="a name")
    if name and not NAME.fullmatch(name):
        hint = "expected letters, digits, '-' and '_', beginning and ending with a letter or digit"
        item.place.at("name").error(item.mark_of("name"), f"{name[:60]!r} is not a valid name", hint)
    return name


def desired(item: Fields, key: str = "desiredState", *, default: str = "") -> DesiredState:
    """A desired state; without a default it is required."""
    return "stopped" if item.choice(key, ("active", "stopped"), default=default) == "stopped" else "active"


def bridged_by(node: str, name: str) -> str:
    """Who brought a message, and the consumer group of a write flow."""
    return identity("protocol-converter", node, name)


def _as_written(node: Node, place: Place, around: Surroundings) -> Node:
    node = with_code_read(node, place, around.references)
    read_bridge_config(node, place._replace(templated=True), bridged_by="")
    return node


BRIDGES: Final = Kind("protocolConverter", _as_written)


def read_bridge(item: Fields, around: Surroundings, nodes: dict[tuple[Part, str], Node]) -> Bridge | None:
    """One bridge, or None when it has an error. What `nodes` gets is for `Configuration.locate`."""
    errors = around.report.errors
    name, wanted, debug, how = name_of(item), desired(item), item.boolean("debug_level"), running(item)
    with item.fields("protocolConverterServiceConfig", required="config or templateRef, and variables") as service:
        debug = service.boolean("debug_level") or debug
        read_desired = desired(service, "readDFCDesiredState", default="active")
        write_desired = desired(service, "writeDFCDesiredState", default="active")
        group = bridged_by(around.node_name, name)
        found = read_service(service, BRIDGES, around, name=name, bridged_by=group)
    config = found.node and read_bridge_config(found.node, found.place, bridged_by=group)
    if around.report.errors != errors or not config or not around.location_known:
        return None
    for part, flow in (("read", config.read), ("write", config.write)):
        if flow is not None:
            nodes["read" if part == "read" else "write", name] = flow
    return Bridge(
        name=name,
        target=config.target,
        port=config.port,
        bridged_by=group,
        location=found.location,
        location_path=location_path(found.location),
        desired_state=wanted,
        read=plain(config.read) if config.read else None,
        write=plain(config.write) if config.write else None,
        read_desired=read_desired,
        write_desired=write_desired,
        debug_level=debug or config.debug_level,
        template=found.template or None,
        idle_window=around.idle_window,
        running=how,
        line=item.mark[0],
    )


def scalar_text(node: Node | None) -> str:
    """The text of a single value, empty for anything else."""
    return node.text if isinstance(node, Scalar) and node.value is not None else ""
