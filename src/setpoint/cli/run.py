"""``setpoint run``: records through a machine, from the command line.

There are three ways. One record (``--data``) is carried and shown: its path, what became of it, its error. A stream (``--input``) goes
chunk by chunk into ``--output``, in bounded memory, to be resumed where it broke off. A batch (``--batch``) is read whole, carried, and
then written, in one transaction where the machine asks for that; its results can be had one by one (``--json``).

Records go to ``--output``, by default to stdout. The accounting, which says how many records ended where, goes to stdout too, or to stderr
where the records are on stdout. What did not come through is named: in ``OUTPUT.dead.jsonl`` beside a file, else the first of it here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TextIO

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.loading import RunsOption, decoded, machine_of, named, runs_at
from setpoint.cli.told import Meter, account, say_result
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.data.batch import Batch
    from setpoint.data.fsm import SimpleFSM
    from setpoint.data.plan import Plan
    from setpoint.data.runs import Runs
    from setpoint.data.stream import Chunk, Sink, StreamReport

STDIO: Final = "-"


class Asked(NamedTuple):
    """What the command line says."""

    file: Path
    data: str | None
    input: str | None
    output: str | None
    batch: bool
    stream: bool
    workers: int | None
    trust: bool
    settings: list[str]
    json: bool
    resume: bool
    name: str
    runs: Path | None
    dead: Path | None
    threshold: float


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A machine for records, in YAML or JSON.")],
    data: Annotated[
        str | None, typer.Option("--data", metavar="JSON", help="One record; with --batch a list.", show_default=False)
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", metavar="PATH", help="Records: a file, a folder, a URL, or '-'.", show_default=False
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="Where they go: a file, a URL, or '-'.", show_default=False
        ),
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Read all records, carry them, then write them.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Chunk by chunk, the way of --input by default.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="N", help="Processes; for async functions, records at once.", show_default=False
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="The file may hold Python, and import modules beside it.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A value for ${NAME} in the file.", show_default=False),
    ] = None,
    json: JsonOption = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this stream or batch broke off.")] = False,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What this run is called.", show_default=False)
    ] = "",
    runs: RunsOption = None,
    dead: Annotated[
        Path | None,
        typer.Option(
            "--dead-letters", metavar="PATH", help="Where what did not come through goes.", show_default=False
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--error-threshold", min=0.0, max=1.0, metavar="SHARE", help="End a stream of which more fails than that."
        ),
    ] = 1.0,
) -> None:
    """Carry records through a machine: one, a batch of them, or a stream.

    Runs are kept: see setpoint runs. Exit code 1 when a record failed, was no record, or was not reached, 3 when one waits for an event."""
    from setpoint.data.runs import NotKept
    from setpoint.flows import ends
    from setpoint.store import StoreError

    asked = Asked(
        file,
        data,
        input,
        output,
        batch,
        stream,
        workers,
        trust,
        settings or [],
        json,
        resume,
        name,
        runs,
        dead,
        threshold,
    )
    way = _way(asked)
    ends.register()
    record = decoded(data) if data is not None else None
    kept = runs_at(asked.runs, about=_about(asked), must=asked.resume or bool(asked.name))
    fsm = machine_of(asked.file, trust=asked.trust, settings=asked.settings, runs=kept)
    called = ""
    try:
        called = _called(fsm, asked, kept)
        if way is _one and kept is not None and kept.store.get(called) is not None:
            print(f"setpoint: run {called} is there already; this is what comes of its own record", file=sys.stderr)
        code = way(fsm, asked, record, called)
    except KeyboardInterrupt:
        goes_on = f"setpoint runs resume {called} goes on with it" if kept is not None and way is _one else ""
        raise Trouble("interrupted", goes_on) from None
    except (ValueError, NotKept, StoreError) as error:  # options that do not go together, a run that cannot be kept
        raise Trouble(str(error)) from None
    finally:
        if kept is not None:
            kept.close()
    raise typer.Exit(code)


def _about(asked: Asked) -> dict[str, str]:
    """What is noted with the run."""
    from setpoint.data.runs.runs import named as name_of

    ends = {"input": asked.input, "output": asked.output}
    named_ends = {key: name_of(end) for key, end in ends.items() if end is not None}
    folder = {"folder": str(Path.cwd())} if named_ends else {}  # their names may be relative to it
    return {"file": str(asked.file.absolute()), **folder, **named_ends}


def _called(fsm: SimpleFSM, asked: Asked, kept: Runs | None) -> str:
    """The name of the run: as it is asked for, that of the run to go on with, or a new one. Raises `RunError`."""
    from setpoint.data.runs.runs import nameable

    if asked.resume and kept is not None and not asked.name:
        kind = "batch" if asked.batch else "stream"
        last = kept.find(machine=fsm.definition.name, kind=kind, status="interrupted", about=_about(asked), limit=1)
        if last:
            return last[0].id
    return nameable(asked.name) or f"{time.strftime('%m%d-%H%M%S')}-{os.urandom(2).hex()}"


# what was asked


def _way(asked: Asked) -> Callable[[SimpleFSM, Asked, Any, str], int]:
    """How to carry them. Raises `Trouble` for options that contradict each other."""
    one = asked.input is None and not asked.batch
    faults = (
        (
            asked.data is None and asked.input is None,
            "there are no records",
            "give one by --data JSON, many by --input PATH",
        ),
        (asked.data is not None and asked.input is not None, "--data and --input are both given", "keep one of them"),
        (asked.batch and asked.stream, "--batch and --stream are both given", "keep one of them"),
        (one and asked.workers is not None, "--workers is for many records", "give them by --input PATH, or --batch"),
        (
            (one or asked.batch) and (asked.dead is not None or asked.threshold < 1),
            "--dead-letters and --error-threshold are for a stream",
            "give records by --input PATH, without --batch",
        ),
        (
            asked.resume and None in (asked.input, asked.output),
            "--resume is for a stream or a batch with --input and --output",
            "give --input and --output as before",
        ),
        (_replaces_input(asked), "what is written would replace what is read", "write to another file than --input"),
    )
    for there, fault, remedy in faults:
        if there:
            raise Trouble(fault, remedy, code=USAGE)
    if asked.batch:
        return _batch
    return _one if asked.data is not None and asked.output is None and not asked.stream else _stream


def _replaces_input(asked: Asked) -> bool:
    """Whether records, or dead letters, would be written to the file that they are read from."""
    if asked.input is None or not os.path.isfile(asked.input):
        return False
    ends = [end for end in (asked.output, asked.dead) if end is not None and os.path.exists(end)]
    return any(os.path.samefile(asked.input, end) for end in ends)


# the three ways


def _one(fsm: SimpleFSM, asked: Asked, record: Any, name: str) -> int:
    with fsm:
        result = fsm.process(record, run=name if fsm.keeps_runs else "")
    return say_result(result, as_json=asked.json)


def _stream(fsm: SimpleFSM, asked: Asked, record: Any, name: str) -> int:
    from setpoint.data.stream import StreamError, open_sink, open_source

    with named(f"--output {asked.output or STDIO}"):
        sink = open_sink(asked.output or STDIO)
    with named(f"--input {asked.input or ''}"):
        source = open_source([record] if asked.input is None else asked.input)
    if asked.resume and not sink.keeps_mark and not fsm.keeps(name):
        what = f"no stream from {asked.input} into {asked.output} was interrupted here"
        raise Trouble(what, "begin it without --resume", code=USAGE)
    meter = Meter()
    options: dict[str, Any] = {
        "error_threshold": asked.threshold,
        "resume": asked.resume,
        "on_progress": meter.stream,
        "on_commit": meter.commit,
    }
    if asked.dead is not None:
        options["dead_letters"] = asked.dead
    if asked.workers is not None:
        options |= {"concurrency": asked.workers} if fsm.plan.is_async else {"processes": _processes(asked.workers)}
    try:
        with fsm:
            report = fsm.process_stream(source, sink, run=name, **options)
    except KeyboardInterrupt:
        report = meter.interrupted()
    except StreamError as error:
        meter.clear()
        if isinstance(error.__cause__, BrokenPipeError):
            raise error.__cause__ from None
        account(error.report, to=_teller(asked), as_json=asked.json)
        what = str(error).partition("; ")[0]
        raise Trouble(
            what, "what is counted above is kept; --resume goes on from there" if sink.keeps_mark else ""
        ) from None
    meter.clear()
    account(report, to=_teller(asked), as_json=asked.json, resumable=sink.keeps_mark)
    return 0 if report.success else FAILED


def _teller(asked: Asked) -> TextIO:
    """Where the accounting goes: not among the records."""
    return sys.stderr if asked.output in (None, STDIO) else sys.stdout


def _processes(workers: int) -> int:
    return workers if workers > 1 else 0


def _batch(fsm: SimpleFSM, asked: Asked, record: Any, name: str) -> int:
    with named(f"--input {asked.input or ''}"):
        chunk = _whole(asked, record)
    with named(f"--output {asked.output or STDIO}"):
        sink = _sink(asked)
    meter, began = Meter(), time.perf_counter()
    reports: list[StreamReport] = []

    def write(results: Batch) -> None:
        meter.clear()
        with named(f"--output {asked.output or STDIO}"):
            reports.append(_written(fsm.plan, sink, _reached(chunk, results), results))

    share: dict[str, Any] = {"on_progress": meter.batch, "run": name, "on_end": write}
    if asked.workers is not None:
        share |= {"max_workers": asked.workers} if fsm.plan.is_async else {"processes": _processes(asked.workers)}
    with fsm:
        results = fsm.process_batch(chunk.records, **share)
    if not reports and None not in (asked.input, asked.output) and fsm.keeps(name):
        meter.clear()
        carried = f"{len(results):,} of {len(chunk.records):,} records were carried, nothing is written yet"
        raise Trouble(f"interrupted: {carried}", "--resume goes on from there")
    if not reports:
        write(results)
    [report] = reports
    report.duration = time.perf_counter() - began
    told = asked.json and asked.output is None
    account(report, to=sys.stdout if told else _teller(asked), as_json=asked.json, results=results if told else None)
    return 0 if report.success else FAILED


def _whole(asked: Asked, record: Any) -> Chunk:
    """All records of the input, as one chunk. Raises `Trouble`, `ValueError` and `OSError`."""
    from setpoint.data.stream import Chunk, open_source
    from setpoint.data.stream.parts import reads_async

    if asked.input is None and not isinstance(record, list):
        raise Trouble("--data with --batch is a list of records", "e.g. --data '[{}, {}]'", code=USAGE)
    source: Any = open_source(asked.input if asked.input is not None else record)
    if reads_async(source):
        raise Trouble(f"{asked.input} may never end", "read it by --stream", code=USAGE)
    chunks: list[Chunk] = []
    try:
        while (chunk := source.read(1000)) is not None:
            chunks.append(chunk)
    finally:
        source.close()
    origins = [(chunk, index) for chunk in chunks for index in range(len(chunk.records))]
    return Chunk(
        [record for chunk in chunks for record in chunk.records],
        {},
        [place for chunk in chunks for place in chunk.places],
        [bad for chunk in chunks for bad in chunk.malformed],
        lambda number: origins[number][0].was(origins[number][1]),
    )


def _sink(asked: Asked) -> Sink:
    """Where a batch is written: nowhere, where its results are shown instead. Raises `Trouble` and `ValueError`."""
    from setpoint.data.stream import open_sink
    from setpoint.data.stream.parts import writes_async

    sink: Any = open_sink(asked.output or (None if asked.json else STDIO))
    if writes_async(sink):
        raise Trouble(f"{asked.output} is written record by record", "write it by --stream", code=USAGE)
    chosen: Sink = sink
    return chosen


def _reached(chunk: Chunk, results: Batch) -> Chunk:
    """The records that were carried, in the order of their results: all of them unless the batch was interrupted."""
    from msgspec.structs import replace

    indices = results.indices
    return replace(
        chunk,
        records=[chunk.records[index] for index in indices],
        places=[chunk.places[index] for index in indices],
        original=lambda number: chunk.was(indices[number]),
    )


def _written(plan: Plan, sink: Sink, chunk: Chunk, results: Batch) -> StreamReport:
    """Writes what came of a batch, and its dead letters; what there is to say of it. Raises `OSError`."""
    from setpoint.data.stream import Mark, StreamReport
    from setpoint.data.stream.dead import DeadLetters
    from setpoint.data.stream.files import FileSink
    from setpoint.data.stream.report import Accounts, silent_states

    beside = sink.path.with_name(f"{sink.path.name}.dead.jsonl") if isinstance(sink, FileSink) else None
    letters = DeadLetters(beside)
    accounts = Accounts(letters, source="")
    try:
        sink.open(False)
        letters.open(False, 0)
        ended = accounts.sort(chunk, results, silent_states(plan))
        accounts.wrote(chunk, ended, sink.write(ended.records, {}) if ended.records else ())
        sink.commit(Mark({}, accounts.counts, letters.flush()))
        sink.finish()
    finally:
        sink.abort()
        letters.close()
    return StreamReport(
        counts=accounts.counts,
        first=letters.first,
        dead_letters=str(beside or ""),
        interrupted=results.interrupted,
        finished=not results.interrupted,
    )
