"""The processor: its use and its throttling, in whatever limits this process.

Each group with a quota has a window of its own; where no group has one, the host has. What is shown is the one that is fullest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from setpoint.services.host.cgroup import Sample, Unreadable, sample_of
from setpoint.services.host.window import Window

HOST: Final = "host"
_STATES: Final = 8
"""user, nice, system, idle, iowait, irq, softirq, steal; the guest's time, which follows, is in user already."""


class Use(NamedTuple):
    """Percentages, and the cores they are of; None where they are not known. `of` is the path of a group, or `HOST`."""

    cpu_percent: float | None = None
    throttled_percent: float | None = None
    cores: float | None = None
    of: str = HOST


class Processor:
    """Keeps a window for everything that limits this process."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def look(self, folders: Sequence[Path], at: float, faults: list[str]) -> Use:
        """Use at `at` (monotonic seconds). What cannot be told is added to `faults`."""
        samples = self._samples(folders, at, faults)
        self._windows = {name: self._windows.get(name) or Window() for name in samples}
        for name, sample in samples.items():
            if why := self._windows[name].add(sample):
                faults.append(f"CPU of {name}: {why}; measured anew from now on")
        uses = [
            Use(window.cpu_percent, window.throttled_percent, samples[name].cores, name)
            for name, window in self._windows.items()
        ]
        if not uses:
            return Use()
        fullest = max(uses, key=lambda use: -1.0 if use.cpu_percent is None else use.cpu_percent)
        throttled = (use.throttled_percent for use in uses if use.throttled_percent is not None)
        return fullest._replace(throttled_percent=max(throttled, default=None))

    def _samples(self, folders: Sequence[Path], at: float, faults: list[str]) -> dict[str, Sample]:
        samples: dict[str, Sample] = {}
        readable = True
        for folder in folders:
            try:
                sample = sample_of(folder, at)
            except Unreadable as error:
                faults.append(f"CPU: {error}")
                readable = False
                continue
            if sample is not None:
                samples[str(folder)] = sample
        if samples or not readable:
            return samples
        try:
            return {HOST: host_sample(at)}
        except OSError as error:
            faults.append(f"CPU of the host: {error}")
            return {}


def host_sample(at: float) -> Sample:
    """The counters of the whole host. Time that a hypervisor took away counts as used: we did not have it."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    return Sample(at, sum(times[:_STATES]) - idle, float(psutil.cpu_count() or 1))
