"""``setpoint debug``: one record through a machine by hand, or a whole run written down or measured.

At a terminal it is a prompt (`debug_session`); from a pipe it reads the same commands. ``--trace`` carries the record to its end and prints
all that happened; ``--profile`` measures where the time goes, for one record or for all of an input, and writes it for flame-graph viewers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.data.fsm import SimpleFSM


class Asked(NamedTuple):
    """What the command line says."""

    file: Path
    data: str | None
    input: str | None
    record: int | None
    trust: bool
    settings: list[str]
    breaks: list[str]
    watches: list[str]
    trace: bool
    profile: bool
    flame: Path | None
    json: bool


def debug(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A machine for records, in YAML or JSON.")],
    data: Annotated[str | None, typer.Option("--data", metavar="JSON", help="The record.", show_default=False)] = None,
    input: Annotated[
        str | None, typer.Option("--input", "-i", metavar="PATH", help="Where records are.", show_default=False)
    ] = None,
    record: Annotated[
        int | None,
        typer.Option("--record", min=1, metavar="N", help="Which one of the input; the first.", show_default=False),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="The file may hold Python, and import modules beside it.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A value for ${NAME} in the file.", show_default=False),
    ] = None,
    breaks: Annotated[
        list[str] | None,
        typer.Option(
            "--break", "-b", metavar="PLACE", help="Stop at STATE or 'A->B', also 'PLACE if EXPR'.", show_default=False
        ),
    ] = None,
    watches: Annotated[
        list[str] | None,
        typer.Option("--watch", "-w", metavar="EXPR", help="Show it whenever it changes.", show_default=False),
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Print all that happens, to the end.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Measure the time in each state and on each arc.")] = False,
    flame: Annotated[
        Path | None,
        typer.Option(
            "--flame",
            metavar="FILE",
            help="The profile as collapsed stacks; .json: for speedscope.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Move a record through a machine by hand: step, back, breakpoints, watches.

    With --trace or --profile the exit code is 1 when a record failed; at the prompt, when commands came from a pipe and one was wrong."""
    asked = Asked(
        file, data, input, record, trust, settings or [], breaks or [], watches or [], trace, profile, flame, json
    )
    _check(asked)
    with _machine(asked) as fsm:
        way = _profile if profile else _trace if trace else _prompt
        try:
            succeeded = way(fsm, asked)
        except KeyboardInterrupt:
            raise Trouble("interrupted") from None
    raise typer.Exit(0 if succeeded else FAILED)


def _check(asked: Asked) -> None:
    """Raises `Trouble` for options that contradict each other."""
    by_hand = not (asked.trace or asked.profile)
    faults = (
        (asked.data is None and asked.input is None, "there is no record", "give one by --data JSON, or --input PATH"),
        (asked.data is not None and asked.input is not None, "--data and --input are both given", "keep one of them"),
        (asked.record is not None and asked.input is None, "--record is for --input", "leave it out"),
        (asked.trace and asked.profile, "--trace and --profile are both given", "keep one of them"),
        (asked.json and by_hand, "--json is for --trace and --profile", "add one of them"),
        (asked.flame is not None and not asked.profile, "--flame is for --profile", "add it"),
        (
            bool(asked.breaks or asked.watches) and not by_hand,
            "--break and --watch are for the prompt",
            "leave them out",
        ),
        (by_hand and asked.input == "-", "the commands come from stdin", "give the records by a file, or --data"),
    )
    for there, fault, remedy in faults:
        if there:
            raise Trouble(fault, remedy, code=USAGE)


@contextmanager
def _machine(asked: Asked) -> Iterator[SimpleFSM]:
    """The machine. What its runs would keep is thrown away. Raises as `machine_of` does."""
    from tempfile import TemporaryDirectory

    from setpoint.cli.loading import machine_of
    from setpoint.data.runs import Runs
    from setpoint.flows import ends

    ends.register()
    with TemporaryDirectory() as scratch:
        runs = Runs(Path(scratch) / "runs")
        fsm = machine_of(asked.file, trust=asked.trust, settings=asked.settings, runs=runs)
        try:
            yield fsm
        finally:
            fsm.close()
            runs.close()


def _record(asked: Asked) -> Any:
    """The record that is meant. Raises `Trouble`."""
    from setpoint.cli.loading import decoded, named

    if asked.data is not None:
        return decoded(asked.data)
    number = asked.record or 1
    with named(f"--input {asked.input}"):
        found = list(_first(str(asked.input), number))
    if len(found) < number:
        raise Trouble(
            f"--record {number}: {asked.input} has {len(found)} records",
            "records are counted from 1; lines that are none are not",
        )
    return found[-1]


def _first(where: str, count: int) -> Iterator[Any]:
    """The first records of an input."""
    from setpoint.data.stream import open_source
    from setpoint.data.stream.parts import reads_async

    source: Any = open_source(where)
    if reads_async(source):
        raise ValueError("it may never end; take a file")
    try:
        while count > 0 and (chunk := source.read(min(count, 1000))) is not None:
            yield from chunk.records[:count]
            count -= len(chunk.records)
    finally:
        source.close()


def _prompt(fsm: SimpleFSM, asked: Asked) -> bool:
    from setpoint.cli.debug_session import Session, add_breakpoint

    with fsm.debug(_record(asked)) as debugger:
        try:
            for text in asked.breaks:
                add_breakpoint(debugger, text)
            for text in asked.watches:
                debugger.watch(text)
        except KeyError as error:
            raise Trouble(str(error.args[0]), "setpoint draw shows the machine", code=USAGE) from None
        except ValueError as error:
            raise Trouble(str(error), code=USAGE) from None
        session = Session(debugger)
        session.run()
    return sys.stdin.isatty() or not session.failed


def _trace(fsm: SimpleFSM, asked: Asked) -> bool:
    from setpoint.cli.debug_shown import trace_lines
    from setpoint.cli.output import console

    with fsm.trace() as trace, fsm.debug(_record(asked)) as debugger:
        result = debugger.run()
    out = console()
    for entry in trace.entries:
        if asked.json:
            print(entry.json().decode())
        else:
            for line in trace_lines(entry, fsm.definition.main_network):
                out.print(line)
    if trace.dropped:
        print(f"setpoint: {trace.dropped:,} earlier events are left out", file=sys.stderr)
    return result.success or bool(result.waits)


def _profile(fsm: SimpleFSM, asked: Asked) -> bool:
    from setpoint.cli.loading import named
    from setpoint.cli.output import console, print_json

    source: Any = asked.input if asked.input is not None and asked.record is None else [_record(asked)]
    with fsm.profile() as profile, named(f"--input {asked.input or ''}"):
        report = fsm.process_stream(source, None, dead_letters=None)
    if asked.flame is not None:
        _write(asked.flame, profile.speedscope() if asked.flame.suffix == ".json" else profile.collapsed())
    if asked.json:
        print_json(profile.data())
    else:
        out = console()
        print(profile.table(min(out.width, 120)), end="")
        print(f"{profile.runs:,} records, {sum(report.failed.values()):,} failed")
    return report.success


def _write(file: Path, content: Any) -> None:
    import json

    text = content if isinstance(content, str) else json.dumps(content)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Trouble(f"--flame {file}: {error.strerror}", "choose another file") from None
