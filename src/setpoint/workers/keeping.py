"""The keeping monitor: whether what happens is kept, in the store and in the flight recording.

Neither may ever hold up what runs, so their faults (a full disk, a damaged file) are no exceptions anywhere. Here they are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from setpoint.control import Monitor, monitor
from setpoint.machine import Verdict

INTERVAL_S: Final = 2.0


def keeping(store: Callable[[], str], recording: Callable[[], str]) -> Callable[[], Monitor]:
    """The worker type of a monitor over what these say is the matter; "" when nothing is."""

    @monitor(interval=INTERVAL_S)
    async def kept(spec: Any) -> Verdict:
        "what happens is kept"
        troubles = [
            f"{name}: {trouble}" for name, trouble in (("store", store()), ("recording", recording())) if trouble
        ]
        return Verdict(not troubles, "; ".join(troubles) or "store and recording are written")

    return kept
