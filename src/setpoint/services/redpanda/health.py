"""From readings to facts: is this Redpanda well, by name of each check, and how much goes through it.

Everything is a pure function of readings. How long a check must fail before that is a state, is for the machine that asks to say.

    not-ready                the admin API does not answer, or says that it is not ready
    metrics-unreadable       the metrics cannot be read, or lack a name that a check needs
    disk-space-low           Redpanda's own alert is not 0, or less than 5 % of the disk is free
    cpu-saturated            a shard was busy for 95 % of the time between two readings
    unavailable-partitions   partitions without a quorum: their topics cannot be written
    schema-registry          the registry does not answer, where one is asked
    configuration            the cluster's settings are not as wanted, and why
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from setpoint.services.redpanda.metrics import Metrics

LOW_DISK_PERCENT: Final = 5.0
"""Below it the disk counts as low, whatever Redpanda's alert says: its own thresholds may be set to 0. As in `workers.broker`."""
SATURATED_PERCENT: Final = 95.0
"""Of the time between two readings. A shard at it has no room for more; its requests queue. Ours: Redpanda documents no number."""
LONGEST_STALL_MS: Final = 500
"""A reactor that stalls for longer makes clients wait visibly. Source: the incumbent's classification of Redpanda's log."""
STARTED: Final = "Successfully started Redpanda!"
"""The line in which Redpanda says that it is up. Source: as above."""
_STALLED: Final = re.compile(r"Reactor stalled for (\d+) ms")
_IN_USE: Final = "Address already in use"


class Check(msgspec.Struct, frozen=True):
    """One health check: passed, or failed and why."""

    name: str
    ok: bool
    because: str = ""


class Rates(msgspec.Struct, frozen=True):
    """What went through between two readings: bytes a second, and how busy the busiest shard was (None: not known)."""

    bytes_in_per_s: float = 0.0
    bytes_out_per_s: float = 0.0
    busiest_percent: float | None = None

    @property
    def active(self) -> bool:
        """Whether anything was produced or consumed."""
        return self.bytes_in_per_s > 0 or self.bytes_out_per_s > 0


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out in one go; a text that is not empty is why something was not. `registry` and `configuration` may be left out."""

    not_ready: str = ""
    metrics: Metrics | None = None
    metrics_fault: str = ""
    registry_fault: str = ""
    configuration_fault: str = ""
    rates: Rates = Rates()


def checks(readings: Readings) -> tuple[Check, ...]:
    """Every check, those that fail most fundamentally first."""
    return (
        Check("not-ready", not readings.not_ready, readings.not_ready),
        _readable(readings),
        _disk(readings.metrics),
        _busy(readings.rates),
        _partitions(readings.metrics),
        Check("schema-registry", not readings.registry_fault, readings.registry_fault),
        Check("configuration", not readings.configuration_fault, readings.configuration_fault),
    )


def failing(readings: Readings) -> str:
    """The checks that fail, for people: ``disk-space-low: 1.2 GB of 40 GB free``; empty when all pass."""
    return "; ".join(f"{check.name}: {check.because}" for check in checks(readings) if not check.ok)


def _readable(readings: Readings) -> Check:
    because = readings.metrics_fault
    if not because and readings.metrics is not None and readings.metrics.missing:
        because = f"not exported: {', '.join(readings.metrics.missing)}"
    return Check("metrics-unreadable", not because, because)


def _disk(metrics: Metrics | None) -> Check:
    name = "disk-space-low"
    if metrics is None:
        return Check(name, ok=True)
    free, total = metrics.disk_free_bytes, metrics.disk_total_bytes
    known = (
        f"{free / 1e9:.1f} GB of {total / 1e9:.0f} GB free" if free is not None and total else "free space not known"
    )
    if metrics.alert:
        level = {1: "low", 2: "degraded"}.get(metrics.alert, str(metrics.alert))
        return Check(name, False, f"{known}; Redpanda's alert is {level}")
    low = free is not None and bool(total) and 100 * free / (total or 1) < LOW_DISK_PERCENT
    return Check(name, not low, known if low else "")


def _busy(found: Rates) -> Check:
    percent = found.busiest_percent
    saturated = percent is not None and percent >= SATURATED_PERCENT
    return Check(
        "cpu-saturated", not saturated, f"a shard is busy for {percent:.0f} % of the time" if saturated else ""
    )


def _partitions(metrics: Metrics | None) -> Check:
    count = metrics.unavailable_partitions if metrics is not None else 0
    return Check("unavailable-partitions", not count, f"{count} without a quorum" if count else "")


def rates(before: Metrics | None, after: Metrics, seconds: float) -> Rates:
    """What went through in the `seconds` between two readings; nothing without a first. A counter that fell began anew with a restart."""
    if before is None or seconds <= 0:
        return Rates()
    busy = [
        100 * _grown(before.busy_seconds[shard], total) / seconds
        for shard, total in after.busy_seconds.items()
        if shard in before.busy_seconds
    ]
    return Rates(
        round(_grown(before.produced_bytes, after.produced_bytes) / seconds, 1),
        round(_grown(before.consumed_bytes, after.consumed_bytes) / seconds, 1),
        round(min(100.0, max(busy)), 1) if busy else None,
    )


def _grown(before: float, after: float) -> float:
    return after - before if after >= before else after


def complaint(line: str) -> str:
    """What a line of Redpanda's log says is wrong: a port that is taken, a reactor that stalled for too long; empty for any other."""
    if _IN_USE in line:
        return f"a port is taken: {line.strip()[:200]}"
    stalled = _STALLED.search(line)
    if stalled and int(stalled[1]) > LONGEST_STALL_MS:
        return (
            f"the reactor stalled for {stalled[1]} ms (at most {LONGEST_STALL_MS}): the machine is too slow or too busy"
        )
    return ""
