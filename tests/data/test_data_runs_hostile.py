"""Runs that are kept, under attack: death at every write, transactions, cancellation, other processes and loops, damaged and odd data."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from data_clock import Clock

from setpoint.data import NotTaken, Result, Several
from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import NotKept, RunError, Runs, codec
from setpoint.data.runs.many import LOT
from setpoint.store import StoreError

STEPS = (
    "name: m\nstates: {a: {transforms: [w], on_complete: b}, b: {transforms: [w], on_complete: c}, c: {final: true}}"
)
EVENT = """
name: m
states:
  a: {transforms: [w], arcs: [{target: b, event: go, transform: [w]}, {target: late, after: 60}]}
  b: {transforms: [w], arcs: [{target: c, after: 5}]}
  c: {final: true}
  late: {final: true}
"""
PARTS = """
name: m
states:
  s: {transforms: [parts], on_complete: a}
  a: {transforms: [w], arcs: [{target: b, condition: n == 2}, {target: b, event: go, condition: go.n == n}, {target: c, after: 60}]}
  b: {transforms: [w], on_complete: c}
  c: {final: true}
"""
DEAD = "999999:1-boot/1"
"""A process that there is not."""


class Killed(BaseException):
    """What stands for the end of the process: nobody catches it."""


def same(record: Any) -> Any:
    """A transform that changes nothing."""
    return record


def killing(record: Any) -> Any:
    """A transform in which the process dies."""
    raise Killed


def three(record: Any) -> Any:
    """A transform that makes three of one."""
    return Several({"n": n} for n in (1, 2, 3))


def machine(text: str, runs: Runs, **functions: Callable[..., Any]) -> SimpleFSM:
    """A machine whose runs are kept; functions that are not given do nothing."""
    return SimpleFSM(text, functions={"w": same, "parts": three, **functions}, runs=runs)


# death


class Life:
    """A process with a file of runs: the first one dies at one of its writes, before it or behind it."""

    def __init__(
        self,
        file: Path,
        clock: Clock,
        text: str,
        calls: Counter[Any],
        *,
        waits: bool,
        die_at: int = 0,
        late: bool = False,
    ) -> None:
        self.runs = Runs(file, wall=clock)
        self.clock, self.writes, self._die_at, self._late, self._dead = clock, 0, die_at, late, False
        self._write = self.runs.store.write
        self.runs.store.write = self.runs.keeper._write = self.write  # type: ignore[method-assign]
        if die_at:
            self.runs.owner = DEAD

        def work(record: Any, context: Any) -> Any:
            calls[context.state, context.arc, record.get("n")] += 1
            return record

        async def later(record: Any, context: Any) -> Any:
            await asyncio.sleep(0)
            return work(record, context)

        self.fsm = machine(text, self.runs, w=later if waits else work)

    def write(self, statements: Any) -> None:
        """The store's, as long as it lives."""
        self.writes += 1
        if self._dead:
            raise Killed
        self._dead = self.writes == self._die_at
        if not self._dead or self._late:
            self._write(statements)
        if self._dead:
            raise Killed

    def go(self) -> Result:
        """What a service does: goes on with what was left, sends what is to be sent, looks at the time."""
        try:
            self.fsm.runs.recover()
            result = self.fsm.process({}, run="r")
            for data in ({"n": 1}, None):
                if result.waits:
                    with suppress(NotTaken):
                        result = self.fsm.runs.send("r", "go", data)
            for _ in range(3):
                self.clock.now += 100
                self.fsm.runs.wake()
            return self.fsm.runs.resume("r")
        finally:
            self.fsm.close()
            self.runs.close()


@pytest.mark.parametrize(("text", "waits"), [(EVENT, False), (EVENT, True), (PARTS, False)])
def test_dying_at_any_write_repeats_one_state_at_most(text: str, waits: bool, tmp_path: Path) -> None:
    """The next process comes to the same end, nothing is left out, and nothing stays behind in the file."""
    logging.getLogger("setpoint.data").disabled = True  # who dies cannot give its run back
    once: Counter[Any] = Counter()
    whole = Life(tmp_path / "whole", Clock(), text, once, waits=waits)
    expected = whole.go()
    assert whole.writes > 6
    for die_at in range(1, whole.writes + 1):
        for late in (False, True):
            calls: Counter[Any] = Counter()
            file, clock = tmp_path / f"{die_at}{late}", Clock()
            with pytest.raises(Killed):
                Life(file, clock, text, calls, waits=waits, die_at=die_at, late=late).go()
            after = Life(file, clock, text, calls, waits=waits)
            assert after.go().path == expected.path
            assert once <= calls
            assert calls.total() <= once.total() + 1
            again = Runs(file, days=0)
            assert again.store.progress("r") is None
            assert again.get("r").status == "done"
            again.close()
    logging.getLogger("setpoint.data").disabled = False


