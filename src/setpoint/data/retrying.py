"""When what failed is tried again, and how long after: what a `Retry` says, for states, arcs and resources."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from setpoint.data.definition import Retry


def pause_after(
    retry: Retry | None,
    fault: Exception | Collection[str] | None,
    attempt: int,
    *,
    chance: Callable[[], float] = random.random,
) -> float | None:
    """Seconds to wait after this attempt (1, 2, …) failed; None when it was the last, or the fault is not one to try again after.

    A fault that is not known (None) is one of no type; of one from before a restart only the names of its types are left. `chance` gives
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


def kinds_of(fault: Exception) -> tuple[str, ...]:
    """The names of all the types it is one of, the nearest first, without those that every error is one of."""
    return tuple(kind.__name__ for kind in type(fault).__mro__ if kind not in (Exception, BaseException, object))


def _covers(retry: Retry, fault: Exception | Collection[str] | None) -> bool:
    if not retry.on:
        return True
    if fault is None:
        return False
    if isinstance(fault, Exception):
        names: Collection[str] = {kind.__name__ for kind in type(fault).__mro__}
        return any(isinstance(fault, kind) if isinstance(kind, type) else kind in names for kind in retry.on)
    known = {*fault, Exception.__name__}
    return any((kind.__name__ if isinstance(kind, type) else kind) in known for kind in retry.on)
