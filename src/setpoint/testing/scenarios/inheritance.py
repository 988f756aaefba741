"""Variables flow down the tree: an address and an identity are written once, above, and named below.

What is given with a spec is seen by that worker and all below it, the nearest one wins. ``.global`` is the same everywhere, ``.internal``
is what the runtime knows of each worker, and the location is completed on the way down.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.testing.scenarios.scene import Scenario, Scene


class GatewaySpec(BaseModel):
    """A gateway and the clients behind it, each with the variables that are its own."""

    clients: dict[str, dict[str, Any]]
    desired_state: Literal["running", "stopped"] = "running"


class ClientSpec(BaseModel):
    """A client of a device: where it is, and how its values are named."""

    address: str
    topic: str
    retries: int = 0
    desired_state: Literal["running", "stopped"] = "running"


class Connected(Observation, frozen=True):
    """Where the client is connected, and what it publishes to."""

    address: str = ""
    topic: str = ""
    retries: int = 0


@guard
def connected(s: Snapshot[ClientSpec, Connected]) -> bool:
    "it is connected to the address of its spec"
    return (s.observed.address, s.observed.topic, s.observed.retries) == (
        s.desired.address,
        s.desired.topic,
        s.desired.retries,
    )


class Client(Worker[ClientSpec, ClientSpec, Connected]):
    "Keeps one client connected to the address that its spec comes to."

    stopped = State(Phase.STOPPED)
    connecting = State(Phase.STARTING, act="connect")
    up = State(Phase.HEALTHY, reason=lambda s: f"{s.observed.address} as {s.observed.topic}")

    arcs = [
        stopped.to(connecting, on="start", when=wanted),
        (connecting | up).to(stopped, on="stop", when=~wanted),
        connecting.to(up, on="start_done", when=connected),
        up.to(connecting, on="spec_changed", when=~connected),
    ]

    def __init__(self) -> None:
        self.present = Connected()

    async def collect_observed_state(self, desired: ClientSpec) -> Connected:
        return self.present

    async def connect(self, desired: ClientSpec) -> None:
        self.present = Connected(desired.address, desired.topic, desired.retries)


class Nothing(Observation, frozen=True):
    """A gateway has nothing of its own to measure."""


class Gateway(Worker[GatewaySpec, GatewaySpec, Nothing]):
    "Keeps the clients behind one gateway."

    stopped = State(Phase.STOPPED)
    running = State(Phase.HEALTHY)

    arcs = [stopped.to(running, on="start", when=wanted), running.to(stopped, on="stop", when=~wanted)]

    async def collect_observed_state(self, desired: GatewaySpec) -> Nothing:
        return Nothing()

    def children(self, desired: GatewaySpec, state: str) -> list[ChildSpec]:
        """The spec is the same for every client: what differs between them is given from above."""
        spec = {
            "address": "{{ .IP }}:{{ .PORT }}",
            "topic": "{{ .location_path }}.{{ .DEVICE_ID }}.{{ .internal.name }}",
            "retries": "{{ .global.retries }}",
        }
        return [ChildSpec(name, "client", spec, variables=own) for name, own in desired.clients.items()]


async def story(scene: Scene) -> None:
    registry = Registry()
    registry.add("gateway", Gateway)
    registry.add("client", Client)
    supervisor = scene.supervise(registry, variables={"retries": 3}, location={0: "acme", 1: "cologne"})

    def want(variables: dict[str, Any]) -> None:
        clients = {"plc": {}, "valve": {"PORT": 1502}, "robot": {"location": {3: "cell-9"}}}
        supervisor.want(
            [
                ChildSpec("gateway", "gateway", {"clients": clients}, variables=variables),
                ChildSpec("elsewhere", "gateway", {"clients": {"lost": {"IP": "10.0.0.8"}}}),
            ]
        )

    def present(name: str) -> Any:
        return supervisor.worker(f"plant/gateway/{name}").observed

    variables = {"IP": "10.0.0.7", "PORT": 502, "DEVICE_ID": "press-1", "location": {2: "line-4"}}
    want(variables)
    names = ("plc", "valve", "robot")
    for name in names:
        await scene.reaches(f"plant/gateway/{name}", "up", within=3)
    scene.expect("IP and PORT flow to the children", present("plc")["address"] == "10.0.0.7:502", present("plc"))
    scene.expect("the nearest one wins", present("valve")["address"] == "10.0.0.7:1502", present("valve")["address"])
    scene.expect(
        "the location is completed on the way down",
        present("plc")["topic"] == "acme.cologne.line-4.press-1.plc"
        and present("robot")["topic"] == "acme.cologne.line-4.cell-9.press-1.robot",
        f"{present('plc')['topic']} and {present('robot')['topic']}",
    )
    scene.expect("what is global is there, as the type the worker declares", present("plc")["retries"] == 3)
    lost = supervisor.worker("plant/elsewhere/lost").stalled.reason
    scene.expect("a variable that nobody gave is named, and those that there are", "PORT" in lost, lost)
    scene.say("the user moves the gateway to another address")
    want({**variables, "IP": "10.0.0.9"})
    await scene.until(
        "a changed variable reaches every child",
        lambda: all(present(name)["address"].startswith("10.0.0.9:") for name in names),
        within=5,
    )
    made = [scene.visited(f"plant/gateway/{name}").count("creating") for name in names]
    scene.expect("no child was made anew for it", made == [1, 1, 1])


SCENARIO = Scenario("inheritance", "variables and the location flow down the tree, and the nearest one wins", story, 1)
