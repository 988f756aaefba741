"""``setpoint runs``: what was run and how it stands, run by run; and what brings one on: an event, a retry, the time.

Runs are kept by ``setpoint run`` in ``.setpoint/runs.sqlite`` of the folder it was started in, or where ``--runs`` says. To go on with a
run its machine is read from the file it began with; if that has changed since, the run goes on with the version it began with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.loading import RunsOption, decoded, machine_of
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.data.fsm import SimpleFSM
    from setpoint.data.result import Result
    from setpoint.data.runs import RunRow, Runs

app = typer.Typer(
    help="What was run, how it stands, and what brings it on.", invoke_without_command=True, rich_markup_mode=None
)
RunArgument = Annotated[str, typer.Argument(metavar="ID", help="A run, or how its name begins.")]
TrustOption = Annotated[bool, typer.Option("--trust", help="The machine's file may hold Python.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A value for ${NAME} in the machine's file.", show_default=False),
]

RecordsOption = Annotated[
    bool, typer.Option("--records", help="With the record after each state; of a batch, every record.")
]
EventArgument = Annotated[str, typer.Argument(metavar="EVENT", help="The event that it waits for.")]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="JSON", help="What comes with it.", show_default=False)
]
EveryOption = Annotated[
    float | None, typer.Option("--every", min=0.1, metavar="SECONDS", help="Look again and again.", show_default=False)
]
BecauseOption = Annotated[
    str, typer.Option("--because", metavar="TEXT", help="Why; it is kept with the run.", show_default=False)
]
OlderOption = Annotated[
    str, typer.Option("--older-than", metavar="AGE", help="Runs that ended so long ago: 12h, 7d; a number is days.")
]
KeepFailedOption = Annotated[bool, typer.Option("--keep-failed", help="But not those that failed.")]


@app.callback()
def runs(
    context: typer.Context,
    machine: Annotated[
        str, typer.Option("--machine", metavar="NAME", help="Of this machine.", show_default=False)
    ] = "",
    status: Annotated[
        str,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="running, waiting, interrupted, done, failed, stopped.",
            show_default=False,
        ),
    ] = "",
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="record, batch or stream.", show_default=False)
    ] = "",
    since: Annotated[
        str,
        typer.Option("--since", metavar="AGE", help="Started at most so long ago: 30min, 2h, 7d.", show_default=False),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest first.")] = 20,
    json: JsonOption = False,
    where: RunsOption = None,
) -> None:
    """What was run and how it stands. Exit code 1 when there are no runs."""
    context.obj = where
    if context.invoked_subcommand is not None:
        return
    from setpoint.cli.runs_shown import row_in_json, show_list
    from setpoint.data.runs import Query
    from setpoint.store.run_rows import Status

    known = get_args(Status)
    for given, words, option in ((status, known, "--status"), (kind, ("record", "batch", "stream"), "--kind")):
        if given and given not in words:
            raise Trouble(f"{option} {given}: there are {', '.join(words)}", code=USAGE)
    query = Query(machine=machine, status=status, kind=kind, since=_since(since), limit=limit)  # type: ignore[arg-type]  # checked above
    with _open(where, only_read=True) as kept:
        rows, counts = kept.find(query), kept.count(query)
    if json:
        from setpoint.cli.output import print_json

        print_json([row_in_json(row) for row in rows])
    elif rows:
        show_list(rows, counts)
    else:
        print("there are no such runs")
    if not rows:
        raise typer.Exit(FAILED)


@app.command()
def show(
    context: typer.Context,
    run: RunArgument,
    records: RecordsOption = False,
    json: JsonOption = False,
    where: RunsOption = None,
) -> None:
    """One run: what happened to it, in order, and what came of it. Exit code 1 when it failed."""
    from setpoint.cli.runs_shown import print_whole, show_results, show_row, show_steps

    with _open(where or context.obj, only_read=True) as kept, _named():
        row = kept.meant(run)
        steps = kept.steps(row.id)
        result = kept.result(row.id) if row.kind == "record" else None
        results = list(kept.results(row.id)) if row.kind == "batch" else []
    if json:
        print_whole(row, steps, result, results)
    else:
        show_row(row)
        show_steps(steps, records=records)
        show_results(result, results, records=records)
    raise typer.Exit(FAILED if row.status == "failed" else 0)


@app.command()
def send(
    context: typer.Context,
    run: RunArgument,
    event: EventArgument,
    data: DataOption = None,
    trust: TrustOption = False,
    settings: SetOption = None,
    json: JsonOption = False,
    where: RunsOption = None,
) -> None:
    """Send a run the event that it waits for. Exit code 1 when it does not take it, or failed then; 3 when it waits again."""
    from setpoint.data.errors import NotTaken

    value = decoded(data) if data is not None else None
    with _open(where or context.obj) as kept, _machine(kept, run, trust, settings) as (fsm, row):
        try:
            result = fsm.runs.send(row.id, event, value)
        except (NotTaken, TypeError) as error:
            raise Trouble(str(error)) from None
    _end(result, json=json)


@app.command()
def resume(
    context: typer.Context,
    run: RunArgument,
    trust: TrustOption = False,
    settings: SetOption = None,
    json: JsonOption = False,
    where: RunsOption = None,
) -> None:
    """Go on with a run that was interrupted; a stream or a batch by the command that began it, with --resume."""
    _go_on(where or context.obj, run, trust, settings, again=False, json=json)


@app.command()
def retry(
    context: typer.Context,
    run: RunArgument,
    trust: TrustOption = False,
    settings: SetOption = None,
    json: JsonOption = False,
    where: RunsOption = None,
) -> None:
    """Try a run that failed or was stopped again, from the state in which that happened."""
    _go_on(where or context.obj, run, trust, settings, again=True, json=json)


@app.command()
def wake(
    context: typer.Context,
    every: EveryOption = None,
    trust: TrustOption = False,
    settings: SetOption = None,
    where: RunsOption = None,
) -> None:
    """Go on with all runs whose time has come. Exit code 1 when one of them failed, or could not go on."""
    from setpoint.store import StoreError

    with _open(where or context.obj) as kept:
        while True:
            try:
                fine = all([_wake(kept, *group, trust, settings) for group in _due(kept).items()])
            except StoreError as error:  # a full disk, a lock: it may be over next time
                if every is None:
                    raise
                print(f"setpoint: {_clean(error)}", file=sys.stderr)
            if every is None:
                raise typer.Exit(0 if fine else FAILED)
            time.sleep(every)


@app.command()
def stop(context: typer.Context, run: RunArgument, because: BecauseOption = "", where: RunsOption = None) -> None:
    """End a run that waits or was interrupted."""
    with _open(where or context.obj) as kept, _named():
        row = kept.meant(run)
        kept.stop(row.id, because)
    print(f"run {_clean(row.id)} is stopped")


@app.command()
def prune(
    context: typer.Context,
    older: OlderOption,
    keep_failed: KeepFailedOption = False,
    where: RunsOption = None,
) -> None:
    """Forget runs that ended long ago; what is unfinished stays."""
    from setpoint.cli.output import seconds_of

    days = seconds_of(older if older[-1:].isalpha() else f"{older}d") / 86_400
    with _open(where or context.obj) as kept:
        gone = kept.prune(days=days, keep_failed=keep_failed)
    print(f"{gone} run{'s' * (gone != 1)} forgotten")


# finding a run, and its machine


@contextmanager
def _open(where: Path | None, *, only_read: bool = False) -> Iterator[Runs]:
    from setpoint.data.runs import Runs
    from setpoint.places import DATA, RUNS
    from setpoint.store import StoreError

    file = where or Path(DATA, RUNS)
    if not file.is_file():
        raise Trouble(f"there are no runs at {file}", "setpoint run keeps them there; --runs PATH names another file")
    try:
        kept = Runs(file, days=0, read_only=only_read)
    except StoreError as error:
        raise Trouble(str(error)) from None
    try:
        yield kept
    except StoreError as error:
        raise Trouble(str(error)) from None
    finally:
        kept.close()


@contextmanager
def _named() -> Iterator[None]:
    """Has what a run cannot do end the command: what it is, its machine of another version, its record."""
    from setpoint.data.runs import NotKept

    try:
        yield
    except (ValueError, NotKept) as error:
        raise Trouble(str(error)) from None


@contextmanager
def _machine(kept: Runs, run: str, trust: bool, settings: Sequence[str] | None) -> Iterator[tuple[SimpleFSM, RunRow]]:
    """The machine of a run, and the run. Raises `Trouble`."""
    with _named():
        row = kept.meant(run)
    with _machine_in(_file(row), kept, trust, settings) as fsm, _named():
        yield fsm, row


def _file(row: RunRow) -> str:
    """The file of its machine; empty for a run that a program began."""
    return str(row.about.get("file", ""))


@contextmanager
def _machine_in(file: str, kept: Runs, trust: bool, settings: Sequence[str] | None) -> Iterator[SimpleFSM]:
    """The machine that runs began with, read from its file. Raises `Trouble`."""
    if not file or not Path(file).is_file():
        raise Trouble(
            f"the file of its machine is gone: {file}" if file else "it was begun by a program",
            "go on with it in Python: SimpleFSM(config, runs=FILE).runs.resume(NAME)",
        )
    with machine_of(Path(file), trust=trust, settings=settings or (), runs=kept) as fsm:
        yield fsm


def _go_on(
    where: Path | None, run: str, trust: bool, settings: Sequence[str] | None, *, again: bool, json: bool
) -> None:
    with _open(where) as kept, _machine(kept, run, trust, settings) as (fsm, row):
        if again and row.status == "done":
            print(f"setpoint: run {_clean(row.id)} is done: there is nothing to try again", file=sys.stderr)
        result = fsm.runs.resume(row.id, again=again)
    _end(result, json=json)


def _due(kept: Runs) -> dict[str, list[RunRow]]:
    """The runs whose time has come, by the file of their machine."""
    found: dict[str, list[RunRow]] = {}
    for row in kept.store.due(kept.wall()):
        found.setdefault(_file(row), []).append(row)
    return found


def _wake(kept: Runs, file: str, rows: Sequence[RunRow], trust: bool, settings: Sequence[str] | None) -> bool:
    """Goes on with runs of one machine; whether all went well. One that does not is no reason not to go on with the others."""
    try:
        with _machine_in(file, kept, trust, settings) as fsm:
            return all([_woken(fsm, row) for row in rows])
    except Trouble as trouble:
        why = trouble.error
    except typer.Exit:  # its faults are on the terminal
        why = f"{file} has errors"
    for row in rows:
        print(f"{_clean(row.id)}: {_clean(why)}", flush=True)
    return False


def _woken(fsm: SimpleFSM, row: RunRow) -> bool:
    try:
        with _named():
            result = fsm.runs.resume(row.id)
    except Trouble as trouble:
        print(f"{_clean(row.id)}: {_clean(trouble.error)}", flush=True)
        return False
    print(f"{_clean(row.id)}: {' → '.join(map(_clean, (*result.path, *map(str, result.waits))))}", flush=True)
    return result.error is None


def _since(age: str) -> float | None:
    from setpoint.cli.output import seconds_of

    return time.time() - seconds_of(age) if age else None


# what is said


def _clean(text: object) -> str:
    from setpoint.cli.output import clean

    return clean(text)


def _end(result: Result, *, json: bool) -> None:
    """Says what came of a run, and ends the command."""
    from setpoint.cli.told import say_result

    raise typer.Exit(say_result(result, as_json=json))
