"""A flow in the embedded engine: what it says of itself, read from memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from setpoint.control.worker import Context
from setpoint.flows import FlowEngine, FlowStatus
from setpoint.workers.flow.seen import FlowObserved, FlowSpec, steady

LOOKS_FOR_RATES = 6
JUST_NOW_S = 2.0
"""So long after a message a flow still counts as moving: one that reads once a second must not seem to stop between two looks."""


class Failures(NamedTuple):
    """How many messages failed between two looks, by side."""

    at: float
    input: int
    processor: int
    output: int
    overflow: int


def _fault(status: FlowStatus) -> str:
    """Why the flow is not up, or not connected; "" when it is both."""
    if status.running:
        return "" if status.input_connected and status.output_connected else status.last_error
    return "" if status.finished else status.last_error or "the flow has ended"


def _just_now(status: FlowStatus, now: float) -> bool:
    return status.last_received_at is not None and now - status.last_received_at < JUST_NOW_S


class Embedded:
    """One flow in the engine, under a name. `context` is that of its worker."""

    def __init__(self, engine: FlowEngine, context: Context, name: str) -> None:
        self._engine, self._context, self._name = engine, context, name
        self._wanted_config: tuple[Mapping[str, Any], str] | None = None  # what the engine was last asked to run
        self._unwatch: Callable[[], None] | None = None
        self._before = FlowStatus()
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=LOOKS_FOR_RATES)
        self._failures: deque[Failures] = deque(maxlen=1000)
        self._in_per_s = self._out_per_s = 0.0

    async def look(self, desired: FlowSpec) -> FlowObserved:
        """Read the engine's counters, from memory."""
        status = self._engine.status(self._name)
        if status is None:
            self._forget()
            return FlowObserved(fault="not started")
        now = asyncio.get_running_loop().time()
        before, self._before = (self._before if self._before.started_at == status.started_at else FlowStatus()), status
        in_per_s, out_per_s = self._rates(status, now)
        self._in_per_s, self._out_per_s = steady(in_per_s, self._in_per_s), steady(out_per_s, self._out_per_s)
        up = status.running or status.finished
        return FlowObserved(
            up=up,
            current=self._wanted_config == (desired.config, desired.bridged_by),
            finished=status.finished,
            uptime_s=min(now - status.started_at, max(desired.config_loading_s, desired.remain_running_s)),
            input_connected=status.input_connected,
            output_connected=status.output_connected,
            moving=status.input_received > before.input_received or _just_now(status, now),
            in_per_s=self._in_per_s,
            out_per_s=self._out_per_s,
            ended_after=status.input_received if status.finished else 0,
            errors=self._recent_errors(status, before, now, desired.error_window_s),
            fault=_fault(status),
        )

    def _rates(self, status: FlowStatus, now: float) -> tuple[float, float]:
        """Messages per second in and out, over the last few looks."""
        self._looks.append((now, status.input_received, status.output_sent))
        at, received, sent = self._looks[0]
        seconds = now - at
        if seconds <= 0:
            return 0.0, 0.0
        return round(max(0, status.input_received - received) / seconds, 1), round(
            max(0, status.output_sent - sent) / seconds, 1
        )

    def _recent_errors(self, status: FlowStatus, before: FlowStatus, now: float, window: float) -> str:
        """What failed within the window, in words; "" when nothing did. Lost connections are told by `input_connected`."""
        failed = Failures(
            now,
            status.input_errors - before.input_errors,
            status.processor_errors - before.processor_errors,
            status.output_errors - before.output_errors,
            status.overflowed - before.overflowed,
        )
        if any(failed[1:]):
            self._failures.append(failed)
        while self._failures and now - self._failures[0].at >= window:
            self._failures.popleft()
        if not self._failures:
            return ""
        counts = (sum(row[kind] for row in self._failures) for kind in range(1, len(Failures._fields)))
        kinds = ("input errors", "processor errors", "output errors", "messages left out of a full buffer")
        told = [f"{count} {kind}" for kind, count in zip(kinds, counts, strict=True) if count]
        return f"{', '.join(told)} in the last {window:g} s: {status.last_error}"

    def _forget(self) -> None:
        self._before = FlowStatus()
        self._looks.clear()
        self._failures.clear()

    async def start(self, desired: FlowSpec) -> None:
        """Have the engine run the flow that is wanted. Idempotent."""
        if self._unwatch is None:
            self._unwatch = self._engine.watch(self._name, lambda status: self._context.observe())
        await self._engine.start(self._name, desired.config, bridged_by=desired.bridged_by)
        self._wanted_config = (desired.config, desired.bridged_by)

    async def stop(self) -> None:
        """Have the engine deliver what was read and end the flow. Idempotent."""
        await self._engine.stop(self._name)

    async def close(self) -> None:
        """End the flow, if it still runs, and the watch on it."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        await self._engine.stop(self._name)
