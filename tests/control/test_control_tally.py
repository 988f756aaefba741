"""Figures that every worker has without asking: time in states, observations, actions, and how late the runtime is."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.samples import Observed, Process, Spec, process, reach, supervisor, world

from setpoint.control import ChildSpec
from setpoint.testing import run


def test_time_in_states_adds_up_to_the_workers_age() -> None:
    """Also of the state it is in; nothing is lost between two."""

    async def main() -> None:
        s = supervisor()
        await asyncio.sleep(5)
        s.want([process("p")])
        await reach(s, "top/p", "running")
        await asyncio.sleep(30)
        world(s, "top/p").running = False
        await reach(s, "top/p", "starting")
        await reach(s, "top/p", "running")
        born = s.records["top/p"].born_at
        tally = s.worker("top/p").tally
        assert sum(tally.seconds_in.values()) == pytest.approx(asyncio.get_running_loop().time() - born)
        assert tally.seconds_in["running"] > 29
        assert tally.seconds_in["starting"] == pytest.approx(0.2)
        await s.stop()

    run(main())


def test_observations_and_actions_are_counted_with_their_failures_and_durations() -> None:
    """Each by its kind; abandoned collections on their own."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "starting")
        world(s, "top/p").start_fails = "no"
        await asyncio.sleep(2)
        world(s, "top/p").start_fails = ""
        await reach(s, "top/p", "running")
        world(s, "top/p").observe_fails = "blind"
        await asyncio.sleep(3.5)
        world(s, "top/p").observe_fails = ""
        world(s, "top/p").observing_takes = 60.0
        await asyncio.sleep(5)
        tally = s.worker("top/p").tally
        starts = tally.actions["start"]
        assert (starts.count, starts.failed) == (len(world(s, "top/p").calls("start")), starts.count - 1)
        assert starts.seconds == pytest.approx(0.1 * starts.count)
        assert tally.abandoned >= 1
        assert tally.observations.failed >= 3 + tally.abandoned
        assert tally.observations.count > tally.observations.failed
        world(s, "top/p").observing_takes = 0.0
        await s.stop()

    run(main())


def test_a_runtime_that_is_on_time_has_no_lag() -> None:
    """On virtual time every timer is looked at when it is due."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await asyncio.sleep(60)
        assert s.core.lag.counts[0] > 60
        assert sum(s.core.lag.counts[1:]) == 0
        assert s.core.lag.total == pytest.approx(0.0, abs=1e-3)
        await s.stop()

    run(main())


class Counting(Process):
    "Counts its looks, and gauges how many there were."

    async def collect_observed_state(self, desired: Spec) -> Observed:
        self.context.count("looks", 1)
        self.context.gauge("half", self.world.collections / 2)
        return await super().collect_observed_state(desired)


def test_a_worker_has_figures_of_its_own_and_not_without_end() -> None:
    """Counters grow, gauges are set; a hundred of a kind is the most, and one more is an error of the worker that wants it."""

    async def main() -> None:
        s = supervisor(counting=Counting)
        s.want([ChildSpec("p", "counting", Spec())])
        await reach(s, "top/p", "running")
        await asyncio.sleep(5)
        tally = s.worker("top/p").tally
        assert tally.counters["looks"] == world(s, "top/p").collections
        assert tally.gauges["half"] == (tally.counters["looks"] - 1) / 2
        context = s.records["top/p"].worker.context  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="cannot count -1"):
            context.count("looks", -1)
        for number in range(99):
            context.count(f"c{number}", 1)
        with pytest.raises(ValueError, match="at most 100 figures"):
            context.count("one too many", 1)
        await s.stop()

    run(main())


def test_a_decision_sees_what_the_runtime_counts() -> None:
    """Starts, moves, time in the state, failures, actions: on the snapshot, as of the decision."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "running")
        world(s, "top/p").start_fails = "no"
        world(s, "top/p").running = False
        await asyncio.sleep(20)
        figures = s.core.snapshot(s.records["top/p"]).figures
        assert figures.starts == 1
        assert figures.transitions == s.worker("top/p").transitions
        assert figures.action_failures >= 3
        assert figures.actions["start"].failed == figures.action_failures
        assert 18 < figures.seconds_in_state < 20
        assert figures.age <= 1.5
        await s.stop()

    run(main())
