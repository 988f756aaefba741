"""A disabled worker stays resident: stopped, observed, explained, and still. It neither goes away nor flaps.

There are two ways to disable one: its spec says ``enabled=False``, or an operator does. Either way the worker is told to stop like any
other, keeps its place, and goes on when it is enabled again.
"""

from __future__ import annotations

from setpoint.control import Registry
from setpoint.testing.scenarios.device import Device, DeviceLink, link
from setpoint.testing.scenarios.scene import Scenario, Scene

WATCHED_S = 5.0
"""Seconds for which a disabled worker is watched."""


async def story(scene: Scene) -> None:
    devices = {"camera": Device(), "printer": Device()}
    registry = Registry(devices=devices)
    registry.add("device_link", DeviceLink)
    supervisor = scene.supervise(registry)

    def want(*, camera_enabled: bool) -> None:
        supervisor.want([link("camera", enabled=camera_enabled), link("printer")])

    async def rests(how: str) -> None:
        await scene.reaches("plant/camera", "stopped", within=3)
        moves, asked = len(scene.visited("plant/camera")), len(devices["camera"].asked_at)
        await scene.sleep(WATCHED_S)
        scene.expect(
            f"disabled by {how}, it does not move for {WATCHED_S:g} s",
            len(scene.visited("plant/camera")) == moves and scene.state("plant/camera") == "stopped",
            f"{len(scene.visited('plant/camera')) - moves} moves",
        )
        scene.expect("it is still observed", len(devices["camera"].asked_at) > asked)
        scene.expect("its sibling runs", scene.state("plant/printer") == "up")

    want(camera_enabled=False)
    await scene.reaches("plant/printer", "up", within=3)
    await rests("its spec from the beginning")
    scene.expect("it was never started", devices["camera"].tried_at == [])
    scene.say("its spec enables it")
    want(camera_enabled=True)
    await scene.reaches("plant/camera", "up", within=3, text="enabled, it starts")
    scene.say("an operator disables it")
    supervisor.tell("plant/camera", "disable", why="the lens is being cleaned")
    await rests("an operator")
    scene.expect(
        "it says who disabled it and why",
        "disabled by the operator: the lens is being cleaned" in scene.where("plant/camera"),
        scene.where("plant/camera"),
    )
    supervisor.tell("plant/camera", "enable", why="the lens is clean")
    await scene.reaches("plant/camera", "up", within=3, text="enabled again, it goes on")
    scene.expect("it was the same worker all along", "removed" not in scene.visited("plant/camera"))


SCENARIO = Scenario("disable", "a disabled child stays resident, at rest, and comes back when enabled", story, 11)
