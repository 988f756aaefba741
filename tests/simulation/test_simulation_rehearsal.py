"""Rehearsals: a whole config over a model of its plant, with the machines and the runtime that run it for real."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.simulation.simulation_cli import config, written

from setpoint.agent.rehearsal import rehearsal_of, summarised
from setpoint.cli.simulate import tree_in
from setpoint.control import ChildSpec
from setpoint.testing.simulation import Fault, Outcome, explore, shrink, simulate

SECONDS_IN_CI = 5.0
PRESS = "agent/bridges/press-1"


@pytest.fixture
def tree(tmp_path: Path) -> Sequence[ChildSpec]:
    found: Sequence[ChildSpec] = tree_in(Path(written(tmp_path, config())))
    return found


def state(outcome: Outcome, path: str, at: float) -> str:
    """Where the worker was at that moment."""
    return [move.target for move in outcome.moves if move.path == path and move.at <= at][-1]


def test_a_config_keeps_every_law_under_every_kind_of_fault(tree: Sequence[ChildSpec]) -> None:
    """Bridges, flows, connections and broker, through faults of the plant, of the runtime, of wishes and of operators."""
    for outcome in explore(rehearsal_of(tree), seconds=1800, seeds=range(1000), within=SECONDS_IN_CI, every=150):
        if outcome.violation is not None:
            raise AssertionError(str(shrink(rehearsal_of(tree), outcome.violation, seconds=1800)))


@pytest.mark.parametrize(
    ("kind", "target", "called"),
    [
        ("device-down", "10.0.0.5:502", "degraded_connection"),
        ("flow-crash", f"{PRESS}/read", "degraded_dfc"),
        ("broker-down", "agent/broker", "degraded_redpanda"),
    ],
)
def test_a_bridge_names_what_befalls_its_plant_and_comes_back(
    tree: Sequence[ChildSpec], kind: str, target: str, called: str
) -> None:
    """The first thing that is wrong is the state of the bridge, and it is active again once that has healed."""
    outcome = simulate(rehearsal_of(tree), seconds=0, faults=[Fault(100, kind, target, 60)])
    assert outcome.violation is None
    assert state(outcome, PRESS, 159) == called
    assert state(outcome, PRESS, 240) == "active"


def test_the_other_bridge_does_not_notice(tree: Sequence[ChildSpec]) -> None:
    """A device that is down, and a flow that crashes, concern their own bridge."""
    faults = [Fault(100, "device-down", "10.0.0.5:502", 60), Fault(300, "flow-crash", f"{PRESS}/read", 60)]
    outcome = simulate(rehearsal_of(tree), seconds=0, faults=faults)
    before_the_end = [move for move in outcome.moves if move.path == "agent/bridges/press-2" and 100 <= move.at < 400]
    assert before_the_end == []


def test_a_bridge_that_is_stopped_and_wanted_again_at_once_comes_back(tree: Sequence[ChildSpec]) -> None:
    """It must not wait for children to stop that are wanted again."""
    outcome = simulate(rehearsal_of(tree), seconds=0, faults=[Fault(100, "disable", PRESS, 0.1)])
    assert outcome.violation is None, outcome.violation


def test_a_run_is_told_in_a_line_for_each_worker(tree: Sequence[ChildSpec]) -> None:
    """How often it moved, how long it was well, and what was the longest time without."""
    outcome = simulate(rehearsal_of(tree), seconds=0, faults=[Fault(100, "device-down", "10.0.0.5:502", 60)])
    lived = {row.path: row for row in summarised(outcome.moves, until=outcome.seconds)}
    assert lived[f"{PRESS}/connection"].longest == pytest.approx(60, abs=3)
    assert "no answer from 10.0.0.5:502" in lived[PRESS].worst
    assert lived["agent/bridges/press-2/connection"].well == 1.0
