"""A folder that functions may read and write, and nothing outside it.

A path is taken relative to the folder, its links followed; one that leads out of it is refused. Files are written whole: beside their
place first, then put there in one step, so that whoever reads finds the old content or the new one, also after a crash.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from setpoint.data.resources.provider import ResourceError


class OutsideFolder(ResourceError, PermissionError):
    """A path leads out of the folder that the resource is."""


class Folder:
    """The handle: the folder `base`."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def path(self, name: str | os.PathLike[str]) -> Path:
        """The absolute path of a name in the folder. Raises `OutsideFolder`."""
        text = os.fspath(name)
        if "\0" in text:
            raise OutsideFolder(f"{text!r} is no path")
        path = (self.base / text).resolve()
        if not path.is_relative_to(self.base):
            raise OutsideFolder(
                f"{text!r} leads out of the folder; name a path in it, without '..' and links to elsewhere"
            )
        return path

    def read_bytes(self, name: str | os.PathLike[str]) -> bytes:
        """The content of a file. Raises `OSError`."""
        return self.path(name).read_bytes()

    def read_text(self, name: str | os.PathLike[str], encoding: str = "utf-8") -> str:
        """The text of a file. Raises `OSError`, `UnicodeDecodeError`."""
        return self.read_bytes(name).decode(encoding)

    def write_bytes(self, name: str | os.PathLike[str], content: bytes) -> Path:
        """Put a file in its place, whole, on disk when this returns; folders on the way are made. Raises `OSError`."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, path.stat().st_mode if path.exists() else 0o666 & ~_umask())
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        return path

    def write_text(self, name: str | os.PathLike[str], text: str, encoding: str = "utf-8") -> Path:
        """Like `write_bytes`, for text."""
        return self.write_bytes(name, text.encode(encoding))

    def append(self, name: str | os.PathLike[str], content: bytes | str) -> Path:
        """Add to the end of a file, in one write; the file is made where there is none."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            while data:  # a write may be short, on a disk that is nearly full
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return path

    def exists(self, name: str | os.PathLike[str]) -> bool:
        """Whether there is such a file or folder."""
        return self.path(name).exists()

    def delete(self, name: str | os.PathLike[str]) -> bool:
        """Delete a file; False where there is none."""
        path = self.path(name)
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed

    def files(self, pattern: str = "*") -> Iterator[str]:
        """The names of the files that match (``**`` for all levels), sorted, relative to the folder. Links to elsewhere are left out."""
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise OutsideFolder(f"{pattern!r} leads out of the folder")
        for path in sorted(self.base.glob(pattern)):
            if path.is_file() and path.resolve().is_relative_to(self.base):
                yield path.relative_to(self.base).as_posix()


class Filesystem:
    """Gives handles of one folder; with `create` it is made where there is none."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self._path, self._create = Path(path), create

    def open(self) -> None:
        if self._create:
            self._path.mkdir(parents=True, exist_ok=True)
        if not self._path.is_dir():
            raise ResourceError(f"{self._path} is no folder; make it, or set `create: true`")

    def acquire(self) -> Folder:
        return Folder(self._path.resolve())

    def check(self, handle: Folder) -> bool:
        return handle.base.is_dir()

    def release(self, handle: Folder) -> None:
        pass

    def close(self) -> None:
        pass


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The umask of this process, without changing it for other threads (Linux, proc(5))."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o022
