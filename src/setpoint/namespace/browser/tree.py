"""The tree: topics by location, contract and virtual path, cut out of the sorted list of their names.

All that lies below a place is one stretch of the list: from the first name that begins with the place and a dot to the last. So no tree is
kept in memory; the children of a place are found by leaping from stretch to stretch, and their topics are counted by the lengths.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from setpoint.namespace.topic import PREFIX

_AFTER: Final = "/"
"""The character after the dot: a place followed by it comes right behind all that lies below the place."""
_SLICE: Final = 500

Kind = Literal["location", "contract", "path", "topic"]


class Node(msgspec.Struct):
    """A place. `path` is the whole name without ``umh.v1.``; `topics` counts those at it and below it; `is_topic`: it is one itself.

    `children` is None where they were not asked for. They are not all of them where fewer topics than `topics` are found in them.
    """

    name: str
    path: str
    kind: Kind
    topics: int = 0
    is_topic: bool = False
    children: list[Node] | None = None


async def tree(names: Sequence[str], at: str = "", *, depth: int = 1, limit: int = 1000) -> list[Node]:
    """What lies below the place `at`, so many levels deep, at most `limit` nodes in all: those further up come first.

    `names` are topics in order.
    """
    top = _below(names, at, limit)
    left, turn = limit - len(top), 0
    waiting = deque((node, 1) for node in top)
    while waiting and left > 0:
        node, level = waiting.popleft()
        if level < depth and node.topics > node.is_topic:
            node.children = _below(names, node.path, left)
            left -= len(node.children)
            waiting.extend((child, level + 1) for child in node.children)
        turn += 1
        if turn % _SLICE == 0:
            await asyncio.sleep(0)
    return top


def _below(names: Sequence[str], at: str, limit: int) -> list[Node]:
    """The children of a place, at most so many, in order."""
    place = PREFIX + (f"{at}." if at else "")
    position, end = bisect_left(names, place), bisect_left(names, place[:-1] + _AFTER)
    found: dict[str, Node] = {}
    while position < end and len(found) < limit:
        name = names[position]
        dot = name.find(".", len(place))
        segment = name[len(place) :] if dot < 0 else name[len(place) : dot]
        node = found.get(segment)
        if node is None:
            node = found[segment] = Node(segment, f"{at}.{segment}" if at else segment, "topic")
        if dot < 0:
            node.is_topic, behind = True, position + 1
        else:
            node.kind, behind = _kind(at, segment), bisect_left(names, name[:dot] + _AFTER, position, end)
        node.topics += behind - position
        position = behind
    return list(found.values())


def contract_of(topic: str) -> str:
    """The contract in a topic's name: its first segment that begins with ``_``; "" where there is none."""
    start = topic.find("._")
    return topic[start + 1 :].partition(".")[0] if start >= 0 else ""


def _kind(at: str, segment: str) -> Kind:
    if contract_of(f".{at}"):
        return "path"
    return "contract" if segment.startswith("_") else "location"
