"""One child of each way to misbehave, beside a healthy one whose observations are timed: they must not notice.

    raising      its observation raises
    misjudging   its guard raises
    hanging      its observation never answers, and ignores that it is cancelled
    lying        it returns what is no observation
    flooding     it pushes a thousand observations at each of its own
    leaving      it calls sys.exit() in an observation
    unborn       it calls sys.exit() in its constructor
    huge         each of its observations is a megabyte, and another one

Each is contained in its own row of the table: with its reason, tried again ever more slowly, and never removed for it. (What is not
contained is code that blocks the event loop itself, as a long computation does: that belongs into a thread.)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from setpoint.control import Registry, Snapshot
from setpoint.machine import guard
from setpoint.testing.scenarios.device import Device, DeviceLink, DeviceSpec, Link, beat, link
from setpoint.testing.scenarios.scene import Scenario, Scene

CALM_S = 5.0
STORM_S = 10.0
BURST = 1_000


class Raises(DeviceLink):
    "Its observation raises."

    async def collect_observed_state(self, desired: DeviceSpec) -> Link:
        raise RuntimeError("the driver is confused")


@guard
def confused(s: Snapshot[DeviceSpec, Link]) -> bool:
    "this guard has a bug"
    return bool(s.desired.address[1_000])


class Misjudges(DeviceLink):
    "Its guard raises."

    arcs = [*DeviceLink.arcs, DeviceLink.stopped.to(DeviceLink.up, on="jump", when=confused, priority=1)]


class Hangs(DeviceLink):
    "Its observation hangs in a call that does not listen to its cancellation."

    def __init__(self, devices: Mapping[str, Device], release: asyncio.Event) -> None:
        super().__init__(devices)
        self.release = release

    async def collect_observed_state(self, desired: DeviceSpec) -> Link:
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue
        return Link()


class Lies(DeviceLink):
    "It returns what is no observation."

    async def collect_observed_state(self, desired: DeviceSpec) -> Any:
        return {"connected": "yes, I think"}


class Numbered(Link, frozen=True):
    """A connection, and a number that is never the same."""

    number: int = 0


class Floods(DeviceLink):
    "It pushes observations without end, each of them different."

    async def collect_observed_state(self, desired: DeviceSpec) -> Numbered:
        for number in range(BURST):
            self.context.push(Numbered(connected=False, number=number))
            if number % 50 == 0:
                await asyncio.sleep(0)
        return Numbered(connected=False)


class Leaves(DeviceLink):
    "It wants to end the program."

    async def collect_observed_state(self, desired: DeviceSpec) -> Link:
        sys.exit(3)


class Unborn(DeviceLink):
    "It wants to end the program before it has begun."

    def __init__(self, devices: Any) -> None:
        sys.exit(4)


class Blob(Link, frozen=True):
    """Far too much."""

    blob: bytes = b""


class Huge(DeviceLink):
    "Each of its observations is huge, and another one."

    async def collect_observed_state(self, desired: DeviceSpec) -> Blob:
        return Blob(self.devices[desired.address].ask(), bytes(1_000_000 + len(self.devices[desired.address].asked_at)))


MISBEHAVE: dict[str, tuple[type[DeviceLink], str]] = {
    "raising": (Raises, "the driver is confused"),
    "misjudging": (Misjudges, "IndexError"),
    "hanging": (Hangs, "no answer"),
    "lying": (Lies, "returned dict"),
    "flooding": (Floods, "no connection"),
    "leaving": (Leaves, "SystemExit: 3"),
    "unborn": (Unborn, "SystemExit: 4"),
    "huge": (Huge, "up"),
}
"""Each way to misbehave: the worker, and words that its state and reason must have."""


async def story(scene: Scene) -> None:
    devices = {name: Device() for name in ("healthy", *MISBEHAVE)}
    release = asyncio.Event()
    scene.cleanup.callback(release.set)
    registry = Registry(devices=devices, release=release)
    registry.add("device_link", DeviceLink)
    for name, (kind, _) in MISBEHAVE.items():
        registry.add(name, kind)
    supervisor = scene.supervise(registry)

    supervisor.want([link("healthy")])
    await scene.reaches("plant/healthy", "up", within=3)
    await scene.sleep(CALM_S)
    calm = devices["healthy"].intervals()
    scene.say(f"{len(MISBEHAVE)} siblings come, each of which misbehaves in its own way")
    storm_began = asyncio.get_running_loop().time()
    supervisor.want([link("healthy"), *(link(name, worker_type=name) for name in MISBEHAVE)])
    await scene.sleep(STORM_S)
    storm = devices["healthy"].intervals(since=storm_began)
    scene.say(f"seconds between its observations, alone:         {_listed(calm)}")
    scene.say(f"seconds between its observations, among the rest: {_listed(storm)}")
    scene.expect(
        "no observation of the healthy one was late by a tick", max(storm) <= 2 * DeviceLink.interval, beat(storm)
    )
    scene.expect("none was missed", len(storm) >= STORM_S / DeviceLink.interval - 2, f"{len(storm)} intervals")
    scene.expect(
        "it never moved",
        scene.visited("plant/healthy") == ["creating", "stopped", "connecting", "up"],
        " → ".join(scene.visited("plant/healthy")),
    )
    for name, (_, words) in MISBEHAVE.items():
        where = scene.where(f"plant/{name}")
        scene.expect(f"{name}: contained in its own row", words in where, where)
    gone = [name for name in MISBEHAVE if scene.state(f"plant/{name}") == "gone"]
    scene.expect("none was removed for it", not gone, ", ".join(gone))


def _listed(intervals: list[float]) -> str:
    return " ".join(f"{seconds:.2f}" for seconds in intervals)


SCENARIO = Scenario(
    "containment", "a healthy worker is undisturbed among siblings that misbehave in every way", story, 17
)
