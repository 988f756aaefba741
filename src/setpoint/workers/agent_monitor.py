"""The agent monitor machine: is the agent itself well.

Active while its console is reached (where one is configured; where none is, the reason says so), none of its own tasks has crashed, its
runtime is on time, and what it remembers is written. Degraded names what is not so. It measures nothing itself: the agent that makes it
hands in what it knows of itself, and the console link is a worker like any other, whose state it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard

CONSOLE: Final = "console"
"""The name under which it reads the fact of the worker that links to the console."""
AUTHENTICATING: Final = "trying_to_authenticate"
"""The state of that worker in which it has no valid login."""


class AgentMonitorSpec(BaseModel):
    """`console` is the host name of the console that is configured, "" when none is. `tick_lag_limit_ms` is how late the runtime may be
    with 99 of 100 timers, over a minute."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    desired_state: Literal["active", "stopped"] = "active"
    console: str = ""
    tick_lag_limit_ms: float = Field(default=250.0, gt=0)


class AgentObserved(Observation, frozen=True):
    """What the agent knows of itself. `crashed` are its own tasks that ended by a defect, `troubles` what is the matter with what it
    keeps."""

    measured: bool = False
    crashed: tuple[str, ...] = ()
    tick_lag_p99_ms: float = 0.0
    troubles: tuple[str, ...] = ()


Seen = Snapshot[AgentMonitorSpec, AgentObserved]
Vitals = Callable[[], AgentObserved]


@guard
def measured(s: Seen) -> bool:
    "the first measurement is in"
    return s.observed.measured


@guard
def console_reached(s: Seen) -> Verdict:
    "the console is reached, or none is configured"
    trouble = _console_trouble(s)
    return Verdict(not trouble, trouble or _no_console(s) or f"console {s.desired.console} is reached")


@guard
def nothing_crashed(s: Seen) -> Verdict:
    "none of its own tasks has crashed"
    return Verdict(not s.observed.crashed, "; ".join(s.observed.crashed))


@guard
def on_time(s: Seen) -> Verdict:
    "the runtime comes to its timers in time"
    lag = s.observed.tick_lag_p99_ms
    text = f"tick lag: 99 of 100 timers within {lag:g} ms (limit {s.desired.tick_lag_limit_ms:g} ms)"
    return Verdict(lag <= s.desired.tick_lag_limit_ms, text)


@guard
def kept(s: Seen) -> Verdict:
    "what it remembers is written"
    return Verdict(not s.observed.troubles, "; ".join(s.observed.troubles))


CHECKS: Final = (console_reached, nothing_crashed, on_time, kept)


def _console_trouble(s: Seen) -> str:
    link = s.peers[CONSOLE]
    if not s.desired.console or link.healthy:
        return ""
    if link.state == "missing":
        return f"console {s.desired.console} is configured, but this version has no link to a console"
    why = link.stalled or link.reason or link.state
    if link.state == AUTHENTICATING:
        return f"console {s.desired.console}: not authenticated: {why}"
    return f"console {s.desired.console} unreachable: {why}"


def _no_console(s: Seen) -> str:
    return "" if s.desired.console else "no console is configured"


def _wrong(s: Seen) -> Iterator[str]:
    verdicts = (check.verdict(s) for check in CHECKS)
    yield from (verdict.because for verdict in verdicts if isinstance(verdict, Verdict) and not verdict.ok)


class AgentMonitor(Worker[AgentMonitorSpec, AgentMonitorSpec, AgentObserved]):
    "Watches the agent itself: console, tasks, punctuality, store."

    interval = 2.0

    monitoring_stopped = State(Phase.STOPPED, reason="stopped")
    monitoring_starting = State(Phase.STARTING, reason="starting: first measurement under way")
    degraded = State(Phase.DEGRADED, reason=lambda s: f"not well: {'; '.join(_wrong(s)) or 'first measurement is in'}")
    active = State(Phase.HEALTHY, reason=_no_console)
    monitoring_stopping = State(Phase.STOPPING, reason="stopping")

    _fine = console_reached & nothing_crashed & on_time & kept

    arcs = [
        monitoring_stopped.to(monitoring_starting, on="start_monitoring", when=wanted),
        (monitoring_starting | active | degraded).to(monitoring_stopping, on="stop_monitoring", when=~wanted),
        monitoring_starting.to(degraded, on="start_monitoring_done", when=measured),
        degraded.to(active, on="metrics_all_ok", when=_fine),
        active.to(degraded, on="metrics_not_ok", when=~_fine),
        monitoring_stopping.to(monitoring_stopped, on="stop_monitoring_done"),
    ]

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    async def collect_observed_state(self, desired: AgentMonitorSpec) -> AgentObserved:
        """Ask the agent."""
        return AgentObserved() if desired.desired_state == "stopped" else self._vitals()
