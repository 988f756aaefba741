"""A stream whose parts wait: reading, carrying and writing at the same time, two chunks at most between one and the next.

Each of the three is a task; when the sink is slow its queue fills, then the plan stands still, then the source is not asked any more. How
long each stood still is in the report (`waited`). Parts that block (files, databases) are called in a thread. A cancellation waits for what
a sink is doing in its thread, so that it is known what is kept; it does not wait for a source (a terminal may never answer).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from setpoint.data.result import Result
from setpoint.data.stream.carry import acarry, carry
from setpoint.data.stream.memory import Called, Collected, Nowhere, Records
from setpoint.data.stream.parts import AnySink, AnySource, Chunk, reads_async, writes_async
from setpoint.data.stream.report import StreamReport
from setpoint.data.stream.run import Work, given

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

BETWEEN: Final = 2
"""Chunks that may wait between two tasks."""
PATIENCE: Final = 1.0
"""Seconds in which a source that was given up may come back; then it is left alone, since closing it under its thread would harm."""

Call = Callable[..., Awaitable[Any]]
_Carried = tuple[Chunk, Sequence[Result], "Plan"]
_In = asyncio.Queue["Chunk | None"]
_Out = asyncio.Queue["_Carried | None"]


async def pipeline(work: Work, source: AnySource, sink: AnySink) -> StreamReport:
    """Runs the stream. Raises `StreamError`; on cancellation what is committed stays."""
    ask = _caller(isinstance(source, Records), reads_async(source), settles=False)
    tell = _caller(isinstance(sink, Called | Collected | Nowhere), writes_async(sink), settles=True)
    finished = False
    try:
        work.stage = "sink"
        mark = work.begin(await tell(sink.open, work.options.resume))
        if mark is not None:
            work.stage = "source"
            await ask(source.seek, mark.source)
        finished = await _flow(work, (source, ask), (sink, tell))
        work.stage = "sink"
        if finished:
            await tell(sink.finish)
    except asyncio.CancelledError:
        work.undo()
        raise
    except Exception as error:
        raise work.broke(error) from error
    finally:
        await tell(sink.abort)
        if not (isinstance(ask, InThread) and await ask.hangs()):
            await ask(source.close)
    return work.end(finished=finished)


class _Broke(Exception):
    """Which stage broke, with the cause; never leaves this module."""

    def __init__(self, stage: str, cause: Exception) -> None:
        self.stage, self.cause = stage, cause


async def _flow(work: Work, source: tuple[AnySource, Call], sink: tuple[AnySink, Call]) -> bool:
    """The three tasks; True when the source came to its end."""
    read: _In = asyncio.Queue(BETWEEN)
    carried: _Out = asyncio.Queue(BETWEEN)
    clock = _Clock(work)
    try:
        async with asyncio.TaskGroup() as tasks:
            whole = tasks.create_task(_named("source", _read(work, source, read, clock)))
            tasks.create_task(_named("plan", _carry(work, read, carried, clock)))
            tasks.create_task(_named("", _write(work, source, sink, (carried, clock))))
    except* _Broke as faults:
        first = faults.exceptions[0]
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        assert isinstance(first, _Broke)
        work.stage = first.stage or work.stage
        raise first.cause  # noqa: B904  # the group says nothing more
    return whole.result()


async def _named(stage: str, task: Awaitable[bool]) -> bool:
    try:
        return await task
    except Exception as error:
        raise _Broke(stage, error) from error


async def _read(work: Work, source: tuple[AnySource, Call], read: _In, clock: _Clock) -> bool:
    part, ask = source
    stop = work.options.stop
    while stop is None or not stop():
        chunk = await clock.busy("source", ask(part.read, work.options.chunk_size))
        await clock.waiting("source", read.put(chunk))
        if chunk is None:
            return True
    await read.put(None)
    return False


async def _carry(work: Work, read: _In, carried: _Out, clock: _Clock) -> bool:
    while (chunk := await clock.waiting("plan", read.get())) is not None:
        plan = work.present()
        if plan.is_async:
            results = await clock.busy("plan", acarry(plan, chunk.records, concurrency=work.options.concurrency))
        else:
            began = time.perf_counter()
            results = carry(plan, chunk.records)
            work.report.seconds["plan"] += time.perf_counter() - began
            await asyncio.sleep(0)
        await clock.waiting("plan", carried.put((chunk, results, plan)))
    await carried.put(None)
    return True


async def _write(
    work: Work, source: tuple[AnySource, Call], sink: tuple[AnySink, Call], carried: tuple[_Out, _Clock]
) -> bool:
    queue, clock = carried
    while (item := await clock.waiting("sink", queue.get())) is not None:
        await clock.busy("sink", _keep(work, source, sink, item))
    return True


async def _keep(work: Work, source: tuple[AnySource, Call], sink: tuple[AnySink, Call], item: _Carried) -> None:
    """Writes and commits one chunk."""
    chunk, results, plan = item
    written = work.sort(chunk, results, plan)
    refused = await sink[1](sink[0].write, *given(sink[0], written, chunk)) if written.records else ()
    mark = work.mark(chunk, written, refused)
    await sink[1](sink[0].commit, mark)
    work.committed(mark)
    work.stage = "source"
    await source[1](source[0].acknowledge, chunk.position)
    if work.options.on_commit is not None:
        work.stage = "checkpoint"
        noted = work.options.on_commit(mark)
        if inspect.isawaitable(noted):
            await noted


class _Clock:
    """Adds up how long each task worked and how long it stood still."""

    def __init__(self, work: Work) -> None:
        self._seconds = work.report.seconds
        self._waited = work.report.waited = {"source": 0.0, "plan": 0.0, "sink": 0.0}

    async def busy(self, name: str, call: Awaitable[Any]) -> Any:
        return await self._timed(self._seconds, name, call)

    async def waiting(self, name: str, call: Awaitable[Any]) -> Any:
        return await self._timed(self._waited, name, call)

    async def _timed(self, into: dict[str, float], name: str, call: Awaitable[Any]) -> Any:
        began = time.perf_counter()
        try:
            return await call
        finally:
            into[name] += time.perf_counter() - began


def _caller(direct: bool, is_async: bool, *, settles: bool) -> Call:
    """How methods of a part are called: awaited, called here, or called in a thread."""
    if is_async:
        return lambda method, *args: method(*args)
    return _called if direct else InThread(settles=settles)


async def _called(method: Callable[..., Any], *args: Any) -> Any:
    return method(*args)


class InThread:
    """Calls what may block in a thread, which keeps nobody from ending the program.

    A cancellation ends the waiting; with `settles`, once the call has ended: then the caller learns its outcome, and is cancelled where it
    waits next.
    """

    def __init__(self, *, settles: bool) -> None:
        self._settles = settles
        self._running: asyncio.Future[Any] | None = None

    async def __call__(self, method: Callable[..., Any], *args: Any) -> Any:
        """What the method gives, or raises."""
        await asyncio.sleep(0)  # a cancellation that is due comes here, before anything is begun
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(method(*args))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="stream", daemon=True).start()
        self._running = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(self._running)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._settles or task is None or self._running.cancelled():
                raise
            await asyncio.wait({self._running})
            task.cancel()
            return self._running.result()

    async def hangs(self) -> bool:
        """Whether a call that was given up is still at it, also after a moment."""
        if self._running is None or self._running.done():
            return False
        _, still = await asyncio.wait({self._running}, timeout=PATIENCE)
        return bool(still)
