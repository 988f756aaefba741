"""``setpoint check`` of a system of machines: its joint states are explored."""

import json
from pathlib import Path

import pytest
from tests.cli.cli_shop import run_cli

Capsys = pytest.CaptureFixture[str]

DOOR = """
name: door
states: {closed: stopped, open: healthy}
arcs:
  - {event: open, from: closed, to: open, when: "WHEN"}
  - {event: close, from: open, to: closed}
"""
LOCK = """
machines: {door: door.yaml}
instances:
  inner: {machine: door, sees: {other: outer}}
  outer: {machine: door, sees: {other: inner}}
never: {both open: peer('inner').healthy and peer('outer').healthy}
"""


def lock(folder: Path, when: str) -> str:
    (folder / "door.yaml").write_text(DOOR.replace("WHEN", when))
    (folder / "lock.yaml").write_text(LOCK)
    return str(folder / "lock.yaml")


def test_a_sound_system_passes_and_says_how_much_was_seen(capsys: Capsys, tmp_path: Path) -> None:
    """Two doors of which one is always closed: three joint states, all seen."""
    ran = run_cli(capsys, "check", lock(tmp_path, "peer('other').stopped"))
    assert ran.code == 0, ran.out
    assert " ".join(ran.out.split()).endswith("system, 0 errors, 0 other remarks; 3 joint states, exact")


def test_a_forbidden_joint_state_fails_with_its_witness(capsys: Capsys, tmp_path: Path) -> None:
    """The place is the joint state, the hint the shortest way to it."""
    ran = run_cli(capsys, "check", "--json", lock(tmp_path, "always"))
    (fault,) = json.loads(ran.out)
    assert ran.code == 1
    assert (fault["severity"], fault["place"]) == ("error", "inner=open, outer=open")
    assert fault["hint"] in ("after inner.open → outer.open", "after outer.open → inner.open")


def test_a_search_that_was_cut_short_is_no_pass(capsys: Capsys, tmp_path: Path) -> None:
    """What was not looked at is not called sound."""
    ran = run_cli(capsys, "check", "--limit", "1", lock(tmp_path, "peer('other').stopped"))
    assert ran.code == 1
    assert "not everything was looked at" in " ".join(ran.out.split())


def test_faults_of_the_file_and_of_machines_it_names_are_listed(capsys: Capsys, tmp_path: Path) -> None:
    """A machine file that is not there, and a question about nobody."""
    file = lock(tmp_path, "peer('oter').stopped")
    assert "asks about 'oter', which is no instance" in " ".join(run_cli(capsys, "check", file).out.split())
    (tmp_path / "door.yaml").unlink()
    ran = run_cli(capsys, "check", file)
    assert ran.code == 1
    assert "cannot be read" in " ".join(ran.out.split())
