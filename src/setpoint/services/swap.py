"""Replaces a file in one step: whoever reads it finds the old one or the new one, whole, also after ``kill -9`` and a power cut."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path


def candidate(path: Path, content: bytes, *, suffix: str = ".part") -> Path:
    """A file beside `path` with this content, on the disk, for its owner only; what a crash left there is removed. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(
        f".{glob.escape(path.name)}.{'?' * 8}{suffix}"
    ):  # the names of mkstemp have eight letters
        left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=suffix, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def swap(new: Path, path: Path) -> None:
    """Put the candidate in the place of `path`; on the disk when this returns. Raises `OSError`; then the candidate is gone."""
    try:
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
