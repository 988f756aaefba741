"""Performing a scenario: its story is told, then everything is stopped, and a report says what held.

A performance is good when the story came to its end, every expectation held, and every worker stopped within its budget. One that was cut
short, by its duration or by whoever watches, is not: what it did not come to was not shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from setpoint.testing.scenarios.scene import Check, Move, News, Scenario, Scene, Unmet


class Report(msgspec.Struct, frozen=True):
    """What came of a performance. `seconds` are of the story's clock, `took` is real. `cut` says by what it was cut short, or is ""."""

    scenario: str
    shows: str
    virtual: bool
    seconds: float
    took: float
    cut: str
    checks: list[Check]
    left: list[str]  # the paths of the workers that did not stop in time
    moves: list[Move]
    store: dict[str, Any]  # what the store holds at the end

    @property
    def ok(self) -> bool:
        return not self.cut and not self.left and all(check.ok for check in self.checks)


async def perform(
    scenario: Scenario,
    *,
    tell: Callable[[News], None] = lambda news: None,
    duration: float | None = None,
    told_to_stop: asyncio.Event | None = None,
    trace: bool = False,
) -> Report:
    """Perform a scenario on the running loop, whose time may be virtual.

    `duration` is how long its workers are kept running, in seconds: a story that takes longer is cut short, and 0 means until told to
    stop; by default it is as long as the story takes. With `trace` every decision is told as well. Raises what a broken story raises,
    after everything has been stopped.
    """
    began = time.monotonic()
    scene = Scene(tell, trace=trace)
    async with scene.cleanup:
        try:
            cut = await _tell_story(scenario, scene, duration, told_to_stop or asyncio.Event())
        finally:
            left = await _stop(scene)
    return Report(
        scenario=scenario.name,
        shows=scenario.shows,
        virtual=scene.virtual,
        seconds=scene.now,
        took=time.monotonic() - began,
        cut=cut,
        checks=scene.checks,
        left=left,
        moves=scene.moves,
        store=scene.stored(),
    )


async def _tell_story(scenario: Scenario, scene: Scene, duration: float | None, told: asyncio.Event) -> str:
    """Tell the story, and keep what runs for as long as was asked. Returns by what it was cut short."""
    story = asyncio.ensure_future(_until_unmet(scenario.story(scene)))
    stop = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait({story, stop}, timeout=duration or None, return_when=asyncio.FIRST_COMPLETED)
        if not story.done():
            return "it was told to stop" if stop.done() else f"its {duration:g} s were over"
        story.result()
        if duration is not None and not stop.done():
            await asyncio.wait({stop}, timeout=max(0.0, duration - scene.now) if duration else None)
        return ""
    finally:
        for task in (story, stop):
            task.cancel()
        await asyncio.wait({story, stop})


async def _until_unmet(story: Any) -> None:
    try:
        await story
    except Unmet:
        return


async def _stop(scene: Scene) -> list[str]:
    if not scene.supervised:
        return []
    began = scene.now
    left = await scene.supervisor.stop()
    scene.expect(
        "told to stop, every worker stops within its budget",
        not left,
        f"did not: {', '.join(left)}" if left else f"after {scene.now - began:.1f} s",
    )
    return left


def on_virtual_time(scenario: Scenario, **options: Any) -> Report:
    """Perform a scenario on virtual time, in milliseconds; `options` are those of `perform`."""
    from setpoint.testing import run

    performance: Coroutine[Any, Any, Report] = perform(scenario, **options)
    return run(performance)
