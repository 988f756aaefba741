"""The flow machine: one data flow kept running, by the embedded engine or by a process of the real Benthos.

The states are those of a Benthos process, gate by gate: launched, config loaded, health checks passed, remained running. Data flows from
the first moment; the gates only say when the flow may be called up. Idle and active tell whether messages went through it, degraded
that it runs in error: a connection is lost, or messages failed within the error window. Errors clear when the window has passed.

Which engine runs it is the spec's `engine`: ``auto`` takes the embedded one when it knows every component and field of the config, else
Benthos, where there is one, for as much of the flow as it can run (`split`). What an engine does behind the machine is in `embedded` and
`benthos`, and how they are one in `parts`.
"""

from __future__ import annotations

from typing import Any

from setpoint.control import Snapshot, Worker, wanted
from setpoint.flows import FlowConfigError, FlowEngine, FlowProblem
from setpoint.machine import Phase, State, Verdict, guard, held
from setpoint.services.benthos.flows import BenthosFlows
from setpoint.services.benthos.program import Programs
from setpoint.workers.flow.parts import Parts
from setpoint.workers.flow.seen import DEBOUNCE, IDLE_WINDOW, REJECTED, Engine, FlowObserved, FlowSpec
from setpoint.workers.flow.split import cut_of

Seen = Snapshot[FlowSpec, FlowObserved]


@guard
def launched(s: Seen) -> Verdict:
    "the flow runs, with the config that is wanted"
    if s.observed.up and not s.observed.current:
        return Verdict(False, f"an older config is still running{_because(s)}")
    return Verdict(s.observed.up, s.observed.fault)


def _because(s: Seen) -> str:
    return f": {s.observed.fault}" if s.observed.fault else ""


@guard
def launched_any(s: Seen) -> bool:
    "the flow runs, or a part of it, with whatever config"
    return s.observed.up or s.observed.partly


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


def _stopped(s: Seen) -> str:
    return f"stopped: {s.observed.fault}" if s.observed.fault.startswith(REJECTED) else "stopped"


def _trouble(s: Seen) -> str:
    observed = s.observed
    if not observed.up:
        return f"degraded: {observed.fault or 'not running'}"
    if not observed.current:
        return f"degraded: re-applying config{_because(s)}"
    return f"degraded: {_missing_connection(observed) or observed.errors}"


def _idle(s: Seen) -> str:
    if s.observed.moving:
        return "idle: messages begin to flow"
    if s.observed.finished:
        return f"idle: the input has ended after {s.observed.ended_after} messages"
    return f"idle: no input throughput (in={s.observed.in_per_s:g} msg/s, out={s.observed.out_per_s:g} msg/s)"


class Flow(Worker[FlowSpec, FlowSpec, FlowObserved]):
    "Keeps one data flow running."

    machine_name = "benthos_flow"

    stopped = State(Phase.STOPPED, reason=_stopped)
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

    def __init__(self, engine: FlowEngine, benthos: BenthosFlows | None = None) -> None:
        self._engine, self._benthos = engine, benthos
        self._parts: Parts | None = None

    def derive_desired_state(self, spec: FlowSpec) -> FlowSpec:
        """The spec itself, with the engine that runs it: a flow that none can run is a config error and never reaches one.

        Raises `FlowConfigError`.
        """
        return spec.model_copy(
            update={
                "engine": engine_for(spec, self._engine, self._benthos.programs if self._benthos is not None else None)
            }
        )

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """A flow inside this process ends with it; a process goes on, also as a part of a flow."""
        return state if snapshot.observed.up or snapshot.observed.partly else self.initial_state()

    async def collect_observed_state(self, desired: FlowSpec) -> FlowObserved:
        """Look at the flow, as its engine sees it."""
        return await self._running().look(desired)

    async def start_flow(self, desired: FlowSpec) -> None:
        """Have the engine run the flow that is wanted, and no other. Idempotent."""
        await self._running().start(desired)

    async def stop_flow(self, desired: FlowSpec) -> None:
        """Have the engine deliver what was read and end the flow. Idempotent."""
        await self._running().stop(desired)

    async def close(self) -> None:
        """End the flow, if it still runs, and the watch on it."""
        if self._parts is not None:
            await self._parts.close()

    def _running(self) -> Parts:
        if self._parts is None:
            self._parts = Parts(self._engine, self._benthos, self.context)
        return self._parts


def engine_for(spec: FlowSpec, engine: FlowEngine, programs: Programs | None) -> Engine:
    """Which engine runs it, "benthos" also for a part of it. Raises `FlowConfigError` where none can, with what the embedded one does not
    know of it.
    """
    there = programs is not None and programs.installed
    missing = Programs.missing if programs is not None else ""
    if spec.engine == "benthos" and not there:
        raise FlowConfigError([FlowProblem(("engine",), "it asks for Benthos, and there is none", missing)])
    if spec.engine != "benthos":
        try:
            engine.compile(spec.config)
            return "embedded"
        except FlowConfigError as error:
            problems = error.problems
        if spec.engine == "embedded" or not there:
            hint = missing if spec.engine == "auto" else ""
            raise FlowConfigError(
                problem._replace(hint="; ".join(filter(None, (problem.hint, hint)))) for problem in problems
            )
    cut_of(spec.config, engine)
    return "benthos"
