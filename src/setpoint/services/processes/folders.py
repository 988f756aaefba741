"""The directory of a backend, and the folder of each process in it.

    lock                 held by the agent that uses the directory
    kind                 which backend's tree this is
    supervisor.log       what the tree itself has to say
    scan/<name>/         a process: what its supervisor reads, ``data/spec.json``, ``files/`` of the process, ``supervise/`` with its status
    build/               folders on their way in or out
    logs/<name>/         ``current`` and older files

A folder is published by renaming it into ``scan``, whole or not at all, and taken away by renaming it out. Everything here blocks, and
belongs into a thread where a loop must not wait for a disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from setpoint.services.processes import formats
from setpoint.services.processes.spec import ProcessError, ProcessSpec

Files = Mapping[str, tuple[str, int]]
"""What a folder is made of: by path in it, the content and the mode."""
SPEC: Final = "data/spec.json"
EARLIER: Final = "data/deaths"
"""Deaths that the supervisor of the folder does not know of: from before it was replaced, or before the tree was begun anew."""
KEEP_DEATHS: Final = 100


class Folders:
    """The folders under one directory. Methods raise `OSError` for what the disk says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scan = root / "scan"
        self.build = root / "build"
        self.logs = root / "logs"

    def prepare(self) -> None:
        """Make what is missing. Only the owner may look: specs have secrets."""
        for folder in (self.root, self.scan, self.build, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def tidy(self) -> None:
        """Clear away what was on its way in or out when an agent was killed."""
        for path in self.build.iterdir():
            discard(path)

    def names(self) -> list[str]:
        """The processes that there are, in alphabetical order."""
        return sorted(entry.name for entry in os.scandir(self.scan) if entry.name[0] not in ".@")

    def spec(self, name: str) -> ProcessSpec | None:
        """The spec of a process; None without one that can be read."""
        try:
            return msgspec.json.decode((self.scan / name / SPEC).read_bytes(), type=ProcessSpec)
        except (OSError, msgspec.DecodeError, ProcessError):
            return None

    def same(self, name: str, files: Files) -> bool:
        """Whether the folder of a process is whole and consists of these files."""
        folder = self.scan / name
        try:
            return all(_is_as(folder / path, content, mode) for path, (content, mode) in files.items()) and sorted(
                os.listdir(folder / "files")
            ) == sorted(path[6:] for path in files if path.startswith("files/"))
        except OSError:
            return False

    def publish(self, name: str, files: Files, *, down: bool, deaths: bytes = b"") -> None:
        """Let a folder appear, whole. `down`: it is not to be started yet. The place must be free."""
        folder = Path(tempfile.mkdtemp(dir=self.build))
        try:
            _fill(folder, files)
            if deaths:
                (folder / EARLIER).write_bytes(deaths)
            if down:
                (folder / "down").touch()
            folder.rename(self.scan / name)
        except BaseException:
            discard(folder)
            raise

    def retire(self, name: str) -> Path | None:
        """Take a folder out of the tree; where it is now, None when there was none."""
        place = Path(tempfile.mkdtemp(dir=self.build)) / "old"
        try:
            (self.scan / name).rename(place)
        except FileNotFoundError:
            place.parent.rmdir()
            return None
        return place

    def deaths(self, folder: Path) -> bytes:
        """The deaths that a folder knows of, in the format of the tally."""
        known = b""
        for path in (folder / EARLIER, folder / "supervise/death_tally"):
            with contextlib.suppress(OSError):
                data = path.read_bytes()
                known += data[: len(data) - len(data) % formats.RECORD]
        return known[-KEEP_DEATHS * formats.RECORD :]

    def forget_logs(self, name: str) -> None:
        """Delete the log of a process."""
        discard(self.logs / name)


def discard(path: Path) -> None:
    """Delete whatever is there, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def common_files(spec: ProcessSpec) -> dict[str, tuple[str, int]]:
    """What each folder has, whatever the supervisor."""
    own = {f"files/{name}": (content, 0o600) for name, content in spec.files.items()}
    return {SPEC: (msgspec.json.encode(spec, order="deterministic").decode(), 0o600), **own}


def _fill(folder: Path, files: Files) -> None:
    for name in ("data", "files"):
        (folder / name).mkdir()
    for path, (content, mode) in files.items():
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(content)


def _is_as(path: Path, content: str, mode: int) -> bool:
    if path.read_bytes() != content.encode():
        return False
    return stat.S_IMODE(path.stat().st_mode) & 0o700 == mode & 0o700
