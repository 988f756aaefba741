"""Templates: mappings with parameters, that other mappings start from.

    templates:
      careful:
        params: {attempts: 3, table: null}           a parameter without a default (null) must be given
        body: {retry: {attempts: "${param.attempts}"}, metadata: {table: "${param.table}"}}
    states:
      load: {template: {name: careful, params: {table: orders}}, transforms: [write]}

A mapping with the key `template` (the machine itself, a network, a state, an arc, a resource) is laid over the template's body, so what it
says itself wins (see `layers`). Bodies may start from templates in their turn. A value that is one parameter as a whole takes its kind:
number, list or mapping. Built in are templates for uses (`BUILT_IN`): they set the data mode, strategy, transactions, limits and resources
that suit the use, and `setpoint convert` shows what.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final, NamedTuple

from setpoint.configfile import Fields, Mapping, Mark, Node, Place, Report, Scalar, Sequence, found
from setpoint.data.config.files import parsed, too_large
from setpoint.data.config.layers import laid_over
from setpoint.data.config.substitution import Change, Walk

BUILT_IN: Final = (
    "api_orchestration",
    "data_validation",
    "database_etl",
    "file_processing",
    "llm_workflow",
    "stream_processing",
)
MAX_USES: Final = 10_000
"""Uses of templates in one document, those within templates counted each time."""
_DATA: Final = frozenset(("params", "metadata", "config", "schema", "data_schema"))
_PARAMETER: Final = re.compile(r"(?<!\$)\$\{param\.([A-Za-z0-9_]+)\}")


class Template(NamedTuple):
    """A body, and its parameters with their defaults; None for those that must be given."""

    name: str
    params: dict[str, Node | None]
    body: Mapping


class Templates:
    """The templates that a document may use: its own, and those built in."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.uses = 0
        self.known: dict[str, Template | None] = dict.fromkeys(BUILT_IN)

    def applied(self, root: Mapping) -> Mapping:
        """The document with every use of a template replaced, and without the templates themselves."""
        place = Place(self.report)
        own = root.items.get("templates")
        if own is not None:
            for name, node, at in Fields(own, place.at("templates"), what="templates by name").all():
                self.known[name] = _template(name, node, at)
        rest = Mapping(
            root.mark, {k: v for k, v in root.items.items() if k != "templates"}, root.keys, flawed=root.flawed
        )
        expanded = self._expand(rest, place, ())
        assert isinstance(expanded, Mapping)  # a mapping stays one
        return rest if too_large(expanded, {}, place) else expanded

    def _expand(self, node: Node, place: Place, within: tuple[str, ...]) -> Node:
        if isinstance(node, Sequence):
            items = [self._expand(child, place.at(index), within) for index, child in enumerate(node.items)]
            same = all(new is old for new, old in zip(items, node.items, strict=True))
            return node if same else Sequence(node.mark, items, flawed=node.flawed)
        if not isinstance(node, Mapping):
            return node
        children = {
            key: child if key in _DATA else self._expand(child, place.at(key), within)
            for key, child in node.items.items()
            if key != "template"
        }
        used = node.items.get("template")
        self.uses += used is not None
        if self.uses > MAX_USES:
            if self.uses == MAX_USES + 1 and used is not None:
                place.error(
                    node.mark, f"templates are used more than {MAX_USES:,} times", "use fewer templates of templates"
                )
            return node
        if used is None and all(children[key] is child for key, child in node.items.items()):
            return node
        whole = Mapping(node.mark, children, node.keys, flawed=node.flawed)
        body = None if used is None else self._used(used, place.at("template"), within)
        return whole if body is None else laid_over(body, whole)

    def _used(self, node: Node, place: Place, within: tuple[str, ...]) -> Mapping | None:
        """The body that a use stands for, its parameters put in and its own templates replaced."""
        name, given, mark = _use(node, place)
        if not name:
            return None
        if name not in self.known:
            near = place.nearest(name, self.known)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(self.known)}"
            place.error(mark, f"there is no template {name[:60]!r}", hint)
            return None
        if name in within:
            circle = " → ".join([*within[within.index(name) :], name])
            place.error(mark, f"the templates need each other in a circle: {circle}", "remove one of the uses")
            return None
        template = self._known(name)
        if template is None:
            return None
        values = _arguments(template, given, mark, place)
        body = Walk(_filled(values, name)).node(template.body, place, "free")
        expanded = self._expand(body, place, (*within, name))
        return expanded if isinstance(expanded, Mapping) else None

    def _known(self, name: str) -> Template | None:
        template = self.known[name]
        if template is None and name in BUILT_IN:
            file = files("setpoint.data.config").joinpath("templates", f"{name}.yaml")
            place = Place(self.report)
            root = parsed(file.read_text(encoding="utf-8"), f"<template {name}>", place)
            template = self.known[name] = _template(name, root, place)
        return template


