"""``setpoint plan``: what a changed config would cause, from where everything stands now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.simulation_cli import config, ran, written

from setpoint.agent.rehearsal import rehearsal_of
from setpoint.cli.simulate import tree_in
from setpoint.places import LAST_GOOD, STORE
from setpoint.store import SqliteStore
from setpoint.testing.simulation import Fault, Simulation

PRESS = "agent/bridges/press-1"


def agent_ran(folder: Path, text: str, faults: list[Fault] | None = None, tell: tuple[str, Any] | None = None) -> None:
    """Leave what an agent would have left that ran this config for some minutes and was then killed."""
    data = folder / ".setpoint"
    data.mkdir()
    written(data, text, LAST_GOOD)
    simulation = Simulation(rehearsal_of(tree_in(data / LAST_GOOD)))
    simulation.come_up()
    simulation.arm(faults or ())
    simulation.advance(300)
    if tell:
        simulation.core.tell(tell[0], tell[1], why="maintenance")
        simulation.advance(320)
    store = SqliteStore(data / STORE)
    for path, documents in simulation.store.load().items():
        for kind, document in documents.items():
            store.put(path, kind, document.value, at=document.at)
    for path in simulation.core.family.table:
        for row in simulation.store.history(path):
            store.append(row)
    store.close()
    simulation.close()


def plan(folder: Path, text: str) -> dict[str, Any]:
    result = ran("plan", written(folder, text), "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    found: dict[str, Any] = json.loads(result.output)
    found["exit"] = result.exit_code
    return found


def moves(found: dict[str, Any], path: str) -> list[tuple[str, str]]:
    return [(move["source"], move["target"]) for move in found["moves"] if move["path"] == path]


def test_the_same_config_changes_nothing(tmp_path: Path) -> None:
    """Nothing would change, and that is said; exit code 0."""
    agent_ran(tmp_path, config())
    found = plan(tmp_path, config())
    assert found["moves"] == []
    assert not found["changes"]
    assert found["exit"] == 0
    assert "Nothing would change." in ran("plan", str(tmp_path / "config.yaml")).output


def test_stopping_a_bridge_is_planned_move_by_move(tmp_path: Path) -> None:
    """Only its own workers move, from the states in which they are, children before their parent."""
    agent_ran(tmp_path, config())
    found = plan(tmp_path, config(first="stopped"))
    assert moves(found, PRESS) == [("active", "stopping"), ("stopping", "stopped")]
    assert moves(found, f"{PRESS}/read") == [("active", "stopping"), ("stopping", "stopped")]
    assert {move["path"] for move in found["moves"]} == {PRESS, f"{PRESS}/read", f"{PRESS}/connection"}
    assert found["blocked"] == []
    assert found["exit"] == 0


def test_removing_a_bridge_stops_it_first(tmp_path: Path) -> None:
    """What is no longer named is stopped and removed, with its children."""
    agent_ran(tmp_path, config())
    found = plan(tmp_path, config(second=""))
    assert moves(found, "agent/bridges/press-2")[-1] == ("removing", "removed")
    assert moves(found, "agent/bridges/press-2/read")[0] == ("active", "stopping")
    assert moves(found, PRESS) == []


def test_without_an_agent_everything_comes_from_nothing(tmp_path: Path) -> None:
    """It says so, and every worker is made."""
    found = plan(tmp_path, config())
    assert found["from"].startswith("from nothing")
    assert moves(found, PRESS)[-1] == ("idle", "active")
    assert "device 10.0.0.5:502 answers (nobody has tried)" in found["assumed"]


def test_a_device_that_does_not_answer_now_blocks_what_needs_it(tmp_path: Path) -> None:
    """A bridge that was stopped cannot become active while its device is away: exit code 1, and why."""
    agent_ran(tmp_path, config(), [Fault(200, "device-down", "10.0.0.5:502", 1000)])
    found = plan(tmp_path, config(second="10.0.0.7"))
    assert "device 10.0.0.5:502 does not answer, as now" in found["assumed"]
    assert "device 10.0.0.7:502 answers (nobody has tried)" in found["assumed"]
    blocked = {row["path"]: row["why"] for row in found["blocked"]}
    assert "no answer from 10.0.0.5:502" in blocked[PRESS]
    assert "agent/bridges/press-2" not in blocked
    assert found["exit"] == 1


def test_steps_say_how_long_they_took_before(tmp_path: Path) -> None:
    """From the transitions that the agent has kept: of this worker, or else of others of its type."""
    agent_ran(tmp_path, config(), [Fault(150, "disable", PRESS, 20)])
    found = plan(tmp_path, config(first="stopped"))
    stopping = next(move for move in found["moves"] if move["path"] == f"{PRESS}/read" and move["source"] == "stopping")
    assert stopping["before"]["count"] == 1
    assert stopping["before"]["median"] == pytest.approx(0.2, abs=0.05)


def test_an_operators_word_still_counts(tmp_path: Path) -> None:
    """A disabled bridge stays stopped, whatever the new config says of its flows."""
    agent_ran(tmp_path, config(), tell=("agent/bridges/press-2", "disable"))
    found = plan(tmp_path, config(second="10.0.0.7"))
    assert moves(found, "agent/bridges/press-2") == []
    assert "bridges/press-2" in found["settings"]
