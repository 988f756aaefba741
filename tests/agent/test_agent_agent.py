"""The whole agent on real files and a real broker: hot reload, siblings, shutdown, the data directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from setpoint.agent import Agent, DataInUse


def flow(name: str, component: str = "generate: {interval: 20ms, mapping: 'root.n = counter()'}") -> str:
    return f"""
  - name: {name}
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {{{component}}}
        pipeline:
          processors:
            - tag_processor:
                defaults: |
                  msg.meta.location_path = "acme";
                  msg.meta.data_contract = "_raw";
                  msg.meta.tag_name = "{name}";
                  msg.payload = msg.payload.n;
                  return msg;
        output: {{uns: {{}}}}
"""


def config(*flows: str) -> str:
    return "agent: {location: {0: acme}}\ndataFlow:" + ("".join(flows) if flows else " []\n")


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the agent has no event for every condition
            await asyncio.sleep(0.01)


def play(folder: Path, text: str, story: Callable[[Agent], Coroutine[Any, Any, None]]) -> None:
    """Run a story with an agent on the text, and stop it cleanly."""
    (folder / "config.yaml").write_text(text)

    async def main() -> None:
        agent = Agent(folder / "config.yaml", data=folder / "data", env={})
        await agent.start()
        try:
            await story(agent)
        finally:
            left = await agent.stop()
        assert left == []

    asyncio.run(main())


def state(agent: Agent, name: str) -> str:
    return agent.supervisor.core.fact(f"agent/{name}").state


def runs(agent: Agent, name: str) -> bool:
    return state(agent, f"flows/{name}").startswith("starting_")


def test_a_flow_of_the_file_writes_into_the_namespace(tmp_path: Path) -> None:
    """From the file to a named value, within the first moments."""

    async def story(agent: Agent) -> None:
        await until(lambda: runs(agent, "one"))
        topics = []
        async with asyncio.timeout(10):
            while not topics:
                await asyncio.sleep(0.05)
                topics = [info.topic for info in await agent.broker.topics()]
        assert topics == ["umh.v1.acme._raw.one"]

    play(tmp_path, config(flow("one")), story)


def test_edits_of_the_file_are_followed(tmp_path: Path) -> None:
    """A flow that is added runs, one that is removed goes, a broken file changes nothing, the repaired one is in force."""
    file = tmp_path / "config.yaml"

    async def story(agent: Agent) -> None:
        await until(lambda: runs(agent, "one"))
        file.write_text(config(flow("one"), flow("two")))
        await until(lambda: runs(agent, "two"))
        moves = agent.supervisor.worker("agent/flows/one").transitions
        file.write_text(config(flow("one"), "\n  - nam: x\n"))
        await until(lambda: not agent.config_status().ok)
        assert agent.config_status().problems[0].line > 10
        assert runs(agent, "two")
        file.write_text(config(flow("one")))
        await until(lambda: agent.config_status().ok)
        await until(lambda: state(agent, "flows/two") == "missing")
        assert agent.supervisor.worker("agent/flows/one").transitions <= moves + 2  # its own gates, nothing else

    play(tmp_path, config(flow("one")), story)


def test_a_file_replaced_by_rename_is_followed(tmp_path: Path) -> None:
    """As editors and configuration tools do."""

    async def story(agent: Agent) -> None:
        await until(lambda: runs(agent, "one"))
        (tmp_path / "new.yaml").write_text(config(flow("two")))
        (tmp_path / "new.yaml").rename(tmp_path / "config.yaml")
        await until(lambda: runs(agent, "two"))
        await until(lambda: state(agent, "flows/one") == "missing")

    play(tmp_path, config(flow("one")), story)


def test_a_component_that_does_not_exist_is_named_with_its_line_and_its_siblings_run(tmp_path: Path) -> None:
    """What only the flows know is found when the file is read."""

    async def story(agent: Agent) -> None:
        await until(lambda: runs(agent, "good"))
        status = agent.config_status()
        assert not status.ok
        problem = status.problems[0]
        assert (problem.item, problem.file, problem.line) == ("bad", "config.yaml", 23)
        assert "generat" in problem.text
        assert "generate" in problem.hint
        assert state(agent, "flows/bad") == "missing"
        assert agent.ready() == (False, f"config: {problem.text}")

    play(tmp_path, config(flow("good"), flow("bad", "generat: {}")), story)


def test_one_data_directory_has_one_agent(tmp_path: Path) -> None:
    """The second one is told who has it; when the first is gone it may."""

    async def story(agent: Agent) -> None:
        with pytest.raises(DataInUse, match=r"in use by another agent \(pid \d+, keeping .*config.yaml\)"):
            Agent(tmp_path / "config.yaml", data=tmp_path / "data", env={})

    play(tmp_path, config(), story)
    play(tmp_path, config(), lambda agent: asyncio.sleep(0))


def test_history_goes_on_after_a_restart(tmp_path: Path) -> None:
    """What happened before the restart is part of the history of the same worker."""

    async def story(agent: Agent) -> None:
        await until(lambda: runs(agent, "one"))

    async def again(agent: Agent) -> None:
        await until(lambda: runs(agent, "one"))
        events = [move.event for move in agent.store.history("agent/flows/one")]
        assert events.count("create") == 2
        assert "stop_done" in events

    play(tmp_path, config(flow("one")), story)
    play(tmp_path, config(flow("one")), again)
