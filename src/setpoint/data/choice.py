"""Which arc a record takes: the conditions asked, one after the other, and what the strategy makes of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from setpoint.data.answers import is_open, no_open_arc
from setpoint.data.definition import Strategy
from setpoint.data.rows import Way
from setpoint.data.site import Site, Steps

if TYPE_CHECKING:
    from setpoint.data.walk import Walk


def choose(walk: Walk, site: Site, record: Any) -> Steps:
    """The arcs to take: one, or, where the record fans out, all that are open; none where it is to wait."""
    ways = site.row.ways
    if walk.fans:
        found = []
        for way in ways:
            if (yield from _open(walk, site, way, record)):
                found.append(way)
    else:
        way = yield from first_open(walk, site, ways, record)
        if way is not None and walk.plan.definition.strategy is Strategy.RESOURCE_OPTIMIZED:
            way = yield from _free(walk, site, way, record)
        found = [] if way is None else [way]
    site.way = None
    if not found and not site.row.later:
        raise no_open_arc(site.row)
    return found


def first_open(walk: Walk, site: Site, ways: tuple[Way, ...], record: Any) -> Steps:
    """The first open arc of these; None where all are closed."""
    for way in ways:
        if way.test is None or (yield from _open(walk, site, way, record)):
            return way
    return None


def _open(walk: Walk, site: Site, way: Way, record: Any) -> Steps:
    test = way.test
    if test is None:
        return True
    site.way = way
    walk.context.arc = way.name
    out = test.call(record, walk.context) if test.asks else test.call(record)
    if test.awaited:
        out = yield walk.in_time(out, site)
    return is_open(out)


def _free(walk: Walk, site: Site, first: Way, record: Any) -> Steps:
    """Of the open arcs that are as important as the first one, that whose resources are free now; else the first."""
    for way in site.row.ways:
        if way.priority == first.priority and way.number >= first.number:
            is_open = way is first or (yield from _open(walk, site, way, record))
            if is_open and _is_free(walk, way):
                return way
    return first


def _is_free(walk: Walk, way: Way) -> bool:
    names = {**walk.rows[way.target].resources, **way.resources}
    return not names or walk.supply is None or walk.supply.free(names)
