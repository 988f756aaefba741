"""Figures that every worker has without asking: time in states, observations, actions, and how late the runtime is."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.samples import process, reach, supervisor, world

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
