"""``setpoint convert``: the canonical form of a machine for records."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from setpoint.cli.convert import convert
from setpoint.cli.trouble import Trouble
from setpoint.data.config import load, to_config

app = typer.Typer()
app.command()(convert)
SHORT = "name: m\nstates: {a: {transforms: [{python: 'raise SystemExit'}], on_complete: b}, b: {final: true}}\n"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_short_form_becomes_the_canonical_one(tmp_path: Path, form: str) -> None:
    """Written to the terminal or a file, it reads back as the same machine; code in it is not run."""
    (tmp_path / "m.yaml").write_text(SHORT)
    shown = run(tmp_path / "m.yaml", "--to", form)
    out = tmp_path / f"out.{form}"
    assert run(tmp_path / "m.yaml", "--output", out) == f"wrote {out}\n"
    assert out.read_text() == shown
    assert to_config(load(out, trust=True)) == to_config(load(tmp_path / "m.yaml", trust=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.yaml", out.name]


def test_a_file_with_errors_is_not_converted(tmp_path: Path) -> None:
    """Every fault is named, and what was there stays."""
    (tmp_path / "m.yaml").write_text("name: m\nstats: {}\nmax_transition: 3\n")
    (tmp_path / "out.yaml").write_text("old")
    with pytest.raises(Trouble) as caught:
        run(tmp_path / "m.yaml", "-o", tmp_path / "out.yaml")
    assert "m.yaml:2:1" in caught.value.error
    assert "m.yaml:3:1" in caught.value.error
    assert (tmp_path / "out.yaml").read_text() == "old"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """No traceback, and no half file."""
    (tmp_path / "m.yaml").write_text(SHORT)
    with pytest.raises(Trouble, match="cannot be written"):
        run(tmp_path / "m.yaml", "-o", tmp_path / "gone" / "out.yaml")


def test_the_schema_for_editors() -> None:
    """JSON, with the keys of a machine."""
    assert "networks" in json.loads(run("--schema"))["$defs"]["machine"]["properties"]


def test_either_a_file_or_the_schema(tmp_path: Path) -> None:
    """Both or neither is wrong usage."""
    for arguments in ([], [tmp_path / "m.yaml", "--schema"]):
        with pytest.raises(Trouble) as caught:
            run(*arguments)
        assert caught.value.code == 2
