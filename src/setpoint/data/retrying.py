"""When what failed is tried again, and how long after: what a `Retry` says, for states, arcs and resources."""

from __future__ import annotations

import random
from collections.abc import Callable

from setpoint.data.definition import Retry


def pause_after(
    retry: Retry | None, fault: Exception | str | None, attempt: int, *, chance: Callable[[], float] = random.random
) -> float | None:
    """Seconds to wait after this attempt (1, 2, …) failed; None when it was the last, or the fault is not one to try again after.

    A fault that is not known (None) is one of no type; of one from before a restart only the name of its type is left. `chance` gives
    numbers from 0 to 1, by which the jitter is spread.
    """
    if retry is None or attempt >= retry.attempts or not _covers(retry, fault):
        return None
    delay = retry.delay
    if retry.backoff == "linear":
        delay *= attempt
    elif retry.backoff == "exponential":
        delay *= retry.factor ** min(attempt - 1, 64)
    return min(delay, retry.max_delay) * (1 + retry.jitter * (2 * chance() - 1))


def _covers(retry: Retry, fault: Exception | str | None) -> bool:
    if isinstance(fault, str):
        return not retry.on or any(fault == (kind.__name__ if isinstance(kind, type) else kind) for kind in retry.on)
    names = {kind.__name__ for kind in type(fault).__mro__}
    return not retry.on or any(
        isinstance(fault, kind) if isinstance(kind, type) else kind in names for kind in retry.on
    )
