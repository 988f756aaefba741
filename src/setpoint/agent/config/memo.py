"""What reading the file before this one found, so that reading the next one costs what changed.

A bridge reads the same when its own part of the file, place by place, and everything it is read against (templates, the agent's location
and so on) are the same. Only bridges about which there was nothing to say are remembered; problems are always found anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from setpoint.agent.config.model import Bridge, Part
from setpoint.configfile.node import Mapping, Node, Sequence

Print = tuple[object, ...]
"""A node as nested tuples: equal when content and places are."""


def print_of(node: Node) -> Print:
    """The print of a node and all below it."""
    if isinstance(node, Mapping):
        return (node.mark, tuple((key, node.keys.get(key), print_of(child)) for key, child in node.items.items()))
    if isinstance(node, Sequence):
        return (node.mark, *(print_of(child) for child in node.items))
    return (node.mark, node.text, node.value)


class Known(NamedTuple):
    """A bridge that was read without a remark, the nodes of its flows, and how many values it took."""

    print: Print
    bridge: Bridge
    nodes: dict[tuple[Part, str], Node]
    values: int


@dataclass(slots=True)
class Memo:
    """The memory of one reader of one file. `around` is everything bridges were read against."""

    around: object = None
    bridges: dict[str, Known] = field(default_factory=dict)
    fresh: dict[str, Known] = field(default_factory=dict)

    def begin(self, around: object) -> None:
        """A new reading begins, against these surroundings."""
        if around != self.around:
            self.bridges.clear()
        self.around, self.fresh = around, {}

    def recall(self, name: str, part: Print) -> Known | None:
        """The bridge of that name, if it read the same."""
        known = self.bridges.get(name)
        if known is None or known.print != part:
            return None
        self.fresh[name] = known
        return known

    def keep(self, name: str, known: Known) -> None:
        self.fresh[name] = known

    def end(self) -> None:
        """The reading has ended: what it did not meet is forgotten."""
        self.bridges = self.fresh
