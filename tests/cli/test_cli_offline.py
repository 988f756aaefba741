"""Commands that need no agent: machines, drawings, checks, help and version."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.cli.cli_shop import run_cli

from setpoint.cli import demo
from setpoint.cli.connect import RunningAgent, agent_url, forget_running, note_running, running_agent
from setpoint.cli.trouble import Trouble

Capsys = pytest.CaptureFixture[str]

MACHINE = {
    "name": "pump",
    "states": [{"name": "off", "phase": "stopped"}, {"name": "on", "phase": "healthy"}],
    "arcs": [
        {"event": "start", "source": "off", "target": "on", "when": "observed.wet"},
        {"event": "stop", "source": "on", "target": "off", "when": "not observed.wet"},
    ],
}
CONFIG = """\
agent:
  location:
    0: acme
dataFlow:
  - name: clock
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input:
          generate: {interval: 1s, mapping: 'root = "tick"'}
        output:
          drop: {}
"""


def test_machines_lists_all_and_shows_one(capsys: Capsys) -> None:
    """Without a name every machine in a line; with one, every way between its states."""
    ran = run_cli(capsys, "machines")
    assert {"bridge", "connection", "redpanda", "lifecycle"} <= {line.split()[0] for line in ran.out.splitlines()}
    ran = run_cli(capsys, "machines", "connection")
    assert "stopped (first)" in ran.out


def test_machines_json_has_the_agreed_shape(capsys: Capsys) -> None:
    """{name, initial, states: [{name, phase}], arcs: [{event, source, target, when}]}."""
    machine = json.loads(run_cli(capsys, "machines", "bridge", "--format", "json").out)
    assert machine["name"] == "bridge"
    assert machine["initial"] == "stopped"
    assert all({"name", "phase"} <= set(state) for state in machine["states"])
    assert all({"event", "source", "target", "when"} <= set(arc) for arc in machine["arcs"])


@pytest.mark.parametrize("format", ["mermaid", "dot", "markdown", "svg", "table"])
def test_every_format_shows_every_state(capsys: Capsys, format: str) -> None:
    """No state is lost in any form."""
    out = run_cli(capsys, "machines", "connection", "--format", format).out
    for state in ("stopped", "starting", "up", "down", "degraded", "stopping"):
        assert state in out


def test_an_unknown_machine_names_the_nearest(capsys: Capsys) -> None:
    """A typo is answered with what was meant."""
    ran = run_cli(capsys, "machines", "conection")
    assert ran.code == 1
    assert "did you mean 'connection'?" in ran.err


def test_draw_takes_a_file_and_its_format_from_the_name_of_the_output(capsys: Capsys, tmp_path: Path) -> None:
    """A machine file is drawn; ``--output x.svg`` is an SVG without saying so."""
    file, svg = tmp_path / "pump.yaml", tmp_path / "pump.svg"
    file.write_text(yaml.safe_dump(MACHINE))
    assert run_cli(capsys, "draw", str(file), "--output", str(svg), "--at", "on").code == 0
    assert "<svg" in svg.read_text()
    assert "stateDiagram" in run_cli(capsys, "draw", str(file)).out


def test_draw_refuses_what_it_cannot_do_in_one_sentence(capsys: Capsys, tmp_path: Path) -> None:
    """An unknown state, a broken file and a place that cannot be written are named."""
    broken = tmp_path / "broken.json"
    broken.write_text('{"states": []}')
    ran = run_cli(capsys, "draw", "bridge", "--at", "nowhere")
    assert (ran.code, "starting_connection" in ran.err) == (2, True)
    assert run_cli(capsys, "draw", str(broken)).code == 1
    ran = run_cli(capsys, "draw", "bridge", "--output", str(tmp_path / "no" / "such" / "x.svg"))
    assert ran.code == 1
    assert "cannot be written" in ran.err


def test_check_tells_machines_from_configs_by_their_content(capsys: Capsys, tmp_path: Path) -> None:
    """The same command takes both; a right file ends with 0."""
    machine, config = tmp_path / "a.json", tmp_path / "b.yaml"
    machine.write_text(json.dumps(MACHINE))
    config.write_text(CONFIG)
    for file, kind in ((machine, "machine"), (config, "config")):
        ran = run_cli(capsys, "check", str(file))
        assert ran.code == 0, ran.out
        assert f"{kind}, 0 errors" in ran.out


def test_check_names_the_place_of_every_error_in_a_config(capsys: Capsys, tmp_path: Path) -> None:
    """file:line:col: key: message; hint, for what the reader knows and for what only the flow's parts know."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.replace("generate:", "genrate:").replace("desiredState", "desierdState"))
    ran = run_cli(capsys, "check", str(file))
    assert ran.code == 1
    assert f"{file}:6:5: " in ran.out
    assert "desiredState" in ran.out
    file.write_text(CONFIG.replace("generate:", "genrate:"))
    ran = run_cli(capsys, "check", str(file))
    assert ran.code == 1
    assert f"{file}:10:" in ran.out
    assert "generate" in ran.out
    faults = json.loads(run_cli(capsys, "check", "--json", str(file)).out)
    assert faults[0]["line"] == 10
    assert {"file", "line", "column", "place", "message", "hint", "severity"} == set(faults[0])


