"""The program as a service when things go wrong around it: killed, stopped, its data directory gone, its disk full or read only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.real.service import config, counts, service, signs, well

pytestmark = pytest.mark.real


def test_the_lock_of_an_agent_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    """kill -9 leaves its pid in the file; the next agent starts all the same and writes its own."""
    with service(tmp_path, config("a")) as up:
        up.until(lambda: len(counts(up)) == 1)
        before = counts(up)
        up.send(signal.SIGKILL)
        up.process.wait()
    lock = tmp_path / "data" / "agent.lock"
    assert lock.read_text().splitlines()[0] == str(up.process.pid)
    with service(tmp_path) as up:
        up.ready()
        assert lock.read_text().splitlines()[0] == str(up.process.pid)
        after = up.until(lambda: counts(up))
        assert all(after[topic] >= count for topic, count in before.items())


def test_a_process_that_stood_still_goes_on(tmp_path: Path) -> None:
    """SIGSTOP for longer than an observation is fresh, then SIGCONT: nothing is restarted for it, signs of life come again."""
    seconds = float(os.environ.get("SETPOINT_STOOD_STILL_S", "12"))
    with service(tmp_path, config("a"), watchdog_s=1.0) as up:
        up.until(lambda: well(up), 30)
        starts = up.get("workers/agent/flows/a")["starts"]
        up.send(signal.SIGSTOP)
        time.sleep(seconds)
        assert signs(up, 0.5) == 0
        up.send(signal.SIGCONT)
        up.until(lambda: signs(up, 0.5) > 0, 5)
        up.until(lambda: well(up), 30)
        assert up.get("workers/agent/flows/a")["starts"] == starts
        count = sum(counts(up).values())
        up.until(lambda: sum(counts(up).values()) > count)


def test_a_data_directory_that_vanishes_is_a_state_with_a_reason(tmp_path: Path) -> None:
    """It goes on as well as it can, says what is gone, and ends within ten seconds when told to."""
    with service(tmp_path, config("a")) as up:
        up.until(lambda: len(counts(up)) == 1)
        shutil.rmtree(tmp_path / "data")
        broker = up.until(lambda: found if (found := up.get("workers/agent/broker"))["phase"] == "degraded" else None)
        assert "gone" in broker["reason"]
        up.until(lambda: "not as wanted: broker" in up.status)
        up.send(signal.SIGTERM)
        assert up.ended() in (0, 3)
        assert "Traceback" not in up.said


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, 512 kB."""
    there = tmp_path / "disk"
    there.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(there)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here; root can")
    yield there
    subprocess.run(["umount", "--lazy", str(there)], check=True)


def test_a_read_only_disk_is_a_reason(tmp_path: Path, disk: Path) -> None:
    """One sentence and the way out, at once, whether the directory is there or not."""
    (disk / "there").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for data in ("there", "new"):
        with service(tmp_path / data, config("a"), data=disk / data) as up:
            assert up.ended() == 1
            assert f"the data directory {disk / data} cannot be used: Read-only file system" in up.said
            assert "Traceback" not in up.said


def test_a_full_disk_is_a_state_with_a_reason_and_passes(tmp_path: Path, disk: Path) -> None:
    """It starts all the same, says what cannot be written, ends in time, and runs once there is room."""
    (disk / "data").mkdir()
    with suppress(OSError), (disk / "fill").open("wb", buffering=0) as fill:
        while True:
            fill.write(b"x" * 1024)
    with service(tmp_path, config("a"), data=disk / "data") as up:
        up.ready()
        up.until(lambda: "full" in up.get("workers/agent/broker")["reason"])
        up.until(lambda: "store: database or disk is full" in up.get("workers/agent/keeping")["reason"])
        up.send(signal.SIGTERM)
        assert up.ended() == 3
        assert "did not stop in time: store: the last news is lost: database or disk is full" in up.said
        assert "Traceback" not in up.said
    (disk / "fill").unlink()
    with service(tmp_path, data=disk / "data") as up:
        up.until(lambda: up.get("workers/agent/broker")["phase"] == "healthy")
