"""What came of a stream: what was read, where each record ended, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from setpoint.data.result import DROPPED, SPLIT, Result
from setpoint.data.stream.dead import DeadLetters, Letter, failed
from setpoint.data.stream.parts import Chunk, Counts, Mark, Refused


class StreamReport(msgspec.Struct):
    """How a stream went, or goes. Counts include those before a resume; `duration` and `seconds` are of this run.

    `seconds` says how long was spent reading (`source`), carrying (`plan`) and writing (`sink`); in an asynchronous stream these overlap,
    and `waited` says how long each of them stood still because its neighbour was slower. `dead_letters` is the file of `Letter`s, `first`
    the first of them in this run. `resumed_from` is the mark it went on from.
    """

    counts: Counts = msgspec.field(default_factory=Counts)
    duration: float = 0.0
    seconds: dict[str, float] = msgspec.field(default_factory=lambda: {"source": 0.0, "plan": 0.0, "sink": 0.0})
    waited: dict[str, float] = {}
    first: list[Letter] = []
    dead_letters: str = ""
    resumed_from: Mark | None = None
    interrupted: bool = False
    finished: bool = False

    @property
    def read(self) -> int:
        """How many records were read, malformed ones not included."""
        return self.counts.read

    @property
    def malformed(self) -> int:
        """How many pieces of input were no record."""
        return self.counts.malformed

    @property
    def emitted(self) -> Mapping[str, int]:
        """How many records were written, by the state where they ended."""
        return self.counts.emitted

    @property
    def excluded(self) -> Mapping[str, int]:
        """How many ended well and were not written: in a state that emits no output, or dropped."""
        return self.counts.excluded

    @property
    def failed(self) -> Mapping[str, int]:
        """How many failed, by the state where they ended."""
        return self.counts.failed

    @property
    def total(self) -> int:
        """Everything that was read: records and what was none."""
        return self.counts.read + self.counts.malformed

    @property
    def successful(self) -> int:
        """How many records (or parts of split ones) ended well."""
        return sum(self.counts.emitted.values()) + sum(self.counts.excluded.values())

    @property
    def success(self) -> bool:
        """Whether the stream came to its end and everything that was read came through."""
        return self.finished and not self.counts.malformed and not self.counts.failed

    @property
    def throughput(self) -> float:
        """Records read a second, in this run."""
        before = self.resumed_from.counts if self.resumed_from and not self.resumed_from.done else Counts()
        here = self.total - before.read - before.malformed
        return here / self.duration if self.duration else 0.0


class StreamError(Exception):
    """A source or a sink broke in the middle. `report` says how far it came; what was committed stays and can be resumed."""

    def __init__(self, what: str, report: StreamReport) -> None:
        self.report = report
        counts = report.counts
        super().__init__(
            f"{what}; {counts.read} records read, {sum(counts.emitted.values())} written and kept. "
            "Run it again with resume=True to go on from there"
        )


class TooManyErrors(Exception):
    """More of what was read failed, or was no record, than the stream was told to put up with."""

    def __init__(self, counts: Counts, threshold: float, example: str) -> None:
        bad, total = sum(counts.failed.values()) + counts.malformed, counts.read + counts.malformed
        super().__init__(f"{bad} of {total} failed or were no records, and error_threshold is {threshold:g}: {example}")


class Sorted(msgspec.Struct, frozen=True):
    """What is to be written of a chunk: the records, the state where each ended and the index of the record it came from."""

    records: list[Any]
    states: list[str]
    origins: Sequence[int]


class Accounts:
    """Sorts results into those that are written and those that are not, counts both, and sends dead letters."""

    def __init__(self, letters: DeadLetters, *, source: str) -> None:
        self.counts = Counts()
        self._letters = letters
        self._source = source

    def sort(self, chunk: Chunk, results: Sequence[Result], silent: frozenset[str]) -> Sorted:
        """What is to be written of these results, those that ended in `silent` states excepted; the rest is counted."""
        records: list[Any] = []
        states: list[str] = []
        origins: list[int] = []
        for index, result in enumerate(results):
            state = result.final_state
            if result.error is None and state not in silent:
                records.append(result.data)
                states.append(state)
                origins.append(index)
            else:
                for end in ends(result):
                    if end.error is None and end.final_state not in silent:
                        records.append(end.data)
                        states.append(end.final_state)
                        origins.append(index)
                    else:
                        self._leave(chunk, index, end)
        self.counts.read += len(results)
        for bad in chunk.malformed:
            self.counts.malformed += 1
            self._letters.add(Letter(bad.place, "malformed", bad.reason, self._source, text=bad.text))
        return Sorted(records, states, origins)

    def wrote(self, chunk: Chunk, written: Sorted, refused: Sequence[Refused]) -> None:
        """The sink has taken these, except those it refused."""
        emitted = self.counts.emitted
        for state in set(written.states):
            emitted[state] = emitted.get(state, 0) + written.states.count(state)
        for number, reason in refused:
            state, origin = written.states[number], written.origins[number]
            emitted[state] -= 1
            if not emitted[state]:
                del emitted[state]
            self._fail(state)
            letter = Letter(chunk.places[origin], "unwritable", reason, self._source, state, record=chunk.was(origin))
            self._letters.add(letter)

    def _leave(self, chunk: Chunk, index: int, end: Result) -> None:
        if end.error is None:
            self.counts.excluded[end.final_state] = self.counts.excluded.get(end.final_state, 0) + 1
            return
        self._fail(end.final_state)
        at, record = chunk.places[index], chunk.was(index)
        self._letters.add(failed(end.error, at=at, source=self._source, record=record, ended=end.final_state))

    def _fail(self, state: str) -> None:
        self.counts.failed[state] = self.counts.failed.get(state, 0) + 1


def silent_states(plan: Any) -> frozenset[str]:
    """The ends whose records are not written: those the plan says, and the two where no record is left."""
    return frozenset(plan.silent) | {DROPPED, SPLIT}


def ends(result: Result) -> list[Result]:
    """The results of the records that came of it, however often it was split. A split into nothing is an end of its own."""
    if result.final_state != SPLIT or not result.parts:
        return [result]
    return [end for part in result.parts for end in ends(part)]
