"""``setpoint new``: a first version of something to be written, and its test, in the current directory."""

from __future__ import annotations

import keyword
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from setpoint.cli.trouble import USAGE, Trouble

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
LONGEST_NAME = 60


class Kind(StrEnum):
    """What can be written."""

    worker = "worker"
    machine = "machine"


_FILES = {
    Kind.worker: {"{}.py": "worker.py.txt", "test_{}.py": "test_worker.py.txt"},
    Kind.machine: {"{}.yaml": "machine.yaml.txt"},
}
"""What is written for each kind: the name of the file, and the template it is made of."""


def new(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What to write: worker or machine.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in snake case, e.g. press_line.")],
) -> None:
    """Write a new worker and a test of it, or a machine for records, into the current directory.

    It runs as it is. Nothing is overwritten."""
    _check_name(name)
    if kind is Kind.worker:
        _check_module(name)
    files = {Path(file.format(name)): template for file, template in _FILES[kind].items()}
    for path in files:
        if path.exists() or path.is_symlink():
            raise Trouble(f"{path} is there already", "choose another name, or another directory; nothing was written")
    for path, template in files.items():
        _write(path, _filled(template, name))
    typer.echo(_next_steps(name) if kind is Kind.worker else _next_steps_of_machine(name))


def _check_name(name: str) -> None:
    """Raises `Trouble` unless it is snake case."""
    if not NAME.match(name) or len(name) > LONGEST_NAME:
        suggestion = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower().strip("_")
        remedy = (
            f"try {suggestion}" if NAME.match(suggestion) and len(suggestion) <= LONGEST_NAME else "e.g. press_line"
        )
        raise Trouble(f"{name!r} is no name in snake case of at most {LONGEST_NAME} characters", remedy, code=USAGE)


def _check_module(name: str) -> None:
    """Raises `Trouble` unless a module may be called so, and hides no other."""
    from importlib.util import find_spec

    if keyword.iskeyword(name):
        raise Trouble(f"{name!r} is a word of Python's own", f"try {name}_worker", code=USAGE)
    if name in sys.stdlib_module_names or (not Path(f"{name}.py").exists() and find_spec(name) is not None):
        raise Trouble(f"{name}.py would hide the module {name!r}, which is installed", f"try {name}_worker", code=USAGE)


def _filled(template: str, name: str) -> str:
    from importlib.resources import files
    from string import Template

    text = files("setpoint.cli").joinpath("templates", template).read_text(encoding="utf-8")
    return Template(text).substitute(module=name, name="".join(part.capitalize() for part in name.split("_")))


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Trouble(f"{path} cannot be written: {error.strerror}", "change to a directory you may write to") from None


def _next_steps(name: str) -> str:
    return (
        f"wrote {name}.py and test_{name}.py\n"
        f"  python {name}.py                     run it; Ctrl-C stops it\n"
        f"  python -m pytest test_{name}.py      test it (pip install 'setpoint[testing]')\n"
        f"Then open {name}.py: put what it keeps where self._on is, and name the states it can be in."
    )


def _next_steps_of_machine(name: str) -> str:
    return (
        f"wrote {name}.yaml\n"
        f'  setpoint run {name}.yaml --data \'{{"customer": "Ada", "amount": 120}}\'    carry a record\n'
        f"  setpoint check {name}.yaml    say what is wrong with it\n"
        f"Then open {name}.yaml and name the states your records go through."
    )
