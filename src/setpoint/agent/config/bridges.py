"""The bridges: ``protocolConverter``, and the ``templates`` they refer to.

A bridge is a config (its own, or that of a template), rendered with its variables. A config is checked twice: as it is written, once
however many bridges share it, for its keys and its actions; and as rendered for each bridge, for its values. A template with a fault
is not rendered at all, and each bridge that refers to it says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from setpoint.agent.config.bridge_config import BridgeConfig, read_bridge_config
from setpoint.agent.config.code import with_code_read
from setpoint.agent.config.model import Bridge, DesiredState, Part
from setpoint.agent.config.render import Rendering, Templates, check_actions
from setpoint.agent.config.settings import running
from setpoint.configfile.fields import Fields, Place, Report
from setpoint.configfile.node import Mapping, Mark, Node, Scalar, plain
from setpoint.namespace.location import LocationError, location_path, merge

NAME: Final = re.compile("[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_BUILT_IN: Final = ("location", "location_path", "historian")
_RESERVED: Final = ("global", "internal")


@dataclass(frozen=True, slots=True)
class TemplateBody:
    """A config that was checked as it is written. `sound`: it can be rendered."""

    node: Node
    place: Place
    sound: bool


@dataclass(slots=True)
class Surroundings:
    """What bridges are read against."""

    report: Report
    location: MappingOf[int, str]
    location_known: bool
    """False when the agent's location has an error; then every topic would be wrong, and no bridge can be used."""
    node_name: str
    idle_window: float
    historian: dict[str, Any] | None = None
    templates: dict[str, TemplateBody] = field(default_factory=dict)
    parsed: Templates = field(default_factory=Templates)
    values: int = 1_000_000
    """Values that the flows of all bridges together may have."""


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
    """Who brought a message, and the consumer group of a write flow: ``protocol-converter-<node>-<name>``, in letters, digits and
    single dashes."""
    return re.sub("-+", "-", re.sub("[^A-Za-z0-9]", "-", f"protocol-converter-{node}-{name}"))


def read_templates(templates: Fields, around: Surroundings) -> None:
    """Check ``templates.protocolConverter`` and keep its bodies for the bridges."""
    with templates.fields("protocolConverter") as bodies:
        for name, node, place in bodies.all():
            if not NAME.fullmatch(name):
                hint = "expected letters, digits, '-' and '_'"
                place.error(bodies.mark_of(name), f"{name[:60]!r} is not a valid name", hint)
            around.templates[name] = _body(node, place, around)


def _body(node: Node, place: Place, around: Surroundings) -> TemplateBody:
    """Check a config as it is written."""
    errors = around.report.errors
    node = with_code_read(node, place)
    check_actions(node, place, around.parsed)
    read_bridge_config(node, place._replace(templated=True), bridged_by="")
    return TemplateBody(node, place, around.report.errors == errors and not node.flawed)


def read_bridge(item: Fields, around: Surroundings, nodes: dict[tuple[Part, str], Node]) -> Bridge | None:
    """One bridge, or None when it has an error. What `nodes` gets is for `Configuration.locate`."""
    errors = around.report.errors
    name, wanted, debug, how = name_of(item), desired(item), item.boolean("debug_level"), running(item)
    with item.fields("protocolConverterServiceConfig", required="config or templateRef, and variables") as service:
        debug = service.boolean("debug_level") or debug
        read_desired = desired(service, "readDFCDesiredState", default="active")
        write_desired = desired(service, "writeDFCDesiredState", default="active")
        template, body = _find_body(service, around)
        location = _location(service, around)
        group = bridged_by(around.node_name, name)
        variables = _variables(service) | _built_in(location, around) | {"internal": {"id": name, "bridged_by": group}}
        if body is None or not body.sound:
            return None
        given_at = _given_at(service) if template else None
        config = _rendered(body, body.place._replace(item=name), variables, given_at, around, group)
    if around.report.errors != errors or config is None or not around.location_known:
        return None
    for part, flow in (("read", config.read), ("write", config.write)):
        if flow is not None:
            nodes["read" if part == "read" else "write", name] = flow
    return Bridge(
        name=name,
        target=config.target,
        port=config.port,
        bridged_by=group,
        location=location,
        location_path=location_path(location),
        desired_state=wanted,
        read=plain(config.read) if config.read else None,
        write=plain(config.write) if config.write else None,
        read_desired=read_desired,
        write_desired=write_desired,
        debug_level=debug or config.debug_level,
        template=template or None,
        idle_window=around.idle_window,
        running=how,
        line=item.mark[0],
    )


