"""Figures of the container or host this process runs in: processor, memory, disk.

In a container with cgroup v2 limits the limits and figures of the control group count; elsewhere those of the host. Memory leaves out
what the kernel can take back at once (inactive file cache), so that a busy log does not look like a full memory. Processor use is the
share of the processors we may use, over the time between two readings. Source of the formats: the kernel's cgroup-v2 documentation.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import msgspec
import psutil

CGROUP = Path("/sys/fs/cgroup")


class HostFigures(msgspec.Struct, frozen=True):
    """One reading. Percentages are of what we may use; `throttled_percent` of the scheduling periods since the reading before."""

    cpu_percent: float
    cpu_cores: float
    throttled_percent: float
    memory_percent: float
    memory_used_bytes: int
    memory_total_bytes: int
    disk_percent: float
    disk_used_bytes: int
    disk_total_bytes: int


class HostReader:
    """Reads the figures; keeps the counters of the reading before. `disk` is a path on the file system that fills up."""

    def __init__(self, disk: Path, *, cgroup: Path = CGROUP) -> None:
        self._disk = disk
        self._cgroup = cgroup
        self._before = self._counters()

    def read(self) -> HostFigures:
        """A reading. Raises `OSError` when the disk path cannot be read."""
        before, self._before = self._before, self._counters()
        at, busy, periods, throttled = (new - old for new, old in zip(self._before, before, strict=True))
        cores = self._cores()
        used, total = self._memory()
        disk = shutil.disk_usage(self._disk)
        return HostFigures(
            cpu_percent=_percent(busy, at * cores),
            cpu_cores=cores,
            throttled_percent=_percent(throttled, periods),
            memory_percent=_percent(used, total),
            memory_used_bytes=used,
            memory_total_bytes=total,
            disk_percent=_percent(disk.used, disk.used + disk.free),
            disk_used_bytes=disk.used,
            disk_total_bytes=disk.total,
        )

    def _counters(self) -> tuple[float, float, float, float]:
        """Now, seconds of processor used, scheduling periods, and those of them that were throttled."""
        stat = self._table("cpu.stat") if self._limited() else {}
        if "usage_usec" in stat:
            return time.monotonic(), stat["usage_usec"] / 1e6, stat.get("nr_periods", 0), stat.get("nr_throttled", 0)
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        return time.monotonic(), sum(times[:8]) - idle, 0, 0

    def _limited(self) -> bool:
        """Whether this control group has a processor quota of its own."""
        return self._quota() is not None

    def _quota(self) -> float | None:
        quota, _, period = self._text("cpu.max").partition(" ")
        return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None

    def _cores(self) -> float:
        return self._quota() or float(len(os.sched_getaffinity(0)))

    def _memory(self) -> tuple[int, int]:
        limit = self._text("memory.max")
        if limit.isdigit():
            reclaimable = self._table("memory.stat").get("inactive_file", 0)
            return max(0, int(self._text("memory.current") or 0) - int(reclaimable)), int(limit)
        host = psutil.virtual_memory()
        return host.total - host.available, host.total

    def _text(self, name: str) -> str:
        try:
            return (self._cgroup / name).read_text().strip()
        except OSError:
            return ""

    def _table(self, name: str) -> dict[str, float]:
        rows = (line.split() for line in self._text(name).splitlines())
        return {row[0]: float(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _percent(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 1) if whole > 0 else 0.0
