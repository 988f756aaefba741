"""Monitors: workers that only watch, written as one function.

    @monitor(interval=5)
    async def disk_has_room(spec: DiskSpec) -> Verdict:
        "there is room on the disk"
        free = shutil.disk_usage(spec.path).free
        return Verdict(free > spec.least, f"{free / 1e9:.1f} GB free")

The function says healthy (True, or a Verdict that is ok) or degraded (False, or a Verdict that is not), and may say why. What it raises is
degraded as well, with the error as the reason: a monitor that cannot look has found something wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from setpoint.control.snapshot import Observation, Snapshot, wanted
from setpoint.control.worker import Worker
from setpoint.machine import Phase, State, Verdict, guard

Watch = Callable[[Any], Awaitable[bool | Verdict]]


class Watched(Observation, frozen=True):
    """What the function said."""

    ok: bool
    because: str = ""


@guard
def found_healthy(s: Snapshot[Any, Watched]) -> Verdict:
    "the monitor found nothing wrong"
    return Verdict(s.observed.ok, s.observed.because)


def _why(s: Snapshot[Any, Watched]) -> str:
    return s.observed.because or "found something wrong"


class Monitor(Worker[Any, Any, Watched]):
    "Watches, and does nothing else."

    stopped = State(Phase.STOPPED, reason="stopped")
    starting = State(Phase.STARTING)
    healthy = State(Phase.HEALTHY, reason=lambda s: s.observed.because)
    degraded = State(Phase.DEGRADED, reason=_why)

    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | healthy | degraded).to(stopped, on="stop", when=~wanted),
        (starting | degraded).to(healthy, on="found_healthy", when=found_healthy),
        (starting | healthy).to(degraded, on="found_degraded", when=~found_healthy),
    ]

    def __init__(self, watch: Watch, *, interval: float, timeout: float) -> None:
        self._watch = watch
        self.interval, self.timeout = interval, timeout

    async def collect_observed_state(self, desired: Any) -> Watched:
        """Ask the function."""
        try:
            found = await self._watch(desired)
        except Exception as error:
            return Watched(False, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        if isinstance(found, Verdict):
            return Watched(found.ok, found.because)
        return Watched(bool(found))


def monitor(*, interval: float = 1.0, timeout: float = 2.2) -> Callable[[Watch], Callable[[], Monitor]]:
    """Make a worker type of an async function of the spec, asked every `interval` seconds and given `timeout` seconds to answer.

    What comes out is what `Registry.add` takes: ``registry.add("disk", disk_has_room)``.
    """

    def decorate(watch: Watch) -> Callable[[], Monitor]:
        def make() -> Monitor:
            return Monitor(watch, interval=interval, timeout=timeout)

        make.__name__, make.__doc__ = getattr(watch, "__name__", "monitor"), watch.__doc__
        return make

    return decorate
