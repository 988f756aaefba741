"""Delivery: what stands between an input and an output. Buffers and what happens when they are full, dead letters, refused messages,
processors that hold messages back; and that an input hears of a batch only when nothing of it can be lost any more."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from flows_plant import run, until
from hypothesis import given
from hypothesis import strategies as st

from setpoint.flows import FlowEngine, FlowStatus
from setpoint.flows.component import ConnectError, Fields, Kind, MessageError, Msg, Rejected, WriteError
from setpoint.flows.config import Buffer
from setpoint.flows.feed import Feed
from setpoint.flows.inputs import INPUTS
from setpoint.flows.letters import A_MINUTE, Letter, LetterFile
from setpoint.flows.outputs import OUTPUTS
from setpoint.flows.processors import PROCESSORS


class Given(Fields):
    pass


class Source:
    """An input that gives what a test puts in, and remembers how many batches it heard of."""

    def __init__(self, fields: Any = None, context: Any = None) -> None:
        self.put: asyncio.Queue[list[Msg] | None] = asyncio.Queue()
        self.acknowledged = 0

    def give(self, *values: Any) -> None:
        self.put.put_nowait([Msg(value, {}) for value in values])

    async def connect(self) -> None: ...

    async def read(self) -> list[Msg] | None:
        return await self.put.get()

    async def acknowledge(self) -> None:
        self.acknowledged += 1

    async def close(self) -> None: ...


class Target:
    """An output that a test opens and shuts; it refuses what is negative, and cannot prepare what is no number."""

    def __init__(self, fields: Any = None, context: Any = None) -> None:
        self.taken: list[Any] = []
        self.metas: list[dict[str, str]] = []
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def connect(self) -> None: ...

    def prepare(self, msg: Msg) -> Any:
        if msg.payload == "unspeakable":
            raise MessageError("cannot be said")
        self.metas.append(msg.meta)
        return msg.payload

    async def write(self, batch: Sequence[Any]) -> int:
        self.asked += 1
        await self.open.wait()
        if bad := {place: "is negative" for place, value in enumerate(batch) if isinstance(value, int) and value < 0}:
            raise Rejected(bad)
        self.taken += batch
        return len(batch)

    async def close(self) -> None: ...


class Joins:
    """A processor that joins three messages, or what there is when it is asked at `at`."""

    def __init__(self, fields: Any = None, context: Any = None) -> None:
        self.kept: list[Msg] = []
        self.at: float | None = None
        self.connected = 0

    @property
    def held(self) -> int:
        return len(self.kept)

    def due(self) -> float | None:
        return self.at if self.kept else None

    def release(self) -> list[Msg]:
        return self.flush() if self.at is not None else []

    def flush(self) -> list[Msg]:
        kept, self.kept = self.kept, []
        return [Msg([msg.payload for msg in kept], {})] if kept else []

    def __call__(self, msg: Msg) -> Msg | None:
        self.kept.append(msg)
        return self.flush()[0] if len(self.kept) == 3 else None


class Opens:
    """A processor that needs something open, which is there at the second attempt."""

    def __init__(self, fields: Any = None, context: Any = None) -> None:
        self.attempts, self.closed = 0, False

    async def connect(self) -> None:
        self.attempts += 1
        if self.attempts == 1:
            raise ConnectError("not there yet")

    def __call__(self, msg: Msg) -> Msg:
        return Msg([self.attempts, msg.payload], msg.meta)

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A flow from a source to a target, and what a test asks of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self.target, self.dead = Source(), Target(), Target()
        self.joins, self.opens = Joins(), Opens()
        for table, kind, made in (
            (INPUTS, "source", self.source), (OUTPUTS, "target", self.target), (OUTPUTS, "dead", self.dead),
            (PROCESSORS, "joins", self.joins), (PROCESSORS, "opens", self.opens),
        ):  # fmt: skip
            monkeypatch.setitem(table, kind, Kind(Given, lambda fields, context, made=made: made))

    async def start(self, *processors: Any, folder: Path | None = None, **more: Any) -> None:
        self.engine = FlowEngine(letters=folder)
        pipeline = {"processors": list(processors)}
        await self.engine.start("f", {"input": {"source": {}}, "pipeline": pipeline, "output": {"target": {}}, **more})

    @property
    def status(self) -> FlowStatus:
        found = self.engine.status("f")
        assert found is not None
        return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_without_a_buffer_the_input_waits_for_the_output(bench: Bench) -> None:
    """One batch is out at a time, and it is acknowledged when the output took it."""

    async def story() -> None:
        await bench.start()
        bench.target.open.clear()
        for n in range(5):
            bench.source.give(n)
        await until(lambda: bench.status.input_received == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (bench.status.input_received, bench.source.acknowledged) == (1, 0)
        bench.target.open.set()
        await until(lambda: bench.source.acknowledged == 5)
        assert bench.target.taken == [0, 1, 2, 3, 4]
        await bench.engine.close()

    run(story())


def test_a_buffer_reads_on_until_it_is_full(bench: Bench) -> None:
    """`block`: up to the limit besides what is on its way; then the input waits. Nothing is lost, nothing acknowledged early."""

    async def story() -> None:
        await bench.start(buffer={"memory": {"messages": 3}})
        bench.target.open.clear()
        for n in range(10):
            bench.source.give(n)
        await until(
            lambda: bench.status.input_received == 5
        )  # one being written, three kept, one read and not yet kept
        for _ in range(50):
            await asyncio.sleep(0)
        assert (bench.status.input_received, bench.source.acknowledged, bench.status.overflowed) == (5, 0, 0)
        bench.target.open.set()
        await until(lambda: bench.source.acknowledged == 10)
        assert bench.target.taken == list(range(10))
        await bench.engine.close()

    run(story())


def test_a_full_buffer_may_leave_out_the_oldest(bench: Bench) -> None:
    """`drop_oldest`: the input never waits; what had to go is counted, told, and acknowledged in its turn."""

    async def story() -> None:
        await bench.start(buffer={"memory": {"messages": 3, "overflow": "drop_oldest"}})
        bench.target.open.clear()
        bench.source.give(0)
        await until(lambda: bench.target.asked == 1)
        for n in range(1, 10):
            bench.source.give(n)
        await until(lambda: bench.status.overflowed == 6)
        assert (bench.status.input_received, bench.source.acknowledged) == (10, 0)
        assert "buffer: full" in bench.status.last_error
        bench.target.open.set()
        await until(lambda: bench.source.acknowledged == 10)
        assert bench.target.taken == [0, 7, 8, 9]
        await bench.engine.close()

    run(story())


def test_stopping_delivers_what_the_buffer_holds(bench: Bench) -> None:
    """An input that cannot be read again, such as a device, loses nothing by a stop."""

    async def story() -> None:
        await bench.start(buffer={"memory": {"messages": 100}})
        bench.target.open.clear()
        for n in range(10):
            bench.source.give(n)
        await until(lambda: bench.status.input_received == 10)
        asyncio.get_running_loop().call_later(0.01, bench.target.open.set)
        await bench.engine.stop("f", timeout=5)
        assert (bench.target.taken, bench.source.acknowledged) == (list(range(10)), 10)

    run(story())


@given(
    sizes=st.lists(st.integers(1, 4), max_size=12),
    limit=st.integers(1, 6),
    overflow=st.sampled_from(["block", "drop_oldest"]),
    takes=st.lists(st.booleans(), max_size=30),
)
def test_nothing_vanishes_in_a_feed(sizes: list[int], limit: int, overflow: Any, takes: list[bool]) -> None:
    """All that was read comes out in order or was counted as left out, and every batch is owed exactly once."""

    async def story() -> None:
        values = iter(range(1000))
        batches = [[Msg(next(values), {}) for _ in range(size)] for size in sizes]
        left_out: list[int] = []
        ahead = iter([*batches, None])
        total = sum(sizes)

        async def read() -> list[Msg] | None:
            await asyncio.sleep(0)
            batch = next(ahead)
            return list(batch) if batch is not None else None

        feed = Feed(read, Buffer(10**6, limit, overflow), left_out.append)
        got: list[int] = []
        owed = 0
        for take in [*takes, *[True] * 100]:
            if not take:
                await asyncio.sleep(0)
                continue
            batch = await feed.get(1.0)
            if batch is None:
                break
            got += [msg.payload for msg in batch.messages]
            owed += batch.owed
        assert got == sorted(got)
        assert len(got) + sum(left_out) == total
        assert owed == len(sizes)
        assert not left_out or overflow == "drop_oldest"

    run(story())


def test_what_fails_goes_to_the_dead_letter_output(bench: Bench) -> None:
    """With its reason, from wherever it failed, before the batch is acknowledged; what that output cannot take is counted."""
    throws = {"nodered_js": {"code": 'if (msg.payload === 2) throw new Error("two is wrong"); return msg;'}}

    async def story() -> None:
        await bench.start(throws, dead_letter={"dead": {}})
        bench.dead.open.clear()
        bench.source.give(1, 2, "unspeakable", -4, 5)
        await until(lambda: bench.target.taken == [1, 5])
        assert bench.source.acknowledged == 0
        bench.dead.open.set()
        await until(lambda: bench.source.acknowledged == 1)
        assert bench.dead.taken == [2]
        meta = bench.dead.metas[0]
        assert "two is wrong" in meta["dead_letter_reason"]
        assert (meta["dead_letter_state"], meta["dead_letter_flow"]) == ("nodered_js_0", "f")
        assert bench.status.dead_letters == 1
        assert (bench.status.processor_errors, bench.status.output_set_aside) == (1, 2)
        await bench.engine.close()

    run(story())


def test_what_an_output_can_never_take_is_set_aside_and_the_rest_is_written(bench: Bench, tmp_path: Path) -> None:
    """Named by its place in the batch; kept with its reason in the flow's file."""

    async def story() -> None:
        await bench.start(folder=tmp_path / "letters")
        bench.source.give(1, -2, 3, -4)
        await until(lambda: bench.source.acknowledged == 1)
        assert (bench.target.taken, bench.status.output_sent) == ([1, 3], 2)
        assert bench.status.output_set_aside == 2
        rows = [json.loads(line) for line in (tmp_path / "letters" / "f.jsonl").read_text().splitlines()]
        assert [(row["payload"], row["state"], row["reason"]) for row in rows] == [
            ("-2", "output", "is negative"),
            ("-4", "output", "is negative"),
        ]
        await bench.engine.close()

    run(story())


