"""The connection machine: can the device be reached, and is the way to it steady.

Probes a TCP port at an interval. One look is enough to say up or down; a way that keeps changing between the two within the flaky window
is *degraded*, until it has been steady for that window. So a single outage is down and up again, and a bad cable is degraded. A device
that answers a flow is not probed: the answer is the better proof.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.services import Contacts, Resolver, probe_tcp

FRESH_INTERVALS = 1.5
"""An answer that some flow got is as good as a probe for so many probe intervals."""
CHANGES_OF_A_FLAKY_WAY = 4
"""So many changes between reachable and not, within the window, are flaky: two outages, each with its recovery."""


class ConnectionSpec(BaseModel):
    """What to reach, and how to look at it. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    target: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    desired_state: Literal["up", "stopped"] = "up"
    probe_interval_s: float = Field(default=1.0, gt=0)
    probe_timeout_s: float = Field(default=3.0, gt=0)
    flaky_window_s: float = Field(default=60.0, gt=0)


class ConnectionObserved(Observation, frozen=True):
    """What the latest probe said; `changes` counts the changes between reachable and not within the flaky window."""

    answer: str = "not probed"
    detail: str = ""
    latency_ms: float | None = None
    changes: int = 0


Seen = Snapshot[ConnectionSpec, ConnectionObserved]


@guard
def reachable(s: Seen) -> Verdict:
    "the latest probe was answered"
    return Verdict(s.observed.answer == "open", s.observed.detail)


@guard
def unreachable(s: Seen) -> Verdict:
    "the latest probe failed"
    return Verdict(s.observed.answer not in ("open", "not probed"), s.observed.detail)


@guard
def flaky(s: Seen) -> Verdict:
    "results alternate within the flaky window"
    text = f"{s.observed.changes} changes in {s.desired.flaky_window_s:g} s"
    return Verdict(s.observed.changes >= CHANGES_OF_A_FLAKY_WAY, text)


def _why(s: Seen) -> str:
    return f"{s.observed.answer}: {s.observed.detail}"


def _why_flaky(s: Seen) -> str:
    return f"flaky: {s.observed.changes} changes in {s.desired.flaky_window_s:g} s, now {s.observed.answer}"


class Connection(Worker[ConnectionSpec, ConnectionSpec, ConnectionObserved]):
    "Watches the way to a device by TCP probes."

    stopped = State(Phase.STOPPED, reason="stopped")
    starting = State(Phase.STARTING, reason=lambda s: f"starting: {s.observed.detail or 'first probe under way'}")
    up = State(Phase.HEALTHY)
    down = State(Phase.DEGRADED, reason=_why)
    degraded = State(Phase.DEGRADED, reason=_why_flaky)
    stopping = State(Phase.STOPPING, reason="stopping")

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | up | down | degraded).to(stopping, on="stop", when=~wanted),
        starting.to(up, on="start_done", when=reachable),
        (up | down).to(degraded, on="probe_flaky", when=flaky),
        (starting | up | degraded).to(down, on="probe_down", when=unreachable & ~flaky),
        (down | degraded).to(up, on="probe_up", when=reachable & ~flaky),
        stopping.to(stopped, on="stop_done"),
    ]

    def __init__(self, contacts: Contacts, resolver: Resolver) -> None:
        self._contacts = contacts
        self._resolver = resolver
        self._reachable: bool | None = None
        self._changes: deque[float] = deque(maxlen=1000)

    def derive_desired_state(self, spec: ConnectionSpec) -> ConnectionSpec:
        """The spec itself; the pace of observing follows it."""
        self.interval = spec.probe_interval_s
        self.timeout = spec.probe_timeout_s + 1.0
        return spec

    async def collect_observed_state(self, desired: ConnectionSpec) -> ConnectionObserved:
        """Probe once, unless the device has just answered a flow: that proves more, and spares the device a connection."""
        if desired.desired_state == "stopped":
            self._reachable = None
            return ConnectionObserved()
        now = asyncio.get_running_loop().time()
        if self._contacts.age(desired.target, desired.port, now) < FRESH_INTERVALS * desired.probe_interval_s:
            changes = self._count_changes(True, desired.flaky_window_s)
            detail = f"{desired.target}:{desired.port} answers the flow that reads it"
            return ConnectionObserved(answer="open", detail=detail, changes=changes)
        probe = await probe_tcp(desired.target, desired.port, desired.probe_timeout_s, self._resolver)
        latency = None if probe.latency_ms is None else round(probe.latency_ms, 1)
        changes = self._count_changes(probe.answer == "open", desired.flaky_window_s)
        return ConnectionObserved(answer=probe.answer, detail=probe.detail, latency_ms=latency, changes=changes)

    def _count_changes(self, reachable_now: bool, window: float) -> int:
        now = asyncio.get_running_loop().time()
        if self._reachable is not None and reachable_now != self._reachable:
            self._changes.append(now)
        self._reachable = reachable_now
        while self._changes and now - self._changes[0] > window:
            self._changes.popleft()
        return len(self._changes)
