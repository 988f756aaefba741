"""The bridge: gate by gate up, and the first thing that is wrong by name. Its children measure a scripted world on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from setpoint.control import ChildSpec, Limits, Registry, Supervisor
from setpoint.testing import run, wall
from setpoint.workers.bridge import BROKER, Bridge, BridgeSpec
from setpoint.workers.broker import Broker, BrokerObserved, BrokerSpec
from setpoint.workers.connection import Connection, ConnectionObserved, ConnectionSpec
from setpoint.workers.flow import Flow, FlowObserved, FlowSpec

FLOW = {"input": {"generate": {}}, "output": {"drop": {}}}
RUNNING = FlowObserved(up=True, current=True, uptime_s=60.0, input_connected=True, output_connected=True)


@dataclass
class Plant:
    """What the children find when they look."""

    connection: ConnectionObserved = field(default_factory=lambda: ConnectionObserved(answer="open", detail="fine"))
    broker: BrokerObserved = field(default_factory=lambda: BrokerObserved(open=True, bytes_in_per_s=5.0))
    flow: FlowObserved = field(default_factory=lambda: msgspec.structs.replace(RUNNING, moving=True))
    running: set[str] = field(default_factory=set)
    starts: list[str] = field(default_factory=list)


class SeenConnection(Connection):
    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def collect_observed_state(self, desired: ConnectionSpec) -> ConnectionObserved:
        return self.plant.connection


class SeenBroker(Broker):
    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def collect_observed_state(self, desired: BrokerSpec) -> BrokerObserved:
        return self.plant.broker

    async def shut(self, desired: BrokerSpec) -> None:
        self.plant.broker = BrokerObserved()


class SeenFlow(Flow):
    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    def derive_desired_state(self, spec: FlowSpec) -> FlowSpec:
        if "broken" in spec.config:
            raise ValueError("there is no input 'broken'")
        return spec

    async def collect_observed_state(self, desired: FlowSpec) -> FlowObserved:
        return self.plant.flow if self.context.path in self.plant.running else FlowObserved(fault="not started")

    async def start_flow(self, desired: FlowSpec) -> None:
        self.plant.running.add(self.context.path)
        self.plant.starts.append(self.context.path)

    async def stop_flow(self, desired: FlowSpec) -> None:
        self.plant.running.discard(self.context.path)

    async def close(self) -> None:
        return None


def supervise(plant: Plant) -> Supervisor:
    registry = Registry()
    registry.add("bridge", Bridge)
    registry.add("connection", lambda: SeenConnection(plant))
    registry.add("flow", lambda: SeenFlow(plant))
    registry.add("broker", lambda: SeenBroker(plant))
    return Supervisor(registry, wall=wall, limits=Limits())


def specs(**changes: Any) -> list[ChildSpec]:
    spec = BridgeSpec(**{"target": "plc", "port": 502, "read": FLOW, **changes})
    return [ChildSpec("broker", "broker", BrokerSpec()), ChildSpec("b", "bridge", spec, reads={BROKER: "agent/broker"})]


async def reach(s: Supervisor, state: str, within: float = 30.0) -> str:
    """Wait for the bridge to be in the state; returns its reason."""
    reached = await s.until(lambda s: s.core.fact("agent/b").state == state, within)
    assert reached, (state, s.worker("agent/b"))
    return s.worker("agent/b").reason


def scene(story: Callable[[Supervisor, Plant], Coroutine[Any, Any, None]], **changes: Any) -> None:
    """Run a story with a bridge in it, on virtual time, and stop it cleanly."""

    async def main() -> None:
        plant = Plant()
        s = supervise(plant)
        s.want(specs(**changes))
        await story(s, plant)
        assert await s.stop() == []

    run(main())


def test_a_bridge_comes_up_gate_by_gate() -> None:
    """Connection, broker, flow, then idle and active."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        states = [move.target for move in s.journal.history("agent/b")][2:]
        assert states == ["starting_connection", "starting_redpanda", "starting_dfc", "idle", "active"]

    scene(story)


