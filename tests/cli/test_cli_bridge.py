"""``setpoint bridge``: devices come and go by commands, and a running agent follows."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.cli_shop import run_cli

Capsys = pytest.CaptureFixture[str]
TEXT = "# mine\nagent:\n  location: {0: acme}\n"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config in the current directory, and no agent that could be found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    return path


def test_a_bridge_is_added_listed_and_removed(capsys: Capsys, file: Path) -> None:
    """The port is that of its kind of device; what was added goes without a trace."""
    ran = run_cli(
        capsys,
        "bridge",
        "add",
        "press-1",
        "--input",
        "modbus",
        "--target",
        "10.0.0.5",
        "--location",
        "1=hall",
        "--var",
        "A=b",
    )
    assert (ran.code, ran.out) == (0, "config.yaml: bridge press-1 added\n"), ran.err
    assert run_cli(capsys, "config", "validate").code == 0
    row = json.loads(run_cli(capsys, "bridge", "list", "--json").out)[0]
    assert (row["name"], row["device"], row["reads"], row["location"]) == (
        "press-1",
        "10.0.0.5:502",
        "modbus",
        "acme.hall",
    )
    table = run_cli(capsys, "bridge", "list").out
    assert "press-1" in table
    assert run_cli(capsys, "bridge", "remove", "press-1").code == 0
    assert file.read_text() == TEXT
    assert run_cli(capsys, "bridge", "list").out == "no bridges\n"


def test_what_it_reads_may_come_from_a_file(capsys: Capsys, tmp_path: Path) -> None:
    """An input, to which the rest is made, or a whole flow."""
    (tmp_path / "input.yaml").write_text("generate: {mapping: 'root = 1', interval: 1s}\n")
    (tmp_path / "flow.yaml").write_text("input: {generate: {mapping: 'root = 1'}}\noutput: {uns: {}}\n")
    (tmp_path / "bad.yaml").write_text("generate: [\n")
    for name in ("input", "flow"):
        assert (
            run_cli(capsys, "bridge", "add", name, "--input", f"{name}.yaml", "--target", "h", "--port", "1").code == 0
        )
    assert run_cli(capsys, "bridge", "add", "bad", "--input", "bad.yaml", "--target", "h", "--port", "1").code == 1
    assert run_cli(capsys, "bridge", "add", "no", "--input", "no.yaml", "--target", "h", "--port", "1").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--input", "modbsu", "--target", "h"], 2, "there are modbus"),
        (["--input", "modbus"], 1, "give --target and --port"),
        (["--target", "h", "--port", "1", "--var", "x"], 2, "--var IP=10.0.0.5"),
        (["--target", "h", "--port", "1", "--location", "area=2"], 2, "--location 2=area"),
        (["--target", "h", "--port", "1", "--user", "me"], 2, "--password-env"),
        (["--input", "modbus", "--target", "h", "--user", "me", "--password-env", "X"], 2, "leave them out"),
        (["--target", "h", "--port", "70000"], 2, "65535"),
        (["--template", "nope", "--target", "h"], 1, "there is no template 'nope'"),
        (["--target", "http://h/", "--port", "1"], 1, "is not a host"),
        (["--target", "h", "--port", "1", "--location", "1=a.b"], 1, "error: config.yaml"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    capsys: Capsys, file: Path, arguments: list[str], code: int, said: str
) -> None:
    """Usage by 2, the rest by 1, each with what to do."""
    ran = run_cli(capsys, "bridge", "add", "new", *arguments)
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert file.read_text() == TEXT


def test_a_password_is_named_by_its_variable_and_never_shown(
    capsys: Capsys, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is known here or not; the file gets the reference."""
    arguments = [
        "bridge",
        "add",
        "plc",
        "--input",
        "opcua",
        "--target",
        "h",
        "--user",
        "me",
        "--password-env",
        "PLC_PW",
    ]
    ran = run_cli(capsys, *arguments)
    assert ran.code == 0
    assert "PLC_PW is not set here; the agent needs it in its environment" in ran.err
    assert 'password: "${PLC_PW}"' in file.read_text()
    monkeypatch.setenv("PLC_PW", "hunter2-plc")
    for command in (
        ["bridge", "list", "--json"],
        ["config", "get"],
        ["config", "diff"],
        ["config", "validate", "--json"],
    ):
        ran = run_cli(capsys, *command)
        assert "hunter2" not in ran.out + ran.err
        assert ran.code == 0


def test_edit_changes_what_is_asked_for(capsys: Capsys, file: Path) -> None:
    """Address, state, name; without options in an editor."""
    run_cli(capsys, "bridge", "add", "a", "--input", "modbus", "--target", "h")
    before = file.read_text()
    ran = run_cli(
        capsys, "bridge", "edit", "a", "--target", "g", "--port", "503", "--state", "stopped", "--rename", "b"
    )
    assert ran.code == 0, ran.err
    after = file.read_text()
    expected = before.replace("name: a", "name: b", 1).replace('IP: "h"', 'IP: "g"').replace("IP: h", "IP: g")
    assert after == expected.replace('"502"', '"503"').replace("active", "stopped", 1)


