"""Views: what people and programs outside may know of a worker. Plain data, made when asked for."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec
from pydantic import BaseModel

from setpoint.control.record import Record
from setpoint.control.tally import Counted
from setpoint.machine import Phase
from setpoint.secrets import without_secrets
from setpoint.store import redacted

_T = TypeVar("_T")


class Condition(msgspec.Struct, frozen=True):
    """One of the three conditions people know: whether it holds, and why."""

    ok: bool
    reason: str = ""


class WorkerView(msgspec.Struct, frozen=True):
    """One worker. `since` is wall time in seconds since the epoch; `phase` is "" while the worker has no machine of its own yet."""

    path: str
    type: str
    state: str
    phase: str
    reason: str
    since: float
    desired: str


class WorkerDetail(msgspec.Struct, frozen=True):
    """One worker, in full. `age` is that of the last good observation, in seconds; None before the first.

    `transitions` and `starts` are counted over the life of the store, `restarts` are starts that follow upon one another just now.
    """

    path: str
    type: str
    machine: str
    state: str
    phase: str
    reason: str
    since: float
    desired: str
    ready: Condition
    reconciling: Condition
    stalled: Condition
    generation: int
    seen_generation: int
    transitions: int
    starts: int
    restarts: int
    observed: Any
    age: float | None
    error: str
    acting: list[str]
    children: list[str]
    tally: Counted


def desired_text(record: Record) -> str:
    """What is wanted of it, in one word: its own desired state while nothing overrules it, else "stopped" (or "removed")."""
    if record.removing:
        return "removed"
    own = getattr(record.desired, "desired_state", None)
    if not record.wanted and not record.waits_for:
        return "stopped"
    return str(own) if own else "running"


def phase_text(record: Record) -> str:
    return record.phase or ""


def reason_text(record: Record) -> str:
    """The reason of the state, led by what keeps the runtime from moving it."""
    stalled, reason = record.stalled, record.reason
    if record.disabled:
        return f"disabled by the operator: {record.disabled}"
    if record.waits_for and not stalled:
        return record.waits_for
    if not stalled or not reason:
        return stalled or reason
    return stalled if reason in stalled else f"{stalled}; {reason}"


def view(record: Record) -> WorkerView:
    return WorkerView(
        record.path,
        record.type,
        record.state,
        phase_text(record),
        reason_text(record),
        record.since,
        desired_text(record),
    )


def detail(record: Record, now: float) -> WorkerDetail:
    stalled = record.stalled
    target = Phase.HEALTHY if record.wanted or record.waits_for else Phase.STOPPED
    settled = record.phase is target and record.generation == record.seen_generation
    moving = not settled and not stalled and record.phase is not Phase.DEGRADED
    return WorkerDetail(
        path=record.path,
        type=record.type,
        machine=record.worker.machine.name if record.worker else "",
        state=record.state,
        phase=phase_text(record),
        reason=reason_text(record),
        since=record.since,
        desired=desired_text(record),
        ready=Condition(
            settled and not stalled, "" if settled and not stalled else f"in {record.state}: {reason_text(record)}"
        ),
        reconciling=Condition(moving, record.reason if moving else ""),
        stalled=Condition(bool(stalled), stalled),
        generation=record.generation,
        seen_generation=record.seen_generation,
        transitions=record.transitions,
        starts=record.starts,
        restarts=record.restarts if now < record.calm_at else 0,
        observed=redacted(record.observed, record.secrets) if record.secrets else _plain(record.observed),
        age=now - record.sampled_at if record.has_observed else None,
        error=record.error,
        acting=list(record.running),
        children=list(record.children.values()),
        tally=tally_of(record, now),
    )


def tally_of(record: Record, now: float) -> Counted:
    """A copy of the worker's figures, with the time in its present state in them."""
    tally, seconds_in = record.tally, dict(record.tally.seconds_in)
    seconds_in[record.state] = seconds_in.get(record.state, 0.0) + max(0.0, now - record.position.entered_at)
    return Counted(
        tally.observations, tally.abandoned, tally.actions, seconds_in, dict(tally.counters), dict(tally.gauges)
    )


def hidden(value: _T, secrets: frozenset[str]) -> _T:
    """Texts, and tuples of them at any depth, without these secrets."""
    if isinstance(value, str):
        return cast(_T, without_secrets(value, secrets))
    if not isinstance(value, tuple):
        return value
    parts = [hidden(part, secrets) for part in value]
    return cast(_T, type(value)(*parts) if hasattr(value, "_fields") else tuple(parts))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return msgspec.to_builtins(value, enc_hook=str)
