"""Where a failed record goes.

A failure in a state or on an arc out of it is first a matter of patience: the retries of the arc, or of the state. Then

    1. the first open arc ``error`` out of the state is taken (after a time-out the arcs ``timeout`` come first): the error is handled;
    2. else, where a state that runs on failure lies ahead, the record *drifts* on along the open arcs: only such states do anything;
    3. else it ends in the network's own `failed`, where it has one;
    4. else, in a pushed network, the arc that pushed has failed, in the parent's state: from 1 again there;
    5. else the run ends in `failed`.

What goes on is the record as it came into the state; in DIRECT mode the record as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from setpoint.data import choice, networks
from setpoint.data.context import Kind, Token
from setpoint.data.definition import DataMode
from setpoint.data.errors import NoOpenArc, TimedOut
from setpoint.data.modes import Conflict, deep_copy, restore
from setpoint.data.result import FAILED, Result, StepError
from setpoint.data.retrying import kinds_of, pause_after
from setpoint.data.rows import Row
from setpoint.data.site import Site, Steps

if TYPE_CHECKING:
    from setpoint.data.plan import Plan
    from setpoint.data.walk import Walk


def genuine(fault: Exception) -> Exception:
    """The fault as it was raised: Python lets no StopIteration out of a generator or coroutine, and raises a RuntimeError about it."""
    cause = fault.__cause__
    return cause if isinstance(fault, RuntimeError) and isinstance(cause, StopIteration) else fault


def message_of(fault: Exception) -> str:
    """What it says, also where its own text fails, or has parts that are no characters (names of files may)."""
    try:
        return str(fault).encode("utf-8", "backslashreplace").decode()
    except Exception as error:
        return f"it could not be written as text: {type(error).__name__}"


def gave_up(walk: Walk, token: Token, fault: Exception) -> Result:
    """The end of a record that may not go on, whatever arcs there are."""
    earlier = token.handled[-1] if token.handled else token.failing
    error = StepError(
        type(fault).__name__, str(fault), token.path[-1] if token.path else token.state, "", earlier, fault
    )
    walk.tell(Kind.ERROR, token.network, token.state, record=token.record, error=error, token=token)
    return _ended(walk, token, error, record=token.record, path=token.path, state=FAILED)


def overdue(walk: Walk) -> TimedOut:
    """The error of a run that took too long."""
    assert walk.deadline is not None
    return TimedOut(f"the run did not end within {walk.deadline - walk.started:g} s")


def step_error(site: Site, fault: Exception) -> StepError:
    """The fault as an error of this visit."""
    handled, way = site.token.handled, site.way
    return StepError(
        type(fault).__name__, message_of(fault), site.row.label, way.name if way else "", handled[-1] if handled else None, fault,
        site.arc_attempt if way else site.attempt, kinds=kinds_of(fault),
    )  # fmt: skip


def patience(plan: Plan, site: Site, fault: Exception) -> float | None:
    """Seconds until the state is tried again; None where it is not. Faults of its arcs are the arcs' own, a conflict is the state's."""
    if isinstance(fault, NoOpenArc) or (site.way is not None and not isinstance(fault, Conflict)):
        return None
    return pause_after(site.row.retry, fault, site.attempt, chance=plan.rng.random)


def before(site: Site) -> Any:
    """The record to begin an attempt with in DIRECT mode: the very object, with the content it had before the first."""
    if site.attempt == 1:
        site.snapshot = deep_copy(site.entered)
        return site.entered
    return restore(site.entered, deep_copy(site.snapshot))


def astray(walk: Walk, site: Site, error: StepError) -> Steps:
    """What becomes of a record whose visit failed for good."""
    row, token = site.row, site.token
    walk.tell(
        Kind.ERROR, row.network, row.name, record=site.entered, arc=error.arc, attempt=error.attempt, error=error, token=token
    )  # fmt: skip
    record = site.record if row.mode is DataMode.DIRECT else site.entered
    overdue = walk.deadline is not None and walk.plan.clock() > walk.deadline
    ways = (*row.on_timeout, *row.on_error) if TimedOut.__name__ in error.kinds else row.on_error
    if overdue or (token.arc >= 0 and any(way.number == token.arc for way in (*row.on_error, *row.on_timeout))):
        ways = ()  # the way out failed itself
    site.record, walk.context.error = record, error
    try:
        way = yield from choice.first_open(walk, site, ways, record)
    except Exception as fault:
        error, way = msgspec.structs.replace(step_error(site, fault), earlier=error), None
        walk.tell(Kind.ERROR, row.network, row.name, record=record, arc=error.arc, error=error, token=token)
    if way is None:
        return (yield from _uncaught(walk, site, error, record, overdue=overdue))
    handled = (*token.handled, msgspec.structs.replace(error, earlier=None))  # which came before, the order says
    return Token(
        record,
        row.network,
        row.name,
        site.path,
        len(row.steps) or 1,
        way.number,
        0,
        token.transitions,
        token.frames,
        handled,
    )


def _uncaught(walk: Walk, site: Site, error: StepError, record: Any, *, overdue: bool) -> Steps:
    row, token = site.row, site.token
    if row.rescue and not overdue:
        return Token(
            record,
            row.network,
            row.name,
            site.path,
            len(row.steps) or 1,
            -1,
            0,
            token.transitions,
            token.frames,
            token.handled,
            error,
        )
    if row.failed >= 0 and row.failed != row.number and not overdue:
        caught = networks.entering(walk, site, row.failed, record)
        return msgspec.structs.replace(caught, handled=(*token.handled, msgspec.structs.replace(error, earlier=None)))
    if token.frames and not overdue:
        return (yield from child(walk, site, error))
    return _ended(walk, token, error, record=record, path=(*site.path, FAILED), state=FAILED)


def _ended(walk: Walk, token: Token, error: StepError, *, record: Any, path: tuple[str, ...], state: str) -> Result:
    return Result(state, record, path, False, error, walk.plan.clock() - walk.started, (), token.handled)


def child(walk: Walk, site: Site, error: StepError) -> Steps:
    """A pushed network failed: so did the arc that pushed."""
    up = networks.parent(walk, site)
    assert up.way is not None
    frame = site.token.frames[-1]
    handled = up.token.handled
    failed = StepError(
        error.type,
        error.message,
        up.row.label,
        up.way.name,
        handled[-1] if handled else None,
        error.exception,
        frame.attempt,
        msgspec.structs.replace(error, earlier=None),
        error.kinds,
    )
    delay = pause_after(up.way.retry, error.exception or error.kinds, frame.attempt, chance=walk.plan.rng.random)
    if delay is None or up.way.push is None:
        return (yield from astray(walk, up, failed))
    yield from walk.again(up, failed, delay)
    up.arc_attempt = frame.attempt + 1
    return networks.push(walk, up, up.way.push, record=deep_copy(frame.record))


def drift(walk: Walk, row: Row, token: Token) -> Steps:
    """One state on the way of a record that has failed for good."""
    site, error, record = Site(row, token), token.failing, token.record
    assert error is not None
    if row.cleanup and not token.step:
        walk.tell(Kind.ENTER, row.network, row.name, record=record, error=error, token=token)
        try:
            record = yield from walk.only_functions(site)
        except Exception as fault:
            error = msgspec.structs.replace(step_error(site, fault), earlier=error)
            walk.tell(Kind.ERROR, row.network, row.name, record=record, error=error, token=token)
        else:
            walk.tell(Kind.EXIT, row.network, row.name, record=record, token=token)
    target = -1 if row.final else (yield from _first_target(walk, site, record))
    if target >= 0:
        to = walk.rows[target]
        return Token(
            record, to.network, to.name, site.path, transitions=token.transitions + 1, frames=token.frames, handled=token.handled,
            failing=error,
        )  # fmt: skip
    if token.frames:
        return (yield from child(walk, site, error))
    path = site.path if row.final else (*site.path, FAILED)
    return _ended(walk, token, error, record=record, path=path, state=row.name if row.final else FAILED)


def _first_target(walk: Walk, site: Site, record: Any) -> Steps:
    """Where the first open arc leads; a condition that cannot be answered for a failed record is a no. -1 where all are closed."""
    for way in site.row.ways:
        try:
            is_open = yield from choice.first_open(walk, site, (way,), record)
        except Exception:
            continue
        if is_open is not None:
            return way.target
    return -1
