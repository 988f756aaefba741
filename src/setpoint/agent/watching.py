"""Watching a file: say when it may have changed.

The directory is watched, because editors replace files. A slow look at the file itself catches what the watch misses: some file systems
tell nobody anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import awatch

SLOW_LOOK_S = 5.0


async def changes_of(file: Path) -> AsyncIterator[None]:
    """Yield whenever the file may have changed, and once at the beginning. Ends only by cancellation."""
    hint = asyncio.Event()
    watch = asyncio.create_task(_watch(file, hint))
    known = _stamp(file)
    try:
        yield  # it may have changed between the caller's first look and this watch
        while True:
            told = True
            try:
                async with asyncio.timeout(SLOW_LOOK_S):
                    await hint.wait()
            except TimeoutError:
                told = False
            hint.clear()
            before, known = known, _stamp(file)
            if told or known != before:
                yield
    finally:
        watch.cancel()


async def _watch(file: Path, hint: asyncio.Event) -> None:
    while True:
        try:
            watch = awatch(
                file.parent,
                watch_filter=lambda _, path: _concerns(file, path),
                debounce=50,
                step=10,
                recursive=False,
                rust_timeout=1000,
            )
            async for _ in watch:
                hint.set()
        except (
            FileNotFoundError,
            RuntimeError,
            OSError,
        ):  # no such directory, or no watches left: the slow look goes on
            await asyncio.sleep(SLOW_LOOK_S)


def _concerns(file: Path, changed: str) -> bool:
    """Whether a change in the directory may be one of the file; of a link any may be, since what it leads to is exchanged."""
    return Path(changed).name == file.name or file.is_symlink()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
