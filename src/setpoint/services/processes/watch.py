"""Being told when something is renamed into a folder: how a new status of a process becomes news within a millisecond.

A supervisor writes a status beside the old one and renames it; inotify tells of that. One descriptor serves all processes of a backend. The
standard library has no inotify, so three functions of the C library are called here (inotify(7); Linux only).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

_MOVED_TO: Final = 0x80
_ONLYDIR: Final = 0x01000000
_IGNORED: Final = 0x8000
_OVERFLOW: Final = 0x4000
_HEAD: Final = struct.Struct("iIII")


class Watch:
    """Tells `changed` which name's folder has news, once a batch of them. For the loop's thread. Raises `OSError` without inotify."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._changed = changed
        self._names: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def add(self, name: str, folder: Path) -> bool:
        """Watch a folder on behalf of a name; whether it is there."""
        path = str(folder).encode(errors="replace")
        watch = self._library.inotify_add_watch(self._fd, path, _MOVED_TO | _ONLYDIR)
        if watch < 0:
            return False
        if self._watches.get(name, watch) != watch:
            self.drop(name)
        self._names[watch], self._watches[name] = name, watch
        return True

    def watches(self, name: str) -> bool:
        """Whether a folder is watched on behalf of a name."""
        return name in self._watches

    def drop(self, name: str) -> None:
        """Watch on behalf of a name no more."""
        watch = self._watches.pop(name, None)
        if watch is not None:
            self._names.pop(watch, None)
            self._library.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65_536)
        except BlockingIOError:
            return
        news: dict[str, None] = {}
        at = 0
        while at < len(data):
            watch, mask, _, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size + size
            if mask & _OVERFLOW:
                news.update(dict.fromkeys(self._names.values()))
            elif name := self._names.get(watch):
                news[name] = None
                if mask & _IGNORED:  # the folder has gone
                    del self._names[watch]
                    self._watches.pop(name, None)
        for name in news:
            self._changed(name)

    def _checked(self, answer: int) -> int:
        if answer < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"inotify: {os.strerror(code)}")
        return answer
