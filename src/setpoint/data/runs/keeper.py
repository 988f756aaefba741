"""Keeps runs while they go on: the listener and the checkpoint of a plan whose runs are kept.

What happened since the last checkpoint is written with the next one, in one transaction, so that the steps of a run and the place where it
stands are never at odds. Without an event loop each checkpoint is a transaction. In an event loop those of all runs that are at work are
gathered: while one transaction is written, the next one collects whoever comes, and each run goes on when its own is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import replace

from setpoint.data.context import Event, Kind, Progress
from setpoint.data.plan import Plan
from setpoint.data.runs import codec
from setpoint.data.runs.errors import NotKept, RunError
from setpoint.data.waiting import waits_of
from setpoint.store.document import StoreError
from setpoint.store.run_rows import Statement, StepRow, changed, kept, stepped, storable

KEPT_KINDS = frozenset({Kind.EXIT, Kind.ARC, Kind.ERROR, Kind.RETRY, Kind.WAIT})
MAX_RECORD = 1 << 16
"""Bytes of a record that a step keeps; a larger one is left out of the step (never out of the run)."""

Write = Callable[[Sequence[Statement]], None]


class Work(msgspec.Struct, eq=False):
    """A run that is at work here: its main network, the number of its next step, and the steps that are still to be written."""

    main: str = ""
    number: int = 0
    steps: list[StepRow] = []


class Keeper:
    """Knows which runs are at work here, and writes what happens to them. It is a listener for `kinds` of events."""

    kinds = KEPT_KINDS

    def __init__(self, write: Write, *, wall: Callable[[], float], records: bool) -> None:
        self._write, self._wall, self._records = write, wall, records
        self._works: dict[str, Work] = {}
        self._groups: WeakKeyDictionary[asyncio.AbstractEventLoop, Group] = WeakKeyDictionary()

    def opened(self, run: str) -> Work:
        """The run is at work here from now on. Raises `RunError` where it is already."""
        work = Work()
        if self._works.setdefault(run, work) is not work:
            raise RunError(f"run {run} is being carried by another task of this process")
        return work

    def closed(self, run: str) -> None:
        """The run is at work here no more."""
        self._works.pop(run, None)

    def rest(self, run: str) -> list[Statement]:
        """The steps of the run that are still to be written."""
        work = self._works.get(run)
        if work is None:
            return []
        steps, work.steps = work.steps, []
        return [stepped(step) for step in steps]

    def works(self, run: str) -> bool:
        """Whether the run is at work here."""
        return run in self._works

    def __call__(self, event: Event) -> None:
        """The listener."""
        work = self._works.get(event.run)
        if work is None or event.kind not in self.kinds:
            return
        steps = work.steps
        state = event.state if event.network == work.main else f"{event.network}:{event.state}"
        if event.kind is Kind.ARC and steps and steps[-1].state == state and steps[-1].kind == Kind.EXIT.value:
            left = steps[-1]  # one step: through the state and out of it
            steps[-1] = replace(left, arc=event.arc, target=event.target, seconds=left.seconds + event.seconds)
            return
        number, work.number = work.number, work.number + 1
        error = storable(f"{event.error.type}: {event.error.message}") if event.error else ""
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
        progressed = kept(run, codec.encoded(progress))
        done = [*self.rest(run), progressed]
        if progress.waiting and not progress.tokens:
            done.append(changed(run, owner="", **standing(plan, progress, at=self._wall())))
        return done

    def checkpoint(self, plan: Plan) -> Callable[[Progress], None]:
        """The checkpoint of a plan that runs without an event loop."""
        return lambda progress: self._write(self.statements(plan, progress))

    def acheckpoint(self, plan: Plan) -> Callable[[Progress], Any]:
        """The checkpoint of a plan that runs in one."""

        async def keep(progress: Progress) -> None:
            await self.awrite(self.statements(plan, progress))

        return keep

    async def awrite(self, statements: Sequence[Statement]) -> None:
        """Write, together with whatever other runs are writing now in this event loop."""
        loop = asyncio.get_running_loop()
        group = self._groups.get(loop)
        if group is None:
            group = self._groups[loop] = Group(self._write)
        await group.add(statements)

    @staticmethod
    def _record(event: Event) -> bytes | None:
        try:
            data = codec.encoded_value(event.record)
        except NotKept:
            return None  # the checkpoint says so, and ends the run; a step may do without
        return data if len(data) <= MAX_RECORD else None


def standing(plan: Plan, progress: Progress, *, at: float) -> dict[str, Any]:
    """The columns of a run that has come as far as it can now: where it is, and for what it waits."""
    waits = waits_of(plan, progress)
    wake = min((wait.until for wait in waits if wait.until is not None), default=None)
    states = ", ".join(dict.fromkeys(wait.state for wait in waits))
    said = "; ".join(dict.fromkeys(map(str, waits)))
    return {"status": "waiting", "state": states, "waits": said, "wake": wake, "updated": at}


Turn = tuple[Sequence[Statement], "asyncio.Future[None]"]


class Group:
    """Gathers statements in an event loop, and writes all that are there in one transaction, one at a time, in a thread.

    What was handed over is written, also when whoever waits for that is cancelled meanwhile: nothing comes late, over what others wrote.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._turns: list[Turn] = []
        self._busy = False

    async def add(self, statements: Sequence[Statement]) -> None:
        """Returns when they are written. Raises what the writing raised."""
        try:
            await self._turn(statements)
        except asyncio.CancelledError:
            written = self._turn(())  # its turn comes after theirs
            while not written.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([written])
            raise

    def _turn(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._turns.append((statements, turn))
        if not self._busy:
            self._busy = True
            loop.call_soon(loop.call_soon, self._next)  # whoever is ready now comes along
        return turn

    def _next(self) -> None:
        turns, self._turns = self._turns, []
        if not turns:
            self._busy = False
            return
        writing = asyncio.get_running_loop().run_in_executor(None, self._written, turns)
        writing.add_done_callback(partial(self._settle, turns))

    def _written(self, turns: Sequence[Turn]) -> list[BaseException | None]:
        """Writes them; what each raised. What is the matter with one of them is no reason not to write the others."""
        try:
            self._write([statement for statements, _ in turns for statement in statements])
        except BaseException as error:  # whatever it is, whoever waits hears of it
            if len(turns) == 1 or isinstance(error, StoreError):
                return [error] * len(turns)
            return [self._written([turn])[0] for turn in turns]
        return [None] * len(turns)

    def _settle(self, turns: Sequence[Turn], writing: asyncio.Future[list[BaseException | None]]) -> None:
        for (_, turn), error in zip(turns, writing.result(), strict=True):
            if turn.done():  # cancelled
                continue
            if error is None:
                turn.set_result(None)
            else:
                turn.set_exception(error)
        asyncio.get_running_loop().call_soon(self._next)
