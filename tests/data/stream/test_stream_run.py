"""Streams: every record that is read is accounted for, and a stream that broke off goes on as if it had not."""

import asyncio
import gzip
import os
import resource
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.stream.stream_samples import (
    adouble,
    double,
    numbers,
    plan,
    read_lines,
    sorted_out,
    straight,
    write_lines,
)

from setpoint.data.definition import DataMode, Strategy
from setpoint.data.stream import (
    Mark,
    Position,
    Refused,
    StreamError,
    StreamReport,
    arun_stream,
    open_sink,
    open_source,
    register_sink,
    register_source,
    run_stream,
)
from setpoint.data.stream.marks import Kept, MarkFile
from setpoint.data.stream.parts import Counts


def test_every_record_read_is_accounted_for(tmp_path: Path) -> None:
    """Written, left out on purpose, failed, or malformed: by the state where it ended; parts of a split count for themselves."""
    source = write_lines(tmp_path / "in.jsonl", numbers(30))
    with source.open("ab") as file:
        file.write(b"not a record\n")
    report = run_stream(plan(sorted_out), source, tmp_path / "out.jsonl", chunk_size=4)
    assert (report.read, report.malformed, report.total) == (30, 1, 31)
    assert report.emitted == {"even": 10 + 1}  # 2 4 6 8 12 16 18 22 (twice) 24 26
    assert report.excluded == {"odd": 13 + 1, "dropped": 4}
    assert report.failed == {"failed": 3}
    assert report.successful == 29
    assert report.finished
    assert not report.success
    assert len(read_lines(tmp_path / "out.jsonl")) == 11
    letters = read_lines(tmp_path / "out.jsonl.dead.jsonl")
    assert [(letter["at"], letter["kind"]) for letter in letters] == [
        (1, "failed"),
        (11, "failed"),
        (21, "failed"),
        (31, "malformed"),
    ]
    assert letters[1] | {"source": ""} == {
        "at": 11, "kind": "failed", "reason": "10 is round", "source": "", "state": "work", "type": "ValueError", "record": {"a": 10},
    }  # fmt: skip
    assert letters[3]["text"] == "not a record"
    assert str(report.first[0]).endswith("in.jsonl, 1: failed in work: 0 is round")


def test_a_dead_letter_has_the_record_as_it_was_read(tmp_path: Path) -> None:
    """Also where the plan had changed it in place before it failed."""

    def spoil(record: Any) -> None:
        record["a"] = "spoilt"
        raise RuntimeError("no")

    source = write_lines(tmp_path / "in.jsonl", [{"a": 2}])
    run_stream(plan(spoil, mode=DataMode.DIRECT), source, tmp_path / "out.jsonl")
    assert read_lines(tmp_path / "out.jsonl.dead.jsonl")[0]["record"] == {"a": 2}


def test_a_record_that_the_sink_cannot_write_is_a_dead_letter(tmp_path: Path) -> None:
    """It is counted as failed, and those around it are written."""

    def odd_object(record: Any) -> Any:
        circle: list[Any] = []
        circle.append(circle)
        return {"a": {2: object(), 4: circle}.get(record["a"], record["a"])}

    source = write_lines(tmp_path / "in.jsonl", numbers(6))
    report = run_stream(straight(odd_object), source, tmp_path / "out.jsonl")
    assert report.emitted == {"done": 4}
    assert report.failed == {"done": 2}
    assert [letter["kind"] for letter in read_lines(tmp_path / "out.jsonl.dead.jsonl")] == ["unwritable"] * 2
    assert [record["a"] for record in read_lines(tmp_path / "out.jsonl")] == [0, 1, 3, 5]


