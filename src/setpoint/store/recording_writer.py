"""The writer of recordings: a thread of its own that turns what it is given into compressed batches, one a second.

Nothing it meets (a full disk, a value that cannot be written, a burst) reaches whoever records: it is counted, told as `trouble`, and
stands in the recording as a gap. Nothing is written while nothing happens. The oldest segments are deleted to keep the recording within
its bytes. After a fault a new segment is begun, since what the old one ends with is not known; one without a batch is taken away.
"""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog

from setpoint.store.recording import BATCH_TEXT, FORMAT, MAX_LINE, NAME, PATTERN, SEGMENT_TEXT, Plain, delta, encode

log = structlog.get_logger(__name__)

KEEP_BYTES: Final = 64_000_000
"""Of all segments together, on the disk."""
SEGMENT_BYTES: Final = 4_000_000
FLUSH_S: Final = 1.0
KEEP_WAITING: Final = 10_000
"""Entries that wait for the writer; those that come while so many do are lost, and counted."""
BATCH: Final = 1_000
KINDS_OF_GAPS: Final = 10

T = TypeVar("T")
Converter = Callable[[T], Plain]
"""What makes plain data of what was recorded: a `setpoint.store.recording.Entry` as a mapping. Called in the writer's thread."""


class TooLong(ValueError):
    """An entry takes more than `MAX_LINE` bytes."""


class _Segment:
    """The file being written, and each worker's latest entry in it. Raises `OSError` when the file cannot be made or written."""

    def __init__(self, file: Path, head: Mapping[str, Any]) -> None:
        self._path = file
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._numbers: dict[str, int] = {}
        self._latest: list[Plain] = []
        self._head = encode(head) + b"\n"
        self.bytes = 0
        self.text = 0

    def entry(self, entry: Plain) -> bytes:
        """The entry's line; nothing where only its clocks differ from the worker's previous one. Raises `TooLong`."""
        path = entry["path"]
        number = self._numbers.get(path, len(self._latest))
        new = number == len(self._latest)
        changes = delta({} if new else self._latest[number], entry)
        if changes.keys() <= {"~clocks"}:
            return b""
        line = encode([number, changes])
        if len(line) > MAX_LINE:
            raise TooLong(f"an entry of {path} takes {len(line):,} bytes; at most {MAX_LINE:,} are recorded")
        if new:
            self._numbers[path] = number
            self._latest.append(entry)
        else:
            self._latest[number] = entry
        return line + b"\n"

    def write(self, text: bytes) -> None:
        """Append a batch, as a whole or not at all."""
        if not self.bytes:
            text = self._head + text
        packed = memoryview(gzip.compress(text, compresslevel=6, mtime=0))
        size = len(packed)
        try:
            while packed:
                packed = packed[os.write(self._file, packed) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self.bytes)
            raise
        self.bytes += size
        self.text += len(text)

    def close(self) -> None:
        """Let go of the file; one without a batch in it is taken away."""
        with suppress(OSError):
            os.close(self._file)
            if not self.bytes:
                self._path.unlink()


