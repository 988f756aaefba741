"""One flow at work: read a batch, carry each message through the plan, write, acknowledge, read on.

Without a buffer one batch is out at a time, so memory is bounded and the order is kept; with one the flow reads ahead (`feed`). A batch is
acknowledged to the input only after the output took it, and whatever a processor still holds back. While the output fails the batch is
kept and written again (`sink`), and the input waits. A component that loses its connection is connected again in the same manner. A fault
of a component ends this flow, with the reason in its status; a message that cannot be handled ends in `failed`, is counted and set aside
(`letters`), and the flow goes on.

The loop is shared with other flows. After 5 ms of work on messages the flow lets others go first; after work that took longer than that
in one go it waits as long as it worked, so that a script that always runs into its limit takes at most half of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from setpoint.data import DROPPED, Plan, Result
from setpoint.flows.component import ConnectError, Connecting, Context, Holding, Input, MessageError, Msg
from setpoint.flows.feed import Batch, Feed
from setpoint.flows.letters import Letter, LetterFile
from setpoint.flows.plan import DONE, OUTPUT, FlowPlan
from setpoint.flows.sink import Backoff, Report, Sink
from setpoint.flows.status import FlowStatus

log = logging.getLogger("setpoint.flows")

SLICE: Final = 0.005
"""Seconds of work on messages before others go first."""
SILENCE: Final = 5.0
"""Seconds without a message after which the next one is news."""
CLOSE_TIMEOUT: Final = 2.0
CUT_OFF_GRACE: Final = 1.0
ERROR_NEWS_DELAY: Final = 0.1


class Carried(msgspec.Struct):
    """What became of messages: those the output shall write, what each of them came from, and those that failed."""

    ready: list[Any] = []
    origins: list[Msg] = []
    letters: list[Letter] = []


class Flow:
    """A flow from its start to its end. `status` can be read at any time; `news(delay)` is called when something that matters changed."""

    def __init__(
        self,
        name: str,
        plan: FlowPlan,
        *,
        context: Context,
        rng: random.Random,
        news: Callable[[float], None],
        letters: LetterFile | None = None,
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
        self._sink = Sink(config.output.make(config.output.fields, context), rng, self._told_by_output())
        self._processors = {
            component.name: component.make(component.fields, context) for component in config.processors
        }
        self._holding = [each for each in self._processors.values() if isinstance(each, Holding)]
        self._steps = Plan(plan.machine, {**self._processors, OUTPUT: self._sink.output.prepare})
        self._dead = (
            Sink(config.dead_letter.make(config.dead_letter.fields, context), rng, self._told_by_dead_letters())
            if config.dead_letter
            else None
        )
        self._letter_file = letters
        self._input_backoff, self._processor_backoff = Backoff(rng), Backoff(rng)
        self._feed: Feed | None = None
        self._owed = 0
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
        if self._feed is not None:
            self._feed.stop()
        elif not self._in_hand and not self._task.done():
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
            if self._feed is not None:
                self._feed.stop()
            await self._close()
            ended = {"running": False, "finished": finished, "ended_at": self._now()}
            self._set(**ended, input_connected=False, output_connected=False)
            self._news(0.0)

    async def _until_stopped(self) -> bool:
        """Works until told to stop (False) or the input ends (True)."""
        try:
            await self._connect()
            if self._holding or self.plan.config.buffer:
                self._feed = Feed(self._read, self.plan.config.buffer, self._overflowed)
            while not self._stopping or self._feed:
                batch = await self._next()
                if batch is None:
                    return not self._stopping
                self._in_hand = True
                await self._work(batch)
                self._in_hand = False
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping or self._cut_off or task is None:
                raise
            task.uncancel()
        return False

    async def _next(self) -> Batch | None:
        if self._feed is None:
            messages = await self._read()
            return None if messages is None else Batch(messages)
        moments = [moment for each in self._holding if (moment := each.due()) is not None]
        return await self._feed.get(max(0.0, min(moments) - self._now()) if moments else None)

    async def _work(self, batch: Batch) -> None:
        """Has the messages of a batch delivered, and what is due besides; acknowledges what nothing stands for any more."""
        self._owed += batch.owed
        await self._deliver(await self._carry(batch.messages))
        if self._holding:
            for name, processor in self._processors.items():
                if isinstance(processor, Holding) and (released := processor.release()):
                    await self._deliver(await self._carry(released, after=name))
        await self._acknowledge()

    async def _acknowledge(self) -> None:
        if not any(each.held for each in self._holding):
            while self._owed:
                self._owed -= 1
                await self._input.acknowledge()

    async def _flush(self) -> None:
        """Delivers what processors hold back, each from its own place on."""
        self._in_hand = True
        for name, processor in self._processors.items():
            if hasattr(processor, "flush"):
                await self._deliver(await self._carry(processor.flush(), after=name))
        await self._acknowledge()

    async def _connect(self) -> None:
        """Connects processors, which may look at what the input is going to read, then both sides at once. Faults go to the caller."""
        for name, processor in self._processors.items():
            if isinstance(processor, Connecting):
                await self._connect_processor(name, processor)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._connect_input())
                both.create_task(self._sink.connect())
        except* Exception as faults:
            raise faults.exceptions[0]  # noqa: B904  # the group says nothing more

    async def _connect_processor(self, name: str, processor: Connecting) -> None:
        while True:
            try:
                return await processor.connect()
            except ConnectError as error:
                self._set(processor_errors=self.status.processor_errors + 1)
                self._note(f"processor {name}: {error}")
                await self._processor_backoff.wait()

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

    async def _carry(self, batch: Iterable[Msg], *, after: str = "") -> Carried:
        """What becomes of these messages on their way through the plan, from its beginning or after one of its steps."""
        carried = Carried()
        if not after and not self._steps.is_async:
            waiting = deque(batch)
            while waiting:
                last = self._carry_some(waiting, carried)
                if self._worked > SLICE:
                    await self._let_others_go(last)
            return carried
        for msg in batch:
            result = (
                await self._steps.arun(msg, after=after) if self._steps.is_async else self._steps.run(msg, after=after)
            )
            self._sort(msg, result, carried)
            self._worked += result.duration
            if self._worked > SLICE:
                await self._let_others_go(result.duration)
        return carried

    def _carry_some(self, waiting: deque[Msg], carried: Carried) -> float:
        """As many as there is time for, in one go; how long the last one took."""
        took, msg = 0.0, waiting[0]

        def some() -> Iterator[Msg]:
            nonlocal msg
            while waiting and self._worked <= SLICE:
                msg = waiting.popleft()
                yield msg

        def done(result: Result) -> None:
            nonlocal took
            took = result.duration
            self._worked += took
            if result.final_state == DONE:
                carried.ready.append(result.data)
                carried.origins.append(msg)
            else:
                self._sort(msg, result, carried)

        self._steps.run_all(some(), done)
        return took

    def _sort(self, msg: Msg, result: Result, carried: Carried) -> None:
        """Where the message, or each part of it, ended other than simply done."""
        for end in result.ends():
            if end.final_state == DONE:
                carried.ready.append(end.data)
                carried.origins.append(msg)
            elif end.final_state == DROPPED:
                if not isinstance(self._processors.get(end.path[-2]), Holding):  # that one only keeps it back
                    self._set(dropped=self.status.dropped + 1)
            else:
                state, reason = (end.error.state, end.error.message) if end.error else (end.final_state, "ended there")
                carried.letters.append(Letter(end.data if isinstance(end.data, Msg) else msg, state, reason))

    async def _let_others_go(self, took: float) -> None:
        self._worked = 0.0
        await asyncio.sleep(took if took > SLICE else 0)

    async def _deliver(self, carried: Carried) -> None:
        """Has the output take the messages, however long that takes, and sets aside those that failed."""
        if carried.ready:
            refused = await self._sink.deliver(carried.ready)
            carried.letters += [Letter(carried.origins[place], OUTPUT, why) for place, why in refused.items()]
        if carried.letters:
            await self._set_aside(carried.letters)

    async def _set_aside(self, letters: list[Letter]) -> None:
        """Counts the messages that failed, and has them kept where somebody can look at them."""
        for letter in letters:
            if letter.state == OUTPUT:
                status = self.status
                self._set(output_errors=status.output_errors + 1, output_set_aside=status.output_set_aside + 1)
                self._note(f"output {self.plan.config.output.name}: set aside: {letter.reason}")
            else:
                self._set(processor_errors=self.status.processor_errors + 1)
                self._note(f"processor {letter.state}: {letter.reason}")
        if self._dead is not None:
            letters = await self._send(self._dead, letters)
        if self._letter_file is not None and letters:
            try:
                self._letter_file.keep(letters)
            except OSError as error:
                self._note(f"dead letters cannot be kept in {self._letter_file.path}: {error.strerror}")

    async def _send(self, dead: Sink, letters: list[Letter]) -> list[Letter]:
        """Has the dead letter output take the letters; those it never can."""
        prepared, left, sent = [], list[Letter](), list[Letter]()
        for letter in letters:
            try:
                prepared.append(dead.output.prepare(letter.as_message(self.name)))
                sent.append(letter)
            except Exception as error:  # whatever is wrong with this message: it is set aside already
                self._set(output_errors=self.status.output_errors + 1)
                self._note(f"dead_letter: {type(error).__name__ if not isinstance(error, MessageError) else ''}{error}")
                left.append(letter)
        refused = await dead.deliver(prepared) if prepared else {}
        return left + [sent[place] for place in refused]

    def _told_by_output(self) -> Report:
        def is_connected(connected: bool) -> None:
            self._set(output_connected=connected)
            self._news(0.0)

        def write_failed(error: Exception) -> None:
            self._set(output_errors=self.status.output_errors + 1)
            self._note(f"output {self.plan.config.output.name}: {error}")

        def written(count: int, size: int) -> None:
            sent, moved = self.status.output_sent + count, self.status.output_bytes + size
            self._set(output_sent=sent, output_bytes=moved, last_sent_at=self._now())

        return Report(is_connected, write_failed, written)

    def _told_by_dead_letters(self) -> Report:
        def write_failed(error: Exception) -> None:
            self._set(output_errors=self.status.output_errors + 1)
            self._note(f"dead_letter: {error}")

        def written(count: int, size: int) -> None:
            self._set(dead_letters=self.status.dead_letters + count)

        return Report(lambda connected: None, write_failed, written)

    def _overflowed(self, count: int) -> None:
        self._set(overflowed=self.status.overflowed + count)
        self._note(f"buffer: full; {count} of the oldest messages left out")

    def _reading_failed(self, reason: str) -> None:
        self._set(input_errors=self.status.input_errors + 1)
        self._note(f"input {self.plan.config.input.name}: {reason}")

    def _note(self, error: str) -> None:
        self._set(last_error=error, last_error_at=self._now())
        self._news(ERROR_NEWS_DELAY)

    def _set(self, **changes: Any) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)

    async def _close(self) -> None:
        processors = [each for each in self._processors.values() if isinstance(each, Connecting)]
        dead = [self._dead.output] if self._dead else []
        for component in (self._input, *processors, self._sink.output, *dead):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await component.close()