def test_the_file_of_dead_letters_is_bounded(tmp_path: Path) -> None:
    """So many a minute, so many bytes in two files, only for its owner; the rest is counted elsewhere."""
    file = LetterFile(tmp_path, "agent/bridges/press 7/read", clock=lambda: 12.5)
    letters = [Letter(Msg("x" * 100_000, {"a": "b"}), "output", "too long") for _ in range(10)]
    for _ in range(A_MINUTE):
        file.keep(letters)
    rows = [json.loads(line) for line in file.path.read_text().splitlines()]
    assert len(rows) == A_MINUTE
    assert file.path.name == "agent-bridges-press-7-read.jsonl"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert (len(rows[0]["payload"]), rows[0]["bytes"], rows[0]["at"]) == (10_000, 100_000, 12.5)


def test_a_disk_that_takes_no_letters_stops_nothing(bench: Bench, tmp_path: Path) -> None:
    """It is told, and the messages are counted all the same."""
    (tmp_path / "letters").write_text("a file where the folder should be")

    async def story() -> None:
        await bench.start(folder=tmp_path / "letters")
        bench.source.give(1, -2)
        await until(lambda: bench.source.acknowledged == 1)
        assert "dead letters cannot be kept" in bench.status.last_error
        assert bench.status.output_set_aside == 1
        await bench.engine.close()

    run(story())


