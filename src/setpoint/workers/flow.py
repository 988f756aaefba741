"""The flow machine: one data flow kept running by the embedded engine.

The states are those of a Benthos process, gate by gate: launched, config loaded, health checks passed, remained running. Data flows from
the first moment; the gates only say when the flow may be called up. Idle and active tell whether messages went through it, degraded
that it runs in error: a connection is lost, or messages failed within the error window. Errors clear when the window has passed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.flows import FlowEngine, FlowStatus
from setpoint.machine import Phase, Setting, State, Verdict, guard, held

IDLE_WINDOW = Setting("idle_window_s", 30.0)
DEBOUNCE = Setting("healthcheck_debounce_s", 5.0)
LOOKS_FOR_RATES = 6


class Failures(NamedTuple):
    """How many messages failed between two looks, by side."""

    at: float
    input: int
    processor: int
    output: int


class FlowSpec(BaseModel):
    """The flow in the Benthos shape, and the windows of its machine in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    config: Mapping[str, Any]
    bridged_by: str = ""
    desired_state: Literal["active", "stopped"] = "active"
    config_loading_s: float = Field(default=5.0, ge=0)
    healthcheck_debounce_s: float = Field(default=DEBOUNCE.default, ge=0)
    remain_running_s: float = Field(default=10.0, ge=0)
    idle_window_s: float = Field(default=IDLE_WINDOW.default, ge=0)
    error_window_s: float = Field(default=10.0, ge=0)


class FlowObserved(Observation, frozen=True):
    """What the engine says. `uptime_s` stops counting once every gate is past; rates are messages per second over
    the last few looks."""

    up: bool = False
    current: bool = False  # it runs the config that is wanted
    finished: bool = False
    uptime_s: float = 0.0
    input_connected: bool = False
    output_connected: bool = False
    moving: bool = False  # messages came in since the last look
    in_per_s: float = 0.0
    out_per_s: float = 0.0
    input_received: int = 0
    output_sent: int = 0
    errors: str = ""  # what failed within the error window
    fault: str = ""  # why it is not up, or not connected


Seen = Snapshot[FlowSpec, FlowObserved]


@guard
def launched(s: Seen) -> Verdict:
    "the flow runs, with the config that is wanted"
    if s.observed.up and not s.observed.current:
        return Verdict(False, "an older config is still running")
    return Verdict(s.observed.up, s.observed.fault)


@guard
def launched_any(s: Seen) -> bool:
    "the flow runs, with whatever config"
    return s.observed.up


@guard
def loaded(s: Seen) -> Verdict:
    "it stayed up while its config was loaded"
    return Verdict(s.observed.uptime_s >= s.desired.config_loading_s, f"up {s.observed.uptime_s:.0f} s")


@guard
def connected(s: Seen) -> Verdict:
    "input and output are connected"
    return Verdict(not _missing_connection(s.observed), _missing_connection(s.observed) or "both connected")


@guard
def clean(s: Seen) -> Verdict:
    "nothing failed within the error window"
    return Verdict(not s.observed.errors, s.observed.errors)


@guard
def remained(s: Seen) -> Verdict:
    "it remained running for the grace period"
    return Verdict(s.observed.uptime_s >= s.desired.remain_running_s, f"up {s.observed.uptime_s:.0f} s")


@guard
def messages(s: Seen) -> Verdict:
    "messages are processed"
    return Verdict(s.observed.moving, f"in={s.observed.in_per_s:g} msg/s, out={s.observed.out_per_s:g} msg/s")


def _missing_connection(observed: FlowObserved) -> str:
    if observed.finished:
        return ""
    sides = [
        name for name, ok in (("input", observed.input_connected), ("output", observed.output_connected)) if not ok
    ]
    return f"{' and '.join(sides)} not connected{f': {observed.fault}' if observed.fault else ''}" if sides else ""


def _gate(prefix: str, *gates: Any) -> Any:
    """The reason while a gate is shut: the first fact that shuts it."""

    def reason(s: Seen) -> str:
        for gate in gates:
            verdict = gate(s)
            if not verdict:
                return f"{prefix}: {verdict.because or gate.doc}"
        return f"{prefix}: not yet for {s.desired.healthcheck_debounce_s:g} s"

    return reason


def _trouble(s: Seen) -> str:
    observed = s.observed
    if not observed.up:
        return f"degraded: {observed.fault or 'not running'}"
    if not observed.current:
        return "degraded: re-applying config"
    return f"degraded: {_missing_connection(observed) or observed.errors}"


def _fault(status: FlowStatus) -> str:
    """Why the flow is not up, or not connected; "" when it is both."""
    if status.running:
        return "" if status.input_connected and status.output_connected else status.last_error
    return "" if status.finished else status.last_error or "the flow has ended"


def _idle(s: Seen) -> str:
    if s.observed.moving:
        return "idle: messages begin to flow"
    if s.observed.finished:
        return f"idle: the input has ended after {s.observed.input_received} messages"
    return f"idle: no input throughput (in={s.observed.in_per_s:g} msg/s, out={s.observed.out_per_s:g} msg/s)"


