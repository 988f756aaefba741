"""Reading the host: what limits this process, and how much of that is in use.

Where control groups limit the processor or the memory, the one that is nearest to its limit counts; where none does, the host. One
reading is made at a time, by whoever watches the host, and everybody else is shown the latest: the gate before new bridges, and people.

A reading takes a few hundred microseconds and happens in a thread, because the disk may be a network's that does not answer. Then no
reading comes back, no second one is begun, and what is shown says how old it is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import psutil

from setpoint.services.blocking import in_thread
from setpoint.services.host.cgroup import MOUNT, OWN, Groups, Memory, Unreadable, groups_of, memory_of
from setpoint.services.host.figures import HostFigures, percent
from setpoint.services.host.processor import HOST, Processor

STALE_S: Final = 10.0
"""A reading older than this says nothing about now."""


class HostReader:
    """Reads the figures. `disk` is a path on the file system that fills up; `mount` and `own` are where control groups are, and where this
    process is among them. Makes a first reading at once, in which only the use of the processor is not known."""

    def __init__(
        self, disk: Path, *, mount: Path = MOUNT, own: Path = OWN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._disk = disk
        self._mount = mount
        self._own = own
        self._clock = clock
        self._processor = Processor()
        self._begun: float | None = None
        self._at = clock()
        self._latest = self._measure()

    async def read(self) -> HostFigures:
        """A new reading. Raises `OSError` while the one before has not come back."""
        if self._begun is not None:
            spent = self._clock() - self._begun
            raise OSError(
                f"the reading begun {spent:.0f} s ago has not come back; it waits for the disk of {self._disk}"
            )
        self._begun = self._clock()
        try:
            return await in_thread(self._measure_and_keep)
        except RuntimeError:  # there are no more threads to be had
            self._begun = None
            raise

    def latest(self) -> HostFigures:
        """The latest reading, without making one. When it is old, that is a fault of it."""
        age = self._clock() - self._at
        if age <= STALE_S:
            return self._latest
        return msgspec.structs.replace(self._latest, faults=(f"the host has not been measured for {age:.0f} s",))

    def _measure_and_keep(self) -> HostFigures:
        try:
            self._latest, self._at = self._measure(), self._clock()
            return self._latest
        finally:
            self._begun = None  # also when nobody waits for it any more

    def _measure(self) -> HostFigures:
        faults: list[str] = []
        groups = self._groups(faults)
        use = self._processor.look(groups.folders, self._clock(), faults)
        memory, limited_by = _memory(groups.folders, faults)
        disk = self._disk_space(faults)
        return HostFigures(
            cpu_percent=use.cpu_percent,
            cpu_cores=use.cores,
            throttled_percent=use.throttled_percent,
            memory_percent=percent(*memory) if memory else None,
            memory_used_bytes=memory.used if memory else None,
            memory_total_bytes=memory.total if memory else None,
            disk_percent=percent(*disk) if disk else None,
            disk_used_bytes=disk.used if disk else None,
            disk_total_bytes=disk.total if disk else None,
            source=use.of if use.of == limited_by else f"CPU of {use.of}, memory of {limited_by}",
            note=groups.why_none,
            faults=tuple(faults),
        )

    def _groups(self, faults: list[str]) -> Groups:
        try:
            return groups_of(self._own, self._mount)
        except (Unreadable, OSError) as error:
            faults.append(f"control groups: {error}")
            return Groups()

    def _disk_space(self, faults: list[str]) -> Memory | None:
        """Used bytes, and those that an ordinary user may use in all, as ``df`` counts them."""
        try:
            usage = shutil.disk_usage(self._disk)
        except OSError as error:
            faults.append(f"disk: {self._disk} cannot be looked at: {error.strerror or error}")
            return None
        if not usage.used + usage.free:
            faults.append(f"disk: the file system of {self._disk} does not say how large it is")
            return None
        return Memory(usage.used, usage.used + usage.free)


def _memory(folders: Sequence[Path], faults: list[str]) -> tuple[Memory | None, str]:
    """The fullest of the limited groups, else the host, and which it is; None where a limit is there but cannot be compared with."""
    try:
        host = psutil.virtual_memory()
    except OSError as error:
        faults.append(f"memory of the host: {error}")
        return None, HOST
    limited: list[tuple[Memory, str]] = []
    readable = True
    for folder in folders:
        try:
            memory = memory_of(folder, host.total)
        except Unreadable as error:
            faults.append(f"memory: {error}")
            readable = False
            continue
        if memory is not None:
            limited.append((memory, str(folder)))
    if limited:
        return max(limited, key=lambda each: percent(*each[0]))
    return (Memory(host.total - host.available, host.total), HOST) if readable else (None, HOST)
