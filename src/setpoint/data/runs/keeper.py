"""Keeps runs while they go on: the listener and the checkpoint of a plan whose runs are kept.

What happened since the last checkpoint is written with the next one, in one transaction, so that the steps of a run and the place where it
stands are never at odds. Without an event loop each checkpoint is a transaction. In an event loop those of all runs that are at work are
gathered: while one transaction is written, the next one collects whoever comes, and each run goes on when its own is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from setpoint.data.context import Event, Kind, Progress
from setpoint.data.plan import Plan
from setpoint.data.runs import codec
from setpoint.data.runs.errors import NotKept, RunError
from setpoint.data.waiting import waits_of
from setpoint.store.run_rows import Statement, StepRow, changed, kept, stepped

KEPT_KINDS = frozenset({Kind.EXIT, Kind.ARC, Kind.ERROR, Kind.RETRY, Kind.WAIT})
MAX_RECORD = 1 << 16
"""Bytes of a record that a step keeps; a larger one is left out of the step (never out of the run)."""

Write = Callable[[Sequence[Statement]], None]


class Keeper:
    """Writes what happens to the runs that were announced to it with `opened`. It is a listener for `kinds` of events."""

    kinds = KEPT_KINDS

    def __init__(self, write: Write, *, wall: Callable[[], float], records: bool) -> None:
        self._write, self._wall, self._records = write, wall, records
        self._steps: dict[str, list[StepRow]] = {}
        self._numbers: dict[str, int] = {}
        self._main: dict[str, str] = {}
        self._group = Group(write)

    def opened(self, run: str, main: str, *, last_step: int) -> None:
        """Steps of this run are kept from now on; they are numbered after this one. `main` is its main network.

        Raises `RunError` for a run that is already at work here.
        """
        if run in self._steps:
            raise RunError(f"run {run} is being carried by another task of this process")
        self._steps[run], self._numbers[run], self._main[run] = [], last_step + 1, main

    def closed(self, run: str) -> list[Statement]:
        """What is still to be written of a run."""
        self._numbers.pop(run, None)
        self._main.pop(run, None)
        return [stepped(step) for step in self._steps.pop(run, ())]

    def __call__(self, event: Event) -> None:
        """The listener."""
        steps = self._steps.get(event.run)
        if steps is None or event.kind not in self.kinds:
            return
        state = event.state if event.network == self._main[event.run] else f"{event.network}:{event.state}"
        if event.kind is Kind.ARC and steps and steps[-1].state == state and steps[-1].kind == Kind.EXIT.value:
            left = steps[-1]  # one step: through the state and out of it
            steps[-1] = replace(left, arc=event.arc, target=event.target, seconds=left.seconds + event.seconds)
            return
        number = self._numbers[event.run]
        self._numbers[event.run] = number + 1
        error = f"{event.error.type}: {event.error.message}" if event.error else ""
        record = self._record(event) if self._records and event.kind is Kind.EXIT else None
        steps.append(
            StepRow(
                event.run, number, self._wall(), event.kind.value, state, event.arc, event.target, event.attempt, event.seconds, error,
                record,
            )
        )  # fmt: skip

    def statements(self, plan: Plan, progress: Progress) -> list[Statement]:
        """What a checkpoint writes. Raises `NotKept`."""
        run = progress.run
        done = [stepped(step) for step in self._steps.get(run, ())]
        if done:
            self._steps[run].clear()
        done.append(kept(run, codec.encoded(progress)))
        if progress.waiting and not progress.tokens:
            done.append(standing(plan, progress, at=self._wall()))
        return done

    def checkpoint(self, plan: Plan) -> Callable[[Progress], None]:
        """The checkpoint of a plan that runs without an event loop."""
        return lambda progress: self._write(self.statements(plan, progress))

    def acheckpoint(self, plan: Plan) -> Callable[[Progress], Any]:
        """The checkpoint of a plan that runs in one."""

        async def keep(progress: Progress) -> None:
            await self._group.add(self.statements(plan, progress))

        return keep

    async def awrite(self, statements: Sequence[Statement]) -> None:
        """Write, together with whatever other runs are writing now."""
        await self._group.add(statements)

    @staticmethod
    def _record(event: Event) -> bytes | None:
        try:
            data = codec.encoded_value(event.record)
        except NotKept:
            return None  # the checkpoint says so, and ends the run; a step may do without
        return data if len(data) <= MAX_RECORD else None


def standing(plan: Plan, progress: Progress, *, at: float) -> Statement:
    """A run that has come as far as it can now, and for what it waits."""
    waits = waits_of(plan, progress)
    wake = min((wait.until for wait in waits if wait.until is not None), default=None)
    states = ", ".join(dict.fromkeys(wait.state for wait in waits))
    said = "; ".join(dict.fromkeys(map(str, waits)))
    return changed(progress.run, status="waiting", owner="", state=states, waits=said, wake=wake, updated=at)


class Group:
    """Gathers statements, and writes all that are there in one transaction, one at a time, in a thread."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._statements: list[Statement] = []
        self._turns: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, statements: Sequence[Statement]) -> None:
        """Returns when they are written. Raises what the writing raised."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._statements += statements
        self._turns.append(turn)
        if self._writing is None:
            self._writing = loop.create_task(self._go())
        await turn

    async def _go(self) -> None:
        try:
            await asyncio.sleep(0)  # whoever is ready now comes along
            while self._turns:
                statements, turns = self._statements, self._turns
                self._statements, self._turns = [], []
                try:
                    await asyncio.to_thread(self._write, statements)
                except Exception as error:
                    _settle(turns, error)
                else:
                    _settle(turns, None)
        finally:
            self._writing = None


def _settle(turns: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for turn in turns:
        if turn.done():  # cancelled
            continue
        if error is None:
            turn.set_result(None)
        else:
            turn.set_exception(error)
