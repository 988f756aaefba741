"""``setpoint flow``: stand-alone flows come and go by commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.cli_shop import run_cli

Capsys = pytest.CaptureFixture[str]
TEXT = "agent:\r\n  location: {0: acme}\r\n# the end"
FLOW = """\
input: {generate: {mapping: 'root.n = counter()', interval: 1s}}
pipeline:
  processors:
    - nodered_js: {code: "msg.payload = `${msg.payload}`; return msg;"}
output: {drop: {}}
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config as Windows writes it, whose last line does not end, and a flow beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yaml").write_text(FLOW)
    path = tmp_path / "config.yaml"
    path.write_bytes(TEXT.encode())
    return path


def test_a_flow_is_added_changed_and_removed(capsys: Capsys, file: Path) -> None:
    """Line ends and the last line stay what they are."""
    assert run_cli(capsys, "flow", "add", "counter", "flow.yaml", "--state", "stopped").code == 0
    rows = json.loads(run_cli(capsys, "flow", "list", "--json").out)
    assert [(row["name"], row["state"], row["reads"], row["writes"]) for row in rows] == [
        ("counter", "stopped", "generate", "drop")
    ]
    assert run_cli(capsys, "flow", "edit", "counter", "--state", "active", "--rename", "count").code == 0
    assert run_cli(capsys, "config", "get", "dataFlow.count.desiredState").out == "active\n"
    Path("flow.yaml").write_text(FLOW.replace("1s", "2s"))
    assert run_cli(capsys, "flow", "edit", "count", "--flow", "flow.yaml").code == 0
    assert (
        run_cli(capsys, "config", "get", "dataFlow.count.dataFlowComponentConfig.benthos.input.generate.interval").out
        == "2s\n"
    )
    assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")
    assert run_cli(capsys, "flow", "remove", "count").code == 0
    assert file.read_bytes() == TEXT.encode()


def test_an_unknown_component_is_refused_with_the_nearest(capsys: Capsys, file: Path) -> None:
    """As the agent would."""
    Path("flow.yaml").write_text(FLOW.replace("drop", "drap"))
    ran = run_cli(capsys, "flow", "add", "counter", "flow.yaml")
    assert (ran.code, "did you mean 'drop'" in ran.err) == (1, True), ran.err
    assert file.read_bytes() == TEXT.encode()
    assert run_cli(capsys, "flow", "remove", "counter").code == 1
    assert run_cli(capsys, "flow", "add", "counter", "nowhere.yaml").code == 2
