"""The laws can fail: each is broken by a runtime with a defect put into it on purpose, and the simulator finds it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.simulation.simulation_plant import Observed, Process, Spec, World, plant

from setpoint.control.acting import Acting
from setpoint.control.agenda import Agenda, Effect
from setpoint.control.core import Core
from setpoint.control.deciding import Deciding
from setpoint.control.limits import Limits
from setpoint.control.observing import Observing
from setpoint.control.record import Record
from setpoint.testing.simulation import Fault, MakeScene, explore, simulate

Patch = pytest.MonkeyPatch


def law_broken(make_scene: MakeScene | None = None, **options: Any) -> str:
    """The law that is broken first in some run; "" when none is."""
    runs = explore(make_scene or plant(), seconds=900, seeds=range(10), every=60, **options)
    return next((run.violation.law for run in runs if run.violation is not None), "")


def test_acting_on_old_news_is_found(monkeypatch: Patch) -> None:
    """A runtime without the gate acts again on what was seen before its last action ended."""
    ask = Acting.ask

    def ungated(self: Acting, record: Record, name: str) -> None:
        record.act_gate = 0
        record.action_retry_at = float("-inf")
        ask(self, record, name)

    monkeypatch.setattr(Acting, "ask", ungated)
    assert law_broken() == "fresh-news"


def test_two_actions_at_once_are_found(monkeypatch: Patch) -> None:
    """A runtime that forgets what is in flight starts it a second time."""
    ask = Acting.ask

    def forgetful(self: Acting, record: Record, name: str) -> None:
        record.running.clear()
        ask(self, record, name)

    monkeypatch.setattr(Acting, "ask", forgetful)
    assert law_broken() == "one-action"


class Impatient(Core):
    """Removes workers whose actions fail again and again."""

    def advance(self, now: float, wall: float) -> list[Effect]:
        for record in list(self.family.table.values()):
            if record.action_failures > 2 and not record.children:
                self.family.forget(record)
        return super().advance(now, wall)


def test_removing_what_fails_is_found() -> None:
    """What is wanted stays, however often it fails."""
    fails = [Fault(20, "act-fails", "agent/gate", 60), Fault(21, "operator-restart", "agent/gate", 1)]
    outcome = simulate(plant(), seconds=100, faults=fails, core=Impatient)
    assert outcome.violation is not None
    assert outcome.violation.law == "not-removed"


def test_a_collector_that_stops_is_found(monkeypatch: Patch) -> None:
    """A runtime that does not plan the next look after one that failed never looks again."""
    plan = Observing._plan_next

    def lazy(self: Observing, record: Record, *, at_once: bool) -> None:
        if not record.hung:
            plan(self, record, at_once=at_once)

    monkeypatch.setattr(Observing, "_plan_next", lazy)
    assert law_broken(kinds=["observe-lost"]) == "looked-at"


def test_a_blind_runtime_is_found(monkeypatch: Patch) -> None:
    """A runtime that does not notice that nobody sees the worker any more keeps silent about it, or acts blindly."""
    monkeypatch.setattr(Observing, "check_stale", lambda *_: None)
    assert law_broken(kinds=["observe-fails", "operator-restart"]) in ("said-stalled", "fresh-news")


def test_giving_up_is_found(monkeypatch: Patch) -> None:
    """A runtime that waits for ever after a failure does not reach the target once all has healed."""
    monkeypatch.setattr(Limits, "backoff", lambda self, failures, jitter: 1e6)
    assert law_broken(kinds=["act-fails", "operator-restart"]) == "reaches-target"


def test_a_move_along_no_arc_is_found(monkeypatch: Patch) -> None:
    """A runtime that jumps ahead of its machine is caught in the act."""
    move = Deciding.move

    def jump(self: Deciding, record: Record, event: str, target: str, reason: str) -> None:
        move(self, record, event, "running" if target == "starting" else target, reason)

    monkeypatch.setattr(Deciding, "move", jump)
    assert law_broken() == "along-an-arc"


def test_silence_is_found(monkeypatch: Patch) -> None:
    """A worker that is not well and does not say why."""
    stay = Deciding._stay

    def silent(self: Deciding, record: Record, decision: Any) -> None:
        stay(self, record, decision)
        record.reason = ""

    monkeypatch.setattr(Deciding, "_stay", silent)
    assert law_broken(kinds=["act-fails", "operator-restart"]) == "reason"


def test_a_runtime_that_never_rests_is_found(monkeypatch: Patch) -> None:
    """Time must go on."""
    monkeypatch.setattr(Agenda, "next_due", property(lambda self: self.now))
    assert law_broken() == "comes-to-rest"


class Restless(Process):
    """Crashes every two hundred seconds, by itself."""

    async def collect_observed_state(self, desired: Spec) -> Observed:
        if asyncio.get_running_loop().time() % 200 > 198:
            self.world.running.discard(self.context.path)
        return await super().collect_observed_state(desired)


def test_leaving_the_target_with_nothing_wrong_is_found() -> None:
    """To be there for a moment is not enough."""
    assert law_broken(plant(types={"process": Restless}), kinds=["operator-retry"]) == "keeps-target"


def test_not_stopping_in_time_is_found() -> None:
    """A worker told to stop in a calm world has its budget, and no more."""
    slow = plant(1, world=lambda: World(takes=0.2), types={"process": SlowToStop})
    outcome = simulate(slow, seconds=400, faults=[Fault(300, "disable", "agent/line-0", 60)])
    assert outcome.violation is not None
    assert outcome.violation.law == "stops-in-time"


class SlowToStop(Process):
    """Takes ten seconds to stop."""

    async def stop(self, desired: Spec) -> None:
        self.world.takes = 10.0
        await super().stop(desired)


def test_leaving_somebody_behind_is_found() -> None:
    """At the end of the agent everything is stopped."""
    assert law_broken(plant(world=lambda: World(obeys_stop=False)), kinds=["push-burst"]) == "clean-exit"


def test_the_runtime_as_it_is_breaks_none() -> None:
    """The same runs without a defect."""
    for kinds in (["observe-lost"], ["act-fails", "operator-restart"], ["observe-fails", "operator-restart"]):
        assert law_broken(kinds=kinds) == ""
