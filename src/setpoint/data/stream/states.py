"""A file for each end of a machine: ``sorted/{state}.jsonl`` writes the records that end in ``paid`` to ``sorted/paid.jsonl``.

There is a file for each end that emits output, also where no record comes to it, so that a run replaces all that the run before it wrote.
Each is whole or not there (`files`). They are committed one after the other, with the same mark. A stream that was killed in between left
some of them one commit ahead; since a file keeps its two newest commits, all are cut back to the newest that they have in common. Where
there is none (the power failed, or some files were finished and others not) the stream begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from setpoint.data.definition import Definition
from setpoint.data.result import FAILED
from setpoint.data.stream.files import FileSink, Format
from setpoint.data.stream.marks import Kept
from setpoint.data.stream.parts import Mark, Position, Refused

HOLDER: Final = "{state}"


class StateFiles:
    """Writes each record to the file of the state where it ended. Raises `ValueError` for another mode than `replace`."""

    keeps_mark = True

    def __init__(self, pattern: str, form: Callable[[], Format], *, mode: str = "replace") -> None:
        if mode != "replace":
            raise ValueError(f"{pattern}: a file for each state is replaced as a whole; leave mode={mode!r} out")
        self.name = pattern
        self._form = form
        self._files: dict[str, FileSink] = {}

    @property
    def letters(self) -> Path:
        """The file of dead letters: ``sorted/failed.dead.jsonl``."""
        path = Path(self.name.replace(HOLDER, FAILED))
        return path.with_name(path.name.removesuffix(".gz").rpartition(".")[0] + ".dead.jsonl")

    def expect(self, states: Iterable[str]) -> None:
        """Told before `open`: where records may end. Raises `ValueError` for a state whose name cannot be part of a file's."""
        for state in states:
            if "/" in state or state.startswith("."):
                raise ValueError(f"{self.name}: {state!r} cannot be part of a file's name: name the state otherwise")
            self._files[state] = FileSink(self.name.replace(HOLDER, state), self._form())

    def open(self, resume: bool) -> Mark | None:
        """Begin the files, or cut all back to the same commit. Raises as `FileSink.open`; `ValueError` where no states were told."""
        if not self._files:
            raise ValueError(f"{self.name}: there is no state to write: only streams write a file for each state")
        kept = self._common() if resume else {}
        marks = [file.open_at(kept.get(state)) for state, file in self._files.items()]
        if kept:
            for state, file in self._files.items():
                file.keep(kept[state])  # the newest again, so that the one ahead of it never counts
        return marks[0]

    def write(self, records: Sequence[object], at: Position, states: Sequence[str] = ()) -> Sequence[Refused]:
        """Write each record to the file of its state; refuses those of a state that was not told. Raises `OSError`."""
        numbers: dict[str, list[int]] = {}
        for number, state in enumerate(states):
            numbers.setdefault(state, []).append(number)
        refused: list[Refused] = []
        for state, mine in numbers.items():
            if state not in self._files:  # the machine was replaced while the stream ran
                refused += [Refused(number, f"there was no end {state!r} when the stream began") for number in mine]
                continue
            out = self._files[state].write([records[number] for number in mine], at)
            refused += [Refused(mine[number], reason) for number, reason in out]
        return refused

    def commit(self, mark: Mark) -> None:
        """Keep what was written, and the mark, in each file. Raises `OSError`."""
        for file in self._files.values():
            file.commit(mark)

    def finish(self) -> None:
        """Put each file in its place. Raises `OSError`."""
        for file in self._files.values():
            file.finish()

    def abort(self) -> None:
        """Cut off what was not committed."""
        for file in self._files.values():
            file.abort()

    def _common(self) -> Mapping[str, Kept]:
        """The newest commit that all files have, as each of them kept it; empty where there is none."""
        commits = {
            state: {msgspec.json.encode(kept.mark): kept for kept in reversed(file.commits())}
            for state, file in self._files.items()
        }
        first, *others = commits.values()
        for mark in reversed(first):
            if all(mark in other for other in others):
                return {state: found[mark] for state, found in commits.items()}
        return {}


def ends_of(definition: Definition) -> list[str]:
    """The ends of a machine whose records are written."""
    states = definition.network(definition.main_network).states
    return [state.name for state in states if state.final and state.emit_output and state.name != FAILED]
