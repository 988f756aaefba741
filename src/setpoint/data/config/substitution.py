"""``${…}`` in texts: what stands there, and what takes its place.

    ${NAME}             the value; an error where there is none
    ${NAME:default}     the default where there is no value
    ${NAME:-default}    the same where there is none or it is empty
    ${NAME:?message}    an error with this message where there is none or it is empty
    $${NAME}            no substitution: the text ``${NAME}``

Defaults may contain substitutions. A text that is one substitution as a whole becomes what its value reads as: 5, 0.5, true, null, else
text; a number with a leading zero stays text. Anywhere else the value is text.

Code is never made of substituted text. Where a function is expected (`CODE`) texts are left as they are, and so are texts of code within a
function's parameters; who reads them refuses ``${`` there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from setpoint.configfile import Mapping, Node, Place, Scalar, Sequence

MAX_DEPTH: Final = 10
CODE: Final = frozenset((
    "code", "expression", "javascript", "python", "set", "all", "any", "not", "chain", "condition", "pre_test", "test", "when",
    "validate", "transform", "transforms", "validator", "validators", "pre_validators", "functions",
))  # fmt: skip
"""Keys under which functions stand."""
_CODE_IN_DATA: Final = frozenset(("code", "expression", "javascript", "python", "set", "functions"))
_DATA: Final = frozenset(("metadata", "config", "schema", "data_schema", "templates"))
_LITERAL: Final = frozenset(("name", "module", "type", "language"))
_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?")
_WORDS: Final = {"true": True, "false": False, "null": None}
_REFERENCE: Final = re.compile(r"(?s)([A-Za-z_][A-Za-z0-9_.-]*?)(?:(:[-?]|:)(.*))?\Z")

_OPENING: Final = re.compile(r"(\$+)\{")

Change = Callable[[Scalar, Place], Node]
Lookup = Callable[[str], "Node | str | None"]


class NotSubstituted(ValueError):
    """A substitution that cannot be made. The message says which and why; `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Reference(NamedTuple):
    """One ``${…}``: what stands between the braces, and how much text it takes."""

    name: str
    operator: str
    rest: str
    raw: str


def pieces(text: str) -> list[str | Reference]:
    """The text as plain parts and references. Raises `NotSubstituted` for a brace that is not closed or a name that is none."""
    found: list[str | Reference] = []
    at = 0
    while opening := _OPENING.search(text, at):
        dollars = len(opening[1])
        found.append(text[at : opening.start()] + "$" * (dollars // 2))
        if dollars % 2 == 0:
            found.append("{")
            at = opening.end()
            continue
        start = opening.end() - 2
        end = _closing(text, opening.end())
        found.append(_reference(text[start : end + 1]))
        at = end + 1
    found.append(text[at:])
    return [piece for piece in found if piece]


def _closing(text: str, start: int) -> int:
    depth = 1
    for position in range(start, len(text)):
        character = text[position]
        depth += (character == "{" and text[position - 1] == "$") - (character == "}")
        if depth == 0:
            return position
    raise NotSubstituted("'${' without its '}'", "close it, or write $${ where the text is meant")


def _reference(raw: str) -> Reference:
    matched = _REFERENCE.match(raw[2:-1])
    if matched is None:
        hint = "write ${NAME}, ${NAME:-default} or ${NAME:?message}; where the text is meant, $${"
        raise NotSubstituted(f"{raw[:60]!r} names no variable", hint)
    name, operator, rest = matched.groups(default="")
    return Reference(name, operator, rest, raw)


def resolved(text: str, lookup: Lookup, depth: int = 0) -> Node | str | None:
    """The text with its references replaced; a node where the whole text is one reference to a node. Raises `NotSubstituted`."""
    if depth > MAX_DEPTH:
        raise NotSubstituted(f"defaults nested deeper than {MAX_DEPTH} levels", "write them as variables of their own")
    parts = [piece if isinstance(piece, str) else _value(piece, lookup, depth) for piece in pieces(text)]
    if len(parts) == 1:
        return parts[0]
    for part in parts:
        if isinstance(part, Mapping | Sequence):
            raise NotSubstituted("a list or mapping inside of a text", "let the whole value be the reference")
    return "".join(part.text if isinstance(part, Scalar) else str(part) for part in parts)


def _value(reference: Reference, lookup: Lookup, depth: int) -> Node | str | None:
    value = lookup(reference.name)
    missing = value is None or (value == "" and reference.operator in (":-", ":?"))
    if not missing:
        return value
    if reference.operator in (":-", ":"):
        return resolved(reference.rest, lookup, depth + 1) if reference.rest else ""
    if reference.operator == ":?":
        raise NotSubstituted(f"{reference.name} is not set: {reference.rest}", f"set {reference.name}")
    hint = (
        f"set it, or give it a default: ${{{reference.name}:-default}}; where the text is meant, $${{{reference.name}}}"
    )
    raise NotSubstituted(f"the variable {reference.name} is not set", hint)


def substitution(lookup: Lookup) -> Change:
    """A change of scalars that replaces their references by what `lookup` gives."""

    def change(scalar: Scalar, place: Place) -> Node:
        if "${" not in scalar.text or not isinstance(scalar.value, str):
            return scalar
        try:
            value = resolved(scalar.text, lookup)
            whole = scalar.text.startswith("${") and len(pieces(scalar.text)) == 1
        except NotSubstituted as error:
            place.error(scalar.mark, str(error), error.hint)
            return Scalar(scalar.mark, None, scalar.text, flawed=True)
        if isinstance(value, Scalar | Sequence | Mapping):
            return value
        text = value or ""
        return Scalar(scalar.mark, typed(text) if whole else text, text)

    return change


def typed(text: str) -> str | int | float | bool | None:
    """What a text reads as in JSON, where that is a number, a truth value or null; else the text."""
    if text in _WORDS:
        return _WORDS[text]
    if matched := _JSON_NUMBER.fullmatch(text):
        return float(text) if matched[2] or matched[3] else int(text)
    return text


def escaped(scalar: Scalar, place: Place) -> Node:
    """The scalar written so that reading it substitutes nothing: the change that undoes `substitution`."""
    if not isinstance(scalar.value, str) or "${" not in scalar.text:
        return scalar
    text = re.sub(r"(\$+)\{", r"\1\1{", scalar.text)
    return Scalar(scalar.mark, text, text)


class Walk:
    """Applies a change to every scalar of a tree that is not code. What does not change is shared with the old tree."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.done: dict[tuple[int, str], Node] = {}

    def node(self, node: Node, place: Place, mode: str = "") -> Node:
        """The changed node. `mode` is "" for the file's own keys, "data" for what functions and resources are given, or "code"."""
        known = self.done.get((id(node), mode))
        if known is None:
            known = self.done[id(node), mode] = self._node(node, place, mode)
        return known

    def _node(self, node: Node, place: Place, mode: str) -> Node:
        if isinstance(node, Scalar):
            return node if mode == "code" else self.change(node, place)
        if isinstance(node, Sequence):
            items = [self.node(child, place.at(index), mode) for index, child in enumerate(node.items)]
            same = all(new is old for new, old in zip(items, node.items, strict=True))
            return node if same else Sequence(node.mark, items, flawed=node.flawed, size=node.size)
        children = {key: self.node(child, place.at(key), _below(mode, key)) for key, child in node.items.items()}
        same = all(children[key] is child for key, child in node.items.items())
        return node if same else Mapping(node.mark, children, node.keys, flawed=node.flawed, size=node.size)


def _below(mode: str, key: str) -> str:
    """How the value of a key is to be treated."""
    if mode == "free":
        return mode
    if mode == "code":
        return "data" if key == "params" else "" if key in _LITERAL else "code"
    if mode == "data":
        return "code" if key in _CODE_IN_DATA else "data"
    return "free" if key in _DATA else "data" if key == "params" else "code" if key in CODE else ""
