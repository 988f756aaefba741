"""What an edit of a config means: bridges and flows by their names, templates with their roots and children.

A bridge whose template has its own name is that template's *root*; other bridges with the template are its *children*. The root goes with
its template: an edit of what it reads is one of the template, its new name is the template's, and it cannot go while it has children,
because they would be without a config. A child has variables and a location of its own, and nothing else.

The address of a device is where the connection of its bridge says: mostly in two variables that the config names (``target: "{{ .IP
}}"``), else in the config itself.

All functions take the text of a file and give the new one, or raise `NotEditable`. What they give is yet to be checked as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal

from setpoint.agent.config.bridges import NAME
from setpoint.agent.editing_sources import PORT, TARGET
from setpoint.configfile.editing import (
    NotEditable,
    Path,
    Span,
    name_of,
    spans,
    way_to,
    with_item,
    with_key,
    with_value,
    without,
)

Kind = Literal["bridge", "flow"]
SECTION: Final[dict[Kind, str]] = {"bridge": "protocolConverter", "flow": "dataFlow"}
SERVICE: Final[dict[Kind, str]] = {"bridge": "protocolConverterServiceConfig", "flow": "dataFlowComponentConfig"}
TEMPLATES: Final[Path] = ("templates", "protocolConverter")
_NMAP: Final[Path] = ("connection", "nmap")
_READ: Final[Path] = ("dataflowcomponent_read", "benthos")
_VARIABLE: Final = re.compile(r"\{\{-?\s*\.([A-Za-z_]\w*)\s*-?\}\}")
_FORMS: Final = ("user", "global", "internal")


@dataclass(frozen=True)
class Wanted:
    """What is to be of a bridge; None and empty: as it is. `read` is a flow in the Benthos shape; a location level that is "" goes."""

    target: str | None = None
    port: int | None = None
    read: Mapping[str, Any] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    location: Mapping[int, str] = field(default_factory=dict)
    state: str | None = None


def names(text: str, kind: Kind) -> list[str]:
    """The names of all bridges or flows, in the order of the file."""
    way = way_to(spans(text), (SECTION[kind],))
    return [] if way.rest else [name_of(entry.value) for entry in way.node.entries if name_of(entry.value)]


def place_of(text: str, kind: Kind, name: str) -> Path:
    """The path of an item. Raises `NotEditable` that names the one that may be meant."""
    known = names(text, kind)
    if name in known:
        return (SECTION[kind], name)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known[:20]) or 'none'}"
    raise NotEditable(f"there is no {kind} {name!r}", hint)


def with_bridge(text: str, name: str, wanted: Wanted, *, template: str = "") -> str:
    """The text with one more bridge. With `template` it is a child of that one, or, where there is none and it has the bridge's own name,
    the root of a new one."""
    _check_new(text, "bridge", name)
    root = bool(template) and template == name and _template(text, template) is None
    service: dict[str, Any] = {"templateRef": template} if template else {}
    if wanted.location:
        service["location"] = {level: value for level, value in wanted.location.items() if value}
    if template and not root:
        if wanted.read is not None:
            raise NotEditable("a bridge of a template reads what the template says", "leave --input out, or --template")
        service["variables"] = _variables_of_child(text, template, wanted)
    else:
        if wanted.target is None or wanted.port is None:
            raise NotEditable("a bridge needs the address of its device", "give --target and --port")
        service["variables"] = {"IP": wanted.target, "PORT": str(wanted.port), **wanted.variables}
    body: dict[str, Any] = {"connection": {"nmap": {"target": TARGET, "port": PORT}}}
    if wanted.read is not None:
        body["dataflowcomponent_read"] = {"benthos": wanted.read}
    if root:
        text = with_value(text, (*TEMPLATES, name), body)
    elif not template:
        service["config"] = body
    item = {"name": name, "desiredState": wanted.state or "active", SERVICE["bridge"]: service}
    return with_item(text, (SECTION["bridge"],), item)


def with_flow(text: str, name: str, flow: Mapping[str, Any], *, state: str = "active") -> str:
    """The text with one more stand-alone flow, in the Benthos shape."""
    _check_new(text, "flow", name)
    item = {"name": name, "desiredState": state, SERVICE["flow"]: {"benthos": flow}}
    return with_item(text, (SECTION["flow"],), item)


def without_item(text: str, kind: Kind, name: str) -> str:
    """The text without a bridge or flow. A root takes its template along, and stays while it has children."""
    place = place_of(text, kind, name)
    if kind == "bridge" and _is_root(text, name):
        if below := children(text, name):
            message = f"{name!r} is the root of a template that {', '.join(below)} use{'s' * (len(below) == 1)}"
            raise NotEditable(message, "remove them first")
        text = without(text, (*TEMPLATES, name))
        for above in (TEMPLATES, TEMPLATES[:1]):
            if not way_to(spans(text), above).node.entries:
                text = without(text, above)
    return without(text, place)


def renamed(text: str, kind: Kind, name: str, new: str) -> str:
    """The text with another name for a bridge or flow. With a root its template is renamed, and its children refer to the new name."""
    place = place_of(text, kind, name)
    _check_new(text, kind, new)
    if kind == "bridge" and _is_root(text, name):
        users = [*children(text, name), name]
        text = with_key(text, (*TEMPLATES, name), new)
        for user in users:
            text = with_value(text, (SECTION[kind], user, SERVICE[kind], "templateRef"), new)
    return with_value(text, (*place, "name"), new)


def changed(text: str, name: str, wanted: Wanted) -> str:
    """The text with a bridge as it is wanted."""
    place = place_of(text, "bridge", name)
    service = (*place, SERVICE["bridge"])
    if wanted.state is not None:
        text = with_value(text, (*place, "desiredState"), wanted.state)
    if wanted.target is not None:
        text = _with_address(text, name, "target", wanted.target)
    if wanted.port is not None:
        text = _with_address(text, name, "port", str(wanted.port))
    for variable, value in wanted.variables.items():
        text = with_value(text, (*service, *_variables(text, service), variable), value)
    for level, value in wanted.location.items():
        step = (*service, "location", str(level))
        text = with_value(text, step, value) if value else without(text, step)
    if wanted.read is not None:
        text = with_value(text, (*_body(text, name), *_READ), wanted.read)
    return text


def children(text: str, template: str) -> list[str]:
    """The names of the bridges that refer to a template, but for its root."""
    return [name for name in names(text, "bridge") if name != template and _reference(text, name) == template]


def _check_new(text: str, kind: Kind, name: str) -> None:
    if not NAME.fullmatch(name):
        hint = "use letters, digits, '-' and '_', beginning and ending with a letter or digit"
        raise NotEditable(f"{name[:60]!r} is not a valid name", hint)
    if name in names(text, kind):
        raise NotEditable(
            f"there is a {kind} {name!r} already", f"choose another name, or use 'setpoint {kind} edit {name}'"
        )


def _text_at(text: str, path: Path) -> str | None:
    way = way_to(spans(text), path)
    return way.node.text if not way.rest and way.node.kind == "scalar" and not way.node.empty else None


def _reference(text: str, name: str) -> str | None:
    return _text_at(text, (SECTION["bridge"], name, SERVICE["bridge"], "templateRef"))


def _is_root(text: str, name: str) -> bool:
    return _reference(text, name) == name and _template(text, name) is not None


def _template(text: str, name: str) -> Span | None:
    way = way_to(spans(text), (*TEMPLATES, name))
    return None if way.rest else way.node


def _body(text: str, name: str) -> Path:
    """Where the config of a bridge is: its own, or that of the template whose root it is."""
    template = _reference(text, name)
    if template is None:
        return (SECTION["bridge"], name, SERVICE["bridge"], "config")
    if template == name:
        return (*TEMPLATES, name)
    raise NotEditable(
        f"{name!r} is a bridge of the template {template!r}, and has variables and a location of its own alone",
        f"edit the template, {template}, or give the variables that it names with --var",
    )


def _variables(text: str, service: Path) -> Path:
    """Where the variables of a bridge are: ``variables``, or ``variables.user`` below it."""
    way = way_to(spans(text), (*service, "variables"))
    keys = [] if way.rest else way.node.entries
    nested = keys and all(entry.key in _FORMS and entry.value.kind == "mapping" for entry in keys)
    return ("variables", "user") if nested else ("variables",)


def _with_address(text: str, name: str, part: str, value: str) -> str:
    """The text with another target or port: in the variable that stands for it, else in the config."""
    template = _reference(text, name)
    body = (*TEMPLATES, template) if template else _body(text, name)
    written = _text_at(text, (*body, *_NMAP, part)) or ""
    if variable := _VARIABLE.fullmatch(written):
        service = (SECTION["bridge"], name, SERVICE["bridge"])
        return with_value(text, (*service, *_variables(text, service), variable[1]), value)
    if "{{" in written:
        hint = "change what it is made of with --var"
        raise NotEditable(f"the {part} of {name!r} is made of more than a variable: {written[:100]}", hint)
    return with_value(text, (*_body(text, name), *_NMAP, part), int(value) if part == "port" else value)


def _variables_of_child(text: str, template: str, wanted: Wanted) -> dict[str, str]:
    """The variables of a new bridge of a template, its address among them where the template asks for one."""
    known = way_to(spans(text), TEMPLATES)
    if _template(text, template) is None:
        there = [] if known.rest else [entry.key for entry in known.node.entries]
        near = get_close_matches(template, there, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(there[:20]) or 'none'}"
        raise NotEditable(f"there is no template {template!r}", hint)
    found: dict[str, str] = {}
    for part, value in (("target", wanted.target), ("port", wanted.port)):
        written = _text_at(text, (*TEMPLATES, template, *_NMAP, part)) or ""
        variable = _VARIABLE.fullmatch(written)
        if value is not None and variable is None:
            raise NotEditable(f"the template {template!r} has its own {part}: {written[:100]}", f"leave --{part} out")
        if value is not None and variable is not None:
            found[variable[1]] = str(value)
    return found | dict(wanted.variables)
