"""When something that failed outside is tried again, and how long after: what a `Retry` says."""

from __future__ import annotations

import random

from setpoint.data.definition import Retry


def pause_after(retry: Retry | None, fault: Exception, attempt: int) -> float | None:
    """Seconds to wait after this attempt (1, 2, …) failed; None when it was the last, or the fault is not one to try again after."""
    if retry is None or attempt >= retry.attempts or not _covers(retry, fault):
        return None
    delay = retry.delay
    if retry.backoff == "linear":
        delay *= attempt
    elif retry.backoff == "exponential":
        delay *= retry.factor ** min(attempt - 1, 64)
    return min(delay, retry.max_delay) * random.uniform(1 - retry.jitter, 1 + retry.jitter)


def _covers(retry: Retry, fault: Exception) -> bool:
    names = {kind.__name__ for kind in type(fault).__mro__}
    return not retry.on or any(
        isinstance(fault, kind) if isinstance(kind, type) else kind in names for kind in retry.on
    )
