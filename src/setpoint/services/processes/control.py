"""Telling a supervisor what to do: letters written to a fifo, as s6 has it.

A supervisor that has gone is no reader: opening its fifo then fails, which is also how its life is asked for. 5 µs either way.
"""

from __future__ import annotations

import os
from pathlib import Path


def tell(folder: str | Path, letters: bytes) -> bool:
    """Tell the supervisor of a folder of a process. Whether there is one."""
    return _write(f"{folder}/supervise/control", letters)


def tell_tree(scan: str | Path, letters: bytes) -> bool:
    """Tell what runs the tree in a folder. Whether anything does."""
    return _write(f"{scan}/.s6-svscan/control", letters)


def supervised(folder: str | Path) -> bool:
    """Whether a folder has a supervisor."""
    return tell(folder, b"")


def _write(path: str, letters: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # ENXIO: nobody listens; ENOENT: nobody ever did
        return False
    try:
        if letters:
            os.write(fd, letters)
    except OSError:
        return False  # it ended just now, or has not read 64 KB of orders
    finally:
        os.close(fd)
    return True
