"""The host reader: what limits this process, by the files of its control groups, and the host where there are none."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.services.host_files import GB, Clock, Tree

from setpoint.services import HostFigures, HostLimits, HostReader
from setpoint.services.host import near_limit, over_limit
from setpoint.services.host import reader as reader_module
from setpoint.services.host.cgroup import Sample, Unreadable, quota_of
from setpoint.services.host.window import Window


def reader_over(tree: Tree, clock: Clock) -> HostReader:
    return HostReader(tree.mount, mount=tree.mount, own=tree.own, clock=clock)


def read(reader: HostReader) -> HostFigures:
    return asyncio.run(reader.read())


# what limits


def test_a_containers_limits_count(tmp_path: Path) -> None:
    """Use is of the quota, memory leaves out the cache that can be taken back, throttling is in periods."""
    tree, clock = Tree(tmp_path), Clock()
    tree.cpu(10.0, quota="150000 100000", periods=100, throttled=10)
    tree.memory(used=GB // 2, limit=GB, cache=GB // 3)
    reader = reader_over(tree, clock)
    clock.now += 2.0
    tree.cpu(11.5, quota="150000 100000", periods=120, throttled=12)
    figures = read(reader)
    assert (figures.cpu_percent, figures.cpu_cores, figures.throttled_percent) == (50.0, 1.5, 10.0)
    assert (figures.memory_percent, figures.memory_used_bytes, figures.memory_total_bytes) == (50.0, GB // 2, GB)
    assert figures.source == str(tree.mount)
    assert figures.faults == ()


def test_the_tightest_of_the_limits_above_a_service_counts(tmp_path: Path) -> None:
    """A systemd service: its slice has the quota, and its own memory limit is further from full than that of the slice."""
    tree, clock = Tree(tmp_path, own="/plant.slice/setpoint.service"), Clock()
    service, above = "plant.slice/setpoint.service", "plant.slice"
    tree.cpu(0.0, group=service, quota="max 100000")
    tree.cpu(0.0, group=above, quota="100000 100000")
    tree.memory(used=GB // 10, limit=GB, group=service)
    tree.memory(used=GB, limit=GB + GB // 4, group=above)
    reader = reader_over(tree, clock)
    clock.now += 1.0
    tree.cpu(0.25, group=above, quota="100000 100000")
    figures = read(reader)
    assert (figures.cpu_percent, figures.cpu_cores, figures.memory_percent) == (25.0, 1.0, 80.0)
    assert figures.source == str(tree.mount / above)


def test_a_container_that_sees_the_hosts_name_of_its_group_finds_the_group(tmp_path: Path) -> None:
    """Without a name space of its own the path is the host's, but only the container's group is mounted."""
    for number, own in enumerate(("/system.slice/docker-1f.scope", "/../../elsewhere")):
        folder = tmp_path / str(number)
        folder.mkdir()
        tree = Tree(folder, own=own)
        tree.cpu(0.0, quota="50000 100000")
        assert reader_over(tree, Clock()).latest().cpu_cores == 0.5


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("9:memory:/x\n2:cpuacct:/\n1:cpu:/\n0::/\n", "control groups are version 1, whose limits are not read"),
        ("3:cpu,cpuacct:/docker/1f\n", "control groups are version 1, whose limits are not read"),
        ("", "there are no control groups"),
        (None, "there are no control groups"),
    ],
)
def test_without_version_2_the_host_counts_and_it_is_said_why(tmp_path: Path, own: str | None, said: str) -> None:
    """Version 1 is not taken for no limit at all."""
    tree = Tree(tmp_path, version_2=False)
    tree.own.unlink() if own is None else tree.own.write_text(own)
    figures = reader_over(tree, Clock()).latest()
    assert (figures.source, figures.note) == ("host", said)
    assert figures.memory_total_bytes == psutil.virtual_memory().total
    assert figures.cpu_cores == psutil.cpu_count()


def test_a_group_without_limits_leaves_it_to_the_host(tmp_path: Path) -> None:
    """`max`, a limit above what the host has, and controllers that are not enabled are no limits."""
    tree = Tree(tmp_path, own="/user.slice")
    tree.cpu(5.0, group="user.slice", quota="max 100000")
    tree.memory(used=GB, limit=psutil.virtual_memory().total + 1, group="user.slice")
    figures = reader_over(tree, Clock()).latest()
    assert (figures.source, figures.faults) == ("host", ())
    tree.memory(used=GB // 2, limit=GB, group="user.slice")
    figures = reader_over(tree, Clock()).latest()
    assert figures.source == f"CPU of host, memory of {tree.mount / 'user.slice'}"


def test_the_disk_is_that_of_the_data_directory(tmp_path: Path) -> None:
    """A folder that is not there is a fault, and no figure."""
    tree = Tree(tmp_path)
    figures = reader_over(tree, Clock()).latest()
    assert figures.disk_percent is not None
    assert 0 < figures.disk_percent <= 100
    gone = HostReader(tmp_path / "gone", mount=tree.mount, own=tree.own).latest()
    assert gone.disk_percent is None
    assert gone.faults == (f"disk: {tmp_path / 'gone'} cannot be looked at: No such file or directory",)


def test_a_limit_of_nothing_is_full(tmp_path: Path) -> None:
    """As an operator may set it to have a group give up its memory."""
    tree = Tree(tmp_path)
    tree.memory(used=4096, limit=0)
    assert reader_over(tree, Clock()).latest().memory_percent == 100.0


def test_a_file_system_that_does_not_say_how_large_it_is_has_no_figure() -> None:
    """Such as those that the kernel makes up."""
    figures = HostReader(Path("/proc")).latest()
    assert figures.disk_percent is None
    assert "disk: the file system of /proc does not say how large it is" in figures.faults


# what cannot be measured is said


def test_use_is_not_known_before_there_is_something_to_compare(tmp_path: Path) -> None:
    """The first reading has everything else; nothing is wrong with it."""
    tree, clock = Tree(tmp_path), Clock()
    tree.cpu(10.0)
    reader = reader_over(tree, clock)
    assert (reader.latest().cpu_percent, reader.latest().throttled_percent, reader.latest().faults) == (None, None, ())
    clock.now += 0.1
    assert read(reader).cpu_percent is None
    clock.now += 1.0
    assert read(reader).cpu_percent == 0.0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("cpu.max", "", "cpu.max says ''; expected a quota and a period in microseconds"),
        ("cpu.max", "0 0\n", "cpu.max says '0 0'; expected a quota and a period"),
        ("cpu.max", "-1 100000\n", "expected a quota and a period"),
        ("cpu.stat", "user_usec 5\n", "cpu.stat has no 'usage_usec'"),
        ("cpu.stat", "usage_usec x\n", "cpu.stat has no 'usage_usec'"),
        ("memory.max", "1e9\n", "memory.max says '1e9'; expected a number of bytes"),
        ("memory.current", "", "memory.current says ''"),
        ("memory.stat", "anon 5\n", "memory.stat has no 'inactive_file'"),
        ("memory.max", "\u0661\n", "memory.max is not text"),
    ],
)
def test_a_file_that_does_not_say_what_it_should_is_a_fault(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Named, never a zero, and the host's figure does not take its place."""
    tree = Tree(tmp_path)
    tree.cpu(10.0)
    tree.memory(GB // 2, GB)
    tree.put("", name, text)
    figures = reader_over(tree, Clock()).latest()
    assert len(figures.faults) == 1
    assert said in figures.faults[0]
    assert str(tree.mount) in figures.faults[0]
    if name.startswith("memory"):
        assert (figures.memory_percent, figures.memory_total_bytes) == (None, None)
    else:
        assert (figures.cpu_percent, figures.cpu_cores) == (None, None)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """As after the group has been taken away under a reader: with the system's own words."""
    tree = Tree(tmp_path)
    tree.cpu(1.0)
    tree.memory(GB // 2, GB)
    for name in ("cpu.stat", "memory.current"):
        (tree.mount / name).unlink()
    (tree.mount / "memory.current").mkdir()
    faults = reader_over(tree, Clock()).latest().faults
    assert faults == (
        f"CPU: {tree.mount / 'cpu.stat'} is not there, although there is a limit",
        f"memory: {tree.mount / 'memory.current'} cannot be read: Is a directory",
    )


@pytest.mark.parametrize(
    ("seconds", "used", "quota", "said"),
    [
        (1.0, 3.0, "200000 100000", "the counters went back: the group was made anew"),
        (1.0, 10.5, "100000 100000", "the quota was changed from 2 to 1 cores"),
        (-5.0, 10.5, "200000 100000", "the clock went back by 5.0 s"),
        (75.0, 11.0, "200000 100000", "nothing was measured for 75 s"),
        (0.1, 90.0, "200000 100000", "80.0 s of processor were used within 0.1 s: the clock was changed"),
    ],
)
def test_what_cannot_be_compared_begins_anew_and_says_why(
    tmp_path: Path, seconds: float, used: float, quota: str, said: str
) -> None:
    """Neither a load of 0 nor one of 100 % is made up; the next reading is good again."""
    tree, clock = Tree(tmp_path), Clock()
    tree.cpu(10.0)
    reader = reader_over(tree, clock)
    clock.now += seconds
    tree.cpu(used, quota=quota)
    figures = read(reader)
    assert figures.cpu_percent is None
    assert figures.faults == (f"CPU of {tree.mount}: {said}; measured anew from now on",)
    clock.now += 1.0
    tree.cpu(used + 0.5, quota=quota)
    figures = read(reader)
    assert figures.faults == ()
    assert figures.cpu_percent == (25.0 if quota.startswith("2") else 50.0)


# one reading for all


def test_everybody_is_shown_the_latest_reading_until_it_is_too_old(tmp_path: Path) -> None:
    """An old one says so."""
    tree, clock = Tree(tmp_path), Clock()
    reader = reader_over(tree, clock)
    clock.now += 5.0
    figures = read(reader)
    clock.now += 10.0
    assert reader.latest() is figures
    clock.now += 2.0
    assert reader.latest().faults == ("the host has not been measured for 12 s",)


def test_a_disk_that_does_not_answer_holds_up_one_reading_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on, a second reading is refused with the reason, and once the disk answers all is as before."""
    tree, clock, answers = Tree(tmp_path), Clock(), threading.Event()
    reader = reader_over(tree, clock)
    usage = reader_module.shutil.disk_usage

    def hangs(path: Path) -> object:
        answers.wait(10.0)
        return usage(path)

    monkeypatch.setattr(reader_module.shutil, "disk_usage", hangs)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.05)
        clock.now += 3.0
        with pytest.raises(OSError, match=r"begun 3 s ago has not come back; it waits for the disk of"):
            await reader.read()
        answers.set()
        while reader._begun is not None:  # noqa: ASYNC110 - a thread ends
            await asyncio.sleep(0.001)
        assert (await reader.read()).disk_percent is not None

    asyncio.run(main())


# windows


def samples(*rows: tuple[float, float, int, int]) -> Window:
    window = Window()
    for at, used, periods, throttled in rows:
        assert window.add(Sample(at, used, 2.0, periods, throttled)) == ""
    return window


def test_use_is_the_mean_of_five_seconds_and_throttling_of_a_minute() -> None:
    """A second at full load is a fifth of the one; a burst a minute ago is forgotten by the other."""
    rows = [(float(at), 0.0, 10 * at, 0) for at in range(10)]
    assert samples(*rows, (10.0, 2.0, 100, 10)).cpu_percent == 20.0
    burst = samples((0.0, 0.0, 0, 0), (1.0, 0.0, 10, 10), *((float(at), 0.0, 10 * at, 10) for at in range(2, 61)))
    assert burst.throttled_percent == pytest.approx(1.7)
    assert burst.add(Sample(61.0, 0.0, 2.0, 610, 10)) == ""
    assert burst.throttled_percent == 0.0


def test_a_group_that_did_nothing_was_not_throttled() -> None:
    """No periods, no division."""
    assert samples((0.0, 0.0, 5, 5), (1.0, 0.0, 5, 5)).throttled_percent == 0.0


@given(
    st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 1.0), st.integers(0, 50), st.integers(0, 50)), min_size=2)
)
def test_a_load_that_is_possible_is_a_percentage(steps: list[tuple[float, float, int, int]]) -> None:
    """However readings fall in time, a load between none and full gives between 0 and 100 %, and no break."""
    window = Window()
    at = used = 0.0
    periods = throttled = 0
    for seconds, share, more, of_them in steps:
        at, used = at + seconds, used + seconds * 2.0 * share
        periods, throttled = periods + more, throttled + min(more, of_them)
        assert window.add(Sample(at, used, 2.0, periods, throttled)) == ""
        for value in (window.cpu_percent, window.throttled_percent):
            assert value is None or 0.0 <= value <= 100.0


@given(st.floats(0.001, 1000.0), st.integers(1000, 1_000_000))
def test_a_quota_is_cores(cores: float, period: int) -> None:
    """Whatever the period."""
    import tempfile

    quota = max(1, int(cores * period))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cpu.max").write_text(f"{quota} {period}\n")
        assert quota_of(Path(folder)) == quota / period


@given(st.binary(max_size=40))
def test_whatever_is_in_a_file_it_is_a_quota_none_or_a_fault(content: bytes) -> None:
    """Nothing else comes out."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cpu.max").write_bytes(content)
        try:
            quota = quota_of(Path(folder))
        except Unreadable:
            return
        assert quota is None or quota > 0


# limits

AT_EASE = HostFigures(20.0, 2.0, 0.0, 30.0, 1, 4, 40.0, 20, 50)


def changed(**values: object) -> HostFigures:
    return HostFigures(**{field: getattr(AT_EASE, field) for field in AT_EASE.__struct_fields__} | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (AT_EASE, ""),
        (changed(cpu_percent=84.9), ""),
        (changed(cpu_percent=85.0), "CPU 85 % (limit 85 %)"),
        (changed(memory_percent=91.5, disk_percent=99.0), "memory 91.5 % (limit 90 %); disk 99 % (limit 90 %)"),
        (changed(throttled_percent=5.0), "CPU throttling 5 % (limit 5 %)"),
        (changed(cpu_percent=None, faults=("CPU: no",)), "CPU: no"),
    ],
)
def test_at_the_limit_is_over_it(figures: HostFigures, said: str) -> None:
    """And what could not be measured is not below it."""
    assert over_limit(figures, HostLimits()) == said


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (AT_EASE, ""),
        (changed(cpu_percent=74.9), ""),
        (changed(cpu_percent=75.0, disk_percent=89.9), "CPU 75 % (limit 85 %), disk 89.9 % (limit 90 %)"),
        (changed(cpu_percent=85.0), ""),
        (changed(throttled_percent=4.0), ""),
    ],
)
def test_close_to_the_limit_is_a_warning(figures: HostFigures, said: str) -> None:
    """Within ten points below it; what is over is no warning any more."""
    assert near_limit(figures, HostLimits()) == said
