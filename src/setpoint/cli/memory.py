"""The garbage collector of a process that is an agent and nothing else.

Most of an agent's objects live as long as it does, and what comes and goes (messages, snapshots, effects) has no cycles and is freed at
once. Looking through everything again and again for cycles stops the event loop for tenths of a second with a thousand bridges. So the
collector looks less often, and what is there once the agent has settled is left out for good.
"""

from __future__ import annotations

import gc

SETTLED_AFTER_S = 30.0
THRESHOLDS = (20_000, 20, 50)
"""Objects more than before, and looks at the younger generations, before a generation is looked through. Python's are 700, 10, 10."""


async def settle(after: float = SETTLED_AFTER_S) -> None:
    """Look less often from now on, and `after` seconds from now leave out what is there by then."""
    import asyncio

    gc.set_threshold(*THRESHOLDS)
    await asyncio.sleep(after)
    gc.collect()
    gc.freeze()
