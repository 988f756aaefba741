"""Data contracts of an agent: those of the file in force, for flows that run, through edits good and bad."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from setpoint.agent import Agent
from setpoint.workers.broker import BrokerObserved
from setpoint.workers.flow import FlowObserved

TEXT = """\
agent: {location: {0: acme}}
dataFlow:
  - name: f
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {generate: {interval: 10ms, mapping: 'root = counter()'}}
        pipeline:
          processors:
            - tag_processor:
                defaults: |
                  msg.meta.location_path = "acme";
                  msg.meta.data_contract = "_pump_v1";
                  msg.meta.tag_name = "count";
                  return msg;
        output: {uns: {}}
"""
MODELS = """\
dataModels:
  - name: pump
    version: {v1: {structure: {count: {_payloadshape: timeseries-SHAPE}}}}
dataContracts:
  - {name: _pump_v1, model: {name: pump, version: v1}}
"""


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the agent has no event for every condition
            await asyncio.sleep(0.01)


def test_an_edit_of_the_models_holds_for_flows_that_run(tmp_path: Path) -> None:
    """Undeclared is counted at the broker; a contract that does not fit stops the writing; a file with an error changes nothing."""
    file = tmp_path / "config.yaml"
    file.write_text(TEXT)

    async def main() -> None:
        agent = Agent(file, data=tmp_path / "data", env={})

        def flow() -> FlowObserved:
            seen = agent.supervisor.records["agent/flows/f"].observed
            return seen if isinstance(seen, FlowObserved) else FlowObserved()

        def undeclared() -> int:
            seen = agent.supervisor.records["agent/broker"].observed
            return seen.undeclared.get("_pump_v1", 0) if isinstance(seen, BrokerObserved) else 0

        async def written() -> int:
            return sum(topic.count for topic in await agent.broker.topics())

        await agent.start()
        try:
            await until(lambda: undeclared() > 5)
            file.write_text(TEXT + MODELS.replace("SHAPE", "string"))
            await until(lambda: "set aside: contract _pump_v1: count (timeseries-string): value" in flow().errors)
            file.write_text(TEXT + MODELS.replace("SHAPE", "nothing"))
            await until(lambda: not agent.config_status().ok)
            assert "there is no payload shape 'timeseries-nothing'" in agent.config_status().problems[0].text
            before, told = await written(), flow().errors
            await until(lambda: flow().errors not in ("", told))
            assert await written() == before
            file.write_text(TEXT + MODELS.replace("SHAPE", "number"))
            while await written() == before:  # noqa: ASYNC110  # nothing tells when a message was written
                await asyncio.sleep(0.01)
            await until(lambda: undeclared() == 0)
        finally:
            left = await agent.stop()
        assert left == []

    asyncio.run(asyncio.wait_for(main(), 60))
