"""The agent monitor: console, crashed tasks, punctuality and store, each a reason, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.testing import run, wall
from setpoint.workers.agent_monitor import CONSOLE, AgentMonitor, AgentMonitorSpec, AgentObserved

MONITOR, LINK = "agent/agent_monitor", "agent/communicator"
WELL = AgentObserved(measured=True)


class LinkSpec(BaseModel):
    desired_state: Literal["active", "stopped"] = "active"


class LinkObserved(Observation, frozen=True):
    at: str = "syncing"


@guard
def refused(s: Any) -> bool:
    return bool(s.observed.at == "trying_to_authenticate")


@guard
def failing(s: Any) -> bool:
    return bool(s.observed.at == "degraded")


class Communicator(Worker[LinkSpec, LinkSpec, LinkObserved]):
    "The states of a link to a console."

    stopped = State(Phase.STOPPED)
    trying_to_authenticate = State(Phase.STARTING, reason="the console answers 401: the token is not valid")
    syncing = State(Phase.HEALTHY)
    degraded = State(Phase.DEGRADED, reason="5 times in a row: no answer within 10 s")
    arcs = [
        stopped.to(trying_to_authenticate, on="start", when=wanted),
        (trying_to_authenticate | syncing | degraded).to(stopped, on="stop", when=~wanted),
        trying_to_authenticate.to(syncing, on="authenticated", when=~refused),
        (syncing | degraded).to(trying_to_authenticate, on="token_expired", when=refused),
        syncing.to(degraded, on="sync_failed", when=failing),
        degraded.to(syncing, on="recovered", when=~failing & ~refused),
    ]

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def collect_observed_state(self, desired: LinkSpec) -> LinkObserved:
        return LinkObserved(self.agent.link)


class Agent:
    """What the agent knows of itself, and how its link stands."""

    def __init__(self) -> None:
        self.vitals = WELL
        self.link = "syncing"

    def set(self, **values: Any) -> None:
        self.vitals = msgspec.structs.replace(WELL, **values)


Story = Callable[[Supervisor, Agent], Coroutine[Any, Any, None]]


def scene(story: Story, *, console: str = "", linked: bool = False) -> None:
    async def main() -> None:
        agent = Agent()
        registry = Registry(vitals=lambda: agent.vitals, agent=agent)
        registry.add("agent_monitor", AgentMonitor)
        registry.add("communicator", Communicator)
        s = Supervisor(registry, wall=wall)
        spec = AgentMonitorSpec(console=console)
        link = [ChildSpec("communicator", "communicator", LinkSpec())] if linked else []
        s.want([ChildSpec("agent_monitor", "agent_monitor", spec, reads={CONSOLE: LINK}), *link])
        await asyncio.sleep(10)
        await story(s, agent)
        assert await s.stop() == []

    run(main())


def says(s: Supervisor) -> tuple[str, str]:
    return s.worker(MONITOR).state, s.worker(MONITOR).reason


def test_without_a_console_it_is_active_and_says_that_none_is_configured() -> None:
    """By the states and events of the contract."""

    async def story(s: Supervisor, agent: Agent) -> None:
        assert says(s) == ("active", "no console is configured")
        assert [move.event for move in s.journal.history(MONITOR)][2:] == [
            "start_monitoring",
            "start_monitoring_done",
            "metrics_all_ok",
        ]

    scene(story)


def test_a_console_that_is_configured_and_has_no_link_is_not_reached() -> None:
    """What was asked for and is not there is never taken for well."""

    async def story(s: Supervisor, agent: Agent) -> None:
        told = "console hub.acme is configured, but this version has no link to a console"
        assert says(s) == ("degraded", f"not well: {told}")

    scene(story, console="hub.acme")


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("degraded", "console hub.acme unreachable: 5 times in a row: no answer within 10 s"),
        (
            "trying_to_authenticate",
            "console hub.acme: not authenticated: the console answers 401: the token is not valid",
        ),
    ],
)
def test_the_state_of_the_link_is_the_reason_and_it_goes_both_ways(link: str, said: str) -> None:
    """Unreachable and refused are told apart."""

    async def story(s: Supervisor, agent: Agent) -> None:
        assert says(s) == ("active", "")
        agent.link = link
        await asyncio.sleep(5)
        assert says(s) == ("degraded", f"not well: {said}")
        agent.link = "syncing"
        await asyncio.sleep(5)
        assert says(s) == ("active", "")

    scene(story, console="hub.acme", linked=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"crashed": ("Agent._follow_file has crashed: OSError: no",)}, "Agent._follow_file has crashed: OSError: no"),
        ({"tick_lag_p99_ms": 500.0}, "tick lag: 99 of 100 timers within 500 ms (limit 250 ms)"),
        ({"troubles": ("store: database or disk is full",)}, "store: database or disk is full"),
        (
            {"crashed": ("a has crashed: x",), "troubles": ("store: y", "recorder: z")},
            "a has crashed: x; store: y; recorder: z",
        ),
    ],
)
def test_what_is_wrong_with_the_agent_is_the_reason_and_it_goes_both_ways(values: dict[str, Any], said: str) -> None:
    """Each alone, and all that is wrong together."""

    async def story(s: Supervisor, agent: Agent) -> None:
        agent.set(**values)
        await asyncio.sleep(5)
        assert says(s) == ("degraded", f"not well: {said}")
        assert [move.event for move in s.journal.history(MONITOR)][-1] == "metrics_not_ok"
        agent.set()
        await asyncio.sleep(5)
        assert says(s)[0] == "active"

    scene(story)


def test_a_lag_at_its_limit_is_in_time() -> None:
    """The limit is the bound of a bucket: at it, timers were within it."""

    async def story(s: Supervisor, agent: Agent) -> None:
        agent.set(tick_lag_p99_ms=250.0)
        await asyncio.sleep(5)
        assert says(s)[0] == "active"

    scene(story)
