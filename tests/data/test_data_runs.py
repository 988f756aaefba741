"""Runs that are kept: what survives the death of a process, and what can be asked afterwards."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import os
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from data_clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import Code, Frame, Progress, Result, StepError, Token
from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import NotKept, NotMigrated, RunError, Runs, codec
from setpoint.store import NotAStore, StoreError
from setpoint.store.runs import lives, me

STEPS = """
name: steps
states:
  a: {transforms: [first], on_complete: b}
  b: {transforms: [second], on_complete: c}
  c: {final: true}
"""


def adding(name: str, calls: list[str] | None = None) -> Any:
    """A transform that says it was there."""

    def add(record: dict[str, Any]) -> dict[str, Any]:
        if calls is not None:
            calls.append(name)
        return {**record, name: True}

    return add


class Killed(BaseException):
    """What stands for the end of the process: nobody catches it."""


def killing(record: Any) -> Any:
    """A transform in which the process dies."""
    raise Killed


def test_a_run_is_kept_with_its_steps_and_its_end(runs: Runs) -> None:
    """Afterwards it can be asked which states it went through, what the record was after each, and what came of it."""
    fsm = SimpleFSM(STEPS, functions={"first": adding("x"), "second": adding("y")}, runs=runs)
    result = fsm.process({"n": 1}, run="r1")
    row = runs.get("r1")
    assert (row.status, row.state, row.machine, result.run) == ("done", "c", "steps", "r1")
    steps = [(step.state, step.target, record) for step, record in runs.steps("r1")]
    assert steps[:2] == [("a", "b", {"n": 1, "x": True}), ("b", "c", {"n": 1, "x": True, "y": True})]
    assert runs.result("r1") == result


def test_what_was_done_is_not_done_again(runs: Runs) -> None:
    """A process that dies in the second state leaves a run that goes on there: the first state's functions ran once."""
    calls: list[str] = []
    with pytest.raises(Killed):
        SimpleFSM(STEPS, functions={"first": adding("x", calls), "second": killing}, runs=runs).process({}, run="r1")
    assert runs.get("r1").status == "interrupted"
    fsm = SimpleFSM(STEPS, functions={"first": adding("x", calls), "second": adding("y", calls)}, runs=runs)
    assert [result.data for result in fsm.runs.recover()] == [{"x": True, "y": True}]
    assert calls == ["x", "y"]
    assert runs.get("r1").status == "done"


def test_a_run_of_that_name_is_not_begun_twice(runs: Runs) -> None:
    """Whoever asks again, with whatever record, gets the result that it had."""
    calls: list[str] = []
    fsm = SimpleFSM(STEPS, functions={"first": adding("x", calls), "second": adding("y", calls)}, runs=runs)
    first = fsm.process({"n": 1}, run="r1")
    again = fsm.process({"n": 2}, run="r1")
    assert (again.data, again.path) == (first.data, first.path)
    assert calls == ["x", "y"]


def test_a_run_that_failed_can_be_tried_again_from_there(runs: Runs) -> None:
    """Without that, asking again gives its error; `again` goes back to the state where it failed."""
    calls: list[str] = []

    def broken(record: Any) -> Any:
        raise ConnectionError("down")

    down = SimpleFSM(STEPS, functions={"first": adding("x", calls), "second": broken}, runs=runs)
    assert down.process({}, run="r1").error.message == "down"  # type: ignore[union-attr]
    up = SimpleFSM(STEPS, functions={"first": adding("x", calls), "second": adding("y", calls)}, runs=runs)
    assert up.runs.resume("r1").error.type == "ConnectionError"  # type: ignore[union-attr]
    assert up.runs.resume("r1", again=True).success
    assert calls == ["x", "y"]
    assert runs.get("r1").status == "done"


