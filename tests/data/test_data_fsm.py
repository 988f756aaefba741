"""`SimpleFSM` and the builder: machines written in Python, behind one door."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import DataMode, Named, PlanError, Retry, Strategy
from setpoint.data.builder import Builder
from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import RunError
from setpoint.machine import Machine, State, expression


def total(order: Any) -> Any:
    return {**order, "total": order["price"] * order["quantity"]}


async def later(order: Any) -> Any:
    await asyncio.sleep(0)
    return total(order)


def orders(transform: Any = total) -> Builder:
    """Orders that are large are approved in a network of their own."""
    made = Builder("orders", version="3", data_mode=DataMode.COPY, max_transitions=50)
    read = made.state("read", gates=Named("has_price"), transforms=transform)
    large, done = made.state("large"), made.state("done", final=True)
    refused = made.state("refused", final=True, emit_output=False)
    read.to(large, when=expression("total > 100"), priority=1, name="big").to(done).on_error(refused)
    large.push("approval", then=done, result_mapping={"approved": "approved"}, arc={"retry": Retry(attempts=2)})
    approval = made.network("approval")
    ask = approval.state("ask").to("end")
    approval.state("end", final=True)

    @ask.transform
    def approve(order: Any) -> Any:
        return {**order, "approved": True}

    return made


FUNCTIONS = {"has_price": lambda order: "price" in order}


def test_a_machine_written_in_python() -> None:
    """States, arcs, conditions, pushes and decorators: what a file can say."""
    fsm = SimpleFSM(orders().definition(), FUNCTIONS)
    assert fsm.process({"price": 2, "quantity": 3}).path == ("read", "done")
    result = fsm.process({"price": 50, "quantity": 3})
    assert result.data == {"price": 50, "quantity": 3, "total": 150, "approved": True}
    assert result.path == ("read", "large", "approval:ask", "approval:end", "done")
    refused = fsm.process({"quantity": 3})
    assert (refused.final_state, refused.handled[0].message) == ("refused", "has_price said no")
    assert fsm.plan.silent == {"refused"}
    assert fsm.process({"price": 1, "total": 101}, initial_state="large").data["approved"]
    assert (fsm.definition.version, fsm.definition.max_transitions) == ("3", 50)


def test_what_is_wrong_names_the_line_that_wrote_it() -> None:
    """A builder reports nothing by itself; the plan reports everything, with places in this file."""
    made = Builder("m")
    made.state("read").to("nowhere")
    with pytest.raises(PlanError) as caught:
        SimpleFSM(made.definition())
    assert "there is no state 'nowhere'" in str(caught.value)
    assert "no final state" in str(caught.value)
    assert all(Path(place.file).name == "test_data_fsm.py" for place in caught.value.places)


@given(
    records=st.lists(st.fixed_dictionaries({"price": st.integers(0, 60), "quantity": st.integers(0, 5)}), max_size=8)
)
def test_one_many_and_a_stream_give_the_same(records: list[Any]) -> None:
    """The same records through every door of the machine, with plain and with async functions."""
    for transform in (total, later):
        with SimpleFSM(orders(transform).definition(), FUNCTIONS) as fsm:
            alone = [fsm.process(record) for record in records]
            batch = fsm.process_batch(records)
            assert [(one.data, one.path) for one in batch] == [(one.data, one.path) for one in alone]
            sink: list[Any] = []
            report = fsm.process_stream(records, sink)
            assert sink == [one.data for one in alone]
            assert report.total == len(records)


def test_the_asynchronous_twins() -> None:
    """Each does in a running loop what its twin does without one; the twin refuses there, since it would block."""

    async def scenario() -> None:
        async with SimpleFSM(orders(later).definition(), FUNCTIONS) as fsm:
            record = {"price": 2, "quantity": 3}
            assert (await fsm.aprocess(record)).data["total"] == 6
            assert [one.data["total"] for one in await fsm.aprocess_batch([record, record])] == [6, 6]
            sink: list[Any] = []
            await fsm.aprocess_stream([record], sink)
            assert sink[0]["total"] == 6
            with pytest.raises(RuntimeError, match="await the method that begins with a"):
                fsm.process(record)

    asyncio.run(scenario())


def test_a_data_mode_may_be_given_from_outside() -> None:
    """It overrides the definition's; an unknown one is refused."""
    record = {"n": 1}
    made = Builder("m")
    made.state("work", transforms=lambda one: one.update(n=2)).to("done")
    made.state("done", final=True)
    SimpleFSM(made.definition(), data_mode="direct").process(record)
    assert record == {"n": 2}
    with pytest.raises(ValueError, match="sideways"):
        SimpleFSM(made.definition(), data_mode="sideways")


def test_a_machine_of_the_model_is_a_machine_for_records() -> None:
    """With its functions by state."""
    read, done = State(name="read"), State(name="done", final=True)
    fsm = SimpleFSM(Machine("m", [read, done], [read.to(done, on="go")]), {"read": total})
    assert fsm.process({"price": 2, "quantity": 2}).data["total"] == 4


def test_a_stream_by_states_gives_the_same_as_any_other() -> None:
    """The strategy changes the order of the calls and nothing else."""
    made = Builder("m", strategy=Strategy.STREAM_OPTIMIZED)
    called: list[str] = []
    for name, following in (("a", "b"), ("b", "done")):
        made.state(name, transforms=lambda one, name=name: called.append(name)).to(following)
    made.state("done", final=True)
    sink: list[Any] = []
    SimpleFSM(made.definition()).process_stream([{"n": 1}, {"n": 2}], sink)
    assert (called, sink) == (["a", "a", "b", "b"], [{"n": 1}, {"n": 2}])


def test_a_file_is_not_read_and_replaced_at_once(tmp_path: Path) -> None:
    """It would be lost."""
    file = tmp_path / "a.jsonl"
    file.write_text('{"n": 1}\n')
    fsm = SimpleFSM({"name": "m", "states": {"a": {"final": True}}})
    with pytest.raises(ValueError, match="is what is read, too"):
        fsm.process_stream(file, tmp_path / "." / "a.jsonl")
    assert file.read_text() == '{"n": 1}\n'


def test_a_name_without_runs_is_refused() -> None:
    """Whoever names a run believes that it is kept."""
    fsm = SimpleFSM({"name": "m", "states": {"a": {"final": True}}})
    with pytest.raises(RunError, match="would not be kept"):
        fsm.process({}, run="r")


def test_one_record_is_no_batch() -> None:
    """Its keys would be carried as records."""
    fsm = SimpleFSM({"name": "m", "states": {"a": {"final": True}}})
    with pytest.raises(TypeError, match="put it into a list"):
        fsm.process_batch({"n": 1})
