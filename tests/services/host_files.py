"""A tree of control groups in a folder, with what the kernel writes into such files, and a clock that is set by hand.

The contents are of a Linux 6.x kernel, as a container with limits, a systemd service and a bare host have them.
"""

from __future__ import annotations

from pathlib import Path

CPU_STAT = """\
usage_usec {used}
user_usec 4000000
system_usec 1000000
nice_usec 0
core_sched.force_idle_usec 0
nr_periods {periods}
nr_throttled {throttled}
throttled_usec 230145
nr_bursts 0
burst_usec 0
"""
MEMORY_STAT = """\
anon 171966464
file 402653184
kernel 20373504
kernel_stack 1081344
pagetables 2129920
sock 4096
shmem 0
file_mapped 33554432
inactive_anon 171925504
active_anon 40960
inactive_file {inactive}
active_file 88080384
slab_reclaimable 11153408
workingset_refault_file 0
pgfault 120034
"""
GB = 10**9


class Clock:
    """Seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Tree:
    """Control groups below a mount, and the file in which a process finds its own."""

    def __init__(self, folder: Path, *, own: str = "/", version_2: bool = True) -> None:
        self.mount = folder / "cgroup"
        self.mount.mkdir()
        self.own = folder / "own"
        self.own.write_text(f"0::{own}\n")
        if version_2:
            self.put("", "cgroup.controllers", "cpuset cpu io memory pids\n")

    def put(self, group: str, name: str, text: str) -> Path:
        file = self.mount / group / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def cpu(
        self, used_s: float, *, group: str = "", quota: str = "200000 100000", periods: int = 0, throttled: int = 0
    ) -> None:
        self.put(group, "cpu.max", f"{quota}\n")
        counters = CPU_STAT.format(used=int(used_s * 1e6), periods=periods, throttled=throttled)
        self.put(group, "cpu.stat", counters)

    def memory(self, used: int, limit: int | None, *, group: str = "", cache: int = 0) -> None:
        """`used` is without the cache that can be taken back."""
        self.put(group, "memory.max", f"{'max' if limit is None else limit}\n")
        self.put(group, "memory.current", f"{used + cache}\n")
        self.put(group, "memory.stat", MEMORY_STAT.format(inactive=cache))
