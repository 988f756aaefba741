"""The names by which people mean states and arcs of a plan.

priced                     the state of the main network; where that has none, those of other networks
pricing:taxed              the state of that network
packed->shipped            the arcs between the two, however it is spaced; with ``network:`` before it as well
packed -by air-> shipped   one of them
by air                     the arcs of that name
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from setpoint.data.faults import meant

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

Named = frozenset[tuple[str, str]]
"""Names of networks, and of a state or an arc in each."""


def states_named(plan: Plan, text: str) -> Named:
    """The states that the text means. Raises `KeyError` with what it may have meant."""
    rows = {(row.network, row.name): row.label for row in plan.rows}
    found = {place for place, label in rows.items() if text == label or text == ":".join(place)}
    found = found or {place for place in rows if place[1] == text}
    if not found:
        raise KeyError(f"{plan.definition.name!r} has no state {text!r}: {meant(text, list(rows.values()))}")
    return frozenset(found)


def arcs_named(plan: Plan, text: str) -> Named:
    """The arcs that the text means, each by its network and its whole name. Raises `KeyError` with what it may have meant."""
    wanted = _squeezed(text)
    known = [
        (row.network, way.name, set(_names(row.network, row.name, way.name))) for row in plan.rows for way in row.arcs
    ]
    found = frozenset((network, name) for network, name, names in known if wanted in names)
    if not found:
        raise KeyError(f"{plan.definition.name!r} has no arc {text!r}: {meant(text, [name for _, name, _ in known])}")
    return found


def is_arc(text: str) -> bool:
    """Whether the text means an arc by its two ends."""
    return "->" in text


def _names(network: str, source: str, name: str) -> Iterator[str]:
    """All that an arc may be called."""
    whole = _squeezed(name)
    parts = re.match(r" -(?:(.*)-)?> (.*)$", name.removeprefix(source), re.DOTALL)
    label, target = parts.groups() if parts else (None, "")
    ends = _squeezed(f"{source}->{target}")
    yield from (whole, ends, f"{network}:{whole}", f"{network}:{ends}")
    if label:
        yield from (_squeezed(label), f"{network}:{_squeezed(label)}")


def _squeezed(text: str) -> str:
    return re.sub(r"\s*(->|-)\s*", r"\1", text.strip())
