"""What functions answer, and what that means: yes, no, not an answer at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from types import CoroutineType
from typing import Any, Final

from setpoint.data.errors import NoOpenArc, NotAwaited, Refused, TimedOut
from setpoint.data.result import DROP, Several
from setpoint.data.rows import Row, Step
from setpoint.machine import Verdict

UNUSUAL: Final = frozenset({type(None), Several, type(DROP), CoroutineType})
"""The types of what a transform may return that is not the record."""


def is_open(answer: Any) -> bool:
    """What the answer of a condition means. Raises `NotAwaited` for a coroutine."""
    if isinstance(answer, CoroutineType):
        answer.close()
        raise NotAwaited
    return bool(answer)


def no_open_arc(row: Row | None) -> NoOpenArc:
    """The error of a record for which every way out of that state is closed."""
    tried = ", ".join(way.text for way in row.ways) if row else ""
    return NoOpenArc(f"no arc is open for the record; tried: {tried}")


def judge(step: Step | None, out: Any) -> None:
    """Raises where the answer of a gate or validator is a no, or no answer."""
    name = step.name if step else ""
    if isinstance(out, Verdict):
        if not out.ok:
            raise Refused(out.because or f"{name} said no")
    elif out is False or (type(out).__name__ in ("bool_", "bool") and not out):  # numpy's False is another one
        raise Refused(f"{name} said no")
    elif isinstance(out, CoroutineType):
        out.close()
        raise NotAwaited
    elif isinstance(out, Mapping):
        raise TypeError(f"{name} returned a mapping: it may only say yes or no; what changes the record is a transform")


async def within(pending: Awaitable[Any], seconds: float) -> Any:
    """What it gives, if it does so in time. Raises `TimedOut`, having cancelled it."""
    try:
        async with asyncio.timeout(max(seconds, 0.0)) as limit:
            return await pending
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimedOut(f"it did not end in time; {seconds:g} s were left to it") from error
