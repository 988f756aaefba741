"""Carries records as runs that are kept: they begin, go on, wait and end in the store, whatever happens to the process.

A run that is begun again under its name does nothing twice: one that has ended gives the result it had, one that was interrupted goes on
from its last checkpoint. The functions of the state it was in then run once more from the record as it came in: all others have run once.
Where states share a transaction it goes on before the first of them, since what they did is undone. A run that failed is tried again with
its records that failed, each from before what went wrong.
Each run goes on with the definition it began with, or moves to the present one by a declared migration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from sqlite3 import IntegrityError
from typing import Any, NamedTuple

from msgspec.structs import replace

from setpoint.data.context import Event, Listener, Progress, Sent
from setpoint.data.definition import Definition
from setpoint.data.errors import NotTaken
from setpoint.data.plan import Plan, run_name
from setpoint.data.result import Result
from setpoint.data.runs import codec
from setpoint.data.runs.errors import RunError
from setpoint.data.runs.keeper import standing
from setpoint.data.runs.many import BatchRun, StreamRun
from setpoint.data.runs.runs import Runs, nameable, plain_about
from setpoint.data.runs.versions import Migration, fingerprint, migrated
from setpoint.store.document import StoreError
from setpoint.store.run_rows import Query, RunRow, Statement, changed, created, defined, ended, kept, released, storable

log = logging.getLogger("setpoint.data")


class Begun(NamedTuple):
    """A run that this process carries: where it stands, with which plan, and what is to be written before it goes on."""

    progress: Progress
    plan: Plan
    statements: Sequence[Statement]


class MachineRuns:
    """The runs of one machine: begins them, and goes on with them.

    `load` reads the text of another version of the machine (raises what reading raises); `in_loop` runs a coroutine to its end, for a
    machine with async functions.
    """

    def __init__(
        self,
        plan: Plan,
        runs: Runs,
        *,
        load: Callable[[str], Definition],
        in_loop: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        self.plan, self.runs, self._load, self._in_loop = plan, runs, load, in_loop
        self.hash, self._text = fingerprint(plan.definition)
        self._plans: dict[str, Plan] = {}
        self._kept: dict[tuple[int, bool], Plan] = {}

    def process(self, record: Any, *, run: str = "", state: str = "", timeout: float | None = None) -> Result:
        """Carry a record as a run of that name, to its end or until it waits. Raises `RunError`, `NotKept` and `StoreError`."""
        if self.plan.is_async:
            result: Result = self._in_loop(self.aprocess(record, run=run, state=state, timeout=timeout))
            return result
        begun = self._begin(record, state, run)
        return begun if isinstance(begun, Result) else self._go(begun, None, timeout)

    async def aprocess(self, record: Any, *, run: str = "", state: str = "", timeout: float | None = None) -> Result:
        """As `process`."""
        begun = self._begin(record, state, run)
        return begun if isinstance(begun, Result) else await self._ago(begun, None, timeout)

    def resume(
        self, run: str, *, sent: Sent | None = None, migration: Migration | None = None, again: bool = False
    ) -> Result:
        """Go on with a run that was interrupted or waits; `again`: with one that failed or was stopped, from where that happened.

        `migration` moves it to this version of the machine. Raises `RunError`, `NotMigrated`, `NotKept`, `NotTaken` and `StoreError`.
        """
        if self.plan.is_async:
            result: Result = self._in_loop(self.aresume(run, sent=sent, migration=migration, again=again))
            return result
        begun = self._claimed(self.runs.get(run), migration, again=again)
        return begun if isinstance(begun, Result) else self._go(begun, sent, None)

    async def aresume(
        self, run: str, *, sent: Sent | None = None, migration: Migration | None = None, again: bool = False
    ) -> Result:
        """As `resume`."""
        begun = self._claimed(self.runs.get(run), migration, again=again)
        return begun if isinstance(begun, Result) else await self._ago(begun, sent, None)

    def send(self, run: str, event: str, data: Any = None) -> Result:
        """Send an event to a run that waits for it. Raises `NotTaken` where it does not, and as `resume` does."""
        self._expect_unfinished(run, event)
        return self.resume(run, sent=Sent(event, data))

    async def asend(self, run: str, event: str, data: Any = None) -> Result:
        """As `send`."""
        self._expect_unfinished(run, event)
        return await self.aresume(run, sent=Sent(event, data))

    def wake(self) -> list[Result]:
        """Go on with all runs whose time has come; what came of them. One that cannot be carried here is logged, and left as it is."""
        return [result for row in self._due() if (result := self._tried(row)) is not None]

    def recover(self) -> list[Result]:
        """Go on with all runs of this machine that were interrupted; what came of them. One that cannot be is logged, and left as it is."""
        of_it = Query(machine=self.plan.definition.name, kind="record", limit=1_000_000)
        rows = [row for status in ("interrupted", "running") for row in self.runs.find(replace(of_it, status=status))]
        left = [row for row in rows if not self.runs.is_carried(row)]
        return [result for row in left if (result := self._tried(row)) is not None]

    def next_wake(self) -> float | None:
        """When `wake` has something to do next, in seconds since the epoch; None where nothing waits for a time."""
        return self.runs.store.next_wake()

    def _due(self) -> list[RunRow]:
        return [row for row in self.runs.store.due(self.runs.wall()) if row.machine == self.plan.definition.name]

    def _tried(self, row: RunRow) -> Result | None:
        try:
            return self.resume(row.id)
        except StoreError:
            raise
        except Exception as error:
            log.warning("run %s of %s does not go on: %s: %s", row.id, row.machine, type(error).__name__, error)
            return None

    def _expect_unfinished(self, run: str, event: str) -> None:
        row = self.runs.get(run)
        if row.status in ("done", "failed", "stopped"):
            raise NotTaken(f"run {row.id} does not wait for {event!r}: it is {row.status}")

    def move(self, migration: Migration) -> list[str]:
        """Move all runs that wait or were interrupted to this version of the machine, or none; which. Raises `NotMigrated`.

        A run that is being carried meanwhile finishes with the version it has.
        """
        claimed: list[RunRow] = []
        moves: list[Statement] = []
        try:
            for row in self._idle():
                if self._takes(row.id):
                    claimed.append(row)
                    progress = migrated(self._progress(row), self.plan, migration, old=self._version(row))
                    moves += self._moved(progress)
                    if progress.waiting and not progress.tokens:
                        moves.append(changed(row.id, **standing(self.plan, progress, at=self.runs.wall())))
        except BaseException:
            moves = []
            raise
        finally:
            self.runs.store.write([*self.definition(), *(self._as_before(row) for row in claimed), *moves])
            for row in claimed:
                self.runs.keeper.closed(row.id)
        return [row.id for row in claimed]

    def _takes(self, run: str) -> bool:
        """Whether it is this process that has the run in hand now; then `keeper.closed` is called in the end."""
        if self.runs.keeper.works(run):
            return False
        self.runs.keeper.opened(run)
        taken = False
        try:
            taken = self.runs.store.claim(run, self.runs.owner)
        finally:
            if not taken:
                self.runs.keeper.closed(run)
        return taken

    @staticmethod
    def _as_before(row: RunRow) -> Statement:
        """A run that was claimed stands as it stood."""
        status = "running" if row.status == "interrupted" else row.status
        return changed(row.id, owner="", status=status, ended=row.ended)

    def _idle(self) -> list[RunRow]:
        """The runs of other versions that nobody carries."""
        all_of_it = Query(machine=self.plan.definition.name, kind="record", status="unfinished", limit=1_000_000)
        return [row for row in self.runs.find(all_of_it) if row.hash != self.hash and row.status != "running"]

    def batch(self, run: str) -> BatchRun:
        """A batch of that name, begun or gone on with. Raises `RunError`."""
        return BatchRun(self.runs, self.row(nameable(run) or run_name(), "batch", {}), self.definition())

    def stream(self, run: str, about: Mapping[str, Any], *, each: bool) -> StreamRun:
        """A stream of that name, begun or gone on with. Raises `RunError`."""
        return StreamRun(
            self.runs, self.row(nameable(run) or run_name(), "stream", about), self.definition(), each=each
        )

    # a run begins

    def row(self, run: str, kind: str, about: Mapping[str, Any]) -> RunRow:
        """A run of this machine that begins now, carried by this process."""
        now, definition = self.runs.wall(), self.plan.definition
        return RunRow(
            id=run, kind=kind, machine=definition.name, version=definition.version, hash=self.hash, owner=self.runs.owner, started=now,
            updated=now,
            about=plain_about({**about, **self.runs.about}),
        )  # fmt: skip

    def definition(self) -> list[Statement]:
        """Has the store keep the definition, with each run that begins: those that no run names are forgotten."""
        return [defined(self.hash, self.plan.definition.name, self._text)] if self._text else []

    def _begin(self, record: Any, state: str, run: str) -> Begun | Result:
        runs = self.runs
        runs.tidy()
        known = runs.store.get(nameable(run)) if run else None
        if known is not None:
            return self._claimed(known, None, again=False)
        progress = self.plan.begin(record, state=state, run=run or run_name())
        begins = [*self.definition(), *created(self.row(progress.run, "record", {}), codec.encoded(progress))]
        runs.keeper.opened(progress.run).main = self.plan.definition.main_network
        if not run:
            return Begun(progress, self.plan, begins)
        try:  # by itself: another process may have begun a run of that name just now
            runs.store.write(begins)
        except BaseException as error:
            runs.keeper.closed(run)
            if isinstance(error, IntegrityError):
                raise RunError(f"run {run} was begun by another process just now") from None
            raise
        return Begun(progress, self.plan, [])

    def _claimed(self, row: RunRow, migration: Migration | None, *, again: bool) -> Begun | Result:
        """The run, claimed by this process; its result where it has ended. Raises `RunError`, `NotMigrated` and what `load` raises."""
        if row.machine != self.plan.definition.name:
            raise RunError(f"run {row.id} is one of machine {row.machine!r}, not of {self.plan.definition.name!r}")
        if row.kind != "record":
            raise RunError(f"run {row.id} is a {row.kind}: it goes on with its records")
        if row.status == "done" or (row.status in ("failed", "stopped") and not again):
            result = self.runs.result(row.id)
            if result is None:
                raise RunError(f"run {row.id} was stopped{': ' + row.error if row.error else ''}; retry it to go on")
            return result
        work = self.runs.keeper.opened(row.id)
        try:
            if not self.runs.store.claim(row.id, self.runs.owner, again=again):
                raise RunError(f"run {row.id} is being carried by another process")
            begun = self._taken(row, migration, again=again)
            work.main, work.number = begun.plan.definition.main_network, self.runs.store.last_step(row.id) + 1
        except BaseException:
            self.runs.keeper.closed(row.id)
            raise
        return begun

    def _taken(self, row: RunRow, migration: Migration | None, *, again: bool) -> Begun:
        """The run that was claimed just now. Where it cannot go on it is given back as it was."""
        try:
            now = self.runs.get(row.id)  # another process may have moved it to another version before it was claimed
            progress, plan = self._standing(now, self._progress(now), migration)
        except BaseException:
            self.runs.store.write([self._as_before(row)])
            raise
        news = self._moved(progress) if plan is self.plan and now.hash != self.hash else []
        return Begun(progress.again() if again else progress, plan, [*self.definition(), *news] if news else [])

    def _progress(self, row: RunRow) -> Progress:
        data = self.runs.store.progress(row.id)
        if data is None:
            raise RunError(f"nothing is kept of where run {row.id} stood")
        try:
            return codec.decoded_progress(data)
        except ValueError as error:
            raise RunError(f"what is kept of where run {row.id} stood cannot be read: {error}") from error

    def _moved(self, progress: Progress) -> list[Statement]:
        """A run is one of this version now."""
        run, version = progress.run, self.plan.definition.version
        return [changed(run, hash=self.hash, version=version), kept(run, codec.encoded(progress))]

    def _version(self, row: RunRow) -> Definition | None:
        """The definition that a run began with, where a file could hold it."""
        text = self.runs.store.definition(row.hash)
        return self._load(text) if text else None

    def _standing(self, row: RunRow, progress: Progress, migration: Migration | None) -> tuple[Progress, Plan]:
        if row.hash == self.hash:
            return progress, self.plan
        version = self._version(row)
        if migration is not None:
            return migrated(progress, self.plan, migration, old=version), self.plan
        if version is None:
            raise RunError(
                f"run {row.id} stands in another version of machine {row.machine!r} (version {row.version}), which holds Python objects "
                "and could not be kept: resume it with the program that began it, or declare a migration"
            )
        if row.hash not in self._plans:
            self._plans[row.hash] = self.plan.remade(version)
        return progress, self._plans[row.hash]

    # a run goes on

    def _go(self, begun: Begun, sent: Sent | None, timeout: float | None) -> Result:
        with self._carrying(begun):
            if begun.plan.is_async:  # another version of the machine, which is not
                result: Result = self._in_loop(self._acarried(begun, sent, timeout))
                return result
            runs, run = self.runs, begun.progress.run
            if begun.statements:
                runs.store.write(begun.statements)
            plan = self._keeping(begun.plan, waits=False)
            result = replace(plan.resume(begun.progress, sent, timeout=timeout), run=run)
            if end := self._end(run, result):
                runs.store.write(end)
        return result

    async def _ago(self, begun: Begun, sent: Sent | None, timeout: float | None) -> Result:
        with self._carrying(begun):
            return await self._acarried(begun, sent, timeout)

    async def _acarried(self, begun: Begun, sent: Sent | None, timeout: float | None) -> Result:
        keeper, run = self.runs.keeper, begun.progress.run
        if begun.statements:
            await keeper.awrite(begun.statements)
        plan = self._keeping(begun.plan, waits=True)
        result = replace(await plan.aresume(begun.progress, sent, timeout=timeout), run=run)
        if end := self._end(run, result):
            await keeper.awrite(end)
        return result

    def _keeping(self, plan: Plan, *, waits: bool) -> Plan:
        """The plan with the store behind its seams."""
        key = (id(plan), waits)
        if key not in self._kept:
            keeper = self.runs.keeper
            listener = keeper if plan.events is None else _both(keeper, plan.events)
            checkpoint = keeper.acheckpoint(plan) if waits else keeper.checkpoint(plan)
            self._kept[key] = plan.using(events=listener, checkpoint=checkpoint)
        return self._kept[key]

    @contextmanager
    def _carrying(self, begun: Begun) -> Iterator[None]:
        """Lets go of a run in the end; of one that did not come to where it ends or waits so that others may go on with it."""
        try:
            yield
        except BaseException:
            self._let_go(begun)
            raise
        finally:
            self.runs.keeper.closed(begun.progress.run)

    def _let_go(self, begun: Begun) -> None:
        """It stands where it was kept last, which is further on than where it began. What is raised here must not hide why."""
        runs, run = self.runs, begun.progress.run
        try:
            data = runs.store.progress(run)
            stands: dict[str, Any] = {"status": "running"}
            progress = codec.decoded_progress(data) if data else begun.progress
            if progress.waiting and not progress.tokens:
                stands = standing(begun.plan, progress, at=runs.wall())
            runs.store.write([*runs.keeper.rest(run), released(run, runs.owner, **stands)])
        except Exception as error:
            log.warning("run %s is not given back yet: %s", run, error)

    def _end(self, run: str, result: Result) -> list[Statement]:
        now = self.runs.wall()
        rest = self.runs.keeper.rest(run)
        if result.waits:
            return rest
        status = "done" if result.success else "failed"
        error = storable(str(result.error)) if result.error else ""
        end = ended(
            run, again=not result.success, status=status, state=result.final_state, ended=now, updated=now, seconds=result.duration,
            error=error, result=codec.encoded([result]),
        )  # fmt: skip
        return [*rest, *end]


def _both(first: Listener, second: Listener) -> Listener:
    def heard(event: Event) -> None:
        first(event)
        second(event)

    return heard
