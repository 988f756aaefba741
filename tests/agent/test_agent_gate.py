"""The gate before new bridges: from config and environment into the tree, and what it does there, over a model of the plant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.simulation_cli import BRIDGE, ran

from setpoint.agent.config import Configuration, read_config
from setpoint.agent.environment import BadEnvironment, windows_of
from setpoint.agent.rehearsal import rehearsal_of
from setpoint.agent.tree import tree_of
from setpoint.control import ChildSpec
from setpoint.control.views import reason_text
from setpoint.places import LAST_GOOD, STORE
from setpoint.services import HostLimits
from setpoint.store import SqliteStore
from setpoint.testing.simulation import Fault, Simulation, explore, shrink
from setpoint.workers.bridge import BridgeSpec

ON = "  enableResourceLimitBlocking: true\n"
FULL_AT, FULL_FOR = 100.0, 150.0
HOST_FULL = Fault(FULL_AT, "host-full", "agent/container_monitor", FULL_FOR)
HELD = "stopped: held back: CPU 97 % (limit 85 %), room below 80 %"


def config(*names: str, agent: str = ON, desired: str = "active") -> str:
    """Bridges to devices of their own."""
    bridges = "".join(BRIDGE.format(name=name, desired=desired, ip=f"10.0.0.{nr}") for nr, name in enumerate(names, 1))
    return f"agent:\n  location:\n    0: acme\n{agent}protocolConverter:{bridges or ' []'}\n"


def read(text: str, **env: str) -> Configuration:
    return read_config(text, env=env)


def tree(*names: str, agent: str = ON, desired: str = "active", **env: str) -> list[ChildSpec]:
    configuration = read(config(*names, agent=agent, desired=desired), **env)
    assert configuration.errors == ()
    return tree_of(configuration, windows_of(env))


def named(specs: Sequence[ChildSpec], name: str) -> Any:
    return next(spec.spec for spec in specs if spec.name == name)


def gate_of(agent: str, **env: str) -> HostLimits | None:
    spec = named(tree("a", agent=agent, **env), "bridges/a")
    assert isinstance(spec, BridgeSpec)
    return spec.gate


# settings


@pytest.mark.parametrize(
    ("agent", "env", "on"),
    [
        ("", {}, False),
        ("  enableResourceLimitBlocking: false\n", {}, False),
        (ON, {}, True),
        (ON, {"ENABLE_RESOURCE_LIMIT_BLOCKING": "false"}, False),
        ("", {"ENABLE_RESOURCE_LIMIT_BLOCKING": "TRUE"}, True),
        (ON, {"ENABLE_RESOURCE_LIMIT_BLOCKING": " "}, True),
    ],
)
def test_the_switch_is_in_the_file_and_the_environment_goes_before_it(
    agent: str, env: dict[str, str], on: bool
) -> None:
    """By the names that UMH Core has; without either there is no gate."""
    assert (gate_of(agent, **env) is not None) is on


def test_gate_and_monitor_have_the_same_limits() -> None:
    """Those of the file, those of the environment before them, the defaults for the rest."""
    limits = (
        "  resourceLimits: {cpuLimitPercent: 70, ramLimitPercent: '80.5', throttledLimitPercent: 20, holdSeconds: 0}\n"
    )
    specs = tree("a", agent=ON + limits, CONTAINER_CPU_LIMIT="60", CONTAINER_DISK_LIMIT="95")
    monitor = named(specs, "container_monitor")
    assert (monitor.cpu_limit_percent, monitor.ram_limit_percent, monitor.disk_limit_percent) == (60.0, 80.5, 95.0)
    assert (monitor.throttled_limit_percent, monitor.hold_s) == (20.0, 0.0)
    assert named(specs, "bridges/a").gate == monitor.limits == HostLimits(60.0, 80.5, 95.0, 20.0)
    assert named(tree("a"), "bridges/a").gate == HostLimits(85.0, 90.0, 90.0, 5.0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("resourceLimits: {cpuLimitPercent: 101}", "expected a percentage, at most 100, found 101"),
        ("resourceLimits: {ramLimitPercent: 0}", "expected a number, more than 0, found '0'"),
        ("resourceLimits: {diskLimitPercent: much}", "expected a number, more than 0, found 'much'"),
        ("resourceLimits: {holdSeconds: -1}", "expected a number, 0 or more, found '-1'"),
        ("resourceLimits: {cpuLimit: 5}", "unknown key; did you mean 'cpuLimitPercent'?"),
        ("enableResourceLimitBlocking: maybe", "expected true or false, found 'maybe'"),
    ],
)
def test_what_cannot_be_a_limit_is_an_error_with_its_line(line: str, said: str) -> None:
    """And the rest of the file still makes a tree, with the default in its place."""
    configuration = read(config("a", agent=f"  {line}\n"))
    assert [(problem.line, said in str(problem)) for problem in configuration.errors] == [(4, True)]
    assert named(tree_of(configuration, windows_of({})), "container_monitor").cpu_limit_percent == 85.0


@pytest.mark.parametrize("name", ["ENABLE_RESOURCE_LIMIT_BLOCKING", "CONTAINER_CPU_LIMIT"])
def test_a_variable_that_cannot_be_used_is_named(name: str) -> None:
    """Before anything runs."""
    with pytest.raises(BadEnvironment, match=f"{name}='perhaps': expected"):
        windows_of({name: "perhaps"})


@pytest.mark.parametrize(
    ("agent", "env", "console"),
    [
        ("", {}, ""),
        ("  communicator: {apiUrl: 'https://hub.acme/api'}\n", {}, ""),
        ("  communicator: {apiUrl: 'https://me:secret@hub.acme/api', authToken: t}\n", {}, "hub.acme"),
        ("", {"API_URL": "https://hub.acme", "AUTH_TOKEN": "t"}, "hub.acme"),
        ("  communicator: {apiUrl: 'http://[', authToken: t}\n", {}, "with an address that is none"),
    ],
)
def test_the_agent_monitor_knows_which_console_is_configured(agent: str, env: dict[str, str], console: str) -> None:
    """By its host name, which has no secret in it."""
    assert named(tree(agent=agent, **env), "agent_monitor").console == console


# what it does


@contextmanager
def running(specs: Sequence[ChildSpec], *faults: Fault) -> Iterator[Simulation]:
    """The tree over a plant, up to the moment at which the first fault has begun."""
    simulation = Simulation(rehearsal_of(specs))
    simulation.come_up()
    simulation.arm(faults)
    simulation.advance(max([simulation.clock.now, *(fault.begin + 1.0 for fault in faults)]))
    try:
        yield simulation
    finally:
        simulation.close()


def state(simulation: Simulation, name: str, below: str = "") -> str:
    record = simulation.record(f"agent/bridges/{name}{below}")
    return record.state if record is not None else "missing"


def reason(simulation: Simulation, name: str) -> str:
    record = simulation.record(f"agent/bridges/{name}")
    assert record is not None
    return reason_text(record)


def targets(simulation: Simulation, name: str) -> list[str]:
    return [move.target for move in simulation.moves if move.path == f"agent/bridges/{name}" and move.at > FULL_AT]


def test_a_new_bridge_is_held_back_while_the_host_is_full_and_starts_by_itself() -> None:
    """It is stopped and says why, does not knock at its device, and is active soon after there is room. Who runs does not notice."""
    with running(tree("old"), HOST_FULL) as s:
        s.want(tree("old", "new"))
        s.advance(FULL_AT + FULL_FOR)
        assert (state(s, "new"), reason(s, "new")) == ("stopped", HELD)
        assert state(s, "new", "/connection") == "stopped"
        assert (state(s, "old"), targets(s, "old")) == ("active", [])
        s.advance(FULL_AT + FULL_FOR + 30)
        assert state(s, "new") == "active"


def test_without_the_switch_it_starts_whatever_the_host_is_at() -> None:
    """As any worker does."""
    with running(tree("old", agent=""), HOST_FULL) as s:
        s.want(tree("old", "new", agent=""))
        s.advance(FULL_AT + 60)
        assert state(s, "new") == "active"


def test_switched_off_it_lets_go_at_once() -> None:
    """An edit of the file is enough."""
    with running(tree("old"), HOST_FULL) as s:
        s.want(tree("old", "new"))
        s.advance(FULL_AT + 60)
        assert state(s, "new") == "stopped"
        s.want(tree("old", "new", agent=""))
        s.advance(FULL_AT + 61)
        assert state(s, "new") not in ("stopped", "missing")


def test_a_bridge_that_ran_goes_on_after_the_agent_was_killed_on_a_full_host() -> None:
    """There was room for it. One that was held back still is."""
    kill = Fault(FULL_AT + 60, "kill", "agent", 1)
    with running(tree("old"), HOST_FULL) as s:
        s.arm([kill])
        s.want(tree("old", "new"))
        s.advance(FULL_AT + 120)
        assert state(s, "old") == "active"
        assert "stopped" not in targets(s, "old")
        assert (state(s, "new"), reason(s, "new")) == ("stopped", HELD)


def test_a_restart_is_no_new_start_and_an_edit_stops_nothing() -> None:
    """Whoever is told to stop and to start again within a minute keeps its place; after longer it is new."""
    with running(tree("old"), HOST_FULL) as s:
        s.core.tell("agent/bridges/old", "restart", why="new firmware")
        s.advance(FULL_AT + 30)
        assert state(s, "old") == "active"
        assert "to_be_created" in targets(s, "old")
        s.want(tree("old", desired="stopped"))
        s.advance(FULL_AT + 120)
        assert (state(s, "old"), reason(s, "old")) == ("stopped", "stopped")
        s.want(tree("old"))
        s.advance(FULL_AT + 140)
        assert (state(s, "old"), reason(s, "old")) == ("stopped", HELD)


def test_one_that_is_held_back_can_be_stopped_and_removed() -> None:
    """It then says stopped, and goes at once."""
    with running(tree(), HOST_FULL) as s:
        s.want(tree("new"))
        s.advance(FULL_AT + 30)
        assert reason(s, "new") == HELD
        s.want(tree("new", desired="stopped"))
        s.advance(FULL_AT + 35)
        assert reason(s, "new") == "stopped"
        s.want(tree())
        s.advance(FULL_AT + 40)
        assert state(s, "new") == "missing"


def test_many_new_ones_come_in_groups() -> None:
    """As many as the room that is left allows, each group after the one before has been measured."""
    names = [f"b{number}" for number in range(150)]
    with running(tree()) as s:
        began = s.clock.now
        s.want(tree(*names))
        s.advance(began + 60)
        starts = [move.at - began for move in s.moves if move.event == "start" and move.path.count("/") == 2]
        assert len([at for at in starts if at < 1.0]) == 20  # memory is at 30 of 90 %: room for twice ten
        assert len(starts) >= len(names)
        assert all(state(s, name) == "active" for name in names)


def test_the_laws_hold_with_a_gate_under_every_kind_of_fault() -> None:
    """Whatever befalls plant, runtime and host: what is held back comes in once there is room, and nothing else is stopped."""
    specs = tree("a", "b")
    for outcome in explore(rehearsal_of(specs), seconds=1800, seeds=range(1000), within=3.0, every=150):
        if outcome.violation is not None:
            raise AssertionError(str(shrink(rehearsal_of(specs), outcome.violation, seconds=1800)))


def test_a_plan_knows_that_the_host_is_full(tmp_path: Path) -> None:
    """As it was last observed: who would be held back is blocked, with the reason; with the gate open nobody is."""
    data = tmp_path / ".setpoint"
    data.mkdir()
    with running(tree("old"), HOST_FULL) as s:
        s.advance(FULL_AT + 60)
        store = SqliteStore(data / STORE)
        for path, documents in s.store.load().items():
            for kind, document in documents.items():
                store.put(path, kind, document.value, at=document.at)
        store.close()
    (data / LAST_GOOD).write_text(config("old"))
    (tmp_path / "config.yaml").write_text(config("old", "new"))
    found = json.loads(ran("plan", str(tmp_path / "config.yaml"), "--json").output)
    assert {"path": "agent/bridges/new", "state": "stopped", "why": HELD} in found["blocked"]
    assert "the host is as full as now" in found["assumed"]
    (tmp_path / "config.yaml").write_text(config("old", "new", agent=""))
    found = json.loads(ran("plan", str(tmp_path / "config.yaml"), "--json").output)
    assert [row["path"] for row in found["blocked"] if "bridges" in row["path"]] == []
