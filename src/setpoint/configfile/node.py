"""A YAML document as a tree that remembers where everything stands.

Three kinds of node: `Scalar`, `Sequence`, `Mapping`. Every node knows its line and column (counted from 1), and every key of a mapping
knows its own. Aliases make the tree a graph without cycles: the same node may hang in several places. Nodes are never changed once
the document is complete, so a rendered tree shares with its template whatever contains no template action.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Mark(NamedTuple):
    """Line and column, counted from 1 (0: not known, as of Python data), and the file where it is not the one being read."""

    line: int
    column: int
    file: str = ""


@dataclass(slots=True, eq=False)
class Scalar:
    """A single value. `text` is what stands in the file, `value` what it means: text, number, truth value or None."""

    mark: Mark
    value: str | int | float | bool | None
    text: str
    dynamic: bool = False
    """It contains a template action."""
    literal: bool = False
    """Written as a block with ``|``, so that line n of `text` is line n of the block."""
    flawed: bool = False
    """A problem was already reported here; whoever reads it keeps quiet."""
    size: int = 1
    native: Any = None
    """A Python object that no text can say, such as a function; only in trees made of Python data."""


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of nodes."""

    mark: Mark
    items: list[Node] = field(default_factory=list)
    dynamic: bool = False
    flawed: bool = False
    size: int = 1
    """Number of values in it, itself included and aliases written out."""


@dataclass(slots=True, eq=False)
class Mapping:
    """Nodes by key. Keys are text, whatever YAML takes them for: ``0: acme`` has the key ``"0"``."""

    mark: Mark
    items: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    dynamic: bool = False
    flawed: bool = False
    size: int = 1


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """The node as dicts, lists and values."""
    if isinstance(node, Mapping):
        return {key: plain(child) for key, child in node.items.items()}
    if isinstance(node, Sequence):
        return [plain(child) for child in node.items]
    return node.value if node.native is None else node.native


def at_path(node: Node, path: SequenceOf[str | int]) -> Mark:
    """Where `path` stands below `node`: its key in a mapping, its value in a list; the nearest place above it when it is not there."""
    mark = node.mark
    for step in path:
        if isinstance(node, Mapping) and step in node.items:
            mark, node = node.keys.get(str(step), mark), node.items[str(step)]
        elif isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
            mark = node.mark
        else:
            break
    return mark


def written_out(node: Node, known: dict[int, int]) -> int:
    """How many values the node has when all that hangs in several places is written out. `known` keeps sizes of nodes that live on."""
    if isinstance(node, Scalar):
        return 1
    if id(node) not in known:
        children = node.items.values() if isinstance(node, Mapping) else node.items
        known[id(node)] = 1 + sum(written_out(child, known) for child in children)
    return known[id(node)]
