"""The stream processor: broker before flow, and the first thing that is wrong by name, over a scripted world on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from setpoint.control import ChildSpec, Limits, Registry, Supervisor
from setpoint.testing import run, wall
from setpoint.workers.broker import Broker, BrokerObserved, BrokerSpec
from setpoint.workers.flow import Flow, FlowObserved, FlowSpec
from setpoint.workers.stream_processor import BROKER, StreamProcessor, StreamProcessorSpec

FLOW = {"input": {"uns": {}}, "output": {"uns": {}}}
RUNNING = FlowObserved(up=True, current=True, uptime_s=60.0, input_connected=True, output_connected=True)
PATH = "agent/sp"


@dataclass
class Plant:
    """What the children find when they look."""

    broker: BrokerObserved = field(default_factory=lambda: BrokerObserved(open=True, bytes_in_per_s=5.0))
    flow: FlowObserved = field(default_factory=lambda: msgspec.structs.replace(RUNNING, moving=True))
    running: set[str] = field(default_factory=set)
    asked: list[FlowSpec] = field(default_factory=list)


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
        self.plant.asked.append(desired)

    async def stop_flow(self, desired: FlowSpec) -> None:
        self.plant.running.discard(self.context.path)

    async def close(self) -> None:
        return None


def supervise(plant: Plant) -> Supervisor:
    registry = Registry()
    registry.add("stream_processor", StreamProcessor)
    registry.add("flow", lambda: SeenFlow(plant))
    registry.add("broker", lambda: SeenBroker(plant))
    return Supervisor(registry, wall=wall, limits=Limits())


def specs(**changes: Any) -> list[ChildSpec]:
    spec = StreamProcessorSpec(**{"flow": FLOW, "bridged_by": "stream-processor-acme-sp", **changes})
    broker = ChildSpec("broker", "broker", BrokerSpec())
    return [broker, ChildSpec("sp", "stream_processor", spec, reads={BROKER: "agent/broker"})]


async def reach(s: Supervisor, state: str, within: float = 30.0) -> str:
    """Wait for the processor to be in the state; returns its reason."""
    reached = await s.until(lambda s: s.core.fact(PATH).state == state, within)
    assert reached, (state, s.worker(PATH))
    return s.worker(PATH).reason


def scene(story: Callable[[Supervisor, Plant], Coroutine[Any, Any, None]], **changes: Any) -> None:
    """Run a story with a stream processor in it, on virtual time, and stop it cleanly."""

    async def main() -> None:
        plant = Plant()
        s = supervise(plant)
        s.want(specs(**changes))
        await story(s, plant)
        assert await s.stop() == []
        assert plant.running == set()

    run(main())


def test_it_comes_up_gate_by_gate() -> None:
    """Broker, flow, then idle and active; the flow is the one that was asked for."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        states = [move.target for move in s.journal.history(PATH)][2:]
        assert states == ["starting_redpanda", "starting_dfc", "idle", "active"]
        assert (plant.asked[0].config, plant.asked[0].bridged_by) == (FLOW, "stream-processor-acme-sp")

    scene(story)


def test_it_waits_for_the_broker_for_as_long_as_it_takes() -> None:
    """Its flow is not started meanwhile."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.broker = BrokerObserved(open=False, fault="the disk is full")
        await asyncio.sleep(600)
        assert s.worker(PATH).reason.startswith("starting: redpanda not healthy: ")
        assert "the disk is full" in s.worker(PATH).reason
        assert plant.asked == []
        plant.broker = BrokerObserved(open=True, bytes_in_per_s=5.0)
        await reach(s, "active")

    scene(story)


def test_a_broker_that_is_lost_while_it_starts_sends_it_back() -> None:
    """To the gate that is shut."""

    async def story(s: Supervisor, plant: Plant) -> None:
        plant.flow = FlowObserved(up=True, current=True)
        assert (await reach(s, "starting_dfc")).startswith("starting: flow not running")
        plant.broker = BrokerObserved(open=True, fault="disk full")
        await reach(s, "starting_redpanda")

    scene(story)


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        ({"broker": BrokerObserved(open=True, fault="disk full")}, "degraded_redpanda", "redpanda degraded: disk full"),
        (
            {"flow": msgspec.structs.replace(RUNNING, errors="processor stream_processor_0: mapping f: TypeError")},
            "degraded_dfc",
            "flow degraded: processor stream_processor_0: mapping f: TypeError",
        ),
        (
            {"broker": BrokerObserved(open=True)},
            "degraded_other",
            "other degraded: flow is active, but redpanda is idle",
        ),
    ],
)
def test_running_it_names_what_is_wrong_and_recovers_by_itself(fault: dict[str, Any], state: str, reason: str) -> None:
    """Each cause has its own state and reason."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        before = {name: getattr(plant, name) for name in fault}
        for name, value in fault.items():
            setattr(plant, name, value)
        assert await reach(s, state, 60) == reason
        for name, value in before.items():
            setattr(plant, name, value)
        await reach(s, "active")

    scene(story)


def test_a_flow_that_cannot_work_fails_the_start_until_it_is_edited() -> None:
    """It does not try again by itself: a config error lasts as long as the config."""

    async def story(s: Supervisor, plant: Plant) -> None:
        reason = await reach(s, "starting_failed_dfc")
        assert (
            reason == "starting failed: flow in error state: flow: config error: ValueError: there is no input 'broken'"
        )
        moves = s.worker(PATH).transitions
        await asyncio.sleep(600)
        assert s.worker(PATH).transitions == moves
        s.want(specs())
        await reach(s, "active")

    scene(story, flow={"broken": {}})


def test_silence_for_the_window_is_idle() -> None:
    """The window in force is in the reason."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        plant.flow = RUNNING
        assert await reach(s, "idle", within=60) == "idling: no messages processed in 20s"

    scene(story, idle_window_s=20)


def test_a_stopped_one_stops_its_flow_first_and_can_be_wanted_again() -> None:
    """It is stopped when the flow is."""

    async def story(s: Supervisor, plant: Plant) -> None:
        await reach(s, "active")
        s.want(specs(desired_state="stopped"))
        assert await reach(s, "stopped") == "stopped"
        assert plant.running == set()
        s.want(specs())
        await reach(s, "active")

    scene(story)
