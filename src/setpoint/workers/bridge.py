"""The bridge machine: a connection to a device, a flow from it and a flow to it, over the broker, as one thing with one state.

A bridge measures nothing itself; it decides on what its children (connection, read flow, write flow) and the broker say of themselves.
Starting goes gate by gate: connection, broker, flows. Running, it names the first thing that is wrong, in that same order, so that a
pulled cable reads as a lost connection and not as what follows from it. The flows go on while the connection is down: they reconnect by
themselves, and a probe that blinks costs no data.

Before it starts it asks the gate whether there is room on the host, where its spec has limits for that. One that is held back is stopped,
says why, asks again every few seconds, and starts by itself. One that runs is never asked again, nor is one that ran when the agent ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import ChildSpec, Observation, Snapshot, Worker, retry_asked, wanted
from setpoint.machine import Phase, State, Verdict, guard, held
from setpoint.services import Gate, HostLimits
from setpoint.workers.connection import ConnectionSpec
from setpoint.workers.flow import FlowSpec, Running
from setpoint.workers.flow_gates import (
    BROKER,
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
    says,
    waits_for_flow,
    waits_for_redpanda,
    why,
)

__all__ = ["BROKER", "Bridge", "BridgeObserved", "BridgeSpec"]

DesiredFlow = Literal["active", "stopped"]
READ, WRITE = "read", "write"


class BridgeSpec(BaseModel):
    """Rendered: no template is left in it. Flows are in the Benthos shape; None where there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    target: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    read: Mapping[str, Any] | None = None
    write: Mapping[str, Any] | None = None
    bridged_by: str = ""
    desired_state: Literal["active", "stopped"] = "active"
    read_desired: DesiredFlow = "active"
    write_desired: DesiredFlow = "active"
    idle_window_s: float = Field(default=30.0, ge=0)
    running: Running = Running()
    gate: HostLimits | None = None
    """Below which the host must be for it to start; None: it starts whatever the host is at."""

    @property
    def flows(self) -> list[str]:
        """Its flows, from the device and to it."""
        return [name for name, config in ((READ, self.read), (WRITE, self.write)) if config is not None]

    @property
    def wanted_flows(self) -> list[str]:
        """Those of them that shall run."""
        desired = {READ: self.read_desired, WRITE: self.write_desired}
        return [name for name in self.flows if desired[name] == "active"]


class BridgeObserved(Observation, frozen=True):
    """What the gate says: whether it is let in, else why not. A bridge measures nothing else itself."""

    let_in: bool = False
    held_back: str = ""


Seen = Snapshot[BridgeSpec, BridgeObserved]


@guard
def room(s: Seen) -> Verdict:
    "there is room on the host for one more"
    return Verdict(s.desired.gate is None or s.observed.let_in, s.observed.held_back)


@guard
def connection_up(s: Seen) -> Verdict:
    "the connection is up"
    connection = s.children["connection"]
    return Verdict(connection.state == "up" and not connection.stalled, says("connection", connection))


@guard
def no_flows(s: Seen) -> bool:
    "no flow is configured"
    return s.desired.read is None and s.desired.write is None


@guard
def consistent(s: Seen) -> Verdict:
    "what the children say fits together"
    text = contradiction(s, READ)
    return Verdict(not text, text)


def _connection_degraded(s: Seen) -> str:
    return f"connection degraded: {why(s.children['connection'])}"


WAITS_FOR_CONNECTION = "starting: waiting for connection"


def _stopped(s: Seen) -> str:
    if not s.wanted or room(s):
        return "stopped"
    return f"stopped: held back: {s.observed.held_back or 'the gate has not been asked yet'}"


def _waits_for_connection(s: Seen) -> str:
    return f"{WAITS_FOR_CONNECTION}: {why(s.children['connection'])}"


def _idling(s: Seen) -> str:
    if not s.desired.wanted_flows:
        return "idle: all flows stopped, connection up"
    return f"idling: no messages processed in {s.desired.idle_window_s:g}s"


