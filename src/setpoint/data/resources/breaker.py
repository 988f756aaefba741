"""Two things that protect a service from us, shared by all handles of a resource: a circuit breaker and a rate limit.

Both are safe to use from threads and from event loops: they say what to do, and never wait themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from setpoint.data.resources.provider import ResourceError


class BreakerOpen(ResourceError):
    """The service failed too often; it is not asked again for a while. The message says for how long."""


class Breaker:
    """Opens after `failures` failures in a row, for `seconds`; then lets one call through: if it succeeds all may follow, else it opens
    again.

    ::

        closed -failures-> open -seconds-> half-open -success-> closed
                            ↑──────────────────┘ failure
    """

    def __init__(
        self, name: str, *, failures: int = 5, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if failures < 1:
            raise ValueError(f"a breaker opens after at least one failure, not {failures}")
        self._name, self._limit, self._seconds, self._clock = name, failures, seconds, clock
        self._lock = threading.Lock()
        self._count = 0
        self._opened_at: float | None = None
        self._probing_since: float | None = None

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        with self._lock:
            if self._opened_at is None:
                return "closed"
            return "open" if self._clock() - self._opened_at < self._seconds else "half-open"

    def enter(self) -> None:
        """Called before each call. Raises `BreakerOpen`. Whoever enters reports `success` or `failure` afterwards."""
        with self._lock:
            if self._opened_at is None:
                return
            now = self._clock()
            left = self._opened_at + self._seconds - now
            if left > 0:
                raise BreakerOpen(
                    f"{self._name} failed {self._count} times in a row; it is asked again in {left:.1f} s"
                )
            if self._probing_since is not None and now - self._probing_since < self._seconds:
                raise BreakerOpen(
                    f"{self._name} failed {self._count} times in a row; one call tries whether it is back"
                )
            self._probing_since = now

    def success(self) -> None:
        """The call succeeded, or failed in a way that is not the service's fault."""
        with self._lock:
            self._count = 0
            self._opened_at = self._probing_since = None

    def failure(self) -> None:
        """The call failed."""
        with self._lock:
            self._count += 1
            if self._count >= self._limit:
                self._opened_at = self._clock()
                self._probing_since = None

    def nothing(self) -> None:
        """The call ended without an answer (cancelled): another one may try."""
        with self._lock:
            self._probing_since = None


class RateLimit:
    """At most `per_second` calls a second on average, `burst` at once: the generic cell rate algorithm (ITU-T I.371)."""

    def __init__(self, per_second: float, *, burst: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        if not per_second > 0 or burst < 1:
            raise ValueError(
                f"a rate limit allows some calls a second, at least one at once; not {per_second}/s, {burst}"
            )
        self._interval, self._burst, self._clock = 1.0 / per_second, burst, clock
        self._lock = threading.Lock()
        self._next = float("-inf")

    def reserve(self) -> float:
        """Takes the next free moment for a call; the seconds until then. Callers get their moments in the order in which they asked."""
        with self._lock:
            now = self._clock()
            earliest = max(self._next, now)
            self._next = earliest + self._interval
            return max(0.0, earliest - now - self._interval * (self._burst - 1))