def test_check_says_what_a_machine_for_records_needs_beside_its_file(capsys: Capsys, tmp_path: Path) -> None:
    """Names of functions that are not built in, with what they may be mistyped of; and trust. Nothing where the file has it all."""
    file = tmp_path / "m.yaml"
    text = "name: m\nstates: {{a: {{pre_validators: [{{name: {}, params: {{fields: [x]}}}}], transforms: [{}], final: true}}}}\n"
    for check, change, said in (
        ("required_fields", "{set: {x: x + 1}}", "0 other remarks"),
        ("required_field", "price", "needs from its program: price, required_field (did you mean required_fields?)"),
        ("required_fields", "'shop:price'", "needs --trust"),
        ("required_fields", "{name: each, params: {of: 'shop:price', field: x}}", "needs --trust"),
    ):
        file.write_text(text.format(check, change))
        shown = run_cli(capsys, "check", str(file))
        assert shown.code == 0
        assert shown.out.rstrip().endswith(said)


@pytest.mark.parametrize("text", ["a: [", "\t", "", "- 1", "{", "states: {a: [", "&a [*a]", "x" * 100_000])
def test_check_survives_any_file(capsys: Capsys, tmp_path: Path, text: str) -> None:
    """A file that is neither is an error that says where, never a traceback."""
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    ran = run_cli(capsys, "check", str(file))
    assert ran.code == 1
    assert "error: " in ran.out


def test_check_lists_all_faults_of_a_machine(capsys: Capsys, tmp_path: Path) -> None:
    """Every fault of the file, and what the checker finds in a machine that loads."""
    file = tmp_path / "pump.yaml"
    file.write_text(yaml.safe_dump({**MACHINE, "initial": "nowhere", "colour": "red"}))
    ran = run_cli(capsys, "check", str(file))
    assert ran.code == 1
    assert "nowhere" in ran.out
    assert "colour" in ran.out
    trap = {**MACHINE, "states": [*MACHINE["states"], {"name": "island", "phase": "healthy"}]}
    file.write_text(yaml.safe_dump(trap))
    ran = run_cli(capsys, "check", str(file))
    assert "island" in ran.out
    assert "unreachable" in ran.out


def test_files_that_cannot_be_read_are_one_sentence(capsys: Capsys, tmp_path: Path) -> None:
    """A missing file, a directory and bytes that are no text."""
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for name in (str(tmp_path / "missing"), str(tmp_path), str(binary)):
        ran = run_cli(capsys, "check", name)
        assert ran.code == 1
        assert ran.err.startswith("setpoint: ")
        assert "Traceback" not in ran.err


def test_version(capsys: Capsys) -> None:
    """The version as a command and as an option."""
    from setpoint import __version__

    assert __version__ in run_cli(capsys, "version").out
    assert __version__ in run_cli(capsys, "--version").out


