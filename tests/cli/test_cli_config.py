"""``setpoint config``: what a file says, one value of it changed, and back to what it said before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.cli.cli_shop import run_cli

from setpoint.cli.bridge import app as bridge
from setpoint.cli.config import app as config
from setpoint.cli.flow import app as flow
from setpoint.cli.init import init

Capsys = pytest.CaptureFixture[str]
TEXT = """\
agent: # here
  location: {0: acme}
historian:
  timescale: {host: h, password: hunter2}
dataFlow:
  - name: one
    desiredState: active
    dataFlowComponentConfig: &shared
      benthos:
        input: {generate: {mapping: "root.n = counter()"}}
        output: {drop: {}}
  - name: two
    desiredState: active
    dataFlowComponentConfig: *shared
"""

JS = """\
dataFlow:
  - name: js
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {generate: {mapping: "root.n = counter()"}}
        pipeline:
          processors:
            - nodered_js:
                code: |
                  return msg;
        output: {drop: {}}
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config in the current directory, and no agent that could be found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    return path


def test_get_prints_what_stands_there_and_of_a_secret_only_that_it_does(capsys: Capsys) -> None:
    """Values bare, the rest as it is written, through aliases; as JSON for programs."""
    for path, said in (
        ("agent.location.0", "acme"),
        ("dataFlow.one.desiredState", "active"),
        ("dataFlow[1].name", "two"),
        ("dataFlow.two.dataFlowComponentConfig.benthos.input.generate.mapping", "root.n = counter()"),
        ("historian.timescale.password", "••••"),
        ("historian.timescale", "{host: h, password: ••••}"),
        ("agent", "location: {0: acme}"),
    ):
        assert run_cli(capsys, "config", "get", path).out == f"{said}\n"
    whole = run_cli(capsys, "config", "get")
    assert whole.out == TEXT.replace("hunter2", "••••")
    as_json = json.loads(run_cli(capsys, "config", "get", "--json").out)
    assert as_json["historian"]["timescale"] == {"host": "h", "password": "••••"}
    missing = run_cli(capsys, "config", "get", "agent.nothing")
    assert (missing.code, missing.out) == (1, "")
    assert "there is no agent.nothing" in missing.err


def test_set_changes_one_line_and_keeps_what_was(capsys: Capsys, file: Path) -> None:
    """The same can be had back, and forth again."""
    ran = run_cli(capsys, "config", "set", "dataFlow.one.desiredState", "stopped")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "config.yaml: dataFlow.one.desiredState is set\n"
    changed = TEXT.replace("active", "stopped", 1)
    assert file.read_text() == changed
    assert json.loads(run_cli(capsys, "config", "backups", "--json").out)[0]["number"] == 1
    diff = run_cli(capsys, "config", "diff")
    assert "-    desiredState: active\n+    desiredState: stopped\n" in diff.out
    assert run_cli(capsys, "config", "restore").code == 0
    assert file.read_text() == TEXT
    assert run_cli(capsys, "config", "restore").code == 0
    assert file.read_text() == changed


def test_a_dry_run_shows_the_change_and_writes_nothing(capsys: Capsys, file: Path) -> None:
    """Not even a backup."""
    ran = run_cli(capsys, "config", "set", "agent.location.1", "site", "--dry-run")
    assert ran.code == 0
    assert "-  location: {0: acme}\n+  location: {0: acme, 1: site}\n" in ran.out
    assert file.read_text() == TEXT
    assert run_cli(capsys, "config", "backups").out == "there are no backups of config.yaml yet\n"
    as_json = json.loads(run_cli(capsys, "config", "set", "agent.location.1", "site", "--dry-run", "--json").out)
    assert (as_json["written"], as_json["backup"]) == (False, "")


def test_what_the_agent_would_refuse_is_not_written(capsys: Capsys, file: Path) -> None:
    """All problems are said, with their lines; the secret that is changed at the same time is not."""
    ran = run_cli(capsys, "config", "set", "dataFlow.one", "{name: one, desiredState: maybe}")
    assert ran.code == 1
    ran = run_cli(capsys, "config", "set", "dataFlow.one.desiredState", "maybe")
    assert ran.code == 1
    assert "error: config.yaml:7:" in ran.err
    assert "would have 1 error; nothing was written" in ran.err
    for path, value in (("historian.timescale.passwrd", "hunter3"), ("nonsense", "1")):
        ran = run_cli(capsys, "config", "set", path, value)
        assert (ran.code, "hunter" in ran.err + ran.out) == (1, False)
    assert file.read_text() == TEXT


def test_a_file_that_has_errors_already_says_so(capsys: Capsys, file: Path) -> None:
    """Its own errors are not those of the change."""
    file.write_text(TEXT.replace("host: h", "hst: h"))
    ran = run_cli(capsys, "config", "set", "agent.location.1", "site")
    assert ran.code == 1
    assert "has errors as it is" in ran.err
    assert run_cli(capsys, "config", "validate").code == 1
    assert run_cli(capsys, "config", "set", "dataFlow.one.desiredState", "stopped").code == 1


def test_a_shared_anchor_is_refused_with_the_names_of_its_users(capsys: Capsys, file: Path) -> None:
    """On either side of it."""
    path = "dataFlowComponentConfig.benthos.input.generate.interval"
    for name in ("one", "two"):
        ran = run_cli(capsys, "config", "set", f"dataFlow.{name}.{path}", "2s")
        assert ran.code == 1
        assert "dataFlow.two.dataFlowComponentConfig" in ran.err
    assert run_cli(capsys, "flow", "remove", "one").code == 1
    assert file.read_text() == TEXT


