"""``setpoint check``: everything that is wrong with a file, before anything runs by it. Nothing is opened or started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.output import clean, console, print_json
from setpoint.cli.trouble import FAILED, Trouble


class Fault(NamedTuple):
    """One thing that is wrong. `line` and `column` are 0 where a place in the file is not known; `place` then says what it concerns."""

    file: str
    line: int
    column: int
    place: str
    message: str
    hint: str
    severity: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = "; ".join(part for part in (self.message, self.hint) if part)
        return ": ".join(part for part in (where, self.place, text) if part)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A config.yaml, or a machine file (JSON or YAML).")],
    json: JsonOption = False,
) -> None:
    """List everything that is wrong with a config or machine file.

    Exit code 1 when there is an error."""
    text = _read(file)
    kind, found = ("machine", _of_machine) if _is_machine(text) else ("config", _of_config)
    faults = list(found(text, str(file)))
    errors = sum(fault.severity == "error" for fault in faults)
    if json:
        print_json([fault._asdict() for fault in faults])
    else:
        _print(faults, f"{file}: {kind}, {errors} error{'s' * (errors != 1)}, {len(faults) - errors} other remarks")
    raise typer.Exit(FAILED if errors else 0)


def _print(faults: list[Fault], summary: str) -> None:
    from rich.text import Text

    out = console()
    styles = {"error": "red", "warning": "yellow"}
    for fault in faults:
        style = styles.get(fault.severity, "dim")
        out.print(Text.assemble((f"{fault.severity}: ", style), clean(fault)))
    out.print(Text(clean(summary), style="dim"))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Trouble(f"{file} is not UTF-8 text: byte {error.start}", "save it as UTF-8") from None
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror}", "name a config.yaml or a machine file") from None


def _is_machine(text: str) -> bool:
    """A file with `states` at its top is a machine; one that cannot be parsed counts as a config, whose reader says where it fails."""
    import yaml

    try:
        node = yaml.compose(text, yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return False
    return isinstance(node, yaml.MappingNode) and any(key.value == "states" for key, _ in node.value)


def _of_machine(text: str, file: str) -> Iterator[Fault]:
    from setpoint.machine import MachineError, load
    from setpoint.machine import check as check_machine

    try:
        machine = load(text)
    except MachineError as error:
        for message in error.faults:
            yield Fault(file, 0, 0, "", message, "", "error")
        return
    for finding in check_machine(machine):
        way = f"after {' → '.join(finding.witness)}" if finding.witness else ""
        yield Fault(
            file, 0, 0, finding.place, f"{finding.message} ({finding.code}, {finding.certainty})", way, finding.severity
        )


def _of_config(text: str, file: str) -> Iterator[Fault]:
    problems: Any = _checked(text, file).problems
    for problem in problems:
        yield Fault(file, problem.line, problem.column, problem.key, problem.message, problem.hint, problem.severity)


def _checked(text: str, file: str) -> Any:
    from setpoint.agent.checking import Checker
    from setpoint.flows import FlowEngine
    from setpoint.namespace import EmbeddedBroker

    unopened = EmbeddedBroker(os.devnull)  # flows that write to the broker are compiled against it, never opened
    return Checker(source=file, env=os.environ, engine=FlowEngine(unopened)).check(text)
