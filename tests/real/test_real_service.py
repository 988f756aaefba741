"""The program as a service: what its manager is told, its signals, and its end, by a real process and a real socket."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.real.service import BY_ORDER_ONLY, Service, config, counts, service, signs, well

from setpoint.places import STORE
from setpoint.store import SqliteStore

pytestmark = pytest.mark.real

DEAF = """
import asyncio
from setpoint.workers.flow import Flow
async def deaf(self, desired):
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
Flow.stop_flow = deaf
"""


# what the manager is told


def test_it_is_ready_when_every_worker_has_been_observed_and_says_how_it_is(tmp_path: Path) -> None:
    """READY once, after `starting`; a status that changes with the workers; STOPPING before the end; nothing of it without a change."""
    with service(tmp_path, config("a", "b")) as up:
        up.ready()
        assert {worker["state"] for worker in up.get("workers")}.isdisjoint({"to_be_created", "creating"})
        assert re.match(r"STATUS=starting; \d+ workers: ", up.told[0])
        up.until(lambda: well(up), 30)
        assert re.match(r"\d+ workers: ", up.status)
        assert any("not as wanted: " in each and "flows/a" in each for each in up.told)
        lines = [each for each in up.told if each.startswith("STATUS=")]
        assert all(line != before for before, line in pairwise(lines)), "told without a change"
        assert "WATCHDOG=1" not in up.told  # nobody asked for it
        up.send(signal.SIGTERM)
        assert up.ended() == 0
        assert up.changes == ["READY=1", "STOPPING=1"]
        assert up.status == "stopping"


def test_a_worker_that_hangs_does_not_keep_the_service_from_being_ready(tmp_path: Path) -> None:
    """A manager that waited for it would restart all others, again and again."""
    hangs = """
import asyncio
from setpoint.agent import service
from setpoint.workers.flow import Flow
service.READY_WITHIN_S = 1.0
async def hang(self, desired):
    await asyncio.sleep(3600)
Flow.collect_observed_state = hang
"""
    with service(tmp_path, config("a"), before=hangs) as up:
        up.until(lambda: up.status.startswith("starting; "))
        up.ready()
        assert "flows/a" in up.until(lambda: up.status if "not as wanted" in up.status else "")


def test_a_first_config_that_is_wrong_is_said_and_mended_by_a_reload(tmp_path: Path) -> None:
    """With nothing in force it is ready to be told better, and its status says what is wrong and where."""
    with service(tmp_path, "dataFlow: [", before=BY_ORDER_ONLY) as up:
        up.ready()
        assert "config: config.yaml:2:1" in up.until(lambda: up.status)
        assert "(in force: nothing)" in up.status
        (tmp_path / "config.yaml").write_text(config("a"))
        up.send(signal.SIGHUP)
        up.until(lambda: well(up) and "config" not in up.status, 30)


# the watchdog


def test_signs_of_life_come_while_the_runtime_turns(tmp_path: Path) -> None:
    """At least two within the time the manager gives, also when nothing happens; none where none is asked for is its own business."""
    with service(tmp_path, "agent: {}\n", watchdog_s=1.0) as up:
        up.ready()
        assert signs(up, 2.0) >= 4


def test_a_blocked_loop_gives_no_sign_of_life(tmp_path: Path) -> None:
    """A worker that blocks the event loop: the manager hears nothing, and an abort says where it hung."""
    blocks = """
import time
from setpoint.workers.flow import Flow
began = time.monotonic()
async def block(self, desired, collect=Flow.collect_observed_state):
    if time.monotonic() > began + 3:
        time.sleep(60)
    return await collect(self, desired)
Flow.collect_observed_state = block
"""
    with service(tmp_path, config("a"), watchdog_s=1.0, before=blocks) as up:
        up.ready()
        time.sleep(5.0)
        assert signs(up, 2.0) == 0
        up.send(signal.SIGABRT)
        assert up.ended() == -signal.SIGABRT
        assert "in block" in up.said


def test_a_runtime_that_no_longer_turns_gives_no_sign_of_life_although_the_loop_does(tmp_path: Path) -> None:
    """The timers are due and nobody looks at them; the API still answers. A timer thread would vouch for it."""
    dies = """
import asyncio
from setpoint.control.supervisor import Supervisor
async def later(self):
    await asyncio.sleep(3.0)
    self._pump = lambda: None
    self._pending and self._pending.cancel()
