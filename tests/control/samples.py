"""Small workers over a scripted world, shared by the tests of the control runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Limits, Observation, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.testing import wall


class Spec(BaseModel):
    """What the tests ask of a process."""

    desired_state: Literal["running", "stopped"] = "running"
    version: int = 1
    children: list[str] = []


class Observed(Observation, frozen=True):
    """Whether the process runs, and which version of it."""

    running: bool = False
    version: int = 0


Seen = Snapshot[Spec, Observed]


@guard
def alive(s: Seen) -> Verdict:
    "the process runs"
    return Verdict(s.observed.running, "it runs" if s.observed.running else "it does not run")


looks: list[float] = []
"""One for each time that `looked_at` was asked; cleared by the test that counts them."""


@guard
def looked_at(s: Snapshot[Any, Any]) -> bool:
    "counts how often it is asked"
    looks.append(0.0)
    return False


@dataclass
class World:
    """What is outside one worker: the process, and how it misbehaves. `log` keeps what was called, with the loop's time."""

    running: bool = False
    takes: float = 0.1
    observing_takes: float = 0.0
    start_fails: str = ""
    observe_fails: str = ""
    ignores_stop: bool = False
    collections: int = 0
    log: list[tuple[str, float]] = field(default_factory=list)

    def note(self, what: str) -> None:
        self.log.append((what, asyncio.get_running_loop().time()))

    def calls(self, what: str) -> list[float]:
        return [at for name, at in self.log if name == what]


class Process(Worker[Spec, Spec, Observed]):
    "Keeps one make-believe process running."

    stopped = State(Phase.STOPPED)
    starting = State(Phase.STARTING, act="start")
    running = State(Phase.HEALTHY)
    stopping = State(Phase.STOPPING, act="stop")

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | running).to(stopping, on="stop", when=~wanted),
        starting.to(running, on="start_done", when=alive),
        running.to(starting, on="crashed", when=~alive),
        stopping.to(stopped, on="stop_done", when=~alive),
    ]

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()

    async def collect_observed_state(self, desired: Spec) -> Observed:
        self.world.collections += 1
        if self.world.observing_takes:
            await asyncio.sleep(self.world.observing_takes)
        if self.world.observe_fails:
            raise OSError(self.world.observe_fails)
        return Observed(running=self.world.running)

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        return [ChildSpec(name, "process", Spec()) for name in desired.children]

    async def start(self, desired: Spec) -> None:
        self.world.note("start")
        await asyncio.sleep(self.world.takes)
        if self.world.start_fails:
            raise OSError(self.world.start_fails)
        self.world.running = True
        self.world.note("started")

    async def stop(self, desired: Spec) -> None:
        self.world.note("stop")
        await asyncio.sleep(self.world.takes)
        if not self.world.ignores_stop:
            self.world.running = False


def supervisor(limits: Limits | None = None, **types: Callable[[], Worker[Any, Any, Any]]) -> Supervisor:
    """A supervisor on virtual time that knows `process` and the given types."""
    registry = Registry()
    for name, factory in {"process": Process, **types}.items():
        registry.add(name, factory)
    return Supervisor(registry, root="top", wall=wall, limits=limits)


def process(name: str, **spec: Any) -> ChildSpec:
    return ChildSpec(name, "process", Spec(**spec))


def state(supervisor: Supervisor, path: str) -> str:
    """The worker's state, or "gone"."""
    record = supervisor.core.family.table.get(path)
    return record.state if record else "gone"


def world(supervisor: Supervisor, path: str) -> World:
    worker = supervisor.core.family.table[path].worker
    assert isinstance(worker, Process)
    return worker.world


async def reach(supervisor: Supervisor, path: str, wanted_state: str, within: float = 10.0) -> None:
    """Wait until the worker is in the state; fails with where it is instead."""
    reached = await supervisor.until(lambda s: state(s, path) == wanted_state, within)
    assert reached, f"{path} is {state(supervisor, path)}, not {wanted_state}, after {within} s"


def now() -> float:
    return asyncio.get_running_loop().time()
