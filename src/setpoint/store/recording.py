"""Recordings: what was decided, when and on what; small enough to be always on, and readable after any accident.

A recording is a directory of segments, ``decisions-00000001.jsonl.gz`` and so on. A segment is a sequence of gzip members, one a batch, so
any gzip reads it and a kill -9 costs at most the batch being written. Each member holds whole lines of JSON, of three kinds:

    {"format": 1, "program": "setpoint 0.1.0", "started": 1763720000.0}    the first line of a segment
    [3, {"~clocks": {"=now": 12.5}, "~snapshot": {…}}]                     an entry of the segment's worker number 3
    {"lost": 12, "why": "…", "at": 1763720001.0}                           a gap: so many entries are missing here

An entry says what changed since the same worker's previous entry in the segment; its first one says everything, so a segment stands alone.
A change is a key with a mark: ``=`` has this value, ``#`` is this number that JSON lacks (nan, inf), ``+`` is a new mapping, ``~`` is a
mapping with these changes in it, ``-`` is gone.

This module is the format and its reader; `setpoint.store.recording_writer` writes it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

FORMAT: Final = 1
NAME: Final = "decisions-{:08d}.jsonl.gz"
PATTERN: Final = "decisions-*.jsonl.gz"
SEGMENT_TEXT: Final = 64_000_000
BATCH_TEXT: Final = 4_000_000
"""A segment, and a batch, end after so many bytes before compression."""
MAX_LINE: Final = 1_000_000
"""A longer entry is not recorded."""
MAX_BATCH_TEXT: Final = BATCH_TEXT + 2 * MAX_LINE
MAX_SEGMENT_TEXT: Final = SEGMENT_TEXT + 2 * MAX_BATCH_TEXT
"""What a reader believes a batch and a segment to hold at most: a small file may claim to be an endless one."""
CHUNK: Final = 65_536

Plain = dict[str, Any]


class MachineId(msgspec.Struct, frozen=True):
    """Which machine decided: its name, version and content hash."""

    name: str
    version: str = ""
    hash: str = ""


class Clocks(msgspec.Struct, frozen=True):
    """Times and ages as they were: `at` in seconds since the epoch, `now` of the clock that decisions are made by, and seconds that change
    by themselves, by what they are seconds of. That only these have changed is no news, and not recorded."""

    at: float
    now: float
    figures: dict[str, float] = {}
    children: dict[str, float | None] = {}
    peers: dict[str, float | None] = {}


class Where(msgspec.Struct, frozen=True):
    """Where the machine was: its state, since when, and its running clocks, on the clock of `Clocks.now`."""

    state: str
    entered_at: float
    held: dict[str, float] = {}
    begun: dict[str, float] = {}


class Decided(msgspec.Struct, frozen=True):
    """What was decided: the state to be in, by which event ("": it stays), what to do, and why. Or why nothing could be, as `error`."""

    state: str
    event: str = ""
    effects: list[str] = []
    reason: str = ""
    wake_at: float | None = None
    error: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One decision of one worker, with all that it was made on. `snapshot` is plain data by the names of the snapshot's fields."""

    path: str
    type: str
    machine: MachineId
    clocks: Clocks
    position: Where
    snapshot: Plain
    decision: Decided


class Gap(msgspec.Struct, frozen=True):
    """Something is missing here: `lost` entries (0: nobody knows how many), and why. `at` is None where nobody knows when."""

    lost: int
    why: str
    at: float | None = None


class NoRecording(ValueError):
    """There is no recording at that place, or one that this program cannot read; the message says which and where."""


class Damaged(ValueError):
    """A segment cannot be read any further."""


def delta(old: Mapping[str, Any], new: Mapping[str, Any]) -> Plain:
    """What turns `old` into `new`: see the module's text. Empty when they are the same."""
    changes: Plain = {}
    for key, value in new.items():
        before = old.get(key, _ABSENT)
        if before is value:
            continue
        if type(value) is dict:
            if type(before) is not dict:
                changes["+" + key] = delta({}, value)
            elif inner := delta(before, value):
                changes["~" + key] = inner
        elif type(value) is float and not math.isfinite(value):
            changes["#" + key] = repr(value)
        elif not _same(before, value):
            changes["=" + key] = value
    if not old.keys() <= new.keys():
        changes |= {"-" + key: None for key in old.keys() - new.keys()}
    return changes


_ABSENT: Final = object()