def test_ends_in_the_program() -> None:
    """Iterables, lists and functions are sources and sinks as well; without a sink records are counted."""
    into: list[Any] = []
    report = run_stream(plan(), iter(numbers(10)), into, chunk_size=3)
    assert into == [{"a": n, "b": 2 * n} for n in range(0, 10, 2)]
    assert report.success

    def picky(record: Any) -> None:
        if record["a"] == 4:
            raise ValueError("not four")

    report = run_stream(plan(), numbers(10), picky)
    assert (report.emitted, report.failed) == ({"even": 4}, {"even": 1})
    assert report.first[0].reason == "ValueError: not four"
    assert run_stream(plan(), numbers(10)).emitted == {"even": 5}
    with pytest.raises(ValueError, match="cannot be read from dict"):
        run_stream(plan(), {"a": 1})
    with pytest.raises(ValueError, match="chunk_size=0"):
        run_stream(plan(), [], chunk_size=0)
    with pytest.raises(TypeError):
        run_stream(plan(), [], chunksize=3)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.integers(0, 200), max_size=60), chunk_size=st.integers(1, 20), concurrency=st.integers(1, 8))
def test_the_same_records_give_the_same_through_every_stream(
    values: list[int], chunk_size: int, concurrency: int
) -> None:
    """Synchronous, asynchronous and state by state: output, order and accounts."""
    given_records = [{"a": value} for value in values]
    outcomes = []
    for made in (
        plan(double, sorted_out),
        plan(adouble, sorted_out),
        plan(double, sorted_out, strategy=Strategy.STREAM_OPTIMIZED),
        plan(adouble, sorted_out, strategy=Strategy.STREAM_OPTIMIZED),
    ):
        into: list[Any] = []
        report = run_stream(made, given_records, into, chunk_size=chunk_size, concurrency=concurrency)
        outcomes.append((into, report.counts, [letter.at for letter in report.first]))
    assert outcomes.count(outcomes[0]) == len(outcomes)


def test_state_by_state_a_chunk_passes_each_state_before_the_next() -> None:
    """`stream_optimized` changes the order of calls, nothing else."""
    calls: list[str] = []

    def noted(name: str) -> Callable[[Any], None]:
        return lambda record: calls.append(f"{name}{record['a']}")

    run_stream(plan(noted("x"), noted("y"), strategy=Strategy.STREAM_OPTIMIZED), numbers(3), chunk_size=2)
    together = list(calls)
    calls.clear()
    run_stream(plan(noted("x"), noted("y")), numbers(3), chunk_size=2)
    assert calls == ["x0", "y0", "x1", "y1", "x2", "y2"]
    assert together == ["x0", "y0", "x1", "y1", "x2", "y2"]  # one state's functions belong together

    calls.clear()
    from setpoint.data.definition import ArcDef, Definition, NetworkDef, StateDef
    from setpoint.data.plan import Plan

    states = (
        StateDef(name="x", transforms=(noted("x"),), arcs=(ArcDef(target="y"),)),
        StateDef(name="y", transforms=(noted("y"),), arcs=(ArcDef(target="end"),)),
        StateDef(name="end", final=True),
    )
    two = Definition(name="two", networks=(NetworkDef(name="main", states=states),), strategy=Strategy.STREAM_OPTIMIZED)
    run_stream(Plan(two), numbers(3), chunk_size=2)
    assert calls == ["x0", "x1", "y0", "y1", "x2", "y2"]


class Breaking:
    """A list of what was committed, in a process that breaks at one of its calls."""

    keeps_mark = False

    def __init__(self, breaks_at: int) -> None:
        self.calls, self.breaks_at = 0, breaks_at
        self.pending: list[Any] = []
        self.kept: list[Any] = []

    def open(self, resume: bool) -> Mark | None:
        return None

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        self._call()
        self.pending += records
        return ()

    def commit(self, mark: Mark) -> None:
        self._call()
        self.kept += self.pending
        self.pending = []

    def finish(self) -> None:
        self._call()

    def abort(self) -> None:
        self.pending = []

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.breaks_at:
            raise ConnectionError("the network is down")


