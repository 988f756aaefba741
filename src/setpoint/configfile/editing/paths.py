"""Paths: where in a document something is, as people write it: ``protocolConverter.press-1.protocolConverterServiceConfig.variables.IP``.

Steps are keys; in a list the name of the entry (its key ``name``) or its number from 0, also as ``[0]``. A key with a dot in it stands in
quotes. Finding the way to a place also finds what it shares: a value behind an alias, or inside an anchor that others use, cannot be
changed for one place alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.configfile.editing.spans import Entry, NotEditable, Span

_STEP: Final = re.compile(r'\.?(?:"((?:[^"\\]|\\.)*)"|([^.\["\]]+))|\[([0-9]{1,9})\]')
_NAMED: Final = 10
"""So many users of an anchor are named."""

Path = tuple[str, ...]


def parse_path(text: str) -> Path:
    """The steps of a path. Raises `NotEditable` for what is none."""
    steps: list[str] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None or (not steps and text.startswith(".")):
            raise NotEditable(f"{text[:100]!r} is no path", "write it like agent.location.0 or dataFlow[0].name")
        quoted, plain, index = found.groups()
        steps.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or index)
        position = found.end()
    if not steps:
        raise NotEditable("the path is empty", "write it like agent.location.0 or dataFlow[0].name")
    return tuple(steps)


def path_text(path: Path) -> str:
    """The path as people write it."""
    return ".".join(f'"{step}"' if re.search(r'[.\[\]"]', step) else step for step in path)


@dataclass(slots=True)
class Way:
    """The way to a place: for each step the node it starts from and the entry it takes. `rest` are the steps that lead to nothing that is
    there; `node` is where it ends."""

    nodes: list[Span]
    taken: list[Entry]
    rest: Path

    @property
    def node(self) -> Span:
        return self.nodes[-1]


def name_of(node: Span) -> str:
    """The name of an entry of a list, "" where it has none."""
    entry = node.entry("name") if node.kind == "mapping" else None
    return entry.value.text if entry is not None else ""


def way_to(root: Span, path: Path) -> Way:
    """As far as the path leads, without following aliases."""
    way = Way([root], [], path)
    while way.rest:
        entry = _taken(way.node, way.rest[0])
        if entry is None:
            break
        way.nodes.append(entry.value)
        way.taken.append(entry)
        way.rest = way.rest[1:]
    return way


def _taken(node: Span, step: str) -> Entry | None:
    if node.kind == "mapping":
        return node.entry(step) if step != "<<" else None
    if node.kind != "sequence":
        return None
    named = next((entry for entry in node.entries if name_of(entry.value) == step), None)
    if named is None and step.isascii() and step.isdigit() and int(step) < len(node.entries):
        return node.entries[int(step)]
    return named


def all_below(node: Span, path: Path = ()) -> Iterator[tuple[Path, Span]]:
    """Every node that is written below one, with its path."""
    yield path, node
    for number, entry in enumerate(node.entries):
        step = entry.key if node.kind == "mapping" else name_of(entry.value) or str(number)
        yield from all_below(entry.value, (*path, step))


def refuse_shared(root: Span, way: Way, path: Path) -> None:
    """Raise `NotEditable` where a change at the end of the way would be one at other places too, or of what stands there by an alias.

    The names of all others are in the message."""
    refuse_inside(root, way.nodes if way.rest else way.nodes[:-1], path)
    if not way.rest:
        refuse_needed(root, way.node, path)
    elif way.node.kind == "mapping":
        _refuse_merged(root, way.node, way.rest[0], path)


def refuse_inside(root: Span, nodes: Sequence[Span], path: Path) -> None:
    """Raise `NotEditable` where a change inside of these nodes would be one at other places too, with their names."""
    for node in nodes:
        if node.kind == "alias":
            raise _behind_alias(root, node.anchor, path)
    for node in nodes:
        if node.anchor and (users := _users(root, node.anchor)):
            message = f"{path_text(path)} is part of the anchor &{node.anchor}, which is used by {users}"
            raise NotEditable(message, "change it by hand for all of them, or write their values out first")


def refuse_needed(root: Span, node: Span, path: Path) -> None:
    """Raise `NotEditable` where an anchor below this node is used elsewhere: without it nothing would be left for the others."""
    own = {id(inner) for inner in node.below()}
    for inner in node.below():
        if inner.kind != "alias" and inner.anchor and (users := _users(root, inner.anchor, without=own)):
            message = f"{path_text(path)} has the anchor &{inner.anchor}, which is used by {users}"
            raise NotEditable(message, "move the anchor to one of them by hand first")


def _refuse_merged(root: Span, node: Span, step: str, path: Path) -> None:
    """A mapping that comes by ``<<`` cannot be changed in part: writing one here would hide all of it."""
    merged = [entry.value for entry in node.entries if entry.key == "<<"]
    if not merged or path[-1] == step:
        return
    for alias in (inner for value in merged for inner in value.below() if inner.kind == "alias"):
        for _, source in all_below(root):
            if source.anchor == alias.anchor and source.kind == "mapping" and source.entry(step) is not None:
                raise _behind_alias(root, alias.anchor, path)


def _behind_alias(root: Span, anchor: str, path: Path) -> NotEditable:
    message = (
        f"{path_text(path)} stands behind the alias *{anchor}; what it stands for is used by {_users(root, anchor)}"
    )
    return NotEditable(message, "change the anchor by hand for all of them, or write the value out here")


def _users(root: Span, anchor: str, *, without: set[int] | None = None) -> str:
    """The places that use an anchor, for people; "" where none does."""
    found = [
        path_text(path)
        for path, node in all_below(root)
        if node.kind == "alias" and node.anchor == anchor and id(node) not in (without or ())
    ]
    more = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {more} more" if more > 0 else "")
