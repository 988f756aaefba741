"""The container monitor machine: has the box we run on what it needs.

Active while processor, memory and disk are below their limits; degraded once one has been at or over its limit without a break for the
hold time, and named; active again as soon as all are below. A figure that cannot be measured counts as not below: the reason says which,
and why. Limits and hold come from the spec, whose defaults config and environment may set. A figure that comes close to its limit is a
warning: the reason of `active`.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, Setting, State, Verdict, guard, held
from setpoint.services import HostFigures, HostLimits, HostReader
from setpoint.services.host import near_limit, over_limit

HOLD = Setting("hold_s", 15.0)
GAUGES: Final = ("cpu_percent", "cpu_cores", "throttled_percent", "memory_percent", "memory_used_bytes", "memory_total_bytes",
                 "disk_percent", "disk_used_bytes", "disk_total_bytes")  # fmt: skip
"""The figures that are exported as metrics."""
PLAIN: Final = HostLimits()


class ContainerMonitorSpec(BaseModel):
    """Limits in percent of what we may use, of scheduling periods for `throttled_limit_percent`; `hold_s` in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    desired_state: Literal["active", "stopped"] = "active"
    cpu_limit_percent: float = Field(default=PLAIN.cpu_percent, gt=0, le=100)
    ram_limit_percent: float = Field(default=PLAIN.memory_percent, gt=0, le=100)
    disk_limit_percent: float = Field(default=PLAIN.disk_percent, gt=0, le=100)
    throttled_limit_percent: float = Field(default=PLAIN.throttled_percent, gt=0, le=100)
    hold_s: float = Field(default=HOLD.default, ge=0)

    @property
    def limits(self) -> HostLimits:
        return HostLimits(
            self.cpu_limit_percent, self.ram_limit_percent, self.disk_limit_percent, self.throttled_limit_percent
        )


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
    wrong = _not_ok(s)
    return Verdict(not wrong, wrong or "all below")


def _not_ok(s: Seen) -> str:
    """What is at or over its limit, or not known."""
    figures = s.observed.figures
    if figures is None:
        return "not measured yet"
    return over_limit(figures, s.desired.limits) or ("CPU not measured yet" if figures.cpu_percent is None else "")


def _remarks(s: Seen) -> str:
    """What is close to its limit, and why the figures may not be those of what limits us."""
    figures = s.observed.figures
    if figures is None:
        return ""
    near = near_limit(figures, s.desired.limits)
    return "; ".join(filter(None, (f"warning: {near}" if near else "", figures.note)))


class ContainerMonitor(Worker[ContainerMonitorSpec, ContainerMonitorSpec, ContainerObserved]):
    "Watches processor, memory and disk of the container or host."

    monitoring_stopped = State(Phase.STOPPED, reason="stopped")
    monitoring_starting = State(Phase.STARTING, reason="starting: first measurement under way")
    degraded = State(Phase.DEGRADED, reason=lambda s: f"metrics not ok: {_not_ok(s) or 'first measurement is in'}")
    active = State(Phase.HEALTHY, reason=_remarks)
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
        """A new reading of the host, for everybody who looks at it. Raises `OSError` while the one before has not come back."""
        figures = await self._reader.read() if desired.desired_state == "active" else None
        for name in GAUGES:
            value = getattr(figures, name, None)
            self.context.gauge(name, float("nan") if value is None else value)
        return ContainerObserved(figures=figures)
