"""``setpoint check``: everything that is wrong with a file, before anything runs by it, and which stored workers it would break.

Nothing is started, and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from setpoint.cli.against import Answer, Present, ask, in_json, only_classes, only_machine, show, store_at
from setpoint.cli.connect import JsonOption
from setpoint.cli.output import clean, console, print_json
from setpoint.cli.subjects import worker_classes
from setpoint.cli.trouble import FAILED, USAGE, Trouble


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
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="A config.yaml, a machine file, a system of machines (JSON or YAML), a Python file with workers, or module:Class.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="STORE",
            help="Say which workers stored there it would break: a store, an agent's data directory, the config beside it, or 'running' "
            "for that of your running agent. Without FILE, or with a config, by the machines that are installed.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help="Joint states of a system to look at, at most.", show_default=False
        ),
    ] = None,
) -> None:
    """List everything that is wrong with a config, machine or worker; explore the joint states of a system of machines.

    Exit code 1 when there is an error, or a stored worker would lose its state."""
    if file is None and against is None:
        raise Trouble("there is nothing to check", "name a file, or a store: --against STORE", code=USAGE)
    checked = _checked(file, limit) if file is not None else Checked("none", [])
    errors = sum(fault.severity == "error" for fault in checked.faults)
    if file is not None and not json:
        summary = (
            f"{file}: {checked.kind}, {errors} error{'s' * (errors != 1)}, {len(checked.faults) - errors} other remarks"
        )
        _print(checked.faults, f"{summary}; {checked.verdict}" if checked.verdict else summary)
    faults = [fault._asdict() for fault in checked.faults]
    if against is None:
        if json:
            print_json(faults)
        raise typer.Exit(FAILED if errors else 0)
    answer = _asked(checked, against)
    if json:
        print_json({"faults": faults, **(in_json(answer) if answer else {})})
    elif answer is not None:
        show(answer)
    else:
        console().print("the store was not asked: what has these errors is no machine", style="dim")
    raise typer.Exit(FAILED if errors or answer is None or answer.broken else 0)


class Checked(NamedTuple):
    """What was found in a file. `verdict` says how much was seen; `machine` and `workers` are what is in it."""

    kind: str
    faults: list[Fault]
    verdict: str = ""
    machine: Any = None
    workers: Sequence[Any] = ()


def _checked(file: str, limit: int | None) -> Checked:
    """Raises `Trouble` for a file that cannot be read or imported."""
    if file.endswith(".py") or (":" in file and not Path(file).is_file()):
        workers = worker_classes(file)
        return Checked(
            "workers", [fault for each in workers for fault in _findings(each.machine, file)], workers=workers
        )
    text = _read(Path(file))
    kind = _kind(text)
    if kind == "system":
        faults, verdict = _of_system(text, Path(file), limit)
        return Checked(kind, faults, verdict)
    if kind == "machine":
        return _of_machine(text, file)
    if kind == "records":
        return Checked(kind, [*_of_records(Path(file))], _needs(Path(file)))
    return Checked(kind, list(_of_config(text, file)))


def _asked(checked: Checked, against: str) -> Answer | None:
    """What becomes of the workers in a store: by what is in the file, else by what is installed. None where the file's machine is none.

    Raises `Trouble`."""
    if checked.kind == "system":
        raise Trouble("a system of machines says nothing of stored workers", "name one of its machines", code=USAGE)
    store = store_at(against, os.environ)
    if checked.kind == "machine":
        return ask(store, only_machine(checked.machine)) if checked.machine else None
    return ask(store, only_classes(checked.workers) if checked.workers else Present())


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


def _kind(text: str) -> str:
    """What a file is: a machine for records, a system (`instances`), a machine of workers (`states`), or an agent's config; what cannot be
    parsed counts as a config, whose reader says where it fails."""
    from setpoint.data.config import looks_like_machine, top_keys

    keys = top_keys(text)
    if looks_like_machine(keys):
        return "records"
    return "system" if "instances" in keys else "machine" if "states" in keys else "config"


def _of_records(file: Path) -> Iterator[Fault]:
    from setpoint.data.config import problems_of

    for problem in problems_of(file):
        yield Fault(
            problem.source, problem.line, problem.column, problem.key, problem.message, problem.hint, problem.severity
        )


def _needs(file: Path) -> str:
    """What the file alone does not have: functions that a program must give, or that were mistyped; and trust."""
    from setpoint.data.check import references
    from setpoint.data.config import read
    from setpoint.data.definition import Code
    from setpoint.data.functions import Functions

    definition = read(file, trust=True).definition
    if definition is None:
        return ""
    known, used = Functions(), [reference for reference, _ in references(definition)]
    names = sorted({name for each in used if isinstance(name := getattr(each, "name", each), str)})
    given = [f"{name}{_perhaps(name)}" for name in names if ":" not in name and name not in known]
    trust = any(":" in name for name in names) or any(
        isinstance(each, Code) and each.language == "python" for each in used
    )
    needs = (["--trust"] if trust else []) + ([f"from its program: {', '.join(given)}"] if given else [])
    return f"needs {', and '.join(needs)}" if needs else ""


def _perhaps(name: str) -> str:
    from difflib import get_close_matches

    from setpoint.data.functions.library import BUILT_IN

    near = get_close_matches(name, BUILT_IN, 1, 0.8)
    return f" (did you mean {near[0]}?)" if near else ""


def _of_system(text: str, file: Path, limit: int | None) -> tuple[list[Fault], str]:
    """Its faults, and how much of it was seen."""
    from setpoint.machine import MachineError, load_system
    from setpoint.machine.explore import LIMIT

    try:
        found = load_system(text, known=lambda name: _known(name, file.parent)).explore(limit=limit or LIMIT)
    except MachineError as error:
        return [Fault(str(file), 0, 0, "", message, "", "error") for message in error.faults], ""
    except ValueError as error:
        return [Fault(str(file), 0, 0, "", str(error), "", "error")], ""
    faults = [_fault_of(finding, str(file)) for finding in found.findings]
    if found.states > (limit or LIMIT):
        text = f"not everything was looked at: the search ended after {found.states:,} joint states (bounded)"
        faults.append(Fault(str(file), 0, 0, "", text, "raise --limit, or explore fewer instances", "error"))
    elif found.certainty == "bounded":
        text = "a guard reads too many facts: whether it can be true was not settled (bounded)"
        faults.append(Fault(str(file), 0, 0, "", text, "split it up over several arcs", "error"))
    if found.opaque:
        text = f"guards in Python were taken as true and as false: {', '.join(found.opaque)}"
        faults.append(Fault(str(file), 0, 0, "", f"{text} (opaque)", "", "info"))
    return faults, f"{found.states:,} joint states, {found.certainty}"


def _known(name: str, folder: Path) -> Any:
    """A machine file beside the system's, or a built-in machine. Raises `LookupError`."""
    from setpoint.machine import MachineError, load
    from setpoint.workers.catalogue import find_machine

    if not name.endswith((".yaml", ".yml", ".json")):
        return find_machine(name)
    try:
        return load((folder / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LookupError(f"{folder / name} cannot be read: {error}") from None
    except MachineError as error:
        raise LookupError(f"{folder / name}: {error}") from None


def _of_machine(text: str, file: str) -> Checked:
    from setpoint.machine import MachineError, load

    try:
        machine = load(text)
    except MachineError as error:
        return Checked("machine", [Fault(file, 0, 0, "", message, "", "error") for message in error.faults])
    return Checked("machine", list(_findings(machine, file)), machine=machine)


def _findings(machine: Any, file: str) -> Iterator[Fault]:
    from setpoint.machine import check as check_machine

    return (_fault_of(finding, file) for finding in check_machine(machine))


def _fault_of(finding: Any, file: str) -> Fault:
    way = f"after {' → '.join(finding.witness)}" if finding.witness else ""
    message = f"{finding.message} ({finding.code}, {finding.certainty})"
    return Fault(file, 0, 0, finding.place, message, way, finding.severity)


def _of_config(text: str, file: str) -> Iterator[Fault]:
    problems: Any = _configured(text, file).problems
    for problem in problems:
        yield Fault(file, problem.line, problem.column, problem.key, problem.message, problem.hint, problem.severity)


def _configured(text: str, file: str) -> Any:
    from setpoint.agent.checking import Checker
    from setpoint.agent.environment import programs_of
    from setpoint.flows import FlowEngine
    from setpoint.namespace import EmbeddedBroker

    unopened = EmbeddedBroker(os.devnull)  # flows that write to the broker are compiled against it, never opened
    return Checker(
        source=file,
        env=os.environ,
        engine=FlowEngine(unopened, base=Path(file).resolve().parent),
        programs=programs_of(os.environ),
    ).check(text)
