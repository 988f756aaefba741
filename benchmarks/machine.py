"""What the machine model costs: decisions, evaluations of real workers, explorations, explanations and memory.

The workload of the first figures is that of the published comparison of state-machine libraries: a ring of states, one event, one guard
that reads a flag (`benchmarks/peers.py` is our part in that comparison). Then the bridge and the worker of the tutorial are evaluated
where they stay, over a snapshot as the runtime makes it: every guard of the state is asked. The exploration is of five machines of five
states that look at each other, with a forbidden joint state, a target and the questions that are always asked. Every figure is the best of
several rounds, in operations a second on one core; the state reached and the calls of guards are checked.
Run ``python benchmarks/machine.py``, with ``--json`` for a machine to read.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

from setpoint.control import Fact, Snapshot
from setpoint.control.snapshot import Facts
from setpoint.machine import (
    Guard,
    Instance,
    Machine,
    Phase,
    Position,
    Setting,
    State,
    check,
    decide,
    draw,
    explain,
    explore,
    expression,
    guard,
    held,
    peer,
)
from setpoint.machine.model import Arcs
from setpoint.workers.bridge import Bridge, BridgeSpec, Nothing

HELLO = Path(__file__).parents[1] / "examples" / "hello_worker.py"


class Flag:
    """What the guards read."""

    __slots__ = ("calls", "desired", "on")

    def __init__(self) -> None:
        self.on, self.calls, self.desired = True, 0, None


@guard
def on(s: Flag) -> bool:
    "the flag is set"
    s.calls += 1
    return s.on


def ring(size: int, when: Guard) -> Machine:
    """A ring of `size` states, each with one arc to the next."""
    states = [State(name=f"s{number}", act="work") for number in range(size)]
    arcs = [state.to(states[(number + 1) % size], on="turn", when=when) for number, state in enumerate(states)]
    return Machine("ring", states, arcs)


def transitions(machine: Machine, count: int) -> float:
    """Transitions a second, each a decision and the position that it leads to."""
    snapshot, position = Flag(), Position(machine.initial)
    start = time.perf_counter()
    for _ in range(count):
        position = Position(decide(machine, position, snapshot, 0.0).state, 0.0)
    spent = time.perf_counter() - start
    if position.state != f"s{count % len(machine.states)}" or snapshot.calls < count:
        raise SystemExit(
            f"the ring stands at {position.state} after {count} transitions and {snapshot.calls} calls of guards"
        )
    return count / spent


def staying(machine: Machine, count: int) -> float:
    """Decisions to stay a second, the case of a worker whose facts changed nothing; clocks run."""
    snapshot = Flag()
    first = decide(machine, Position(machine.initial), snapshot, 0.0)
    position = Position(first.state, 0.0, first.held)
    start = time.perf_counter()
    for _ in range(count):
        decision = decide(machine, position, snapshot, 1.0)
    spent = time.perf_counter() - start
    if decision.moved:
        raise SystemExit("the machine moved")
    return count / spent


def facts(**phases: tuple[str, Phase]) -> Facts:
    """Facts of others as the runtime has them: looked up by path."""
    table = {f"top/{name}": Fact(f"top/{name}", name, *state, "as it should be") for name, state in phases.items()}
    return Facts({name: f"top/{name}" for name in phases}, table.__getitem__)


def bridge() -> tuple[Machine, Snapshot[Any, Any]]:
    """The bridge where it idles: connected, both flows and the broker healthy, no message under way."""
    spec = BridgeSpec(target="10.0.0.7", port=502, read={"input": {}}, write={"output": {}})
    idle = ("idle", Phase.HEALTHY)
    children = facts(connection=("up", Phase.HEALTHY), read=idle, write=idle)
    return Bridge.machine, Snapshot("top/bridge", spec, Nothing(), "idle", True, "", children, facts(broker=idle))


def hello() -> tuple[Machine, Snapshot[Any, Any]]:
    """The worker of the tutorial where it burns, with its child."""
    example = run_path(str(HELLO))
    children = facts(small=("burning", Phase.HEALTHY))
    snapshot = Snapshot("top/hello", 2, example["Seen"](True), "burning", True, "", children, facts())
    return example["Candle"].machine, snapshot


def evaluations(machine: Machine, snapshot: Snapshot[Any, Any], count: int) -> float:
    """Evaluations a second of a worker that stays where it is, each over a snapshot of its own."""
    position = Position(snapshot.state)
    start = time.perf_counter()
    for _ in range(count):
        decision = decide(machine, position, snapshot._replace(error=""), 1.0)
    spent = time.perf_counter() - start
    if decision.moved:
        raise SystemExit(f"{machine.name} moved to {decision.state}: {decision.reason}")
    return count / spent


def line_of_machines(count: int) -> Mapping[str, Instance]:
    """Machines of five states, each of which gets up only while the next is not."""
    wanted = guard(name="wanted", wanted=True)(lambda s: s.wanted)
    stopped, starting = State(Phase.STOPPED, name="stopped"), State(Phase.STARTING, name="starting")
    up, down = State(Phase.HEALTHY, name="up"), State(Phase.DEGRADED, name="down")
    stopping = State(Phase.STOPPING, name="stopping")
    alive, free = expression("observed.alive"), ~peer("next").is_in("up", "down")
    arcs: Arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | up | down).to(stopping, on="stop", when=~wanted),
        (starting | down).to(up, on="get_up", when=alive & free),
        up.to(down, on="lose", when=~alive),
        stopping.to(stopped, on="stop_done", when=~alive),
    ]
    machine = Machine("unit", [stopped, starting, up, down, stopping], arcs)
    return {f"m{number}": Instance(machine, {"next": f"m{(number + 1) % count}"}) for number in range(count)}


def explored(system: Mapping[str, Instance]) -> float:
    """Joint states a second, all questions answered."""
    start = time.perf_counter()
    found = explore(
        system,
        never={"all up": peer("m0").healthy & peer("m1").healthy & peer("m2").healthy},
        targets={"the first is up": peer("m0").healthy},
    )
    spent = time.perf_counter() - start
    if found.certainty != "exact" or found.states < 50_000:
        raise SystemExit(f"the exploration is not what it should be: {found}")
    return found.states / spent


def per_second(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - start)


def instance_bytes(count: int = 10_000) -> float:
    """Memory of one more instance: its position, in a state of a machine that all share."""
    machine = ring(3, on)
    decide(machine, Position("s0"), Flag(), 0.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    positions = [Position("s0", float(number)) for number in range(count)]
    spent = tracemalloc.get_traced_memory()[0] - before - sys.getsizeof(positions)
    tracemalloc.stop()
    return spent / count


def measure(count: int, rounds: int) -> dict[str, float]:
    """All figures by name."""
    small, large, tree = ring(3, on), ring(300, on), ring(3, on & ~(~on | ~on) & expression("on"))
    clocks = ring(3, held(on, 60) | held(on, Setting("grace_s", 90)))
    snapshot, position = Flag(), Position("s0")
    system = line_of_machines(5)
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, figure in (
            ("transitions/s, 3 states", transitions(small, count)),
            ("transitions/s, 300 states", transitions(large, count)),
            ("transitions/s, guard of four leaves with an expression", transitions(tree, count // 4)),
            ("decisions/s, two held guards with running clocks", staying(clocks, count // 4)),
            (
                "explanations/s, guard of four leaves",
                per_second(lambda: explain(tree, position, snapshot, 0.0), count // 40),
            ),
            ("evaluations/s, idle bridge", evaluations(*bridge(), count // 10)),
            ("evaluations/s, worker of the tutorial", evaluations(*hello(), count // 10)),
            ("joint states/s, five machines that see each other", explored(system)),
            ("checks/s, 300 states", per_second(lambda: check(large), 2)),
            ("SVG drawings/s, 3 states", per_second(lambda: draw(small, "svg"), 50)),
        ):
            best[name] = max(figure, best.get(name, 0.0))
    return {**best, "bytes of an instance": instance_bytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the machine model.")
    parser.add_argument("--count", type=int, default=200_000, help="transitions a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.count < 40 or arguments.rounds < 1:
        parser.error("--count must be at least 40 and --rounds at least 1")
    figures = measure(arguments.count, arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        print("\n".join(f"{figure:>14,.0f}  {name}{_each(name, figure)}" for name, figure in figures.items()))


def _each(name: str, figure: float) -> str:
    return f" ({1e6 / figure:.1f} µs each)" if name.startswith("evaluations") else ""


if __name__ == "__main__":
    main()
