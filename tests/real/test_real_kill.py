"""Kill -9 in every phase, for real: what runs outside is found again, never twice, and what operators said holds."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.real.keeper import MARK, TAKES

from setpoint.store import SqliteStore

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="processes are found by /proc, which is not here"
    ),
]

KEEPER = Path(__file__).with_name("keeper.py")
ROOT = Path(__file__).parents[2]
ALL = ("top/a", "top/a/helper", "top/b")


def living(folder: Path) -> dict[str, list[int]]:
    """The processes that are kept for this folder, by the path of their worker: as the system has them, not as any file says."""
    found: dict[str, list[int]] = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid, environment = int(process.name), (process / "environ").read_bytes().split(b"\0")
            for name in ALL:
                mine = f"{MARK}={folder}/{name.replace('/', '-')}".encode() in environment
                if mine and os.getsid(pid) == pid:  # not what it runs itself for a moment
                    found.setdefault(name, []).append(pid)
    return found


def stored(folder: Path) -> set[str]:
    """The workers that are on the disk. Raises when what is there cannot be read."""
    file = folder / "store.sqlite"
    if not file.exists():
        return set()
    store = SqliteStore(file, read_only=True)
    try:
        found = set(store.load())
        assert store.trouble() == ""
        assert all(store.history(path) for path in found)
    finally:
        store.close()
    return found


class Life:
    """One life of the supervisor's process; what it says is in `states` and `said`."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(KEEPER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.states: dict[str, str] = {}
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> None:
        """Wait for news until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.states} {self.said}"
            try:
                line = self._lines.get(timeout=0.05)
            except queue.Empty:
                continue
            assert line, f"it ended by itself with {self.process.wait(5)}; {self.states} {self.said}"
            news = json.loads(line)
            if "path" in news:
                self.states[news["path"]] = news["state"]
            else:
                self.said.append(next(iter(news)) if "stopped" in news else news["told"])

    def order(self, verb: str, path: str = "", **more: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"verb": verb, **({"path": path} if path else {}), **more}) + "\n")

    def tell(self, verb: str, path: str) -> None:
        """An operator's verb, acknowledged."""
        self.order(verb, path, why=f"{verb} (eva)")
        self.until(lambda: verb in self.said)

    def at_target(self, stopped: set[str]) -> bool:
        return all(self.states.get(path) == ("stopped" if path in stopped else "running") for path in ALL)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Plant:
    """The lives of one supervisor over one folder, and what must hold through all of them."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.stopped: set[str] = set()  # told so, and acknowledged
        self.ran: dict[str, int] = {}  # what ran when the last life was killed, and nobody had asked to stop
        self.life = Life(folder)

    def settle(self) -> None:
        """All are where they are wanted; what ran still runs, and nothing runs twice."""
        expected = dict.fromkeys(set(ALL) - self.stopped, 1)
        try:
            self.life.until(
                lambda: (
                    self.life.at_target(self.stopped)
                    and {path: len(pids) for path, pids in living(self.folder).items()} == expected
                )
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; to be stopped {self.stopped}, living {living(self.folder)}") from None
        now = {path: pids[0] for path, pids in living(self.folder).items()}
        assert {path: now.get(path) for path in self.ran} == self.ran, "what ran has been restarted"

    def die(self, within: float, *, disturbed: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Kill it at some moment from now on, look at what it left, and start it again. Who is disturbed may get another process."""
        time.sleep(self.chance.uniform(0.0, within))
        self.life.kill()
        self.ran = {path: pids[0] for path, pids in living(self.folder).items() if path not in disturbed}
        assert stored(self.folder) == set(ALL)
        self.life = Life(self.folder)

    # the phases

    def creating(self) -> None:
        """Again before it has come to life."""
        self.running()
        self.life.until(lambda: self.life.states.get("top/a") == "creating")
        self.die(TAKES / 2)

    def starting(self) -> None:
        """Somebody ends a process of ours; it is killed while it starts another."""
        self.settle()
        path = self.chance.choice([path for path in ALL if path not in self.stopped])
        os.kill(living(self.folder)[path][0], signal.SIGTERM)
        self.life.until(lambda: self.life.states[path] == "starting")
        self.die(3 * TAKES)  # a process that was there when it died is to be found again, too

    def running(self) -> None:
        self.settle()
        self.die(2 * TAKES)

    def stopping(self) -> None:
        self.settle()
        self.life.tell("disable", "top/b")
        self.stopped.add("top/b")
        self.die(3 * TAKES, disturbed={"top/b"})

    def restart(self) -> None:
        self.settle()
        self.life.tell("restart", "top/a")
        self.die(8 * TAKES, disturbed={"top/a", "top/a/helper"})

    def shutdown(self) -> None:
        self.settle()
        self.life.order("stop")
        self.die(4 * TAKES, disturbed=set(ALL))