def test_a_process_that_dies_behind_an_event_leaves_a_run_that_is_recovered(runs: Runs) -> None:
    """The event was taken and kept: it is not sent again, and the run does not pass for one that waits."""
    text = (
        "name: m\nstates: {a: {arcs: [{target: b, event: go}]}, b: {transforms: [w], on_complete: c}, c: {final: true}}"
    )
    dying = machine(text, runs, w=killing)
    dying.process({}, run="r")
    with pytest.raises(Killed):
        dying.runs.send("r", "go", {"by": "ada"})
    assert runs.get("r").status == "interrupted"
    [result] = machine(text, runs).runs.recover()
    assert (result.final_state, result.data) == ("c", {"go": {"by": "ada"}})


def test_a_run_with_which_a_process_died_is_woken_in_its_time(runs: Runs, clock: Clock) -> None:
    """Whoever looks after the time alone loses none: neither one that was just sent something, nor one that was just woken."""
    dying = machine(EVENT.replace("transform: [w]", "transform: [k]"), runs, k=killing)
    dying.process({}, run="r")
    with pytest.raises(Killed):
        dying.runs.send("r", "go")
    runs.note("r", status="running", owner=DEAD)
    fsm = machine(EVENT.replace("transform: [w]", "transform: [k]"), runs, k=same)
    assert fsm.runs.wake() == []
    assert fsm.runs.next_wake() == clock.now + 60
    clock.now += 60
    assert [result.final_state for result in fsm.runs.wake()] == ["late"]


# time


def test_an_arc_whose_time_came_in_vain_is_not_waited_for(runs: Runs, clock: Clock) -> None:
    """Its condition said no. What is waited for next is the next one's time, and then as long again: who asks does not ask in a circle."""
    text = """
name: m
states:
  a: {arcs: [{target: b, after: 60, condition: x > 3}, {target: b, after: 600, condition: x > 4}, {target: b, event: go}]}
  b: {final: true}
"""
    fsm = machine(text, runs)
    fsm.process({"x": 1}, run="r")
    began = clock.now
    clock.now += 60
    assert [result.final_state for result in fsm.runs.wake()] == ["waiting"]
    assert fsm.runs.next_wake() == began + 600
    with pytest.raises(NotTaken):
        fsm.runs.send("r", "gone")
    assert fsm.runs.next_wake() == began + 600
    clock.now = began + 600
    fsm.runs.wake()
    assert fsm.runs.next_wake() == began + 660


def test_a_wrong_event_does_not_put_off_the_time(runs: Runs, clock: Clock) -> None:
    """Who sends nonsense again and again cannot keep a run from being woken."""
    fsm = machine(EVENT, runs)
    fsm.process({}, run="r")
    clock.now += 60
    with pytest.raises(NotTaken):
        fsm.runs.send("r", "nonsense")
    assert [result.final_state for result in fsm.runs.wake()] == ["late"]


# transactions


SHOP = """
name: shop
transactions: record
resources:
  - {name: db, type: database, config: {url: "sqlite:///FILE"}}
states:
  a: {resources: [db], transforms: [put], on_complete: b}
  b: {resources: [db], transforms: [then], arcs: [{target: c, condition: direct}, {target: c, event: go}]}
  c: {resources: [db], transforms: [put], on_complete: d}
  d: {final: true}
"""


class Shop:
    """A database, and a machine that writes into it in one transaction a record."""

    def __init__(self, folder: Path, runs: Runs) -> None:
        self.file, self.runs = folder / "shop.db", runs
        with sqlite3.connect(self.file) as connection:
            connection.execute("CREATE TABLE t (state)")
        connection.close()

    def machine(self, then: Callable[..., Any] | None = None) -> SimpleFSM:
        """The machine; `then` is its second state's function."""

        def put(record: Any, context: Any) -> Any:
            context.resources["db"].execute(f"INSERT INTO t (state) VALUES ('{context.state}')")
            return record

        return machine(SHOP.replace("FILE", str(self.file)), self.runs, put=put, then=then or put)

    @property
    def rows(self) -> list[str]:
        """What is for good in the database."""
        connection = sqlite3.connect(self.file)
        try:
            return [state for (state,) in connection.execute("SELECT state FROM t")]
        finally:
            connection.close()