@pytest.mark.parametrize("breaks_at", range(1, 14))
@pytest.mark.parametrize("waits", [False, True])
def test_a_stream_goes_on_from_the_mark_that_was_kept_for_it(tmp_path: Path, breaks_at: int, waits: bool) -> None:
    """For a sink that keeps no mark: wherever it breaks, the marks given to `on_commit` lead on; counts and dead letters too."""
    source = write_lines(tmp_path / "in.jsonl", numbers(30))
    made = plan(adouble if waits else double, sorted_out)
    dead = tmp_path / "dead.jsonl"
    whole = Breaking(0)
    expected = run_stream(made, source, whole, chunk_size=5, dead_letters=tmp_path / "whole.jsonl")
    sink = Breaking(breaks_at)
    marks: list[bytes] = []

    def keep(mark: Mark) -> None:
        marks.append(msgspec.json.encode(mark))

    with pytest.raises(StreamError, match="the sink broke: ConnectionError: the network is down") as broke:
        run_stream(made, source, sink, chunk_size=5, dead_letters=dead, on_commit=keep)
    assert sum(broke.value.report.emitted.values()) == len(sink.kept)
    start = msgspec.json.decode(marks[-1], type=Mark) if marks else None
    report = run_stream(made, source, sink, chunk_size=5, dead_letters=dead, resume=True, start=start)
    assert sink.kept == whole.kept
    assert report.counts == expected.counts
    assert dead.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


class Killed(BaseException):
    """Ends everything, as a kill does: nothing is tidied up."""


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.csv", "out.jsonl.gz", "out.txt"])
@pytest.mark.parametrize("mode", ["replace", "append"])
@settings(max_examples=15, deadline=None)
@given(kills=st.lists(st.integers(1, 12), max_size=4), torn=st.binary(max_size=40))
def test_files_have_each_record_once_wherever_the_stream_is_killed(
    tmp_path_factory: pytest.TempPathFactory, name: str, mode: str, kills: list[int], torn: bytes
) -> None:
    """Killed at any chunk, before or after its commit, with a torn end in the file: resumed, the file is what it would have been."""
    if mode == "append" and ".json" in name and "jsonl" not in name:
        return
    folder = tmp_path_factory.mktemp("kill")
    source = write_lines(
        folder / "in.jsonl", [{"a": n, "text": f"line {n}", **({"late": 1} if n > 30 else {})} for n in range(60)]
    )
    made = straight(lambda record: (_ for _ in ()).throw(ValueError("round")) if record["a"] % 20 == 0 else record)
    if mode == "append" and name == "out.csv":
        source = write_lines(folder / "in.jsonl", [{"a": n, "text": f"line {n}"} for n in range(60)])
    whole, out = folder / "whole" / name, folder / "out" / name
    for path in (whole, out):
        path.parent.mkdir()
        if mode == "append" and not name.endswith("gz"):
            path.write_text("a,text\n0,before\n" if name == "out.csv" else '"before"\n')
    run_stream(made, source, open_sink(whole, mode=mode), chunk_size=7)
    for kill in kills:
        if not _killed(made, source, open_sink(out, mode=mode), kill):
            break
        for left in out.parent.glob(f"{name}.part" if mode == "replace" else name):
            with left.open("ab") as file:
                file.write(torn)
    report = run_stream(made, source, open_sink(out, mode=mode), chunk_size=7, resume=True)
    opened: Callable[..., Any] = gzip.open if name.endswith("gz") else open
    assert opened(out, "rb").read() == opened(whole, "rb").read()
    before = report.resumed_from
    assert report.read == (0 if before and before.done else 60)
    assert (out.parent / f"{name}.dead.jsonl").read_bytes() == (whole.parent / f"{name}.dead.jsonl").read_bytes()
    assert not (out.parent / f"{name}.part").exists()


