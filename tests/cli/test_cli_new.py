"""``setpoint new``: what it writes runs and passes its own tests; what it must not write, it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from setpoint.cli.new import Kind, new
from setpoint.cli.trouble import USAGE, Trouble


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_it_writes_runs_and_passes_its_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both for real: a line for each transition until Ctrl-C, and the test by pytest."""
    new(Kind.worker, "press_line")
    said = capsys.readouterr().out
    assert "wrote press_line.py and test_press_line.py" in said
    assert "python press_line.py" in said
    assert (
        "class PressLine(Worker[PressLineSpec, PressLineSpec, PressLineSeen])"
        in (tmp_path / "press_line.py").read_text()
    )

    with subprocess.Popen([sys.executable, "press_line.py"], stdout=subprocess.PIPE, text=True) as running:
        tests = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_press_line.py"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=20)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "3 passed" in tests.stdout
    assert running.returncode == 0
    moves = [line.split("  ")[2].strip() for line in out.splitlines() if "→" in line]
    assert "starting → running" in out
    assert "stopping → stopped" in out.splitlines()[-1], moves


def test_the_files_are_in_shape(tmp_path: Path) -> None:
    """Formatted, and without a fault that a linter finds."""
    new(Kind.worker, "valve")
    for command in (["check", "--select", "E,F,W,UP,B,PT"], ["format", "--check"]):
        line = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", "."]
        ran = subprocess.run(line, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("present", ["press.py", "test_press.py"])
def test_nothing_is_overwritten(present: str, tmp_path: Path) -> None:
    """Neither of the two, and then the other is not written either; a link that leads nowhere counts as there."""
    (tmp_path / present).write_text("mine")
    with pytest.raises(Trouble, match=f"{present} is there already") as raised:
        new(Kind.worker, "press")
    assert "nothing was written" in raised.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_text() == "mine"
    (tmp_path / present).unlink()
    (tmp_path / present).symlink_to(tmp_path / "nowhere")
    with pytest.raises(Trouble, match="is there already"):
        new(Kind.worker, "press")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("PressLine", "try press_line"),
        ("press-line", "try press_line"),
        ("2press", "e.g. press_line"),
        ("", "e.g. press_line"),
        ("../press", "try press"),
        ("press\n", "try press"),
        ("prøve", "e.g."),
        ("x" * 100, "e.g. press_line"),
        ("class", "try class_worker"),
        ("random", "try random_worker"),
        ("pydantic", "try pydantic_worker"),
    ],
)
def test_names_that_would_not_do_are_refused_with_one_that_would(name: str, remedy: str, tmp_path: Path) -> None:
    """Nothing is written, and the exit code says wrong usage."""
    with pytest.raises(Trouble) as raised:
        new(Kind.worker, name)
    assert raised.value.code == USAGE
    assert remedy in raised.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    """With what to do, and without a traceback."""
    tmp_path.chmod(0o555)
    with pytest.raises(Trouble, match="cannot be written: Permission denied"):
        new(Kind.worker, "press")
