"""A cell whose two robots fail in turn: the parent degrades with them, and recovers with them.

The robots fail by themselves, in two cycles: some time after it came up each loses its connection, and its next three attempts are refused.
"""

from __future__ import annotations

import asyncio

from setpoint.control import ChildSpec, Limits, Supervisor
from setpoint.testing.scenarios.device import Device
from setpoint.testing.scenarios.scene import Scenario, Scene
from setpoint.testing.scenarios.simple import LineSpec, registry

CYCLES = 2
REFUSALS = 3
HEALTHY_S = 1.5
"""Seconds a robot works before it fails."""


async def fail_in_cycles(device: Device, supervisor: Supervisor, first_after: float) -> None:
    """Take a device down some time after it came up, so many times."""
    await asyncio.sleep(first_after)
    for _ in range(CYCLES):
        await supervisor.until(lambda _: device.connected, timeout=60)
        await asyncio.sleep(HEALTHY_S)
        device.connected, device.refuses = False, REFUSALS


async def story(scene: Scene) -> None:
    robots = {"welder": Device(), "gripper": Device()}
    supervisor = scene.supervise(registry(robots), limits=Limits(retry_first=0.2, retry_cap=2.0))
    supervisor.want([ChildSpec("cell", "line", LineSpec(stations=list(robots)))])
    await scene.reaches("plant/cell", "running", within=5)
    for offset, robot in enumerate(robots.values()):
        scene.spawn(fail_in_cycles(robot, supervisor, first_after=offset * 0.7))
    await scene.until(
        "each robot fails twice and comes back",
        lambda: all(
            scene.visited(f"plant/cell/{name}").count("up") == CYCLES + 1 and robot.connected
            for name, robot in robots.items()
        ),
        within=60,
    )
    await scene.reaches("plant/cell", "running", within=5, text="the cell runs again when both robots do")
    visited = scene.visited("plant/cell")
    scene.expect(
        "the cell was degraded while a robot was down", visited.count("degraded") >= CYCLES, " → ".join(visited)
    )
    scene.expect("it was never stopped for it", "stopping" not in visited)
    for name, robot in robots.items():
        attempts = 1 + CYCLES * (REFUSALS + 1)
        scene.expect(
            f"the {name} was tried no more often than needed",
            len(robot.tried_at) == attempts,
            f"{len(robot.tried_at)} attempts, {attempts} needed",
        )


SCENARIO = Scenario("cascade", "a parent degrades with two failing children and recovers with them", story, 8)
