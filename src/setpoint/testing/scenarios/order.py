"""Siblings in order: a gateway starts after the broker it publishes to, a dashboard after both; they stop the other way round.

Order is declared, not waited for by anybody: each is told to start once those it comes after have. One that comes up late holds back only
those after it, and one that fails later stops nobody.
"""

from __future__ import annotations

from dataclasses import replace

from setpoint.control import Limits, Registry
from setpoint.testing.scenarios.device import Device, DeviceLink, link
from setpoint.testing.scenarios.scene import Scenario, Scene


async def story(scene: Scene) -> None:
    devices = {"broker": Device(refuses=2), "gateway": Device(), "dashboard": Device(), "camera": Device()}
    registry = Registry(devices=devices)
    registry.add("device_link", DeviceLink)
    supervisor = scene.supervise(registry, limits=Limits(retry_first=0.5))

    specs = {name: link(name) for name in ("dashboard", "gateway", "broker", "camera")}
    specs["gateway"] = replace(specs["gateway"], after=("broker",))
    specs["dashboard"] = replace(specs["dashboard"], after=("gateway", "broker"))
    supervisor.want(list(specs.values()))
    await scene.reaches("plant/camera", "up", within=3, text="one that comes after nobody does not wait")
    scene.expect(
        "those after the broker wait while it is refused",
        scene.state("plant/broker") == "connecting" and not devices["gateway"].tried_at,
        scene.where("plant/gateway"),
    )
    for name in ("broker", "gateway", "dashboard"):
        await scene.reaches(f"plant/{name}", "up", within=10)
    came = [scene.moment(f"plant/{name}", "up") for name in ("broker", "gateway", "dashboard")]
    scene.expect("they came up in order", came == sorted(came), ", ".join(f"{at:.2f} s" for at in came))

    scene.say("the broker's connection breaks")
    devices["broker"].connected = False
    await scene.until("it comes back", lambda: scene.visited("plant/broker").count("up") == 2, within=10)
    scene.expect("nobody was stopped for it", "disconnecting" not in scene.visited("plant/gateway"))

    scene.say("everything is told to stop")
    await supervisor.stop()
    went = [scene.moment(f"plant/{name}", "stopped") for name in ("dashboard", "gateway", "broker")]
    scene.expect("they stop the other way round", went == sorted(went), ", ".join(f"{at:.2f} s" for at in went))
    begun = [scene.moment(f"plant/{name}", "disconnecting") for name in ("dashboard", "gateway", "broker")]
    scene.expect("each is told to once those after it have stopped", begun[1] >= went[0] and begun[2] >= went[1])


SCENARIO = Scenario("order", "siblings start after those they need, and stop before them", story, 3)
