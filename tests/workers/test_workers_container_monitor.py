"""The container monitor: over and below its limits and back, on virtual time, over the files of a control group."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.services.host_files import GB, Tree

from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.services import HostFigures, HostReader
from setpoint.testing import run, wall
from setpoint.workers.container_monitor import ContainerMonitor, ContainerMonitorSpec

MONITOR = "agent/box"


class Direct(HostReader):
    """Reads without a thread, for which virtual time would not wait."""

    async def read(self) -> HostFigures:
        return self._measure_and_keep()


class Box:
    """A container of two cores and 1 GB. Its counters go on with the clock, at the load that is set."""

    def __init__(self, folder: Path) -> None:
        self.tree = Tree(folder)
        self.load = 0.1  # of both cores
        self.throttled = 0.0  # of all periods
        self.memory = GB // 4
        self._used = self._periods = self._throttled = self._at = 0.0

    def clock(self) -> float:
        """The time, with the counters brought up to it."""
        now = asyncio.get_running_loop().time()
        seconds, self._at = now - self._at, now
        self._used += 2.0 * self.load * seconds
        self._periods += 10.0 * seconds
        self._throttled += 10.0 * self.throttled * seconds
        self.tree.cpu(self._used, periods=int(self._periods), throttled=int(self._throttled))
        self.tree.memory(self.memory, GB, cache=GB // 2)
        return now


Story = Callable[[Supervisor, Box], Coroutine[Any, Any, None]]


def scene(folder: Path, story: Story, **changes: Any) -> None:
    """Run a story with a monitor in it that has been active for a while, and stop it cleanly."""

    async def main() -> None:
        box = Box(folder)
        box.clock()
        reader = Direct(folder, mount=box.tree.mount, own=box.tree.own, clock=box.clock)
        registry = Registry(reader=reader)
        registry.add("container_monitor", ContainerMonitor)
        s = Supervisor(registry, wall=wall)
        s.want([ChildSpec("box", "container_monitor", ContainerMonitorSpec(disk_limit_percent=100.0, **changes))])
        assert await s.until(lambda s: s.core.fact(MONITOR).state == "active", 10.0)
        await asyncio.sleep(120)
        await story(s, box)
        assert await s.stop() == []

    run(main())


async def changes_within(s: Supervisor, state: str, seconds: float) -> float:
    """After how long the monitor is in the state."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await s.until(lambda s: s.core.fact(MONITOR).state == state, seconds), s.worker(MONITOR)
    return loop.time() - began


def test_it_begins_with_a_measurement_and_is_active_once_all_is_known(tmp_path: Path) -> None:
    """By the states and events of the contract; use of the processor needs a second look."""

    async def story(s: Supervisor, box: Box) -> None:
        moves = [(move.event, move.target) for move in s.journal.history(MONITOR)][2:]
        assert moves == [
            ("start_monitoring", "monitoring_starting"),
            ("start_monitoring_done", "degraded"),
            ("metrics_all_ok", "active"),
        ]
        assert s.worker(MONITOR).reason == ""

    scene(tmp_path, story)


def test_a_load_at_the_limit_for_as_long_as_the_hold_time_is_degraded_and_back_below_is_active(tmp_path: Path) -> None:
    """Both ways, with the figure and its limit; the mean that is compared lags by some seconds."""

    async def story(s: Supervisor, box: Box) -> None:
        box.load = 0.95
        assert 15.0 <= await changes_within(s, "degraded", 30.0) <= 23.0
        assert s.worker(MONITOR).reason == "metrics not ok: CPU 95 % (limit 85 %)"
        box.load = 0.2
        assert await changes_within(s, "active", 10.0) <= 7.0

    scene(tmp_path, story)


def test_a_load_that_is_over_before_the_hold_time_is_not_degraded(tmp_path: Path) -> None:
    """And the hold time begins anew with the next one."""

    async def story(s: Supervisor, box: Box) -> None:
        for _ in range(5):
            box.load = 1.0
            await asyncio.sleep(14.0)
            box.load = 0.0
            await asyncio.sleep(8.0)
        assert s.worker(MONITOR).transitions == 5  # created, and up to active

    scene(tmp_path, story)


