"""``setpoint simulate``: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import shlex
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.simulation.simulation_cli import config, ran, written
from tests.simulation.simulation_plant import World, plant

from setpoint.cli.trouble import Trouble
from setpoint.control import Monitor
from setpoint.control.registry import ENTRY_POINTS

broken = plant(1, world=lambda: World(obeys_stop=False))
"""A scene whose workers never stop, for `setpoint simulate MODULE:FUNCTION`."""
BROKEN = "tests.simulation.test_simulation_cli:broken"


def test_a_run_without_a_violation_says_so(tmp_path: Path) -> None:
    """A verdict with how much was checked, after a line for each worker; exit code 0."""
    file = written(tmp_path, config())
    result = ran("simulate", file, "--hours", "0.1", "--faults", "device-down,flow-crash", "--every", "60")
    assert result.exit_code == 0, result.output
    assert "No law broken in" in result.output
    assert "agent/bridges/press-1" in result.output


def test_the_timeline_tells_faults_and_moves_in_order(tmp_path: Path) -> None:
    """Who moved when and why, and what befell the plant."""
    result = ran("simulate", written(tmp_path, config()), "--fault", "device-down@50+20:10.0.0.5:502*0.5", "--timeline")
    lines = result.output.splitlines()
    begins = next(index for index, line in enumerate(lines) if "! device-down begins: 10.0.0.5:502" in line)
    moves = next(index for index, line in enumerate(lines) if "→ degraded_connection" in line)
    heals = next(index for index, line in enumerate(lines) if "! device-down heals" in line)
    assert begins < moves < heals
    assert lines[begins].startswith("00:00:50.00")
    assert [line[:11] for line in lines[:-1]] == sorted(line[:11] for line in lines[:-1])


def test_a_violation_ends_with_1_and_the_command_that_repeats_it() -> None:
    """The law, the worker, the moves before, and a command that finds the same."""
    result = ran("simulate", BROKEN, "--hours", "0.05", "--faults", "push-burst", "--every", "30")
    assert result.exit_code == 1
    assert "Broken: clean-exit" in result.output
    command = next(line for line in result.output.splitlines() if line.startswith("Repeat it with: "))
    again = ran(*shlex.split(command.removeprefix("Repeat it with: setpoint ")))
    assert again.exit_code == 1
    assert "Broken: clean-exit" in again.output


def test_seeds_are_tried_until_one_breaks_a_law() -> None:
    """--until-violation ends with the first."""
    result = ran("simulate", BROKEN, "--hours", "0.01", "--faults", "none", "--until-violation", "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["violation"]["law"] == "clean-exit"


def test_programs_get_everything(tmp_path: Path) -> None:
    """--json has the verdict, the faults in the form in which they can be given, the workers and every move."""
    result = ran(
        "simulate", written(tmp_path, config()), "--hours", "0.05", "--faults", "hang", "--every", "30", "--json"
    )
    found = json.loads(result.output)
    assert found["violation"] is None
    assert all(text.startswith(("observe-hangs@", "act-hangs@")) for text in found["faults"])
    assert {"at", "path", "source", "target", "event", "reason", "phase"} <= set(found["moves"][0])
    assert found["observations"] > 100


def test_the_kinds_of_faults_are_listed() -> None:
    """With the group by which they can be named together."""
    output = ran("simulate", "--list-faults").output
    assert "world      device-down" in output
    assert "agent      clock-jump" in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--faults", "devcie-down"], "did you mean|there is no kind of fault 'devcie-down'"),
        (["--fault", "hang at noon"], "KIND@BEGIN"),
        (["--fault", "haunting@20+5:agent*0.5"], "no kind of fault"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_sentence(tmp_path: Path, arguments: list[str], says: str) -> None:
    """A misspelt kind, a fault that is none."""
    result = ran("simulate", written(tmp_path, config()), "--hours", "0.01", *arguments)
    assert isinstance(result.exception, Trouble)
    with pytest.raises(Trouble, match=says):
        raise result.exception


def test_a_config_with_an_error_is_not_simulated(tmp_path: Path) -> None:
    """What would not be in force cannot be rehearsed; the error is the first that `setpoint check` finds."""
    result = ran("simulate", written(tmp_path, config() + "\nprotocolConvertr: []\n"))
    assert isinstance(result.exception, Trouble)
    assert "protocolConvertr" in result.exception.error or "setpoint check" in result.exception.remedy
    missing = ran("simulate", str(tmp_path / "nowhere.yaml"))
    assert isinstance(missing.exception, Trouble)
    assert "cannot be read" in missing.exception.error


class Prober(Monitor):
    "Looks at a real socket."

    def __init__(self) -> None:
        super().__init__(self.look, interval=1.0, timeout=2.0)

    async def look(self, spec: object) -> bool:
        await asyncio.open_connection("127.0.0.1", 1)
        return True


class Stander(Prober):
    "Stands in for it."

    async def look(self, spec: object) -> bool:
        return True


WITH_A_PRESS = """
agent:
  location:
    0: acme
workers:
  - name: press
    type: press
    spec: {}
"""


def test_a_worker_of_your_own_that_does_real_io_needs_a_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one the command says so; with one the config runs."""
    installed = [EntryPoint("press", f"{__name__}:Prober", ENTRY_POINTS)]
    monkeypatch.setattr("setpoint.control.registry.entry_points", lambda group: installed)
    file = written(tmp_path, WITH_A_PRESS)
    without = ran("simulate", file, "--hours", "0.01")
    assert isinstance(without.exception, Trouble)
    assert "stand-in" in without.exception.error
    given = ("--stand-in", "press=tests.simulation.test_simulation_cli:Stander")
    assert ran("simulate", file, "--hours", "0.01", *given).exit_code == 0
    assert ran("plan", file, *given).exit_code == 0
