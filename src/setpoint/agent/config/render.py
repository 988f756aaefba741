"""Rendering a bridge's config: each value of the tree on its own, so that no variable can change the shape of the tree.

UMH Core renders the YAML text and reads it again; there a variable with a colon or a line break in it makes new keys. Here the shape
is fixed before: a value stays one value, whatever is in it. Only a value that is exactly one action may become a list or a mapping,
because then the variable itself is one. Trees are shared: what contains no action is the same node in every rendering.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.configfile.compose import MAX_DEPTH
from setpoint.configfile.fields import Place
from setpoint.configfile.node import Mapping, Mark, Node, Scalar, Sequence
from setpoint.templates import Budget, MissingVariable, Template, TemplateError, parse

MAX_STEPS: Final = 3_000_000
MAX_CHARACTERS: Final = 20_000_000
"""What the templates of one file may do and write together."""
_STEPS_TO_PARSE: Final = 20
"""What parsing an action costs, in steps of evaluation."""


@dataclass(slots=True)
class Templates:
    """The parsed templates of one file, and what may still be spent on rendering them."""

    parsed: dict[str, Template | TemplateError] = field(default_factory=dict)
    budget: Budget = field(default_factory=lambda: Budget(MAX_STEPS, MAX_CHARACTERS))

    def get(self, text: str) -> Template:
        """The template of a text, parsed once. Raises `TemplateError`."""
        known = self.parsed.get(text)
        if known is None:
            try:
                self._charge(text)
                known = parse(text)
            except TemplateError as error:
                known = error
            self.parsed[text] = known
        if isinstance(known, TemplateError):
            raise known.with_traceback(None)
        return known

    def _charge(self, text: str) -> None:
        self.budget.steps -= _STEPS_TO_PARSE * text.count("{{")
        if self.budget.steps < 0:
            raise TemplateError("the file has more actions than are allowed", offset=0, hint="split the configuration")


def check_actions(node: Node, place: Place, templates: Templates) -> None:
    """Report every action below `node` that cannot be parsed."""
    if not node.dynamic:
        return
    if isinstance(node, Mapping):
        for key, child in node.items.items():
            _check(key, node.keys[key], place.at(key), templates)
            check_actions(child, place.at(key), templates)
    elif isinstance(node, Sequence):
        for index, child in enumerate(node.items):
            check_actions(child, place.at(index), templates)
    else:
        _check(node.text, node, place, templates)


def _check(text: str, where: Scalar | Mark, place: Place, templates: Templates) -> None:
    if "{{" in text:
        try:
            templates.get(text)
        except TemplateError as error:
            _report(error, where, place)


@dataclass(slots=True)
class Rendering:
    """One rendering of a config for one item. A missing variable is reported where the item gives its variables (`given_at`), because
    that is the place to mend it, or in the value that uses it when the item's config is its own."""

    templates: Templates
    variables: MappingOf[str, Any]
    budget: Budget
    given_at: tuple[Mark, Place] | None = None
    missing: set[str] = field(default_factory=set)

    def render(self, node: Node, place: Place, depth: int = 0) -> Node:
        """The node with every action replaced by its result. Problems are reported; their nodes come out as flawed."""
        if not node.dynamic:
            return node
        if isinstance(node, Mapping):
            return self._mapping(node, place, depth)
        if isinstance(node, Sequence):
            children = [self.render(child, place.at(index), depth + 1) for index, child in enumerate(node.items)]
            return Sequence(node.mark, children, flawed=any(child.flawed for child in children))
        if self.missing and place.report.full:  # the item is rejected already, and nobody would read why once more
            return Scalar(node.mark, None, "", flawed=True)
        try:
            return self._node(self._value(node.text), node.mark, depth)
        except TemplateError as error:
            self._report(error, node, place)
        return Scalar(node.mark, None, "", flawed=True)

    def _mapping(self, node: Mapping, place: Place, depth: int) -> Mapping:
        rendered = Mapping(node.mark)
        for key, child in node.items.items():
            name = self._key(key, node.keys[key], place.at(key)) if "{{" in key else key
            if name in rendered.items:
                place.at(key).error(node.keys[key], f"the key {name[:60]!r} comes twice once rendered", "keep one")
            rendered.items[name], rendered.keys[name] = self.render(child, place.at(key), depth + 1), node.keys[key]
            rendered.flawed |= rendered.items[name].flawed
        return rendered

    def _key(self, key: str, mark: Mark, place: Place) -> str:
        try:
            value = self._value(key)
            if isinstance(value, list | dict):
                raise TemplateError("a key cannot be a list or a mapping", offset=0, hint="use a single value")
            return str(value)
        except TemplateError as error:
            self._report(error, mark, place)
        return key

    def _value(self, text: str) -> Any:
        return self.templates.get(text).render(self.variables, self.budget)

    def _report(self, error: TemplateError, where: Scalar | Mark, place: Place) -> None:
        if isinstance(error, MissingVariable):
            self._missing(error, where, place)
        else:
            _report(error, where, place)

    def _missing(self, error: MissingVariable, where: Scalar | Mark, place: Place) -> None:
        if error.name in self.missing:
            return
        self.missing.add(error.name)
        mark = _mark(error, where)
        like = place.nearest(error.name.rpartition(".")[2], error.known)
        hint = f"did you mean {like!r}? {error.hint}" if like else error.hint
        if self.given_at is None or error.within:
            place.error(mark, f"there is no variable {error.name!r}", hint)
        else:
            message = f"the variable {error.name!r} is missing; line {mark[0]} uses it ({place.key})"
            self.given_at[1].error(self.given_at[0], message, hint)

    def _node(self, value: Any, mark: Mark, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise TemplateError(f"nested deeper than {MAX_DEPTH} levels once rendered", offset=0)
        self.budget.steps -= 1
        if self.budget.steps < 0:
            raise TemplateError("renders to more values than are allowed", offset=0, hint="use smaller lists")
        if isinstance(value, dict):
            items = {str(key): self._node(child, mark, depth + 1) for key, child in value.items()}
            return Mapping(mark, items, dict.fromkeys(items, mark))
        if isinstance(value, list):
            return Sequence(mark, [self._node(child, mark, depth + 1) for child in value])
        text = ("true" if value else "false") if isinstance(value, bool) else "" if value is None else str(value)
        if "{{" in text:
            hint = "variables are not rendered themselves; write the value out"
            raise TemplateError("'{{' is left over after rendering", offset=0, hint=hint)
        return Scalar(mark, value, text)


def _report(error: TemplateError, where: Scalar | Mark, place: Place) -> None:
    place.error(_mark(error, where), f"template: {error.message}", error.hint)


def _mark(error: TemplateError, where: Scalar | Mark) -> Mark:
    """The line of the error inside a block of text (its indentation is not known any more), or else where the value begins."""
    if isinstance(where, Scalar):
        if where.literal:
            return Mark(where.mark.line + 1 + where.text.count("\n", 0, error.offset), 1)
        return where.mark
    return where
