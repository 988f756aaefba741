"""The historian machine: is what was chosen of the namespace written to the database.

Idle and active tell whether rows are written. Degraded says what is in the way: the database (it is away, refuses the login, is full), the
namespace (it cannot be read), or messages that were set aside because no database would take them. Nothing is lost meanwhile: the log of
the namespace keeps what is not written yet, as long as its own retention lasts; how much that is, and what was lost beyond it, is said.
"""

from __future__ import annotations

import asyncio
from typing import Final

from setpoint.control import Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard, held
from setpoint.namespace import Broker
from setpoint.workers.historian.following import Following
from setpoint.workers.historian.seen import HistorianObserved
from setpoint.workers.historian.spec import IDLE_WINDOW, START_TIMEOUT, HistorianSpec

Seen = Snapshot[HistorianSpec, HistorianObserved]
BEHIND: Final = 10_000
"""Messages from which on it is said, in a good state, that it is behind."""


@guard
def begun(s: Seen) -> Verdict:
    "it is at work, with the settings that are wanted"
    fine = s.observed.running and s.observed.current
    return Verdict(fine, "with other settings" if s.observed.running and not fine else "")


@guard
def there(s: Seen) -> bool:
    "it is at work, with whatever settings"
    return s.observed.running


@guard
def database_fine(s: Seen) -> Verdict:
    "the database takes what it is given"
    fine = s.observed.connected and not s.observed.database_fault
    return Verdict(fine, s.observed.database_fault or ("" if fine else f"connecting to {s.observed.database}"))


@guard
def database_fault(s: Seen) -> Verdict:
    "the database was tried, and failed"
    return Verdict(bool(s.observed.database_fault), s.observed.database_fault)


@guard
def namespace_fine(s: Seen) -> Verdict:
    "the namespace can be read"
    return Verdict(not s.observed.namespace_fault, s.observed.namespace_fault)


@guard
def clean(s: Seen) -> Verdict:
    "no message was set aside within the error window"
    return Verdict(not s.observed.rejections, s.observed.rejections)


@guard
def rows(s: Seen) -> Verdict:
    "rows are written"
    return Verdict(s.observed.rows_per_s > 0, f"{s.observed.rows_per_s:g} rows/s")


def _waiting(s: Seen) -> str:
    lag = s.observed.lag
    return f"; up to {lag} messages wait in the namespace" if lag else ""


def _remarks(s: Seen) -> str:
    seen = s.observed
    behind = f"{seen.lag} messages behind" if seen.lag >= BEHIND else ""
    lost = f"{seen.lost} messages were gone from the namespace before they could be written" if seen.lost else ""
    return "; ".join(filter(None, (behind, lost)))


def _idle(s: Seen) -> str:
    if not s.desired.contracts:
        return f"idle: {s.observed.database} answers; no contract is chosen to be written"
    text = "rows begin to be written" if s.observed.rows_per_s else f"no rows in {s.desired.idle_window_s:g} s"
    return "; ".join(filter(None, (f"idle: {text}", _remarks(s))))


class Historian(Worker[HistorianSpec, HistorianSpec, HistorianObserved]):
    "Writes chosen contracts of the namespace to a database."

    stopped = State(Phase.STOPPED, reason="stopped")
    starting = State(
        Phase.STARTING, act="begin", reason=lambda s: f"starting: connecting to {s.observed.database or 'the database'}"
    )
    idle = State(Phase.HEALTHY, reason=_idle)
    active = State(Phase.HEALTHY, reason=_remarks)
    degraded_database = State(
        Phase.DEGRADED, reason=lambda s: f"degraded: {s.observed.database_fault or 'not connected'}{_waiting(s)}"
    )
    degraded_namespace = State(Phase.DEGRADED, reason=lambda s: f"degraded: {s.observed.namespace_fault}")
    degraded_messages = State(Phase.DEGRADED, reason=lambda s: f"degraded: {s.observed.rejections}")
    stopping = State(Phase.STOPPING, act="end", reason="stopping")

    _well = idle | active
    _degraded = degraded_database | degraded_namespace | degraded_messages
    _fine = database_fine & namespace_fine & clean

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        stopped.to(stopping, on="stop", when=~wanted & there),
        (starting | _well | _degraded).to(stopping, on="stop", when=~wanted),
        (_well | _degraded).to(starting, on="restart", when=~begun),
        starting.to(idle, on="start_done", when=begun & database_fine & namespace_fine),
        starting.to(degraded_database, on="degraded", when=begun & database_fault),
        starting.to(degraded_namespace, on="degraded", when=begun & database_fine & ~namespace_fine),
        starting.to(degraded_database, on="degraded", when=~database_fine, after=START_TIMEOUT),
        (_well | degraded_namespace | degraded_messages).to(degraded_database, on="degraded", when=~database_fine),
        (_well | degraded_database | degraded_messages).to(
            degraded_namespace, on="degraded", when=database_fine & ~namespace_fine
        ),
        (_well | degraded_database | degraded_namespace).to(
            degraded_messages, on="degraded", when=database_fine & namespace_fine & ~clean
        ),
        _degraded.to(idle, on="recovered", when=_fine),
        idle.to(active, on="data_received", when=rows),
        active.to(idle, on="no_data_timeout", when=held(~rows, IDLE_WINDOW)),
        stopping.to(stopped, on="stop_done", when=~there),
    ]

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._following: Following | None = None
        self._before: tuple[float, int] | None = None

    def resume_state(self, state: str, snapshot: Seen) -> str:
        """It ends with the agent, and begins anew."""
        return state if snapshot.observed.running else self.initial_state()

    async def collect_observed_state(self, desired: HistorianSpec) -> HistorianObserved:
        """Look at how it goes."""
        following = self._following
        if following is None:
            return HistorianObserved(database=str(desired.place()))
        progress, now = following.progress, asyncio.get_running_loop().time()
        at, before = self._before or (now - 1.0, progress.rows)
        self._before = (now, progress.rows)
        lag, lost = await self._standing(following)
        for name in ("rows", "deleted", "rejected"):
            self.context.gauge(name, getattr(progress, name))
        self.context.gauge("lag", lag)
        return HistorianObserved(
            running=following.running,
            current=following.spec == desired,
            connected=progress.connected,
            database=following.database,
            database_fault=progress.database_fault or following.slow,
            namespace_fault=progress.namespace_fault,
            latency_ms=progress.latency_ms,
            rows=progress.rows,
            rows_per_s=round((progress.rows - before) / max(now - at, 0.001), 1),
            deleted=progress.deleted,
            lag=lag,
            lost=lost,
            rejected=progress.rejected,
            rejections=following.rejections(),
            hypertables=progress.hypertables,
        )

    async def begin(self, desired: HistorianSpec) -> None:
        """Have it at work with these settings, and no others. Idempotent."""
        if self._following is not None and self._following.running and self._following.spec == desired:
            return
        await self.end(desired)
        self._following = Following(desired, self._broker, changed=self.context.observe)

    async def end(self, desired: HistorianSpec) -> None:
        """Have it at rest. What was not written is read again by the next one. Idempotent."""
        following, self._following, self._before = self._following, None, None
        if following is not None:
            await following.close()

    async def close(self) -> None:
        """End it, if it is still at work."""
        if self._following is not None:
            await self._following.close()

    async def _standing(self, following: Following) -> tuple[int, int]:
        """Messages that wait for its group, other contracts among them, and those that were gone when it was their turn."""
        group = following.spec.group()
        stats = await self._broker.stats()
        lag, lost = next(((one.lag, one.skipped) for one in stats.groups if one.group == group), (0, 0))
        return (0 if following.caught_up else lag), lost
