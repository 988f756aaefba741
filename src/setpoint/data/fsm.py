"""`SimpleFSM`: a machine for records behind one door.

It reads the configuration, finds the functions, opens the resources when they are first needed, and carries records: one (`process`), many
(`process_batch`), or a stream (`process_stream`). Each has an asynchronous twin. All of them are the same plan underneath, so the same
record gives the same result through each.

The synchronous methods work for machines with async functions as well: those run in an event loop of the machine's own, which `close` ends.
Inside a running loop they refuse, since they would block it: await the twin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import msgspec

from setpoint.data.context import Checkpoint, Listener, Resources, nobody
from setpoint.data.definition import NOWHERE, DataMode, Definition, Function, Resolve
from setpoint.data.errors import PlanError
from setpoint.data.faults import Fault
from setpoint.data.plan import Plan
from setpoint.data.result import Result
from setpoint.data.runs import RunError, Runs
from setpoint.data.runs.carrying import MachineRuns
from setpoint.data.runs.runs import named
from setpoint.machine import Machine

if TYPE_CHECKING:
    from setpoint.data.batch import Batch
    from setpoint.data.change import Difference
    from setpoint.data.debug import Debugger, Trace
    from setpoint.data.events import Kinds
    from setpoint.data.functions import Functions
    from setpoint.data.profile import Profile
    from setpoint.data.runs import Migration
    from setpoint.data.runs.many import StreamRun
    from setpoint.data.stream.report import StreamReport

T = TypeVar("T")
L = TypeVar("L", bound=Listener)
Config = Definition | Machine | Mapping[str, Any] | str | Path


class SimpleFSM:
    """A machine for records.

    `config` is a definition, a file, the text or the mapping of one, or a `Machine`. `functions` are those that the configuration names
    (a mapping, or a registry `Functions`); `resources` are providers by name, or a whole `Resources`. `trust` lets the file contain
    Python. `data_mode` overrides the definition's. `events` and `checkpoint` are the seams of `data.context`. `runs` is the file in which
    runs are kept, or a `Runs`.

    Raises `ConfigError` for a file with faults and `PlanError` for a definition with faults, each with all of them.
    """

    def __init__(
        self,
        config: Config,
        functions: Mapping[str, Function] | Functions | None = None,
        resources: Mapping[str, Any] | Resources | None = None,
        trust: bool = False,
        *,
        data_mode: DataMode | str | None = None,
        events: Listener | None = None,
        checkpoint: Checkpoint | None = None,
        runs: Runs | str | Path | None = None,
    ) -> None:
        self._runner: asyncio.Runner | None = None
        self._given = functions
        self._trust = trust
        self._kept = Runs(runs) if isinstance(runs, str | Path) else runs
        self._runs: MachineRuns | None = None
        if isinstance(config, Machine):
            self.plan = Plan(
                config, functions if isinstance(functions, Mapping) else None, events=events, checkpoint=checkpoint
            )
            return
        definition = config if isinstance(config, Definition) else _loaded(config, functions, trust=trust)
        if data_mode is not None:
            definition = msgspec.structs.replace(definition, data_mode=DataMode(data_mode))
        self.plan = Plan(
            definition,
            resolve=_resolver(functions, trust=trust),
            resources=_supply(definition, resources),
            events=events,
            checkpoint=checkpoint,
            wall=self._kept.wall if self._kept else time.time,
        )
        self._check_waits()

    def _check_waits(self) -> None:
        """Raises `PlanError` for states that wait where nothing keeps the records that do."""
        if self._kept is None and self.plan.checkpoint is None:
            faults = [
                Fault(f"state {row.label!r} waits for {later.event or 'its time'}, so its runs must be kept: pass runs=FILE", NOWHERE)
                for row in self.plan.rows for later in row.later[:1]
            ]  # fmt: skip
            if faults:
                raise PlanError(self.plan.definition.name, faults)

    @property
    def runs(self) -> MachineRuns:
        """The runs of this machine that are kept: to go on with them, and to send them events. Raises `RunError` without ``runs=``."""
        if self._kept is None:
            raise RunError(f"the runs of {self.definition.name!r} are not kept: pass runs=FILE to SimpleFSM")
        if self._runs is None or self._runs.plan is not self.plan:
            self._runs = MachineRuns(self.plan, self._kept, load=self._read, in_loop=self._in_loop)
        return self._runs

    @property
    def keeps_runs(self) -> bool:
        """Whether its runs are kept."""
        return self._kept is not None

    def keeps(self, run: str) -> bool:
        """Whether a run of that name is kept."""
        return self._kept is not None and self._kept.store.get(run) is not None

    def _no_name(self, run: str) -> None:
        """Raises `RunError` for a run that is named and would not be kept."""
        if run:
            raise RunError(f"run {run!r} would not be kept: pass runs=FILE to SimpleFSM, or no name")

    def _read(self, text: str) -> Definition:
        return _loaded(text, self._given, trust=self._trust)

    @property
    def definition(self) -> Definition:
        """What the machine is."""
        return self.plan.definition

    def process(self, record: Any, initial_state: str = "", timeout: float | None = None, *, run: str = "") -> Result:
        """Carry one record to its end. Faults are in the result; `timeout` is in seconds. Raises `KeyError` for an unknown state.

        With ``runs=`` it is a run that is kept, under the name `run`; see `MachineRuns.process`.
        """
        if self._kept is not None:
            return self.runs.process(record, run=run, state=initial_state, timeout=timeout)
        self._no_name(run)
        if self.plan.is_async:
            return self._in_loop(self.plan.arun(record, state=initial_state, timeout=timeout))
        return self.plan.run(record, state=initial_state, timeout=timeout)

    async def aprocess(
        self, record: Any, initial_state: str = "", timeout: float | None = None, *, run: str = ""
    ) -> Result:
        """As `process`."""
        if self._kept is not None:
            return await self.runs.aprocess(record, run=run, state=initial_state, timeout=timeout)
        self._no_name(run)
        return await self.plan.arun(record, state=initial_state, timeout=timeout)

    def process_batch(
        self, records: Iterable[Any], *, ordered: bool = True, max_workers: int = 100, processes: int = 0,
        on_progress: Callable[[int, int | None], object] | None = None, run: str = "",
        on_end: Callable[[Batch], object] | None = None,
    ) -> Batch:  # fmt: skip
        """Carry many records; their results, in their order unless told otherwise.

        `max_workers` records of a machine with async functions are on their way at once; `processes` carries those of any other in so
        many processes. `on_progress` is told how many are done, of how many. With ``runs=`` it is a run that is kept: a batch of that name
        that was interrupted goes on behind the last thousand records that were done. `on_end` is given the batch when all of it is done,
        and only then the run is: what it raises leaves a run that goes on there. Ctrl-C gives what is done.
        """
        from setpoint.data.batch import run_batch
        from setpoint.data.runs import batches

        plan = self.plan
        share: dict[str, Any] = {"concurrency": max_workers, "in_loop": self._in_loop}
        if self._kept is None:
            batch = run_batch(plan, records, ordered=ordered, on_progress=on_progress, processes=processes, **share)
            if on_end is not None and not batch.interrupted:
                on_end(batch)
            return batch
        with batches.carrying(plan, processes=processes, **share) as lot_of:
            return batches.carry(self._many().batch(run), records, lot_of, on_progress, on_end)

    async def aprocess_batch(
        self, records: Iterable[Any] | AsyncIterable[Any], *, ordered: bool = True, max_workers: int = 100,
        on_progress: Callable[[int, int | None], object] | None = None, run: str = "",
    ) -> Batch:  # fmt: skip
        """As `process_batch`; a cancellation is raised as by any coroutine."""
        from setpoint.data.batch import arun_batch
        from setpoint.data.runs import batches

        plan = self.plan
        if self._kept is None:
            return await arun_batch(plan, records, ordered=ordered, concurrency=max_workers, on_progress=on_progress)
        kept = self._many().batch(run)
        return await batches.acarry(
            kept, records, lambda lot: arun_batch(plan, lot, concurrency=max_workers), on_progress
        )

    def process_stream(self, source: Any, sink: Any = None, *, run: str = "", **options: Any) -> StreamReport:
        """Carry the records of a source into a sink: paths, URLs, iterables, lists, functions; `options` as in `stream.run_stream`.

        With ``runs=`` it is a run that is kept, and with ``resume=True`` goes on under its name also where the sink remembers nothing.
        """
        from setpoint.data.stream import run_stream

        options = {"in_loop": self._in_loop, "live": lambda: self.plan, **options}
        if self._kept is None:
            return run_stream(self.plan, source, sink, **options)
        with self._stream(source, sink, run, options) as (kept, ends):
            report = run_stream(self.plan, *ends, **options)
            kept.end(report)
        return report

    async def aprocess_stream(self, source: Any, sink: Any = None, *, run: str = "", **options: Any) -> StreamReport:
        """As `process_stream`."""
        from setpoint.data.stream import arun_stream

        options = {"live": lambda: self.plan, **options}
        if self._kept is None:
            return await arun_stream(self.plan, source, sink, **options)
        with self._stream(source, sink, run, options) as (kept, ends):
            report = await arun_stream(self.plan, *ends, **options)
            kept.end(report)
        return report

    @contextmanager
    def _stream(
        self, source: Any, sink: Any, run: str, options: dict[str, Any]
    ) -> Iterator[tuple[StreamRun, tuple[Any, Any]]]:
        """The run that keeps a stream, and the stream's ends; `options` then has it told of each commit."""
        from setpoint.data.stream.run import opened

        ends = opened(source, sink)
        about = {"input": named(source), "output": named(sink)}
        kept = self._many().stream(run, about, each=not ends[1].keeps_mark)
        tell = options.get("on_commit")

        def commit(mark: Any) -> Any:
            kept.keep(mark)
            return tell(mark) if tell is not None else None

        options["on_commit"] = commit
        with kept:
            if options.get("resume"):
                options.setdefault("start", kept.mark)
            yield kept, ends

    def swap(
        self, config: Definition | Mapping[str, Any] | str | Path, *, migration: Migration | None = None
    ) -> list[Difference]:
        """From now on carry records through another version of the machine; what is different in it.

        Runs in flight finish with the version they began with; a stream takes the new one with its next chunk. With a `migration` (old
        state to new state; those of the same name need no entry) all runs that wait or were interrupted move to it, or nothing is changed.
        Raises `ConfigError`, `PlanError` and `ValueError` for a machine with faults, and `NotMigrated`.
        """
        from setpoint.data.change import differences
        from setpoint.data.check import check

        definition = config if isinstance(config, Definition) else _loaded(config, self._given, trust=self._trust)
        errors = [str(finding) for finding in check(definition) if finding.severity == "error"]
        if errors:
            raise ValueError(f"machine {definition.name!r} is not taken: {'; '.join(errors)}")
        if definition.name != self.definition.name:
            raise ValueError(f"{definition.name!r} is another machine, not another version of {self.definition.name!r}")
        found, before = differences(self.definition, definition), (self.plan, self._runs)
        self.plan = self.plan.remade(definition)
        try:
            self._check_waits()
            if migration is not None:
                self.runs.move(migration)
        except BaseException:
            self.plan, self._runs = before
            raise
        return found

    def _many(self) -> MachineRuns:
        """The runs, for many records at once. Raises `RunError` for a machine whose records may wait, each for itself."""
        if any(row.later for row in self.plan.rows):
            raise RunError(
                f"records of {self.definition.name!r} may wait, so each is a run of its own: carry them one by one, by "
                "process(record, run=NAME) or setpoint run --data JSON --name NAME"
            )
        return self.runs

    @overload
    def on(
        self, kinds: Kinds, call: None = None, *, state: str = "", arc: str = "", network: str = ""
    ) -> Callable[[L], L]: ...
    @overload
    def on(
        self, kinds: Kinds, call: Listener, *, state: str = "", arc: str = "", network: str = ""
    ) -> Callable[[], None]: ...
    def on(
        self, kinds: Kinds, call: Any = None, *, state: str = "", arc: str = "", network: str = ""
    ) -> Callable[..., Any]:
        """From now on call a function with each event of these kinds (`Kind`, one or several; ``"*"`` for all); returns what ends that.

        Without `call` it is a decorator. `state` (where it happens: for an arc, its source), `arc` (``a->b``, or its name) and `network`
        say more closely which. Listeners are ordinary functions, called at once and in order: the record waits (see `data.events`). Runs
        that have begun already are not heard. Raises `ValueError` for a kind, `KeyError` for a state, arc or network there is not, and
        `TypeError` for a coroutine function.
        """
        from setpoint.data.events import Events, selection

        if call is None:
            return partial(self._listening, kinds, state=state, arc=arc, network=network)
        chosen = selection(self.plan, kinds, state=state, arc=arc, network=network)
        heard = self.plan.events
        bus = heard if isinstance(heard, Events) else Events(heard)
        off = bus.add(call, chosen)
        self.plan = self.plan.using(events=bus)

        def end() -> None:
            off()
            if not len(bus) and self.plan.events is bus:
                self.plan = self.plan.using(events=nobody)

        return end

    def _listening(self, kinds: Kinds, call: L, *, state: str, arc: str, network: str) -> L:
        self.on(kinds, call, state=state, arc=arc, network=network)
        return call

    def debug(
        self, record: Any, initial_state: str = "", timeout: float | None = None, *, history: int = 1000
    ) -> Debugger:
        """A run of the record that is moved by hand: by states and arcs, back and forth (see `data.debug`).

        `timeout` is in seconds of moving, `history` is how many moments are kept. Raises `KeyError` for an unknown state, `TypeError` for
        a record that cannot be copied. Close it, or use it as a context manager.
        """
        from setpoint.data.debug import Debugger

        return Debugger(self.plan, record, state=initial_state, timeout=timeout, history=history, in_loop=self._in_loop)

    @contextmanager
    def trace(self, limit: int = 10_000) -> Iterator[Trace]:
        """Writes down all that happens to records as long as the context lasts, at most so many entries: the last ones."""
        from setpoint.data.debug import Trace

        trace = Trace(limit)
        off = self.on("*", trace)
        try:
            yield trace
        finally:
            off()

    @contextmanager
    def profile(self) -> Iterator[Profile]:
        """Measures how long records spend in each state and on each arc, as long as the context lasts."""
        from setpoint.data.profile import Profile

        profile = Profile(self.plan)
        off = self.on("*", profile)
        try:
            yield profile
        finally:
            off()

    def close(self) -> None:
        """Close the resources and end the machine's own loop. Idempotent."""
        resources: Any = self.plan.resources
        if hasattr(resources, "aclose") and resources.is_async:
            self._in_loop(resources.aclose())
        elif hasattr(resources, "close"):
            resources.close()
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    async def aclose(self) -> None:
        """Close the resources. Idempotent."""
        resources: Any = self.plan.resources
        if hasattr(resources, "aclose"):
            await resources.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(work)
        work.close()
        raise RuntimeError(
            f"{self.definition.name!r} has async functions and a loop is running here: await the method that begins with a"
        )


def _loaded(
    config: Mapping[str, Any] | str | Path, functions: Mapping[str, Function] | Functions | None, *, trust: bool
) -> Definition:
    from setpoint.data.config import load

    return load(config, trust=trust, functions=tuple(functions or ()))


def _resolver(functions: Mapping[str, Function] | Functions | None, *, trust: bool) -> Resolve:
    from setpoint.data.functions import resolver

    return resolver(functions, trust=trust)


def _supply(definition: Definition, resources: Mapping[str, Any] | Resources | None) -> Resources | None:
    if resources is None and not definition.resources:
        return None
    if resources is not None and not isinstance(resources, Mapping):
        return resources
    from setpoint.data.resources import manager

    return manager(definition.resources, resources, transactions=definition.transactions)
