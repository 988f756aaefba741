"""Records that wait: in a state whose arcs are opened by an event or by time, while no other arc is open.

A record that waits is a token with `since`, the time of day when it began; that survives restarts. It is no work for anybody until the
run is resumed: with an event that was sent (`Sent`), or without, when the time of an arc may have come. The token is then looked at as the
interpreter looks at any other, with the arcs that the event or the time opens:

    sent     the arcs of that event, in their order; the conditions see what came with it, in the field named like the event
    time     the arcs whose time has come, the earliest first

Who sends what cannot be taken hears of it (`NotTaken`) and changes nothing: neither an unknown event nor one whose data a condition chokes
on is an error of the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from setpoint.data import choice, fail
from setpoint.data.context import Progress, Sent, Token
from setpoint.data.errors import NotTaken
from setpoint.data.result import WAITING, Result, Wait
from setpoint.data.rows import Row, Way
from setpoint.data.site import Site, Steps

if TYPE_CHECKING:
    from setpoint.data.plan import Plan
    from setpoint.data.walk import Walk


def wait_at(row: Row, token: Token) -> Wait:
    """What a record waits for that stands there, and when time may next let it go on.

    An arc whose time had come when it was `looked` at was closed then by its condition: it is no longer waited for. Where that is so of all
    of them, they are looked at again after as long as the shortest of them takes.
    """
    times = [way.after for way in row.later if way.after is not None]
    ends = [token.since + after for after in times if token.since + after > token.looked]
    if times and not ends:
        ends = [token.looked + min(times)]
    events = dict.fromkeys(way.event for way in row.later if way.event)
    return Wait(row.label, tuple(events), min(ends, default=None))


def waits_of(plan: Plan, progress: Progress) -> tuple[Wait, ...]:
    """What each of the records waits for that do."""
    return tuple(wait_at(plan.row_of(token), token) for token in progress.waiting)


def pending(walk: Walk, waiting: Sequence[Token]) -> Result:
    """What a run is that has come as far as it can."""
    first = waiting[0]
    data = first.record if len(waiting) == 1 else tuple(token.record for token in waiting)
    waits = tuple(wait_at(walk.plan.row_of(token), token) for token in waiting)
    spent = walk.plan.clock() - walk.started
    return Result(WAITING, data, first.path, False, None, spent, (), first.handled, waits)


def woken(walk: Walk, site: Site) -> Steps:
    """Along the arc that the event opens, or time: the token as it was where none does."""
    sent, now = walk.sent, walk.plan.wall()
    ways = _due(site, now) if sent is None else [way for way in site.row.later if way.event == sent.event]
    try:
        if sent is not None and sent.data is not None and ways:
            site.record = {**site.record, sent.event: sent.data}
        way = yield from choice.first_open(walk, site, tuple(ways), site.record)
    except Exception as fault:
        if sent is None:
            raise
        walk.refusal, way = fail.genuine(fault), None
    if way is None:
        return site.token if sent is not None else msgspec.structs.replace(site.token, looked=now)
    walk.taken = True
    return (yield from walk.cross(site, way, 0))


def _due(site: Site, now: float) -> list[Way]:
    since = site.token.since
    times = [(way.after, way.number, way) for way in site.row.later if way.after is not None]
    return [way for after, _, way in sorted(times) if since + after <= now]


def expect(plan: Plan, progress: Progress, sent: Sent) -> None:
    """Raises `NotTaken` for an event that no record waits for, `TypeError` for data that a record cannot take in."""
    tokens = [token for token in (*progress.waiting, *progress.tokens) if token.since]
    waiting = {event: token for token in tokens for event in wait_at(plan.row_of(token), token).events}
    if sent.event not in waiting:
        known = f"it waits for: {', '.join(sorted(waiting))}" if waiting else "it waits for no event"
        raise NotTaken(f"run {progress.run} does not wait for {sent.event!r}; {known}")
    record = waiting[sent.event].record
    if sent.data is not None and not isinstance(record, Mapping):
        raise TypeError(f"the record is no mapping but {type(record).__name__}: send {sent.event!r} without data")


def not_taken(walk: Walk) -> NotTaken:
    """Why the event that was sent let no record go on."""
    assert walk.sent is not None
    why = f"{type(walk.refusal).__name__}: {walk.refusal}" if walk.refusal else "its condition says no"
    return NotTaken(f"run {walk.run}: no arc for {walk.sent.event!r} is open ({why})")
