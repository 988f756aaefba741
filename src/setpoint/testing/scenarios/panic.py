"""Code that raises: an action, a guard, and between them a healthy sibling that never notices.

An action that raises has failed, and is tried again. A guard that raises is a fault of its worker: after three within five minutes the
worker's circuit opens, visibly, and is tried half-open ever more slowly. A new spec is a reason to try at once.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.testing.scenarios.device import Device, DeviceLink, DeviceSpec, beat, link
from setpoint.testing.scenarios.scene import Scenario, Scene


class PanicsWhenConnecting(DeviceLink):
    "Its action has a bug."

    async def connect(self, desired: DeviceSpec) -> None:
        raise ZeroDivisionError("a bug in the action")


class ScaleSpec(BaseModel):
    """A scale, and the load at which it is full. Zero was never thought of."""

    full_at: float
    desired_state: Literal["running", "stopped"] = "running"


class Load(Observation, frozen=True):
    """What lies on the scale."""

    kilograms: float


@guard
def is_full(s: Snapshot[ScaleSpec, Load]) -> bool:
    "the scale is full"
    return s.observed.kilograms / s.desired.full_at >= 1


class Scale(Worker[ScaleSpec, ScaleSpec, Load]):
    "Watches a scale. Its guard has a bug."

    stopped = State(Phase.STOPPED)
    weighing = State(Phase.HEALTHY)
    full = State(Phase.DEGRADED)

    arcs = [
        stopped.to(weighing, on="start", when=wanted),
        (weighing | full).to(stopped, on="stop", when=~wanted),
        weighing.to(full, on="fill", when=is_full),
        full.to(weighing, on="empty", when=~is_full),
    ]

    async def collect_observed_state(self, desired: ScaleSpec) -> Load:
        return Load(kilograms=12.0)


async def story(scene: Scene) -> None:
    devices = {"steady": Device(), "broken": Device()}
    registry = Registry(devices=devices)
    registry.add("device_link", DeviceLink)
    registry.add("panicking_link", PanicsWhenConnecting)
    registry.add("scale", Scale)
    supervisor = scene.supervise(registry)
    steady, broken = link("steady"), link("broken", worker_type="panicking_link")

    def want(*, full_at: float) -> None:
        supervisor.want([steady, broken, ChildSpec("scale", "scale", ScaleSpec(full_at=full_at))])

    want(full_at=0)
    await scene.reaches("plant/steady", "up", within=5)
    await scene.until(
        "a guard that raises opens its worker's circuit",
        lambda: supervisor.worker("plant/scale").stalled.ok,
        within=30,
    )
    stalled = supervisor.worker("plant/scale").stalled.reason
    scene.expect(
        "the circuit says which guard raised what", "is_full" in stalled and "ZeroDivision" in stalled, stalled
    )
    scene.expect(
        "an action that raises is a failed action, and is tried again",
        supervisor.worker("plant/broken").tally.actions["connect"].failed >= 2
        and "a bug in the action" in scene.where("plant/broken"),
        scene.where("plant/broken"),
    )
    intervals = devices["steady"].intervals()
    scene.expect(
        "the sibling was observed at its pace throughout", max(intervals) <= 2 * DeviceLink.interval, beat(intervals)
    )
    scene.expect("and never left its state", scene.visited("plant/steady")[-1] == "up")
    scene.say("the user corrects the spec of the scale")
    want(full_at=10)
    await scene.reaches("plant/scale", "full", within=2, text="a corrected spec closes the circuit at once")
    scene.expect("nothing is stalled any more", not supervisor.worker("plant/scale").stalled.ok)


SCENARIO = Scenario("panic", "an action and a guard that raise; the rest of the tree does not notice", story, 3)
