"""Connections that fail: one recovers after three refusals, one is refused for ever, one asks to be made anew after five.

A failed action is tried again after growing pauses, for ever; the reason says what failed. What is broken inside a worker, like the handle
of a client library, does not heal by trying again: such a worker says in a state of its own that it wants to be restarted.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from setpoint.control import Limits, Registry, Snapshot, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.testing.scenarios.device import Device, DeviceLink, DeviceSpec, Link, link
from setpoint.testing.scenarios.scene import Scenario, Scene

RESTART_AFTER = 5
"""Failures in a row after which a client is taken for broken."""


class Tried(Link, frozen=True):
    """The connection, and how often in a row this client failed to make it."""

    failures: int = 0


@guard
def worn_out(s: Snapshot[DeviceSpec, Tried]) -> Verdict:
    "the client has failed too often to be trusted"
    return Verdict(s.observed.failures >= RESTART_AFTER, f"{s.observed.failures} failures in a row")


class Restarting(DeviceLink):
    "Keeps one connection to a device by a client that may break for good, and then asks to be made anew."

    broken = State(Phase.FAILED, signal="restart", reason="the client is broken; it asks to be made anew")

    arcs = [
        *DeviceLink.arcs,
        DeviceLink.connecting.to(broken, on="give_up", when=worn_out),
        broken.to(DeviceLink.stopped, on="stop", when=~wanted),
    ]

    def __init__(self, devices: Mapping[str, Device], broken_handles: list[str]) -> None:
        super().__init__(devices)
        self.failures = 0
        self.broken_handle = broken_handles.pop() if broken_handles else ""

    async def collect_observed_state(self, desired: DeviceSpec) -> Tried:
        return Tried(connected=self.devices[desired.address].ask(), failures=self.failures)

    async def connect(self, desired: DeviceSpec) -> None:
        if self.broken_handle:
            self.failures += 1
            raise ConnectionError(self.broken_handle)
        await super().connect(desired)


async def story(scene: Scene) -> None:
    devices = {"flaky": Device(refuses=3), "dead": Device(refuses=1_000_000), "stuck": Device()}
    registry = Registry(devices=devices, broken_handles=["the handle of the client is broken"])
    registry.add("device_link", DeviceLink)
    registry.add("restarting_link", Restarting)
    supervisor = scene.supervise(registry, limits=Limits(retry_first=0.2, retry_cap=2.0))
    supervisor.want([link("flaky"), link("dead"), link("stuck", worker_type="restarting_link")])

    await scene.reaches("plant/flaky", "up", within=10, text="a connection refused three times comes up by itself")
    tried = devices["flaky"].tried_at
    scene.expect("it took exactly four attempts", len(tried) == 4, f"{len(tried)} attempts")
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    scene.expect(
        "the pauses between them grew", pauses == sorted(pauses), " ".join(f"{pause:.2f} s" for pause in pauses)
    )
    await scene.until(
        "after five failures a worker asks to be made anew", lambda: "broken" in scene.visited("plant/stuck"), within=20
    )
    await scene.reaches("plant/stuck", "up", within=20, text="made anew, it connects")
    scene.expect(
        "it was made twice, by the same path",
        scene.visited("plant/stuck").count("creating") == 2,
        " → ".join(scene.visited("plant/stuck")),
    )
    scene.expect("a restart is not a removal", "removed" not in scene.visited("plant/stuck"))
    scene.expect("the one refused for ever is still trying", scene.state("plant/dead") == "connecting")
    scene.expect("and says why", "refuses" in scene.where("plant/dead"), scene.where("plant/dead"))


SCENARIO = Scenario("failing", "failures: one that passes, one that stays, one that asks for a restart", story, 3)