start = Supervisor.want
def want(self, specs):
    start(self, specs)
    self.dying = asyncio.get_running_loop().create_task(later(self))
Supervisor.want = want
"""
    with service(tmp_path, config("a"), watchdog_s=1.0, before=dies) as up:
        up.ready()
        assert signs(up, 1.0) >= 2
        time.sleep(3.5)
        assert signs(up, 2.0) == 0
        assert up.get("workers")


# SIGHUP


def test_a_hangup_reads_the_config_now_and_the_log_has_what_came_of_it(tmp_path: Path) -> None:
    """In force, nothing new, refused (what ran goes on), refused still, mended: each is said; RELOADING and READY frame each."""
    file = tmp_path / "config.yaml"
    with service(tmp_path, config("a"), before=BY_ORDER_ONLY) as up:
        up.ready()

        def reloaded(result: str) -> None:
            said, pairs = len(up.said), up.changes.count("READY=1")
            up.send(signal.SIGHUP)
            up.until(lambda: up.changes.count("READY=1") > pairs)
            assert result in up.said[said:]

        file.write_text(config("a", "b"))
        reloaded("config in force")
        assert "agent/flows/b" in str(up.get("workers"))
        reloaded("config read again; nothing in it is new")
        file.write_text(config("a", "b").replace("desiredState", "desierdState"))
        reloaded("config not applied; what runs is left as it is")
        reloaded("config.yaml:3:5: dataFlow[0].desiredState")
        assert not up.get("config/status")["ok"]
        up.until(lambda: "config: config.yaml:3:5" in up.status)
        assert "agent/flows/b" in str(up.get("workers"))
        file.write_text(config("a"))
        reloaded("config in force")
        up.until(lambda: "agent/flows/b" not in str(up.get("workers")))
        assert up.changes == ["READY=1", *["RELOADING=1", "READY=1"] * 5]
        stamp = re.search(r"RELOADING=1 MONOTONIC_USEC=(\d+)", " ".join(up.told))
        assert stamp is not None
        assert abs(int(stamp[1]) / 1e6 - time.monotonic()) < 60


def test_many_hangups_at_once_leave_a_service_that_is_ready(tmp_path: Path) -> None:
    """Twenty of them, from the first moment on: each reload is framed, the last edit is in force, and it stops in order."""
    with service(tmp_path, config("a"), before=BY_ORDER_ONLY) as up:
        up.until(lambda: "setpoint" in (tmp_path / "out").read_text())
        for number in range(20):
            (tmp_path / "config.yaml").write_text(config("a", f"x{number}"))
            up.send(signal.SIGHUP)
            time.sleep(0.01)
        up.until(lambda: "agent/flows/x19" in str(up.get("workers")))
        up.ready()
        up.until(lambda: up.changes[-1] == "READY=1")
        assert up.changes == ["READY=1", *["RELOADING=1", "READY=1"] * up.changes.count("RELOADING=1")]
        up.send(signal.SIGTERM)
        assert up.ended() == 0


def test_a_terminal_that_closes_and_readers_that_go_are_harmless(tmp_path: Path) -> None:
    """The kernel's SIGHUP, output that nobody takes: it goes on, and stops in order when told to."""
    (tmp_path / "config.yaml").write_text(config("a"))
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "setpoint.cli.main", "up", str(tmp_path / "config.yaml"), "--port", "0"]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=its_end, stdout=its_end, stderr=its_end, env=env, process_group=None
    )
    os.close(its_end)
    try:
        said = b""
        while b"flows/a: starting" not in said:
            said += os.read(terminal, 65536)
        os.close(terminal)
        up = Service(process, None, tmp_path)  # type: ignore[arg-type]
        url = re.search(rb"http://[\d.:]+", said)
        assert url is not None
        (tmp_path / "out").write_text(f"dashboard  {url[0].decode()}\n")
        (tmp_path / "err").write_text("")
        time.sleep(1.0)
        assert process.poll() is None
        (tmp_path / "config.yaml").write_text(config("a", "b"))
        up.until(lambda: "agent/flows/b" in str(up.get("workers")))
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


# the end


def written(folder: Path) -> dict[str, int]:
    """How many messages each topic has on the disk, by a new agent's own account."""
    with service(folder, config()) as up:
        up.ready()
        return up.until(lambda: counts(up))


