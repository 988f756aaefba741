"""`batch`: messages joined to one, by number, by size and by time, and none lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from flows_plant import context, run, until
from flows_walk import Pipeline, problems
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import Several
from setpoint.flows import FlowEngine
from setpoint.flows.component import Holding, Msg
from setpoint.flows.processors import PROCESSORS


def batch(now: list[float] | None = None, **fields: Any) -> Any:
    kind = PROCESSORS["batch"]
    return kind.make(kind.fields.model_validate(fields), context(now=lambda: now[0] if now else 0.0))


def test_so_many_messages_are_one() -> None:
    """Its payload is the list of theirs, its meta that of the first; until then nothing goes on."""
    step = batch(count=3)
    assert isinstance(step, Holding)
    assert [step(Msg(n, {"n": str(n)})) for n in (1, 2)] == [Several(), Several()]
    assert step.held == 2
    assert step(Msg(b'{"a": 1}', {})) == Msg([1, 2, {"a": 1}], {"n": "1"})
    assert step.held == 0
    flow = Pipeline({"batch": {"count": 2}})
    assert (flow.out(1), flow.out(2), flow.out(3)) == ([], [[1, 2]], [])


def test_so_many_bytes_are_one() -> None:
    """The message that reaches the size is in it."""
    step = batch(byte_size=10)
    assert step(Msg(b"12345", {})) == Several()
    assert step(Msg("6789", {})) == Several()
    assert step(Msg([0], {})) == Msg([12345, "6789", [0]], {})
    assert step(Msg(b"0123456789", {})) == Msg(["0123456789"], {})


def test_a_period_ends_a_batch() -> None:
    """From its first message on; the flow is told when to ask."""
    now = [100.0]
    step = batch(now, count=10, period="2s")
    assert step.due() is None
    assert step.release() == []
    step(Msg(1, {}))
    now[0] = 101.0
    step(Msg(2, {}))
    assert (step.due(), step.release()) == (102.0, [])
    now[0] = 102.0
    assert step.release() == [Msg([1, 2], {})]
    assert (step.due(), step.held, step.release()) == (None, 0, [])


@given(st.lists(st.integers(-5, 2000), max_size=40), st.integers(0, 4), st.integers(0, 9))
def test_nothing_is_lost_or_doubled(values: list[int], count: int, size: int) -> None:
    """All that went in comes out, in its order, when what is left is flushed."""
    step = batch(count=count or (0 if size else 1), byte_size=size)
    out = [step(Msg(value, {})) for value in values]
    batches = [msg for msg in out if isinstance(msg, Msg)] + step.flush()
    assert [value for msg in batches for value in msg.payload] == values
    assert (step.held, step.flush()) == (0, [])
    assert all(not count or len(msg.payload) <= count for msg in batches)


@pytest.mark.parametrize("fields", [{}, {"period": "1s"}])
def test_a_batch_must_end(fields: dict[str, Any]) -> None:
    """By a number or a size, whatever the time: what is held is in memory."""
    assert "needs a count or a byte_size" in problems({"batch": fields})["0.batch"]
    assert "did you mean 'byte_size'" in problems({"batch": {"count": 1, "bytesize": 1}})["0.batch.bytesize"]


def test_unarchive_takes_a_batch_apart_again() -> None:
    """What a batch joined."""
    flow = Pipeline({"batch": {"count": 2}}, {"unarchive": {"format": "json_array"}})
    assert flow.out(b'{"a":1}') == []
    assert [json.loads(json.dumps(part)) for part in flow.out([5])] == [{"a": 1}, [5]]


def test_a_flow_writes_batches_and_what_is_left(tmp_path: Path) -> None:
    """Whole ones as they fill, one whose time has come, and the rest when the input ends; in their order, none lost."""
    out = tmp_path / "out.jsonl"
    flow = {
        "input": {"generate": {"mapping": "root = counter()", "interval": "", "count": 8}},
        "pipeline": {"processors": [{"switch": [{"processors": [{"batch": {"count": 3, "period": "1h"}}]}]}]},
        "output": {"file": {"path": str(out)}},
    }

    async def scenario() -> None:
        engine = FlowEngine()
        await engine.start("f", flow)
        await until(lambda: (status := engine.status("f")) is not None and status.finished)
        await engine.close()

    run(scenario())
    assert [json.loads(line) for line in out.read_text().splitlines()] == [[1, 2, 3], [4, 5, 6], [7, 8]]


def test_a_flow_writes_a_batch_whose_time_has_come(tmp_path: Path) -> None:
    """Although no further message comes."""
    out = tmp_path / "out.jsonl"
    flow = {
        "input": {"generate": {"mapping": "root = counter()", "interval": "1h", "batch_size": 2}},
        "pipeline": {"processors": [{"batch": {"count": 100, "period": "50ms"}}]},
        "output": {"file": {"path": str(out)}},
    }

    async def scenario() -> None:
        engine = FlowEngine()
        await engine.start("f", flow)
        await until(lambda: out.exists() and out.read_text() == "[1,2]\n")
        await engine.close()

    run(scenario())
