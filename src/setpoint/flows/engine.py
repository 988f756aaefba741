"""Runs flows: many of them in one event loop, none of them able to stop another.

A flow has a name and a configuration. `start` and `stop` say what shall be, and are idempotent; `status` reads what is, from memory;
`watch` tells when that changed. How a flow works is in `setpoint.flows.runner`, what it is made of in `setpoint.flows.component`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from setpoint.flows.component import Context
from setpoint.flows.config import FlowConfigError, FlowProblem
from setpoint.flows.letters import LetterFile
from setpoint.flows.plan import FlowPlan, compile_flow
from setpoint.flows.runner import Flow
from setpoint.flows.status import FlowStatus
from setpoint.services import Contacts

if TYPE_CHECKING:
    from setpoint.namespace import Broker
    from setpoint.namespace.contracts import ContractBook

__all__ = ["FlowEngine", "FlowStatus"]

log = logging.getLogger("setpoint.flows")

Watcher = Callable[[FlowStatus], object]


class FlowEngine:
    """Runs flows by name in the running event loop. All methods are for that loop's thread."""

    def __init__(
        self,
        broker: Broker | None = None,
        *,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] | None = None,
        rng: random.Random | None = None,
        contacts: Contacts | None = None,
        contracts: ContractBook | None = None,
        letters: Path | None = None,
        base: Path | None = None,
    ) -> None:
        """`broker` is where `uns` outputs write; without one a flow with such an output is refused. It is the caller's to open and close.

        `clock` gives wall time in seconds (message timestamps); `now` monotonic time (default: the loop's); `rng` the jitter.
        `contacts` is told of every device that answers a flow. `contracts` are what `uns` outputs check messages against.
        `letters` is the folder in which flows without a ``dead_letter`` output keep some of what failed; without it they only count it.
        `base` is where the relative paths of files that a flow consists of begin; that of the process by default.
        """
        self._broker = broker
        self._clock = clock
        self._now = now or self._loop_time
        self._time: Callable[[], float] | None = None
        self._rng = rng or random.Random()
        self._contacts = contacts or Contacts()
        self._contracts = contracts
        self._letters = letters
        self._base = base
        self._flows: dict[str, Flow] = {}
        self._watchers: dict[str, list[Watcher]] = {}
        self._news: dict[str, tuple[float, asyncio.Handle]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def compile(self, config: Mapping[str, Any]) -> FlowPlan:
        """The checked flow with its machine (`FlowPlan.machine`), nothing opened. Raises `FlowConfigError` with all faults at once."""
        plan = compile_flow(config, base=self._base)
        ends = [
            end for end in (plan.config.input, plan.config.output, plan.config.dead_letter) if end and end.kind == "uns"
        ]
        if ends and self._broker is None:
            raise FlowConfigError([FlowProblem(end.path, "there is no broker", "give the engine one") for end in ends])
        return plan

    async def start(self, name: str, config: Mapping[str, Any], *, bridged_by: str = "") -> None:
        """Have this flow running with this config. Idempotent, returns without waiting for a connection.

        Same config, running or finished: nothing happens. Another config (or `bridged_by`): the old flow is drained (at most 5 s) and
        replaced. A failed flow is started again. Raises `FlowConfigError`; what ran before then goes on.
        """
        async with self._turn(name):
            old = self._flows.get(name)
            if old and old.going and old.plan.source == config and old.bridged_by == bridged_by:
                return
            plan = self.compile(config)
            if old:
                await old.stop(5.0)
            context = Context(
                flow=name,
                bridged_by=bridged_by,
                broker=self._broker,
                clock=self._clock,
                now=self._now,
                random=self._rng.random,
                failed=_nowhere,
                answered=lambda host, port: self._contacts.heard(host, port, self._now()),
                contracts=self._contracts,
            )
            self._flows[name] = Flow(
                name,
                plan,
                context=context,
                rng=self._rng,
                news=lambda delay: self._tell_later(name, delay),
                letters=LetterFile(self._letters, name, self._clock) if self._letters else None,
            )
            self._tell_later(name, 0.0)

    async def stop(self, name: str, *, timeout: float = 5.0) -> None:
        """Have this flow gone: what was read is delivered within `timeout` seconds, then it is cut off. Idempotent, never hangs.

        Afterwards `status(name)` is None; watchers get the last status.
        """
        async with self._turn(name):
            flow = self._flows.get(name)
            if flow is None:
                return
            await flow.stop(timeout)
            del self._flows[name]
            self._tell(name, flow.status)

    def status(self, name: str) -> FlowStatus | None:
        """A reading of the flow (memory only), or None when there is no such flow."""
        flow = self._flows.get(name)
        return flow.status if flow else None

    def names(self) -> tuple[str, ...]:
        """The names of all flows that were started and not stopped."""
        return tuple(self._flows)

    def watch(self, name: str, callback: Watcher) -> Callable[[], None]:
        """Call `callback(status)` in the loop when something that matters changed in the flow of that name; returns what ends it.

        What matters: a connection came up or was lost, the first message after silence (5 s), an error, the flow started or ended. Bursts
        are merged; errors alone are told at most ten times a second. A watch may precede the start and survives stops and replacements.
        """
        self._watchers.setdefault(name, []).append(callback)

        def unwatch() -> None:
            watchers = self._watchers.get(name, [])
            if callback in watchers:
                watchers.remove(callback)
            if not watchers:
                self._watchers.pop(name, None)

        return unwatch

    async def close(self, *, timeout: float = 5.0) -> None:
        """Stop all flows at once, each within `timeout` seconds. The broker stays open."""
        await asyncio.gather(*(self.stop(name, timeout=timeout) for name in self.names()))

    def _loop_time(self) -> float:
        """Time of the loop that flows run in. It is asked for many times a message, and finding the loop takes longer than asking it."""
        if self._time is None:
            self._time = asyncio.get_running_loop().time
        return self._time()

    def _turn(self, name: str) -> asyncio.Lock:
        """Starts and stops of one flow happen one after the other."""
        return self._turns.setdefault(name, asyncio.Lock())

    def _tell_later(self, name: str, delay: float) -> None:
        """Tells the watchers once after `delay` seconds, or sooner where something more urgent comes."""
        if name not in self._watchers:
            return
        pending = self._news.get(name)
        if pending and pending[0] <= delay:
            return
        if pending:
            pending[1].cancel()
        loop = asyncio.get_running_loop()
        handle = loop.call_later(delay, self._tell_now, name) if delay else loop.call_soon(self._tell_now, name)
        self._news[name] = (delay, handle)

    def _tell_now(self, name: str) -> None:
        self._news.pop(name, None)
        flow = self._flows.get(name)
        if flow:
            self._tell(name, flow.status)

    def _tell(self, name: str, status: FlowStatus) -> None:
        for callback in tuple(self._watchers.get(name, ())):
            try:
                callback(status)
            except Exception:
                log.exception("a watcher of flow %s failed", name)


def _nowhere(reason: str) -> None:
    """Where readings that failed go before a flow takes the context as its own."""
