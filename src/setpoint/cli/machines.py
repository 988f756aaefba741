"""``setpoint machines`` and ``setpoint draw``: the machines behind the workers, as tables, data and drawings. No agent is needed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.output import clean, console, print_json, state_text
from setpoint.cli.trouble import USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.machine import Machine


class MachineFormat(StrEnum):
    """How a machine is shown."""

    table = "table"
    json = "json"
    mermaid = "mermaid"
    dot = "dot"
    markdown = "markdown"
    svg = "svg"


class Drawing(StrEnum):
    """How a machine is drawn."""

    mermaid = "mermaid"
    dot = "dot"
    svg = "svg"
    markdown = "markdown"


def machines(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A machine or worker type; all in short without one.")
    ] = "",
    format: Annotated[MachineFormat, typer.Option("--format", "-f", help="How to show it.")] = MachineFormat.table,
) -> None:
    """List the built-in machines, or show one."""
    if not name:
        _list_all(format)
        return
    machine = _named(name)
    match format:
        case MachineFormat.table:
            console().print(_arcs(machine))
        case MachineFormat.json:
            from setpoint.machine import to_dict

            print_json(to_dict(machine))
        case _:
            typer.echo(_drawn(machine, format.value, None), nl=False)


def draw(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE|NAME", help="A machine file (JSON or YAML), or the name of a built-in machine."),
    ],
    format: Annotated[
        Drawing | None,
        typer.Option(
            "--format", "-f", help="mermaid unless the output file's name says otherwise.", show_default=False
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="STATE", help="Mark this state.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file instead of the terminal.", show_default=False),
    ] = None,
    network: Annotated[
        str,
        typer.Option(
            "--network",
            metavar="NAME",
            help="Of a machine for records: this network, not its main one.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Draw a machine: a machine file, a machine for records, or a built-in machine."""
    machine = _from_file(Path(what), network) if Path(what).is_file() else _named(what)
    text = _drawn(machine, (format or _by_name(output)).value, at)
    if output is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Trouble(f"{output} cannot be written: {error.strerror}", "choose another --output") from None


def _by_name(output: Path | None) -> Drawing:
    suffixes = {".svg": Drawing.svg, ".dot": Drawing.dot, ".gv": Drawing.dot, ".md": Drawing.markdown}
    return suffixes.get(output.suffix, Drawing.mermaid) if output else Drawing.mermaid


def _drawn(machine: Machine, format: Any, at: str | None) -> str:
    from setpoint.machine import draw as draw_machine

    if at is not None and at not in machine.by_name:
        raise Trouble(
            f"machine {machine.name!r} has no state {at!r}", f"its states are {', '.join(machine.by_name)}", code=USAGE
        )
    return draw_machine(machine, format=format, at=at)


def _named(name: str) -> Machine:
    from setpoint.workers.catalogue import find_machine

    try:
        return find_machine(name)
    except LookupError as error:
        raise Trouble(str(error.args[0]), "'setpoint machines' lists all of them") from None


def _from_file(file: Path, network: str) -> Machine:
    from setpoint.data.config import looks_like_machine, top_keys
    from setpoint.machine import MachineError, load

    try:
        text = file.read_text(encoding="utf-8")
        if looks_like_machine(top_keys(text)):
            return _of_records(file, network)
        return load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{file} cannot be read: {error}") from None
    except MachineError as error:
        raise Trouble(f"{file}: {error}", f"'setpoint check {file}' lists its faults one by one") from None


def _of_records(file: Path, network: str) -> Machine:
    """A network of a machine for records. Raises `Trouble`."""
    from setpoint.data.config import ConfigError, load
    from setpoint.data.drawing import model_of

    try:
        definition = load(file, trust=True)  # nothing of it runs
    except ConfigError as error:
        raise Trouble(f"{file}: {error.problems[0]}", f"'setpoint check {file}' lists its faults one by one") from None
    names = [one.name for one in definition.networks]
    if network and network not in names:
        raise Trouble(f"{file} has no network {network!r}", f"it has {', '.join(names)}", code=USAGE)
    return model_of(definition, network)


def _list_all(format: MachineFormat) -> None:
    from setpoint.machine import to_dict
    from setpoint.workers.catalogue import machines as all_machines

    known = all_machines()
    if format is MachineFormat.json:
        print_json([to_dict(machine) for machine in known.values()])
        return
    if format is not MachineFormat.table:
        raise Trouble(f"--format {format} shows one machine", f"name it: {', '.join(known)}", code=USAGE)
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("machine", no_wrap=True)
    table.add_column("states", justify="right", no_wrap=True)
    table.add_column("arcs", justify="right", no_wrap=True)
    table.add_column("what it is")
    for machine in known.values():
        table.add_row(
            machine.name, str(len(machine.states)), str(len(machine.arcs)), clean(machine.doc.partition("\n")[0])
        )
    console().print(table)


def _arcs(machine: Machine) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from setpoint.machine.draw.edges import asks, condition

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("state", "on", "to"):
        table.add_column(column, no_wrap=True)
    table.add_column("when", overflow="fold")
    for state in machine.states:
        shown = state_text(state.name, state.phase or "")
        if state.name == machine.initial:
            shown.append(" (first)", style="dim")
        if state.signal:
            shown.append(f" ({asks(state)})", style="dim")
        arcs = machine.outgoing(state.name)
        for number, arc in enumerate(arcs):
            table.add_row(shown if number == 0 else "", arc.event, arc.target.name, clean(condition(arc)))
        if not arcs:
            table.add_row(shown, "", "", "")
    return Group(Text(f"{machine.name}: {clean(machine.doc.partition(chr(10))[0])}", style="bold"), Text(""), table)