def test_what_a_processor_holds_back_is_not_acknowledged(bench: Bench) -> None:
    """Only when it let go of everything; what it releases by its time or at the end is delivered like the rest."""

    async def story() -> None:
        await bench.start({"joins": {}})
        bench.source.give(1)
        bench.source.give(2)
        await until(lambda: bench.joins.held == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (bench.target.taken, bench.source.acknowledged) == ([], 0)
        bench.source.give(3)
        await until(lambda: bench.source.acknowledged == 3)
        assert bench.target.taken == [[1, 2, 3]]
        bench.joins.at = asyncio.get_running_loop().time() + 0.01
        bench.source.give(4)
        await until(lambda: bench.source.acknowledged == 4)
        assert bench.target.taken == [[1, 2, 3], [4]]
        bench.joins.at = None
        bench.source.give(5)
        await until(lambda: bench.joins.held == 1)
        assert bench.status.dropped == 0  # kept back is not left out
        await bench.engine.stop("f")
        assert (bench.target.taken[-1], bench.source.acknowledged) == ([5], 5)

    run(story())


def test_a_processor_is_connected_before_the_first_message(bench: Bench) -> None:
    """As often as it takes, with the reason told; and closed at the end."""

    async def story() -> None:
        await bench.start({"opens": {}})
        bench.source.give("x")
        await until(lambda: bench.target.taken == [[2, "x"]])
        assert "processor opens_0: not there yet" in bench.status.last_error
        await bench.engine.close()
        assert bench.opens.closed

    run(story())


def test_an_output_that_is_away_holds_up_its_own_flow_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another flow in the same loop delivers meanwhile, and the first one catches up."""

    class Away(Target):
        async def write(self, batch: Sequence[Any]) -> int:
            if not self.open.is_set():
                raise WriteError("away")
            return await super().write(batch)

    away = Away()
    away.open.clear()
    monkeypatch.setitem(OUTPUTS, "away", Kind(Given, lambda fields, context: away))

    async def story() -> None:
        await bench.start()
        endless = {"generate": {"mapping": "root = 7", "interval": "1ms"}}
        await bench.engine.start("g", {"input": endless, "output": {"away": {}}})
        bench.source.give(1)
        await until(lambda: bench.target.taken == [1])
        stuck = bench.engine.status("g")
        assert stuck is not None
        assert stuck.output_sent == 0
        away.open.set()
        await until(lambda: len(away.taken) > 3)
        await bench.engine.close()

    run(story())