def test_a_run_is_carried_by_one_at_a_time(runs: Runs) -> None:
    """A second call for a run that is at work is refused, and does not disturb it."""
    refused: list[str] = []

    def reenter(record: dict[str, Any]) -> dict[str, Any]:
        with pytest.raises(RunError, match="is being carried") as raised:
            fsm.process(record, run="r1")
        refused.append(str(raised.value))
        return record

    fsm = SimpleFSM(STEPS, functions={"first": reenter, "second": adding("y")}, runs=runs)
    assert fsm.process({}, run="r1").success
    assert refused
    assert runs.get("r1").status == "done"


def test_an_owner_that_is_gone_owns_nothing() -> None:
    """A process is known by its number and when it began: a number that came again is another process."""
    assert lives(me())
    number, _, _ = me().partition(":")
    assert not lives(f"{number}:1-other")
    child = subprocess.run([sys.executable, "-c", ""], check=False)
    assert child.returncode == 0
    assert not lives("")
    assert not lives("stopping")


def test_async_runs_share_their_commits(runs: Runs) -> None:
    """A hundred runs at once need far fewer transactions than steps, and each goes on only when its own step is written."""
    writes: list[int] = []
    write = runs.store.write

    def counted(statements: Any) -> None:
        done = list(statements)
        writes.append(len(done))
        write(done)

    runs.keeper._write = counted
    fsm = SimpleFSM(STEPS, functions={"first": adding("x"), "second": adding("y")}, runs=runs)

    async def many() -> list[Result]:
        return await asyncio.gather(*(fsm.aprocess({"n": n}) for n in range(100)))

    results = asyncio.run(many())
    assert all(result.success for result in results)
    assert runs.count() == {"done": 100}
    assert len(writes) < 30
    assert len({result.run for result in results}) == 100


