"""Who drives a walk: with an event loop, without one, or many walks in step.

A walk is a generator that yields awaitables. Sent what they gave, or thrown what they raised, it goes on; what it returns is the result. A
cancellation is thrown into it as well, so that it gives back what it holds before it ends.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from setpoint.data.result import Result
from setpoint.data.site import Pause

T = TypeVar("T")


def driven(walk: Generator[Any, Any, T]) -> T:
    """What the walk gives that has nothing to await."""
    try:
        next(walk)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("a plan without async functions waits for nothing")


async def adriven(walk: Generator[Any, Any, T]) -> T:
    """What the walk gives, with everything it yields awaited."""
    try:
        pending = walk.send(None)
        while True:
            try:
                value = await pending
            except BaseException as error:  # a cancellation too: what the walk holds is given back
                pending = walk.throw(error)
            else:
                pending = walk.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


def in_step(walks: Sequence[Generator[Any, Any, Result]]) -> Generator[Any, Any, list[Result]]:
    """Drives pausing walks together: all that stand before the same state go through it, then those before the next one."""
    results: dict[int, Result] = {}
    standing: dict[tuple[str, str], list[int]] = {("", ""): list(range(len(walks)))}
    try:
        while standing:
            here = next(iter(standing))
            for number in standing.pop(here):
                met = yield from _to_pause(walks[number])
                if isinstance(met, Pause):
                    standing.setdefault((met.token.network, met.token.state), []).append(number)
                else:
                    results[number] = met
    finally:
        for number, walk in enumerate(walks):
            if number not in results:
                yield from _cancelled(walk)
    return [results[number] for number in range(len(walks))]


def _to_pause(walk: Generator[Any, Any, Result]) -> Generator[Any, Any, Pause | Result]:
    try:
        met = walk.send(None)
        while not isinstance(met, Pause) or met.arc:
            if isinstance(met, Pause):
                met = walk.send(None)
                continue
            try:
                value = yield met
            except BaseException as error:
                met = walk.throw(error)
            else:
                met = walk.send(value)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    return met


def _cancelled(walk: Generator[Any, Any, Result]) -> Generator[Any, Any, None]:
    """Ends a walk that stands before a state, letting it give back what it holds."""
    try:
        met = walk.throw(CancelledError())
        while True:
            met = walk.send((yield met))
    except (StopIteration, CancelledError):
        return
