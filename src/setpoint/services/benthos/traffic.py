"""What went through a flow lately: sums over windows, out of counters that only grow and begin anew with each process.

A reading is turned into what came in since the one before. Another process, or a counter that is smaller than before, means that counting
began anew: all it says came in since. The first reading of a process that is older than the windows is only a beginning, because nobody
knows when that came in; of a younger one everything did. So a flow is not called active for what it did yesterday, and no error before the
first look gets lost.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from setpoint.services.benthos.limits import ERROR_WINDOW_S, RATE_WINDOW_S
from setpoint.services.benthos.metrics import Counters

_FIELDS: Final = Counters.__struct_fields__


class Traffic:
    """The readings of one flow. Times are seconds of one clock that only goes forward. Silence costs no memory."""

    def __init__(self, *, rate_window_s: float = RATE_WINDOW_S, error_window_s: float = ERROR_WINDOW_S) -> None:
        self._rate_window = rate_window_s
        self._error_window = error_window_s
        self._kept_for = max(rate_window_s, error_window_s)
        self._steps: deque[tuple[float, Counters]] = deque()
        self._before: Counters | None = None
        self._pid: int | None = None
        self._since = 0.0
        self.latest = Counters()
        """What came in since the reading before."""

    def add(self, counters: Counters, *, pid: int, now: float, uptime_s: float) -> None:
        """A reading of this process, which has been up for so long. An equal one costs next to nothing."""
        before = self._before if pid == self._pid or self._before is None else _NOTHING
        self._pid = pid
        if before is None:
            young = uptime_s <= self._kept_for
            self._since = now - uptime_s if young else now
            before = Counters() if young else counters
        self.latest = _since(before, counters)
        if self.latest != _NOTHING:
            self._steps.append((now, self.latest))
        self._before = counters
        while self._steps and now - self._steps[0][0] >= self._kept_for:
            self._steps.popleft()

    def forget(self) -> None:
        """The flow was stopped: what it did does not count for the next one."""
        self._steps.clear()
        self._before = None
        self.latest = _NOTHING

    @property
    def moving(self) -> bool:
        """Whether messages came in or went out since the reading before."""
        return self.latest.input_received > 0 or self.latest.output_sent > 0

    def per_second(self, now: float) -> tuple[float, float]:
        """Messages per second in and out: means over the window, or since the flow began where that is shorter."""
        if self._before is None:
            return 0.0, 0.0
        window = max(1.0, min(self._rate_window, now - self._since))
        received = sent = 0
        for at, step in self._steps:
            if now - at < self._rate_window:
                received += step.input_received
                sent += step.output_sent
        return round(received / window, 1), round(sent / window, 1)

    def errors(self, now: float) -> tuple[int, int]:
        """How many messages processors and outputs failed on within the error window. They clear when it has passed."""
        steps = [step for at, step in self._steps if now - at < self._error_window]
        return sum(step.processor_error for step in steps), sum(step.output_error for step in steps)


def _since(before: Counters, after: Counters) -> Counters:
    if before == after:
        return _NOTHING
    old, new = msgspec.structs.astuple(before), msgspec.structs.astuple(after)
    if any(now < then for then, now in zip(old, new, strict=True)):
        return after
    return Counters(*(now - then for then, now in zip(old, new, strict=True)))


_NOTHING: Final = Counters()
