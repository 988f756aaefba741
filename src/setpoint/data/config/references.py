"""References to functions, in all the forms people write them.

    validate_order                                   a function by its name: of the section `functions`, registered, or built in
    validators.RangeValidator                        a built-in one; with settings: {name: …, params: {…}}
    shop.rules:check                                 of a module: {module: shop.rules, name: check}
    amount > 3                                       an expression over the record's fields; also {expression: amount > 3}
    {set: {total: price * qty}}                      a transform that sets fields to what expressions give
    {javascript: "…"}, {python: "…"}                 code; also {type: inline, code: …, language: …}
    {all: […]}, {any: […]}, {not: …}, {chain: […]}   composed of others
    success, failure                                 conditions: whether the field `valid` is not false, and the contrary

A bare word is a field where a condition stands (unless a function is called so) and a function anywhere else. Inline code of other tools,
such as ``data['amount'] > 3`` or ``lambda data: data['amount'] > 3``, is taken as an expression where it can be: `data` is then the record.
Everything else is Python, and refused unless the caller trusts the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from msgspec.structs import replace

from setpoint.configfile import Fields, Mapping, Mark, Node, Place, Scalar, Sequence, found
from setpoint.data import definition as d
from setpoint.data.config.inline import as_expression, slip
from setpoint.data.config.outcome import OUTCOMES
from setpoint.machine import Guard
from setpoint.machine.expression import Expression, ExpressionError

Kind = Literal["condition", "transform", "test", "any"]
"""Where a reference stands: on an arc's way, in a list of transforms, among gates and validators, or in the section `functions`."""
_WORD: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_BUILT_IN: Final = re.compile(r"(validators|transformers)\.[A-Za-z_]\w*")
_IN_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
MAX_PARTS: Final = 10_000
TYPES: Final = ("inline", "registered", "builtin", "custom", "expression", "javascript", "python")
_LANGUAGES: Final = ("expression", "javascript", "python")
_COMPOSED: Final = ("all", "any", "not", "chain")
_CODES: Final = ("expression", "javascript", "python")
_UNTRUSTED: Final = "write an expression or {set: {field: expression}}, name a registered function, or trust the file (--trust, trust=True)"


def place_of(mark: Mark, place: Place) -> d.Place:
    """Where a definition's part stands."""
    return d.Place(mark.file or place.report.source, mark.line, mark.column)


class Link(NamedTuple):
    """The name of a state or of a network (``network:state``), used in a network, and where."""

    kind: Literal["state", "network"]
    name: str
    network: str
    place: Place
    mark: Mark


