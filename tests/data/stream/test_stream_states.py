"""One file for each end of a machine: what is where, that all are whole, and that a killed stream goes on exactly."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.data.fsm import SimpleFSM
from setpoint.data.stream import StreamError, TooManyErrors, open_sink, run_stream

SORTING = SimpleFSM("""
name: sorting
states:
  read:
    transforms: [{set: {half: n / 2}}]
    arcs:
      - {target: left_out, condition: n % 7 == 6}
      - {target: even, condition: n % 2 == 0}
      - odd
  even: {final: true}
  odd: {final: true}
  never: {final: true}
  left_out: {final: true, emit_output: false}
arcs:
  - {from: read, to: never, condition: n < 0, priority: 9}
""").plan


def lines(path: Path, count: int = 40) -> Path:
    path.write_text("".join(json.dumps({"n": n if n % 10 else "none"}) + "\n" for n in range(count)))
    return path


def test_each_record_is_in_the_file_of_its_end(tmp_path: Path) -> None:
    """Ends that nothing comes to have an empty file, those that emit nothing have none; failures are in one file of dead letters."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "never.jsonl").write_text("from yesterday\n")
    report = run_stream(SORTING, lines(tmp_path / "in.jsonl"), tmp_path / "out" / "{state}.jsonl", chunk_size=7)
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert sorted(found) == ["even.jsonl", "failed.dead.jsonl", "never.jsonl", "odd.jsonl"]
    assert found["never.jsonl"] == ""
    kept = [n for n in range(40) if n % 10 and n % 7 != 6]
    assert [json.loads(line)["n"] for line in found["odd.jsonl"].splitlines()] == [n for n in kept if n % 2]
    assert [json.loads(line)["n"] for line in found["even.jsonl"].splitlines()] == [n for n in kept if n % 2 == 0]
    assert report.failed == {"failed": 4}
    assert len(found["failed.dead.jsonl"].splitlines()) == 4


def test_other_formats_and_refused_records(tmp_path: Path) -> None:
    """CSV and gzip as for one file; what a file cannot say is a dead letter with the record's own place."""
    run_stream(SORTING, lines(tmp_path / "in.jsonl"), tmp_path / "{state}.csv.gz")
    assert gzip.decompress((tmp_path / "odd.csv.gz").read_bytes()).startswith(b"n,half\r\n1,0.5\r\n3,1.5\r\n")
    records = [{"n": 2, "x": 1 + 2j}, {"n": 4}, {"n": 5, "x": {1, (2,)}}]
    report = run_stream(SORTING, records, tmp_path / "{state}.jsonl")
    assert report.emitted == {"even": 1, "odd": 1}
    assert [letter.at for letter in report.first] == [0]


class Killed(BaseException):
    """Ends everything, as a kill does: nothing is tidied up."""


@settings(max_examples=25, deadline=None)
@given(kills=st.lists(st.integers(1, 40), max_size=4))
def test_each_record_is_there_once_wherever_the_stream_is_killed(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int]
) -> None:
    """Before, between and after the commits of the files, and while they are put in their places."""
    folder = tmp_path_factory.mktemp("states")
    source = lines(folder / "in.jsonl")
    run_stream(SORTING, source, folder / "whole" / "{state}.jsonl", chunk_size=6)
    for kill in kills:
        sink: Any = open_sink(folder / "out" / "{state}.jsonl")
        with contextlib.suppress(Killed):
            run_stream(SORTING, source, _killed_at(sink, kill), chunk_size=6, resume=True)
    report = run_stream(SORTING, source, folder / "out" / "{state}.jsonl", chunk_size=6, resume=True)
    whole = {path.name: path.read_text() for path in (folder / "whole").iterdir()}
    assert {path.name: path.read_text() for path in (folder / "out").iterdir()} == whole
    assert report.read == 40


