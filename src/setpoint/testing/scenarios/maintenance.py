"""Work that is due at intervals: compaction every six hours, and a maintenance every week that waits for a quiet night.

A maintenance may be done up to two days early in a preferred window (a weekend night), when it is due in any night, and two days late at
any hour. The scenario runs on a calendar on which a day lasts a second, so a month passes in half a minute.

The worker shows how to write work by the clock: what is due is *measured*, so that the guards stay pure and every decision can be
explained and replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Limits, Observation, Registry, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.testing.scenarios.scene import Scenario, Scene

Calendar = Callable[[], datetime]

DAY_S = 1.0
"""Seconds that a day of the calendar lasts."""
MONDAY = datetime(2026, 6, 1, 6, 0, tzinfo=UTC)
NIGHT = range(6)
"""Hours in which a maintenance disturbs nobody."""
WEEKEND = (5, 6)


class UpkeepSpec(BaseModel):
    """How often what is done."""

    compact_every: timedelta = timedelta(hours=6)
    maintain_every: timedelta = timedelta(days=7)
    tolerance: timedelta = timedelta(days=2)
    desired_state: Literal["running", "stopped"] = "running"


class Due(Observation, frozen=True):
    """What is due, and why or why not; how often in a row the work has failed."""

    compaction: bool = False
    maintenance: bool = False
    maintenance_because: str = ""
    failures: int = 0
    open: bool = False


UpkeepSnapshot = Snapshot[UpkeepSpec, Due]


@guard
def is_open(s: UpkeepSnapshot) -> bool:
    "the database is open"
    return s.observed.open


@guard
def compaction_due(s: UpkeepSnapshot) -> bool:
    "the last compaction is long enough ago"
    return s.observed.compaction


@guard
def maintenance_due(s: UpkeepSnapshot) -> Verdict:
    "a maintenance is due, and now is a time for it"
    return Verdict(s.observed.maintenance, s.observed.maintenance_because)


@guard
def failing(s: UpkeepSnapshot) -> Verdict:
    "the last work failed"
    return Verdict(s.observed.failures > 0, f"{s.observed.failures} failures in a row")


def maintenance_time(now: datetime, last: datetime, spec: UpkeepSpec) -> tuple[bool, str]:
    """Whether a maintenance shall be done now, and why or why not."""
    age, night = now - last, now.hour in NIGHT
    if age >= spec.maintain_every + spec.tolerance:
        return True, "too late to wait for a night"
    if age >= spec.maintain_every and night:
        return True, "due, and it is night"
    if age >= spec.maintain_every - spec.tolerance and night and now.weekday() in WEEKEND:
        return True, "due soon, and it is a weekend night"
    return False, f"{age.days} days since the last one"


class Upkeep(Worker[UpkeepSpec, UpkeepSpec, Due]):
    "Keeps a database compact and maintained."

    stopped = State(Phase.STOPPED)
    opening = State(Phase.STARTING, act="open")
    idle = State(Phase.HEALTHY, reason=lambda s: s.observed.maintenance_because)
    compacting = State(Phase.HEALTHY, act="compact", reason="compacting")
    maintaining = State(Phase.HEALTHY, act="maintain", reason="maintaining")
    degraded = State(Phase.DEGRADED, act="compact", reason="the last compaction failed; it is tried again")
    closing = State(Phase.STOPPING, act="close_database")

    arcs = [
        stopped.to(opening, on="start", when=wanted),
        (opening | idle | compacting | maintaining | degraded).to(closing, on="stop", when=~wanted),
        opening.to(idle, on="open_done", when=is_open),
        (compacting | maintaining).to(degraded, on="fail", when=failing),
        degraded.to(idle, on="recover", when=~failing),
        idle.to(compacting, on="compact", when=compaction_due),
        idle.to(maintaining, on="maintain", when=maintenance_due),
        compacting.to(idle, on="compact_done", when=~compaction_due),
        maintaining.to(idle, on="maintain_done", when=~maintenance_due),
        closing.to(stopped, on="close_done", when=~is_open),
    ]

    interval = 0.05

    def __init__(self, calendar: Calendar, failing_compactions: int = 0) -> None:
        self.calendar = calendar
        self.compactions: list[datetime] = []
        self.maintenances: list[datetime] = [calendar()]
        self.failures, self.failing_compactions = 0, failing_compactions
        self.is_open = False

    async def collect_observed_state(self, desired: UpkeepSpec) -> Due:
        now = self.calendar()
        compacted = self.compactions[-1] if self.compactions else None
        maintenance, because = maintenance_time(now, self.maintenances[-1], desired)
        return Due(
            compaction=compacted is None or now - compacted >= desired.compact_every,
            maintenance=maintenance,
            maintenance_because=because,
            failures=self.failures,
            open=self.is_open,
        )

    async def open(self, desired: UpkeepSpec) -> None:
        self.is_open = True

    async def close_database(self, desired: UpkeepSpec) -> None:
        self.is_open = False

    async def compact(self, desired: UpkeepSpec) -> None:
        await asyncio.sleep(0.02)
        if len(self.compactions) >= 8 and self.failing_compactions > 0:
            self.failing_compactions -= 1
            self.failures += 1
            raise OSError("the disk is full")
        self.failures = 0
        self.compactions.append(self.calendar())

    async def maintain(self, desired: UpkeepSpec) -> None:
        await asyncio.sleep(0.02)
        self.maintenances.append(self.calendar())


async def story(scene: Scene) -> None:
    def calendar() -> datetime:
        return MONDAY + timedelta(days=scene.now / DAY_S)

    worker = Upkeep(calendar, failing_compactions=3)
    registry = Registry()
    registry.add("upkeep", lambda: worker)
    supervisor = scene.supervise(registry, limits=Limits(retry_first=0.1, retry_cap=0.5))

    def want(**settings: timedelta) -> None:
        supervisor.want([ChildSpec("database", "upkeep", UpkeepSpec(**settings))])

    want()
    await scene.until(
        "it degrades when a compaction fails", lambda: "degraded" in scene.visited("plant/database"), within=6
    )
    await scene.until("and recovers when one succeeds", lambda: len(worker.compactions) > 9, within=6)
    await scene.until("three maintenances are done", lambda: len(worker.maintenances) > 3, within=30 * DAY_S)
    gaps = [later - earlier for earlier, later in zip(worker.compactions, worker.compactions[1:], strict=False)]
    usual = [gap for gap in gaps if gap < timedelta(hours=12)]
    scene.expect(
        "compactions are six hours apart",
        all(gap >= timedelta(hours=6) for gap in gaps) and len(usual) >= 0.8 * len(gaps),
        f"{len(worker.compactions)} of them",
    )
    done = worker.maintenances[1:]
    days = ", ".join(moment.strftime("%a %d %b %H:%M") for moment in done)
    scene.expect("every maintenance was at night", all(moment.hour in (*NIGHT, NIGHT.stop) for moment in done), days)
    scene.expect(
        "the first came early, for a weekend night",
        done[0].weekday() in WEEKEND and done[0] - MONDAY < timedelta(days=7),
    )
    scene.say("the user wants a maintenance every 36 hours, with no tolerance")
    want(maintain_every=timedelta(hours=36), tolerance=timedelta(0))
    count = len(worker.maintenances)
    await scene.until("a changed interval is in force", lambda: len(worker.maintenances) >= count + 2, within=5 * DAY_S)


SCENARIO = Scenario(
    "maintenance", "work due at intervals: compaction, and a maintenance that waits for a quiet night", story, 22
)
