"""Clocks: time counts where somebody looked, and a clock that is set is not time that passed."""

from __future__ import annotations

import asyncio

from tests.control.lives import Outside, agent, killed
from tests.control.samples import Process, Spec, World, alive, reach, state, supervisor

from setpoint.control import ChildSpec, Observation, Worker, wanted
from setpoint.machine import Phase, State, held
from setpoint.store import MemoryStore
from setpoint.testing import jump_wall, run, wall

FIFTY_YEARS_S = 50 * 365 * 86_400.0


def test_a_held_guard_does_not_count_time_in_which_nobody_looked() -> None:
    """What ran before a pause and runs after it did not run for all of that time."""

    class Steady(Process):
        "Up after its process ran for ten seconds without a break."

        off = State(Phase.STOPPED)
        up = State(Phase.HEALTHY)
        stopped = starting = running = stopping = None  # type: ignore[assignment]
        arcs = [off.to(up, on="up", when=wanted & held(alive, 10)), up.to(off, on="stop", when=~wanted)]

    async def main() -> None:
        outside = World(running=True)
        s = supervisor(steady=lambda: Steady(outside))
        s.want([ChildSpec("p", "steady", Spec())])
        await reach(s, "top/p", "off")
        await asyncio.sleep(5)
        s.tell("top/p", "pause", why="x")
        outside.running = False
        await asyncio.sleep(3)
        outside.running = True
        await asyncio.sleep(3)
        s.tell("top/p", "resume", why="x")
        await asyncio.sleep(9)
        assert state(s, "top/p") == "off"
        await reach(s, "top/p", "up", within=2)
        await s.stop()

    run(main())


class Waits(Worker[None, None, Observation]):
    "Gives up after an hour of running."

    off = State(Phase.STOPPED)
    waiting = State(Phase.HEALTHY)
    gave_up = State(Phase.DEGRADED)
    arcs = [
        off.to(waiting, on="start", when=wanted),
        waiting.to(gave_up, on="give_up", after=3600, resume="remaining"),
        (waiting | gave_up).to(off, on="stop", when=~wanted),
    ]

    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    async def collect_observed_state(self, desired: None) -> Observation:
        if why := self.outside.of("top/p").observe_fails:
            raise OSError(why)
        return Observation()


def test_a_clock_that_is_set_while_the_agent_runs_is_no_time_that_passed() -> None:
    """A box without a clock of its own starts in the past and gets the time a minute later; then the agent dies and comes back."""

    async def main() -> None:
        store = MemoryStore(wall=wall)
        specs = [ChildSpec("p", "waits")]
        before = agent(Outside(), store, waits=Waits)
        before.want(specs)
        await reach(before, "top/p", "waiting")
        await asyncio.sleep(60)
        jump_wall(FIFTY_YEARS_S)
        await asyncio.sleep(600)
        killed(before)
        after = agent(Outside(), store.reopened(), waits=Waits)
        after.want(specs)
        await reach(after, "top/p", "waiting")
        await asyncio.sleep(3600 - 60 - 600 - 60)
        assert state(after, "top/p") == "waiting"
        await reach(after, "top/p", "gave_up", within=120)
        await after.stop()

    run(main())


def test_time_without_an_agent_does_not_count_however_many_kills_it_took_to_go_on() -> None:
    """An agent that was killed before it saw the worker again has not run it, however long it tried."""

    async def main() -> None:
        outside, store = Outside(), MemoryStore(wall=wall)
        specs = [ChildSpec("p", "waits")]
        first = agent(outside, store, waits=Waits)
        first.want(specs)
        await reach(first, "top/p", "waiting")
        await asyncio.sleep(60)
        killed(first)
        store = store.reopened()
        await asyncio.sleep(7200)
        outside.of("top/p").observe_fails = "not yet"
        second = agent(outside, store, waits=Waits)
        second.want(specs)
        await asyncio.sleep(7200)
        killed(second)
        outside.of("top/p").observe_fails = ""
        third = agent(outside, store.reopened(), waits=Waits)
        third.want(specs)
        await reach(third, "top/p", "waiting")
        await asyncio.sleep(60)
        assert state(third, "top/p") == "waiting"
        await third.stop()

    run(main())
