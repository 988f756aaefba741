"""A folder or a pattern (``in/*.csv``) as one source: its files one after the other, in the order of their names.

A position is the file's path from the folder on and the position in it. On resume, files whose names come before that one are done with. A
place is the file and the place in it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path

from setpoint.data.stream.parts import Chunk, Malformed, Position, Source

HIDDEN = (".part", ".mark", ".whole", ".dead.jsonl")


class Folder:
    """Reads all files below a folder, or those that a pattern names, each by `opener`. Files that streams are writing are left out."""

    def __init__(self, where: str | os.PathLike[str], opener: Callable[[Path], Source]) -> None:
        self.name = os.fspath(where)
        self._opener = opener
        self._root = Path(where) if os.path.isdir(where) else Path()
        self._files = _files(self.name, self._root)
        self._current: Source | None = None
        self._after: Position | None = None

    def read(self, limit: int) -> Chunk | None:
        """The next records of the file at hand, or of the next file. Raises `OSError`, and what its reader raises."""
        while self._files:
            name = self._files[0]
            if self._current is None:
                self._current = self._opener(self._root / name)
                if self._after is not None:
                    self._current.seek(self._after)
                    self._after = None
            chunk = self._current.read(limit)
            if chunk is not None:
                return _placed(chunk, name)
            self._current.close()
            self._current = None
            self._files.pop(0)
        return None

    def seek(self, position: Position) -> None:
        """Go on in that file. Raises `ValueError` where it is gone."""
        name = position["file"]
        if name not in self._files:
            raise ValueError(
                f"{self.name}: {name} is gone; the stream was broken off in it and cannot be resumed without it"
            )
        self._files = self._files[self._files.index(name) :]
        self._after = position["at"]

    def acknowledge(self, position: Position) -> None:
        """Files stay."""

    def close(self) -> None:
        """Closes the file at hand."""
        if self._current is not None:
            self._current.close()
            self._current = None


def _files(where: str, root: Path) -> list[str]:
    if os.path.isdir(where):
        found = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    else:
        found = [path for path in glob.glob(where, recursive=True) if os.path.isfile(path)]
    kept = [path for path in found if not path.endswith(HIDDEN) and not os.path.basename(path).startswith(".")]
    if not kept:
        raise FileNotFoundError(f"{where}: there is no file to read")
    return sorted(kept)


def _placed(chunk: Chunk, name: str) -> Chunk:
    places = [f"{name}:{place}" for place in chunk.places]
    malformed = [Malformed(f"{name}:{place}", reason, text) for place, reason, text in chunk.malformed]
    return Chunk(chunk.records, {"file": name, "at": chunk.position}, places, malformed, chunk.original)
