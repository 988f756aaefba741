"""Many runs: look for a seed that breaks a law, then make what broke it as small as it gets.

A violation is made smaller by leaving faults out as long as the same law is still broken (delta debugging, Zeller and Hildebrandt 2002),
then by making those that are left shorter and letting them begin sooner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from setpoint.testing.simulation.faults import Fault
from setpoint.testing.simulation.laws import Move, Violation
from setpoint.testing.simulation.scene import MakeScene
from setpoint.testing.simulation.simulation import Simulation

SHRINK_RUNS = 200
AFTER_COMING_UP_S = 11.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `told` is what befell it, `seconds` its length in virtual time, `ticks` how many observations were taken."""

    seed: int
    violation: Violation | None
    seconds: float
    ticks: int
    moves: Sequence[Move]
    told: Sequence[tuple[float, str]]
    faults: Sequence[Fault]
    simulation: Simulation


def simulate(make_scene: MakeScene, *, seconds: float, seed: int = 0, **options: Any) -> Outcome:
    """One whole run with faults for so many seconds; options are those of `Simulation`. Raises `NotSimulated`."""
    simulation = Simulation(make_scene, seed=seed, **options)
    violation = None
    try:
        simulation.run(seconds)
    except Violation as found:
        violation = found
    finally:
        simulation.close()
    return Outcome(
        seed,
        violation,
        simulation.clock.now,
        simulation.ticks,
        simulation.moves,
        simulation.told,
        simulation.faults,
        simulation,
    )


def explore(
    make_scene: MakeScene, *, seconds: float, seeds: Iterable[int], within: float = float("inf"), **options: Any
) -> Iterator[Outcome]:
    """Runs for one seed after the other, for at most `within` seconds of real time; the first is always made."""
    end = time.monotonic() + within
    for seed in seeds:
        yield simulate(make_scene, seconds=seconds, seed=seed, **options)
        if time.monotonic() >= end:
            return


def shrink(make_scene: MakeScene, violation: Violation, *, seconds: float, **options: Any) -> Violation:
    """The same law broken with as few, short and early faults as can be found in a few hundred runs."""
    best = violation
    runs, earliest = 0, 0.0

    def broken_by(faults: Sequence[Fault]) -> bool:
        nonlocal best, runs, earliest
        runs += 1
        if runs > SHRINK_RUNS:
            return False
        length = max((fault.end for fault in faults), default=0.0)
        outcome = simulate(make_scene, seconds=min(seconds, length), seed=violation.seed, faults=faults, **options)
        found, earliest = outcome.violation, outcome.simulation.comes_up_in + AFTER_COMING_UP_S
        if found is None or found.law != violation.law:
            return False
        best = found
        return True

    options.pop("kinds", None)
    options.pop("every", None)
    faults = [fault for fault in violation.faults if fault.begin <= violation.at]
    if broken_by(faults):
        faults = _fewer(faults, broken_by)
        _shorter(faults, broken_by, earliest=earliest)
    return best


def _fewer(faults: Sequence[Fault], broken_by: Callable[[Sequence[Fault]], bool]) -> list[Fault]:
    """Leave out parts, ever smaller ones, as long as the law is still broken."""
    kept, size = list(faults), max(1, len(faults) // 2)
    if kept and broken_by([]):
        return []
    while kept:
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if rest and broken_by(rest):
                kept = rest
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    return kept


def _shorter(faults: Sequence[Fault], broken_by: Callable[[Sequence[Fault]], bool], *, earliest: float) -> None:
    """Let the first begin earlier, and each end sooner, as long as the law is still broken."""
    kept = list(faults)
    lead = min((fault.begin for fault in kept), default=earliest) - earliest
    for sooner in (lead, lead * 0.5):
        moved = [replace(fault, begin=round(fault.begin - sooner, 3)) for fault in kept]
        if sooner > 0 and broken_by(moved):
            kept = moved
            break
    for index, fault in enumerate(kept):
        while fault.seconds > 1 and broken_by(
            [*kept[:index], half := replace(fault, seconds=round(fault.seconds / 2, 2)), *kept[index + 1 :]]
        ):
            kept[index] = fault = half