@pytest.fixture
def shop(tmp_path: Path, runs: Runs) -> Shop:
    """A shop."""
    return Shop(tmp_path, runs)


def test_what_was_done_before_a_wait_is_committed(shop: Shop) -> None:
    """No transaction is held while a record waits, and nothing of what is kept as done is rolled back."""
    with shop.machine() as fsm:
        assert fsm.process({"direct": False}, run="r").waits
        assert shop.rows == ["a", "b"]
        assert fsm.runs.send("r", "go").success
    assert shop.rows == ["a", "b", "c"]


def test_a_transaction_that_is_lost_is_done_again_as_a_whole(shop: Shop) -> None:
    """The run goes on before the state in which the transaction began, since all of it was rolled back."""
    with shop.machine(killing) as fsm, pytest.raises(Killed):
        fsm.process({"direct": True}, run="r")
    assert shop.rows == []
    with shop.machine() as fsm:
        assert [result.success for result in fsm.runs.recover()] == [True]
    assert shop.rows == ["a", "b", "c"]


def test_a_run_whose_transaction_failed_is_retried_as_a_whole(shop: Shop) -> None:
    """Otherwise it would succeed without what its first states had written."""

    def broken(record: Any) -> Any:
        raise ConnectionError("down")

    with shop.machine(broken) as fsm:
        assert not fsm.process({"direct": True}, run="r").success
    assert shop.rows == []
    with shop.machine() as fsm:
        assert fsm.runs.resume("r", again=True).success
    assert shop.rows == ["a", "b", "c"]


def test_a_transaction_left_open_at_a_wait_fails_the_run(shop: Shop, runs: Runs) -> None:
    """It does not wait as if all were well, and can be tried again."""
    begun: list[Any] = []

    def left_open(record: Any, context: Any) -> Any:
        begun.append(context.resources["db"].begin())
        begun[-1].__enter__()
        context.resources["db"].execute("INSERT INTO t (state) VALUES ('b')")
        return record

    text = SHOP.replace("FILE", str(shop.file)).replace("transactions: record", "transactions: manual")
    with machine(text, runs, put=same, then=left_open) as fsm:
        result = fsm.process({"direct": False}, run="r")
    assert (result.final_state, runs.get("r").status, shop.rows) == ("failed", "failed", [])
    assert "none has ended it" in runs.get("r").error
    with machine(text, runs, put=same, then=same) as fsm:
        assert fsm.runs.resume("r", again=True).waits


# trying again


@pytest.mark.parametrize(
    ("states", "path"),
    [
        ("c: {final: true}", ("a", "b", "c")),
        ("c: {final: true}, failed: {final: true}", ("a", "b", "c")),
        ("c: {final: true}, failed: {run_on_failure: true, transforms: [w], final: true}", ("a", "b", "c")),
        (
            "c: {on_complete: d}, k: {on_complete: failed}, failed: {final: true}, d: {final: true}",
            ("a", "b", "c", "d"),
        ),
    ],
)
def test_a_run_is_tried_again_where_it_went_wrong(states: str, path: tuple[str, ...], runs: Runs) -> None:
    """Not where that led it: to an end that is a failure, to what cleans up, or both by way of other states."""
    caught = ", on_error: k" if "k:" in states else ""
    text = f"name: m\nstates: {{a: {{transforms: [w], on_complete: b}}, b: {{transforms: [x], on_complete: c{caught}}}, {states}}}"
    calls: list[str] = []

    def broken(record: Any) -> Any:
        raise ConnectionError("down")

    def first(record: Any, context: Any) -> Any:
        calls.append(context.state)
        return record

    assert not machine(text, runs, w=first, x=broken).process({}, run="r").success
    calls.clear()
    result = machine(text, runs, w=first, x=same).runs.resume("r", again=True)
    assert (result.success, result.path, calls) == (True, path, [])


