"""``setpoint run``: records through a machine, from the command line.

There are three ways. One record (``--data``) is carried and shown: its path, what became of it, its error. A stream (``--input``) goes
chunk by chunk into ``--output``, in bounded memory, to be resumed where it broke off. A batch (``--batch``) is read whole, carried, and
then written, in one transaction where the machine asks for that; its results can be had one by one (``--json``).

Records go to ``--output``, by default to stdout. The accounting, which says how many records ended where, goes to stdout too, or to stderr
where the records are on stdout. What did not come through is named: in ``OUTPUT.dead.jsonl`` beside a file, else the first of it here.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TextIO, TypeVar

import typer

from setpoint.cli.connect import JsonOption
from setpoint.cli.told import Meter, account, fault_at, fault_of, plain, reasons, result_in_json, say_faults
from setpoint.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from setpoint.data.batch import Batch
    from setpoint.data.fsm import SimpleFSM
    from setpoint.data.plan import Plan
    from setpoint.data.stream import Chunk, Sink, StreamReport

T = TypeVar("T")
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this stream broke off.")] = False,
) -> None:
    """Carry records through a machine: one, a batch of them, or a stream.

    Exit code 1 when a record failed, was no record, or was not reached."""
    asked = Asked(file, data, input, output, batch, stream, workers, trust, settings or [], json, resume)
    way = _way(asked)
    record = _decoded(data) if data is not None else None
    fsm = _machine(asked)
    try:
        succeeded = way(fsm, asked, record)
    except KeyboardInterrupt:
        raise Trouble("interrupted before anything was done") from None
    except ValueError as error:  # options that do not go together
        raise Trouble(str(error)) from None
    raise typer.Exit(0 if succeeded else FAILED)


# what was asked


def _way(asked: Asked) -> Callable[[SimpleFSM, Asked, Any], bool]:
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
            asked.resume and (asked.batch or None in (asked.input, asked.output)),
            "--resume is for a stream from a file into a file or a database",
            "give --input and --output as before",
        ),
    )
    for there, fault, remedy in faults:
        if there:
            raise Trouble(fault, remedy, code=USAGE)
    if asked.batch:
        return _batch
    return _one if asked.data is not None and asked.output is None and not asked.stream else _stream


def _decoded(text: str) -> Any:
    """A record, read as a line of JSON Lines is. Raises `Trouble`."""
    import msgspec

    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Trouble(f"--data is not JSON: {error}", """e.g. --data '{"amount": 3}'""", code=USAGE) from None


def _machine(asked: Asked) -> SimpleFSM:
    """Raises `typer.Exit` where the file has faults, which are then printed as ``setpoint check`` prints them, and `Trouble`."""
    from setpoint.data.config import ConfigError, load
    from setpoint.data.errors import PlanError
    from setpoint.data.fsm import SimpleFSM

    if asked.trust:
        sys.path.insert(0, str(asked.file.parent.absolute()))
    given = _Settings(asked.settings)
    try:
        fsm = SimpleFSM(load(asked.file, trust=asked.trust, env=given), trust=asked.trust)
    except ConfigError as error:
        say_faults(asked.file, [fault_of(problem) for problem in error.problems])
        raise typer.Exit(FAILED) from None
    except PlanError as error:
        places = zip(error.faults, error.places, strict=True)
        say_faults(asked.file, [fault_at(place, text, asked.file) for text, place in places])
        raise typer.Exit(FAILED) from None
    except ValueError as error:  # a resource whose settings are wrong
        raise Trouble(f"{asked.file}: {error}", f"setpoint check {asked.file} says what is wrong with it") from None
    if unused := given.unused():
        fsm.close()
        raise Trouble(
            f"--set {unused}: {asked.file} has no ${{{unused}}}", "correct the name, or leave it out", code=USAGE
        )
    return fsm


class _Settings(Mapping[str, str]):
    """The variables of the process with those of ``--set`` above them. It notes which of these were asked for."""

    def __init__(self, settings: list[str]) -> None:
        pairs = [setting.partition("=") for setting in settings]
        for name, equals, _ in pairs:
            if not equals or not name:
                raise Trouble(f"--set {name}: expected NAME=VALUE", "e.g. --set LIMIT=100", code=USAGE)
        self._set = {name: value for name, _, value in pairs}
        self._asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self._asked.add(name)
        return self._set[name] if name in self._set else os.environ[name]

    def __iter__(self) -> Any:
        return iter({**os.environ, **self._set})

    def __len__(self) -> int:
        return len({**os.environ, **self._set})

    def unused(self) -> str:
        """A setting that nothing asked for; empty where there is none."""
        return next((name for name in self._set if name not in self._asked), "")


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Has what a source or a sink raises end the command, whatever it is: databases and services have errors of their own."""
    try:
        yield
    except (Trouble, BrokenPipeError):
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        remedy = "name a file (.jsonl, .json, .csv, .tsv, .txt), a folder to read, or a URL; of a database URL#table"
        raise Trouble(f"{what}: {reason}", remedy) from None


