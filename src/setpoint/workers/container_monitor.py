"""The container monitor machine: has the box we run on what it needs.

Active while processor, memory and disk are below their limits; degraded once one has been at or over its limit without a break for the
hold time, and named. Limits and hold come from the spec, whose defaults the environment may set.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, Setting, State, Verdict, guard, held
from setpoint.services import HostFigures, HostReader

HOLD = Setting("hold_s", 15.0)


class ContainerMonitorSpec(BaseModel):
    """Limits in percent of what we may use; `hold_s` in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    desired_state: Literal["active", "stopped"] = "active"
    cpu_limit_percent: float = Field(default=85.0, gt=0, le=100)
    ram_limit_percent: float = Field(default=90.0, gt=0, le=100)
    disk_limit_percent: float = Field(default=90.0, gt=0, le=100)
    hold_s: float = Field(default=HOLD.default, ge=0)


class ContainerObserved(Observation, frozen=True):
    """The latest figures; None before the first measurement since monitoring began."""

    figures: HostFigures | None = None


Seen = Snapshot[ContainerMonitorSpec, ContainerObserved]


@guard
def measured(s: Seen) -> bool:
    "the first measurement is in"
    return s.observed.figures is not None


@guard
def within_limits(s: Seen) -> Verdict:
    "every metric is below its limit"
    over = _over_limit(s)
    return Verdict(not over, over or "all below")


def _over_limit(s: Seen) -> str:
    figures, limits = s.observed.figures, s.desired
    if figures is None:
        return "not measured yet"
    rows = (
        ("CPU", figures.cpu_percent, limits.cpu_limit_percent),
        ("memory", figures.memory_percent, limits.ram_limit_percent),
        ("disk", figures.disk_percent, limits.disk_limit_percent),
    )
    return ", ".join(f"{name} {value:g} % (limit {limit:g} %)" for name, value, limit in rows if value >= limit)


class ContainerMonitor(Worker[ContainerMonitorSpec, ContainerMonitorSpec, ContainerObserved]):
    "Watches processor, memory and disk of the container or host."

    monitoring_stopped = State(Phase.STOPPED, reason="stopped")
    monitoring_starting = State(Phase.STARTING, reason="starting: first measurement under way")
    degraded = State(Phase.DEGRADED, reason=lambda s: f"metrics not ok: {_over_limit(s) or 'first measurement is in'}")
    active = State(Phase.HEALTHY)
    monitoring_stopping = State(Phase.STOPPING, reason="stopping")

    arcs = [
        monitoring_stopped.to(monitoring_starting, on="start_monitoring", when=wanted),
        (monitoring_starting | active | degraded).to(monitoring_stopping, on="stop_monitoring", when=~wanted),
        monitoring_starting.to(degraded, on="start_monitoring_done", when=measured),
        degraded.to(active, on="metrics_all_ok", when=within_limits),
        active.to(degraded, on="metrics_not_ok", when=held(~within_limits, HOLD)),
        monitoring_stopping.to(monitoring_stopped, on="stop_monitoring_done"),
    ]

    def __init__(self, reader: HostReader) -> None:
        self._reader = reader

    async def collect_observed_state(self, desired: ContainerMonitorSpec) -> ContainerObserved:
        """Read the figures: a few small files, too cheap for a thread."""
        if desired.desired_state == "stopped":
            return ContainerObserved()
        return ContainerObserved(figures=self._reader.read())
