"""A small worker over a make-believe thing, for the tests of the test kit."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard, held


class PumpSpec(BaseModel):
    """What may be asked of a pump."""

    desired_state: Literal["running", "stopped"] = "running"
    least_bar: float = Field(default=2.0, ge=0, allow_inf_nan=False)


class PumpSeen(Observation, frozen=True):
    """What is seen of it."""

    turning: bool = False
    bar: float = 0.0


Seen = Snapshot[PumpSpec, PumpSeen]


@guard
def turning(s: Seen) -> Verdict:
    "it turns"
    return Verdict(s.observed.turning, "it turns" if s.observed.turning else "it stands")


@guard
def pressure(s: Seen) -> Verdict:
    "there is pressure"
    return Verdict(s.observed.bar >= s.desired.least_bar, f"{s.observed.bar:g} bar")


class Pump(Worker[PumpSpec, PumpSpec, PumpSeen]):
    "Keeps a pump running."

    stopped = State(Phase.STOPPED)
    starting = State(Phase.STARTING, act="start")
    running = State(Phase.HEALTHY)
    weak = State(Phase.DEGRADED, reason=lambda s: f"pressure is {s.observed.bar:g} bar")
    stopping = State(Phase.STOPPING, act="stop")

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        starting.to(running, on="start_done", when=turning),
        (running | weak).to(starting, on="stands", when=~turning),
        running.to(weak, on="pressure_lost", when=held(~pressure, 5)),
        weak.to(running, on="pressure_back", when=pressure),
        (starting | running | weak).to(stopping, on="stop", when=~wanted),
        stopping.to(stopped, on="stop_done", when=~turning),
    ]

    def __init__(self) -> None:
        self.on = False

    async def collect_observed_state(self, desired: PumpSpec) -> PumpSeen:
        return PumpSeen(turning=self.on, bar=4.0 if self.on else 0.0)

    async def start(self, desired: PumpSpec) -> None:
        self.on = True

    async def stop(self, desired: PumpSpec) -> None:
        self.on = False
