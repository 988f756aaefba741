"""The gate before what is new: whether there is room on the host for one more.

It asks nobody how many there may be: it looks at what is in use. While processor, memory or disk is at its limit nothing new is let in, and
nothing until the figure is well below again, so that one that just fits does not open and shut the gate with every reading. What the new
ones use shows only after a while, so they are let in by the group, and the next group waits until the first has been measured. A group is
as large as the room that is left allows if each new one takes what the present ones do: ten running at 20 % of the processor leave room for
about thirty more below 85 %. First come, first served.

What is inside stays inside, whatever the figures say; one that stops and starts again within a minute need not ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from setpoint.services.host.figures import HostFigures, HostLimits, compared

HYSTERESIS: Final = 5.0
"""A figure that shut the gate opens it this many percentage points below its limit, or at half of a limit that is lower than twice that."""
GROUP_EVERY_S: Final = 5.0
"""As long as it takes for the use of the processor to be that of those let in last."""
FIRST: Final = 10
"""The room is reckoned as if at least so many were running: with none or few, what is in use is not theirs."""
MOST_MORE: Final = 4
"""However little is in use, no more than this many times as many at once."""
COMES_BACK_S: Final = 60.0


class Gate:
    """Lets in whoever asks while there is room. `latest` gives the figures of the host; times are in seconds of one clock, the loop's."""

    def __init__(self, latest: Callable[[], HostFigures]) -> None:
        self._latest = latest
        self._inside: set[str] = set()
        self._left: dict[str, float] = {}
        self._waiting: dict[str, None] = {}  # in the order in which they came
        self._shut_by: set[str] = set()
        self._turn: set[str] = set()
        self._spare = 0
        self._group_until = float("-inf")

    def ask(self, name: str, limits: HostLimits, now: float) -> str:
        """Ask to be let in: "" is yes, anything else is why not, for people. Who asks again keeps its place among those waiting."""
        if name in self._inside:
            return ""
        if now - self._left.pop(name, float("-inf")) <= COMES_BACK_S:
            return self._let_in(name)
        figures = self._latest()
        if why := self._why_shut(figures, limits):
            self._waiting[name] = None
            return why
        if now >= self._group_until:
            self._next_group(figures, limits, now)
        if name in self._turn:
            return self._let_in(name)
        if self._spare > 0:
            self._spare -= 1
            return self._let_in(name)
        self._waiting[name] = None
        return f"others were let in just now; what they use is measured first ({len(self._waiting)} wait)"

    def runs(self, name: str) -> None:
        """It runs already, whoever let it in."""
        self._let_in(name)

    def leave(self, name: str, now: float) -> None:
        """It does not run any more, or does not want to."""
        self._waiting.pop(name, None)
        self._turn.discard(name)
        if name in self._inside:
            self._inside.remove(name)
            self._left = {each: at for each, at in self._left.items() if now - at <= COMES_BACK_S}
            self._left[name] = now

    def _let_in(self, name: str) -> str:
        self._waiting.pop(name, None)
        self._turn.discard(name)
        self._inside.add(name)
        return ""

    def _why_shut(self, figures: HostFigures, limits: HostLimits) -> str:
        if not self._waiting:
            self._shut_by = set()  # nobody was there to see it shut
        shut = {name: text for name, text in _shutting(figures, limits, self._shut_by)}
        self._shut_by = set(shut)
        return "; ".join((*shut.values(), *figures.faults))

    def _next_group(self, figures: HostFigures, limits: HostLimits, now: float) -> None:
        size = group_size(len(self._inside), figures, limits)
        self._turn = set(islice(self._waiting, size))
        self._spare = size - len(self._turn)
        self._group_until = now + GROUP_EVERY_S


def _shutting(figures: HostFigures, limits: HostLimits, shut_by: set[str]) -> Iterator[tuple[str, str]]:
    """The figures that shut the gate, or keep it shut, each with the text that says so."""
    for row in compared(figures, limits):
        opens = max(row.limit - HYSTERESIS, row.limit / 2)
        if row.value is not None and row.value >= (opens if row.name in shut_by else row.limit):
            yield row.name, f"{row}, room below {opens:g} %"


def group_size(inside: int, figures: HostFigures, limits: HostLimits) -> int:
    """How many may come at once, at least one: as many as fit below the limits if each takes what one of those inside takes."""
    more = float(MOST_MORE)
    for value, limit in ((figures.cpu_percent, limits.cpu_percent), (figures.memory_percent, limits.memory_percent)):
        if value:
            more = min(more, (limit - value) / value)
    return max(1, int(max(inside, FIRST) * more))
