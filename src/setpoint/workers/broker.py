"""The broker machine: is the log that everything is written to there, healthy, and in use.

The states and events are those of the Redpanda machine, whatever the broker behind the interface is. Idle and active tell whether bytes
went in or out; degraded names the health check that fails.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, Setting, State, Verdict, guard, held
from setpoint.namespace import Broker as BrokerService
from setpoint.namespace import BrokerError, BrokerStats

IDLE_WINDOW = Setting("idle_window_s", 30.0)
START_TIMEOUT = Setting("start_timeout_s", 30.0)
LOW_DISK_PERCENT = 5.0


class BrokerSpec(BaseModel):
    """How the broker is watched. Seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    desired_state: Literal["active", "stopped"] = "active"
    idle_window_s: float = Field(default=IDLE_WINDOW.default, ge=0)
    start_timeout_s: float = Field(default=START_TIMEOUT.default, gt=0)


class BrokerObserved(Observation, frozen=True):
    """What the broker says about itself; rates are per second, over the time since the observation before."""

    open: bool = False
    fault: str = ""
    bytes_in_per_s: float = 0.0
    bytes_out_per_s: float = 0.0
    messages_in_per_s: float = 0.0
    topics: int = 0
    size_bytes: int = 0
    last_offset: int = -1


Seen = Snapshot[BrokerSpec, BrokerObserved]


@guard
def is_open(s: Seen) -> Verdict:
    "the broker is open"
    return Verdict(s.observed.open, s.observed.fault)


@guard
def healthy(s: Seen) -> Verdict:
    "every health check passes"
    return Verdict(s.observed.open and not s.observed.fault, s.observed.fault or "all pass")


@guard
def traffic(s: Seen) -> Verdict:
    "bytes go in or out"
    text = f"in {s.observed.bytes_in_per_s:.0f} B/s, out {s.observed.bytes_out_per_s:.0f} B/s"
    return Verdict(s.observed.bytes_in_per_s > 0 or s.observed.bytes_out_per_s > 0, text)


class Broker(Worker[BrokerSpec, BrokerSpec, BrokerObserved]):
    "Keeps the broker open and says whether it is healthy and in use."

    machine_name = "redpanda"

    stopped = State(Phase.STOPPED, reason="stopped")
    starting = State(Phase.STARTING, act="open", reason=lambda s: f"starting: {s.observed.fault or 'opening the log'}")
    idle = State(Phase.HEALTHY, reason=lambda s: f"idle: no bytes in {s.desired.idle_window_s:g} s")
    active = State(Phase.HEALTHY)
    degraded = State(Phase.DEGRADED, act="open", reason=lambda s: f"degraded: {s.observed.fault or 'not open'}")
    stopping = State(Phase.STOPPING, act="shut", reason="stopping")

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | idle | active | degraded).to(stopping, on="stop", when=~wanted),
        starting.to(idle, on="start_done", when=healthy),
        starting.to(stopped, on="start_failed", when=~is_open, after=START_TIMEOUT),
        (idle | active).to(degraded, on="degraded", when=~healthy),
        idle.to(active, on="data_received", when=traffic),
        active.to(idle, on="no_data_timeout", when=held(~traffic, IDLE_WINDOW)),
        degraded.to(idle, on="recovered", when=healthy),
        stopping.to(stopped, on="stop_done", when=~is_open),
    ]

    def __init__(self, broker: BrokerService) -> None:
        self._broker = broker
        self._open = False
        self._fault = ""
        self._before: tuple[float, BrokerStats] | None = None

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """A log inside this process is closed with it."""
        return state if snapshot.observed.open else self.initial_state()

    async def collect_observed_state(self, desired: BrokerSpec) -> BrokerObserved:
        """Ask the broker for its figures; without it open there are none."""
        if not self._open:
            return BrokerObserved(fault=self._fault)
        stats = await self._broker.stats()
        now = asyncio.get_running_loop().time()
        at, before = self._before or (now - 1.0, stats)
        self._before = (now, stats)
        seconds = max(now - at, 0.001)
        return BrokerObserved(
            open=True,
            fault=_fault(stats),
            bytes_in_per_s=round(max(0, stats.bytes_in - before.bytes_in) / seconds, 1),
            bytes_out_per_s=round(max(0, stats.bytes_out - before.bytes_out) / seconds, 1),
            messages_in_per_s=round(max(0, stats.messages_in - before.messages_in) / seconds, 1),
            topics=stats.topics,
            size_bytes=stats.size_bytes,
            last_offset=stats.last_offset,
        )

    async def open(self, desired: BrokerSpec) -> None:
        """Open the log. Idempotent."""
        try:
            await self._broker.open()
        except BrokerError as error:
            self._fault = str(error)
            raise
        self._open, self._fault = True, ""

    async def shut(self, desired: BrokerSpec) -> None:
        """Write what is waiting and close. Idempotent."""
        await self._broker.close()
        self._open, self._before = False, None


def _fault(stats: BrokerStats) -> str:
    """The first health check that fails."""
    if stats.error:
        return stats.error
    if stats.disk_total_bytes and 100 * stats.disk_free_bytes / stats.disk_total_bytes < LOW_DISK_PERCENT:
        return f"disk-space-low: {stats.disk_free_bytes / 1e9:.1f} GB of {stats.disk_total_bytes / 1e9:.0f} GB free"
    return "" if stats.ready else "not ready"
