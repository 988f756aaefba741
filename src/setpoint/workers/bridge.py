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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from setpoint.control import ChildSpec, Fact, Observation, Snapshot, Worker, retry_asked, wanted
from setpoint.machine import Phase, State, Verdict, guard, held
from setpoint.services import Gate, HostLimits
from setpoint.workers.connection import ConnectionSpec
from setpoint.workers.flow import REJECTED, FlowSpec, Running

DesiredFlow = Literal["active", "stopped"]
BROKER = "broker"
"""The name under which a bridge reads the broker's fact."""
REJECTED_FOR_S = 2.0
"""So long a config must stay rejected: after a retry the flow first says what was found before."""
INCONSISTENT_FOR_S = 5.0
"""Facts of different age may contradict each other for a moment; for longer they are a fault."""


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
    return Verdict(connection.state == "up" and not connection.stalled, _says("connection", connection))


@guard
def redpanda_healthy(s: Seen) -> Verdict:
    "the broker is idle or active"
    broker = s.peers[BROKER]
    return Verdict(broker.healthy, _says("redpanda", broker))


@guard
def no_flows(s: Seen) -> bool:
    "no flow is configured"
    return s.desired.read is None and s.desired.write is None


@guard
def flows_healthy(s: Seen) -> Verdict:
    "every flow that is wanted is idle or active"
    for name in _wanted_flows(s.desired):
        if not s.children[name].healthy:
            return Verdict(False, _says(f"{name} flow", s.children[name]))
    return Verdict(True, ", ".join(_says(f"{name} flow", s.children[name]) for name in _wanted_flows(s.desired)))


@guard
def flow_misconfigured(s: Seen) -> Verdict:
    "a flow cannot work as configured"
    return Verdict(bool(_misconfigured(s)), _misconfigured(s))


@guard
def flow_rejected(s: Seen) -> Verdict:
    "Benthos will not have the config of a flow"
    return Verdict(bool(_rejected(s)), _rejected(s))


@guard
def flow_active(s: Seen) -> Verdict:
    "a flow processes messages"
    flows = [s.children[name] for name in ("read", "write") if name in s.children]
    return Verdict(any(flow.state == "active" for flow in flows), ", ".join(_says("flow", flow) for flow in flows))


@guard
def consistent(s: Seen) -> Verdict:
    "what the children say fits together"
    text = _contradiction(s)
    return Verdict(not text, text)


@guard
def children_stopped(s: Seen) -> Verdict:
    "connection and flows are stopped"
    running = [_says(name, fact) for name, fact in s.children.items() if not fact.stopped]
    return Verdict(not running, ", ".join(running))


def _says(name: str, fact: Fact) -> str:
    why = _why(fact)
    return f"{name} is {fact.state}: {why}" if why != fact.state else f"{name} is {fact.state}"


def _wanted_flows(desired: BridgeSpec) -> list[str]:
    flows = (("read", desired.read, desired.read_desired), ("write", desired.write, desired.write_desired))
    return [name for name, config, state in flows if config is not None and state == "active"]


def _contradiction(s: Seen) -> str:
    """An active flow that is not connected to the broker is degraded itself; what is left is a broker that has heard nothing of it."""
    if s.children["read"].state == "active" and s.peers[BROKER].state == "idle":
        return "read flow is active, but redpanda is idle"
    return ""


def _flow_error(s: Seen) -> str:
    """Why a flow cannot work, however often it is tried."""
    return _misconfigured(s) or _rejected(s)


def _of_flows(s: Seen, why: Callable[[Fact], str]) -> str:
    """What is so with the flows that are wanted, each by its name."""
    found = [(name, why(s.children[name])) for name in _wanted_flows(s.desired)]
    return "; ".join(f"{name} flow: {text}" for name, text in found if text)


def _misconfigured(s: Seen) -> str:
    return _of_flows(s, lambda fact: fact.stalled if fact.stalled.startswith("config error") else "")


def _rejected(s: Seen) -> str:
    def why(fact: Fact) -> str:
        _, found, text = fact.reason.partition(REJECTED)
        return f"{found}{text}" if found and not fact.healthy else ""

    return _of_flows(s, why)


def _why(fact: Fact) -> str:
    return (fact.stalled or fact.reason).removeprefix(f"{fact.state}: ") or fact.state


def _connection_degraded(s: Seen) -> str:
    return f"connection degraded: {_why(s.children['connection'])}"


