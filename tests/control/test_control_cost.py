"""Cost: what does not change is not looked at, and time that passes costs nothing by itself."""

from __future__ import annotations

import asyncio

from tests.control.samples import Process, Spec, looked_at, looks, now, reach, supervisor, world

from setpoint.control import ChildSpec, Observation, Worker, wanted
from setpoint.machine import Phase, State, held
from setpoint.testing import run


class Counted(Process):
    stopped = State(Phase.STOPPED)
    running = State(Phase.HEALTHY)
    arcs = [stopped.to(running, on="start", when=wanted), running.to(stopped, on="stop", when=~wanted | looked_at)]


def test_an_idle_worker_is_observed_but_not_evaluated() -> None:
    """Equal observations lead to no decision; only the slow resync looks again."""

    async def main() -> None:
        s = supervisor(counted=Counted)
        s.want([ChildSpec("p", "counted", Spec())])
        await reach(s, "top/p", "running")
        looks.clear()
        await asyncio.sleep(600)
        assert world(s, "top/p").collections > 590
        assert len(looks) <= 16
        await s.stop()

    run(main())


def test_a_declared_time_is_kept_without_polling() -> None:
    """`held` and `after` fire at their moment although no observation changes."""

    class Nothing(Observation, frozen=True):
        pass

    class Timed(Worker[Spec, Spec, Nothing]):
        interval = 1000.0
        stopped = State(Phase.STOPPED)
        first = State(Phase.STARTING)
        second = State(Phase.HEALTHY)
        arcs = [
            stopped.to(first, on="start", when=held(wanted, 7.25)),
            first.to(second, on="start_done", after=3.5),
            second.to(stopped, on="stop", when=~wanted),
            first.to(stopped, on="stop", when=~wanted),
        ]

        async def collect_observed_state(self, desired: Spec) -> Nothing:
            return Nothing()

    async def main() -> None:
        s = supervisor(timed=Timed)
        s.want([ChildSpec("p", "timed", Spec())])
        await reach(s, "top/p", "first", within=20)
        assert now() == 7.25
        await reach(s, "top/p", "second", within=20)
        assert now() == 10.75
        await s.stop()

    run(main())


def test_workers_born_together_are_observed_apart() -> None:
    """The first observation comes at once; after it they spread over the interval, so that no burst repeats."""

    async def main() -> None:
        s = supervisor()
        s.want([ChildSpec(f"p{i}", "process", Spec()) for i in range(50)])
        await reach(s, "top/p49", "running")
        await asyncio.sleep(5)
        due = {round(s.core.family.table[f"top/p{i}"].observe_at % 1.0, 2) for i in range(50)}
        assert len(due) > 10
        await s.stop()

    run(main())
