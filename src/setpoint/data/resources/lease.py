"""What a pool keeps: its limits, the handles that are out, the handles that lie idle."""

from __future__ import annotations

from typing import Any

import msgspec

from setpoint.data.definition import Retry
from setpoint.data.resources.provider import Owner


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a pool; times in seconds, None is without limit.

    `timeout` is how long a record waits for a handle (0: not at all), `waiting` how many may wait at once. `retry` is for making one that
    could not be made.
    """

    size: int | None = 10
    timeout: float | None = 30.0
    waiting: int | None = None
    idle: float | None = 300.0
    lifetime: float | None = 3600.0
    check_after: float = 30.0
    retry: Retry | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(f"a pool of {self.size} handles has none to give: size is at least 1")
        if self.waiting is not None and self.waiting < 0:
            raise ValueError(f"no fewer than 0 may wait for a handle, not {self.waiting}")

    def overflows(self, waiting: int) -> bool:
        """Whether so many are more than may wait."""
        return self.waiting is not None and waiting > self.waiting


class Lease(msgspec.Struct, eq=False):
    """A handle in the hands of its owner, from `since` (of the pool's clock) until it is given back."""

    resource: str
    handle: Any
    owner: Owner
    since: float
    made_at: float
    loop: object


class Idle(msgspec.Struct, eq=False):
    """A handle in nobody's hands. `suspect` when its last holder failed: then it is checked before it is used again."""

    handle: Any
    made_at: float
    idle_since: float
    suspect: bool
    loop: object
