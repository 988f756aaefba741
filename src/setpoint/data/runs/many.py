"""Batches and streams that are kept: how far they came, and, of a batch, what came of each record.

A batch is carried in lots of `LOT` records; the results of a lot are kept together, and a batch that is begun again under its name carries
only the lots of which nothing is kept. A stream keeps the mark of its last commit. Where the sink keeps marks itself (files, databases)
that one counts and this one only says how far the stream is; for any other sink it is where a resume goes on, and the chunk that was in
hand may be written twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from setpoint.data.result import Result
from setpoint.data.runs import codec
from setpoint.data.runs.errors import RunError
from setpoint.data.runs.runs import Runs
from setpoint.data.stream.parts import Mark
from setpoint.data.stream.report import StreamReport
from setpoint.store.run_rows import RunRow, Statement, Status, came, changed, created, ended, kept, released, storable

log = logging.getLogger("setpoint.data")
LOT: Final = 1000
TELL_EVERY: Final = 1.0
"""Seconds between two notes of how far a stream is whose sink keeps the marks."""


class Many:
    """A batch or a stream that this process carries. Use it as a context manager: left early, it is a run that was interrupted.

    `row` is the run as it would begin; one of that name that was interrupted goes on. Raises `RunError` for one that cannot.
    """

    over: Sequence[Status] = ("done",)
    """How a run stands that has come to its end for good."""
    one_version = True
    """Whether it goes on only with the version of the machine that it began with."""

    def __init__(self, runs: Runs, row: RunRow, definition: Sequence[Statement]) -> None:
        self.runs, self.row = runs, row
        runs.tidy()
        runs.keeper.opened(row.id)
        try:
            self._begin(definition)
        except BaseException:
            runs.keeper.closed(row.id)
            raise

    def _begin(self, definition: Sequence[Statement]) -> None:
        row, store = self.row, self.runs.store
        known = store.get(row.id)
        if known is None:
            store.write([*definition, *created(row, b"")])
            return
        if known.kind != row.kind or known.machine != row.machine:
            raise RunError(f"run {row.id} is a {known.kind} of machine {known.machine!r}: give this one another name")
        if known.status in self.over:
            raise RunError(f"run {row.id} is {known.status}: give this one another name, or delete that one")
        if known.hash != row.hash and self.one_version:
            raise RunError(
                f"run {row.id} began with another version of machine {row.machine!r}: finish it with that one, or begin under another name"
            )
        if not store.claim(row.id, row.owner, again=True):
            raise RunError(f"run {row.id} is being carried by another process")
        store.write([*definition, changed(row.id, hash=row.hash, version=row.version)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._let_go(f"{type(error).__name__}: {error}" if isinstance(error, Exception) else "")
        finally:
            self.runs.keeper.closed(self.row.id)

    def _let_go(self, why: str) -> None:
        """It was interrupted. What is raised here must not hide why."""
        try:
            self.runs.store.write([released(self.row.id, self.row.owner, status="running", error=storable(why))])
        except Exception as error:
            log.warning("run %s is not given back yet: %s", self.row.id, error)

    def leave(self) -> None:
        """It was interrupted, and can go on."""
        self.runs.store.write([changed(self.row.id, owner="", status="running", updated=self.runs.wall())])

    def finish(self, counts: Mapping[str, int], *, seconds: float, failed: bool) -> None:
        """It has come to its end."""
        now = self.runs.wall()
        end = ended(
            self.row.id, again=False, status="failed" if failed else "done", state="", ended=now, updated=now, seconds=seconds,
            counts=said(counts), error="",
        )  # fmt: skip
        self.runs.store.write(end)


class BatchRun(Many):
    """A batch; the results of its lots are kept."""

    def known(self, first: int, count: int) -> list[Result] | None:
        """The results of the lot that begins with this record; None where they are not all there."""
        data = self.runs.store.lot(self.row.id, first)
        results = codec.decoded_results(data) if data is not None else []
        return results if len(results) == count else None

    def keep(self, first: int, results: list[Result]) -> None:
        """Keep the results of a lot. Raises `NotKept`."""
        lot = came(self.row.id, first, codec.encoded(list(results)))
        self.runs.store.write([lot, changed(self.row.id, updated=self.runs.wall())])


class StreamRun(Many):
    """A stream; its marks are kept. `each`: every one of them, because the sink keeps none.

    It takes another version of the machine with any chunk. One in which records failed has been through to its end all the same.
    """

    over = ("done", "failed")
    one_version = False

    def __init__(self, runs: Runs, row: RunRow, definition: Sequence[Statement], *, each: bool) -> None:
        super().__init__(runs, row, definition)
        self._each = each
        self._told = float("-inf")

    @property
    def mark(self) -> Mark | None:
        """The mark of its last commit, where one is kept. Raises `RunError` where it cannot be read."""
        data = self.runs.store.progress(self.row.id)
        try:
            return msgspec.json.decode(data, type=Mark) if data else None
        except msgspec.DecodeError as error:
            raise RunError(f"what is kept of how far run {self.row.id} came cannot be read: {error}") from error

    def keep(self, mark: Mark) -> None:
        """A chunk was committed."""
        now = self.runs.wall()
        if self._each or not 0 <= now - self._told < TELL_EVERY:
            self._told = now
            counts = said(summary(mark.counts))
            row = changed(self.row.id, updated=now, counts=counts)
            self.runs.store.write([kept(self.row.id, msgspec.json.encode(mark)), row])

    def end(self, report: StreamReport) -> None:
        """The stream ended, or was told to."""
        if not report.finished:
            self.leave()
            return
        self.finish(summary(report.counts), seconds=report.duration, failed=not report.success)


def summary(counts: Any) -> dict[str, int]:
    """The counts of a stream, as few numbers."""
    named = {"read": counts.read, "malformed": counts.malformed}
    for name in ("emitted", "excluded", "failed"):
        named |= {f"{name} {state}": number for state, number in getattr(counts, name).items()}
    return {name: number for name, number in named.items() if number}


def said(counts: Mapping[str, int]) -> str:
    """Counts as the row of a run holds them: JSON."""
    return msgspec.json.encode(counts).decode()
