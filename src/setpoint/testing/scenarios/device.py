"""A device and the worker that keeps a connection to it: the cast of the scenarios that are about the runtime and not about a worker.

The worker is the usual one: it starts by an action, is up once an observation says so, connects again when the connection is lost, and
goes down by an action. The device is a simulated one, and does what the story has it do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard


@dataclass
class Device:
    """A simulated device. Seconds are of the loop's clock."""

    connected: bool = False
    connect_takes: float = 0.1
    disconnect_takes: float = 0.1
    refuses: int = 0
    """So many of the next connections are refused."""
    tried_at: list[float] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)

    async def connect(self) -> None:
        self.tried_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.connect_takes)
        if self.refuses > 0:
            self.refuses -= 1
            raise ConnectionRefusedError("the device refuses the connection")
        self.connected = True

    async def disconnect(self) -> None:
        await asyncio.sleep(self.disconnect_takes)
        self.connected = False

    def ask(self) -> bool:
        """Whether it is connected; notes when it was asked."""
        self.asked_at.append(asyncio.get_running_loop().time())
        return self.connected

    def intervals(self, since: float = 0.0) -> list[float]:
        """Seconds between the observations of it that were made after `since`."""
        return [later - earlier for earlier, later in pairwise(at for at in self.asked_at if at >= since)]


class DeviceSpec(BaseModel):
    """A connection that is wanted to the device at an address."""

    address: str
    desired_state: Literal["running", "stopped"] = "running"


class Link(Observation, frozen=True):
    """Whether there is a connection."""

    connected: bool = False


LinkSnapshot = Snapshot[DeviceSpec, Link]


@guard
def connected(s: LinkSnapshot) -> Verdict:
    "the device is connected"
    return Verdict(s.observed.connected, "connected" if s.observed.connected else "no connection to the device")


class DeviceLink(Worker[DeviceSpec, DeviceSpec, Link]):
    "Keeps one connection to a device."

    stopped = State(Phase.STOPPED)
    connecting = State(Phase.STARTING, act="connect")
    up = State(Phase.HEALTHY)
    disconnecting = State(Phase.STOPPING, act="disconnect")

    arcs = [
        stopped.to(connecting, on="start", when=wanted),
        (connecting | up).to(disconnecting, on="stop", when=~wanted),
        connecting.to(up, on="start_done", when=connected),
        up.to(connecting, on="lost", when=~connected),
        disconnecting.to(stopped, on="stop_done", when=~connected),
    ]

    interval = 0.5

    def __init__(self, devices: Mapping[str, Device]) -> None:
        self.devices = devices

    async def collect_observed_state(self, desired: DeviceSpec) -> Link:
        return Link(connected=self.devices[desired.address].ask())

    async def connect(self, desired: DeviceSpec) -> None:
        if not self.devices[desired.address].connected:
            await self.devices[desired.address].connect()

    async def disconnect(self, desired: DeviceSpec) -> None:
        await self.devices[desired.address].disconnect()


def link(name: str, *, worker_type: str = "device_link", enabled: bool = True) -> ChildSpec:
    """The spec of a connection to the device of the same name."""
    return ChildSpec(name, worker_type, DeviceSpec(address=name), enabled=enabled)


def beat(intervals: list[float]) -> str:
    """Intervals in a few words: ``12 observations, 0.50 s apart (0.49 to 0.51)``."""
    if not intervals:
        return "no two observations"
    middle = sorted(intervals)[len(intervals) // 2]
    return f"{len(intervals) + 1} observations, {middle:.2f} s apart ({min(intervals):.2f} to {max(intervals):.2f})"