def test_a_hundred_flows_stop_in_order_within_ten_seconds_and_all_they_wrote_is_there(tmp_path: Path) -> None:
    """Exit code 0, every flow in a stopped state in the store, every message that was in the namespace still in it."""
    names = [f"f{number}" for number in range(100)]
    with service(tmp_path, config(*names)) as up:
        up.ready()
        before = up.until(lambda: found if len(found := counts(up)) == 100 else None, 40)
        began = time.monotonic()
        up.send(signal.SIGTERM)
        assert up.ended(10) == 0, up.said[-2000:]
        print(f"100 flows stopped in {time.monotonic() - began:.2f} s")
    store = SqliteStore(tmp_path / "data" / STORE, read_only=True)
    assert {store.history(f"agent/flows/{name}")[-1].target for name in names} == {"stopped"}
    store.close()
    after = written(tmp_path)
    assert all(after[topic] >= count for topic, count in before.items())


def test_what_does_not_stop_is_named_within_ten_seconds(tmp_path: Path) -> None:
    """Flows that do not listen: the code is 3, each is named, and the others have stopped."""
    with service(tmp_path, config("a", "b"), before=DEAF) as up:
        up.until(lambda: len(counts(up)) == 2)
        up.send(signal.SIGTERM)
        assert up.ended(10) == 3
        assert "did not stop in time: agent/flows/a" in up.said
        assert "did not stop in time: agent/flows/b" in up.said


def test_a_second_signal_ends_at_once_and_what_was_acknowledged_is_kept(tmp_path: Path) -> None:
    """An order that was acknowledged, the latest transitions and the messages are there for the next agent; the code is 5.

    The store's writer is made so slow that only what is stored at the end can be there.
    """
    slow = "from setpoint.store import sqlite\nsqlite.FLUSH_S = 60.0\n"
    with service(tmp_path, config("a", "b"), before=DEAF + slow) as up:
        before = up.until(lambda: found if len(found := counts(up)) == 2 else None)
        command = [sys.executable, "-m", "setpoint.cli.main", "disable", "agent/flows/a", "--url", up.url]
        subprocess.run(command, check=True, capture_output=True)
        up.send(signal.SIGTERM)
        up.until(lambda: re.search(r"agent/flows/b: \S+ → stopping", up.said))
        began = time.monotonic()
        up.send(signal.SIGTERM)
        assert up.ended() == 5
        assert time.monotonic() - began < 2.0
        assert "stopped at once; what ran was not waited for\n" in up.said
    store = SqliteStore(tmp_path / "data" / STORE, read_only=True)
    moves = [move.event for move in store.history("agent/flows/b")]
    store.close()
    assert moves[-1] == "stop", "what happened last has not been stored"
    with service(tmp_path) as up:
        up.ready()
        up.until(lambda: up.get("workers/agent/flows/a").get("desired") == "stopped")
        after = up.until(lambda: counts(up))
        assert all(after[topic] >= count for topic, count in before.items())


@pytest.mark.parametrize("moment", [0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.3, 1.7])
def test_a_signal_while_it_starts_ends_it_in_order(tmp_path: Path, moment: float) -> None:
    """At any moment: before it listens for signals the process is gone with nothing begun, afterwards it ends with 0."""
    with service(tmp_path, config(*"abcdefgh")) as up:
        time.sleep(moment)
        up.send(signal.SIGTERM)
        code = up.ended()
        assert code == 0 or (code == -signal.SIGTERM and up.said == "" and not (tmp_path / "data").exists())
        assert "Traceback" not in up.said
    with service(tmp_path) as up:
        up.ready()


def test_a_signal_while_it_reads_the_config_ends_it_in_order(tmp_path: Path) -> None:
    """The reading is not waited for, and READY does not follow STOPPING."""
    slow = """
import time
from setpoint.agent.loading import Loader
loads = []
def load(self, load=Loader.load):
    loads.append(1)
    if len(loads) > 1:
        time.sleep(5)
    return load(self)
Loader.load = load
"""
    with service(tmp_path, config("a"), before=BY_ORDER_ONLY + slow) as up:
        up.ready()
        (tmp_path / "config.yaml").write_text(config("b"))
        up.send(signal.SIGHUP)
        up.until(lambda: up.changes[-1] == "RELOADING=1")
        began = time.monotonic()
        up.send(signal.SIGTERM)
        assert up.ended() == 0
        assert time.monotonic() - began < 4.0
        assert up.changes == ["READY=1", "RELOADING=1", "STOPPING=1"]
        assert "Traceback" not in up.said
