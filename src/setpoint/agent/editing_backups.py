"""Backups of a config file: what it said before each write, the last 100 of them.

They lie beside it in ``.setpoint-backups/<name of the file>/``, readable by their owner only, for configs contain passwords. Their names
are moments in UTC, so that they sort by age; each is later than the one before, also when the clock was set back. A text is kept once:
when it comes again, its backup takes the new name.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from setpoint.services.swap import candidate, swap

FOLDER: Final = ".setpoint-backups"
MOST: Final = 100
_NAME: Final = re.compile(r"(\d{8}T\d{6})\.(\d{9})Z\.yaml")
_SECOND: Final = 1_000_000_000


class Backup(NamedTuple):
    """One of them. `at` is in nanoseconds since 1970, `size` in bytes."""

    path: Path
    at: int
    size: int

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(".yaml")

    def text(self) -> str:
        """What the file said. Raises `OSError`, and `UnicodeDecodeError` where that was no text."""
        return self.path.read_bytes().decode("utf-8")


class Backups:
    """Those of one file."""

    def __init__(self, file: Path) -> None:
        self.folder = file.parent / FOLDER / file.name

    def made(self) -> Path:
        """The folder, which is there then. Raises `OSError`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder

    def all(self) -> list[Backup]:
        """The newest first. Raises `OSError`."""
        if not self.folder.is_dir():
            return []
        found = [_backup(path) for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda backup: backup.at, reverse=True)

    def keep(self, content: bytes) -> Backup:
        """Keep this as the newest; only one program at a time may. Raises `OSError`."""
        known = self.all()
        for left in self.folder.glob(".*.part"):  # by a program that was killed
            left.unlink(missing_ok=True)
        path = self.folder / _name(max(time.time_ns(), known[0].at + 1 if known else 0))
        same = next(
            (backup for backup in known if backup.size == len(content) and backup.path.read_bytes() == content), None
        )
        if same is None:
            swap(candidate(path, content), path)
        elif same is known[0]:
            return same
        else:
            same.path.rename(path)
        for old in self.all()[MOST:]:
            old.path.unlink(missing_ok=True)
        return _backup(path)

    def find(self, which: str) -> Backup | None:
        """One by its number, 1 being the newest, or by its name or the beginning of it; None where there is none, or more than one."""
        known = self.all()
        if which.isascii() and which.isdigit() and len(which) < 8:
            return known[int(which) - 1] if 0 < int(which) <= len(known) else None
        found = [backup for backup in known if backup.name.startswith(which.removesuffix(".yaml"))]
        return found[0] if len(found) == 1 else None


def _name(at: int) -> str:
    moment = datetime.fromtimestamp(at // _SECOND, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{at % _SECOND:09d}Z.yaml"


def _backup(path: Path) -> Backup:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    moment = datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return Backup(path, int(moment.timestamp()) * _SECOND + int(found[2]), path.stat().st_size)