def test_the_hold_time_is_that_of_the_spec(tmp_path: Path) -> None:
    """As are the limits."""

    async def story(s: Supervisor, box: Box) -> None:
        box.memory = GB // 2
        assert await changes_within(s, "degraded", 10.0) <= 4.5
        assert s.worker(MONITOR).reason == "metrics not ok: memory 50 % (limit 50 %)"
        box.memory = GB // 2 - GB // 100
        assert await changes_within(s, "active", 10.0) <= 2.0

    scene(tmp_path, story, hold_s=3.0, ram_limit_percent=50.0)


def test_file_cache_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Half of the limit is cache that can be taken back."""

    async def story(s: Supervisor, box: Box) -> None:
        box.memory = GB // 2 - 1
        await asyncio.sleep(60)
        assert s.core.fact(MONITOR).state == "active"
        assert s.worker(MONITOR).observed["figures"]["memory_percent"] == 50.0

    scene(tmp_path, story)


def test_throttling_is_forgotten_after_a_minute(tmp_path: Path) -> None:
    """The kernel's counter only grows; what counts is the last minute of it."""

    async def story(s: Supervisor, box: Box) -> None:
        box.throttled = 0.5
        await changes_within(s, "degraded", 40.0)
        assert "CPU throttling" in s.worker(MONITOR).reason
        box.throttled = 0.0
        assert await changes_within(s, "active", 70.0) <= 62.0

    scene(tmp_path, story)


def test_close_to_a_limit_is_a_warning(tmp_path: Path) -> None:
    """It stays active, and says so; the warning goes by itself."""

    async def story(s: Supervisor, box: Box) -> None:
        box.memory = 85 * GB // 100
        await asyncio.sleep(60)
        assert s.worker(MONITOR).state == "active"
        assert s.worker(MONITOR).reason == "warning: memory 85 % (limit 90 %)"
        box.memory = GB // 2
        await asyncio.sleep(3)
        assert s.worker(MONITOR).reason == ""

    scene(tmp_path, story)


def test_a_file_that_cannot_be_read_any_more_is_degraded_with_the_file(tmp_path: Path) -> None:
    """After the hold time; once it can be read again, all is well by itself."""

    async def story(s: Supervisor, box: Box) -> None:
        written, box.tree.memory = box.tree.memory, lambda *_, **__: None  # type: ignore[method-assign]
        box.tree.put("", "memory.current", "garbage\n")
        await changes_within(s, "degraded", 30.0)
        file = box.tree.mount / "memory.current"
        assert s.worker(MONITOR).reason == f"metrics not ok: memory: {file} says 'garbage'; expected a number of bytes"
        box.tree.memory = written  # type: ignore[method-assign]
        await changes_within(s, "active", 5.0)

    scene(tmp_path, story)


def test_counters_that_begin_anew_are_no_reason_to_be_degraded(tmp_path: Path) -> None:
    """The window begins anew and the figure is back within a moment."""

    async def story(s: Supervisor, box: Box) -> None:
        box._used = 0.0
        await asyncio.sleep(1.5)
        figures = s.worker(MONITOR).observed["figures"]
        assert figures["faults"] or figures["cpu_percent"] is not None
        await asyncio.sleep(60)
        assert s.worker(MONITOR).transitions == 5
        assert s.worker(MONITOR).observed["figures"]["cpu_percent"] == pytest.approx(10.0, abs=0.5)

    scene(tmp_path, story)


def test_told_to_stop_it_stops_and_its_figures_are_exported_while_it_runs(tmp_path: Path) -> None:
    """Every figure is a gauge of the worker; stopped, it shows no old ones."""

    async def story(s: Supervisor, box: Box) -> None:
        gauges = s.worker(MONITOR).tally.gauges
        assert gauges["cpu_percent"] == pytest.approx(10.0, abs=0.5)
        assert gauges["memory_total_bytes"] == GB
        s.want([ChildSpec("box", "container_monitor", ContainerMonitorSpec(desired_state="stopped"))])
        await changes_within(s, "monitoring_stopped", 5.0)
        assert [move.event for move in s.journal.history(MONITOR)][-2:] == ["stop_monitoring", "stop_monitoring_done"]
        assert s.worker(MONITOR).observed["figures"] is None
        assert math.isnan(s.worker(MONITOR).tally.gauges["cpu_percent"])

    scene(tmp_path, story)
