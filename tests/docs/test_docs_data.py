"""The page on machines for records names only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from setpoint.cli.convert import convert
from setpoint.cli.run import run
from setpoint.cli.runs import app as runs
from setpoint.data.config import json_schema
from setpoint.data.functions.library import BUILT_IN, TRANSFORMERS, VALIDATORS
from setpoint.data.resources.kinds import TYPES
from setpoint.machine.expression import FUNCTIONS

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


def _table(head: str) -> list[str]:
    """The names in the first column of the table with that head."""
    rows = PAGE.partition(f"\n{head}")[2].partition("\n\n")[0]
    return [name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row[1:].partition("|")[0])]


def test_what_is_built_in_is_listed() -> None:
    """Every check, transform and type of resource, and no other; only another name for one of them is left out."""
    checks, changes = _table("| checks | params |"), _table("| transforms | params |")
    assert {*checks} == {name for name in VALIDATORS if name.islower()} - {"gate", "build_record_validator"}
    assert {*changes} == {name for name in TRANSFORMERS if name.islower()} - {"set"}
    assert sorted(_table("| `type` | `config` | what functions get |")) == sorted(TYPES)


def test_the_functions_of_expressions_are_listed() -> None:
    """All that can be called, and no other."""
    listed = PAGE.partition("and the functions ")[2].partition(". ")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == set(FUNCTIONS)


def test_the_keys_of_a_state_are_keys() -> None:
    """Those of the table, in the order in which a record meets them."""
    keys = _table("| key | what it does |")
    assert keys == ["resources", "schema", "pre_validators", "transforms", "validators", "arcs"]
    assert set(keys) <= json_schema()["$defs"]["state"]["properties"].keys()
