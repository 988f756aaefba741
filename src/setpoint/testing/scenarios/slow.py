"""A device that takes two seconds to connect holds up nobody: its siblings start, work and are observed meanwhile."""

from __future__ import annotations

from setpoint.control import Registry
from setpoint.testing.scenarios.device import Device, DeviceLink, beat, link
from setpoint.testing.scenarios.scene import Scenario, Scene

DELAY_S = 2.0


async def story(scene: Scene) -> None:
    devices = {"oven": Device(connect_takes=DELAY_S), "belt": Device(), "scanner": Device()}
    registry = Registry(devices=devices)
    registry.add("device_link", DeviceLink)
    supervisor = scene.supervise(registry)
    supervisor.want([link(name) for name in devices])

    await scene.reaches("plant/belt", "up", within=1)
    await scene.reaches("plant/scanner", "up", within=1)
    scene.expect("the siblings are up while the oven still connects", scene.state("plant/oven") == "connecting")
    began = scene.now
    devices["belt"].connected = False
    await scene.until(
        "a sibling that loses its connection has it back meanwhile",
        lambda: scene.visited("plant/belt").count("up") == 2,
        within=1.5,
    )
    scene.expect(
        "the oven is still connecting", scene.state("plant/oven") == "connecting", f"{scene.now - began:.1f} s later"
    )
    await scene.reaches("plant/oven", "up", within=5)
    took = scene.moment("plant/oven", "up") - scene.moment("plant/oven", "connecting")
    scene.expect("the oven took as long as it takes, and no longer", DELAY_S <= took < DELAY_S + 0.5, f"{took:.2f} s")
    oven = devices["oven"].intervals()
    scene.expect("it was itself observed all the while", max(oven) <= 2 * DeviceLink.interval, beat(oven))


SCENARIO = Scenario("slow", "an action of two seconds blocks nobody, not even its own worker's observation", story, 2)