def test_edit_without_options_opens_an_editor(capsys: Capsys, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the lines of the bridge alone; what cannot be applied is kept for another try."""
    run_cli(capsys, "bridge", "add", "a", "--input", "modbus", "--target", "h")
    before = file.read_text()
    monkeypatch.setenv("EDITOR", "sed -i s/1s/5s/")
    assert run_cli(capsys, "bridge", "edit", "a").code == 0
    assert file.read_text() == before.replace("1s", "5s")
    monkeypatch.setenv("EDITOR", "sed -i s/timeBetween/timeBetwen/")
    ran = run_cli(capsys, "bridge", "edit", "a")
    assert ran.code == 1
    draft = Path(ran.err.rpartition(" in ")[2].strip())
    assert "timeBetwenReads" in draft.read_text()
    draft.unlink()
    for editor, said in (
        ("false", "exit code 1"),
        ("/nowhere/ed", "cannot be run"),
        ("rm", "cannot be read"),
        ("true", ""),
    ):
        monkeypatch.setenv("EDITOR", editor)
        ran = run_cli(capsys, "bridge", "edit", "a")
        assert said in ran.err
        assert (ran.code == 0) is (editor == "true")
        assert "what you typed" not in ran.err
    monkeypatch.delenv("EDITOR")
    monkeypatch.delenv("VISUAL", raising=False)
    assert run_cli(capsys, "bridge", "edit", "a").code == 2


def test_somebody_elses_change_during_an_edit_is_not_written_over(
    capsys: Capsys, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file stays as the other one left it, and what was typed is not lost."""
    run_cli(capsys, "bridge", "add", "a", "--input", "modbus", "--target", "h")
    script = tmp_path / "editor"
    script.write_text(f"#!/bin/sh\necho '# theirs' >> {file}\nsed -i s/1s/5s/ \"$1\"\n")
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    ran = run_cli(capsys, "bridge", "edit", "a")
    assert ran.code == 1
    assert "changed meanwhile" in ran.err
    assert file.read_text().endswith("# theirs\n")
    assert "5s" not in file.read_text()
    Path(ran.err.rpartition(" in ")[2].strip()).unlink()


def test_a_root_and_its_children(capsys: Capsys, file: Path) -> None:
    """A template of its own, a child of it, and who keeps it from going."""
    assert (
        run_cli(capsys, "bridge", "add", "press", "--input", "modbus", "--target", "h", "--template", "press").code == 0
    )
    assert (
        run_cli(capsys, "bridge", "add", "press-2", "--target", "g", "--template", "press", "--port", "503").code == 0
    )
    rows = json.loads(run_cli(capsys, "bridge", "list", "--json").out)
    assert [(row["name"], row["device"], row["template"]) for row in rows] == [
        ("press", "h:502", "press"),
        ("press-2", "g:503", "press"),
    ]
    ran = run_cli(capsys, "bridge", "remove", "press")
    assert (ran.code, "press-2" in ran.err) == (1, True)
    assert run_cli(capsys, "bridge", "edit", "press", "--rename", "stamp").code == 0
    assert [row["template"] for row in json.loads(run_cli(capsys, "bridge", "list", "--json").out)] == ["stamp"] * 2
    for name in ("press-2", "stamp"):
        assert run_cli(capsys, "bridge", "remove", name).code == 0
    assert file.read_text() == TEXT


def test_a_bridge_with_an_error_is_listed_with_it(capsys: Capsys, file: Path) -> None:
    """And the others as they are."""
    run_cli(capsys, "bridge", "add", "a", "--input", "modbus", "--target", "h")
    run_cli(capsys, "bridge", "add", "b", "--input", "modbus", "--target", "h")
    file.write_text(file.read_text().replace("controller", "controler", 1))
    ran = run_cli(capsys, "bridge", "list", "--json")
    assert ran.code == 1
    rows = json.loads(ran.out)
    assert [bool(row["errors"]) for row in rows] == [True, False]


@pytest.fixture
def agent(file: Path) -> Iterator[str]:
    """An agent that keeps the file, in a process of its own."""
    command = [sys.executable, "-m", "setpoint.cli.main", "up", str(file), "--port", "0"]
    process = subprocess.Popen(
        command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.stdout.readline().split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_wait_follows_the_agent_until_it_is_so_or_says_why_not(capsys: Capsys, agent: str) -> None:
    """A device that answers, one that does not, a stop, and a removal."""
    with socket.create_server(("127.0.0.1", 0)) as device:
        port = str(device.getsockname()[1])
        add = [
            "bridge",
            "add",
            "a",
            "--target",
            "127.0.0.1",
            "--port",
            port,
            "--wait",
            "--timeout",
            "3",
            "--url",
            agent,
        ]
        ran = run_cli(capsys, *add)
        assert ran.code == 1  # there is a device, and nothing that reads it
        assert "written, but agent/bridges/a is starting" in ran.err
    ran = run_cli(capsys, "bridge", "edit", "a", "--state", "stopped", "--wait", "--timeout", "10", "--url", agent)
    assert (ran.code, "agent/bridges/a: stopped" in ran.out) == (0, True), ran.err
    ran = run_cli(capsys, "bridge", "remove", "a", "--wait", "--timeout", "10", "--url", agent)
    assert (ran.code, "agent/bridges/a: gone" in ran.out) == (0, True), ran.err
    ran = run_cli(capsys, "config", "set", "agent.location.1", "x", "--wait", "--url", agent)
    assert (ran.code, "in force" in ran.out) == (0, True), ran.err
    other = Path("other.yaml")
    other.write_text(TEXT)
    ran = run_cli(capsys, "config", "set", "agent.location.1", "x", "--wait", "--url", agent, "-f", str(other))
    assert (ran.code, "not other.yaml; nothing was written" in ran.err) == (1, True)
    assert other.read_text() == TEXT
