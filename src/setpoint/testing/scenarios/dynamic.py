"""Workers come, change and go while the rest runs: the tree follows what is wanted, and touches nothing else."""

from __future__ import annotations

from setpoint.control import ChildSpec, Registry
from setpoint.testing.scenarios.device import Device, DeviceLink, DeviceSpec, link
from setpoint.testing.scenarios.scene import Scenario, Scene


async def story(scene: Scene) -> None:
    devices = {"press": Device(), "lathe": Device(), "lathe-2": Device()}
    registry = Registry(devices=devices)
    registry.add("device_link", DeviceLink)
    supervisor = scene.supervise(registry)

    supervisor.want([link("press")])
    await scene.reaches("plant/press", "up", within=3)
    scene.say("a worker is added")
    supervisor.want([link("press"), link("lathe")])
    await scene.reaches("plant/lathe", "up", within=3)
    scene.say("its spec is changed: another address")
    supervisor.want([link("press"), ChildSpec("lathe", "device_link", DeviceSpec(address="lathe-2"))])
    await scene.until("a changed spec is in force", lambda: devices["lathe-2"].connected, within=3)
    await scene.reaches("plant/lathe", "up", within=3)
    scene.expect("for a changed spec the worker is not made anew", scene.visited("plant/lathe").count("creating") == 1)
    scene.say("it is deleted, and wanted again before it is gone")
    supervisor.want([link("press")])
    await scene.reaches("plant/lathe", "disconnecting", within=3)
    supervisor.want([link("press"), link("lathe")])
    await scene.reaches("plant/lathe", "up", within=5, text="wanted again while it stops, it goes on")
    scene.say("it is deleted for good")
    supervisor.want([link("press")])
    await scene.reaches("plant/lathe", "gone", within=5)
    scene.expect("it was stopped before it was removed", not devices["lathe"].connected)
    scene.expect(
        "its end was graceful",
        scene.visited("plant/lathe")[-4:] == ["disconnecting", "stopped", "removing", "removed"],
        " → ".join(scene.visited("plant/lathe")[-4:]),
    )
    scene.say("a new one takes its name")
    supervisor.want([link("press"), link("lathe")])
    await scene.reaches(
        "plant/lathe", "up", within=5, text="a successor of the same name starts from its own observation"
    )
    scene.expect(
        "the sibling was not touched by any of it",
        scene.visited("plant/press") == ["creating", "stopped", "connecting", "up"],
        " → ".join(scene.visited("plant/press")),
    )
    scene.expect("and was connected once", len(devices["press"].tried_at) == 1)


SCENARIO = Scenario("dynamic", "workers are added, changed, deleted and renewed while their sibling runs", story, 2)