class Flow(Worker[FlowSpec, FlowSpec, FlowObserved]):
    "Keeps one data flow running."

    machine_name = "benthos_flow"

    stopped = State(Phase.STOPPED, reason="stopped")
    starting = State(Phase.STARTING, act="start_flow", reason=_gate("starting", launched))
    starting_config_loading = State(Phase.STARTING, reason=_gate("waiting for config to be loaded", launched, loaded))
    starting_waiting_for_healthchecks = State(
        Phase.STARTING, reason=_gate("waiting for healthchecks to pass", launched, connected)
    )
    starting_waiting_for_service_to_remain_running = State(
        Phase.STARTING, reason=_gate("waiting for service to remain running", launched, connected, remained, clean)
    )
    idle = State(Phase.HEALTHY, reason=_idle)
    active = State(Phase.HEALTHY)
    degraded = State(Phase.DEGRADED, act="start_flow", reason=_trouble)
    stopping = State(Phase.STOPPING, act="stop_flow", reason="stopping: the flow is not stopped yet")

    _gates = (
        starting_config_loading | starting_waiting_for_healthchecks | starting_waiting_for_service_to_remain_running
    )
    _fine = launched & connected & clean

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | _gates | idle | active | degraded).to(stopping, on="stop", when=~wanted),
        starting.to(starting_config_loading, on="s6_started", when=launched),
        _gates.to(starting, on="start_failed", when=~launched),
        starting_config_loading.to(starting_waiting_for_healthchecks, on="config_loaded", when=loaded),
        starting_waiting_for_healthchecks.to(
            starting_waiting_for_service_to_remain_running, on="healthchecks_passed", when=held(connected, DEBOUNCE)
        ),
        starting_waiting_for_service_to_remain_running.to(starting, on="start_failed", when=~connected),
        starting_waiting_for_service_to_remain_running.to(idle, on="start_done", when=remained & _fine),
        (idle | active).to(degraded, on="degraded", when=~_fine),
        idle.to(active, on="data_received", when=messages),
        active.to(idle, on="no_data_timeout", when=held(~messages, IDLE_WINDOW)),
        degraded.to(idle, on="recovered", when=_fine),
        stopping.to(stopped, on="stop_done", when=~launched_any),
    ]

    def __init__(self, engine: FlowEngine) -> None:
        self._engine = engine
        self._wanted_config: tuple[Mapping[str, Any], str] | None = None  # what the engine was last asked to run
        self._unwatch: Callable[[], None] | None = None
        self._before = FlowStatus()
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=LOOKS_FOR_RATES)
        self._failures: deque[Failures] = deque(maxlen=1000)

    def derive_desired_state(self, spec: FlowSpec) -> FlowSpec:
        """The spec itself, once its flow has been compiled: a flow that cannot work is a config error and never reaches the engine.

        Raises `FlowConfigError`.
        """
        self._engine.compile(spec.config)
        return spec

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """A flow inside this process ends with it."""
        return state if snapshot.observed.up else self.initial_state()

    async def collect_observed_state(self, desired: FlowSpec) -> FlowObserved:
        """Read the engine's counters, from memory."""
        status = self._engine.status(self.context.path)
        if status is None:
            self._forget()
            return FlowObserved(fault="not started")
        now = asyncio.get_running_loop().time()
        before, self._before = (self._before if self._before.started_at == status.started_at else FlowStatus()), status
        in_per_s, out_per_s = self._rates(status, now)
        up = status.running or status.finished
        return FlowObserved(
            up=up,
            current=self._wanted_config == (desired.config, desired.bridged_by),
            finished=status.finished,
            uptime_s=min(now - status.started_at, max(desired.config_loading_s, desired.remain_running_s)),
            input_connected=status.input_connected,
            output_connected=status.output_connected,
            moving=status.input_received > before.input_received,
            in_per_s=in_per_s,
            out_per_s=out_per_s,
            input_received=status.input_received,
            output_sent=status.output_sent,
            errors=self._recent_errors(status, before, now, desired.error_window_s),
            fault=_fault(status),
        )

    def _rates(self, status: FlowStatus, now: float) -> tuple[float, float]:
        """Messages per second in and out, over the last few looks."""
        self._looks.append((now, status.input_received, status.output_sent))
        at, received, sent = self._looks[0]
        seconds = now - at
        if seconds <= 0:
            return 0.0, 0.0
        return round(max(0, status.input_received - received) / seconds, 1), round(
            max(0, status.output_sent - sent) / seconds, 1
        )

    def _recent_errors(self, status: FlowStatus, before: FlowStatus, now: float, window: float) -> str:
        """What failed within the window, in words; "" when nothing did. Lost connections are told by `input_connected`."""
        failed = Failures(
            now,
            status.input_errors - before.input_errors,
            status.processor_errors - before.processor_errors,
            status.output_errors - before.output_errors,
        )
        if any(failed[1:]):
            self._failures.append(failed)
        while self._failures and now - self._failures[0].at >= window:
            self._failures.popleft()
        if not self._failures:
            return ""
        counts = (sum(row[side] for row in self._failures) for side in (1, 2, 3))
        told = [
            f"{count} {side} errors"
            for side, count in zip(("input", "processor", "output"), counts, strict=True)
            if count
        ]
        return f"{', '.join(told)} in the last {window:g} s: {status.last_error}"

    def _forget(self) -> None:
        self._before = FlowStatus()
        self._looks.clear()
        self._failures.clear()

    async def start_flow(self, desired: FlowSpec) -> None:
        """Have the engine run the flow that is wanted. Idempotent."""
        if self._unwatch is None:
            self._unwatch = self._engine.watch(self.context.path, lambda status: self.context.observe())
        await self._engine.start(self.context.path, desired.config, bridged_by=desired.bridged_by)
        self._wanted_config = (desired.config, desired.bridged_by)

    async def stop_flow(self, desired: FlowSpec) -> None:
        """Have the engine deliver what was read and end the flow. Idempotent."""
        await self._engine.stop(self.context.path)

    async def close(self) -> None:
        """End the flow, if it still runs, and the watch on it."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        await self._engine.stop(self.context.path)
