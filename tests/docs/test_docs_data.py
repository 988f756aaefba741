"""The page on machines for records names only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from setpoint.cli.convert import convert
from setpoint.cli.run import run
from setpoint.cli.runs import app as runs
from setpoint.data.config import json_schema
from setpoint.data.functions.library import BUILT_IN

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_options_it_names_are_options() -> None:
    """Of ``setpoint run``, ``setpoint convert`` or ``setpoint runs``."""
    app = typer.Typer()
    for command in (run, convert):
        app.command()(command)
    groups = (typer.main.get_group(app), typer.main.get_group(runs))
    commands = [command for group in groups for command in group.commands.values()]
    known = {option for command in commands for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE))
    assert {"--input", "--output", "--data", "--resume", "--batch", "--trust", "--set", "--json"} <= named
    assert named <= known


def test_the_functions_it_names_are_built_in() -> None:
    """Those it gives settings to by name."""
    named = set(re.findall(r"\{name: (\w+), params:", PAGE))
    assert named
    assert named <= BUILT_IN.keys()


def test_the_keys_of_a_state_are_keys() -> None:
    """Those of the table, in the order in which a record meets them."""
    keys = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert keys == ["resources", "schema", "pre_validators", "transforms", "validators", "arcs"]
    assert set(keys) <= json_schema()["$defs"]["state"]["properties"].keys()