def _killed_at(sink: Any, kill: int) -> Any:
    """The sink, in which the call of a file of that number is the last thing that happens."""
    calls = 0
    expect = sink.expect

    def expected(states: list[str]) -> None:
        expect(states)
        for file in sink._files.values():
            for name in ("write", "commit", "finish"):
                setattr(file, name, counted(getattr(file, name)))
            file.abort = lambda: None

    def counted(call: Any) -> Any:
        def count(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= kill:
                raise Killed
            return call(*args)

        return count

    sink.expect = expected
    return sink


def test_a_killed_stream_goes_on_and_does_not_begin_anew(tmp_path: Path) -> None:
    """Killed between the commits of two files, it goes on from the commit before: the source is not read again from its start."""
    source = lines(tmp_path / "in.jsonl")
    sink: Any = open_sink(tmp_path / "{state}.jsonl")
    calls = 0
    expect = sink.expect

    def expected(states: list[str]) -> None:
        expect(states)
        second = list(sink._files.values())[1]
        commit = second.commit

        def committed(mark: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 4:
                for file in sink._files.values():
                    file.abort = lambda: None
                raise Killed
            commit(mark)

        second.commit = committed

    sink.expect = expected
    with contextlib.suppress(Killed):
        run_stream(SORTING, source, sink, chunk_size=5)
    report = run_stream(SORTING, source, tmp_path / "{state}.jsonl", chunk_size=5, resume=True)
    assert report.resumed_from is not None
    assert report.resumed_from.counts.read == 15
    assert report.read == 40


def test_machines_that_wait_write_and_break_off_alike(tmp_path: Path) -> None:
    """The same files, and the same limit, where the plan is asynchronous; counts before a resume count."""

    async def halved(record: Any) -> None:
        record["half"] = record["n"] / 2

    states = {"a": {"transforms": ["halved"], "arcs": [{"target": "b", "condition": "n > 20"}, "c"]}}
    states |= {"b": {"final": True}, "c": {"final": True}}
    fsm = SimpleFSM({"name": "m", "states": states}, functions={"halved": halved})
    with fsm:
        report = fsm.process_stream(lines(tmp_path / "in.jsonl"), tmp_path / "{state}.jsonl", chunk_size=9)
        assert report.emitted == {"b": 18, "c": 18}
        assert len((tmp_path / "c.jsonl").read_text().splitlines()) == 18
        with pytest.raises(StreamError, match="1 of 9 failed"):
            fsm.process_stream(tmp_path / "in.jsonl", tmp_path / "{state}.jsonl", chunk_size=9, error_threshold=0.1)
        asked = iter([False, False, True])
        options: dict[str, Any] = {"chunk_size": 9, "stop": lambda: next(asked, False)}
        fsm.process_stream(tmp_path / "in.jsonl", tmp_path / "{state}.jsonl", **options)
        with pytest.raises(StreamError, match="error_threshold is 0: "):
            fsm.process_stream(
                tmp_path / "in.jsonl", tmp_path / "{state}.jsonl", resume=True, chunk_size=2, error_threshold=0
            )


def test_an_end_that_was_not_told_is_refused(tmp_path: Path) -> None:
    """Its records are dead letters, the others are written."""
    sink: Any = open_sink(tmp_path / "{state}.jsonl")
    sink.expect(["a"])
    sink.open(False)
    [(number, reason)] = sink.write([{"n": 1}, {"n": 2}], {}, ["new", "a"])
    assert (number, reason) == (0, "there was no end 'new' when the stream began")
    sink.finish()
    assert (tmp_path / "a.jsonl").read_text() == '{"n":2}\n'


def test_what_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    """A state whose name leads elsewhere; appending; a sink that was told no states."""
    with pytest.raises(ValueError, match="is replaced as a whole"):
        open_sink(tmp_path / "{state}.jsonl", mode="append")
    with pytest.raises(ValueError, match="no state to write"):
        open_sink(tmp_path / "{state}.jsonl").open(False)  # type: ignore[union-attr]
    outside = SimpleFSM({"name": "m", "states": {"a": {"on_complete": "../b"}, "../b": {"final": True}}})
    with pytest.raises(ValueError, match="cannot be part of a file's name"):
        outside.process_stream([{}], tmp_path / "{state}.jsonl")


def test_a_stream_with_too_many_errors_breaks_off(tmp_path: Path) -> None:
    """Before the chunk that was too much is kept; the reasons are there, and a resume begins with that chunk."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"n": 1}\n' * 12 + '{"n": "x"}\n{"n"\n' + '{"n": 3}\n' * 4)
    out = tmp_path / "out.jsonl"
    with pytest.raises(
        StreamError, match=r"2 of 15 failed or were no records, and error_threshold is 0\.1: "
    ) as broken:
        run_stream(SORTING, source, out, chunk_size=5, error_threshold=0.1)
    assert isinstance(broken.value.__cause__, TooManyErrors)
    assert broken.value.report.read == 10
    assert not out.exists()
    assert len((tmp_path / "out.jsonl.dead.jsonl").read_text().splitlines()) == 2
    source.write_text(source.read_text().replace('"x"', " 5 ").replace('{"n"\n', '{"n":7}\n'))
    report = run_stream(SORTING, source, out, chunk_size=5, error_threshold=0.0, resume=True)
    assert report.success
    assert report.read == 18
    assert (tmp_path / "out.jsonl.dead.jsonl").read_text() == ""
    with pytest.raises(ValueError, match="a share"):
        run_stream(SORTING, source, out, error_threshold=5)
