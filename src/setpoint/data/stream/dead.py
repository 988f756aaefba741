"""Dead letters: what a stream could not carry through, each with its reason and its position, one JSON object a line.

    {"at": 17, "source": "in.jsonl", "kind": "malformed", "reason": "…", "text": "{\\"a\\": "}
    {"at": 18, "source": "in.jsonl", "kind": "failed", "state": "check", "type": "Refused", "reason": "…", "record": {"a": 1}}

`kind` is `malformed` (no record could be read), `failed` (the record ended in failure; `record` is what was read) or `unwritable` (it went
well, but the sink can never write it). The file is made when the first letter comes and grows; when a stream is resumed it is cut back to
what was committed, so no letter is there twice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from setpoint.data.result import StepError

SAMPLE = 20


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of input that did not come through."""

    at: Any
    kind: str
    reason: str
    source: str = ""
    state: str = ""
    arc: str = ""
    type: str = ""
    attempt: int = 1
    text: str = ""
    record: Any = None

    def __str__(self) -> str:
        where = f"{self.source or 'input'}, {self.at}"
        step = f" in {self.state}" if self.state else ""
        return f"{where}: {self.kind}{step}: {self.reason}"


def failed(error: StepError | None, *, at: Any, source: str, record: Any, ended: str) -> Letter:
    """The letter of a record that ended in failure."""
    if error is None:
        return Letter(at, "failed", f"it ended in {ended}", source, ended, record=record)
    return Letter(at, "failed", error.message, source, error.state, error.arc, error.type, error.attempt, "", record)


class DeadLetters:
    """The file of dead letters, and the first few of them in memory. Without a path only the first few are kept."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = Path(path) if path is not None else None
        self.first: list[Letter] = []
        self._file: int | None = None
        self._pending: list[bytes] = []
        self._size = 0

    def size(self) -> int:
        """Bytes of the file as it is now; 0 where there is none."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def open(self, resume: bool, size: int) -> None:
        """Start anew, or go on after the first `size` bytes. Raises `OSError`; `ValueError` where the file is shorter than that."""
        self._size = size if resume else 0
        if self.path is None or not self.path.exists():
            if resume and self.path is not None and size:
                raise ValueError(
                    f"{self.path} is gone, but the stream to resume had {size} bytes of dead letters there"
                )
            return
        if resume and self.path.stat().st_size < size:
            raise ValueError(
                f"{self.path} is shorter than the {size} bytes that were committed: it was changed meanwhile"
            )
        os.truncate(self.path, self._size)

    def add(self, letter: Letter) -> None:
        """Keep a letter; it is in the file after the next `flush`."""
        if len(self.first) < SAMPLE:
            self.first.append(letter)
        if self.path is not None:
            self._pending.append(_encoded(letter))

    def flush(self) -> int:
        """Write what is pending, safe from a power cut; the size of the file then, in bytes. Raises `OSError`."""
        if self._pending and self.path is not None:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            data = b"".join(self._pending)
            write_all(self._file, data)
            os.fsync(self._file)
            self._pending.clear()
            self._size += len(data)
        return self._size

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def write_all(file: int, data: bytes) -> None:
    """Write all of it, in as many calls as that takes. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _encoded(letter: Letter) -> bytes:
    """A line. A record that JSON cannot say is there as Python writes it."""
    try:
        return msgspec.json.encode(letter) + b"\n"
    except (TypeError, ValueError, RecursionError, OverflowError):
        letter = msgspec.structs.replace(letter, record=None, text=_printed(letter.record), at=str(letter.at))
        return msgspec.json.encode(letter) + b"\n"


def _printed(record: Any) -> str:
    try:
        return repr(record)[:10_000].encode("utf-8", "backslashreplace").decode()
    except Exception as error:  # a record's own repr may do anything
        return f"<{type(record).__name__} that cannot be printed: {type(error).__name__}>"
