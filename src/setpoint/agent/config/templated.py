"""Items whose config may be that of a template: bridges and stream processors.

Such an item has a config (its own, or that of a template), rendered with its variables. A config is checked twice: as it is written, once
however many items share it, for its keys and its actions; and as rendered for each item, for its values. A template with a fault is not
rendered at all, and each item that refers to it says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from setpoint.agent.config.references import References
from setpoint.agent.config.render import Rendering, Templates, check_actions
from setpoint.configfile.fields import Fields, Place, Report
from setpoint.configfile.node import Mapping, Mark, Node, plain
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
    """What such items are read against. `templates` are those of each kind, by name."""

    report: Report
    location: MappingOf[int, str]
    location_known: bool
    """False when the agent's location has an error; then every topic would be wrong, and no item can be used."""
    node_name: str
    idle_window: float
    historian: dict[str, Any] | None = None
    templates: dict[str, dict[str, TemplateBody]] = field(default_factory=dict)
    parsed: Templates = field(default_factory=Templates)
    references: References = field(default_factory=References)
    """For what is not read before: YAML inside of a text."""
    values: int = 1_000_000
    """Values that the flows of all items together may have."""


class Kind(NamedTuple):
    """One kind of item: the key of its section, and what checks a config as it is written and gives what is to be rendered of it."""

    key: str
    as_written: Callable[[Node, Place, Surroundings], Node]


class Rendered(NamedTuple):
    """What became of an item's config; `node` is None when it cannot be used."""

    template: str
    location: MappingOf[int, str]
    node: Node | None
    place: Place


def identity(kind: str, node: str, name: str) -> str:
    """Who brought a message, and the consumer group of what reads: ``<kind>-<node>-<name>``, in letters, digits and single dashes."""
    return re.sub("-+", "-", re.sub("[^A-Za-z0-9]", "-", f"{kind}-{node}-{name}"))


def read_templates(templates: Fields, kind: Kind, around: Surroundings) -> None:
    """Check the templates of a kind and keep their bodies."""
    found = around.templates.setdefault(kind.key, {})
    with templates.fields(kind.key) as bodies:
        for name, node, place in bodies.all():
            if not NAME.fullmatch(name):
                hint = "expected letters, digits, '-' and '_'"
                place.error(bodies.mark_of(name), f"{name[:60]!r} is not a valid name", hint)
            found[name] = _body(node, place, kind, around)


def read_service(service: Fields, kind: Kind, around: Surroundings, *, name: str, bridged_by: str) -> Rendered:
    """The rendered config of the item `name`, from its ``…ServiceConfig``."""
    template, body = _find_body(service, kind, around)
    location = _location(service, around)
    internal = {"internal": {"id": name, "bridged_by": bridged_by}}
    variables = _variables(service) | _built_in(location, around) | internal
    if body is None:
        return Rendered(template, location, None, service.place)
    place = body.place._replace(item=name)
    if not body.sound:
        return Rendered(template, location, None, place)
    node = _rendered(body, place, variables, _given_at(service) if template else None, around)
    return Rendered(template, location, node, place)


def _body(node: Node, place: Place, kind: Kind, around: Surroundings) -> TemplateBody:
    """Check a config as it is written."""
    errors = around.report.errors
    node = kind.as_written(node, place, around)
    check_actions(node, place, around.parsed)
    return TemplateBody(node, place, around.report.errors == errors and not node.flawed)


def _rendered(
    body: TemplateBody,
    place: Place,
    variables: MappingOf[str, Any],
    given_at: tuple[Mark, Place] | None,
    around: Surroundings,
) -> Node | None:
    budget = around.parsed.budget.part()
    around.values -= body.node.size
    if around.values < 0:
        place.error(body.node.mark, "all items together have more values than are allowed", "split the configuration")
        return None
    rendering = Rendering(around.parsed, variables, budget, given_at)
    node = rendering.render(body.node, place)
    around.parsed.budget.settle(budget)
    return None if node.flawed else node


def _find_body(service: Fields, kind: Kind, around: Surroundings) -> tuple[str, TemplateBody | None]:
    """The name of the template, if one is referred to, and the config."""
    reference, inline = service.text("templateRef"), service.get("config")
    place, mark = service.place.at("templateRef"), service.mark_of("templateRef")
    if reference and inline:
        place.error(mark, "templateRef and config are both given", "remove one of them")
    elif inline is not None:
        return "", _body(inline, service.place.at("config"), kind, around)
    elif reference:
        templates = around.templates.get(kind.key, {})
        body = templates.get(reference)
        if body is None:
            like = place.nearest(reference, templates)
            known = ", ".join(islice(templates, 20)) or "none"
            hint = f"did you mean {like!r}?" if like else f"templates.{kind.key} has: {known}"
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
    """The levels of the item below those of the agent; every level with an error is reported."""
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
    """The variables that every item has."""
    levels = {str(level): value for level, value in location.items()}
    historian = {"historian": around.historian} if around.historian else {}
    return {"location": levels, "location_path": location_path(location), **historian}


def _given_at(service: Fields) -> tuple[Mark, Place]:
    """Where a missing variable of a template is to be added."""
    key = "variables" if service.has("variables") else "templateRef"
    return service.mark_of(key), service.place.at(key)
