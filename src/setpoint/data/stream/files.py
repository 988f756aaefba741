"""Files out: a file is whole or not there, and a stream that broke off goes on where it was.

`replace` writes ``<file>.part`` beside the file and gives it the file's name at the end; until then the old file stands. `append` adds to
the file itself. In both cases ``<file>.mark`` keeps, at each commit, how long the file was and where the source stood; to resume, the file
is cut back to that length. So a record is in the output exactly once, also after `kill -9`; after a power cut too (see `marks`). Beside a
file that was appended to, the mark stays: a later resume goes on in the source where this one ended.

A gzipped file gets one gzip member for each commit, which readers see as one stream.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import msgspec

from setpoint.data.stream.dead import write_all
from setpoint.data.stream.delimited import DelimitedFormat
from setpoint.data.stream.marks import Kept, MarkFile
from setpoint.data.stream.parts import Mark, Position, Refused


class Format(Protocol):
    """How records become bytes. `appends`: more may be written behind what is finished."""

    appends: bool

    def head(self) -> bytes:
        """What a file begins with."""

    def encode(self, records: Sequence[Any]) -> tuple[bytes, Sequence[Refused]]:
        """The next records, and those that cannot be written."""

    def tail(self) -> bytes:
        """What a file ends with."""

    def state(self) -> Mapping[str, Any]:
        """What must be known to go on later; plain JSON data."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


class FileSink:
    """Writes a file in a format. Raises `ValueError` for `append` with a format that ends its file."""

    keeps_mark = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        form: Format,
        *,
        mode: Literal["replace", "append"] = "replace",
        marks: MarkFile | None = None,
    ) -> None:
        if mode == "append" and not form.appends:
            raise ValueError(f"{path}: a JSON array cannot be appended to; write JSON Lines (.jsonl)")
        self.path = Path(path)
        self._form = form
        self._atomic = mode == "replace"
        self._zipped = self.path.name.endswith(".gz")
        self._work = self.path.with_name(self.path.name + ".part") if self._atomic else self.path
        self._marks = marks or MarkFile(self.path.with_name(self.path.name + ".mark"))
        self._file: int | None = None
        self._size = self._kept = 0
        self._resumable = False
        self._mark: Mark | None = None
        if isinstance(form, DelimitedFormat):
            form.grows = self._atomic

    def open(self, resume: bool) -> Mark | None:
        """Begin the file, or go on behind the last commit. Raises `OSError`; `ValueError` where the file is not what was committed."""
        commits = self.commits() if resume else []
        return self.open_at(commits[0] if commits else None)

    def commits(self) -> list[Kept]:
        """The commits to which the file can be cut back, the newest first."""
        return self._marks.commits() if self._work.exists() else []

    def open_at(self, kept: Kept | None) -> Mark | None:
        """Go on behind one of its `commits`; begin where that is None. Raises as `open`."""
        self._work.parent.mkdir(parents=True, exist_ok=True)
        if kept is None:
            self._begin()
            return None
        self._file = os.open(self._work, os.O_RDWR | os.O_CLOEXEC)
        size = os.fstat(self._file).st_size
        if size < kept.size:
            raise ValueError(
                f"{self._work} has {size} bytes, but {kept.size} were committed: it was changed; start again without resume"
            )
        self._size = self._kept = size if kept.done else kept.size  # what others wrote since it was done is theirs
        os.ftruncate(self._file, self._size)
        os.lseek(self._file, self._size, os.SEEK_SET)
        self._resumable = True
        self._mark = kept.mark
        self._form.restore(kept.state)
        return kept.mark

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Write the records, except those that the format cannot say. Raises `OSError`."""
        data, refused = self._form.encode(records)
        self._put(data)
        return refused

    def commit(self, mark: Mark) -> None:
        """Keep what was written, and the mark. Raises `OSError`."""
        self._kept = self._size
        self._resumable = True
        self._mark = mark
        self._marks.keep(Kept(mark, self._size, self._form.state()), file=self._descriptor())

    def keep(self, kept: Kept) -> None:
        """Have a commit that the file was opened at be its newest. Raises `OSError`."""
        self._marks.keep(kept, file=self._descriptor())

    def finish(self) -> None:
        """End the file, put it in its place, forget the mark. Raises `OSError`."""
        self._put(self._form.tail())
        os.fsync(self._descriptor())
        if not self._atomic:
            mark = self._mark and msgspec.structs.replace(self._mark, done=True)
            self._marks.keep(Kept(mark, self._size, self._form.state(), done=True), file=self._descriptor(), sync=True)
        self._close()
        if self._atomic:
            if isinstance(self._form, DelimitedFormat) and self._form.incomplete:
                self._complete(self._form)
            os.replace(self._work, self.path)
            _sync_folder(self.path.parent)
            self._marks.remove()
        self._marks.close()

    def abort(self) -> None:
        """Cut off what was not committed; where nothing was, leave nothing behind."""
        if self._file is None:
            return
        os.ftruncate(self._file, self._kept)
        self._close()
        self._marks.close()
        if self._atomic and not self._resumable:
            self._work.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._marks.remove()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if self._atomic else 0)
        self._file = os.open(self._work, flags, 0o644)
        self._size = self._kept = os.lseek(self._file, 0, os.SEEK_END)
        if self._size == 0:
            self._put(self._form.head())
        elif isinstance(self._form, DelimitedFormat):
            self._form.adopt(self._beginning())
        if not self._atomic:  # so that a resume knows what was there before
            self._marks.keep(Kept(None, self._size, self._form.state()), file=self._file)

    def _beginning(self) -> bytes:
        with gzip.open(self._work) if self._zipped else self._work.open("rb") as file:
            return bytes(file.read(1 << 16))

    def _put(self, data: bytes) -> None:
        if data:
            data = gzip.compress(data, 6, mtime=0) if self._zipped else data
            write_all(self._descriptor(), data)
            self._size += len(data)

    def _complete(self, form: DelimitedFormat) -> None:
        """Writes the file once more, with all its columns."""
        whole = self._work.with_name(self.path.name + ".whole")
        with _opened(self._work, "rb", self._zipped) as source, _opened(whole, "wb", self._zipped) as target:
            form.complete(source, target)
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(whole, self._work)

    def _descriptor(self) -> int:
        if self._file is None:
            raise ValueError(f"{self.path} is not open for writing")
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class PipeSink:
    """Writes a format to standard output or any open binary file, as it comes: after a resume a chunk may come twice."""

    keeps_mark = False

    def __init__(self, form: Format, file: BinaryIO | None = None) -> None:
        self._form = form
        self._file = file or sys.stdout.buffer
        if isinstance(form, DelimitedFormat):
            form.grows = False

    def open(self, resume: bool) -> Mark | None:
        """Begin."""
        if not resume:
            self._file.write(self._form.head())
        return None

    def write(self, records: Sequence[Any], at: Position) -> Sequence[Refused]:
        """Write the records, except those that the format cannot say. Raises `OSError`."""
        data, refused = self._form.encode(records)
        self._file.write(data)
        return refused

    def commit(self, mark: Mark) -> None:
        """Have it go out."""
        self._file.flush()

    def finish(self) -> None:
        """End the output; the file stays open."""
        self._file.write(self._form.tail())
        self._file.flush()

    def abort(self) -> None:
        """Nothing can be taken back."""


def _opened(path: Path, mode: Literal["rb", "wb"], zipped: bool) -> BinaryIO:
    return gzip.open(path, mode) if zipped else path.open(mode)  # type: ignore[return-value]  # a GzipFile reads and writes as one


def _sync_folder(folder: Path) -> None:
    """Have a new name survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
