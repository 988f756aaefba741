"""``setpoint models``: checked, shown, and as JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from setpoint.cli.main import main
from setpoint.cli.models import app
from setpoint.cli.trouble import Trouble
from setpoint.data.functions.jsonschema import compile_schema

EXAMPLE = Path(__file__).parents[2] / "examples" / "models" / "config.yaml"
PROCESSORS = """\
templates:
  streamProcessor:
    pumps: {model: {name: pump, version: v1}, sources: {s: acme._raw.x}, mapping: {running: s}}
streamProcessor:
  - {name: p1, desiredState: stopped, streamProcessorServiceConfig: {templateRef: pumps}}
  - name: p2
    desiredState: stopped
    streamProcessorServiceConfig:
      config: {model: {name: motor, version: v1}, sources: {s: acme._raw.x}, mapping: {speed: s}}
"""


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def flawed(tmp_path: Path) -> Path:
    text = EXAMPLE.read_text().replace("{name: motor, version: v1}", "{name: mtor, version: v1}")
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("inspector: {_type: string}", "inspector: {_type: strng}") + "unknown: 1\n")
    return path


def test_a_file_without_a_fault() -> None:
    """What is in it, counted; exit code 0."""
    assert run("check", EXAMPLE) == (
        f"{EXAMPLE}: 1 payload shape, 2 data models in 2 versions, 1 contract, 0 errors, 0 other remarks\n"
    )
    assert json.loads(run("check", EXAMPLE, "--json")) == []


def test_every_fault_of_the_models_with_its_line(flawed: Path) -> None:
    """Exit code 1; what is wrong elsewhere in the file is for `setpoint check`, which lists these as well."""
    lines = run("check", flawed, code=1).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        f"error: {flawed}:16:26: payloadShapes.inspection.fields.inspector._type: expected number"
    )
    assert "there is no data model 'mtor'; did you mean 'motor'?" in lines[1]
    found = json.loads(run("check", flawed, "--json", code=1))
    assert [(fault["line"], fault["severity"]) for fault in found] == [(16, "error"), (39, "error")]


def test_the_same_faults_are_found_by_check(flawed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One reader for both."""
    with pytest.raises(SystemExit) as caught:
        main(["check", str(flawed)])
    assert caught.value.code == 1
    said = capsys.readouterr().out
    assert "did you mean 'motor'?" in said
    assert "strng" in said


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A syntax error is said here as well, because nothing can be said of the models."""
    (tmp_path / "x.yaml").write_text("a: [\n")
    assert "not valid YAML" in run("check", tmp_path / "x.yaml", code=1)
    with pytest.raises(Trouble, match="cannot be read"):
        run("check", tmp_path / "none.yaml")


def test_all_models_in_a_table() -> None:
    """Each version with its number of paths and the contracts it holds under."""
    rows = [line.split() for line in run("show", EXAMPLE).splitlines()]
    assert rows[1:] == [["motor:v1", "2"], ["pump:v1", "7", "_pump_v1"]]


def test_one_model_as_a_tree(tmp_path: Path) -> None:
    """With what it refers to, and with what uses it: contracts, stream processors with and without a template, other models."""
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE.read_text() + PROCESSORS)
    shown = run("show", path, "pump")
    assert "├── motor  → motor:v1\n│   ├── speed  timeseries-number\n" in shown
    assert (
        "inspection  inspection {inspector: string, passed: boolean, measured: {width_mm: number, defects: integer}}"
        in shown
    )
    assert "order  {id: string, pieces: integer}" in shown
    assert shown.endswith("contracts: _pump_v1\nstream processors: p1\npart of: none\n")
    assert run("show", path, "motor:v1").endswith("contracts: none\nstream processors: p2\npart of: pump:v1\n")
    facts: dict[str, Any] = json.loads(run("show", path, "pump", "--json"))
    assert list(facts["paths"])[:3] == ["pressure.inlet", "pressure.outlet", "running"]
    assert (facts["contracts"], facts["stream_processors"], facts["sound"]) == (["_pump_v1"], ["p1"], True)


def test_the_newest_version_unless_another_is_named(tmp_path: Path) -> None:
    """v10 is newer than v9."""
    leaf = "{structure: {x: {_payloadshape: timeseries-number}}}"
    path = tmp_path / "config.yaml"
    path.write_text(
        f"agent: {{location: {{0: a}}}}\ndataModels:\n  - {{name: m, version: {{v10: {leaf}, v9: {leaf}}}}}\n"
    )
    assert run("show", path, "m").startswith("m:v10\n")
    assert run("show", path, "m:v9").startswith("m:v9\n")
    with pytest.raises(Trouble, match="no version 'v1'"):
        run("show", path, "m:v1")


def test_what_is_flawed_is_shown_as_far_as_it_was_read(flawed: Path, tmp_path: Path) -> None:
    """Also a model that is part of itself, which is drawn once."""
    assert "motor  → mtor:v1" in run("show", flawed, "pump")
    assert ["pump:v1", "errors", "_pump_v1"] in [line.split() for line in run("show", flawed).splitlines()]
    ring = tmp_path / "ring.yaml"
    ring.write_text(
        EXAMPLE.read_text().replace(
            "speed: {_pay", "of: {_refModel: {name: pump, version: v1}}\n          speed: {_pay"
        )
    )
    assert "of  → pump:v1" in run("show", ring, "pump")


def test_a_contract_as_json_schema() -> None:
    """By any of its names; the schema takes what the contract takes."""
    schema = json.loads(run("json-schema", EXAMPLE, "_pump_v1"))
    assert schema == json.loads(run("json-schema", EXAMPLE, "pump_v1"))
    check = compile_schema(schema)
    fine = {"timestamp_ms": 1, "value": 2.5}
    assert not check({"virtual_path": "motor.speed", "fields": fine})
    assert check({"virtual_path": "motor.status", "fields": fine})
    assert check({"virtual_path": "motor.sped", "fields": fine})


@pytest.mark.parametrize(("name", "error"), [("_pmp_v1", "has no contract '_pmp_v1'"), ("_free", "has no model")])
def test_a_contract_without_a_schema(name: str, error: str, tmp_path: Path) -> None:
    """One that is not there, with the nearest name, and one that checks nothing."""
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE.read_text().replace("dataContracts:\n", "dataContracts:\n  - {name: _free}\n"))
    with pytest.raises(Trouble, match=error):
        run("json-schema", path, name)


def test_a_contract_with_errors_has_no_schema(flawed: Path) -> None:
    """Half a schema would let wrong messages pass."""
    with pytest.raises(Trouble, match="has errors"):
        run("json-schema", flawed, "_pump_v1")