def _same(before: Any, value: Any) -> bool:
    """Equal, and equal when written: 1, 1.0 and True are three things."""
    if type(before) is not type(value) or before != value:
        return False
    return not isinstance(value, list | tuple) or encode(before) == encode(value)


def patched(old: Mapping[str, Any], changes: Mapping[str, Any]) -> Plain:
    """`old` with the changes made. Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` for what are none."""
    new = dict(old)
    for key, value in changes.items():
        mark, name = key[:1], key[1:]
        if mark == "=":
            new[name] = value
        elif mark == "~":
            new[name] = patched(new[name], value)
        elif mark == "+":
            new[name] = patched({}, value)
        elif mark == "#":
            new[name] = float(value)
        elif mark == "-":
            del new[name]
        else:
            raise ValueError(f"unknown mark in {key[:20]!r}")
    return new


encode: Final = msgspec.json.Encoder().encode


# reading


def segments(place: Path) -> list[Path]:
    """The segments of a recording, oldest first: those in a directory, or the one that is named. Raises `NoRecording`."""
    if place.is_dir():
        files = sorted(place.glob(PATTERN))
        if not files:
            raise NoRecording(f"there is no recording in {place}: it has no files named {PATTERN}")
        return files
    if not place.is_file():
        raise NoRecording(f"there is no file or directory {place}")
    return [place]


def read(place: Path) -> Iterator[Entry | Gap]:
    """Every decision of a recording, whole, in the order in which they were made, with gaps where something is missing.

    Damage is a gap, too: what follows it in the segment is left out, because entries build upon one another; the next segment is read
    again. Reads no more than bounded pieces into memory, whatever the file claims. Raises `NoRecording` when there is none at `place`.
    """
    for file in segments(place):
        try:
            yield from _read_segment(file)
        except (Damaged, OSError) as error:
            yield Gap(0, f"{file.name}: {error}; what follows in this file is left out")


def _read_segment(file: Path) -> Iterator[Entry | Gap]:
    latest: list[Plain] = []
    headed = False
    for text in _batches(file):
        for line in text.split(b"\n"):
            if not line:
                continue
            found = _decoded(line)
            if not headed:
                _check_head(found)
                headed = True
            elif isinstance(found, list):
                yield _next_entry(latest, found)
            else:
                yield _gap(found)
    if not headed:
        raise Damaged("nothing is in it")


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        raise Damaged(f"a line is not JSON: {line[:40]!r}") from None


def _check_head(head: Any) -> None:
    version = head.get("format") if isinstance(head, dict) else None
    if not isinstance(version, int):
        raise Damaged("it does not begin like a recording")
    if version > FORMAT:
        raise Damaged(
            f"it is of format {version}, which this program does not know; read it with the program that wrote it"
        )


def _next_entry(latest: list[Plain], line: list[Any]) -> Entry:
    try:
        number, changes = line
        if type(number) is not int or number < 0:
            raise ValueError(f"{number!r} is no worker's number")
        if number == len(latest):
            latest.append({})
        latest[number] = whole = patched(latest[number], changes)
        return msgspec.convert(whole, Entry)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Damaged(f"an entry makes no sense: {type(error).__name__}: {str(error)[:200]}") from None


def _gap(found: Any) -> Gap:
    try:
        return msgspec.convert(found, Gap)
    except msgspec.ValidationError as error:
        raise Damaged(f"a line makes no sense: {error}") from None


def _batches(file: Path) -> Iterator[bytes]:
    """The text of each gzip member that is whole and has the right checksum."""
    total = 0
    with file.open("rb") as stream:
        data = stream.read(CHUNK)
        while data:
            unpack = zlib.decompressobj(wbits=31)
            parts: list[bytes] = []
            size = 0
            while not unpack.eof:
                data = data or stream.read(CHUNK)
                if not data:
                    raise Damaged("it ends in the middle of a batch")
                try:
                    parts.append(unpack.decompress(data, MAX_BATCH_TEXT - size + 1))
                except zlib.error as error:
                    raise Damaged(f"a batch cannot be unpacked: {error}") from None
                size += len(parts[-1])
                if size > MAX_BATCH_TEXT:
                    raise Damaged(f"a batch holds more than {MAX_BATCH_TEXT:,} bytes")
                data = unpack.unconsumed_tail
            total += size
            if total > MAX_SEGMENT_TEXT:
                raise Damaged(f"it holds more than {MAX_SEGMENT_TEXT:,} bytes")
            yield b"".join(parts)
            data = unpack.unused_data or stream.read(CHUNK)
