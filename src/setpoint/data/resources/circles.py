"""Runs that wait for each other: found at the moment when the circle would close."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setpoint.data.resources.pool import Pool


class Circles:
    """Finds runs that wait for each other. Knows the pools that share its lock; that lock is held by whoever asks."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pools: list[Pool] = []

    def forget(self, pools: Iterable[Pool]) -> None:
        """These pools are no longer used."""
        with self.lock:
            self.pools = [pool for pool in self.pools if pool not in set(pools)]

    def around(self, run: str) -> list[str]:
        """The runs that keep `run` waiting for ever, itself not among them; empty when it can go on sooner or later.

        A run that does not wait can end and give back what it holds; one that waits for a pool can go on when the pool has a handle that
        nobody holds, or when one of those who hold one can. What is left when nothing more follows is stuck.
        """
        if not any(pool.has(run) for pool in self.pools):
            return []
        waiting = [(waits, pool) for pool in self.pools for waits in pool.waiting()]
        stuck = {waits for waits, _ in waiting}
        while freed := {waits for waits, pool in waiting if waits in stuck and not pool.holders() <= stuck}:
            stuck -= freed
        return sorted(stuck - {run}) if run in stuck else []
