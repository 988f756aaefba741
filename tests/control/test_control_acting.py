"""Actions: one at a time, never on old news, tried again with patience."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from tests.control.samples import Process, Spec, now, process, reach, state, supervisor, world

from setpoint.control import ChildSpec, Limits
from setpoint.testing import run


def test_the_next_action_waits_for_an_observation_that_started_after_the_last_one_ended() -> None:
    """Slow observations never lead to an action being done twice for one cause."""

    class Slow(Process):
        def __init__(self) -> None:
            super().__init__()
            self.world.observing_takes = 0.8
            self.world.takes = 0.5

    async def main() -> None:
        s = supervisor(slow=Slow)
        s.want([ChildSpec("p", "slow", Spec())])
        await reach(s, "top/p", "running")
        assert len(world(s, "top/p").calls("start")) == 1
        await s.stop(budget=10)

    run(main())


def test_a_failing_action_is_tried_again_ever_more_slowly_and_says_why() -> None:
    """The reason names the failure; the pauses grow to their cap and no further."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "starting")
        world(s, "top/p").start_fails = "no such file"
        await asyncio.sleep(300)
        starts = world(s, "top/p").calls("start")
        pauses = [later - earlier for earlier, later in pairwise(starts)]
        assert pauses[0] < 3
        assert 40 < max(pauses) < 65
        assert "start failed: OSError: no such file" in s.worker("top/p").reason
        world(s, "top/p").start_fails = ""
        await reach(s, "top/p", "running", within=70)
        await s.stop()

    run(main())


def test_a_corrected_spec_is_tried_at_once() -> None:
    """It does not wait as long as the failures of the one before it would have it wait."""

    class Broken(Process):
        async def start(self, desired: Spec) -> None:
            if desired.version == 1:
                raise OSError("bad address")
            await super().start(desired)

    async def main() -> None:
        s = supervisor(broken=Broken)
        s.want([ChildSpec("p", "broken", Spec())])
        await asyncio.sleep(400)
        s.want([ChildSpec("p", "broken", Spec(version=2))])
        await reach(s, "top/p", "running", within=3)
        await s.stop()

    run(main())


def test_an_action_that_hangs_is_abandoned_and_its_successor_does_not_wait_for_it() -> None:
    """A call that ignores cancellation is counted and replaced, never joined."""

    class Hangs(Process):
        async def start(self, desired: object) -> None:
            self.world.note("start")
            if len(self.world.calls("start")) == 1:
                while True:
                    try:
                        await asyncio.sleep(3600)
                    except asyncio.CancelledError:
                        self.world.note("ignored a cancellation")
                        if len(self.world.calls("ignored a cancellation")) > 1:
                            raise
            self.world.running = True

    async def main() -> None:
        s = supervisor(limits=Limits(action_timeout=5.0), hangs=Hangs)
        s.want([process("p").__class__("p", "hangs", process("p").spec)])
        await reach(s, "top/p", "running", within=30)
        assert len(world(s, "top/p").calls("start")) == 2
        await s.stop()

    run(main())


def test_nothing_is_done_on_the_move() -> None:
    """A decision moves or acts: the action of a state begins only once the machine is in it."""

    async def main() -> None:
        s = supervisor()
        seen: list[tuple[str, int]] = []
        s.listen(lambda record, move: seen.append((move.target, len(record.running))) if move else None)
        s.want([process("p")])
        await reach(s, "top/p", "running")
        assert all(acting == 0 for _, acting in seen)
        await s.stop()

    run(main())


def test_stopping_interrupts_nothing_that_is_in_flight_but_follows_it() -> None:
    """Told to stop while it starts: the start ends, then the stop is done."""

    async def main() -> None:
        s = supervisor()
        s.want([process("p")])
        await reach(s, "top/p", "starting")
        world(s, "top/p").takes = 2.0
        outside = world(s, "top/p")
        before = now()
        s.want([])
        await reach(s, "top/p", "gone", within=20)
        assert not outside.running
        assert now() - before < 10
        assert state(s, "top/p") == "gone"

    run(main())
