"""The numbers of the runtime, in one place. Seconds unless said otherwise. Defaults are those of DESIGN section 2."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How long things may take and how often they are tried again."""

    stale_after: float = 10.0
    """An observation older than this: the worker acts no more and shows stale."""
    hung_observations: int = 3
    """So many observations in a row that had to be abandoned open the worker's circuit."""
    action_timeout: float = 30.0
    actions_at_once: int = 10
    """Actions in flight for one worker, hung ones included."""
    faults: int = 3
    fault_window: float = 300.0
    """So many exceptions in the worker's own derive, decide or children code within the window open its circuit."""
    retry_first: float = 1.0
    retry_cap: float = 60.0
    """A failed action, a failed creation and an open circuit are tried again after `retry_first`, doubling up to `retry_cap`, for ever."""
    restarts: int = 5
    restart_window: float = 60.0
    """Starts that follow upon one another within the window: after so many, each further one waits, ever longer, up to `retry_cap`."""
    restart_timeout: float = 30.0
    """A worker that is to be made anew and has not stopped by then is made anew as it is."""
    resume_patience: float = 5.0
    """After a restart of the agent a worker waits so long for those it looks at, before it goes on in its stored state."""
    moves_at_once: int = 16
    """So many moves in one evaluation are a machine that never comes to rest; it goes on after a pause."""
    looks_at_once: int = 100
    """So many evaluations of one worker at one moment are workers that keep changing each other; they go on after a pause."""
    resync: float = 60.0
    """Every worker is looked at again after so long, whatever happened: a lost wake-up is late, never lost."""
    shutdown_per_level: float = 2.0
    """The shutdown budget is this times the height of the tree."""

    def backoff(self, failures: int, jitter: random.Random) -> float:
        """Seconds to wait after so many failures in a row: doubling, capped, with up to a quarter taken off at random."""
        wait = min(self.retry_cap, self.retry_first * 2.0 ** min(failures - 1, 30))
        return wait * (1.0 - 0.25 * jitter.random())
