"""The built-in machines against their contract: no state, event, arc, phase or default missing or renamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from setpoint.machine import Machine, check, to_dict
from setpoint.workers import bridge, broker, connection, container_monitor, flow, stream_processor, topic_browser
from setpoint.workers.catalogue import find_machine, machines

CONTRACT: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "contract.yaml").read_text())
MACHINES = [
    "bridge",
    "connection",
    "redpanda",
    "container_monitor",
    "agent_monitor",
    "benthos_flow",
    "topic_browser",
    "stream_processor",
]


def expand(names: list[str], groups: dict[str, list[str]]) -> Iterator[str]:
    for name in names:
        if name in groups:
            yield from expand(groups[name], groups)
        else:
            yield name


def arcs_of(machine: Machine) -> set[tuple[str, str, str]]:
    return {(arc.event, arc.source.name, arc.target.name) for arc in machine.arcs}


@pytest.mark.parametrize("name", MACHINES)
def test_states_phases_and_initial_state_are_those_of_the_contract(name: str) -> None:
    """Exactly these states, each in its phase."""
    machine, contract = find_machine(name), CONTRACT[name]
    assert {state.name: str(state.phase) for state in machine.states} == contract["phases"]
    assert machine.initial == contract["initial"]


@pytest.mark.parametrize("name", MACHINES)
def test_every_arc_of_the_contract_is_there(name: str) -> None:
    """Each event leads from each of its source states to its target (an arc to its own state is no arc)."""
    contract = CONTRACT[name]
    groups = contract.get("groups", {})
    wanted = {
        (arc["event"], source, arc["to"])
        for arc in contract["arcs"]
        for source in expand(arc["from"], groups)
        if source != arc["to"]
    }
    assert wanted - arcs_of(find_machine(name)) == set()


@pytest.mark.parametrize("name", MACHINES)
def test_no_event_is_invented(name: str) -> None:
    """Arcs may be added to make a machine safer; their events are those of the contract."""
    events = {arc["event"] for arc in CONTRACT[name]["arcs"]}
    assert {event for event, _, _ in arcs_of(find_machine(name))} <= events


@pytest.mark.parametrize("name", MACHINES)
def test_fixed_reasons_are_those_of_the_contract(name: str) -> None:
    """Where the contract gives a text without a blank to fill in, people see exactly that text."""
    machine = find_machine(name)
    for arc in CONTRACT[name]["arcs"]:
        text = arc.get("reason")
        if text is None or "<" in text or "(" in text:
            continue
        ours = [each for each in machine.arcs if each.event == arc["event"] and each.target.name == arc["to"]]
        assert {each.reason or each.target.reason for each in ours} == {text} or text == "", arc


@pytest.mark.parametrize("name", sorted(machines()))
def test_no_machine_has_an_error_in_it(name: str) -> None:
    """The checker finds nothing unreachable, no trap, no shadowed arc, and always a way to stop."""
    assert [finding for finding in check(machines()[name]) if finding.severity == "error"] == []


def test_defaults_are_those_of_the_contract() -> None:
    """Windows and limits, in seconds and percent."""
    spec = connection.ConnectionSpec(target="plc", port=502)
    assert spec.model_dump(include=set(CONTRACT["connection"]["defaults"])) == CONTRACT["connection"]["defaults"]
    monitor = container_monitor.ContainerMonitorSpec()
    wanted = {key: value for key, value in CONTRACT["container_monitor"]["defaults"].items() if key != "env"}
    assert monitor.model_dump(include=set(wanted)) == wanted
    browser = topic_browser.TopicBrowserSpec()
    assert browser.model_dump(include={"desired_state"}) == CONTRACT["topic_browser"]["defaults"]
    assert broker.BrokerSpec().idle_window_s == CONTRACT["redpanda"]["defaults"]["idle_window_s"]
    assert bridge.BridgeSpec(target="plc", port=502).idle_window_s == CONTRACT["bridge"]["defaults"]["idle_window_s"]
    processor = stream_processor.StreamProcessorSpec(flow={})
    assert processor.idle_window_s == CONTRACT["stream_processor"]["defaults"]["idle_window_s"]
    wanted = {key: value for key, value in CONTRACT["benthos_flow"]["defaults"].items() if key != "env"}
    assert flow.FlowSpec(config={}).model_dump(include=set(wanted)) == wanted


def test_the_life_cycle_is_that_of_the_contract() -> None:
    """The states and events around every machine."""
    events = {arc["event"] for arc in CONTRACT["lifecycle"]["arcs"]}
    assert {event for event, _, _ in arcs_of(machines()["lifecycle"])} == events
    assert set(CONTRACT["lifecycle"]["states"]) <= set(machines()["lifecycle"].by_name)


def test_a_machine_is_found_by_its_worker_type_too() -> None:
    """`broker` and `flow` are what people see in the status; `redpanda` and `benthos_flow` are the machines."""
    assert find_machine("broker") is find_machine("redpanda")
    assert find_machine("flow") is find_machine("benthos_flow")
    with pytest.raises(LookupError, match="did you mean 'bridge'"):
        find_machine("brige")


@pytest.mark.parametrize("name", MACHINES)
def test_the_exported_form_has_what_the_contract_of_the_command_line_says(name: str) -> None:
    """`{name, initial, states: [{name, phase}], arcs: [{event, source, target, when}]}`."""
    exported = to_dict(find_machine(name))
    assert {"name", "initial", "states", "arcs"} <= set(exported)
    assert all({"name", "phase"} <= set(state) for state in exported["states"])
    assert all({"event", "source", "target", "when"} <= set(arc) for arc in exported["arcs"])
