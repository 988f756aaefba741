"""``setpoint runs``: what was run and how it stands, run by run; and what brings one on: an event, a retry, the time.

Runs are kept by ``setpoint run`` in ``.setpoint/runs.sqlite`` of the folder it was started in, or where ``--runs`` says. To go on with a
run its machine is read from the file it began with; if that has changed since, the run goes on with the version it began with.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.loading import RunsOption, decoded, machine_of
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.data.fsm import SimpleFSM
    from setpoint.data.result import Result
    from setpoint.data.runs import RunRow, Runs, StepRow

STYLES: Final = {"done": "green", "failed": "bold red", "waiting": "cyan", "interrupted": "yellow", "running": "cyan"}
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
DaysOption = Annotated[
    float, typer.Option("--older-than", min=0, metavar="DAYS", help="Runs that ended so many days ago.")
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
    from setpoint.data.runs import Query
    from setpoint.store.run_rows import Status

    known = get_args(Status)
    for given, words, option in ((status, known, "--status"), (kind, ("record", "batch", "stream"), "--kind")):
        if given and given not in words:
            raise Trouble(f"{option} {given}: there are {', '.join(words)}", code=USAGE)
    query = Query(machine=machine, status=status, kind=kind, since=_since(since), limit=limit)  # type: ignore[arg-type]  # checked above
    with _open(where) as kept:
        rows, counts = kept.find(query), kept.count(query)
    if json:
        from setpoint.cli.output import print_json

        print_json([_row_in_json(row) for row in rows])
    elif rows:
        _show_list(rows, counts)
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
    with _open(where or context.obj) as kept:
        row = _found(kept, run)
        steps = kept.steps(row.id)
        result = kept.result(row.id) if row.kind == "record" else None
        results = list(kept.results(row.id)) if row.kind == "batch" else []
    if json:
        _print_whole(row, steps, result, results)
    else:
        _show_row(row)
        _show_steps(steps, records=records)
        if result is not None:
            _show_end(result)
        for number, one in results:
            if records or one.error is not None:
                print(f"{number:>8}  {one.final_state}" + (f"  {_clean(one.error)}" if one.error else ""))
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
    with _open(where or context.obj) as kept:
        while True:
            fine = all([_woken(kept, row, trust, settings) for row in kept.store.due(kept.wall())])
            if every is None:
                raise typer.Exit(0 if fine else FAILED)
            time.sleep(every)


@app.command()
def stop(context: typer.Context, run: RunArgument, because: BecauseOption = "", where: RunsOption = None) -> None:
    """End a run that waits or was interrupted."""
    with _open(where or context.obj) as kept:
        row = _found(kept, run)
        with _named():
            kept.stop(row.id, because)
    print(f"run {row.id} is stopped")


@app.command()
def prune(
    context: typer.Context,
    days: DaysOption,
    keep_failed: KeepFailedOption = False,
    where: RunsOption = None,
) -> None:
    """Forget runs that ended long ago; what is unfinished stays."""
    with _open(where or context.obj) as kept:
        gone = kept.prune(days=days, keep_failed=keep_failed)
    print(f"{gone} run{'s' * (gone != 1)} forgotten")


# finding a run, and its machine


@contextmanager
def _open(where: Path | None) -> Iterator[Runs]:
    from setpoint.data.runs import Runs
    from setpoint.places import DATA, RUNS
    from setpoint.store import StoreError

    file = where or Path(DATA, RUNS)
    if not file.is_file():
        raise Trouble(f"there are no runs at {file}", "setpoint run keeps them there; --runs PATH names another file")
    try:
        kept = Runs(file, days=0)
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
    """Has what a run cannot do end the command."""
    from setpoint.data.runs import RunError

    try:
        yield
    except RunError as error:
        raise Trouble(str(error)) from None


def _found(kept: Runs, run: str) -> RunRow:
    with _named():
        return kept.get(run)


@contextmanager
def _machine(kept: Runs, run: str, trust: bool, settings: Sequence[str] | None) -> Iterator[tuple[SimpleFSM, RunRow]]:
    """The machine of a run, read from the file it began with. Raises `Trouble`."""
    row = _found(kept, run)
    file = Path(str(row.about.get("file", "")))
    if not file.is_file():
        raise Trouble(
            f"the file of its machine is gone: {file}"
            if row.about.get("file")
            else f"run {row.id} was begun by a program",
            "go on with it in Python: SimpleFSM(config, runs=FILE).runs.resume(NAME)",
        )
    with machine_of(file, trust=trust, settings=settings or (), runs=kept) as fsm, _named():
        yield fsm, row


def _go_on(
    where: Path | None, run: str, trust: bool, settings: Sequence[str] | None, *, again: bool, json: bool
) -> None:
    with _open(where) as kept, _machine(kept, run, trust, settings) as (fsm, row):
        result = fsm.runs.resume(row.id, again=again)
    _end(result, json=json)


def _woken(kept: Runs, row: RunRow, trust: bool, settings: Sequence[str] | None) -> bool:
    try:
        with _machine(kept, row.id, trust, settings) as (fsm, _):
            result = fsm.runs.resume(row.id)
    except Trouble as trouble:
        print(f"{row.id}: {_clean(trouble.error)}")
        return False
    print(f"{row.id}: {' → '.join(map(_clean, (*result.path, *map(str, result.waits))))}")
    return result.error is None


def _since(age: str) -> float | None:
    from setpoint.cli.output import seconds_of

    return time.time() - seconds_of(age) if age else None


# what is shown


def _clean(text: object) -> str:
    from setpoint.cli.output import clean

    return clean(text)


def _show_list(rows: Sequence[RunRow], counts: dict[str, int]) -> None:
    from rich.table import Table
    from rich.text import Text

    from setpoint.cli.output import console

    table = Table(box=None, pad_edge=False)
    for name in ("run", "machine", "status", "at", "began", "took"):
        table.add_column(name, overflow="fold" if name in ("run", "at") else "ellipsis", no_wrap=name == "status")
    for row in rows:
        status = Text(row.status, style=STYLES.get(row.status, "dim"))
        at = row.waits or row.error or row.state or _said(row)
        table.add_row(_clean(row.id), _clean(row.machine), status, _clean(at), _when(row.started), _took(row))
    out = console()
    out.print(table)
    total = sum(counts.values())
    if total > len(rows):
        parts = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        out.print(Text(f"{len(rows)} of {total}: {parts}", style="dim"))


def _show_row(row: RunRow) -> None:
    about = [(key, value) for key, value in row.about.items() if value]
    facts: list[tuple[str, Any]] = [
        ("run", f"{row.id}, a {row.kind}" if row.kind != "record" else row.id),
        ("machine", f"{row.machine} (version {row.version})"),
        ("status", row.status),
        ("waits", row.waits),
        ("until", _when(row.wake) if row.wake else ""),
        ("error", row.error),
        ("records", _said(row)),
        ("began", _when(row.started)),
        ("took", _took(row)),
        *about,
    ]
    for name, value in facts:
        if value:
            print(f"{name:<8} {_clean(value)}")


def _show_steps(steps: Sequence[tuple[StepRow, Any]], *, records: bool) -> None:
    from setpoint.cli.told import plain

    if steps:
        print()
    for step, record in steps:
        moment = datetime.fromtimestamp(step.at, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        said = {"exit": f"→ {step.target}" if step.target else "", "arc": f"→ {step.target}", "wait": "waits"}.get(
            step.kind, step.kind
        )
        took = f"{step.seconds * 1000:.1f} ms" if step.seconds else ""
        tries = f" (attempt {step.attempt})" if step.attempt > 1 else ""
        print(f"{moment}  {_clean(step.state):<20} {_clean(said):<22} {took:>10}{tries}  {_clean(step.error)}".rstrip())
        if records and record is not None:
            print(f"              {_clean(plain(record))}")


def _show_end(result: Result) -> None:
    from setpoint.cli.output import print_json
    from setpoint.cli.told import plain, reasons

    print()
    for said, error in reasons(result.error):
        print(f"{said}: {_clean(error)}")
    print_json(plain(result.data))


def _end(result: Result, *, json: bool) -> None:
    """Says what came of a run, and ends the command."""
    from setpoint.cli.told import say_result

    raise typer.Exit(say_result(result, as_json=json))


def _print_whole(
    row: RunRow, steps: Sequence[tuple[StepRow, Any]], result: Result | None, results: Sequence[tuple[int, Result]]
) -> None:
    from setpoint.cli.output import print_json
    from setpoint.cli.told import plain, result_in_json

    print_json({
        **_row_in_json(row),
        "steps": [
            {
                "at": _moment(step.at), "kind": step.kind, "state": step.state, "arc": step.arc or None, "target": step.target or None,
                "attempt": step.attempt, "seconds": step.seconds, "error": step.error or None, "record": plain(record),
            }
            for step, record in steps
        ],
        "result": result_in_json(result) if result else None,
        "results": [{"number": number, **result_in_json(one)} for number, one in results],
    })  # fmt: skip


def _row_in_json(row: RunRow) -> dict[str, Any]:
    import msgspec

    return {
        "run": row.id, "kind": row.kind, "machine": row.machine, "version": row.version, "status": row.status, "state": row.state or None,
        "waits": row.waits or None, "until": _moment(row.wake) if row.wake else None, "error": row.error or None,
        "started": _moment(row.started), "updated": _moment(row.updated), "ended": _moment(row.ended) if row.ended else None,
        "seconds": row.seconds, "counts": msgspec.json.decode(row.counts) if row.counts else None, "about": dict(row.about),
    }  # fmt: skip


def _said(row: RunRow) -> str:
    import msgspec

    counts = msgspec.json.decode(row.counts) if row.counts else {}
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _when(at: float) -> str:
    from setpoint.cli.output import clock

    return clock(_moment(at))


def _took(row: RunRow) -> str:
    seconds = (row.ended or row.updated) - row.started
    return (
        f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
    )