@dataclass(slots=True)
class References:
    """Reads references. `known` are names of functions the caller has, `named` those of the section `functions`."""

    trust: bool = False
    known: Collection[str] = ()
    named: dict[str, d.FunctionRef] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    """The names of states and networks read so far, to be looked up once all are known."""
    weights: dict[int, int] = field(default_factory=dict)
    network: str = ""
    """The network that is being read."""

    def link(self, kind: Literal["state", "network"], name: str, place: Place, mark: Mark) -> None:
        """Have a name looked up later."""
        if name:
            self.links.append(Link(kind, name, self.network, place, mark))

    def section(self, root: Fields) -> None:
        """Read the section `functions`: names for references. A function may use those above it."""
        for name, node, place in root.entries("functions"):
            reference = self.one(node, place, "any")
            if reference is not None:
                self.named[name] = reference
                if self._weight(reference) > MAX_PARTS:
                    place.error(node.mark, f"is composed of more than {MAX_PARTS:,} functions", "compose it of fewer")

    def _weight(self, reference: d.FunctionRef) -> int:
        """Of how many functions a function is composed, each counted wherever it is used."""
        if not isinstance(reference, d.Named) or reference.name not in _COMPOSED:
            return 1
        if id(reference) not in self.weights:
            of = reference.params["of"]
            self.weights[id(reference)] = sum(map(self._weight, of if isinstance(of, tuple) else (of,)))
        return self.weights[id(reference)]

    def many(self, fields: Fields, key: str, kind: Kind) -> tuple[d.FunctionRef, ...]:
        """The references under a key, one or a list of them."""
        node = fields.get(key)
        if node is None:
            return ()
        place = fields.place.at(key)
        entries = [(node, place)]
        if isinstance(node, Sequence):
            entries = [(child, place.at(index)) for index, child in enumerate(node.items)]
        references = [self.one(child, at, kind) for child, at in entries]
        return tuple(reference for reference in references if reference is not None)

    def one(self, node: Node, place: Place, kind: Kind) -> d.FunctionRef | None:
        """The reference, or None where it cannot be read, which is then reported."""
        if isinstance(node, Scalar):
            return self._word(node, place, kind)
        if isinstance(node, Mapping):
            with Fields(node, place) as fields:
                return self._mapping(fields, kind)
        hint = (
            "join them: {all: […]} or {any: […]}"
            if kind == "condition"
            else "write {chain: […]} for one after the other"
        )
        place.error(node.mark, "expected one function, found a list", hint)
        return None

    def _word(self, node: Scalar, place: Place, kind: Kind) -> d.FunctionRef | None:
        if node.flawed:
            return None
        if node.native is not None:
            return self._native(node, place)
        text = node.text.strip()
        if isinstance(node.value, bool):
            return d.Code(str(node.value), place=place_of(node.mark, place))
        if text in self.named:
            return self.named[text]
        if kind == "condition" and text in OUTCOMES and text not in self.known:
            return OUTCOMES[text]
        if self._is_name(text, kind):
            return d.Named(text, place=place_of(node.mark, place))
        if not isinstance(node.value, str) or not text:
            place.error(node.mark, f"expected a function, found {found(node)}", "name one, or write an expression")
            return None
        if kind == "transform":
            hint = "write {set: {field: expression}}, or {python: …} for code in a trusted file"
            place.error(node.mark, f"{text[:60]!r} is no name of a function", hint)
            return None
        return self._inline(text, node.mark, place, kind)

    def _is_name(self, text: str, kind: Kind) -> bool:
        if text in self.known or _IN_MODULE.fullmatch(text) or _BUILT_IN.fullmatch(text):
            return True
        return kind in ("transform", "test", "any") and _WORD.fullmatch(text) is not None

    def _native(self, node: Scalar, place: Place) -> d.FunctionRef | None:
        value = node.native
        if isinstance(value, Guard | d.Named | d.Code) or callable(value):
            return value  # type: ignore[no-any-return]
        place.error(node.mark, f"expected a function, found {node.text}", "give a callable, a guard or a name")
        return None

    def _mapping(self, fields: Fields, kind: Kind) -> d.FunctionRef | None:
        forms = [key for key in ("set", *_COMPOSED, *_CODES) if fields.has(key)]
        if not forms:
            for key in ("set", *_COMPOSED, *_CODES):
                fields.get(key)
            return self._typed(fields, kind)
        form = forms[0]
        node = fields.get(form)
        assert node is not None  # has() saw it
        if form in _CODES:
            return self._code(node, form, fields.place.at(form), kind)
        if form == "set":
            return self._set(fields, node)
        parts = [(node, fields.place.at(form))] if form == "not" else fields.sequence(form)
        references = [self.one(child, at, kind) for child, at in parts]
        if not references:
            fields.place.at(form).error(node.mark, "is empty", "list the functions it is composed of")
        functions = tuple(reference for reference in references if reference is not None)
        here = place_of(fields.mark, fields.place)
        if form == "not":
            return d.Named(form, {"of": functions[0]}, here) if functions else None
        return d.Named(form, {"of": functions}, here)

    def _set(self, fields: Fields, node: Node) -> d.FunctionRef:
        """A transform that sets fields: each value is an expression, or a plain value that is no text."""
        assignments: dict[str, Any] = {}
        for name, child, at in fields.entries("set"):
            if isinstance(child, Scalar) and isinstance(child.value, str) and not child.flawed:
                self._expression(child.text.strip(), child.mark, at)
                assignments[name] = child.text.strip()
            elif isinstance(child, Scalar) and child.native is None:
                assignments[name] = child.value
            else:
                at.error(
                    child.mark,
                    f"expected an expression, found {found(child)}",
                    "build lists and mappings in a function",
                )
        return d.Named("set", assignments, place_of(node.mark, fields.place))

    def _typed(self, fields: Fields, kind: Kind) -> d.FunctionRef | None:
        """The form with type, name, module, code and params; without a type the other keys say which it is."""
        stated = fields.choice("type", (*TYPES, *OUTCOMES), default="-") if fields.has("type") else "-"
        if stated in OUTCOMES:
            return OUTCOMES[stated]
        code, module = fields.has("code") or stated == "inline", fields.has("module") or stated == "custom"
        if code or stated in _CODES:
            language = stated if stated in _CODES else fields.choice("language", _LANGUAGES, default="-")
            node = fields.get("code", required="the code")
            return None if node is None else self._code(node, language, fields.place.at("code"), kind)
        name = fields.text("name", required="the name of a function")
        path = fields.text("module", required="the module of the function") if module else ""
        params = fields.data("params")
        if not name or (module and not path):
            return None
        return self._named(f"{path}:{name}" if module else name, params, fields)

    def _named(self, name: str, params: MappingOf[str, Any], fields: Fields) -> d.FunctionRef | None:
        here = place_of(fields.mark, fields.place)
        if name not in self.named:
            if _WORD.fullmatch(name) or _IN_MODULE.fullmatch(name) or name in self.known:
                return d.Named(name, params, here)
            hint = "a name of letters, digits, '_' and '.', or module:function"
            fields.place.at("name").error(fields.mark_of("name"), f"{name[:60]!r} is no name of a function", hint)
            return None
        reference = self.named[name]
        if not params:
            return reference
        if isinstance(reference, d.Named):
            return replace(reference, params={**reference.params, **params}, place=here)
        message = f"{name!r} is code in the section 'functions' and takes no params"
        fields.place.at("params").error(fields.mark_of("params"), message, "remove them")
        return None

    def _code(self, node: Node, language: str, place: Place, kind: Kind) -> d.FunctionRef | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str | int | float) or not node.text.strip():
            if not node.flawed:
                place.error(node.mark, f"expected code as a text, found {found(node)}", "write it below a '|'")
            return None
        if language == "javascript":
            return d.Code(node.text, "javascript", place_of(node.mark, place))
        if language == "expression":
            return self._expression(node.text.strip(), node.mark, place)
        if language == "python":
            return self._python(node.text, node.mark, place)
        return self._inline(node.text.strip(), node.mark, place, kind, original=node.text)

    def _expression(self, text: str, mark: Mark, place: Place) -> d.FunctionRef | None:
        try:
            Expression(text)
        except ExpressionError as error:
            place.error(
                mark, str(error), _no_variables(text) or "see the expressions that are allowed, or register a function"
            )
            return None
        return d.Code(text, "expression", place_of(mark, place))

    def _inline(self, text: str, mark: Mark, place: Place, kind: Kind, *, original: str = "") -> d.FunctionRef | None:
        """Code whose language nobody named: an expression where it can be read as one, else Python."""
        try:
            simple = as_expression(text)
            Expression(simple)
        except ExpressionError as error:
            if variable := _no_variables(text):
                place.error(mark, "there is a variable in code", variable)
            elif remedy := slip(original or text, tests=kind in ("condition", "test")):
                place.error(mark, str(error), remedy)
            elif self.trust:
                return d.Code(original or text, "python", place_of(mark, place))
            else:
                place.error(mark, f"this would be Python code, and the file is not trusted ({error})", _UNTRUSTED)
            return None
        return d.Code(simple, "expression", place_of(mark, place))

    def _python(self, text: str, mark: Mark, place: Place) -> d.FunctionRef | None:
        if not self.trust or _no_variables(text):
            place.error(mark, "this is Python code, and the file is not trusted", _no_variables(text) or _UNTRUSTED)
            return None
        return d.Code(text, "python", place_of(mark, place))


def _no_variables(text: str) -> str:
    return "variables never go into code: give the value to a function as params" if "${" in text else ""