def _filled(values: dict[str, Node | None], template: str) -> Change:
    """A change of scalars that puts the values in place of the parameters; other references stay for the environment."""

    def change(scalar: Scalar, place: Place) -> Node:
        if "${param." not in scalar.text or not isinstance(scalar.value, str):
            return scalar
        names = _PARAMETER.findall(scalar.text)
        for name in names:
            if values.get(name) is None:
                if name not in values:
                    hint = f"declare it under params; there are: {', '.join(values) or 'none'}"
                    place.error(scalar.mark, f"the template {template!r} has no parameter {name[:60]!r}", hint)
                return Scalar(scalar.mark, None, scalar.text, flawed=True)
        if _PARAMETER.fullmatch(scalar.text):
            return values[names[0]] or scalar
        if any(not isinstance(values[name], Scalar) for name in names):
            place.error(scalar.mark, "a list or mapping inside of a text", "let the whole value be the parameter")
            return Scalar(scalar.mark, None, scalar.text, flawed=True)
        text = _PARAMETER.sub(lambda matched: getattr(values[matched[1]], "text", ""), scalar.text)
        return Scalar(scalar.mark, text, text, literal=scalar.literal)

    return change


def _template(name: str, node: Node | None, place: Place) -> Template | None:
    with Fields(node, place, what="a template: params and body") as fields:
        body = fields.get("body", required="the keys that the template stands for")
        params = {key: _default(child) for key, child, _ in fields.entries("params")}
    if body is not None and not isinstance(body, Mapping):
        place.at("body").error(body.mark, f"expected a mapping, found {found(body)}", "indent its keys below it")
    return Template(name, params, body) if isinstance(body, Mapping) else None


def _default(node: Node) -> Node | None:
    return None if isinstance(node, Scalar) and node.value is None and node.native is None else node


def _use(node: Node, place: Place) -> tuple[str, dict[str, Node], Mark]:
    """The name, the parameters, and where the name stands; no name where the use cannot be read."""
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.text:
        return node.text, {}, node.mark
    with Fields(node, place, what="the name of a template, or name and params") as fields:
        name = fields.text("name", required="the name of a template")
        given = {key: child for key, child, _ in fields.entries("params")}
    return name, given, node.mark


def _arguments(template: Template, given: dict[str, Node], mark: Mark, place: Place) -> dict[str, Node | None]:
    """A value for each parameter; what is missing or unknown is reported."""
    for name, node in given.items():
        if name not in template.params:
            near = place.nearest(name, template.params)
            hint = f"did you mean {near!r}?" if near else f"it has: {', '.join(template.params) or 'none'}"
            message = f"the template {template.name!r} has no parameter {name[:60]!r}"
            place.at("params").at(name).error(node.mark, message, hint)
    values = {name: _default(given[name]) if name in given else value for name, value in template.params.items()}
    for name, value in values.items():
        if value is None:
            place.error(
                mark, f"the template {template.name!r} needs the parameter {name!r}", f"add params: {{{name}: …}}"
            )
    return values
