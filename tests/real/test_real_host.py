"""The host as it really is: the kernel's own counters, under a load of our own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from setpoint.services import HostReader
from setpoint.services.host.cgroup import MOUNT, Unreadable, groups_of

pytestmark = pytest.mark.real

BUSY = "while True: pass"


def version_2() -> Path | None:
    """Where version 2 is mounted, alone or beside version 1."""
    return next((each for each in (MOUNT, MOUNT / "unified") if (each / "cgroup.controllers").exists()), None)


@contextmanager
def busy(cores: int) -> Iterator[list[int]]:
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_hosts_processor_is_seen_to_be_busy(tmp_path: Path) -> None:
    """Every core at work is close to 100 %, whatever else runs here; memory and disk are what the system's own tools say."""
    if groups_of().folders:
        pytest.skip("this process is in a control group of version 2, which may have limits: its figures count then")
    reader = HostReader(tmp_path)
    with busy(os.cpu_count() or 1):
        time.sleep(0.3)
        asyncio.run(reader.read())
        time.sleep(5.2)
        figures = asyncio.run(reader.read())
    assert figures.cpu_percent is not None
    assert figures.cpu_percent > 85.0
    assert figures.faults == ()
    usage = shutil.disk_usage(tmp_path)
    assert figures.disk_percent == pytest.approx(100 * usage.used / (usage.used + usage.free), abs=0.5)
    assert figures.memory_percent == pytest.approx(psutil.virtual_memory().percent, abs=3.0)


def test_the_kernels_counter_of_a_group_is_read_as_use_of_its_quota(tmp_path: Path) -> None:
    """A group of our own with one busy process: half of a quota of two cores. The quota is written by us, the counter by the kernel."""
    mount = version_2()
    if mount is None:
        pytest.skip("control groups of version 2 are not mounted")
    group = mount / f"setpoint-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error.strerror}); root may, where the mount is writable")
    try:
        with busy(1) as (pid,):
            (group / "cgroup.procs").write_text(f"{pid}\n")
            seen = tmp_path / "cgroup"
            seen.mkdir()
            (seen / "cgroup.controllers").write_text("cpu\n")
            (seen / "cpu.max").write_text("200000 100000\n")
            (seen / "cpu.stat").symlink_to(group / "cpu.stat")
            reader = HostReader(tmp_path, mount=seen, own=tmp_path / "none")
            began, used = time.monotonic(), psutil.Process(pid).cpu_times()
            time.sleep(2.0)
            figures = asyncio.run(reader.read())
            spent, after = time.monotonic() - began, psutil.Process(pid).cpu_times()
        ours = (after.user + after.system - used.user - used.system) / spent
        assert figures.cpu_percent == pytest.approx(50.0 * ours, abs=5.0)
        assert figures.source == f"CPU of {seen}, memory of host"
    finally:
        deadline = time.monotonic() + 5.0
        while (
            group.exists() and time.monotonic() < deadline
        ):  # the kernel takes a moment to see that the group is empty
            with suppress(OSError):
                group.rmdir()


def test_a_reading_of_what_is_here_has_no_fault_and_names_what_it_is_of(tmp_path: Path) -> None:
    """Whatever this machine is: a bare host, a container, version 1 or 2."""
    try:
        groups = groups_of()
    except Unreadable as error:
        pytest.fail(str(error))
    figures = HostReader(tmp_path).latest()
    assert figures.faults == ()
    assert figures.source.startswith("host") or any(str(folder) in figures.source for folder in groups.folders)
    assert figures.note == groups.why_none
