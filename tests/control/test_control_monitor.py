"""Monitors: one function is a whole worker."""

from __future__ import annotations

import asyncio

from tests.control.samples import Spec, reach, supervisor

from setpoint.control import ChildSpec, monitor
from setpoint.machine import Verdict, check
from setpoint.testing import run

level: dict[str, float] = {}


@monitor(interval=5)
async def tank(spec: Spec) -> Verdict:
    "the tank is not empty"
    if "broken" in level:
        raise OSError("the sensor does not answer")
    return Verdict(level["tank"] > 10, f"{level['tank']:g} %")


@monitor()
async def plain(spec: Spec) -> bool:
    "a monitor without a reason"
    return level["tank"] > 10


def test_a_monitor_follows_what_its_function_says_with_its_reason() -> None:
    """Healthy, degraded, and degraded with the error when it cannot look; it recovers by itself."""

    async def main() -> None:
        level.clear()
        level["tank"] = 80.0
        s = supervisor(tank=tank)
        s.want([ChildSpec("t", "tank", Spec())])
        await reach(s, "top/t", "healthy")
        assert s.worker("top/t").reason == "80 %"
        level["tank"] = 5.0
        await reach(s, "top/t", "degraded")
        assert s.worker("top/t").reason == "5 %"
        level["broken"] = 1
        await asyncio.sleep(10)
        assert s.worker("top/t").reason == "OSError: the sensor does not answer"
        del level["broken"]
        level["tank"] = 50.0
        await reach(s, "top/t", "healthy")
        assert await s.stop() == []

    run(main())


def test_a_monitor_may_say_just_yes_or_no() -> None:
    """True and False are enough; stopping stops it."""

    async def main() -> None:
        level.clear()
        level["tank"] = 5.0
        s = supervisor(plain=plain)
        s.want([ChildSpec("t", "plain", Spec())])
        await reach(s, "top/t", "degraded")
        assert s.worker("top/t").reason == "found something wrong"
        s.want([ChildSpec("t", "plain", Spec(desired_state="stopped"))])
        await reach(s, "top/t", "stopped")
        await s.stop()

    run(main())


def test_the_machine_of_a_monitor_has_no_fault() -> None:
    """The checker has nothing to say against it."""
    assert [finding for finding in check(tank().machine) if finding.severity != "info"] == []
