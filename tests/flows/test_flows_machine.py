"""`machine`: a machine for records as a step of a flow."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from flows_walk import Pipeline, problems

from setpoint.flows.component import ConnectError, Msg

ORDER = """\
name: order
states:
  received:
    transforms: [{set: {total: price * quantity}}]
    arcs:
      - {target: large, condition: total >= 1000}
      - {target: ignored, condition: total == 0}
      - small
  large: {final: true}
  small: {final: true}
  ignored: {final: true, emit_output: false}
"""


@pytest.fixture
def order(tmp_path: Path) -> Path:
    (tmp_path / "order.yaml").write_text(ORDER)
    return tmp_path


def test_the_end_of_the_record_decides(order: Path) -> None:
    """It goes on with what it is by then, and its meta; silent ends drop it; a failure is the message's, with the place."""
    flow = Pipeline({"machine": {"file": "order.yaml", "state_meta": "size"}}, base=order)
    assert flow.result(b'{"price": 500, "quantity": 4}', {"m": "1"}).data == Msg(
        {"price": 500, "quantity": 4, "total": 2000}, {"m": "1", "size": "large"}
    )
    assert flow.result({"price": 1, "quantity": 1}).data.meta == {"size": "small"}
    assert flow.result({"price": 0, "quantity": 1}).final_state == "dropped"
    failed = flow.result({"price": 1})
    assert (failed.final_state, failed.data.payload) == ("failed", {"price": 1})
    assert failed.error is not None
    assert failed.error.message.startswith("machine 'order': received: ")
    assert flow.result(b"no json").final_state == "failed"


def test_a_record_that_becomes_several_makes_several_messages() -> None:
    """And one that is dropped none; the machine may stand in the configuration itself."""
    split = {"name": "split_on", "params": {"split_field": "lines", "output_field": None}}
    definition = {"name": "split", "states": {"a": {"transforms": [split], "on_complete": "b"}, "b": {"final": True}}}
    flow = Pipeline({"machine": {"definition": definition}})
    ends = list(flow.result({"order": 1, "lines": ["x", "y"]}, {"m": "1"}).ends())
    assert [end.data.payload["lines"] for end in ends] == ["x", "y"]
    assert [end.data.meta for end in ends] == [{"m": "1"}] * 2


def test_a_machine_that_works_in_place_leaves_the_message_alone() -> None:
    """A message that fails is still to be shown."""
    states = {
        "a": {"transforms": [{"set": {"x": "1"}}, {"set": {"y": "missing"}}], "on_complete": "b"},
        "b": {"final": True},
    }
    flow = Pipeline({"machine": {"definition": {"name": "m", "data_mode": "direct", "states": states}}})
    assert flow.result({"a": 1}).data.payload == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nstates:\n  a: {on_complet: b}\n  b: {final: true}\n", "order.yaml:3"),
        (
            "name: x\nstates:\n  a: {transforms: [{python: 'x = 1'}], on_complete: b}\n  b: {final: true}\n",
            "is not trusted",
        ),
        ("name: x\nstates: [", "order.yaml"),
        (
            "name: x\nresources: {shop: {type: http, config: {base_url: 'http://127.0.0.1:1'}}}\n"
            "states:\n  a: {resources: [shop], on_complete: b}\n  b: {final: true}\n",
            "would keep other flows waiting: make its type async_http",
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_said_with_its_lines(order: Path, text: str, said: str) -> None:
    """When the flow's configuration is read."""
    (order / "order.yaml").write_text(text)
    found = problems({"machine": {"file": "order.yaml"}}, base=order)
    assert list(found) == ["0.machine"]
    assert said in found["0.machine"]


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({}, "0.machine", "needs either file or definition"),
        ({"file": "a", "definition": {}}, "0.machine", "needs either file or definition"),
        ({"file": "none.yaml"}, "0.machine", "there is no file"),
        ({"fil": "a"}, "0.machine.fil", "did you mean 'file'"),
        ({"source": "a"}, "0.machine.source", "unknown field 'source'"),
    ],
)
def test_what_is_wrong_with_the_step_is_named(tmp_path: Path, fields: Any, path: str, said: str) -> None:
    """With the folder that a path was looked for from."""
    assert said in problems({"machine": fields}, base=tmp_path)[path]


def test_its_resources_open_with_the_flow_and_close_with_it(order: Path) -> None:
    """One that cannot be had is a reason to try again, not to lose messages; after closing it connects anew."""
    text = (
        "name: x\nresources: {shop: {type: async_database, config: {url: 'sqlite:///FILE'}}}\n"
        "states:\n  a: {resources: [shop], on_complete: b}\n  b: {final: true}\n"
    )
    (order / "order.yaml").write_text(text.replace("FILE", str(order / "no" / "shop.db")))
    step: Any = Pipeline({"machine": {"file": "order.yaml"}}, base=order).steps["machine_0"]

    async def life() -> None:
        with pytest.raises(ConnectError, match="machine 'x'"):
            await step.connect()
        (order / "no").mkdir()
        for _ in range(2):
            await step.connect()
            assert (await step(Msg({"a": 1}, {}))).payload == {"a": 1}
            await step.close()
            await step.close()

    asyncio.run(life())