class Bridge(Worker[BridgeSpec, BridgeSpec, BridgeObserved]):
    "A device, reached and read and written: one connection, up to two flows, over the broker."

    interval = 5.0

    stopped = State(Phase.STOPPED, reason=_stopped)
    starting_connection = State(Phase.STARTING, reason=_waits_for_connection)
    starting_redpanda = State(Phase.STARTING, reason=waits_for_redpanda)
    starting_dfc = State(Phase.STARTING, reason=waits_for_flow)
    starting_failed_dfc = State(Phase.FAILED, reason=flow_failed)
    starting_failed_dfc_missing = State(Phase.FAILED, reason="starting failed: no flows configured")
    idle = State(Phase.HEALTHY, reason=_idling)
    active = State(Phase.HEALTHY)
    degraded_connection = State(Phase.DEGRADED, reason=_connection_degraded)
    degraded_redpanda = State(Phase.DEGRADED, reason=redpanda_degraded)
    degraded_dfc = State(Phase.DEGRADED, reason=flow_degraded)
    degraded_other = State(Phase.DEGRADED, reason=lambda s: f"other degraded: {contradiction(s, READ) or 'recovering'}")
    stopping = State(Phase.STOPPING, reason="stopping")

    _starting = starting_connection | starting_redpanda | starting_dfc
    _failed = starting_failed_dfc | starting_failed_dfc_missing
    _degraded = degraded_connection | degraded_redpanda | degraded_dfc | degraded_other
    _running = idle | active | _degraded
    _fine = connection_up & redpanda_healthy & flows_healthy

    arcs = [
        stopped.to(starting_connection, on="start", when=wanted & room, reason=WAITS_FOR_CONNECTION),
        (_starting | _failed | _running).to(stopping, on="stop", when=~wanted),
        starting_connection.to(
            starting_redpanda, on="start_connection_up", when=connection_up, reason=WAITS_FOR_REDPANDA
        ),
        (starting_redpanda | starting_dfc).to(starting_connection, on="start_retry", when=~connection_up),
        starting_redpanda.to(starting_dfc, on="start_redpanda_up", when=redpanda_healthy, reason=WAITS_FOR_FLOW),
        starting_dfc.to(starting_failed_dfc_missing, on="start_failed_dfc_missing", when=no_flows),
        starting_dfc.to(starting_failed_dfc, on="start_failed_dfc", when=lost, reason=FLOW_FAILED),
        starting_dfc.to(idle, on="start_dfc_up", when=flows_healthy),
        starting_failed_dfc_missing.to(starting_connection, on="start_retry", when=~no_flows),
        # Left by an operator's retry or an edit of the flow only: a config error is as lasting as the config.
        starting_failed_dfc.to(
            starting_connection, on="start_retry", when=~(flow_misconfigured | flow_rejected) | retry_asked
        ),
        _running.to(degraded_connection, on="connection_unhealthy", when=~connection_up),
        _running.to(degraded_redpanda, on="redpanda_degraded", when=connection_up & ~redpanda_healthy),
        _running.to(degraded_dfc, on="dfc_degraded", when=connection_up & redpanda_healthy & ~flows_healthy),
        _running.to(degraded_other, on="degraded_other", when=_fine & held(~consistent, INCONSISTENT_FOR_S)),
        _degraded.to(idle, on="recovered", when=_fine & consistent),
        idle.to(active, on="data_received", when=flow_active),
        active.to(idle, on="no_data_timeout", when=~flow_active),
        stopping.to(stopped, on="stop_done", when=children_stopped, reason="stopped"),
    ]

    def __init__(self, gate: Gate | None = None) -> None:
        self._gate = gate

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """It goes on where its flows do; where they begin anew, so does it, from behind the gate: that there is room for it was found."""
        gone = any(not snapshot.children[name].up for name in snapshot.desired.wanted_flows)
        if not (gone and state in FLOWS_RUN_IN):
            return state
        return self.starting_connection.name if snapshot.wanted else self.initial_state()

    async def collect_observed_state(self, desired: BridgeSpec) -> BridgeObserved:
        """Ask the gate, where there is one and it has not started yet. For the rest a bridge decides on facts about others."""
        if self._gate is None or desired.gate is None:
            return BridgeObserved(let_in=True)
        path, now = self.context.path, asyncio.get_running_loop().time()
        if desired.desired_state == "stopped":
            self._gate.leave(path, now)
            return BridgeObserved()
        here = self.context.read(path)
        if not here.stopped:
            self._gate.runs(path)
            return BridgeObserved(let_in=True)
        why = self._gate.ask(path, desired.gate, now)
        return BridgeObserved(not why, why)

    async def close(self) -> None:
        """Make way for others."""
        if self._gate is not None:
            self._gate.leave(self.context.path, asyncio.get_running_loop().time())

    def children(self, desired: BridgeSpec, state: str) -> Sequence[ChildSpec]:
        """The connection once it may start; the flows once connection and broker were up."""
        flows_may_run = state in FLOWS_RUN_IN
        connection = ConnectionSpec(target=desired.target, port=desired.port)
        wanted_children = [ChildSpec("connection", "connection", connection, enabled=state != "stopped")]
        for name, config, flow_state in (
            (READ, desired.read, desired.read_desired),
            (WRITE, desired.write, desired.write_desired),
        ):
            if config is not None:
                flow = FlowSpec(
                    config=config,
                    bridged_by=desired.bridged_by,
                    desired_state=flow_state,
                    idle_window_s=desired.idle_window_s,
                    **desired.running.model_dump(),
                )
                wanted_children.append(ChildSpec(name, "flow", flow, enabled=flows_may_run))
        return wanted_children


FLOWS_RUN_IN = frozenset({"starting_dfc", *(state.name for state in Bridge._running)})