@contextmanager
def plant(folder: Path, seed: int) -> Iterator[Plant]:
    """A plant that leaves no process behind, however the test ends."""
    made = Plant(folder, random.Random(seed))
    try:
        yield made
    finally:
        made.life.kill()
        for pid in [pid for pids in living(folder).values() for pid in pids]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_killed_in_every_phase_nothing_runs_twice_or_is_restarted_or_forgotten(tmp_path: Path) -> None:
    """Created, starting, running, stopping, restarting, shutting down: killed at a random moment of each, in random order."""
    seed = int(os.environ.get("SETPOINT_SEED") or random.randrange(1_000_000))
    print(f"SETPOINT_SEED={seed}")
    with plant(tmp_path, seed) as p:
        p.life.until(lambda: p.life.states.get("top/a") == "starting")
        p.life.until(lambda: stored(tmp_path) == set(ALL))
        p.die(3 * TAKES)
        phases = [p.creating, p.starting, p.running, p.stopping, p.restart, p.shutdown]
        p.chance.shuffle(phases)
        for phase in phases:
            phase()
        p.settle()
        p.life.tell("enable", "top/b")
        p.stopped.clear()
        p.settle()
        p.life.order("stop")
        p.life.until(lambda: "stopped" in p.life.said)
        assert p.life.process.wait(5) == 0
        assert living(tmp_path) == {}
    assert list(tmp_path.glob("*.twice")) == []
    assert list(tmp_path.glob("*damaged*")) == []
    store = SqliteStore(tmp_path / "store.sqlite", read_only=True)
    told = [(move.path, move.event, move.reason) for path in ALL for move in store.history(path, 1000)]
    store.close()
    assert [each for each in told if each[1].startswith("operator_")] == [
        ("top/a", "operator_restart", "restart (eva)"),
        ("top/b", "operator_disable", "disable (eva)"),
        ("top/b", "operator_enable", "enable (eva)"),
    ]


CONFIG = """\
agent: {location: {0: acme}}
dataFlow:
  - name: clock
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {generate: {interval: 50ms, mapping: 'root.n = counter()'}}
        pipeline:
          processors:
            - tag_processor:
                defaults: |
                  msg.meta.location_path = "acme"; msg.meta.data_contract = "_raw"; msg.meta.tag_name = "n";
                  msg.payload = msg.payload.n;
                  return msg;
        output: {uns: {}}
"""
SLOW_TO_STOP = """
import asyncio
from setpoint.workers.flow import Flow
async def slow(self, desired):
    await asyncio.sleep(60)
Flow.stop_flow = slow
"""


@contextmanager
def agent(folder: Path, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """An agent over the config, its state in ``data``; `before` is Python that runs in its process first."""
    arguments = ["up", str(folder / "config.yaml"), "--data", str(folder / "data"), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before}\nfrom setpoint.cli.main import main\nmain({arguments!r})"],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(stream: Any, text: str) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"it ended without saying {text!r}")


def test_the_second_agent_is_refused_and_the_second_signal_ends_the_first(tmp_path: Path) -> None:
    """By the pid of the first, as long as it lives; whoever will not wait for a slow stop signals again, and nothing is damaged by it."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    with agent(tmp_path, SLOW_TO_STOP) as first:
        read_until(first.stderr, "agent/flows/clock: creating → ")
        with agent(tmp_path) as second:
            _, said = second.communicate(timeout=20)
        assert second.returncode == 4
        assert f"in use by another agent (pid {first.pid}, " in said
        first.send_signal(signal.SIGTERM)
        read_until(first.stderr, "stopping; once more to stop at once")
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=5)
        assert first.returncode == 5
        assert "stopped at once" in said
    with agent(tmp_path) as third:
        read_until(third.stderr, "agent/flows/clock: creating → ")
        third.send_signal(signal.SIGTERM)
        _, said = third.communicate(timeout=20)
        assert third.returncode == 0, said
    assert list((tmp_path / "data").glob("*damaged*")) == []
