"""Control groups: what limits this process, and how much of it is in use. Version 2 only.

A process is in one group, and every group above it, up to where the file system is mounted, may have a limit of its own: a container's is
usually the topmost one it sees, a systemd service has its own below that of its slice. All of them hold, so all of them are looked at.
A file that is not there is no limit (the controller is not enabled for that group). A file that is there and cannot be read, or does not
say what the format says, is a fault and never a zero. Source of the formats: the kernel's Documentation/admin-guide/cgroup-v2.rst.

Version 1 has its limits in other files of other formats. They are not read: that there are any is said, and the host's figures count.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

MOUNT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
MICROSECONDS: Final = 1e6
VERSION_1: Final = "control groups are version 1, whose limits are not read"
NONE: Final = "there are no control groups"


class Unreadable(Exception):
    """A file that should tell something cannot be read, or does not say what its format says; the message names it."""


class Groups(NamedTuple):
    """The groups that this process is in, its own first; none, and why there are none."""

    folders: tuple[Path, ...] = ()
    why_none: str = ""


class Sample(NamedTuple):
    """Counters of the processor, as they stood `at` (monotonic seconds). `used` is in seconds of processor, `cores` how many such seconds
    there are in one; `periods` and `throttled` are counted in scheduling periods."""

    at: float
    used: float
    cores: float
    periods: int = 0
    throttled: int = 0


class Memory(NamedTuple):
    """Bytes in use without what can be taken back at once, and how many there may be."""

    used: int
    total: int


def groups_of(own: Path = OWN, mount: Path = MOUNT) -> Groups:
    """The groups of this process, as `/proc/self/cgroup` has them below the mount. Raises `Unreadable`."""
    rows = [line.split(":", 2) for line in (_text(own) or "").splitlines()]
    entries = {row[1]: row[2] for row in rows if len(row) == 3}
    if not (mount / "cgroup.controllers").exists():
        version_1 = any(name in controllers.split(",") for controllers in entries for name in ("cpu", "memory"))
        return Groups((), VERSION_1 if version_1 else NONE)
    path = PurePosixPath(entries.get("", "/").lstrip("/"))
    here = mount / path
    if ".." in path.parts or not here.is_dir():
        here, path = (
            mount,
            PurePosixPath(),
        )  # a container that sees the host's name of its group, but only the group itself
    return Groups((here, *(mount / above for above in path.parents if above != path)))


def sample_of(folder: Path, at: float) -> Sample | None:
    """The counters of a group that has a processor quota; None when it has none. Raises `Unreadable`."""
    cores = quota_of(folder)
    if cores is None:
        return None
    table = _table(folder / "cpu.stat")
    used = _entry(table, "usage_usec", folder / "cpu.stat") / MICROSECONDS
    return Sample(at, used, cores, table.get("nr_periods", 0), table.get("nr_throttled", 0))


def quota_of(folder: Path) -> float | None:
    """Processors that the group may use, from ``cpu.max``: quota and period in microseconds, or ``max``. Raises `Unreadable`."""
    file = folder / "cpu.max"
    text = _text(file)
    if text is None:
        return None
    quota, _, period = text.partition(" ")
    if quota == "max":
        return None
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        return int(quota) / int(period)
    raise Unreadable(f"{file} says {text[:40]!r}; expected a quota and a period in microseconds")


def memory_of(folder: Path, host_total: int) -> Memory | None:
    """Memory of a group with a limit below what the host has; None when it has none. Raises `Unreadable`.

    Left out is ``inactive_file`` of ``memory.stat``: file cache that the kernel gives up first when memory runs short.
    """
    limit = _number(folder / "memory.max")
    if limit is None or limit >= host_total:
        return None
    current = _number(folder / "memory.current")
    if current is None:
        raise Unreadable(f"{folder / 'memory.current'} is not there, although there is a limit")
    reclaimable = _entry(_table(folder / "memory.stat"), "inactive_file", folder / "memory.stat")
    return Memory(max(0, current - reclaimable), limit)


def _number(file: Path) -> int | None:
    """A whole number; None for ``max``, and where there is no such file."""
    text = _text(file)
    if text is None or text == "max":
        return None
    if text.isdecimal():
        return int(text)
    raise Unreadable(f"{file} says {text[:40]!r}; expected a number of bytes")


def _table(file: Path) -> dict[str, int]:
    """The flat table of names and whole numbers in a file. Rows of another shape are left out: kernels add to these files."""
    text = _text(file)
    if text is None:
        raise Unreadable(f"{file} is not there, although there is a limit")
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _entry(table: dict[str, int], name: str, file: Path) -> int:
    if name not in table:
        raise Unreadable(f"{file} has no {name!r}")
    return table[name]


def _text(file: Path) -> str | None:
    """What is in the file, without the last line break; None where there is none."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise Unreadable(f"{file} is not text") from None