def _redpanda_degraded(s: Seen) -> str:
    return f"redpanda degraded: {_why(s.peers[BROKER])}"


def _flow_degraded(s: Seen) -> str:
    return f"flow degraded: {_why_of_flows(s) or 'recovering'}"


WAITS_FOR_CONNECTION = "starting: waiting for connection"
WAITS_FOR_REDPANDA = "starting: redpanda not healthy"
WAITS_FOR_FLOW = "starting: flow not running"
FLOW_FAILED = "starting failed: flow in error state"


def _stopped(s: Seen) -> str:
    if not s.wanted or room(s):
        return "stopped"
    return f"stopped: held back: {s.observed.held_back or 'the gate has not been asked yet'}"


def _waits_for_connection(s: Seen) -> str:
    return f"{WAITS_FOR_CONNECTION}: {_why(s.children['connection'])}"


def _waits_for_redpanda(s: Seen) -> str:
    return f"{WAITS_FOR_REDPANDA}: {_why(s.peers[BROKER])}"


def _waits_for_flow(s: Seen) -> str:
    return f"{WAITS_FOR_FLOW}: {_why_of_flows(s)}"


def _why_of_flows(s: Seen) -> str:
    troubled = [s.children[name] for name in _wanted_flows(s.desired) if not s.children[name].healthy]
    return "; ".join(_why(flow) for flow in troubled)


def _idling(s: Seen) -> str:
    if not _wanted_flows(s.desired):
        return "idle: all flows stopped, connection up"
    return f"idling: no messages processed in {s.desired.idle_window_s:g}s"


class Bridge(Worker[BridgeSpec, BridgeSpec, BridgeObserved]):
    "A device, reached and read and written: one connection, up to two flows, over the broker."

    interval = 5.0

    stopped = State(Phase.STOPPED, reason=_stopped)
    starting_connection = State(Phase.STARTING, reason=_waits_for_connection)
    starting_redpanda = State(Phase.STARTING, reason=_waits_for_redpanda)
    starting_dfc = State(Phase.STARTING, reason=_waits_for_flow)
    starting_failed_dfc = State(Phase.FAILED, reason=lambda s: f"{FLOW_FAILED}: {_flow_error(s)}")
    starting_failed_dfc_missing = State(Phase.FAILED, reason="starting failed: no flows configured")
    idle = State(Phase.HEALTHY, reason=_idling)
    active = State(Phase.HEALTHY)
    degraded_connection = State(Phase.DEGRADED, reason=_connection_degraded)
    degraded_redpanda = State(Phase.DEGRADED, reason=_redpanda_degraded)
    degraded_dfc = State(Phase.DEGRADED, reason=_flow_degraded)
    degraded_other = State(Phase.DEGRADED, reason=lambda s: f"other degraded: {_contradiction(s) or 'recovering'}")
    stopping = State(Phase.STOPPING, reason="stopping")

    _starting = starting_connection | starting_redpanda | starting_dfc
    _failed = starting_failed_dfc | starting_failed_dfc_missing
    _degraded = degraded_connection | degraded_redpanda | degraded_dfc | degraded_other
    _running = idle | active | _degraded
    _fine = connection_up & redpanda_healthy & flows_healthy
    _lost = flow_misconfigured | held(flow_rejected, REJECTED_FOR_S)

    arcs = [
        stopped.to(starting_connection, on="start", when=wanted & room, reason=WAITS_FOR_CONNECTION),
        (_starting | _failed | _running).to(stopping, on="stop", when=~wanted),
        starting_connection.to(
            starting_redpanda, on="start_connection_up", when=connection_up, reason=WAITS_FOR_REDPANDA
        ),
        (starting_redpanda | starting_dfc).to(starting_connection, on="start_retry", when=~connection_up),
        starting_redpanda.to(starting_dfc, on="start_redpanda_up", when=redpanda_healthy, reason=WAITS_FOR_FLOW),
        starting_dfc.to(starting_failed_dfc_missing, on="start_failed_dfc_missing", when=no_flows),
        starting_dfc.to(starting_failed_dfc, on="start_failed_dfc", when=_lost, reason=FLOW_FAILED),
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
        gone = any(not snapshot.children[name].up for name in _wanted_flows(snapshot.desired))
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
            ("read", desired.read, desired.read_desired),
            ("write", desired.write, desired.write_desired),
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