# the three ways


def _carried(fsm: SimpleFSM, plain: Callable[[], T], awaited: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What comes of the work, with the machine closed after it; in one event loop where it needs one."""
    if not fsm.plan.is_async:
        with fsm:
            return plain()

    async def whole() -> T:
        async with fsm:
            return await awaited()

    import asyncio

    return asyncio.run(whole())


def _one(fsm: SimpleFSM, asked: Asked, record: Any) -> bool:
    from setpoint.cli.output import clean, print_json

    result = _carried(fsm, lambda: fsm.process(record), lambda: fsm.aprocess(record))
    if asked.json:
        print_json(result_in_json(result))
        return result.success
    print(
        clean(" → ".join((*result.path, *([] if result.path[-1:] == (result.final_state,) else [result.final_state]))))
    )
    for handled in result.handled:
        print(f"handled: {clean(handled)}")
    for said, error in reasons(result.error):
        print(f"{said}: {clean(error)}")
    print_json(plain(result.data))
    return result.success


def _stream(fsm: SimpleFSM, asked: Asked, record: Any) -> bool:
    from setpoint.data.stream import StreamError, open_sink, open_source

    with _named(f"--output {asked.output or STDIO}"):
        sink = open_sink(asked.output or STDIO)
    with _named(f"--input {asked.input or ''}"):
        source = open_source([record] if asked.input is None else asked.input)
    if asked.resume and not sink.keeps_mark:
        raise Trouble(
            f"{asked.output} does not remember how far a stream came", "resume into a file or a database", code=USAGE
        )
    meter = Meter()
    options: dict[str, Any] = {"resume": asked.resume, "on_progress": meter.stream, "on_commit": meter.commit}
    if asked.workers is not None:
        options |= {"concurrency": asked.workers} if fsm.plan.is_async else {"processes": _processes(asked.workers)}
    try:
        report = _carried(
            fsm,
            lambda: fsm.process_stream(source, sink, **options),
            lambda: fsm.aprocess_stream(source, sink, **options),
        )
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
    return report.success


def _teller(asked: Asked) -> TextIO:
    """Where the accounting goes: not among the records."""
    return sys.stderr if asked.output in (None, STDIO) else sys.stdout


def _processes(workers: int) -> int:
    return workers if workers > 1 else 0


def _batch(fsm: SimpleFSM, asked: Asked, record: Any) -> bool:
    from setpoint.data.batch import Batch, arun_batch, run_batch

    with _named(f"--input {asked.input or ''}"):
        chunk = _whole(asked, record)
    with _named(f"--output {asked.output or STDIO}"):
        sink = _sink(asked)
    results, meter, began = Batch(), Meter(), time.perf_counter()
    share: dict[str, Any] = {"on_progress": meter.batch, "into": results}
    if asked.workers is not None:
        share |= {"concurrency": asked.workers} if fsm.plan.is_async else {"processes": _processes(asked.workers)}
    try:
        _carried(
            fsm,
            lambda: run_batch(fsm.plan, chunk.records, **share),
            lambda: arun_batch(fsm.plan, chunk.records, **share),
        )
    except KeyboardInterrupt:
        results.interrupted = True
    meter.clear()
    with _named(f"--output {asked.output or STDIO}"):
        report = _written(fsm.plan, sink, _reached(chunk, results), results)
    report.duration = time.perf_counter() - began
    told = asked.json and asked.output is None
    account(report, to=sys.stdout if told else _teller(asked), as_json=asked.json, results=results if told else None)
    return report.success


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
    accounts = Accounts(silent_states(plan), letters, source="")
    try:
        sink.open(False)
        letters.open(False, 0)
        ended = accounts.sort(chunk, results)
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