def test_a_cancelled_run_is_left_to_be_recovered(runs: Runs) -> None:
    """Nothing of it is lost: it is as if the process had died."""
    begun = asyncio.Event()

    async def slow(record: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async def scene() -> None:
        fsm = SimpleFSM(STEPS, functions={"first": adding("x"), "second": slow}, runs=runs)
        task = asyncio.create_task(fsm.aprocess({}, run="r1"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert runs.get("r1").status == "interrupted"
    fsm = SimpleFSM(STEPS, functions={"first": killing, "second": adding("y")}, runs=runs)
    assert fsm.runs.resume("r1").data == {"x": True, "y": True}


WAITING = """
name: order
version: "{version}"
states:
  asked:
    arcs:
      - {{target: {target}, event: approved}}
      - {{target: late, after: 60}}
  {target}: {{final: true}}
  late: {{final: true}}
"""


def test_a_waiting_run_survives_a_restart(runs: Runs, clock: Clock) -> None:
    """An event sent to another program finds it, and time goes on while nobody runs."""
    first = SimpleFSM(WAITING.format(version=1, target="done"), runs=runs)
    first.process({}, run="r1")
    first.process({}, run="r2")
    row = runs.get("r1")
    assert (row.status, row.state, row.wake) == ("waiting", "asked", clock.now + 60)
    second = SimpleFSM(WAITING.format(version=1, target="done"), runs=runs)
    assert second.runs.send("r1", "approved", {"by": "ada"}).data == {"approved": {"by": "ada"}}
    assert second.runs.wake() == []
    clock.now += 60
    assert second.runs.next_wake() == clock.now
    assert [result.final_state for result in second.runs.wake()] == ["late"]
    assert runs.find(status="waiting") == []


def test_a_run_finishes_with_the_version_it_began_with(runs: Runs) -> None:
    """The new version has no such state; the old one is kept in the file, and found by its hash."""
    SimpleFSM(WAITING.format(version=1, target="done"), runs=runs).process({}, run="r1")
    new = SimpleFSM(WAITING.format(version=2, target="granted"), runs=runs)
    assert new.runs.send("r1", "approved").final_state == "done"
    new.process({}, run="r2")
    assert new.runs.send("r2", "approved").final_state == "granted"


def test_a_run_moves_to_another_version_by_a_declared_migration(runs: Runs) -> None:
    """States are named where they changed; what has no place is refused, and the run stays as it was."""
    SimpleFSM(WAITING.format(version=1, target="done"), runs=runs).process({}, run="r1")
    new = SimpleFSM(WAITING.format(version=2, target="granted").replace("asked", "open"), runs=runs)
    with pytest.raises(NotMigrated, match="stands in main:asked, and there is no main:asked"):
        new.runs.resume("r1", migration={})
    assert runs.get("r1").status == "waiting"
    assert new.runs.resume("r1", migration={"asked": "open"}).waits[0].state == "open"
    assert runs.get("r1").version == "2"
    assert new.runs.send("r1", "approved").final_state == "granted"


def test_a_version_with_python_objects_cannot_be_rebuilt(runs: Runs) -> None:
    """It is said, with what to do; the program that began it can still finish it."""
    from setpoint.data.builder import Builder

    def machine(limit: int) -> Any:
        builder = Builder("m")
        a, b = builder.state("a"), builder.state("b", final=True)
        a.transform(lambda record: {**record, "limit": limit})
        a.to(b, event="go")
        if limit > 1:
            builder.state("c", final=True)
            a.to("c", when=Code("x > 3"))
        return builder.definition()

    old = SimpleFSM(machine(1), runs=runs)
    old.process({"x": 1}, run="r1")
    with pytest.raises(RunError, match="holds Python objects"):
        SimpleFSM(machine(2), runs=runs).runs.send("r1", "go")
    assert old.runs.send("r1", "go").success


def test_a_record_that_cannot_be_kept_is_refused_by_name(runs: Runs) -> None:
    """Before anything was done with it; nothing is left of such a run."""
    fsm = SimpleFSM(STEPS, functions={"first": adding("x"), "second": adding("y")}, runs=runs)
    with pytest.raises(NotKept, match=r"record\.connection is a object"):
        fsm.process({"connection": object()}, run="r1")
    assert runs.find() == []


def test_a_record_that_becomes_unkeepable_leaves_the_run_where_it_was(runs: Runs) -> None:
    """The checkpoint refuses it, the caller hears of it, and the run can go on from the state before."""
    fsm = SimpleFSM(STEPS, functions={"first": lambda record: {"it": object()}, "second": adding("y")}, runs=runs)
    with pytest.raises(NotKept):
        fsm.process({}, run="r1")
    assert runs.get("r1").status == "interrupted"


def test_runs_can_be_asked_for(runs: Runs, clock: Clock) -> None:
    """By machine, status and time, the newest first, in pages; and counted."""
    fsm = SimpleFSM(STEPS, functions={"first": lambda r: {"q": 1 / r["n"]}, "second": adding("y")}, runs=runs)
    for n in (1, 0, 2):
        fsm.process({"n": n}, run=f"r{n}")
        clock.now += 10
    assert [row.id for row in runs.find()] == ["r2", "r0", "r1"]
    assert [row.id for row in runs.find(status="failed")] == ["r0"]
    assert runs.get("r0").error == "a: ZeroDivisionError: division by zero"
    assert [row.id for row in runs.find(since=clock.now - 15)] == ["r2"]
    assert [row.id for row in runs.find(limit=1, offset=1)] == ["r0"]
    assert runs.find(machine="other") == []
    assert runs.count() == {"done": 2, "failed": 1}
    with pytest.raises(RunError, match="several runs begin with 'r'"):
        runs.meant("r")


def test_old_runs_are_forgotten_and_unfinished_ones_are_not(runs: Runs, clock: Clock) -> None:
    """Failed ones may be spared; what waits or was interrupted stays whatever its age."""
    fsm = SimpleFSM(STEPS, functions={"first": lambda r: {"q": 1 / r["n"]}, "second": adding("y")}, runs=runs)
    for n in (1, 0):
        fsm.process({"n": n}, run=f"r{n}")
    SimpleFSM(WAITING.format(version=1, target="done"), runs=runs).process({}, run="w")
    clock.now += 10 * 86_400
    assert runs.prune(days=9, keep_failed=True) == 1
    assert runs.prune(days=9) == 1
    assert [row.id for row in runs.find()] == ["w"]
    assert runs.store.steps("r1") == []


def test_a_run_can_be_stopped(runs: Runs) -> None:
    """It goes on no more, unless it is tried again."""
    fsm = SimpleFSM(WAITING.format(version=1, target="done"), runs=runs)
    fsm.process({}, run="r1")
    runs.stop("r1", "nobody wants it")
    with pytest.raises(RunError, match="was stopped: nobody wants it"):
        fsm.runs.resume("r1")
    assert fsm.runs.resume("r1", again=True).waits
    assert fsm.runs.send("r1", "approved").success
    with pytest.raises(RunError, match="is done"):
        runs.stop("r1")


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """It is said what it is; a file that is no database at all, too."""
    file = tmp_path / "x.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(NotAStore, match="another program"):
        Runs(file)
    (tmp_path / "y").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(NotAStore, match="damaged"):
        Runs(tmp_path / "y")


def test_a_store_that_cannot_be_written_ends_the_run_visibly(runs: Runs) -> None:
    """The caller hears of it; nothing is acknowledged that is not kept."""

    def full(statements: Any) -> None:
        raise StoreError("disk full")

    fsm = SimpleFSM(STEPS, functions={"first": adding("x"), "second": adding("y")}, runs=runs)
    runs.store.write = full  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="disk full"):
        fsm.process({}, run="r1")


def test_only_the_owner_of_the_file_can_read_the_records(runs: Runs) -> None:
    """Records are in it."""
    assert runs.store.file.stat().st_mode & 0o077 == 0


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.decimals(allow_nan=False) | st.uuids() | st.datetimes() | st.dates() | st.timedeltas() | st.just(1 << 90),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner)
    | st.frozensets(st.integers()),
    max_leaves=8,
)  # fmt: skip


