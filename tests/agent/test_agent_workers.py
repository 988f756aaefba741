"""The section ``workers``: workers of any type in a config file, and what the agent remembers of its workers."""

from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.agent.test_agent_agent import config, flow, play, until

from setpoint.agent import Agent
from setpoint.agent.checking import Checker
from setpoint.agent.config import read_config
from setpoint.flows import FlowEngine
from setpoint.namespace import EmbeddedBroker

TEXT = """
agent: {location: {0: acme, 1: cologne}}
workers:
  - name: first
    type: sample
    variables: {VERSION: 7}
    spec: {version: "{{ .VERSION }}"}
  - name: second
    type: sample
    after: [first]
  - name: parked
    type: sample
    desiredState: stopped
"""


@pytest.fixture
def sample_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package offers the type `sample`."""

    def points(group: str) -> list[EntryPoint]:
        return [EntryPoint("sample", "tests.control.samples:Process", group)]

    monkeypatch.setattr("setpoint.control.registry.entry_points", points)


@pytest.mark.usefixtures("sample_type")
def test_a_config_may_ask_for_workers_of_one_s_own(tmp_path: Path) -> None:
    """By the type of an installed package, with variables, an order and a desired state."""

    async def story(agent: Agent) -> None:
        table = agent.supervisor.records
        await until(lambda: "agent/workers/second" in table and table["agent/workers/second"].state == "running")
        assert table["agent/workers/first"].desired.version == 7
        assert table["agent/workers/parked"].state == "stopped"

    play(tmp_path, TEXT, story)


def test_what_is_wrong_with_a_worker_is_said_with_its_place_and_a_remedy() -> None:
    """Unknown types and keys, missing ones, reserved variables; the sound items stay."""
    text = TEXT.replace("name: second\n    type: sample", "name: second\n    type: smple\n    speck: {}")
    text = text.replace("{VERSION: 7}", "{global: 7}")
    found = read_config(text, worker_types=["sample", "flow"])
    assert [str(problem).partition(": ")[2] for problem in found.problems] == [
        "workers[0].variables.global: the variable name 'global' is reserved; rename it",
        "workers[1].type: there is no worker type 'smple'; did you mean 'sample'?",
        "workers[1].speck: unknown key; did you mean 'spec'?",
    ]
    assert [item.name for item in found.workers] == ["parked"]


def test_what_an_operator_disabled_stays_disabled_when_the_agent_is_started_again(tmp_path: Path) -> None:
    """Until it is enabled, whoever stops and starts the agent in between."""

    async def first(agent: Agent) -> None:
        table = agent.supervisor.records
        await until(lambda: "agent/flows/one" in table and table["agent/flows/one"].phase is not None)
        agent.supervisor.tell("agent/flows/one", "disable", why="maintenance (ben)")

    async def second(agent: Agent) -> None:
        await asyncio.sleep(0.3)
        worker = agent.supervisor.worker("agent/flows/one")
        assert (worker.state, worker.reason) == ("stopped", "disabled by the operator: maintenance (ben)")
        agent.supervisor.tell("agent/flows/one", "enable", why="done (ben)")
        await until(lambda: agent.supervisor.worker("agent/flows/one").phase == "starting")

    play(tmp_path, config(flow("one")), first)
    play(tmp_path, config(flow("one")), second)


def test_the_specs_of_workers_are_checked_before_anything_runs(tmp_path: Path) -> None:
    """By the type that each declares, and so are the names they come after; a file with such an error changes nothing that runs."""
    text = """
agent: {location: {0: acme}}
workers:
  - {name: plc, type: connection, spec: {targett: 127.0.0.1, port: 99999}}
  - {name: late, type: connection, after: [plcc], spec: {target: 127.0.0.1, port: 502}}
  - {name: fine, type: connection, variables: {IP: 127.0.0.1}, spec: {target: "{{ .IP }}", port: 502}}
"""
    broker = EmbeddedBroker(tmp_path / "broker.sqlite")
    found = Checker(source="config.yaml", env={}, engine=FlowEngine(broker)).check(text)
    first, second = map(str, found.problems)
    assert first.startswith(
        "config.yaml:4:1: workers.plc: spec: target: Field required; port: Input should be less than"
    )
    assert second.endswith("comes after 'plcc', which is no worker of this section; did you mean 'plc'?")
    assert [item.name for item in found.workers] == ["fine"]
