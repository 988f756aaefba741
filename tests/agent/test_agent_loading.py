"""Which config is in force: a file with an error changes nothing, is never written to, and shows what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from setpoint.agent.config import Configuration, read_config
from setpoint.agent.loading import Loader

GOOD = """\
agent:
  location: {0: acme}
dataFlow:
  - name: first
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {generate: {interval: 1s, mapping: 'root = 1'}}
        output: {drop: {}}
"""
TWO = GOOD + GOOD[GOOD.index("  - name") :].replace("first", "two")

FAULTS = {
    "syntax": GOOD + "  - name: [unclosed\n",
    "a tab": GOOD.replace("  - name", "\t- name"),
    "an unknown key": GOOD.replace("desiredState", "desiredStat"),
    "an unknown section": GOOD + "dataflows: []\n",
    "a bad value": GOOD.replace("active", "running-ish"),
    "nothing": "",
    "only comments": "# nothing here\n",
    "not a mapping": "- 1\n- 2\n",
    "two of one name": TWO.replace("two", "first"),
    "an unknown template": GOOD
    + "protocolConverter:\n  - name: b\n    protocolConverterServiceConfig: {templateRef: nobody}\n",
}


class Files:
    """A config file with a loader on it. Counts time in seconds from 100."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.yaml"
        self.last_good = folder / "data" / "last-good.yaml"
        self.last_good.parent.mkdir(exist_ok=True)
        self.seconds = 100.0
        self.pauses = 0
        self.while_paused: Callable[[], object] = lambda: None
        self.loader = self.restart()

    def restart(self) -> Loader:
        self.loader = Loader(
            self.file, last_good=self.last_good, check=self._check, wall=lambda: self.seconds, pause=self._wait
        )
        return self.loader

    def _wait(self, seconds: float) -> None:
        self.pauses += 1
        self.while_paused()

    def _check(self, text: str) -> Configuration:
        return read_config(text, source="config.yaml", env={})

    def names(self) -> list[str]:
        return [flow.name for flow in self.loader.in_force.flows] if self.loader.in_force else []


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_good_file_is_in_force_and_said_so(files: Files) -> None:
    """What runs is what the file says."""
    files.file.write_text(GOOD)
    assert files.loader.load()
    assert files.names() == ["first"]
    status = files.loader.status
    assert (status.ok, status.applied, status.applied_at, status.problems) == (True, "this file", 100.0, [])


def test_the_same_text_again_is_nothing_new(files: Files) -> None:
    """Touching a file does not restart anything."""
    files.file.write_text(GOOD)
    assert files.loader.load()
    files.file.touch()
    assert not files.loader.load()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_edit_changes_nothing_that_runs(files: Files, fault: str) -> None:
    """Whatever the mistake: the good config stays in force, the file stays as it is, the status has a line and a text."""
    files.file.write_text(GOOD)
    files.loader.load()
    files.file.write_text(FAULTS[fault])
    before = files.file.read_bytes()
    assert not files.loader.load()
    assert files.names() == ["first"]
    assert files.file.read_bytes() == before
    status = files.loader.status
    assert not status.ok
    assert status.applied == "this file"
    errors = [problem for problem in status.problems if problem.severity == "error"]
    assert errors
    assert all(problem.line >= 1 and problem.message for problem in errors)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_restart_on_a_bad_file_runs_the_last_good_one(files: Files, fault: str) -> None:
    """A crash or reboot while the file is bad is no reason to stop the plant."""
    files.file.write_text(TWO)
    files.loader.load()
    files.file.write_text(FAULTS[fault])
    loader = files.restart()
    assert loader.load()
    assert files.names() == ["first", "two"]
    assert (loader.status.ok, loader.status.applied) == (False, "the last good file")
    assert loader.status.problems


def test_a_first_start_on_a_file_with_one_bad_item_runs_its_siblings(files: Files) -> None:
    """One bad item leaves the others alone, and is named with its line."""
    files.file.write_text(TWO.replace("name: two\n    desiredState: active", "name: two\n    desiredState: sometimes"))
    assert files.loader.load()
    assert files.names() == ["first"]
    status = files.loader.status
    assert (status.ok, status.applied) == (False, "the good items of this file")
    assert [(problem.item, problem.line) for problem in status.problems] == [("two", 11)]


def test_a_first_start_without_a_file_runs_nothing_and_waits(files: Files) -> None:
    """The status says what is missing; the file is taken when it comes."""
    assert not files.loader.load()
    assert files.loader.status.applied == "nothing"
    assert "does not exist" in files.loader.status.problems[0].message
    files.file.write_text(GOOD)
    assert files.loader.load()


def test_a_file_that_disappears_changes_nothing(files: Files) -> None:
    """Deleting the file is not a wish to stop everything."""
    files.file.write_text(GOOD)
    files.loader.load()
    files.file.unlink()
    assert not files.loader.load()
    assert files.names() == ["first"]
    assert not files.loader.status.ok
    files.file.write_text(GOOD)
    files.loader.load()
    assert files.loader.status.ok


def test_a_file_that_is_repaired_is_in_force_again(files: Files) -> None:
    """Also when it is repaired to what it was before."""
    files.file.write_text(GOOD)
    files.loader.load()
    files.file.write_text(FAULTS["syntax"])
    files.loader.load()
    files.file.write_text(GOOD)
    files.loader.load()
    assert files.loader.status.ok


def test_text_that_is_not_utf8_is_a_problem_of_the_file(files: Files) -> None:
    """Binary rubbish is named as such."""
    files.file.write_bytes(b"\xff\xfe\x00")
    assert not files.loader.load()
    assert "not UTF-8" in files.loader.status.problems[0].message


def test_a_file_that_is_still_being_written_is_not_believed(files: Files) -> None:
    """What looks like a removal must stay for a moment; the rest of the file arrives and nothing is removed."""
    files.file.write_text(TWO)
    files.loader.load()
    files.file.write_text(GOOD)
    files.while_paused = lambda: files.file.write_text(TWO + "# done\n")
    files.loader.load()
    assert files.names() == ["first", "two"]
    assert files.loader.status.ok


def test_a_removal_that_stays_is_done(files: Files) -> None:
    """After one look more."""
    files.file.write_text(TWO)
    files.loader.load()
    files.file.write_text(GOOD)
    assert files.loader.load()
    assert (files.names(), files.pauses) == (["first"], 1)


def test_what_is_no_regular_file_is_refused_at_once(files: Files) -> None:
    """A pipe in the file's place does not hang the reader, and a file in its place is read again."""
    files.file.write_text(GOOD)
    files.loader.load()
    files.file.unlink()
    os.mkfifo(files.file)
    assert not files.loader.load()
    assert "not a regular file" in files.loader.status.problems[0].message
    files.file.unlink()
    files.file.write_text(GOOD)
    files.loader.load()
    assert files.loader.status.ok
