"""Any input of a flow as the source of a stream, any output as its sink.

**Source.** A batch of the input is handed out as chunks; it is acknowledged to the input when the stream has committed the last of them,
and only then is the next one read. So what a broker is told is safe is safe in the sink, and memory holds one batch. A source like this has
no position of its own: where to go on is known by the broker (`resumes`), or by nobody, and then there is no resuming.

**Sink.** Records are made messages when they are written, and delivered when their chunk is committed. What an output can never take is
refused, with its reason. There is no mark in it: delivery is at least once.

**Connections.** One that cannot be made at the beginning is an error at once: most often an address is wrong. One that breaks later is
made again, with growing pauses, and each attempt is logged with its reason; after `retry_for` seconds without success the stream ends with
that reason, to be resumed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from setpoint.data.stream import Chunk, Malformed, Mark, Position, Refused
from setpoint.data.stream.parts import shown
from setpoint.flows.component import ConnectError, Context, Input, MessageError, Msg, Output, WriteError
from setpoint.flows.ends.form import Form
from setpoint.flows.sink import Backoff

if TYPE_CHECKING:
    from setpoint.namespace import Broker

log = logging.getLogger("setpoint.flows.ends")

RETRY_FOR: Final = 300.0
"""Seconds in which a connection that broke must come back."""
STEADY: Final = 10.0
"""Seconds after which a connection that holds counts as one that works, though nothing has come."""


def context(name: str, broker: Broker | None = None) -> Context:
    """The world for a component that works for a stream rather than in a flow."""
    return Context(
        flow=name,
        bridged_by="",
        broker=broker,
        clock=time.time,
        now=time.monotonic,
        random=random.random,
        failed=lambda reason: log.warning("%s: %s", name, reason),
        answered=lambda host, port: None,
    )


class Patience:
    """Tries again what failed for now, until it works or `seconds` have passed since it last did.

    A connection alone is no sign that it works: a broker may take it and end it again at once, as where two have the same client id. One
    that has held for a while is.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._backoff = Backoff(random.Random())
        self._since: float | None = None
        self._up: float | None = None

    def connected(self) -> None:
        """There is a connection (again)."""
        self._up = time.monotonic()
        if self._since is not None:
            log.warning("%s: connected again after %.1f s", self._name, self._up - self._since)

    def worked(self) -> None:
        """Something has come, or was taken."""
        self._since = None
        self._backoff.reset()

    async def after(self, error: Exception) -> None:
        """Says what failed and waits before the next attempt. Raises the error when it has failed for too long."""
        now = time.monotonic()
        if self._up is not None and now - self._up >= STEADY:
            self.worked()
        self._up = None
        self._since = now if self._since is None else self._since
        if now - self._since >= self._seconds:
            raise error
        log.warning("%s: %s; trying again", self._name, error)
        await self._backoff.wait()


class InputSource:
    """An `AsyncSource` of what an input reads. `name` is how reports call it; `idle`: ends after so many seconds without a message."""

    def __init__(
        self,
        make: Callable[[Context], Input],
        *,
        name: str,
        form: Form,
        resumes: bool = False,
        idle: float | None = None,
        retry_for: float = RETRY_FOR,
    ) -> None:
        self.name = name
        self._input = make(context(name))
        self._form, self._resumes, self._idle = form, resumes, idle
        self._patience = Patience(name, retry_for)
        self._connected = self._ever = False
        self._batch: list[Msg] = []
        self._out = 0  # chunks of the batch that are not acknowledged
        self._free = asyncio.Event()
        self._free.set()
        self._taken = 0

    async def read(self, limit: int) -> Chunk | None:
        """The next messages. Raises `ConnectError` where the other side cannot be reached, and what the input raises."""
        if not self._batch:
            await self._free.wait()
            if not await self._next_batch():
                return None
        messages, self._batch = self._batch[:limit], self._batch[limit:]
        self._out += 1
        self._free.clear()
        return self._chunk(messages)

    async def _next_batch(self) -> bool:
        """Has the next batch that is not empty; False at the end of the input, and where nothing comes for too long."""
        while not self._batch:
            idle = asyncio.timeout(self._idle)
            try:
                if not self._connected:
                    await self._input.connect()
                    self._connected = self._ever = True
                    self._patience.connected()
                async with idle:
                    batch = await self._input.read()
            except TimeoutError:
                if not idle.expired():
                    raise
                return False
            except ConnectError as error:
                if not self._ever:
                    raise
                if self._connected:
                    self._connected = False
                    await self._input.close()
                await self._patience.after(error)
                continue
            if batch is None:
                return False
            self._batch = batch
            if batch:
                self._patience.worked()
            else:
                await self._input.acknowledge()
        return True

    def _chunk(self, messages: Sequence[Msg]) -> Chunk:
        records, places, malformed = [], [], []
        for msg in messages:
            self._taken += 1
            topic = msg.meta.get(self._form.topic_meta, "")
            place = f"{topic} #{self._taken}" if topic else self._taken
            try:
                records.append(self._form.record(msg))
                places.append(place)
            except ValueError as error:
                malformed.append(Malformed(place, str(error), shown(msg.payload)))
        return Chunk(records, {"taken": self._taken}, places, malformed)

    async def seek(self, position: Position) -> None:
        """Count on. Raises `ValueError` for an input that cannot go on where it was."""
        if not self._resumes:
            raise ValueError(f"{self.name} cannot go on where it broke off; start again without resuming")
        self._taken = position["taken"]

    async def acknowledge(self, position: Position) -> None:
        """One chunk is safe; with the last one of a batch the input is told."""
        self._out -= 1
        if not self._out and not self._batch:
            await self._input.acknowledge()
            self._free.set()

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._input.close()


class OutputSink:
    """An `AsyncSink` into an output: at least once."""

    keeps_mark = False

    def __init__(
        self, make: Callable[[Context], Output], *, name: str, form: Form, retry_for: float = RETRY_FOR
    ) -> None:
        self.name = name
        self._output = make(context(name))
        self._form = form
        self._patience = Patience(name, retry_for)
        self._ready: list[Any] = []
        self._connected = False

    async def open(self, resume: bool) -> Mark | None:
        """Connect. Raises `ConnectError`."""
        await self._output.connect()
        self._connected = True
        return None

    async def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Make messages of the records, except those that can never be any."""
        refused = []
        for number, record in enumerate(records):
            try:
                self._ready.append(self._output.prepare(self._form.message(record)))
            except (MessageError, ValueError) as error:
                refused.append(Refused(number, str(error)))
        return refused

    async def commit(self, mark: Mark) -> None:
        """Deliver them. Raises `ConnectError` or `WriteError` where that was not possible for too long, and what the output raises."""
        if self._ready:
            await self._again(self._deliver)
        self._ready = []

    async def _deliver(self) -> None:
        if not self._connected:
            await self._output.connect()
            self._connected = True
            self._patience.connected()
        await self._output.write(self._ready)

    async def _again(self, attempt: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await attempt()
            except (ConnectError, WriteError) as error:
                if isinstance(error, ConnectError) and self._connected:
                    self._connected = False
                    await self._output.close()
                await self._patience.after(error)
            else:
                self._patience.worked()
                return

    async def finish(self) -> None:
        """Close the connection."""
        await self.abort()

    async def abort(self) -> None:
        """Close the connection; what was delivered is delivered."""
        self._connected = False
        await self._output.close()
