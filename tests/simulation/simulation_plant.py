"""A small plant for the tests of the simulator: processes with children, a gate that others read and need, and a switch for the world."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.testing.simulation import MakeScene, Scene, Trouble, pause


class Spec(BaseModel):
    """What is asked of a process: how many children, and how many levels below those."""

    desired_state: Literal["running", "stopped"] = "running"
    children: int = 0
    levels: int = 0


class Observed(Observation, frozen=True):
    """Whether it runs."""

    running: bool = False


Seen = Snapshot[Spec, Observed]


@dataclass
class World:
    """What runs, whether anything obeys, and how long things take."""

    running: set[str] = field(default_factory=set)
    power: bool = True
    obeys_stop: bool = True
    takes: float = 0.2


@guard
def alive(s: Seen) -> bool:
    "the process runs"
    return s.observed.running


@guard
def gate_open(s: Seen) -> bool:
    "the gate is open"
    return "gate" not in s.peers or s.peers["gate"].healthy


class Process(Worker[Spec, Spec, Observed]):
    "Keeps one make-believe process running, once the gate is open."

    stopped = State(Phase.STOPPED)
    waiting = State(Phase.STARTING)
    starting = State(Phase.STARTING, act="start")
    running = State(Phase.HEALTHY)
    shut_out = State(Phase.DEGRADED, reason="the gate is shut")
    stopping = State(Phase.STOPPING, act="stop")

    arcs = [
        stopped.to(waiting, on="start", when=wanted),
        (waiting | starting | running | shut_out).to(stopping, on="stop", when=~wanted),
        waiting.to(starting, on="gate_opened", when=gate_open),
        starting.to(running, on="start_done", when=alive),
        (running | shut_out).to(starting, on="crashed", when=~alive),
        running.to(shut_out, on="gate_shut", when=~gate_open),
        shut_out.to(running, on="gate_opened", when=gate_open),
        stopping.to(stopped, on="stop_done", when=~alive),
    ]

    def __init__(self, world: World) -> None:
        self.world = world

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        return [ChildSpec(f"child-{number}", "process", Spec()) for number in range(desired.children)]

    async def collect_observed_state(self, desired: Spec) -> Observed:
        if not self.world.power:
            self.world.running.clear()
        return Observed(self.context.path in self.world.running)

    async def start(self, desired: Spec) -> None:
        await pause(self.world.takes)
        if not self.world.power:
            raise OSError("no power")
        self.world.running.add(self.context.path)

    async def stop(self, desired: Spec) -> None:
        await asyncio.sleep(self.world.takes)
        if self.world.obeys_stop:
            self.world.running.discard(self.context.path)


class Moody(Process):
    "Asks to be made anew when it does not start; its children come one after the other, down to the last level."

    gave_up = State(Phase.DEGRADED, signal="restart", reason="does not start")

    arcs = [
        *Process.arcs,
        Process.starting.to(gave_up, on="gave_up", after=12.0),
        gave_up.to(Process.running, on="start_done", when=alive),
        gave_up.to(Process.stopping, on="stop", when=~wanted),
    ]

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        if not desired.levels:
            return []
        first = ChildSpec("first", "moody", Spec(levels=desired.levels - 1))
        return [first, ChildSpec("second", "moody", Spec(), after=("first",), enabled=state != "stopped")]


class Gate(Process):
    "A process that others read and need."

    machine_name = "gate"


def plant(
    processes: int = 3,
    moody: int = 0,
    *,
    world: Callable[[], World] = World,
    types: dict[str, Callable[[World], Process]] | None = None,
) -> MakeScene:
    """So many processes with a child each, and so many moody ones with two levels below, one after the other, behind a gate."""

    def make_scene(rng: random.Random) -> Scene:
        made = world()

        def registry() -> Registry:
            known = Registry()
            for name, make in {"process": Process, "gate": Gate, "moody": Moody, **(types or {})}.items():
                known.add(name, lambda make=make: make(made))
            return known

        def blackout(target: str, level: float) -> Callable[[], None]:
            made.power = False

            def heal() -> None:
                made.power = True

            return heal

        wishes = [ChildSpec("gate", "gate", Spec())]
        for number in range(processes):
            reads, needs = {"gate": "agent/gate"}, ("agent/gate",)
            wishes.append(ChildSpec(f"line-{number}", "process", Spec(children=1), reads=reads, needs=needs))
        for number in range(moody):
            after = (f"moody-{number - 1}",) if number else ()
            wishes.append(ChildSpec(f"moody-{number}", "moody", Spec(levels=2), needs=("agent/gate",), after=after))
        every_path = [f"agent/{spec.name}" for spec in wishes]
        return Scene(
            registry, wishes, troubles={"blackout": Trouble(["mains"], blackout, lambda target: every_path)}, waits=12.0
        )

    return make_scene
