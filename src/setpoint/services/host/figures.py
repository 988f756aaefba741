"""What is known of the host at one moment, and how that compares with limits.

Every figure is a percentage of what we may use. One that could not be measured is None, never 0, and `faults` says why: a host that
cannot be looked at has not been found to be at ease.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

WARNING_BELOW: Final = 10.0
"""A figure this close to its limit, in percentage points, is worth a warning."""


class HostFigures(msgspec.Struct, frozen=True):
    """One reading. `cpu_percent` is the mean of the last seconds, `throttled_percent` the share of the last minute's scheduling periods
    in which the processor was taken away; `memory_used_bytes` leaves out what the kernel can take back at once."""

    cpu_percent: float | None
    cpu_cores: float | None
    throttled_percent: float | None
    memory_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    disk_percent: float | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    source: str = ""
    """What the figures of processor and memory are of: a control group by its path, or the host."""
    note: str = ""
    """Why no control group was looked at; "" when some were."""
    faults: tuple[str, ...] = ()
    """What could not be measured, and why."""


@dataclass(frozen=True)
class HostLimits:
    """Percentages from which on there is too little left."""

    cpu_percent: float = 85.0
    memory_percent: float = 90.0
    disk_percent: float = 90.0
    throttled_percent: float = 5.0


class Compared(NamedTuple):
    """One figure beside its limit; `value` is None where it is not known."""

    name: str
    value: float | None
    limit: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:g} % (limit {self.limit:g} %)"


def compared(figures: HostFigures, limits: HostLimits) -> Iterator[Compared]:
    """Each figure beside its limit."""
    yield Compared("CPU", figures.cpu_percent, limits.cpu_percent)
    yield Compared("CPU throttling", figures.throttled_percent, limits.throttled_percent)
    yield Compared("memory", figures.memory_percent, limits.memory_percent)
    yield Compared("disk", figures.disk_percent, limits.disk_percent)


def over_limit(figures: HostFigures, limits: HostLimits) -> str:
    """What is at or over its limit, and what could not be measured, for people; "" when there is neither."""
    over = (str(row) for row in compared(figures, limits) if row.value is not None and row.value >= row.limit)
    return "; ".join((*over, *figures.faults))


def near_limit(figures: HostFigures, limits: HostLimits) -> str:
    """What is below its limit by no more than `WARNING_BELOW`, for people. Throttling, whose limit is low, has no such warning."""
    rows = (row for row in compared(figures, limits) if row.limit > WARNING_BELOW)
    return ", ".join(str(row) for row in rows if row.value is not None and _is_near(row))


def _is_near(row: Compared) -> bool:
    return row.value is not None and row.limit - WARNING_BELOW <= row.value < row.limit


def percent(part: float, whole: float) -> float:
    """A share as a percentage from 0 to 100, to one decimal. Of nothing, all is in use."""
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 1) if whole > 0 else 100.0