def _killed(made: Any, source: Path, sink: Any, at: int) -> bool:
    """Runs the stream up to a kill at one of its calls; whether it came to that."""
    calls = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                sink.abort = lambda: None
                raise Killed
            return call(*args)

        return count

    sink.write, sink.commit = counted(sink.write), counted(sink.commit)
    try:
        run_stream(made, source, sink, chunk_size=7, resume=True)
    except Killed:
        return True
    return False


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """Until the end the old file stands; an error leaves what is committed beside it, an error before that leaves nothing."""
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")

    def broken(count: int) -> Iterator[Any]:
        yield from numbers(count)
        raise OSError("the disk is gone")

    with pytest.raises(StreamError, match="the source broke: OSError: the disk is gone; 2 records read, 1 written"):
        run_stream(plan(), broken(3), out, chunk_size=2)
    assert out.read_text() == "old\n"
    assert (tmp_path / "out.jsonl.part").read_text() == '{"a":0,"b":0}\n'
    with pytest.raises(StreamError):
        run_stream(plan(), broken(0), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl"]
    run_stream(plan(), numbers(3), out)
    assert read_lines(out) == [{"a": 0, "b": 0}, {"a": 2, "b": 4}]


def test_appending_goes_on_in_the_source_where_it_ended(tmp_path: Path) -> None:
    """An incremental load: what others have appended meanwhile stays, and nothing comes twice."""
    source, out = write_lines(tmp_path / "in.jsonl", numbers(4)), tmp_path / "out.jsonl"
    run_stream(plan(), source, open_sink(out, mode="append"))
    with out.open("a") as file:
        file.write('"theirs"\n')
    write_lines(source, numbers(8))
    report = run_stream(plan(), source, open_sink(out, mode="append"), resume=True)
    assert [record if isinstance(record, str) else record["a"] for record in read_lines(out)] == [0, 2, "theirs", 4, 6]
    assert report.read == 4
    assert report.resumed_from is not None
    assert report.resumed_from.counts.read == 4


def test_a_file_that_shrank_is_not_resumed(tmp_path: Path) -> None:
    """Neither a source nor a sink: it would be silent loss."""
    source, out = write_lines(tmp_path / "in.jsonl", numbers(6)), tmp_path / "out.jsonl"
    once = iter([False, True])
    report = run_stream(plan(), source, out, chunk_size=4, stop=lambda: next(once))
    assert report.interrupted
    part = tmp_path / "out.jsonl.part"
    content = part.read_bytes()
    part.write_bytes(content[:3])
    with pytest.raises(StreamError, match=r"has 3 bytes, but \d+ were committed"):
        run_stream(plan(), source, out, resume=True)
    part.write_bytes(content)
    source.write_text('{"a":1}\n')
    with pytest.raises(StreamError, match="shorter than it was"):
        run_stream(plan(), source, out, resume=True)


def test_marks_after_a_power_cut(tmp_path: Path) -> None:
    """What was only in the page cache counts until the machine is started again, what was flushed always. A torn slot is passed over."""
    now = 0.0
    path = tmp_path / "out.mark"
    marks = MarkFile(path, now=lambda: now, boot="first")
    with (tmp_path / "out").open("wb") as file:
        for number in range(4):
            marks.keep(Kept(Mark({"n": number}, Counts(read=number)), number, {}), file=file.fileno())
            now += 0.4
    marks.close()
    assert MarkFile(path, boot="first").load().mark.source == {"n": 3}  # type: ignore[union-attr]
    assert MarkFile(path, boot="second").load().mark.source == {"n": 3}  # type: ignore[union-attr]
    again = MarkFile(path, now=lambda: now, boot="first")
    again.load()
    with (tmp_path / "out").open("wb") as file:
        for number in (4, 5):
            again.keep(Kept(Mark({"n": number}), number, {}), file=file.fileno())
    again.close()
    assert MarkFile(path, boot="first").load().mark.source == {"n": 5}  # type: ignore[union-attr]
    assert MarkFile(path, boot="second").load().mark.source == {"n": 4}  # type: ignore[union-attr]
    assert MarkFile(path, boot="").load().mark.source == {"n": 4}  # type: ignore[union-attr]
    content = bytearray(path.read_bytes())
    content[(6 % 2) * (1 << 16) + 30] ^= 1
    path.write_bytes(content)
    assert MarkFile(path, boot="first").load().mark.source == {"n": 4}  # type: ignore[union-attr]
    path.write_bytes(b"rubbish")
    assert MarkFile(path, boot="first").load() is None


def test_ctrl_c_leaves_what_is_committed(tmp_path: Path) -> None:
    """The report says so, counts only that, and the stream can be resumed."""
    source, out = write_lines(tmp_path / "in.jsonl", numbers(20)), tmp_path / "out.jsonl"

    def pressed(record: Any) -> None:
        if record["a"] == 9:
            raise KeyboardInterrupt

    report = run_stream(straight(pressed), source, out, chunk_size=4)
    assert report.interrupted
    assert not report.success
    assert report.read == 8
    assert run_stream(straight(), source, out, resume=True).read == 20
    assert read_lines(out) == numbers(20)


def test_a_cancellation_waits_for_a_commit_that_has_begun() -> None:
    """A sink is never aborted under its own commit, and what it kept is what the report counts."""
    begun, go = threading.Event(), threading.Event()
    order: list[str] = []

    class Slow(Breaking):
        def commit(self, mark: Mark) -> None:
            order.append("begun")
            begun.set()
            go.wait(10)
            super().commit(mark)
            order.append("ended")

        def abort(self) -> None:
            order.append("abort")

    sink = Slow(0)

    async def cancelled() -> None:
        task = asyncio.create_task(arun_stream(straight(adouble), numbers(10), sink, chunk_size=5))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        asyncio.get_running_loop().call_later(0.02, go.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert order == ["begun", "ended", "abort"]
    assert len(sink.kept) == 5


def test_ctrl_c_ends_an_asynchronous_stream_too(tmp_path: Path) -> None:
    """The signal reaches the loop; what is committed stays, and is what the report counts."""
    source, out = write_lines(tmp_path / "in.jsonl", numbers(40)), tmp_path / "out.jsonl"
    committed = asyncio.Event()

    async def pressed(record: Any) -> None:
        if record["a"] == 25:
            await committed.wait()
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    made = straight(pressed)
    report = run_stream(made, source, out, chunk_size=5, concurrency=1, on_commit=lambda mark: committed.set())
    assert report.interrupted
    assert 5 <= report.read <= 25
    assert report.emitted == {"done": len(read_lines(tmp_path / "out.jsonl.part"))}
    run_stream(straight(), source, out, resume=True)
    assert read_lines(out) == numbers(40)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A write that fits only half is undone; when there is room the stream goes on."""
    source, out = write_lines(tmp_path / "in.jsonl", numbers(2000)), tmp_path / "out.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, before[1]))
    try:
        with pytest.raises(StreamError, match=r"the sink broke: OSError: .*File too large"):
            run_stream(straight(), source, open_sink(out, mode="append"), chunk_size=100, dead_letters=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(read_lines(out)) % 100 == 0
    run_stream(straight(), source, open_sink(out, mode="append"), chunk_size=100, resume=True)
    assert read_lines(out) == numbers(2000)


def test_a_slow_sink_slows_the_source() -> None:
    """With asynchronous parts at most a few chunks are in hand, however long the source is; the report says who waited."""
    taken = 0
    ahead: list[int] = []

    async def endless() -> AsyncIterator[Any]:
        nonlocal taken
        for number in range(400):
            taken += 1
            yield {"a": number}

    async def slow(record: Any) -> None:
        ahead.append(taken - record["a"])
        await asyncio.sleep(0)

    report = run_stream(straight(adouble), endless(), slow, chunk_size=10)
    assert report.emitted == {"done": 400}
    assert max(ahead) <= 10 * (2 * 2 + 3)
    assert report.waited["source"] > 0


def test_a_synchronous_stream_never_runs_ahead() -> None:
    """The source is asked for a chunk when the one before is committed."""
    taken = 0
    ahead: list[int] = []

    def endless() -> Iterator[Any]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield {"a": number}

    run_stream(straight(), endless(), lambda record: ahead.append(taken - record["a"]), chunk_size=10)
    assert max(ahead) == 10


def test_blocking_parts_do_not_block_the_loop(tmp_path: Path) -> None:
    """In an asynchronous stream files are read and written in threads, and whatever breaks there is said as anywhere."""
    threads: set[str] = set()
    source: Any = open_source(write_lines(tmp_path / "in.jsonl", numbers(10)))
    read = source.read

    def noted(limit: int) -> Any:
        threads.add(threading.current_thread().name)
        return read(limit)

    source.read = noted
    report = run_stream(plan(adouble), source, tmp_path / "out.jsonl")
    assert report.success
    assert threads == {"stream"}
    assert len(read_lines(tmp_path / "out.jsonl")) == 5


@pytest.mark.parametrize("stage", ["source", "plan", "sink"])
def test_what_breaks_in_an_asynchronous_stream_is_said(stage: str) -> None:
    """Its stage and its cause; the other stages end."""

    async def source() -> AsyncIterator[Any]:
        for number in range(100):
            if stage == "source" and number == 50:
                raise OSError("gone")
            yield {"a": number}

    async def kept(mark: Mark) -> None:
        if stage == "sink":
            raise OSError("gone")

    async def checkpoint(token: Any) -> None:
        if stage == "plan":
            raise OSError("gone")

    made = straight(adouble).using(checkpoint=checkpoint)
    with pytest.raises(StreamError, match="OSError: gone") as broke:
        run_stream(made, source(), [], chunk_size=10, on_commit=kept)
    assert {"source": "the source", "plan": "the plan", "sink": "the checkpoint"}[stage] in str(broke.value)


def test_a_cancelled_stream_keeps_what_is_committed(tmp_path: Path) -> None:
    """Cancelling raises as anywhere in asyncio; the stream is resumed later."""
    source, out = write_lines(tmp_path / "in.jsonl", numbers(40)), tmp_path / "out.jsonl"
    reached, committed = asyncio.Event(), asyncio.Event()

    async def stuck(record: Any) -> None:
        if record["a"] == 25:
            reached.set()
            await asyncio.Event().wait()

    async def cancelled() -> None:
        noted: Any = {"chunk_size": 5, "concurrency": 1, "on_commit": lambda mark: committed.set()}
        task = asyncio.create_task(arun_stream(straight(stuck), source, out, **noted))
        await reached.wait()
        await committed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not out.exists()
    report = run_stream(straight(), source, out, resume=True)
    assert report.resumed_from is not None
    assert read_lines(out) == numbers(40)


def test_streams_refuse_what_would_block_the_loop() -> None:
    """`run_stream` with an async part inside a running loop says which twin to await."""

    async def inside() -> None:
        with pytest.raises(RuntimeError, match="await arun_stream"):
            run_stream(plan(adouble), numbers(1))

    asyncio.run(inside())
    with pytest.raises(ValueError, match="use concurrency"):
        run_stream(plan(adouble), numbers(1), processes=2)


def test_progress_is_told_as_the_report_grows() -> None:
    """And once at the end, with everything in it."""
    seen: list[tuple[int, bool]] = []
    run_stream(
        plan(), numbers(10), chunk_size=2, on_progress=lambda report: seen.append((report.read, report.finished))
    )
    assert seen[-1] == (10, True)


def test_the_source_is_told_what_is_safe() -> None:
    """A broker may forget a chunk once the sink has committed it, and not before."""
    order: list[str] = []

    class Broker:
        def __init__(self) -> None:
            self.left = [[{"a": 0}], [{"a": 2}]]

        def read(self, limit: int) -> Any:
            from setpoint.data.stream import Chunk

            number = 2 - len(self.left)
            return Chunk(self.left.pop(0), {"n": number}, [number]) if self.left else None

        def seek(self, position: Position) -> None: ...

        def acknowledge(self, position: Position) -> None:
            order.append(f"acknowledged {position['n']}")

        def close(self) -> None:
            order.append("closed")

    class Sink(Breaking):
        def commit(self, mark: Mark) -> None:
            order.append(f"committed {mark.source['n']}")

    register_source("teststream", lambda url: Broker())
    register_sink("teststream", lambda url: Sink(0))
    report = run_stream(plan(), "teststream://x", "teststream://y", on_commit=lambda mark: order.append("kept"))
    assert isinstance(report, StreamReport)
    assert order == ["committed 0", "acknowledged 0", "kept", "committed 1", "acknowledged 1", "kept", "closed"]
