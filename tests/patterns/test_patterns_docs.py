"""The page on patterns: each command does what the page shows, in the folder that its section names."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.patterns.patterns_folder import PATTERNS, enter
from typer.testing import CliRunner

from setpoint.cli.main import app
from setpoint.data.functions.registry import Functions

PAGE = (PATTERNS.parents[1] / "docs" / "patterns.md").read_text(encoding="utf-8")
SECTIONS = {
    found[1]: section
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)
    if (found := re.search(r"In `examples/patterns/(\w+)`", section))
}
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTS = "   # exit code 1"
Shown = tuple[str, int, list[str]]
"""A command, its exit code, and lines of what it prints."""


def commands(section: str) -> list[Shown]:
    found: list[Shown] = []
    for block in CONSOLE.findall(section):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:].removesuffix(EXPECTS), int(line.endswith(EXPECTS)), []))
            else:
                found[-1][2].append(line)
    return found


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Begins what a line ending in & begins, on a free port that the machines are told."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(words: list[str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for name in ("SHOP", "AGENCY", "BANK"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        process = subprocess.Popen([sys.executable, words[1], str(port), *words[3:]], stdout=subprocess.PIPE)
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://")

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_command_does_what_the_page_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], services: Any
) -> None:
    """In order, in a copy of the folder: the exit code, and each line that is shown (… stands for anything)."""
    enter(name, tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PAUSE", "0.001")
    for command, code, shown in commands(SECTIONS[name]):
        words = shlex.split(command)
        if words[-1] == "&":
            services(words[:-1])
            continue
        returned, printed = done(words, monkeypatch, capsys)
        assert returned == code, f"{command}\n{printed}"
        for line in shown:
            pattern = ".*".join(map(re.escape, line.split("…")))
            assert re.search(f"^{pattern}$", printed, re.MULTILINE), (
                f"{command}\nis to print\n{line}\nand printed\n{printed}"
            )


def done(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command, and what it printed."""
    if words[0] == "setpoint":
        result = CliRunner().invoke(app, words[1:])
        return result.exit_code, result.output
    assert words[0] == "python"
    monkeypatch.setattr(sys, "argv", words[2:] if words[1] == "-c" else words[1:])
    capsys.readouterr()
    try:
        if words[1] == "-c":
            exec(words[2], {})
        else:
            runpy.run_path(words[1], run_name="__main__")
    except SystemExit as ended:
        return 1 if isinstance(ended.code, str) else int(ended.code or 0), f"{capsys.readouterr().out}{ended.code}"
    return 0, capsys.readouterr().out


def test_all_folders_are_on_the_page_and_all_commands_are_found() -> None:
    """No example without a section, no command outside of one."""
    assert sorted(SECTIONS) == sorted(path.name for path in PATTERNS.iterdir() if path.is_dir())
    assert sum(len(commands(section)) for section in SECTIONS.values()) == len(re.findall(r"^\$ ", PAGE, re.MULTILINE))
    assert len(commands(SECTIONS["etl"])) == 6


def test_the_guards_and_links_it_names_are_there() -> None:
    """Functions, and files beside the page."""
    for name in ("circuit_breaker", "rate_limit", "bulkhead", "together", "each", "extract"):
        assert f"`{name}`" in PAGE
        assert name in Functions()
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (PATTERNS.parents[1] / "docs" / target).exists(), target


def test_no_example_leaves_something_behind() -> None:
    """Only what is meant to be read is in the folders: what a run makes goes elsewhere in the tests."""
    kinds = {".yaml", ".py", ".sql", ".csv", ".jsonl", ".gz", ".log"}
    found = [Path(root, file) for root, _, files in os.walk(PATTERNS) if "__pycache__" not in root for file in files]
    assert {path.suffix for path in found} == kinds
