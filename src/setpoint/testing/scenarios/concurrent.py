"""A hundred connections at once: they start side by side, lose their connections side by side, and stop side by side."""

from __future__ import annotations

from setpoint.control import Registry
from setpoint.testing.scenarios.device import Device, DeviceLink, link
from setpoint.testing.scenarios.scene import Scenario, Scene

COUNT = 100
STOP_TAKES = 0.2
"""Seconds that each device needs to disconnect: one after the other they would need 20 s."""


async def story(scene: Scene) -> None:
    devices = {f"sensor-{number:03}": Device(disconnect_takes=STOP_TAKES) for number in range(COUNT)}
    registry = Registry(devices=devices)
    registry.add("device_link", DeviceLink)
    supervisor = scene.supervise(registry)

    def are_up() -> bool:
        return all(record.state == "up" for record in supervisor.records.values())

    supervisor.want([link(name) for name in devices])
    await scene.until(f"{COUNT} workers come up together", are_up, within=5)
    scene.say("the switch between them and the devices is restarted")
    for device in devices.values():
        device.connected = False
    await scene.until(
        "all of them notice", lambda: sum(len(device.tried_at) for device in devices.values()) == 2 * COUNT, within=5
    )
    await scene.until("all of them connect again", are_up, within=5)
    tried = [len(device.tried_at) for device in devices.values()]
    scene.expect("none was tried more often than needed", max(tried) == 2, f"at most {max(tried)} attempts")
    began = scene.now
    left = await supervisor.stop()
    scene.expect(
        f"{COUNT} devices that need {STOP_TAKES:g} s each are stopped within 1 s",
        not left and scene.now - began <= 1.0,
        f"{scene.now - began:.2f} s",
    )


SCENARIO = Scenario("concurrent", "a hundred workers start, recover and stop side by side", story, 2)