def test_a_bridge_waits_for_its_connection_for_as_long_as_it_takes() -> None:
    """And says what it waits for; the explanation has the fact. Its flow is not started meanwhile."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.connection = ConnectionObserved(answer="filtered", detail="no answer from plc:502 within 3 s")
        await asyncio.sleep(3600)
        waits = "starting: waiting for connection: filtered: no answer from plc:502 within 3 s"
        assert s.worker("agent/b").reason == waits
        way = next(way for way in s.explain("agent/b").ways if way.event == "start_connection_up")
        assert not way.open
        assert way.guard.text == "connection_up"
        assert "filtered: no answer from plc:502 within 3 s" in way.guard.because
        assert plant.starts == []
        plant.connection = ConnectionObserved(answer="open", detail="fine")
        await reach(s, "active")

    scene(story)


def test_a_connection_lost_while_starting_starts_over() -> None:
    """From any gate back to the first."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.flow = FlowObserved(up=True, current=True)
        await reach(s, "starting_dfc")
        plant.connection = ConnectionObserved(answer="closed", detail="refused")
        await reach(s, "starting_connection")

    scene(story)


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (
            {"connection": ConnectionObserved(answer="closed", detail="plc:502 refuses connections")},
            "degraded_connection",
            "connection degraded: closed: plc:502 refuses connections",
        ),
        (
            {"broker": BrokerObserved(open=True, fault="disk full")},
            "degraded_redpanda",
            "redpanda degraded: disk full",
        ),
        (
            {"flow": msgspec.structs.replace(RUNNING, input_connected=False)},
            "degraded_dfc",
            "flow degraded: input not connected",
        ),
    ],
)
def test_a_running_bridge_names_what_is_wrong_and_recovers_by_itself(
    fault: dict[str, Any], state: str, reason: str
) -> None:
    """Each cause has its own state and reason; when it is gone the bridge is idle and active again."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        before = {name: getattr(plant, name) for name in fault}
        for name, value in fault.items():
            setattr(plant, name, value)
        assert await reach(s, state) == reason
        for name, value in before.items():
            setattr(plant, name, value)
        await reach(s, "active")

    scene(story)


def test_the_connection_is_named_before_what_follows_from_it() -> None:
    """A pulled cable reads as a lost connection although the flow has lost its input as well; the flow is not restarted for it."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        plant.flow = msgspec.structs.replace(RUNNING, input_connected=False)
        plant.connection = ConnectionObserved(answer="filtered", detail="gone")
        await asyncio.sleep(60)
        assert s.worker("agent/b").state == "degraded_connection"
        assert plant.running == {"agent/b/read"}

    scene(story)


def test_a_bridge_without_flows_says_so_and_starts_when_one_is_added() -> None:
    """`starting_failed_dfc_missing` is left by itself."""

    async def story(s: Supervisor, plant: Plant) -> None:
        assert await reach(s, "starting_failed_dfc_missing") == "starting failed: no flows configured"
        s.want(specs())
        await reach(s, "active")

    scene(story, read=None)


def test_a_flow_that_cannot_work_fails_the_start_until_it_is_edited() -> None:
    """The bridge does not try again by itself: a config error lasts as long as the config."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "starting_failed_dfc")
        moves = s.worker("agent/b").transitions
        await asyncio.sleep(600)
        assert s.worker("agent/b").transitions == moves
        assert s.core.fact("agent/b/read").stalled == "config error: ValueError: there is no input 'broken'"
        s.want(specs())
        await reach(s, "active")

    scene(story, read={"broken": {}})


def test_a_bridge_with_all_flows_stopped_on_purpose_is_idle() -> None:
    """Stopped flows are not a fault."""

    async def story(s: Supervisor, plant: Plant) -> None:
        assert await reach(s, "idle") == "idle: all flows stopped, connection up"
        await asyncio.sleep(60)
        assert s.worker("agent/b").state == "idle"

    scene(story, read_desired="stopped")


def test_silence_for_the_window_is_idle() -> None:
    """The window in force is in the reason."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        plant.flow = RUNNING
        assert await reach(s, "idle", within=60) == "idling: no messages processed in 20s"

    scene(story, idle_window_s=20)


def test_a_flow_that_is_active_over_an_idle_broker_is_inconsistent() -> None:
    """Only once it has been so for longer than facts may be apart."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        plant.broker = BrokerObserved(open=True)
        assert await reach(s, "degraded_other", 60) == "other degraded: read flow is active, but redpanda is idle"
        plant.broker = BrokerObserved(open=True, bytes_in_per_s=9.0)
        await reach(s, "active")

    scene(story)


def test_a_stopped_bridge_stops_connection_and_flows_first() -> None:
    """It is stopped when they are."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        s.want(specs(desired_state="stopped"))
        await reach(s, "stopped")
        assert plant.running == set()
        assert s.core.fact("agent/b/connection").state == "stopped"

    scene(story)


def test_an_edited_flow_is_applied_and_the_others_are_left_alone() -> None:
    """Only a config that changed touches a flow."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        s.want(specs(port=503))
        await asyncio.sleep(5)
        assert plant.starts == ["agent/b/read"]

    scene(story)
