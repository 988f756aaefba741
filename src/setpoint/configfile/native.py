"""Python data to a tree of nodes, so that what a program writes as dicts is read by the very reader of the files.

Such nodes stand nowhere: their marks are 0, and problems name the path of keys instead.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence as SequenceOf
from enum import Enum
from typing import Any, Final

from setpoint.configfile.compose import MAX_DEPTH, MAX_VALUES
from setpoint.configfile.node import Mapping, Mark, Node, Scalar, Sequence

_NOWHERE: Final = Mark(0, 0)


def from_python(value: Any) -> Node:
    """The value as nodes: mappings, lists and tuples, plain values; anything else is kept as it is (`Scalar.native`).

    Raises `ValueError` for data that contains itself, is nested deeper than any file may be or has more values.
    """
    return _Native().node(value, 0)


class _Native:
    def __init__(self) -> None:
        self.values = 0

    def node(self, value: Any, depth: int) -> Node:
        self.values += 1
        if self.values > MAX_VALUES:
            raise ValueError(f"the data has more than {MAX_VALUES:,} values")
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str | int | float) or value is None:
            return Scalar(_NOWHERE, value, _text(value))
        if isinstance(value, MappingOf | list | tuple):
            if depth >= MAX_DEPTH:
                raise ValueError(f"the data is nested deeper than {MAX_DEPTH} levels, or contains itself")
            return self._mapping(value, depth) if isinstance(value, MappingOf) else self._sequence(value, depth)
        return Scalar(_NOWHERE, None, f"a Python {type(value).__name__}", native=value)

    def _mapping(self, value: MappingOf[Any, Any], depth: int) -> Node:
        items = {_text(key): self.node(child, depth + 1) for key, child in value.items()}
        if len(items) != len(value):
            raise ValueError("two keys of one mapping are the same text")
        return Mapping(_NOWHERE, items, dict.fromkeys(items, _NOWHERE), size=1 + sum(c.size for c in items.values()))

    def _sequence(self, value: SequenceOf[Any], depth: int) -> Node:
        items = [self.node(child, depth + 1) for child in value]
        return Sequence(_NOWHERE, items, size=1 + sum(child.size for child in items))


def _text(value: Any) -> str:
    """A plain value as it would stand in a file."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