def test_unset_takes_a_key_away(capsys: Capsys, file: Path) -> None:
    """And what was set is gone without a trace."""
    assert run_cli(capsys, "config", "set", "agent.metricsPort", "9000").code == 0
    assert run_cli(capsys, "config", "unset", "agent.metricsPort").code == 0
    assert file.read_text() == TEXT
    assert run_cli(capsys, "config", "unset", "agent.metricsPort").code == 1


def test_values_are_yaml(capsys: Capsys, file: Path) -> None:
    """A number, a text in quotes; what is none is wrong usage."""
    assert run_cli(capsys, "config", "set", "agent.location.1", '"5"').code == 0
    assert '1: "5"' in file.read_text()
    assert run_cli(capsys, "config", "set", "agent.location.1", "--text", "6").code == 0
    assert '1: "6"' in file.read_text()
    assert run_cli(capsys, "config", "set", "agent.location.1", "[1").code == 2
    assert run_cli(capsys, "config", "set", "agent..x", "1").code == 1


def test_text_of_several_lines_stays_in_several_lines(capsys: Capsys, file: Path) -> None:
    """A script is not folded into one line, with or without --text."""
    file.write_text("agent: {location: {0: acme}}\n" + JS)
    path = "dataFlow.js.dataFlowComponentConfig.benthos.pipeline.processors.0.nodered_js.code"
    for options, script in ((), "msg.payload = 2;\nreturn msg;\n"), (("--text",), "if (true) {\n  return {a: 1};\n}\n"):
        assert run_cli(capsys, "config", "set", path, *options, script).code == 0
        assert run_cli(capsys, "config", "get", path).out == script
        assert "code: |\n" in file.read_text()


def test_validate_tells_what_check_tells(capsys: Capsys, file: Path) -> None:
    """Warnings as well; exit code 1 with an error."""
    ran = run_cli(capsys, "config", "validate")
    assert ran.code == 0
    assert "config.yaml: no errors" in ran.out
    file.write_text(TEXT + "bogus: 1\n")
    ran = run_cli(capsys, "config", "validate", "--json")
    assert ran.code == 1
    assert [problem["key"] for problem in json.loads(ran.out) if problem["severity"] == "error"] == ["bogus"]


def test_a_backup_can_be_made_listed_and_shown(capsys: Capsys, file: Path) -> None:
    """By its name as well as by its number; a secret that changed is shown to have changed."""
    name = run_cli(capsys, "config", "backup").out.strip()
    file.write_text(TEXT.replace("hunter2", "hunter3"))
    table = run_cli(capsys, "config", "backups").out
    assert name in table
    diff = run_cli(capsys, "config", "diff", name)
    assert (diff.code, "hunter" in diff.out, "(changed)" in diff.out) == (0, False, True)
    assert run_cli(capsys, "config", "restore", name, "--dry-run").code == 0
    assert run_cli(capsys, "config", "restore", "7").code == 1
    assert run_cli(capsys, "config", "restore", name).code == 0
    assert file.read_text() == TEXT


def test_without_a_file_it_is_said_which_ways_there_are(capsys: Capsys, file: Path) -> None:
    """None is made up; another is named by --file."""
    other = file.rename(file.with_name("other.yaml"))
    ran = run_cli(capsys, "config", "get", "agent")
    assert ran.code == 2
    assert "--file" in ran.err
    assert run_cli(capsys, "config", "get", "agent", "-f", str(other)).code == 0
    assert run_cli(capsys, "config", "get", "agent", "-f", "nowhere.yaml").code == 1


def test_wait_needs_an_agent_that_keeps_this_file(capsys: Capsys, file: Path) -> None:
    """Nothing is written where none answers."""
    ran = run_cli(capsys, "config", "set", "agent.location.1", "x", "--wait", "--url", "http://127.0.0.1:1")
    assert ran.code == 1
    assert "no agent answers" in ran.err
    assert file.read_text() == TEXT


def test_killed_in_the_middle_a_command_leaves_a_whole_file(file: Path) -> None:
    """The command itself, as a process, ended with SIGKILL at growing delays."""
    for delay in (0.3, 0.5, 0.7, 0.9, 1.1):
        command = [sys.executable, "-m", "setpoint.cli.main", "config", "set", "agent.location.1", f"site{delay}"]
        process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        text = file.read_text()
        assert text.startswith("agent: # here\n  location: {0: acme")
        assert text.endswith("dataFlowComponentConfig: *shared\n")


PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_is_right(capsys: Capsys, file: Path) -> None:
    """The file with references loads without an error."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        file.write_text(block)
        assert run_cli(capsys, "check", "config.yaml").code == 0


def test_the_page_names_commands_and_options_that_there_are() -> None:
    """Of ``setpoint config``, ``bridge``, ``flow`` and ``init``."""
    one = typer.Typer()
    one.command("init")(init)
    one.command("none")(lambda: None)
    groups = {name: typer.main.get_group(app) for name, app in (("bridge", bridge), ("flow", flow), ("config", config))}
    commands = {f"{name} {verb}": command for name, group in groups.items() for verb, command in group.commands.items()}
    commands |= {"init": typer.main.get_group(one).commands["init"]}
    options = {option for command in commands.values() for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) - {"--force"}
    assert named
    assert named <= options
    told = {f"{name} {verb}" for name, verb in re.findall(r"`?(?:setpoint )?\b(bridge|flow|config) ([a-z]+)\b", PAGE)}
    assert {name for name in commands if " " in name} <= told
