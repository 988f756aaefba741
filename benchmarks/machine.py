"""What the machine model costs: decisions, explanations and memory.

The workload is that of the published comparison of state-machine libraries: a ring of states, one event, one guard that reads a flag. Every
figure is the best of several rounds, in operations a second on one core; the state reached and the calls of guards are checked.
Run ``python benchmarks/machine.py``, with ``--json`` for a machine to read.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable

from setpoint.machine import Machine, Position, Setting, State, check, decide, draw, explain, expression, guard, held
from setpoint.machine.guards import Guard


class Snapshot:
    """What the guards read."""

    __slots__ = ("calls", "desired", "on")

    def __init__(self) -> None:
        self.on, self.calls, self.desired = True, 0, None


@guard
def on(s: Snapshot) -> bool:
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
    snapshot, position = Snapshot(), Position(machine.initial)
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
    snapshot = Snapshot()
    first = decide(machine, Position(machine.initial), snapshot, 0.0)
    position = Position(first.state, 0.0, first.held)
    start = time.perf_counter()
    for _ in range(count):
        decision = decide(machine, position, snapshot, 1.0)
    spent = time.perf_counter() - start
    if decision.moved:
        raise SystemExit("the machine moved")
    return count / spent


def per_second(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - start)


def instance_bytes(count: int = 10_000) -> float:
    """Memory of one more instance: its position, in a state of a machine that all share."""
    machine = ring(3, on)
    decide(machine, Position("s0"), Snapshot(), 0.0)
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
    snapshot, position = Snapshot(), Position("s0")
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
        print("\n".join(f"{figure:>14,.0f}  {name}" for name, figure in figures.items()))


if __name__ == "__main__":
    main()