def _rendered(
    body: TemplateBody,
    place: Place,
    variables: MappingOf[str, Any],
    given_at: tuple[Mark, Place] | None,
    around: Surroundings,
    group: str,
) -> BridgeConfig | None:
    budget = around.parsed.budget.part()
    around.values -= body.node.size
    if around.values < 0:
        place.error(body.node.mark, "all bridges together have more values than are allowed", "split the configuration")
        return None
    rendering = Rendering(around.parsed, variables, budget, given_at)
    node = rendering.render(body.node, place)
    around.parsed.budget.settle(budget)
    return None if node.flawed else read_bridge_config(node, place, bridged_by=group)


def _find_body(service: Fields, around: Surroundings) -> tuple[str, TemplateBody | None]:
    """The name of the template, if one is referred to, and the config."""
    reference, inline = service.text("templateRef"), service.get("config")
    place, mark = service.place.at("templateRef"), service.mark_of("templateRef")
    if reference and inline:
        place.error(mark, "templateRef and config are both given", "remove one of them")
    elif inline is not None:
        return "", _body(inline, service.place.at("config"), around)
    elif reference:
        body = around.templates.get(reference)
        if body is None:
            like = place.nearest(reference, around.templates)
            known = ", ".join(islice(around.templates, 20)) or "none"
            hint = f"did you mean {like!r}?" if like else f"templates.protocolConverter has: {known}"
            place.error(mark, f"there is no template {reference[:60]!r}", hint)
        elif not body.sound:
            place.error(mark, f"the template {reference!r} has errors", f"correct it, from line {body.node.mark[0]} on")
        return reference, body
    elif service.has("template"):
        service.place.at("template").error(service.mark_of("template"), "unknown key", "it is called 'config' now")
        service.get("template")
    elif service.present:
        service.place.error(service.mark, "neither config nor templateRef is given", "add one of them")
    return reference, None


def _location(service: Fields, around: Surroundings) -> dict[int, str]:
    """The levels of the bridge below those of the agent; every level with an error is reported."""
    levels: dict[str, str] = {}
    with service.fields("location") as location:
        for level, _, place in location.all():
            value = location.text(level)
            try:
                merge({}, {level: value})
                levels[level] = value
            except LocationError as error:
                place.error(location.mark_of(level), str(error))
    return merge(around.location, levels)


def _variables(service: Fields) -> dict[str, Any]:
    """The variables by their top-level names, from the flat form or from {user, global, internal}."""
    with service.fields("variables") as fields:
        entries = fields.all()
        nested = entries and all(
            name in ("user", *_RESERVED) and isinstance(node, Mapping) for name, node, _ in entries
        )
        if not nested:
            return {"global": {}} | _user_variables(fields)
        shared = fields.get("global")
        with fields.fields("user") as user:
            return {"global": plain(shared) if shared else {}} | _user_variables(user)


def _user_variables(fields: Fields) -> dict[str, Any]:
    for name, _, place in fields.all():
        if name in _RESERVED:
            hint = "rename it; to give global variables, put your own below 'user'"
            place.error(fields.mark_of(name), f"the variable name {name!r} is reserved", hint)
        elif name in _BUILT_IN:
            message = f"this variable has no effect: {name!r} is set by the agent"
            place.warning(fields.mark_of(name), message, "rename it")
    return {name: plain(node) for name, node, _ in fields.all()}


def _built_in(location: MappingOf[int, str], around: Surroundings) -> dict[str, Any]:
    """The variables that every bridge has."""
    levels = {str(level): value for level, value in location.items()}
    historian = {"historian": around.historian} if around.historian else {}
    return {"location": levels, "location_path": location_path(location), **historian}


def _given_at(service: Fields) -> tuple[Mark, Place]:
    """Where a missing variable of a template is to be added."""
    key = "variables" if service.has("variables") else "templateRef"
    return service.mark_of(key), service.place.at(key)


def scalar_text(node: Node | None) -> str:
    """The text of a single value, empty for anything else."""
    return node.text if isinstance(node, Scalar) and node.value is not None else ""
