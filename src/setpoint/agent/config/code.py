"""YAML inside a value: the ``code`` of a write flow's destination and of its extra resources.

It is read before it is rendered, so that its shape does not depend on variables. Actions may stand in it without quotes, as they do in
people's files; for reading they are replaced by marks that YAML takes for text, and put back afterwards.
"""

from __future__ import annotations

import re
from typing import Final

from setpoint.agent.config.references import References
from setpoint.configfile.compose import compose
from setpoint.configfile.fields import Place
from setpoint.configfile.node import Mapping, Mark, Node, Scalar, Sequence

_ACTION: Final = re.compile(r"\{\{.*?\}\}")
_MARK: Final = re.compile("\ue000([0-9]{1,6})\ue001")
_CODES: Final = (("dataflowcomponent_write", "destination", "code"), ("dataflowcomponent_write", "extra", "code"))


def with_code_read(config: Node, place: Place, references: References) -> Node:
    """The config with every ``code`` that is YAML replaced by what it says. The config itself stays as it is."""
    for path in _CODES:
        config = _replaced(config, path, place, references)
    return config


def _replaced(node: Node, path: tuple[str, ...], place: Place, references: References) -> Node:
    if not path:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return references.replaced(_read(node, place), place)
        return node
    if not isinstance(node, Mapping) or path[0] not in node.items:
        return node
    old = node.items[path[0]]
    new = _replaced(old, path[1:], place.at(path[0]), references)
    if new is old:
        return node
    return Mapping(node.mark, {**node.items, path[0]: new}, node.keys, node.dynamic or new.dynamic, node.flawed)


def _read(scalar: Scalar, place: Place) -> Node:
    actions: list[str] = []

    def hidden(match: re.Match[str]) -> str:
        actions.append(match.group())
        return f"\ue000{len(actions) - 1}\ue001"

    root, faults = compose(_ACTION.sub(hidden, scalar.text))
    for fault in faults:
        place.error(_mark(scalar, fault.mark), f"in this text, line {fault.mark[0]}: {fault.message}", fault.hint)
    if faults or root is None:
        return Scalar(scalar.mark, None, "", flawed=bool(faults))
    return _shown(root, actions, scalar)


def _shown(node: Node, actions: list[str], home: Scalar) -> Node:
    """The node with its actions back and its places in the whole file."""
    mark = _mark(home, node.mark)
    if isinstance(node, Mapping):
        keys = {_restored(key, actions): _mark(home, node.keys[key]) for key in node.items}
        children = [_shown(child, actions, home) for child in node.items.values()]
        dynamic = any("{{" in key for key in keys) or any(child.dynamic for child in children)
        return Mapping(mark, dict(zip(keys, children, strict=False)), keys, dynamic, node.flawed)
    if isinstance(node, Sequence):
        children = [_shown(child, actions, home) for child in node.items]
        return Sequence(mark, children, any(child.dynamic for child in children), node.flawed)
    text = _restored(node.text, actions)
    if text == node.text:
        return Scalar(mark, node.value, node.text, flawed=node.flawed)
    return Scalar(mark, text, text, dynamic=True)


def _restored(text: str, actions: list[str]) -> str:
    return _MARK.sub(lambda match: actions[int(match.group(1))] if int(match.group(1)) < len(actions) else "", text)


def _mark(home: Scalar, inner: Mark) -> Mark:
    return Mark(home.mark.line + inner.line, 1) if home.literal else home.mark
