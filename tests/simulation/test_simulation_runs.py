"""Runs: the same seed takes the same steps, faults are data, worker code waits in virtual time, violations become small."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulation.simulation_plant import Observed, Process, Spec, World, plant

from setpoint.control import ChildSpec, Registry
from setpoint.testing.simulation import (
    KINDS,
    Fault,
    NotSimulated,
    Scene,
    Simulation,
    Violation,
    explore,
    pause,
    shrink,
    simulate,
)


def test_a_tree_with_nothing_wrong_comes_up_and_stops() -> None:
    """Without faults every worker is brought up and, at the end, stopped within the budget."""
    outcome = simulate(plant(), seconds=60, faults=())
    assert outcome.violation is None
    assert {move.target for move in outcome.moves if move.path == "agent/line-1/child-0"} >= {"running", "stopped"}


def test_the_same_seed_takes_the_same_steps() -> None:
    """Two runs with one seed make the same moves at the same moments; another seed makes others."""
    first, again, other = (simulate(plant(), seconds=300, seed=seed, every=60) for seed in (3, 3, 4))
    assert first.moves == again.moves
    assert first.faults == again.faults
    assert first.moves != other.moves


def test_the_same_seed_takes_the_same_steps_in_another_process() -> None:
    """The order of strings in sets differs from process to process; a run must not depend on it."""
    code = (
        "from tests.simulation.simulation_plant import plant; from setpoint.testing.simulation import simulate;"
        "print([str(move) for move in simulate(plant(8), seconds=300, seed=5, every=60).moves])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


def test_every_kind_of_fault_is_survived_on_its_own() -> None:
    """Each kind befalls a worker alone, short, long, mild and bad, and no law is broken."""
    for kind in [*KINDS, "blackout"]:
        target = {"agent": "agent", "top": "agent/line-0"}.get(
            KINDS[kind].befalls if kind in KINDS else "", "agent/line-0/child-0"
        )
        target = "mains" if kind == "blackout" else target
        faults = [
            Fault(20.0 + 150 * n, kind, target, seconds, level)
            for n, (seconds, level) in enumerate([(1, 0.1), (45, 0.9)])
        ]
        outcome = simulate(plant(1), seconds=0, faults=faults)
        assert outcome.violation is None, outcome.violation
        assert any(text.startswith(f"{kind} begins") for _, text in outcome.told)


finite = st.floats(0, 1e6, allow_nan=False).map(lambda number: round(number, 3))


@given(
    begin=finite, seconds=finite, level=st.floats(0, 1).map(lambda x: round(x, 3)), kind=st.sampled_from(list(KINDS))
)
def test_a_fault_survives_being_written_and_read(begin: float, seconds: float, level: float, kind: str) -> None:
    """The text of a fault says all of it, for targets with any sign in their names."""
    fault = Fault(begin, kind, "agent/bridges/press:1*a @b+c", seconds, level)
    assert Fault.parse(str(fault)) == fault


def test_a_text_that_is_no_fault_is_refused_with_the_form() -> None:
    """Whoever mistypes a fault is shown how one is written."""
    with pytest.raises(ValueError, match="KIND@BEGIN"):
        Fault.parse("hang at noon")


def scene_of(make: type[Process]) -> Scene:
    world = World()
    registry = Registry()
    registry.add("process", lambda: make(world))
    return Scene(lambda: registry, [ChildSpec("one", "process", Spec())])


class Sleeper(Process):
    """Waits in all the ways that virtual time has."""

    async def collect_observed_state(self, desired: Spec) -> Observed:
        loop = asyncio.get_running_loop()
        began, rung = loop.time(), asyncio.Event()
        loop.call_later(0.25, rung.set)
        await asyncio.sleep(0)
        await asyncio.sleep(0.5)
        await rung.wait()
        await pause(0.25)
        assert loop.time() == began + 0.75
        return Observed(self.context.path in self.world.running)


def test_worker_code_waits_in_virtual_time() -> None:
    """`asyncio.sleep`, events and `pause` go on at the right moment; the clock is what `loop.time()` says."""
    outcome = simulate(lambda rng: scene_of(Sleeper), seconds=30, faults=())
    assert outcome.violation is None, outcome.violation
    assert outcome.simulation.record("agent/one").tally.observations.failed == 0  # type: ignore[union-attr]


class Prober(Process):
    """Wants a real socket."""

    async def collect_observed_state(self, desired: Spec) -> Observed:
        try:
            await asyncio.open_connection("127.0.0.1", 1)
        except Exception:
            return Observed()
        return Observed(True)


def test_worker_code_that_does_real_io_is_told_so() -> None:
    """It is no failure of the worker that it can swallow: the simulation ends, and says what to do."""
    with pytest.raises(NotSimulated, match="stand-in"):
        simulate(lambda rng: scene_of(Prober), seconds=1)


def test_a_violation_is_made_small_and_can_be_repeated() -> None:
    """Of dozens of faults those are left that break the law, and they do so again."""

    def unlucky(rng: random.Random) -> Scene:
        scene = plant()(rng)
        trouble = scene.troubles["blackout"]

        def breaks(target: str, level: float) -> object:
            trouble.begin(target, level)
            return lambda: None  # the power never comes back

        return Scene(scene.registry, scene.want, {"blackout": type(trouble)(["mains"], breaks, trouble.affects)})  # type: ignore[arg-type]

    found = next(run.violation for run in explore(unlucky, seconds=1200, seeds=range(20), every=60) if run.violation)
    assert found.law == "reaches-target"
    assert len(found.faults) > 10
    small = shrink(unlucky, found, seconds=1200)
    assert [fault.kind for fault in small.faults] == ["blackout"]
    assert small.at < found.at
    with pytest.raises(Violation, match="reaches-target"):
        Simulation(unlucky, seed=small.seed, faults=small.faults).run(0)


def test_a_violation_says_everything_that_is_needed_to_repeat_it() -> None:
    """Seed, moment, worker, law, faults and the last moves."""
    world = World(obeys_stop=False)
    violation = simulate(plant(1, world=lambda: world), seconds=10, seed=11, faults=()).violation
    assert violation is not None
    text = str(violation)
    assert "clean-exit" in text
    assert "seed 11" in text
    assert "running → stopping" in text
