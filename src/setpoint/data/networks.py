"""Between networks and at their ends: entering a state, pushing into another network, coming back, arriving.

A push keeps a `Frame` of where it left; the frames of a token are its way back. What goes in and what comes out is said by the push:

    in     the fields of `data_mapping`, or the whole record, isolated as it says
    out    the fields of `result_mapping` laid over the parent's record, or the child's record in its place
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from setpoint.data import fail
from setpoint.data.context import Frame, Kind, Token
from setpoint.data.definition import DataMode, Isolation, Push
from setpoint.data.draft import settled
from setpoint.data.errors import Failed, TooDeep
from setpoint.data.modes import VERSIONS, deep_copy, draft, restore
from setpoint.data.result import FAILED, Result, StepError
from setpoint.data.rows import Pushed
from setpoint.data.site import Site, Steps

if TYPE_CHECKING:
    from setpoint.data.walk import Walk


def entering(walk: Walk, site: Site, target: int, record: Any) -> Token:
    """The record, about to enter a state of the same network."""
    token, to = site.token, walk.rows[target]
    return Token(record, to.network, to.name, site.path, 0, -1, 0, token.transitions + 1, token.frames, token.handled)


def push(walk: Walk, site: Site, pushed: Pushed, *, record: Any) -> Token:
    """The record, about to enter another network. Raises `TooDeep`, and `KeyError` for a field that is not there."""
    token, how, way = site.token, pushed.push, site.way
    limit = walk.plan.definition.max_depth
    if len(token.frames) >= limit:
        raise TooDeep(limit)
    assert way is not None
    if site.row.mode is DataMode.REFERENCE:
        record = settled(record)
    given = _isolated(_mapped_in(record, how.data_mapping), how.isolation)
    kept = deep_copy(record) if way.retry and given is record else record
    frame = Frame(
        site.row.network, site.row.name, way.number, site.entered, kept, site.arc_attempt, max(site.version, 0)
    )
    to = walk.rows[pushed.start]
    return Token(
        given, to.network, to.name, site.path, 0, -1, 0, token.transitions + 1, (*token.frames, frame), token.handled
    )


def parent(walk: Walk, site: Site) -> Site:
    """The visit of the state that pushed, as it stood when it did."""
    token = site.token
    frame = token.frames[-1]
    row = walk.plan.rows[walk.plan.numbers[frame.network, frame.state]]
    up = Site(
        row,
        Token(
            frame.entered,
            row.network,
            row.name,
            site.path,
            len(row.steps) or 1,
            -1,
            0,
            token.transitions,
            token.frames[:-1],
            token.handled,
        ),
    )
    up.way, up.arc_attempt, up.record, up.version = row.arcs[frame.arc], frame.attempt, frame.record, frame.version
    return up


def arrive(walk: Walk, site: Site, record: Any) -> Steps:
    """The record is at the end of its network: back in the parent's, or the result."""
    token, row = site.token, site.row
    error = _failure(site) if row.name == FAILED else None
    if error is not None and not token.handled:  # else it was told when it happened
        walk.tell(Kind.ERROR, row.network, row.name, record=record, error=error, token=token)
    if not token.frames:
        return Result(
            row.name, record, site.path, error is None, error, walk.plan.clock() - walk.started, (), token.handled
        )
    if error is not None:
        return (yield from fail.child(walk, site, error))
    up = parent(walk, site)
    assert up.way is not None
    assert up.way.push is not None
    try:
        joined = _joined(up, settled(record), up.way.push.push)
    except Exception as fault:
        return (yield from fail.astray(walk, up, fail.step_error(up, fault)))
    return entering(walk, up, up.way.push.back, joined)


def _failure(site: Site) -> StepError:
    """Why a record in the end `failed` is there."""
    if site.token.handled:
        return site.token.handled[-1]
    text = "an arc of the machine led the record to the end `failed`"
    return StepError(Failed.__name__, text, site.row.label, exception=Failed(text), kinds=(Failed.__name__,))


def _joined(up: Site, result: Any, how: Push) -> Any:
    content = _mapped_out(up.record, result, how.result_mapping) if how.result_mapping else result
    if up.row.mode is DataMode.DIRECT:
        return restore(up.record, content) if how.result_mapping else content
    if up.row.mode is DataMode.REFERENCE and type(up.entered) is type(content) and isinstance(content, dict | list):
        if content is not up.entered:
            VERSIONS.commit(up.entered, content, up.version)
        return up.entered
    return content


def _mapped_in(record: Any, mapping: Mapping[str, str]) -> Any:
    if not mapping:
        return record
    made: dict[str, Any] = {}
    for source, target in mapping.items():
        _put(made, target, _field(record, source))
    return made


def _mapped_out(record: Any, result: Any, mapping: Mapping[str, str]) -> Any:
    if not isinstance(record, Mapping):
        raise TypeError(f"result_mapping lays fields over a record; this one is no mapping but {type(record).__name__}")
    made = dict(record)
    for source, target in mapping.items():
        _put(made, target, _field(result, source))
    return made


def _field(record: Any, path: str) -> Any:
    value = record
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise KeyError(f"the record has no field {path!r}")
        value = value[part]
    return value


def _put(record: dict[str, Any], path: str, value: Any) -> None:
    """Sets a field at a dotted path; the mappings on the way are copied, so that whoever shares them sees nothing."""
    *way, last = path.split(".")
    for part in way:
        below = record.get(part)
        record[part] = copy.copy(below) if isinstance(below, dict) else {}
        record = record[part]
    record[last] = value


def _isolated(record: Any, isolation: Isolation) -> Any:
    if isolation == "copy":
        return deep_copy(record)
    if isolation == "reference":
        return draft(record)
    if isolation == "serialize":
        return msgspec.json.decode(msgspec.json.encode(record))
    return record
