"""The stream processor machine: one flow from the namespace into the namespace, over the broker, as one thing with one state.

It is a bridge without a device: it measures nothing itself, decides on what its flow and the broker say of themselves, starts broker before
flow, and running it names the first thing that is wrong in that order. What the flow derives, and how, is in its config
(`setpoint.flows.processors.stream_processor`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import ChildSpec, Observation, Snapshot, Worker, retry_asked, wanted
from setpoint.machine import Phase, State, Verdict, guard, held
from setpoint.workers.flow import FlowSpec, Running
from setpoint.workers.flow_gates import (
    BROKER,
    FLOW,
    FLOW_FAILED,
    INCONSISTENT_FOR_S,
    WAITS_FOR_FLOW,
    WAITS_FOR_REDPANDA,
    children_stopped,
    contradiction,
    flow_active,
    flow_degraded,
    flow_failed,
    flow_misconfigured,
    flow_rejected,
    flows_healthy,
    lost,
    redpanda_degraded,
    redpanda_healthy,
    waits_for_flow,
    waits_for_redpanda,
)

__all__ = ["BROKER", "StreamProcessor", "StreamProcessorSpec"]


class StreamProcessorSpec(BaseModel):
    """Rendered: no template is left in it. `flow` is in the Benthos shape, from ``uns`` to ``uns``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flow: Mapping[str, Any]
    bridged_by: str = ""
    desired_state: Literal["active", "stopped"] = "active"
    idle_window_s: float = Field(default=30.0, ge=0)
    running: Running = Running()

    @property
    def flows(self) -> list[str]:
        """Its only one."""
        return [FLOW]

    @property
    def wanted_flows(self) -> list[str]:
        """It is what the processor is there for."""
        return [FLOW]


class StreamProcessorObserved(Observation, frozen=True):
    """It measures nothing itself."""


Seen = Snapshot[StreamProcessorSpec, StreamProcessorObserved]


@guard
def consistent(s: Seen) -> Verdict:
    "what flow and broker say fits together"
    text = contradiction(s, FLOW)
    return Verdict(not text, text)


def _idling(s: Seen) -> str:
    return f"idling: no messages processed in {s.desired.idle_window_s:g}s"


class StreamProcessor(Worker[StreamProcessorSpec, StreamProcessorSpec, StreamProcessorObserved]):
    "Values derived from others: one flow from the namespace into the namespace, over the broker."

    stopped = State(Phase.STOPPED, reason="stopped")
    starting_redpanda = State(Phase.STARTING, reason=waits_for_redpanda)
    starting_dfc = State(Phase.STARTING, reason=waits_for_flow)
    starting_failed_dfc = State(Phase.FAILED, reason=flow_failed)
    idle = State(Phase.HEALTHY, reason=_idling)
    active = State(Phase.HEALTHY)
    degraded_redpanda = State(Phase.DEGRADED, reason=redpanda_degraded)
    degraded_dfc = State(Phase.DEGRADED, reason=flow_degraded)
    degraded_other = State(Phase.DEGRADED, reason=lambda s: f"other degraded: {contradiction(s, FLOW) or 'recovering'}")
    stopping = State(Phase.STOPPING, reason="stopping")

    _starting = starting_redpanda | starting_dfc
    _degraded = degraded_redpanda | degraded_dfc | degraded_other
    _running = idle | active | _degraded
    _fine = redpanda_healthy & flows_healthy

    arcs = [
        stopped.to(starting_redpanda, on="start", when=wanted, reason=WAITS_FOR_REDPANDA),
        (_starting | starting_failed_dfc | _running).to(stopping, on="stop", when=~wanted),
        starting_redpanda.to(starting_dfc, on="start_redpanda_up", when=redpanda_healthy, reason=WAITS_FOR_FLOW),
        starting_dfc.to(starting_redpanda, on="start_retry", when=~redpanda_healthy),
        starting_dfc.to(starting_failed_dfc, on="start_failed_dfc", when=lost, reason=FLOW_FAILED),
        starting_dfc.to(idle, on="start_dfc_up", when=flows_healthy),
        # Left by an operator's retry or an edit only: a config error is as lasting as the config.
        starting_failed_dfc.to(
            starting_redpanda, on="start_retry", when=~(flow_misconfigured | flow_rejected) | retry_asked
        ),
        _running.to(degraded_redpanda, on="redpanda_degraded", when=~redpanda_healthy),
        _running.to(degraded_dfc, on="dfc_degraded", when=redpanda_healthy & ~flows_healthy),
        _running.to(degraded_other, on="degraded_other", when=_fine & held(~consistent, INCONSISTENT_FOR_S)),
        _degraded.to(idle, on="recovered", when=_fine & consistent),
        idle.to(active, on="data_received", when=flow_active),
        active.to(idle, on="no_data_timeout", when=~flow_active),
        stopping.to(stopped, on="stop_done", when=children_stopped, reason="stopped"),
    ]

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """It goes on where its flow does; where that begins anew, so does it."""
        if snapshot.children[FLOW].up or state not in FLOW_RUNS_IN:
            return state
        return self.starting_redpanda.name if snapshot.wanted else self.initial_state()

    async def collect_observed_state(self, desired: StreamProcessorSpec) -> StreamProcessorObserved:
        """Nothing: it decides on facts about others."""
        return StreamProcessorObserved()

    def children(self, desired: StreamProcessorSpec, state: str) -> Sequence[ChildSpec]:
        """The flow, once the broker was up."""
        flow = FlowSpec(
            config=desired.flow,
            bridged_by=desired.bridged_by,
            idle_window_s=desired.idle_window_s,
            **desired.running.model_dump(),
        )
        return [ChildSpec(FLOW, "flow", flow, enabled=state in FLOW_RUNS_IN)]


FLOW_RUNS_IN = frozenset({"starting_dfc", *(state.name for state in StreamProcessor._running)})
