"""Actions that take their time: a quick one, a slow one, and one that hangs and does not even listen when it is cancelled.

An action has so long and no longer. One that is over its time is abandoned: it counts as failed, is tried again, and whatever it does
later changes nothing. Nobody ever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from setpoint.control import Limits, Registry
from setpoint.testing.scenarios.device import Device, DeviceLink, DeviceSpec, beat, link
from setpoint.testing.scenarios.scene import Scenario, Scene

LIMITS = Limits(action_timeout=2.5, retry_first=0.2)


class Hanging(DeviceLink):
    "Its first connection attempts hang in a call that ignores cancellation, as calls into a driver may."

    def __init__(self, devices: Mapping[str, Device], release: asyncio.Event, hangs: int) -> None:
        super().__init__(devices)
        self.release, self.hangs = release, hangs

    async def connect(self, desired: DeviceSpec) -> None:
        if self.hangs > 0:
            self.hangs -= 1
            while not self.release.is_set():
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    continue
            return
        await super().connect(desired)


async def story(scene: Scene) -> None:
    devices = {"quick": Device(connect_takes=0.05), "slow": Device(connect_takes=2.0), "hung": Device()}
    release = asyncio.Event()
    scene.cleanup.callback(release.set)
    registry = Registry(devices=devices, release=release, hangs=2)
    registry.add("device_link", DeviceLink)
    registry.add("hanging_link", Hanging)
    supervisor = scene.supervise(registry, limits=LIMITS)
    supervisor.want([link("quick"), link("slow"), link("hung", worker_type="hanging_link")])

    await scene.reaches("plant/quick", "up", within=1, text="a quick action is over before the others")
    await scene.reaches("plant/slow", "up", within=4, text="a slow action that ends in time succeeds")
    tally = supervisor.worker("plant/slow").tally.actions["connect"]
    scene.expect("it was run once, and did not fail", (tally.count, tally.failed) == (1, 0), f"{tally.count} runs")
    await scene.until(
        "a hanging action is abandoned when its time is over",
        lambda: "no end within 2.5 s" in scene.where("plant/hung"),
        within=5,
    )
    await scene.reaches("plant/hung", "up", within=10, text="tried again in its place, it succeeds")
    tally = supervisor.worker("plant/hung").tally.actions["connect"]
    scene.expect(
        "two attempts were given up, the third did it", (tally.count, tally.failed) == (3, 2), f"{tally.count} runs"
    )
    intervals = devices["quick"].intervals()
    scene.expect("nobody else waited", max(intervals) <= 2 * DeviceLink.interval, beat(intervals))


SCENARIO = Scenario(
    "timeout", "quick, slow and hanging actions: what is over its time is abandoned, not awaited", story, 7
)
