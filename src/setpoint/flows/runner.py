"""One flow at work: read a batch, carry each message through the plan, write, acknowledge, read on.

One batch is out at a time, so memory is bounded and the order is kept. A batch is acknowledged to the input only after the output took
it. While the output fails the batch is kept and written again, later and later (capped, jittered), and the input waits. A component that
loses its connection is connected again in the same manner. A fault of a component ends this flow, with the reason in its status; a
message that cannot be handled ends in `failed`, is counted, and the flow goes on.

The loop is shared with other flows. After 5 ms of work on messages the flow lets others go first; after work that took longer than that
in one go it waits as long as it worked, so that a script that always runs into its limit takes at most half of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from setpoint.data import DROPPED, Plan, Result
from setpoint.flows.component import ConnectError, Context, Input, Msg, Output, WriteError
from setpoint.flows.plan import DONE, OUTPUT, FlowPlan
from setpoint.flows.status import FlowStatus

log = logging.getLogger("setpoint.flows")

SLICE: Final = 0.005
"""Seconds of work on messages before others go first."""
SILENCE: Final = 5.0
"""Seconds without a message after which the next one is news."""
SLOW_WRITE: Final = 10.0
"""Seconds after which a write that still waits is reported."""
CLOSE_TIMEOUT: Final = 2.0
CUT_OFF_GRACE: Final = 1.0
ERROR_NEWS_DELAY: Final = 0.1


class Backoff:
    """How long to wait before the next attempt: doubling from `first` to `cap` seconds, each wait half to all of that."""

    def __init__(self, rng: random.Random, *, first: float = 0.1, cap: float = 5.0) -> None:
        self._rng, self._first, self._cap, self._next = rng, first, cap, first

    def reset(self) -> None:
        self._next = self._first

    async def wait(self) -> None:
        delay = self._next * (0.5 + 0.5 * self._rng.random())
        self._next = min(self._next * 2, self._cap)
        await asyncio.sleep(delay)


class Flow:
    """A flow from its start to its end. `status` can be read at any time; `news(delay)` is called when something that matters changed."""

    def __init__(
        self, name: str, plan: FlowPlan, *, context: Context, rng: random.Random, news: Callable[[float], None]
    ) -> None:
        self.name = name
        self.plan = plan
        self.bridged_by = context.bridged_by
        self.status = FlowStatus(running=True, started_at=context.now())
        self._now = context.now
        self._news = news
        context = msgspec.structs.replace(context, failed=self._reading_failed)
        config = plan.config
        self._input: Input = config.input.make(config.input.fields, context)
        self._output: Output = config.output.make(config.output.fields, context)
        self._processors = {
            component.name: component.make(component.fields, context) for component in config.processors
        }
        self._steps = Plan(plan.machine, {**self._processors, OUTPUT: self._output.prepare})
        self._input_backoff, self._output_backoff = Backoff(rng), Backoff(rng)
        self._worked = 0.0
        self._in_hand = False
        self._stopping = False
        self._cut_off = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"flow {name}")

    @property
    def going(self) -> bool:
        """Whether a start with the same configuration has nothing to do: it runs, or did all there was to do."""
        return not self._stopping and (self.status.running or self.status.finished)

    async def stop(self, timeout: float) -> None:
        """Deliver what was read, within `timeout` seconds; then cut off. Idempotent; never takes much longer than that."""
        self._stopping = True
        if not self._in_hand and not self._task.done():
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=timeout)
        if not self._task.done():
            self._cut_off = True
            self._note("stopped before all that was read could be delivered")
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CUT_OFF_GRACE)
        if self.status.running:  # it was stopped before its first step, or does not let itself be cut off
            self._set(running=False, ended_at=self._now(), input_connected=False, output_connected=False)

    async def _run(self) -> None:
        finished = False
        try:
            finished = await self._until_stopped()
            await self._flush()
        except asyncio.CancelledError:
            if not self._stopping:
                self._note("its task was cancelled from outside")
        except Exception as error:
            finished = False
            log.exception("flow %s ended", self.name)
            self._note(f"flow ended: {type(error).__name__}: {error}")
        finally:
            await self._close()
            ended = {"running": False, "finished": finished, "ended_at": self._now()}
            self._set(**ended, input_connected=False, output_connected=False)
            self._news(0.0)

    async def _until_stopped(self) -> bool:
        """Works until told to stop (False) or the input ends (True)."""
        try:
            await self._connect()
            while not self._stopping:
                batch = await self._read()
                if batch is None:
                    return True
                self._in_hand = True
                await self._deliver(await self._carry(batch))
                await self._input.acknowledge()
                self._in_hand = False
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping or self._cut_off or task is None:
                raise
            task.uncancel()
        return False

    async def _flush(self) -> None:
        """Delivers what processors hold back, each from its own place on."""
        self._in_hand = True
        for name, processor in self._processors.items():
            if hasattr(processor, "flush"):
                await self._deliver(await self._carry(processor.flush(), after=name))

    async def _connect(self) -> None:
        """Connects both sides at once; a fault of either is raised as it is."""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._connect_input())
                both.create_task(self._connect_output())
        except* Exception as faults:
            raise faults.exceptions[0]  # noqa: B904  # the group says nothing more

    async def _connect_input(self) -> None:
        while True:
            try:
                await self._input.connect()
            except ConnectError as error:
                self._set(input_connection_failed=self.status.input_connection_failed + 1)
                self._note(f"input {self.plan.config.input.name}: {error}")
                await self._input_backoff.wait()
            else:
                self._set(input_connected=True, input_connection_up=self.status.input_connection_up + 1)
                self._news(0.0)
                return

    async def _connect_output(self) -> None:
        while True:
            try:
                await self._output.connect()
            except ConnectError as error:
                self._write_failed(error)
                await self._output_backoff.wait()
            else:
                self._set(output_connected=True)
                self._news(0.0)
                return

    async def _read(self) -> list[Msg] | None:
        while True:
            try:
                batch = await self._input.read()
            except ConnectError as error:
                self._set(input_connected=False, input_connection_lost=self.status.input_connection_lost + 1)
                self._note(f"input {self.plan.config.input.name}: {error}")
                self._news(0.0)
                await self._input.close()
                await self._input_backoff.wait()
                await self._connect_input()
            else:
                break
        if batch:
            self._input_backoff.reset()
            now, last = self._now(), self.status.last_received_at
            self._set(input_received=self.status.input_received + len(batch), last_received_at=now)
            if last is None or now - last > SILENCE:
                self._news(0.0)
        return batch

    async def _carry(self, batch: Iterable[Msg], *, after: str = "") -> list[Any]:
        """What the output shall write of these messages; the others are counted."""
        ready: list[Any] = []
        for msg in batch:
            result = (
                await self._steps.arun(msg, after=after) if self._steps.is_async else self._steps.run(msg, after=after)
            )
            if result.final_state == DONE:
                ready.append(result.data)
            else:
                self._sort(result, ready)
            self._worked += result.duration
            if self._worked > SLICE:
                await self._let_others_go(result.duration)
        return ready

    def _sort(self, result: Result, ready: list[Any]) -> None:
        """Where the message, or each part of it, ended other than simply done."""
        for end in result.ends():
            if end.final_state == DONE:
                ready.append(end.data)
            elif end.final_state == DROPPED:
                self._set(dropped=self.status.dropped + 1)
            elif end.error and end.error.state == OUTPUT:
                status = self.status
                self._set(output_errors=status.output_errors + 1, output_set_aside=status.output_set_aside + 1)
                self._note(f"output {self.plan.config.output.name}: set aside: {end.error.message}")
            else:
                self._set(processor_errors=self.status.processor_errors + 1)
                where = (
                    f"processor {end.error.state}: {end.error.message}" if end.error else f"ended in {end.final_state}"
                )
                self._note(where)

    async def _let_others_go(self, took: float) -> None:
        self._worked = 0.0
        await asyncio.sleep(took if took > SLICE else 0)

    async def _deliver(self, ready: list[Any]) -> None:
        """Has the output take the messages, however long that takes."""
        alarm = None
        loop = asyncio.get_running_loop()
        while ready:
            try:
                if not self.status.output_connected:
                    await self._connect_output()
                alarm = loop.call_later(SLOW_WRITE, self._write_is_slow)
                size = await self._output.write(ready)
            except (WriteError, ConnectError) as error:
                self._write_failed(error)
                if isinstance(error, ConnectError):
                    self._set(output_connected=False)
                    await self._output.close()
                await self._output_backoff.wait()
            else:
                status = self.status
                sent, moved = status.output_sent + len(ready), status.output_bytes + size
                self._set(output_sent=sent, output_bytes=moved, last_sent_at=self._now())
                self._output_backoff.reset()
                return
            finally:
                if alarm is not None:
                    alarm.cancel()

    def _write_failed(self, error: Exception) -> None:
        self._set(output_errors=self.status.output_errors + 1)
        self._note(f"output {self.plan.config.output.name}: {error}")

    def _write_is_slow(self) -> None:
        self._write_failed(WriteError(f"has not taken a batch for {SLOW_WRITE:g} s; still waiting"))

    def _reading_failed(self, reason: str) -> None:
        self._set(input_errors=self.status.input_errors + 1)
        self._note(f"input {self.plan.config.input.name}: {reason}")

    def _note(self, error: str) -> None:
        self._set(last_error=error, last_error_at=self._now())
        self._news(ERROR_NEWS_DELAY)

    def _set(self, **changes: Any) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)

    async def _close(self) -> None:
        for component in (self._input, self._output):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await component.close()
