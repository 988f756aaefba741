"""How many worker-ticks a second the simulator makes. A tick is one observation taken and, if anything changed, evaluated.

The workers keep one make-believe process each running, with a child below every second one. `--faults` lets faults befall them as often as
a thousand seeds in CI do; laws are always checked, except in the row "core alone", where the same core is driven by the barest loop that
works, with constant observations: the difference is what the simulator itself costs. Run ``python benchmarks/simulator.py``, with
``--json`` for a machine to read.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from typing import Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Worker, wanted
from setpoint.control.agenda import Act, Observe
from setpoint.control.core import Core
from setpoint.control.observing import Outcome
from setpoint.machine import Phase, State, guard
from setpoint.testing.simulation import Scene, Simulation, pause


class Spec(BaseModel):
    """What is asked of a process."""

    desired_state: Literal["running", "stopped"] = "running"
    child: bool = False


class Observed(Observation, frozen=True):
    """Whether it runs."""

    running: bool = False


@guard
def alive(s: Snapshot[Spec, Observed]) -> bool:
    "the process runs"
    return s.observed.running


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

    def __init__(self, world: set[str]) -> None:
        self.world = world

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        return [ChildSpec("child", "process", Spec())] if desired.child else []

    async def collect_observed_state(self, desired: Spec) -> Observed:
        return Observed(self.context.path in self.world)

    async def start(self, desired: Spec) -> None:
        await pause(0.2)
        self.world.add(self.context.path)

    async def stop(self, desired: Spec) -> None:
        await pause(0.2)
        self.world.discard(self.context.path)


def registry(world: set[str]) -> Registry:
    """The one worker type, over a world of its own."""
    made = Registry()
    made.add("process", lambda: Process(world))
    return made


def tree(workers: int) -> list[ChildSpec]:
    """So many workers, two thirds at the top, a third below every second of those."""
    return [
        ChildSpec(f"w{number}", "process", Spec(child=number % 2 == 0)) for number in range(max(1, workers * 2 // 3))
    ]


def scene(workers: int, world: set[str]) -> Scene:
    return Scene(lambda: registry(world), tree(workers))


def simulated(workers: int, seconds: float, *, every: float) -> float:
    """Ticks a second of real time, with a fault on each family every so many seconds (0: none), laws checked."""
    simulation = Simulation(lambda rng: scene(workers, set()), seed=1, faults=None if every else (), every=every or 1)
    simulation.come_up()
    gc.collect()
    before, start = simulation.ticks, time.process_time()
    simulation.endure(seconds)
    spent = time.process_time() - start
    ticks = simulation.ticks - before
    simulation.close()
    if ticks < workers * seconds / 2:
        raise SystemExit(f"{ticks} ticks are too few for {workers} workers in {seconds:g} s")
    return ticks / spent


def core_alone(workers: int, seconds: float) -> float:
    """Ticks a second of the core itself, driven by the barest loop."""
    core = Core(registry(set()), seed=1)
    core.want(tree(workers))
    now, ticks, start, running = 0.0, 0, 0.0, Observed(True)
    while (due := core.agenda.next_due) is not None and due < 10.0 + seconds:
        if not start and due >= 10.0:
            ticks, start = 0, time.process_time()
        now = max(now, due)
        for effect in core.advance(now, now):
            if isinstance(effect, Observe):
                ticks += 1
                core.observed(effect.path, effect.token, Outcome(now, running))
            elif isinstance(effect, Act):
                core.acted(effect.path, effect.token, Outcome(now))
    return ticks / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--ticks", type=int, default=300_000, help="about so many in each row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for workers in options.sizes:
        seconds = options.ticks / workers
        random.seed(1)
        rows.append(
            {
                "workers": workers,
                "faults every 60 s a family": round(simulated(workers, seconds, every=60)),
                "faults every 300 s a family": round(simulated(workers, seconds, every=300)),
                "no faults": round(simulated(workers, seconds, every=0)),
                "core alone": round(core_alone(workers, seconds)),
            }
        )
    if options.json:
        json.dump(rows, sys.stdout, indent=2)
        return
    print("worker-ticks per second")
    for row in rows:
        print("  ".join(f"{name} {value:,}" for name, value in row.items()))


if __name__ == "__main__":
    main()
