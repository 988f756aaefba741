"""Runs that are kept: where they are, what became of them, and what happened to them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from setpoint.data.result import Result
from setpoint.data.runs import codec
from setpoint.data.runs.errors import RunError
from setpoint.data.runs.keeper import Keeper
from setpoint.store.run_rows import Query, RunRow, StepRow, changed, ended, forgotten, storable
from setpoint.store.runs import RunStore, Sync, me

_OWNERS: Final = itertools.count(1)
DAY: Final = 86_400.0
PRUNE_EVERY: Final = 3600.0


class Runs:
    """The runs in a file, made where there is none.

    Runs that ended more than `days` ago are forgotten (0: never). With `records` each step keeps what the record was after it. A run is
    safe against the death of the process, with ``sync="power"`` against that of the machine. `wall` gives seconds since the epoch. `about`
    is noted with every run that begins. The file holds the records of its runs: only its owner can read it.

    Raises `StoreError` where the file cannot be used.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        days: float = 30.0,
        records: bool = True,
        sync: Sync = "process",
        read_only: bool = False,
        about: Mapping[str, Any] = MappingProxyType({}),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = RunStore(file, sync=sync, read_only=read_only)
        self.wall, self.about = wall, about
        self.owner = f"{me()}/{next(_OWNERS)}"
        self._days = days
        self._pruned = float("-inf")
        self.keeper = Keeper(self.store.write, wall=wall, records=records)
        if not read_only:
            self.tidy()

    def tidy(self) -> None:
        """Forget what is older than it need be; does something once an hour. Called as runs begin."""
        now = self.wall()
        if self._days and not 0 <= now - self._pruned < PRUNE_EVERY:
            self._pruned = now
            self.store.prune(before=now - self._days * DAY)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self.store.close()

    def find(self, query: Query | None = None, **wanted: Any) -> list[RunRow]:
        """The runs that are asked for, the newest first; `wanted` are the fields of `Query`."""
        return self.store.find(query or Query(**wanted))

    def count(self, query: Query | None = None, **wanted: Any) -> dict[str, int]:
        """How many there are, by status."""
        return self.store.count(query or Query(**wanted))

    def get(self, run: str) -> RunRow:
        """The run of that name. Raises `RunError`."""
        found = self.store.get(nameable(run))
        if found is None:
            raise RunError(f"there is no run {run!r} in {self.store.file}")
        return found

    def meant(self, run: str) -> RunRow:
        """The run of that name, or the only one whose name begins so: for people who type it. Raises `RunError`."""
        near = self.store.begins(nameable(run)) if run and self.store.get(nameable(run)) is None else []
        if len(near) > 1:
            raise RunError(f"several runs begin with {run!r}: {', '.join(row.id for row in near)}")
        return near[0] if near else self.get(run)

    def is_carried(self, row: RunRow) -> bool:
        """Whether a process carries the run: another one, or this one just now."""
        return row.status == "running" and (row.owner != self.owner or self.keeper.works(row.id))

    def steps(self, run: str) -> list[tuple[StepRow, Any]]:
        """What happened to a run of one record, in order, with the record after each state where that was kept (else None)."""
        steps = self.store.steps(self.get(run).id)
        return [(step, None if step.record is None else codec.decoded_value(step.record)) for step in steps]

    def result(self, run: str) -> Result | None:
        """What came of a run of one record; None while it has not ended, and for batches and streams."""
        data = self.store.result(self.get(run).id)
        return None if data is None else codec.decoded_results(data)[0]

    def results(self, run: str) -> Iterator[tuple[int, Result]]:
        """What came of the records of a batch, in order, each with its number."""
        for first, data in self.store.results(self.get(run).id):
            yield from enumerate(codec.decoded_results(data), first)

    def stop(self, run: str, why: str = "") -> None:
        """End a run that waits or was left; it goes on no more. Raises `RunError` for one that is being carried, or has ended."""
        row = self.get(run)
        if self.is_carried(row) or not self.store.claim(row.id, self.owner):
            raise RunError(f"run {row.id} is {row.status}: only a run that waits or was interrupted can be stopped")
        now = self.wall()
        self.store.write(ended(row.id, again=True, status="stopped", ended=now, updated=now, error=storable(why)))

    def delete(self, run: str) -> None:
        """Forget a run. Raises `RunError` for one that is being carried."""
        row = self.get(run)
        if self.is_carried(row) or (row.ended is None and not self.store.claim(row.id, self.owner)):
            raise RunError(f"run {row.id} is being carried; stop that first")
        self.store.write(forgotten(row.id))

    def prune(self, *, days: float, keep_failed: bool = False) -> int:
        """Forget the runs that ended so long ago; how many they were."""
        return self.store.prune(before=self.wall() - days * DAY, keep_failed=keep_failed)

    def note(self, run: str, **fields: Any) -> None:
        """Columns of a run, by name; for the parts of the runtime."""
        self.store.write([changed(run, updated=self.wall(), **fields)])


def nameable(run: str) -> str:
    """The name. Raises `RunError` for one that cannot be written."""
    if storable(run) != run:
        raise RunError(f"{storable(run)!r} cannot be the name of a run: part of it is no character")
    return run


def plain_about(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was started with, as texts and numbers."""
    return {
        key: value if isinstance(value, int | float | bool) else storable(str(value))
        for key, value in about.items()
        if value is not None
    }


def named(end: object) -> str:
    """The source or sink of a stream for people: its path or URL without a password, else its type."""
    from setpoint.secrets import without_secrets

    return without_secrets(os.fspath(end)) if isinstance(end, str | os.PathLike) else type(end).__name__
