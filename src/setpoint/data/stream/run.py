"""Runs a stream: reads a chunk, carries its records through the plan, writes what came of them, commits, reads on.

Where everything is synchronous this is a plain loop: the source is asked when the sink is done, so a slow sink slows the source and nothing
piles up. Where the plan, the source or the sink waits for something, the three work at the same time with a bounded queue of two chunks
between them (`asynchronous`). In both cases the order is kept, memory is bounded by the chunks in hand, and a chunk is kept as a whole: its
output, its dead letters and the mark that says how far the source was read, in that order::

    sink.write → dead letters → sink.commit(mark) → source.acknowledge → on_commit(mark)

A stream that broke off, by an error, Ctrl-C or `kill -9`, is run again with ``resume=True``. A sink that keeps marks (files, SQL) says
where to go on, and each record is in its output exactly once. For others the mark that `on_commit` was given is passed as `start`; the
chunk that was in hand may be written twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from setpoint.data.result import Result
from setpoint.data.stream.carry import carry
from setpoint.data.stream.dead import DeadLetters
from setpoint.data.stream.files import FileSink
from setpoint.data.stream.named import Into, Out, open_sink, open_source
from setpoint.data.stream.parts import AnySink, AnySource, Chunk, Counts, Mark, Sink, Source, reads_async, writes_async
from setpoint.data.stream.report import Accounts, Sorted, StreamError, StreamReport, TooManyErrors, silent_states
from setpoint.data.stream.states import StateFiles, ends_of

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

AUTO: Final = "auto"
"""Dead letters go beside a file sink, as ``<file>.dead.jsonl``; for other sinks only the first few are kept, in the report."""
PROGRESS_EVERY: Final = 0.1

Carry = Callable[[Sequence[Any]], list[Result]]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream is run; see `run_stream`."""

    chunk_size: int = 1000
    concurrency: int = 100
    processes: int = 0
    dead_letters: str | os.PathLike[str] | None = AUTO
    error_threshold: float = 1.0
    resume: bool = False
    start: Mark | None = None
    on_commit: Callable[[Mark], object] | None = None
    on_progress: Callable[[StreamReport], object] | None = None
    stop: Callable[[], bool] | None = None
    live: Callable[[], Plan] | None = None
    in_loop: Callable[[Coroutine[Any, Any, Any]], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("chunk_size", "concurrency"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: it must be at least 1")
        if not 0 <= self.error_threshold <= 1:
            raise ValueError(f"error_threshold={self.error_threshold}: it is a share of what is read, from 0 to 1")


def run_stream(plan: Plan, source: Into, sink: Out = None, **options: Any) -> StreamReport:
    """Carry all records of the source to the sink; what came of it.

    `source` and `sink` are a path, ``-``, a URL, a `Source` or `Sink`; also an iterable, and a list or a function. Options:

    chunk_size       records that are read, carried and committed together, at most
    concurrency      records of an async plan that are on their way at once
    processes        carry in so many processes (for plans that keep a processor busy; see `setpoint.data.processes`)
    dead_letters     the file of what did not come through; None: none; by default beside a file sink
    error_threshold  the share (0 to 1) of what was read that may fail or be no record, looked at before each commit: above it the
                     stream breaks off with `TooManyErrors`, and the chunk that was too much is not kept
    resume, start    go on where an earlier run broke off; `start` is the mark to go on from where the sink keeps none
    on_commit        is given the mark of each chunk after it was committed
    on_progress      is given the report as it grows, at most ten times a second and at the end
    live             gives the plan for the next chunk, where that may be another by then
    in_loop          runs a coroutine to its end, for whoever has an event loop for that
    stop             is asked after each chunk; True ends the stream there, to be resumed

    Ctrl-C ends it with `interrupted` set. Raises `StreamError` where source, sink or `on_commit` break, `ValueError` for options and
    sources that make no sense; `RuntimeError` in a running event loop when a part is async (there: `await arun_stream`).
    """
    chosen = Options(**options)
    ends = opened(source, sink)
    if plan.is_async or reads_async(ends[0]) or writes_async(ends[1]):
        return _in_loop(plan, ends, chosen)
    work = Work(plan, *ends, chosen)
    if not chosen.processes:
        return _loop(work, *ends, lambda records: carry(work.present(), records))
    from setpoint.data.processes import Pool

    with Pool(plan, chosen.processes) as pool:
        return _loop(work, *ends, pool.carry)


async def arun_stream(plan: Plan, source: Into, sink: Out = None, **options: Any) -> StreamReport:
    """As `run_stream`, in the running event loop; parts that block work in threads. What is committed stays when it is cancelled."""
    from setpoint.data.stream.asynchronous import pipeline

    chosen = Options(**options)
    if chosen.processes:
        raise ValueError("processes are for run_stream with synchronous parts; an asynchronous stream has concurrency")
    ends = opened(source, sink)
    return await pipeline(Work(plan, *ends, chosen), *ends)


def opened(source: Into, sink: Out) -> tuple[Any, Any]:
    """Both ends. Raises `ValueError` for a file that would be read and replaced at the same time."""
    paths = [os.fspath(end) for end in (source, sink) if isinstance(end, str | os.PathLike)]
    if len(paths) == 2 and all(map(os.path.exists, paths)) and os.path.samefile(*paths):
        raise ValueError(f"{paths[1]} is what is read, too: write to another file")
    opened_source = open_source(source)
    return opened_source, open_sink(sink)


class Work:
    """What both ways of running a stream share: the accounts, the dead letters, the marks and the report."""

    def __init__(self, plan: Plan, source: AnySource, sink: AnySink, options: Options) -> None:
        self.plan = plan
        self.options = options
        self.stage = "source"
        self._letters = DeadLetters(_beside(sink) if options.dead_letters == AUTO else options.dead_letters)
        self._accounts = Accounts(self._letters, source=str(getattr(source, "name", "")))
        self.report = StreamReport(first=self._letters.first)
        if self._letters.path is not None:
            self.report.dead_letters = str(self._letters.path)
        self._dead = 0
        self._in_doubt = False
        self._started = self._told = time.perf_counter()
        self._keeps_mark = sink.keeps_mark
        if isinstance(sink, StateFiles):
            sink.expect(ends_of(plan.definition))

    def begin(self, kept: Mark | None) -> Mark | None:
        """Where to go on, given what the sink kept; None at the beginning."""
        mark = kept
        if self.options.resume and mark is None and not self._keeps_mark:
            mark = self.options.start
        if mark is not None and mark.done:  # the next load: what was told of the one before is told
            self._dead = self._letters.size()
            self._letters.open(True, self._dead)
            self.report.resumed_from = mark
            return mark
        self._letters.open(mark is not None, mark.dead if mark else 0)
        if mark is not None:
            self._dead = mark.dead
            self._accounts.counts = _copy(mark.counts)
            self.report.resumed_from = mark
            self.report.counts = _copy(mark.counts)
        return mark

    def present(self) -> Plan:
        """The plan for the next chunk: the one in force by now. Raises `RuntimeError` where it needs a loop there is not."""
        if self.options.live is not None:
            plan = self.options.live()
            if plan.is_async and not self.plan.is_async:
                raise RuntimeError(
                    "the new version of the machine has async functions and this stream has no event loop"
                )
            self.plan = plan
        return self.plan

    def sort(self, chunk: Chunk, results: Sequence[Result], plan: Plan) -> Sorted:
        """What is to be written of a chunk that this plan carried."""
        self.stage = "sink"
        return self._accounts.sort(chunk, results, silent_states(plan))

    def mark(self, chunk: Chunk, written: Sorted, refused: Any) -> Mark:
        """The mark of a chunk that was written; its dead letters are in their file."""
        self._accounts.wrote(chunk, written, refused)
        self._in_doubt = True
        mark = Mark(chunk.position, _copy(self._accounts.counts), self._letters.flush())
        self._bear(mark.counts)
        return mark

    def _bear(self, counts: Counts) -> None:
        """Raises `TooManyErrors`. The dead letters of the chunk stay in their file, for whoever looks for the reason."""
        bad, most = sum(counts.failed.values()) + counts.malformed, self.options.error_threshold
        good = sum(counts.emitted.values()) + sum(counts.excluded.values())  # a split record counts once for each part
        if bad > most * (good + bad):
            example = str(self._letters.first[0]) if self._letters.first else "all of them before this run began"
            raise TooManyErrors(counts, most, example)

    def committed(self, mark: Mark) -> None:
        """The chunk is kept."""
        self._dead, self._in_doubt = mark.dead, False
        self.report.counts = mark.counts
        self._tell()

    def end(self, *, finished: bool) -> StreamReport:
        """The stream is done, or was told to end."""
        self._letters.close()
        self.report.duration = time.perf_counter() - self._started
        self.report.finished, self.report.interrupted = finished, not finished
        if self.options.on_progress is not None:
            self.options.on_progress(self.report)
        return self.report

    def broke(self, error: BaseException) -> StreamError:
        """It broke: what was not committed is taken back from the dead letters."""
        self.undo()
        what = f"the {self.stage} broke: {type(error).__name__}: {error}"
        if isinstance(error, TooManyErrors):
            what = str(error)
        return StreamError(what, self.report)

    def undo(self) -> None:
        """Forget what was not committed. Where a commit broke off it may be kept; then a resume cuts the dead letters to what is."""
        self._letters.close()
        path = self._letters.path
        if not self._in_doubt and path is not None and path.exists() and path.stat().st_size > self._dead:
            os.truncate(path, self._dead)
        self.report.duration = time.perf_counter() - self._started

    def _tell(self) -> None:
        now = time.perf_counter()
        if self.options.on_progress is not None and now - self._told >= PROGRESS_EVERY:
            self._told = now
            self.report.duration = now - self._started
            self.options.on_progress(self.report)


def _loop(work: Work, source: Source, sink: Sink, carried: Carry) -> StreamReport:
    """A stream whose parts are all synchronous."""
    finished = False
    try:
        _begin(work, source, sink)
        finished = _chunks(work, source, sink, carried)
        work.stage = "sink"
        if finished:
            sink.finish()
    except KeyboardInterrupt:
        work.undo()
    except Exception as error:
        raise work.broke(error) from error
    finally:
        sink.abort()
        source.close()
    return work.end(finished=finished)


def given(sink: AnySink, written: Sorted, chunk: Chunk) -> tuple[Any, ...]:
    """What `write` of the sink is called with."""
    at = (written.records, chunk.position)
    return (*at, written.states) if isinstance(sink, StateFiles) else at


def _begin(work: Work, source: Source, sink: Sink) -> None:
    work.stage = "sink"
    mark = work.begin(sink.open(work.options.resume))
    work.stage = "source"
    if mark is not None:
        source.seek(mark.source)


def _chunks(work: Work, source: Source, sink: Sink, carried: Carry) -> bool:
    """Chunk after chunk, to the end of the source (True) or until told to stop."""
    options, seconds, clock = work.options, work.report.seconds, time.perf_counter
    while options.stop is None or not options.stop():
        began = clock()
        work.stage = "source"
        chunk = source.read(options.chunk_size)
        have = clock()
        seconds["source"] += have - began
        if chunk is None:
            return True
        work.stage = "plan"
        results = carried(chunk.records)
        done = clock()
        seconds["plan"] += done - have
        written = work.sort(chunk, results, work.plan)
        refused = sink.write(*given(sink, written, chunk)) if written.records else ()
        mark = work.mark(chunk, written, refused)
        sink.commit(mark)
        work.committed(mark)
        source.acknowledge(chunk.position)
        if options.on_commit is not None:
            work.stage = "checkpoint"
            options.on_commit(mark)
        seconds["sink"] += clock() - done
    return False


def _in_loop(plan: Plan, ends: tuple[Any, Any], options: Options) -> StreamReport:
    import asyncio

    from setpoint.data.stream.asynchronous import pipeline

    if options.processes:
        raise ValueError(
            "processes are for streams of synchronous parts; this one has an async plan, source or sink: use concurrency"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("an event loop is running here: await arun_stream instead")
    work = Work(plan, *ends, options)
    try:
        report: StreamReport = (options.in_loop or asyncio.run)(pipeline(work, *ends))
        return report
    except KeyboardInterrupt:
        return work.end(finished=False)


def _beside(sink: AnySink) -> Path | None:
    if isinstance(sink, StateFiles):
        return sink.letters
    return sink.path.with_name(sink.path.name + ".dead.jsonl") if isinstance(sink, FileSink) else None


def _copy(counts: Counts) -> Counts:
    return Counts(counts.read, counts.malformed, dict(counts.emitted), dict(counts.excluded), dict(counts.failed))
