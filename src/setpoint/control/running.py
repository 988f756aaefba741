"""Running a tree of workers from a script: a line in the terminal for each transition, until Ctrl-C.

    supervise([ChildSpec("hello", "candle")], {"candle": Candle})

The first SIGINT or SIGTERM tells every worker to stop and waits until all have, within the budget; the second ends the process at once, as
it would any program that does not listen to it: no call and no code that blocks the loop can keep it. This is the smallest program around
a supervisor; the agent (``setpoint up``) is the complete one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from setpoint.control.record import Record
from setpoint.control.registry import Factory, Registry
from setpoint.control.supervisor import Supervisor
from setpoint.control.worker import ChildSpec
from setpoint.store import Transition

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST_WAIT_S = 1.0
"""Calls that were cancelled get so long to end before the process leaves without them."""


def supervise(specs: Sequence[ChildSpec], types: Registry | Mapping[str, Factory], *, root: str = "agent") -> None:
    """Keep the workers where they are wanted until SIGINT or SIGTERM, and stop them then. Prints each transition to stdout.

    `types` are the worker types that the specs name: a registry, or worker classes and functions that make workers by name. Returns when
    all have stopped; raises `SystemExit` with code 1 when one has not, which is named on stderr. For the main thread, outside of any
    event loop; the signals do afterwards what they did before. Raises `ValueError` when two workers have the same name.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        left = asyncio.run(_supervise(specs, types, root))
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if left:
        raise SystemExit(1)


async def _supervise(specs: Sequence[ChildSpec], types: Registry | Mapping[str, Factory], root: str) -> list[str]:
    supervisor = Supervisor(_registry(types), root=root)
    supervisor.listen(_tell)
    told = _told_to_stop()
    supervisor.want(specs)
    await told.wait()
    print("stopping; once more to stop at once", file=sys.stderr, flush=True)
    left = await supervisor.stop()
    for path in left:
        print(f"did not stop in time: {path}", file=sys.stderr, flush=True)
    await _leave_if_stuck()
    return left


def _registry(types: Registry | Mapping[str, Factory]) -> Registry:
    if isinstance(types, Registry):
        return types
    registry = Registry()
    for name, factory in types.items():
        registry.add(name, factory)
    return registry


def _told_to_stop() -> asyncio.Event:
    """Set at the first signal; from then on signals do what they do to any process.

    The handlers are plain ones, not the loop's: they are called even while something blocks the loop.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def obey(number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)  # not Python's, whose KeyboardInterrupt waits for every call to end
        loop.call_soon_threadsafe(told.set)

    for number in SIGNALS:
        signal.signal(number, obey)
    return told


def _tell(record: Record, transition: Transition | None) -> None:
    """One line: when, who, from where to where, why. What is not printable is shown as an escape: reasons may quote a device."""
    if transition is None:
        return
    at = time.strftime("%H:%M:%S", time.localtime(transition.at))
    path = transition.path.partition("/")[2]
    line = f"{at}  {path:<20}  {f'{transition.source} → {transition.target}':<28}  {transition.reason}"
    print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line), flush=True)


async def _leave_if_stuck() -> None:
    """End the process at once where a call ignores its cancellation: closing the loop would wait for it for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others and (await asyncio.wait(others, timeout=LAST_WAIT_S))[1]:
        print("a call ignores its cancellation; left without it", file=sys.stderr, flush=True)
        os._exit(1)
