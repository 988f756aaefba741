"""``setpoint convert``: a machine for records in its canonical form, or the schema of such files for editors.

Nothing of the machine runs, whatever code is in it. Variables are put in as they are set now, templates and includes are written out.
"""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from setpoint.cli.trouble import FAILED, USAGE, Trouble


class Form(StrEnum):
    """What a machine can be written as."""

    yaml = "yaml"
    json = "json"


def convert(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="A machine for records, in YAML or JSON, of any form.", show_default=False
        ),
    ] = None,
    to: Annotated[
        Form | None,
        typer.Option("--to", help="What to write: by default what --output or FILE is.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Where to: by default the terminal.", show_default=False),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="The folder that included files must be in.", show_default=False),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Write the JSON Schema of such files.")] = False,
) -> None:
    """Write a machine for records in its canonical form; with --schema the JSON Schema for editors."""
    if (file is None) != schema:
        raise Trouble(
            "expected one of FILE and --schema", "setpoint convert FILE, or setpoint convert --schema", code=USAGE
        )
    text = _schema() if file is None else _converted(file, to or _form(output or file), root)
    if output is None:
        typer.echo(text, nl=False)
        return
    _write(output, text)
    typer.echo(f"wrote {output}")


def _form(path: Path) -> Form:
    return Form.json if path.suffix == ".json" else Form.yaml


def _schema() -> str:
    from setpoint.data.config import json_schema

    return json.dumps(json_schema(), indent=2) + "\n"


def _converted(file: Path, form: Form, root: Path | None) -> str:
    """Raises `Trouble` with every fault of the file."""
    from setpoint.data.config import ConfigError, load, to_json, to_yaml

    try:
        definition = load(file, trust=True, root=root)  # it is written again, not run
        return to_json(definition) if form is Form.json else to_yaml(definition)
    except ConfigError as error:
        count = len(error.problems)
        problems = "\n".join(str(problem) for problem in error.problems)
        remedy = f"correct the {'error' if count == 1 else f'{count} errors'}; nothing was written"
        raise Trouble(f"{file} cannot be converted\n{problems}", remedy, code=FAILED) from None


def _write(path: Path, text: str) -> None:
    """Beside the file first, so that a full disk leaves what was there. Raises `Trouble`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Trouble(f"{path} cannot be written: {error.strerror}", "name a file you may write to") from None
