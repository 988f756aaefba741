"""A filling line with two stations: a parent and its children, from stopped to running and back, twice.

The line is a worker without hands: it runs when its stations do, and is stopped when they are. It never starts or stops them itself; that
it is wanted, or not, is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.testing.scenarios.device import Device, DeviceLink, link
from setpoint.testing.scenarios.scene import Scenario, Scene


class LineSpec(BaseModel):
    """A line and the stations it is made of."""

    stations: list[str]
    desired_state: Literal["running", "stopped"] = "running"


class Nothing(Observation, frozen=True):
    """A line has nothing of its own to measure: what it is follows from its stations."""


@guard
def stations_run(s: Snapshot[LineSpec, Nothing]) -> bool:
    "all stations run"
    return all(s.children[name].healthy for name in s.desired.stations)  # one that is not there yet is not healthy


@guard
def stations_stopped(s: Snapshot[LineSpec, Nothing]) -> bool:
    "all stations are stopped"
    return s.children.all_stopped


class Line(Worker[LineSpec, LineSpec, Nothing]):
    "Keeps the stations of one line running together."

    stopped = State(Phase.STOPPED)
    starting = State(Phase.STARTING)
    running = State(Phase.HEALTHY)
    degraded = State(Phase.DEGRADED)
    stopping = State(Phase.STOPPING)

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | running | degraded).to(stopping, on="stop", when=~wanted),
        (starting | degraded).to(running, on="stations_run", when=stations_run),
        running.to(degraded, on="station_failed", when=~stations_run),
        stopping.to(stopped, on="stations_stopped", when=stations_stopped),
    ]

    async def collect_observed_state(self, desired: LineSpec) -> Nothing:
        return Nothing()

    def children(self, desired: LineSpec, state: str) -> list[ChildSpec]:
        return [link(name) for name in desired.stations]


def registry(devices: Mapping[str, Device]) -> Registry:
    """The two worker types of a line, over these devices."""
    types = Registry(devices=devices)
    types.add("line", Line)
    types.add("device_link", DeviceLink)
    return types


async def story(scene: Scene) -> None:
    devices = {"filler": Device(), "capper": Device(connect_takes=0.6)}
    supervisor = scene.supervise(registry(devices))

    def want(desired: Literal["running", "stopped"]) -> None:
        supervisor.want([ChildSpec("line-1", "line", LineSpec(stations=list(devices), desired_state=desired))])

    line, filler, capper = "plant/line-1", "plant/line-1/filler", "plant/line-1/capper"
    want("running")
    await scene.reaches(line, "running", within=5)
    scene.expect(
        "the line runs only once both stations do",
        scene.moment(line, "running") >= max(scene.moment(filler, "up"), scene.moment(capper, "up")),
    )
    scene.say("the user wants the line stopped")
    want("stopped")
    await scene.reaches(line, "stopped", within=5)
    scene.expect("both stations are stopped", all(scene.state(path) == "stopped" for path in (filler, capper)))
    scene.expect("both stations are disconnected", not any(device.connected for device in devices.values()))
    scene.expect(
        "the line stops only once both stations have",
        scene.moment(line, "stopped") >= max(scene.moment(filler, "stopped"), scene.moment(capper, "stopped")),
    )
    scene.say("the user wants it running again")
    want("running")
    await scene.reaches(line, "running", within=5)
    scene.expect(
        "the line went through every phase, in order",
        scene.visited(line)
        == ["creating", "stopped", "starting", "running", "stopping", "stopped", "starting", "running"],
        " → ".join(scene.visited(line)),
    )


SCENARIO = Scenario("simple", "a parent and two children start, run, stop and start again, in order", story, 2)
