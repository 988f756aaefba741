"""Specs as users write them, as plain data: a good one, one of the wrong type, an empty one, and one that leaves the defaults.

What is wrong with a spec concerns the worker it is for: it says where and why, and its siblings run. A bad edit of a spec that was in
force changes nothing until it is corrected: the last good one stays in force, and the worker says so.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.testing.scenarios.scene import Scenario, Scene


class ServerSpec(BaseModel):
    """An OPC UA server to poll."""

    endpoint: str
    interval_ms: int = Field(default=1_000, ge=10)
    nodes: list[str] = []
    desired_state: Literal["running", "stopped"] = "running"


class Polling(Observation, frozen=True):
    """How the server is polled at present."""

    endpoint: str = ""
    interval_ms: int = 0


@guard
def polled_as_wanted(s: Snapshot[ServerSpec, Polling]) -> bool:
    "the server is polled as the spec says"
    return (s.observed.endpoint, s.observed.interval_ms) == (s.desired.endpoint, s.desired.interval_ms)


class Poller(Worker[ServerSpec, ServerSpec, Polling]):
    "Polls one server at the pace its spec says."

    stopped = State(Phase.STOPPED)
    applying = State(Phase.STARTING, act="apply")
    polling = State(Phase.HEALTHY)

    arcs = [
        stopped.to(applying, on="start", when=wanted),
        (applying | polling).to(stopped, on="stop", when=~wanted),
        applying.to(polling, on="apply_done", when=polled_as_wanted),
        polling.to(applying, on="spec_changed", when=~polled_as_wanted),
    ]

    def __init__(self) -> None:
        self.present = Polling()

    async def collect_observed_state(self, desired: ServerSpec) -> Polling:
        return self.present

    async def apply(self, desired: ServerSpec) -> None:
        self.present = Polling(desired.endpoint, desired.interval_ms)


GOOD: dict[str, Any] = {"endpoint": "opc.tcp://10.0.0.7:4840", "interval_ms": 250, "nodes": ["ns=2;s=Speed"]}
WRITTEN: dict[str, dict[str, Any] | None] = {
    "good": GOOD,
    "mismatch": {**GOOD, "interval_ms": "often"},
    "empty": None,
    "defaults": {"endpoint": "opc.tcp://10.0.0.8:4840"},
}


async def story(scene: Scene) -> None:
    registry = Registry()
    registry.add("poller", Poller)
    supervisor = scene.supervise(registry)

    def want(**changed: dict[str, Any] | None) -> None:
        specs = {**WRITTEN, **changed}
        supervisor.want([ChildSpec(name, "poller", spec) for name, spec in specs.items()])

    def stalled(name: str) -> str:
        return supervisor.worker(f"plant/{name}").stalled.reason

    def present(name: str) -> Any:
        return supervisor.worker(f"plant/{name}").observed

    want()
    await scene.reaches("plant/good", "polling", within=3, text="a good spec is in force, whatever its siblings have")
    await scene.reaches("plant/defaults", "polling", within=3, text="so is one that leaves the defaults")
    scene.expect("the defaults were filled in", present("defaults")["interval_ms"] == 1_000, present("defaults"))
    scene.expect("a wrong type is named by its field", "interval_ms" in stalled("mismatch"), stalled("mismatch"))
    scene.expect("an empty spec says what it lacks", "endpoint" in stalled("empty"), stalled("empty"))
    idle = [scene.visited(f"plant/{name}") for name in ("mismatch", "empty")]
    scene.expect("neither was started", not any("applying" in states for states in idle))

    scene.say("the user breaks the good spec")
    want(good={**GOOD, "interval_ms": -1})
    await scene.until("a bad edit is said", lambda: "interval_ms" in stalled("good"), within=3)
    scene.expect("the last good spec stays in force", present("good")["interval_ms"] == 250, present("good"))
    scene.expect("the worker goes on", scene.state("plant/good") == "polling")

    scene.say("the user corrects all of them")
    want(good={**GOOD, "interval_ms": 500}, mismatch=GOOD, empty=GOOD)
    await scene.until(
        "corrected specs are in force without a restart of anything",
        lambda: (
            all(scene.state(f"plant/{name}") == "polling" for name in WRITTEN) and present("good")["interval_ms"] == 500
        ),
        within=5,
    )
    scene.expect("nothing is stalled any more", not any(stalled(name) for name in WRITTEN))


SCENARIO = Scenario(
    "configerror", "specs as plain data: what is wrong with one concerns it alone, and is said", story, 1
)
