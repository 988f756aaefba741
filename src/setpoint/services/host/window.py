"""A window over the counters of the processor: how much of it is used, and how often it is taken away.

The kernel counts since the group was made, so one look says nothing; two say what happened between them. Use is the mean of the last
seconds, long enough not to jump with every timer, short enough to be of now. Throttling comes in bursts and is looked at over a minute.

A counter that went back, a quota that was changed, or a clock that was: what lies before cannot be compared with what follows. The window
then begins anew, and says why.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from setpoint.services.host.cgroup import Sample
from setpoint.services.host.figures import percent

CPU_OVER_S: Final = 5.0
THROTTLED_OVER_S: Final = 60.0
LEAST_SPAN_S: Final = 0.5
"""Over a shorter time one timer's worth of work looks like a full processor."""
MORE_THAN_THERE_IS: Final = 2.0
"""A group may use what it saved up for a moment (``cpu.max.burst``), at most as much again as its quota."""


class Window:
    """The samples of the last minute."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> str:
        """Take a sample. Returns why the window began anew with it; "" when it did not."""
        why = _break_between(self._samples[-1], sample) if self._samples else ""
        if why:
            self._samples.clear()
        elif self._samples and sample.at == self._samples[-1].at:
            return ""
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= sample.at - THROTTLED_OVER_S:
            self._samples.popleft()
        return why

    @property
    def cpu_percent(self) -> float | None:
        """Use over the last `CPU_OVER_S` seconds; None while the window is too short."""
        last = self._samples[-1]
        since = next(
            each for each in reversed(self._samples) if each.at <= last.at - CPU_OVER_S or each is self._samples[0]
        )
        if last.at - since.at < LEAST_SPAN_S:
            return None
        return percent(last.used - since.used, (last.at - since.at) * last.cores)

    @property
    def throttled_percent(self) -> float | None:
        """Share of the periods of the last `THROTTLED_OVER_S` seconds that were throttled; None while the window is too short."""
        first, last = self._samples[0], self._samples[-1]
        if last.at - first.at < LEAST_SPAN_S:
            return None
        periods = last.periods - first.periods
        return percent(last.throttled - first.throttled, periods) if periods else 0.0


def _break_between(before: Sample, after: Sample) -> str:
    """Why two samples cannot be compared; "" when they can."""
    span = after.at - before.at
    if span < 0:
        return f"the clock went back by {-span:.1f} s"
    if span > THROTTLED_OVER_S:
        return f"nothing was measured for {span:.0f} s"
    if after.used < before.used or after.periods < before.periods or after.throttled < before.throttled:
        return "the counters went back: the group was made anew"
    if after.cores != before.cores:
        return f"the quota was changed from {before.cores:g} to {after.cores:g} cores"
    if after.used - before.used > MORE_THAN_THERE_IS * span * after.cores + LEAST_SPAN_S:
        return f"{after.used - before.used:.1f} s of processor were used within {span:.1f} s: the clock was changed"
    return ""
