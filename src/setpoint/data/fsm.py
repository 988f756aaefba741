"""`SimpleFSM`: a machine for records behind one door.

It reads the configuration, finds the functions, opens the resources when they are first needed, and carries records: one (`process`), many
(`process_batch`), or a stream (`process_stream`). Each has an asynchronous twin. All of them are the same plan underneath, so the same
record gives the same result through each.

The synchronous methods work for machines with async functions as well: those run in an event loop of the machine's own, which `close` ends.
Inside a running loop they refuse, since they would block it: await the twin.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from setpoint.data.context import Checkpoint, Listener, Resources
from setpoint.data.definition import DataMode, Definition, Function, Resolve
from setpoint.data.plan import Plan
from setpoint.data.result import Result
from setpoint.machine import Machine

if TYPE_CHECKING:
    from setpoint.data.batch import Batch
    from setpoint.data.functions import Functions
    from setpoint.data.stream.report import StreamReport

T = TypeVar("T")
Config = Definition | Machine | Mapping[str, Any] | str | Path


class SimpleFSM:
    """A machine for records.

    `config` is a definition, a file, the text or the mapping of one, or a `Machine`. `functions` are those that the configuration names
    (a mapping, or a registry `Functions`); `resources` are providers by name, or a whole `Resources`. `trust` lets the file contain
    Python. `data_mode` overrides the definition's. `events` and `checkpoint` are the seams of `data.context`.

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
    ) -> None:
        self._runner: asyncio.Runner | None = None
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
        )

    @property
    def definition(self) -> Definition:
        """What the machine is."""
        return self.plan.definition

    def process(self, record: Any, initial_state: str = "", timeout: float | None = None) -> Result:
        """Carry one record to its end. Faults are in the result; `timeout` is in seconds. Raises `KeyError` for an unknown state."""
        if self.plan.is_async:
            return self._in_loop(self.plan.arun(record, state=initial_state, timeout=timeout))
        return self.plan.run(record, state=initial_state, timeout=timeout)

    async def aprocess(self, record: Any, initial_state: str = "", timeout: float | None = None) -> Result:
        """Carry one record to its end."""
        return await self.plan.arun(record, state=initial_state, timeout=timeout)

    def process_batch(
        self, records: Iterable[Any], *, ordered: bool = True, max_workers: int = 100, processes: int = 0,
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> Batch:  # fmt: skip
        """Carry many records; their results, in their order unless told otherwise.

        `max_workers` records of a machine with async functions are on their way at once; `processes` carries those of any other in so
        many processes. `on_progress` is told how many are done, of how many.
        """
        from setpoint.data.batch import arun_batch, run_batch

        if self.plan.is_async and not processes:
            work = arun_batch(self.plan, records, ordered=ordered, concurrency=max_workers, on_progress=on_progress)
            return self._in_loop(work)
        return run_batch(
            self.plan, records, ordered=ordered, concurrency=max_workers, processes=processes, on_progress=on_progress
        )

    async def aprocess_batch(
        self, records: Iterable[Any] | AsyncIterable[Any], *, ordered: bool = True, max_workers: int = 100,
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> Batch:  # fmt: skip
        """Carry many records; their results, in their order unless told otherwise."""
        from setpoint.data.batch import arun_batch

        return await arun_batch(self.plan, records, ordered=ordered, concurrency=max_workers, on_progress=on_progress)

    def process_stream(self, source: Any, sink: Any = None, **options: Any) -> StreamReport:
        """Carry the records of a source into a sink: paths, URLs, iterables, lists, functions; `options` as in `stream.run_stream`."""
        from setpoint.data.stream import arun_stream, run_stream

        if self.plan.is_async:
            return self._in_loop(arun_stream(self.plan, source, sink, **options))
        return run_stream(self.plan, source, sink, **options)

    async def aprocess_stream(self, source: Any, sink: Any = None, **options: Any) -> StreamReport:
        """Carry the records of a source into a sink."""
        from setpoint.data.stream import arun_stream

        return await arun_stream(self.plan, source, sink, **options)

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