def test_help_is_light() -> None:
    """`--help` imports none of the heavy parts: that is what keeps it below 0.3 s."""
    script = """
import sys
from setpoint.cli.main import main
try:
    main(["--help"])
finally:
    print(*sys.modules, file=sys.stderr)
"""
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr.split()
    heavy = {
        "rich",
        "httpx",
        "pydantic",
        "msgspec",
        "fastapi",
        "uvicorn",
        "yaml",
        "asyncio",
        "structlog",
        "setpoint.agent",
        "setpoint.machine",
    }
    assert not heavy & set(modules)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """``setpoint machines bridge | head -1`` ends quietly."""
    command = f"{sys.executable} -m setpoint.cli.main machines bridge | head -1"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr
    assert "Broken" not in ran.stderr


# finding the agent


def test_the_agent_is_found_where_it_wrote_it_is(tmp_path: Path) -> None:
    """The option wins over the variable, the variable over the file, the file over the default."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert agent_url(None, env) == "http://127.0.0.1:8080"
    file = note_running(RunningAgent("http://127.0.0.1:9999", os.getpid(), "/x"), env)
    assert file is not None
    assert file.stat().st_mode & 0o077 == 0
    assert agent_url(None, env) == "http://127.0.0.1:9999"
    assert agent_url(None, {**env, "SETPOINT_URL": "127.0.0.1:7/"}) == "http://127.0.0.1:7"
    assert agent_url("http://localhost:5", {**env, "SETPOINT_URL": "http://127.0.0.1:7"}) == "http://localhost:5"
    forget_running(file, os.getpid() + 1)
    assert file.exists()
    forget_running(file, os.getpid())
    assert not file.exists()


def test_a_file_left_by_a_dead_agent_is_not_believed(tmp_path: Path) -> None:
    """After kill -9 the file remains; its process does not."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    note_running(RunningAgent("http://127.0.0.1:9999", dead.pid, "/x"), env)
    assert running_agent(env) is None
    for rubbish in ("", "[]", "{}", '{"url": 1}', "\x00"):
        (tmp_path / "setpoint" / "agent.json").write_text(rubbish)
        assert agent_url(None, env) == "http://127.0.0.1:8080"


def test_a_place_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    """An agent without a runtime directory uses the state directory, and without either just runs."""
    (tmp_path / "file").write_text("")
    note = note_running(
        RunningAgent("u", 1, "c"), {"XDG_RUNTIME_DIR": str(tmp_path / "file"), "XDG_STATE_HOME": str(tmp_path / "s")}
    )
    assert note == tmp_path / "s" / "setpoint" / "agent.json"
    assert note_running(RunningAgent("u", 1, "c"), {"XDG_STATE_HOME": str(tmp_path / "file")}) is None


def test_an_agent_says_where_its_data_is(tmp_path: Path) -> None:
    """The data directory is noted; the file of an earlier version, which has none, is still understood."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    agent = RunningAgent("http://127.0.0.1:9999", os.getpid(), "/x", "/var/lib/plant")
    file = note_running(agent, env)
    assert running_agent(env) == agent
    assert file is not None
    file.write_text(f'{{"url": "http://127.0.0.1:9999", "pid": {os.getpid()}, "config": "/x"}}')
    assert running_agent(env) == agent._replace(data="")


# the demo's plant


def test_the_examples_are_found_in_a_checkout() -> None:
    """The plant and its config are there."""
    assert (demo.examples_folder() / demo.PLANT).is_file()


def test_a_child_that_ends_with_its_parent(tmp_path: Path) -> None:
    """When the parent is killed with -9, its plant is gone a moment later."""
    script, pid_file = tmp_path / "plant.py", tmp_path / "pid"
    script.write_text(f"""
import os, pathlib, time
pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
print("up", flush=True)
time.sleep(60)
""")
    parent_script = f"""
import pathlib, time
from setpoint.cli.demo import _plant
with _plant(pathlib.Path({str(script)!r})):
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", parent_script], stderr=subprocess.DEVNULL)
    _wait_for(lambda: pid_file.exists() and bool(pid_file.read_text()))
    child = int(pid_file.read_text())
    parent.kill()
    parent.wait()
    _wait_for(lambda: not _runs(child))


def test_a_plant_that_does_not_start_is_trouble(tmp_path: Path) -> None:
    """A plant that ends at once is named instead of leaving three bridges that never connect."""
    script = tmp_path / "plant.py"
    script.write_text("raise SystemExit(1)")
    with pytest.raises(Trouble, match="did not start"), demo._plant(script):
        pass


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def _wait_for(condition: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
