"""Versions: what becomes of a stored state when the machine of its worker has changed meanwhile."""

from __future__ import annotations

from typing import ClassVar

from tests.control.lives import Outside, lives
from tests.control.samples import Spec, process, reach

from setpoint.control import Observation, Supervisor, Worker, wanted
from setpoint.machine import Migration, Phase, State


class Two(Worker[Spec, Spec, Observation]):
    "Version 2: what was `running` is called `up`."

    machine_name = "real"
    machine_version = "2"
    migrations: ClassVar = [Migration("1", "2", {"stopped": "stopped", "running": "up"})]
    stopped = State(Phase.STOPPED)
    up = State(Phase.HEALTHY)
    arcs = [stopped.to(up, on="start", when=wanted), up.to(stopped, on="stop", when=~wanted)]

    async def collect_observed_state(self, desired: Spec) -> Observation:
        return Observation()


class Undeclared(Two):
    "Version 3, without a word about what was before."

    machine_name = "real"
    machine_version = "3"
    migrations: ClassVar = []


async def _running(s: Supervisor) -> None:
    s.want([process("p")])
    await reach(s, "top/p", "running")


def test_a_stored_state_of_another_version_is_migrated_by_the_declared_function() -> None:
    """The history says which way it went."""

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "up")
        last = s.journal.history("top/p")[-1]
        assert (last.event, last.source) == ("resumed", "creating")
        assert "migrated 1→2 to 'up'" in last.reason

    lives(_running, second, outside=Outside(), now=Two)


def test_a_stored_state_that_nobody_can_place_is_refused_by_name_and_never_guessed() -> None:
    """The worker begins anew, and says what was looked for."""

    async def second(s: Supervisor) -> None:
        s.want([process("p")])
        await reach(s, "top/p", "up")
        refused = next(move for move in s.journal.history("top/p") if move.event == "resume_refused")
        assert (
            refused.reason
            == "stored state 'running' of real version 1: no migration to version 3 is declared; declared: none"
        )

    lives(_running, second, outside=Outside(), now=Undeclared)