def test_of_a_split_record_only_the_parts_that_failed_are_tried_again(runs: Runs) -> None:
    """Also those that failed before others went on; the others keep their ends."""
    text = "name: m\nstates: {a: {transforms: [parts], on_complete: b}, b: {transforms: [w], on_complete: c}, c: {final: true}}"
    calls: list[int] = []

    def work(bad: set[int]) -> Any:
        def call(record: Any) -> Any:
            calls.append(record["n"])
            return {"q": 1 / (record["n"] not in bad), **record}

        return call

    assert not machine(text, runs, w=work({1, 3})).process({}, run="r").success
    assert not machine(text, runs, w=work({3})).runs.resume("r", again=True).success
    result = machine(text, runs, w=work(set())).runs.resume("r", again=True)
    assert (result.success, sorted(part.data["n"] for part in result.parts)) == (True, [1, 2, 3])
    assert calls == [1, 2, 3, 1, 3, 3]


def test_a_retry_that_is_refused_leaves_the_run_as_it_was(runs: Runs) -> None:
    """It is still one that ended, and is forgotten in its time."""

    def broken(record: Any) -> Any:
        raise ConnectionError("down")

    machine(STEPS, runs, w=broken).process({}, run="r")
    before = runs.get("r")
    runs.store.write([("UPDATE progress SET data = x'00'", ())])
    with pytest.raises(RunError, match="cannot be read"):
        machine(STEPS, runs).runs.resume("r", again=True)
    assert runs.get("r") == before


# others


def test_a_cancelled_run_can_be_gone_on_with_at_once(runs: Runs) -> None:
    """Whenever it was cancelled: what was handed to the store is written by then, and nothing comes late."""

    async def scene(turns: int) -> None:
        run = f"r{turns}"
        calls: list[str] = []

        async def work(record: Any, context: Any) -> Any:
            calls.append(context.state)
            await asyncio.sleep(0)
            return record

        fsm = machine(STEPS, runs, w=work)
        task = asyncio.create_task(fsm.aprocess({}, run=run))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await fsm.aprocess({}, run=run)).success
        assert runs.get(run).status == "done"
        assert len(calls) <= 3

    for turns in range(12):
        asyncio.run(scene(turns))


