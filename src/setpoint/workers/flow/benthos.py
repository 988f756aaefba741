"""A flow in a process of the real Benthos: what its process, its endpoints and its log say of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from setpoint.control.worker import Context
from setpoint.services.benthos.config import BenthosConfigError, Level
from setpoint.services.benthos.facts import FlowFacts, connected, metrics_trouble, unhealthy
from setpoint.services.benthos.flows import BenthosFlows, Look, Refused, Rejected
from setpoint.services.ports import NoPort
from setpoint.services.processes import ProcessError
from setpoint.workers.flow.seen import REJECTED, FlowObserved, FlowSpec, steady


class Benthos:
    """One flow on Benthos. `context` is that of its worker."""

    def __init__(self, flows: BenthosFlows, context: Context) -> None:
        self._flows, self._context = flows, context
        self._refused = ""  # why the last start came to nothing
        self._refused_config: object = None
        self._unwatch: Callable[[], None] | None = None
        self._in_per_s = self._out_per_s = 0.0

    async def look(self, desired: FlowSpec) -> FlowObserved:
        """Ask the process, its endpoints and its log."""
        try:
            seen = await self._flows.look(self._context.path, desired.config, level=_level(desired))
        except (BenthosConfigError, ProcessError, OSError) as error:
            return FlowObserved(engine="benthos", fault=str(error))
        facts, counters = seen.facts, seen.facts.scan.metrics
        longest = max(desired.config_loading_s, desired.remain_running_s)
        self._in_per_s = steady(facts.in_per_s, self._in_per_s)
        self._out_per_s = steady(facts.out_per_s, self._out_per_s)
        return FlowObserved(
            engine="benthos",
            up=facts.running or seen.finished,
            current=seen.current and not facts.other_config,
            finished=seen.finished,
            uptime_s=longest if seen.finished else min(facts.uptime_s, longest),
            input_connected=connected(facts, "input"),
            output_connected=connected(facts, "output"),
            moving=facts.moving,
            in_per_s=self._in_per_s,
            out_per_s=self._out_per_s,
            ended_after=counters.counters.input_received if counters and seen.finished else 0,
            errors=_errors(facts),
            fault=self._fault(seen, desired),
        )

    def _fault(self, seen: Look, desired: FlowSpec) -> str:
        """Why it does not run as wanted; "" when it does."""
        facts = seen.facts
        if seen.finished:
            return ""
        if self._refused and not seen.current and self._refused_config == desired.config:
            return self._refused
        if not facts.running:
            why = facts.log.config_error or facts.log.error
            return f"the process is {seen.state}" + (f": {why}" if why else "")
        return facts.log.config_error or facts.port_lost or unhealthy(facts)

    async def start(self, desired: FlowSpec) -> None:
        """Have the process run the flow that is wanted; one that is refused leaves what runs as it is. Idempotent."""
        try:
            await self._flows.start(self._context.path, desired.config, level=_level(desired))
        except (Refused, BenthosConfigError, ProcessError, NoPort) as error:
            self._refused_config = desired.config
            self._refused = f"{REJECTED if isinstance(error, Rejected) else ''}{error}"
            raise
        self._refused = ""
        if self._unwatch is None:
            self._unwatch = self._flows.listen(self._context.path, self._context.observe)

    async def stop(self) -> None:
        """Have it deliver what it read and end. Idempotent."""
        await self._flows.stop(self._context.path)

    async def close(self) -> None:
        """End it for good, with its file and its port."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        await self._flows.remove(self._context.path)


def _level(desired: FlowSpec) -> Level:
    return "DEBUG" if desired.debug else "INFO"


def _errors(facts: FlowFacts) -> str:
    """What failed lately, with the moment at which it clears: a time that stays the same while it is waited for."""
    clears = time.strftime("%H:%M:%S", time.localtime(facts.log.clears_at))
    log = f"found error (clears at {clears}): {facts.log.error}" if facts.log.error else ""
    return "; ".join(filter(None, (metrics_trouble(facts), log)))
