"""Data contracts in flows: the `uns` output sets aside what does not fit, also after the contracts have changed under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flows_plant import context, run, until

from setpoint.flows import FlowEngine
from setpoint.flows.component import MessageError, Msg
from setpoint.flows.outputs import OUTPUTS
from setpoint.namespace import EmbeddedBroker
from setpoint.namespace.contracts import ContractBook, Contracts
from setpoint.namespace.models import DataContract, DataModel, ModelRef, Models, ShapeRef


def contracts(shape: str = "timeseries-number") -> Contracts:
    model = DataModel("pump", {"v1": {"count": ShapeRef(shape)}})
    return Contracts(Models({}, {"pump": model}, (DataContract("_pump_v1", ModelRef("pump", "v1")),)))


def flow(name: str) -> dict[str, Any]:
    code = f'msg.meta.location_path = "acme"; msg.meta.data_contract = "_pump_v1"; msg.meta.tag_name = "{name}"; return msg;'
    return {
        "input": {"generate": {"mapping": "root = counter()", "interval": "2ms"}},
        "pipeline": {"processors": [{"tag_processor": {"defaults": code}}]},
        "output": {"uns": {}},
    }


@pytest.mark.parametrize(
    ("topic", "value", "text"),
    [
        ("count", "many", "contract _pump_v1: count (timeseries-number): value: expected a number, found 'many'"),
        ("cout", 1, "has no path 'cout'; did you mean 'count'?"),
    ],
)
def test_a_message_that_does_not_fit_is_refused_with_the_reason(topic: str, value: object, text: str) -> None:
    """Before anything is written."""
    output = OUTPUTS["uns"]
    made: Any = output.make(output.fields.model_validate({}), context(contracts=ContractBook(contracts())))
    with pytest.raises(MessageError) as caught:
        made.prepare(Msg({"timestamp_ms": 1, "value": value}, {"umh_topic": f"umh.v1.acme._pump_v1.{topic}"}))
    assert text in str(caught.value)


def test_misfits_are_counted_and_never_written(tmp_path: Path) -> None:
    """Of two flows the one with the wrong name writes nothing, and says why."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            engine = FlowEngine(broker, contracts=ContractBook(contracts()))
            await engine.start("right", flow("count"))
            await engine.start("wrong", flow("cont"))
            await until(lambda: (found := engine.status("wrong")) and found.output_set_aside > 5)
            await until(lambda: (found := engine.status("right")) and found.output_sent > 5)
            wrong = engine.status("wrong")
            assert wrong is not None
            assert wrong.output_sent == 0
            assert "has no path 'cont'; did you mean 'count'?" in wrong.last_error
            assert [topic.topic for topic in await broker.topics()] == ["umh.v1.acme._pump_v1.count"]
            await engine.close()

    run(scenario())


def test_a_running_flow_sees_the_contracts_of_the_newest_config(tmp_path: Path) -> None:
    """Without a restart: what was fine is set aside from the next message on, and the other way round."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            book = ContractBook()
            engine = FlowEngine(broker, contracts=book)
            await engine.start("f", flow("count"))
            await until(lambda: (found := engine.status("f")) and found.output_sent > 3)
            assert book.undeclared["_pump_v1"] > 3
            book.put(contracts("timeseries-string"))
            await until(lambda: (found := engine.status("f")) and found.output_set_aside > 3)
            sent = (engine.status("f") or pytest.fail("gone")).output_sent
            book.put(contracts())
            await until(lambda: (found := engine.status("f")) and found.output_sent > sent + 3)
            assert book.undeclared == {}
            await engine.close()

    run(scenario())
