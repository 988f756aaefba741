"""Batches and streams that are kept: what is carried again after a break, and what can be asked afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import RunError, Runs
from setpoint.data.runs.many import LOT
from setpoint.data.stream import StreamError

MACHINE = """
name: squares
states:
  a: {transforms: [square], on_complete: b}
  b: {final: true}
"""


class Stop(BaseException):
    """What stands for the end of the process."""


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """A file with runs."""
    runs = Runs(tmp_path / "runs.sqlite")
    yield runs
    runs.close()


def machine(runs: Runs, square: Any) -> SimpleFSM:
    """A machine with that function, whose runs are kept."""
    return SimpleFSM(MACHINE, functions={"square": square}, runs=runs)


def counting(calls: list[int], stop_at: int = -1) -> Any:
    """A transform that counts, and in which the process may end."""

    def square(record: dict[str, int]) -> dict[str, int]:
        if record["n"] == stop_at:
            raise Stop
        calls.append(record["n"])
        return {"n": record["n"], "square": record["n"] ** 2}

    return square


def records(count: int) -> list[dict[str, int]]:
    """So many records."""
    return [{"n": n} for n in range(count)]


def test_a_batch_goes_on_behind_the_last_lot_that_was_kept(runs: Runs) -> None:
    """Its results are as if nothing had happened, and only what was not kept is carried again."""
    calls: list[int] = []
    with pytest.raises(Stop):
        machine(runs, counting(calls, stop_at=LOT + 500)).process_batch(records(3 * LOT), run="nightly")
    assert runs.get("nightly").status == "interrupted"
    again: list[int] = []
    batch = machine(runs, counting(again)).process_batch(records(3 * LOT), run="nightly")
    assert [result.data["square"] for result in batch] == [n**2 for n in range(3 * LOT)]
    assert (again[0], len(again)) == (LOT, 2 * LOT)
    assert runs.get("nightly").status == "done"
    assert sum(1 for _ in runs.results("nightly")) == 3 * LOT


def test_an_async_batch_is_kept_as_well(runs: Runs) -> None:
    """Also one whose records come from an async iterable."""

    async def square(record: dict[str, int]) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"square": record["n"] ** 2}

    async def source() -> Any:
        for record in records(LOT + 1):
            yield record

    async def scene() -> list[Any]:
        async with machine(runs, square) as fsm:
            return await fsm.aprocess_batch(source(), run="b")

    assert asyncio.run(scene())[-1].data == {"square": LOT**2}
    assert runs.get("b").counts == '{"b":1001}'


def test_a_batch_says_how_it_ended(runs: Runs) -> None:
    """A record that failed makes it a run that failed; each can be looked at with its number."""

    def square(record: dict[str, int]) -> dict[str, float]:
        return {"q": 1 / record["n"]}

    machine(runs, square).process_batch(records(3), run="b")
    row = runs.get("b")
    assert (row.kind, row.status, row.counts) == ("batch", "failed", '{"failed":1,"b":2}')
    failed = [(number, result.error.type) for number, result in runs.results("b") if result.error]
    assert failed == [(0, "ZeroDivisionError")]


def test_a_name_is_for_one_batch(runs: Runs) -> None:
    """One that is done is not begun again, nor under another machine or kind."""
    fsm = machine(runs, counting([]))
    fsm.process_batch(records(3), run="b")
    with pytest.raises(RunError, match="is done"):
        fsm.process_batch(records(3), run="b")
    with pytest.raises(RunError, match="is a batch of machine"):
        fsm.process_stream(records(3), [], run="b")
    with pytest.raises(RunError, match="goes on with its records"):
        fsm.runs.resume("b")


def test_a_stream_into_a_sink_that_remembers_nothing_goes_on_at_its_mark(runs: Runs, tmp_path: Path) -> None:
    """A function as sink gets the chunk that was in hand once more, and everything after it."""
    source = tmp_path / "in.jsonl"
    source.write_text("".join(f'{{"n": {n}}}\n' for n in range(10)))
    out: list[int] = []
    with pytest.raises(Stop):
        machine(runs, counting([], stop_at=7)).process_stream(
            source, lambda record: out.append(record["n"]), run="s", chunk_size=2
        )
    assert out == [0, 1, 2, 3, 4, 5]
    row = runs.get("s")
    assert (row.status, row.about["input"], row.counts) == ("interrupted", str(source), '{"read":6,"emitted b":6}')
    report = machine(runs, counting([])).process_stream(
        source, lambda record: out.append(record["n"]), run="s", chunk_size=2, resume=True
    )
    assert out == list(range(10))
    assert report.success
    assert runs.get("s").status == "done"


def test_a_stream_that_breaks_says_why(runs: Runs) -> None:
    """The reason is with the run, which can go on."""

    def source() -> Iterator[dict[str, int]]:
        yield {"n": 1}
        raise OSError("the cable is out")

    with pytest.raises(StreamError):
        machine(runs, counting([])).process_stream(source(), [], run="s")
    row = runs.get("s")
    assert row.status == "interrupted"
    assert "the cable is out" in row.error


def test_records_that_may_wait_are_runs_of_their_own(runs: Runs) -> None:
    """A batch of them would have nowhere to put those that do."""
    text = "name: w\nstates:\n  a: {arcs: [{target: b, event: go}]}\n  b: {final: true}"
    fsm = SimpleFSM(text, runs=runs)
    for carry in (lambda: fsm.process_batch([{}]), lambda: fsm.process_stream([{}], [])):
        with pytest.raises(RunError, match="each is a run of its own"):
            carry()
