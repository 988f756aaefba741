"""The mark beside a file that is being written: what was committed last, so that the file can be cut back to it and go on.

`<file>.mark` has three slots. The two newest commits alternate between the first two, so that a write cut short by `kill -9` leaves the one
before. These are as good as the page cache: they count only while the machine has not been started again since (the kernel's boot id says).
The third slot holds the newest commit that was flushed to disk together with the file; it counts after a power cut. Flushing happens at
most once a second, so a commit costs microseconds.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from setpoint.data.stream.parts import Mark

SLOT: Final = 1 << 16
SYNC_EVERY: Final = 1.0
_SAFE: Final = 2


class Kept(msgspec.Struct, frozen=True):
    """One commit: the mark (None: nothing was written yet), the file's size in bytes, its format's state, whether it was the last."""

    mark: Mark | None
    size: int
    state: Mapping[str, Any]
    number: int = 0
    boot: str = ""
    done: bool = False


class MarkFile:
    """Keeps the marks of one file."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.monotonic, boot: str | None = None) -> None:
        self.path = path
        self._now = now
        self._boot = boot_id() if boot is None else boot
        self._file: int | None = None
        self._number = 0
        self._synced = float("-inf")

    def load(self) -> Kept | None:
        """The newest commit that counts, or None. Raises `OSError`."""
        return next(iter(self.commits()), None)

    def commits(self) -> list[Kept]:
        """The commits that count, the newest first: two at most, one after the machine was started again. Raises `OSError`."""
        try:
            with self.path.open("rb") as file:
                slots = [self._slot(file.read(SLOT)) for _ in range(3)]
        except FileNotFoundError:
            return []
        self._number = max((slot.number for slot in slots if slot), default=0)
        recent = sorted((slot for slot in slots[:_SAFE] if slot), key=lambda slot: -slot.number)
        if recent and recent[0].boot and recent[0].boot == self._boot:
            return [slot for slot in recent if slot.boot == self._boot]
        return [slot for slot in slots[_SAFE:] if slot]

    def keep(self, kept: Kept, *, file: int, sync: bool = False) -> None:
        """Keep a commit of the file with that descriptor; flushed when that is due or told.

        Raises `OSError`; `ValueError` for a mark larger than a slot.
        """
        self._number += 1
        kept = msgspec.structs.replace(kept, number=self._number, boot=self._boot)
        body = msgspec.json.encode(kept)
        data = b"%08x %08x " % (zlib.crc32(body), len(body)) + body
        if len(data) > SLOT:
            raise ValueError(f"the mark of {self.path} has {len(data)} bytes; at most {SLOT} can be kept")
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._file, 3 * SLOT)
        if not sync and self._now() - self._synced < SYNC_EVERY:
            os.pwrite(self._file, data, self._number % 2 * SLOT)
            return
        os.fsync(file)
        os.pwrite(self._file, data, self._number % 2 * SLOT)
        os.pwrite(self._file, data, _SAFE * SLOT)
        os.fsync(self._file)
        self._synced = self._now()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """The file it stood for is whole, or begins anew."""
        self.close()
        self.path.unlink(missing_ok=True)

    @staticmethod
    def _slot(data: bytes) -> Kept | None:
        try:
            checksum, length = int(data[:8], 16), int(data[9:17], 16)
            body = data[18 : 18 + length]
            return msgspec.json.decode(body, type=Kept) if zlib.crc32(body) == checksum else None
        except (ValueError, msgspec.MsgspecError):
            return None


def boot_id() -> str:
    """What names this start of the machine; empty where the system does not say (then only what was flushed counts)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