def test_two_event_loops_share_a_file(runs: Runs) -> None:
    """Each in its thread; neither waits for the other."""

    async def work(record: Any) -> Any:
        await asyncio.sleep(0)
        return record

    async def many(name: str) -> None:
        fsm = machine(STEPS, runs, w=work)
        for n in range(40):
            await asyncio.wait_for(fsm.aprocess({}, run=f"{name}{n}"), 20)

    threads = [threading.Thread(target=lambda name=name: asyncio.run(many(name))) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs.count() == {"done": 80}


def test_one_run_that_cannot_be_written_does_not_spoil_the_others(runs: Runs) -> None:
    """They share a transaction, but not its fate."""
    write = runs.store.write

    def choosy(statements: Any) -> None:
        if any("r7" in map(str, values) for _, values in statements):
            raise sqlite3.DataError("too big")
        write(statements)

    runs.keeper._write = choosy

    async def many() -> list[Any]:
        fsm = machine(STEPS, runs)
        return await asyncio.gather(
            *(fsm.runs._ago(fsm.runs._begin({}, "", f"r{n}"), None, None) for n in range(20)),
            return_exceptions=True,  # type: ignore[arg-type]
        )

    results = asyncio.run(many())
    assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [7]


def test_a_file_is_made_by_several_at_once(tmp_path: Path) -> None:
    """None of them takes the half-made file for one of another program, or gives up at a lock."""
    faults: list[Exception] = []

    def opening(file: Path, all_here: threading.Barrier) -> None:
        all_here.wait()
        try:
            Runs(file).close()
        except Exception as error:
            faults.append(error)

    for n in range(30):
        all_here = threading.Barrier(4)
        threads = [threading.Thread(target=opening, args=(tmp_path / str(n), all_here)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


def test_a_file_that_is_gone_acknowledges_nothing(runs: Runs) -> None:
    """Whoever deletes or replaces it is told of by the next run, not by its absence."""
    fsm = machine(STEPS, runs)
    fsm.process({}, run="r1")
    runs.store.file.unlink()
    with pytest.raises(StoreError, match="deleted or replaced"):
        fsm.process({}, run="r2")
    runs.store.file.touch()
    with pytest.raises(StoreError, match="deleted or replaced"):
        fsm.process({}, run="r3")


def test_a_full_disk_leaves_runs_that_go_on_in_the_same_process(runs: Runs) -> None:
    """They could not be given back then; as long as the process lives nobody else could go on with them."""
    fsm = machine(STEPS, runs)
    write, left = runs.store.write, [2]

    def full(statements: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StoreError("disk full")
        write(statements)

    runs.store.write = runs.keeper._write = full  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="disk full"):
        machine(STEPS, runs).process({}, run="r")
    left[0] = 1_000
    assert [result.success for result in fsm.runs.recover()] == [True]


def test_a_program_asks_for_runs_by_their_whole_names(runs: Runs) -> None:
    """An approval of order 1 is none of order 17, also where order 1 is long forgotten."""
    fsm = machine(EVENT, runs)
    fsm.process({}, run="order-17")
    for ask in (lambda: fsm.runs.send("order-1", "go"), lambda: runs.delete("order-1"), lambda: runs.stop("order-1")):
        with pytest.raises(RunError, match="there is no run 'order-1'"):
            ask()
    assert runs.meant("order-1").id == "order-17"


def test_a_machine_is_kept_as_long_as_a_run_may_need_it(runs: Runs, clock: Clock) -> None:
    """Its text was forgotten with its last run; the next one has it kept again."""
    fsm = machine(EVENT, runs)
    fsm.process({}, run="r1")
    runs.stop("r1")
    clock.now += 40 * 86_400
    assert runs.prune(days=30) == 1
    fsm.process({}, run="r2")
    assert machine(EVENT.replace("name: m", "name: m\nversion: '2'"), runs).runs.send("r2", "go").path == ("a", "b")


def test_old_runs_are_forgotten_while_a_program_runs(runs: Runs, clock: Clock) -> None:
    """Not only when it starts: it may run for years."""
    fsm = machine(STEPS, runs)
    fsm.process({}, run="r1")
    clock.now += 31 * 86_400
    fsm.process({}, run="r2")
    assert [row.id for row in runs.find()] == ["r2"]


def test_what_cannot_go_on_does_not_hold_up_the_others(runs: Runs) -> None:
    """Whatever is the matter with it: what is kept of it is damaged, or it cannot be kept any more."""
    fsm = machine(STEPS, runs, w=killing)
    for n in range(4):
        with pytest.raises(Killed):
            fsm.process({"n": n}, run=f"r{n}")
    runs.store.write([("UPDATE progress SET data = substr(data, 1, 9) WHERE run = 'r1'", ())])
    results = machine(STEPS, runs, w=lambda record: object() if record["n"] == 2 else record).runs.recover()
    assert sorted(result.data["n"] for result in results) == [0, 3]
    assert sorted(row.id for row in runs.find(status="interrupted")) == ["r1", "r2"]


def test_a_version_with_async_functions_is_finished_by_one_without(runs: Runs) -> None:
    """The run goes on in a loop of the machine's own."""

    async def later(record: Any) -> Any:
        await asyncio.sleep(0)
        return {**record, "later": True}

    text = """
name: m
version: "{}"
states: {{a: {{arcs: [{{target: b, event: go}}]}}, b: {{transforms: [{}], on_complete: c}}, c: {{final: true}}}}
"""
    functions: dict[str, Any] = {"later": later, "now": same}
    with SimpleFSM(text.format(1, "later"), functions=functions, runs=runs) as old:
        old.process({}, run="r")
    with SimpleFSM(text.format(2, "now"), functions=functions, runs=runs) as new:
        assert new.runs.send("r", "go").data == {"later": True}


def test_a_listener_that_fails_costs_no_step(runs: Runs) -> None:
    """It is logged, and changes nothing."""

    def failing(event: Any) -> None:
        raise ValueError

    logging.getLogger("setpoint.data").disabled = True
    SimpleFSM(STEPS, functions={"w": same}, events=failing, runs=runs).process({}, run="r")
    logging.getLogger("setpoint.data").disabled = False
    assert [step.state for step, _ in runs.steps("r")] == ["a", "b", "c"]


# odd records, names and machines


def test_names_that_are_no_text_are_refused(runs: Runs) -> None:
    """They come from file names that are no UTF-8."""
    for ask in (
        lambda: machine(STEPS, runs).process({}, run="\udcff"),
        lambda: runs.get("\udcff"),
        lambda: runs.meant("\udcff"),
    ):
        with pytest.raises(RunError, match="part of it is no character"):
            ask()
    assert machine(STEPS, runs).process({}, run="a%'\"\0$.\U0010ffff" * 1000).success
    with pytest.raises(RunError, match="there is no run"):
        runs.meant("\U0010ffff")


def test_an_error_whose_message_is_no_text_is_kept(runs: Runs) -> None:
    """With what is no character as an escape."""

    def missing(record: Any) -> Any:
        raise FileNotFoundError("/tmp/\udcff")

    assert machine(STEPS, runs, w=missing).process({}, run="r").final_state == "failed"
    assert runs.get("r").error == "a: FileNotFoundError: /tmp/\\udcff"


def test_a_text_that_is_none_is_refused(runs: Runs) -> None:
    """As anything that cannot be kept, before something was done."""
    for record in ({"x": "\ud800"}, {"\ud800": 1}):
        with pytest.raises(NotKept, match="part of it is no character"):
            machine(STEPS, runs).process(record, run="r")
    assert runs.find() == []


def test_numbers_of_any_length_are_kept() -> None:
    """Also those that Python writes in decimals only when told to."""
    for number in (10**9_000, -(10**9_000), 1 << 63, -(1 << 63) - 1):
        assert codec.decoded_value(codec.encoded_value({"n": [number]})) == {"n": [number]}


def test_a_state_may_be_called_waiting(runs: Runs) -> None:
    """Its end is an end."""
    text = "name: m\nstates: {a: {on_complete: waiting}, waiting: {final: true}}"
    assert machine(text, runs).process({}, run="r").success
    assert runs.get("r").status == "done"


def test_a_part_that_is_no_mapping_is_not_harmed_by_an_event(runs: Runs) -> None:
    """The others take it; it goes on waiting."""
    text = (
        "name: m\nstates: {s: {transforms: [p], on_complete: a}, a: {arcs: [{target: b, event: go}]}, b: {final: true}}"
    )
    fsm = machine(text, runs, p=lambda record: Several([3, {"n": 1}]))
    fsm.process({}, run="r")
    result = fsm.runs.send("r", "go", {"by": "ada"})
    assert (len(result.waits), runs.get("r").status) == (1, "waiting")


def test_a_run_of_too_many_parts_does_not_hang_where_some_wait(runs: Runs) -> None:
    """Those that were too many have failed, the others still wait."""
    text = """
name: m
max_parts: 3
states:
  s: {transforms: [p], on_complete: a}
  a: {arcs: [{target: w, condition: n == 1}, {target: s}]}
  w: {arcs: [{target: b, event: go}]}
  b: {final: true}
"""
    fsm = machine(text, runs, p=lambda record: Several({"n": n} for n in (1, 2)))
    assert fsm.process({"n": 0}, run="r").waits
    assert runs.get("r").status == "waiting"
    result = fsm.runs.send("r", "go")
    assert (result.success, runs.get("r").status) == (False, "failed")


def test_records_that_were_too_many_are_tried_again(runs: Runs) -> None:
    """All of them, where what made so many of one makes fewer by then."""
    states = "{a: {transforms: [parts], on_complete: b}, b: {transforms: [w], on_complete: c}, c: {final: true}}"
    text = f"name: m\nmax_parts: 2\nstates: {states}"
    assert not machine(text, runs).process({}, run="r").success
    result = machine(text, runs).runs.resume("r", again=True)
    assert (result.success, len(result.parts)) == (True, 3)


# batches and streams


def many(count: int) -> list[dict[str, int]]:
    """So many records."""
    return [{"n": n} for n in range(count)]


def test_a_batch_is_done_when_what_comes_of_it_is(runs: Runs) -> None:
    """Where that could not be written it goes on there, and nothing is carried again."""
    calls: list[int] = []

    def work(record: Any) -> Any:
        calls.append(record["n"])
        return record

    def full(batch: Any) -> None:
        raise OSError("disk full")

    fsm = machine(STEPS.replace("b: {transforms: [w], ", "b: {"), runs, w=work)
    with pytest.raises(OSError, match="disk full"):
        fsm.process_batch(many(LOT + 1), run="b", on_end=full)
    assert (runs.get("b").status, runs.get("b").error) == ("interrupted", "OSError: disk full")
    written: list[Any] = []
    fsm.process_batch(many(LOT + 1), run="b", on_end=written.extend)
    assert (len(written), len(calls), runs.get("b").status) == (LOT + 1, LOT + 1, "done")


def test_a_batch_goes_through_one_version(runs: Runs) -> None:
    """The one it began with: it says so itself, and cannot be gone on with by another."""

    text = (
        STEPS.replace("on_complete: c", "on_complete: z")
        .replace("c: {final", "z: {final")
        .replace("name: m", "name: m\nversion: '2'")
    )

    def swapping(record: Any) -> Any:
        if record["n"] == 0:
            fsm.swap(text)
        return record

    fsm = machine(STEPS, runs, w=swapping)
    results = fsm.process_batch(many(LOT + 1), run="b")
    assert {result.final_state for result in results} == {"c"}


def test_a_stream_in_which_records_failed_is_not_sent_twice(runs: Runs) -> None:
    """It has come to its end: a sink that remembers nothing would have all of it again."""
    out: list[Any] = []
    fsm = machine(STEPS, runs, w=lambda record: {"q": 1 / record["n"], **record})
    fsm.process_stream(many(3), out.append, run="s")
    with pytest.raises(RunError, match="is failed"):
        fsm.process_stream(many(3), out.append, run="s", resume=True)
    assert len(out) == 2


def test_a_stream_goes_on_with_a_machine_that_was_mended(runs: Runs, tmp_path: Path) -> None:
    """What broke it may have been the machine."""
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'{{"n": {n}}}\n' for n in range(6)))

    def dying(record: Any) -> Any:
        if record["n"] == 3:
            raise Killed
        return record

    with pytest.raises(Killed):
        machine(STEPS, runs, w=dying).process_stream(source, out, run="s", chunk_size=2)
    mended = machine(STEPS.replace("name: m", "name: m\nversion: '2'"), runs)
    assert mended.process_stream(source, out, run="s", chunk_size=2, resume=True).success
    assert (len(out.read_text().splitlines()), runs.get("s").version) == (6, "2")


def test_what_was_carried_in_processes_needs_them_once(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay from lot to lot: starting some for each would take longer than the work."""
    from setpoint.data import processes

    pools: list[object] = []
    begin = processes.Pool.__init__

    def counted(self: Any, *arguments: Any, **named: Any) -> None:
        pools.append(self)
        begin(self, *arguments, **named)

    monkeypatch.setattr(processes.Pool, "__init__", counted)
    text = "name: m\nstates: {a: {transforms: [{set: {q: n * n}}], on_complete: c}, c: {final: true}}"
    results = SimpleFSM(text, runs=runs).process_batch(many(2 * LOT + 1), run="b", processes=2)
    assert [result.data["q"] for result in results] == [n * n for n in range(2 * LOT + 1)]
    assert len(pools) == 1


# the file in the hands of others


def test_rows_that_make_no_sense_are_shown_with_the_others(runs: Runs) -> None:
    """As far as they can be read: text that is no UTF-8, facts that are no mapping."""
    fsm = machine(STEPS, runs)
    for name in ("r1", "r2", "r3"):
        fsm.process({}, run=name)
    runs.store.write([
        ("UPDATE runs SET about = 'no JSON', error = CAST(x'ff41' AS TEXT) WHERE id = 'r1'", ()),
        ("UPDATE runs SET about = '[1]', result = x'02c1' WHERE id = 'r2'", ()),
    ])  # fmt: skip
    assert {row.id: dict(row.about) for row in runs.find()} == {"r1": {}, "r2": {}, "r3": {}}
    assert runs.get("r1").error == "\N{REPLACEMENT CHARACTER}A"
    with pytest.raises(ValueError, match="damaged"):
        runs.result("r2")


def test_runs_are_read_without_writing(runs: Runs) -> None:
    """While another program writes them; a file without runs is none."""
    machine(STEPS, runs).process({}, run="r1")
    reading = Runs(runs.store.file, read_only=True)
    machine(STEPS, runs).process({}, run="r2")
    assert [row.id for row in reading.find()] == ["r2", "r1"]
    with pytest.raises(StoreError, match="readonly"):
        reading.delete("r1")
    reading.close()
    empty = runs.store.file.with_name("empty")
    empty.touch()
    with pytest.raises(StoreError, match="no runs in"):
        Runs(empty, read_only=True)