class RecordingWriter(Generic[T]):
    """Writes what it is given, as a thread of its own. Nothing here raises for the state of the disk: `trouble` says what is the matter.

    `converter` is called once a segment; what it returns turns each item into plain data. `lost` counts the entries that are not in the
    recording, `written` those that are. A directory belongs to one writer at a time.
    """

    def __init__(
        self,
        directory: Path,
        converter: Callable[[], Converter[T]],
        *,
        program: str = "",
        segment_bytes: int = SEGMENT_BYTES,
        keep_bytes: int = KEEP_BYTES,
        flush_s: float = FLUSH_S,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self.trouble = ""
        self.lost = 0
        self.written = 0
        self._converter = converter
        self._program = program
        self._segment_bytes = min(segment_bytes, keep_bytes // 2)
        self._keep_bytes = keep_bytes
        self._flush_s = flush_s
        self._wall = wall
        self._waiting: deque[T] = deque()
        self._refused = 0  # counted by whoever records, the rest by the writer
        self._refused_told = 0
        self._gaps: dict[str, int] = {}
        self._segment: _Segment | None = None
        self._convert: Converter[T]
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Record it; returns at once."""
        waiting = self._waiting
        if len(waiting) >= KEEP_WAITING:
            self._refused += 1
            return
        waiting.append(item)
        if not self._news.is_set():
            self._news.set()
        if len(waiting) == KEEP_WAITING // 2:
            self._hurry.set()

    def close(self) -> None:
        """Write what is waiting, where it can be written. Returns within some seconds."""
        self._closed = True
        self._hurry.set()
        self._news.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._closed:
            self._news.wait()
            self._hurry.wait(self._flush_s)  # what comes meanwhile goes into the same batch
            self._news.clear()
            self._hurry.clear()
            self._drain()
        self._drain()
        if self._segment is not None:
            self._segment.close()

    def _drain(self) -> None:
        while self._waiting or self._refused > self._refused_told:
            refused, self._refused_told = self._refused - self._refused_told, self._refused
            self._write()
            self._miss(refused, "more was decided than could be written")
        if self._closed and self._gaps:
            self._write()

    def _write(self) -> None:
        """Move one batch to the disk. Never raises: a thread that ends would record nothing ever after."""
        told, self._gaps = self._gaps, {}
        lines: list[bytes] = []
        try:
            segment = self._segment or self._begin()
            lines = self._lines(segment)
            if lines or told:
                segment.write(self._gap_lines(told) + b"".join(lines))
                self.written += len(lines)
            self.trouble = ""
            if segment.bytes >= self._segment_bytes or segment.text >= SEGMENT_TEXT:
                self._end()
        except Exception as error:
            lost = len(lines) or self._drop()
            self.lost -= sum(told.values())  # counted already
            for why, count in told.items():
                self._miss(count, why)
            self._failed(error, lost)

    def _lines(self, segment: _Segment) -> list[bytes]:
        """The lines of the next batch."""
        lines: list[bytes] = []
        text = 0
        for _ in range(min(BATCH, len(self._waiting))):
            try:
                line = segment.entry(self._convert(self._waiting.popleft()))
            except Exception as error:  # a value that was changed meanwhile, or that nothing can write
                self._miss(1, f"{type(error).__name__}: {error}")
                continue
            if line:
                lines.append(line)
                text += len(line)
            if text > BATCH_TEXT:
                break
        return lines

    def _drop(self) -> int:
        """Take a batch away that there is no file for."""
        dropped = min(BATCH, len(self._waiting))
        for _ in range(dropped):
            self._waiting.popleft()
        return dropped

    def _gap_lines(self, gaps: Mapping[str, int]) -> bytes:
        at = round(self._wall(), 3)
        return b"".join(encode({"lost": lost, "why": why, "at": at}) + b"\n" for why, lost in gaps.items())

    def _miss(self, lost: int, why: str) -> None:
        """So many entries will be missing; that is told with the next batch."""
        if lost:
            why = why[:500] if len(self._gaps) < KINDS_OF_GAPS else "several faults"
            self._gaps[why] = self._gaps.get(why, 0) + lost
            self.lost += lost

    def _failed(self, error: Exception, lost: int) -> None:
        why = str(error) or type(error).__name__
        known, self.trouble = self.trouble, why
        self._miss(lost, why)
        self._end()
        if not known:
            with suppress(Exception):  # the log may be on the same full disk
                log.error("decisions cannot be recorded; what runs is not affected", where=self.directory.name, why=why)

    def _begin(self) -> _Segment:
        self.directory.mkdir(parents=True, exist_ok=True)
        files = sorted(self.directory.glob(PATTERN))
        self._prune(files)
        last = files[-1].name[len("decisions-") :].split(".")[0] if files else "0"
        number = int(last) + 1 if last.isdecimal() else len(files) + 1
        head = {"format": FORMAT, "program": self._program, "started": round(self._wall(), 3)}
        self._segment = _Segment(self.directory / NAME.format(number), head)
        self._convert = self._converter()
        return self._segment

    def _prune(self, files: list[Path]) -> None:
        """Delete the oldest segments until there is room for another one."""
        sizes = {file: file.stat().st_size for file in files}
        total = sum(sizes.values())
        for file, size in sizes.items():
            if total + self._segment_bytes <= self._keep_bytes:
                break
            file.unlink()
            total -= size

    def _end(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None
