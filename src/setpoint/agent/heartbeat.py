"""The heartbeat: once a minute a line that says how everything is, also when nothing happens.

A log that is silent may mean that all is well or that nobody is there any more. The line tells the two apart: how many workers there are
and in which phases, how many are not as they are wanted, how much has moved, how late the runtime was, and what is the matter with what is
kept. It also has the log say what was left out of it (see `setpoint.telemetry.logs`), which is written with the next line that comes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from setpoint.agent.vitals import p99_of
from setpoint.control import Supervisor
from setpoint.control.record import Record
from setpoint.control.views import desired_text, phase_text
from setpoint.store import Transition

EVERY_S: Final = 60.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """Says how the workers of a supervisor are. `troubles` are asked what is the matter, by the names under which the line has it."""

    def __init__(self, supervisor: Supervisor, troubles: Mapping[str, Callable[[], str]]) -> None:
        self._supervisor = supervisor
        self._troubles = troubles
        self._moves = 0
        self._late = list(supervisor.core.lag.counts)
        supervisor.listen(self._count)

    async def keep(self) -> None:
        """Write the line every `EVERY_S` seconds, until cancelled. The first comes after the first pause."""
        while True:
            await asyncio.sleep(EVERY_S)
            log.info("heartbeat", **self.figures())

    def figures(self) -> dict[str, Any]:
        """How everything is now. `transitions` and `tick_lag_p99_ms` are those since the last time this was asked.

        The lag is the upper bound of the bucket that 99 % of the timers were within; 2500 stands for everything above one second. A
        trouble is there only while something is the matter.
        """
        records = self._supervisor.records.values()
        moves, self._moves = self._moves, 0
        return {
            "workers": len(records),
            "phases": dict(Counter(str(phase_text(record)) or "not_alive" for record in records).most_common()),
            "not_as_wanted": sum(not is_as_wanted(record) for record in records),
            "transitions": moves,
            "tick_lag_p99_ms": self._lag_p99_ms(),
            **{name: text for name, ask in self._troubles.items() if (text := ask())},
        }

    def _count(self, record: Record, transition: Transition | None) -> None:
        self._moves += transition is not None

    def _lag_p99_ms(self) -> float:
        lag = self._supervisor.core.lag
        timers = [now - before for now, before in zip(lag.counts, self._late, strict=True)]
        self._late = list(lag.counts)
        return 1000.0 * p99_of(timers) if any(timers) else 0.0


def is_as_wanted(record: Record) -> bool:
    """As ``setpoint status`` has it: who is to be stopped is, everybody else is healthy."""
    if desired_text(record) in ("stopped", "removed"):
        return phase_text(record) in ("stopped", "")
    return phase_text(record) == "healthy"