@given(plain, plain)
def test_what_is_kept_is_read_back_the_same(record: Any, other: Any) -> None:
    """Values and their types, wherever in a run they are."""
    token = Token(record, "main", "a", ("a",), frames=(Frame("main", "b", 0, other, record),))
    progress = Progress("r", (token,), (Result("end", other, ("a", "end"), True),), None, (token,), {"v": record})
    back = codec.decoded_progress(codec.encoded(progress))
    assert back == progress
    assert _types(back.tokens[0].record) == _types(record)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {(type(key), key): _types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [_types(item) for item in value]
    return type(value)


def test_an_error_is_kept_without_its_exception() -> None:
    """Its type and message stay, and nothing is ever unpickled."""
    error = StepError("ValueError", "no", "a", exception=ValueError("no"))
    [back] = codec.decoded_results(codec.encoded([Result("failed", {}, ("a",), False, error)]))
    assert back.error is not None
    assert (back.error.type, back.error.message, back.error.exception) == ("ValueError", "no", None)


@pytest.mark.parametrize("value", [object(), {"a": {"b": [os]}}, type("E", (str,), {})("x")])
def test_what_has_no_form_is_refused(value: Any) -> None:
    """By name and place."""
    with pytest.raises(NotKept, match="record"):
        codec.encoded_value(value)


def test_a_record_that_holds_itself_is_refused() -> None:
    """It would never end."""
    record: dict[str, Any] = {}
    record["self"] = record
    with pytest.raises(NotKept, match="holds itself"):
        codec.encoded_value(record)


def test_known_types_have_names() -> None:
    """Dates, decimals and UUIDs are plain enough for a record."""
    record = {
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "price": decimal.Decimal("1.10"),
        "id": uuid.UUID(int=7),
    }
    assert codec.decoded_value(codec.encoded_value(record)) == record
