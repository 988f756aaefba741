"""Host figures: read from the files of a control group, or from the host where there is none."""

from __future__ import annotations

from pathlib import Path

from setpoint.services import HostReader


def group(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    return folder


def test_the_host_counts_where_there_is_no_control_group(tmp_path: Path) -> None:
    """Every figure is a sane percentage."""
    figures = HostReader(tmp_path, cgroup=tmp_path / "none").read()
    assert figures.cpu_cores >= 1
    assert 0 < figures.memory_used_bytes < figures.memory_total_bytes
    assert 0 < figures.disk_percent <= 100
    assert 0 <= figures.cpu_percent <= 100


def test_limits_of_the_control_group_count(tmp_path: Path) -> None:
    """Memory leaves out the file cache that can be taken back; the quota gives the cores."""
    folder = group(
        tmp_path,
        cpu_max="150000 100000",
        cpu_stat="usage_usec 1000000\nnr_periods 100\nnr_throttled 10\n",
        memory_max="1000000",
        memory_current="800000",
        memory_stat="anon 400000\ninactive_file 300000\n",
    )
    reader = HostReader(tmp_path, cgroup=folder)
    group(tmp_path, cpu_stat="usage_usec 901000000\nnr_periods 200\nnr_throttled 60\n")
    figures = reader.read()
    assert figures.cpu_cores == 1.5
    assert figures.memory_percent == 50.0
    assert figures.memory_total_bytes == 1_000_000
    assert figures.throttled_percent == 50.0
    assert figures.cpu_percent == 100.0


def test_counters_that_went_back_are_no_load(tmp_path: Path) -> None:
    """A control group that was made anew starts counting anew."""
    folder = group(tmp_path, cpu_max="max 100000", memory_max="max", cpu_stat="usage_usec 9000000\n")
    reader = HostReader(tmp_path, cgroup=folder)
    group(tmp_path, cpu_max="100000 100000", cpu_stat="usage_usec 0\nnr_periods 0\n")
    assert reader.read().cpu_percent >= 0.0
