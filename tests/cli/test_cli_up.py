"""``setpoint up`` as a process: how it starts, is found, follows its file, and ends, whatever its workers do."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from setpoint.store.schema import APPLICATION_ID

pytestmark = pytest.mark.real

CONFIG = """\
agent:
  location: {0: acme}
dataFlow:
  - name: clock
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input:
          generate: {interval: 200ms, mapping: 'root = "tick"'}
        output:
          drop: {}
"""


class Up:
    """An agent in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str, env: dict[str, str]) -> None:
        self.process, self.url, self.env = process, url, env

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/api/v1/{path}", trust_env=False, timeout=10).json()

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "setpoint.cli.main", *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=30, check=False)

    def until(self, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {self.get('workers')} {self.get('config/status')}")

    def end(self, number: int = signal.SIGTERM, seconds: float = 20.0) -> tuple[int, str]:
        """Send a signal; the exit code, and what was written to stderr."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, err


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), "PYTHONUNBUFFERED": "1"}


@contextmanager
def agent_on(folder: Path, config: str = CONFIG, *, before: str = "") -> Iterator[Up]:
    """An agent over this config on a free port; `before` is Python that runs in its process first."""
    (folder / "config.yaml").write_text(config)
    env = environment(folder)
    script = (
        f"{before}\nfrom setpoint.cli.main import main\nmain(['up', {str(folder / 'config.yaml')!r}, '--port', '0'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("setpoint "), process.communicate(timeout=10)
        url = process.stdout.readline().split()[-1]
        yield Up(process, url, env)
    finally:
        process.kill()
        process.communicate()


def runs(up: Up) -> bool:
    """Its flow has been started."""
    return any(worker["type"] == "flow" and worker["state"].startswith("starting") for worker in up.get("workers"))


def test_up_runs_is_found_and_ends_cleanly(tmp_path: Path) -> None:
    """It prints where it is, `status` finds it without being told, and SIGTERM ends it with 0 and leaves nothing behind."""
    with agent_on(tmp_path) as up:
        up.until(lambda: runs(up))
        ran = up.cli("status", "--json")
        assert {worker["path"] for worker in json.loads(ran.stdout)} == {
            "agent/broker",
            "agent/agent_monitor",
            "agent/container_monitor",
            "agent/keeping",
            "agent/topic_browser",
            "agent/flows/clock",
        }
        noted = json.loads((tmp_path / "run" / "setpoint" / "agent.json").read_text())
        assert (noted["url"], noted["pid"]) == (up.url, up.process.pid)
        code, err = up.end()
        assert code == 0, err
        assert err.rstrip().endswith("stopped")
        assert "Traceback" not in err
        assert not (tmp_path / "run" / "setpoint" / "agent.json").exists()


def test_the_real_agent_answers_everything(tmp_path: Path) -> None:
    """Every address of the interface, the page included, answers for a real agent."""
    with agent_on(tmp_path) as up:
        up.until(lambda: httpx.get(f"{up.url}/readyz", trust_env=False).is_success)
        for path in (
            "/",
            "/assets/app.js",
            "/metrics",
            "/healthz",
            "/api/v1/topics",
            "/api/v1/machines",
            "/api/v1/openapi.json",
        ):
            assert httpx.get(up.url + path, trust_env=False).status_code == 200, path
        explained = up.get("workers/agent/flows/clock/explain")
        assert explained["ways"]
        assert "agent/flows/clock" in up.cli("explain", "clock").stdout


def test_a_broken_edit_changes_nothing_and_is_shown(tmp_path: Path) -> None:
    """Breaking the file leaves what runs; status names the line; mending it clears the error."""
    with agent_on(tmp_path) as up:
        up.until(lambda: runs(up))
        (tmp_path / "config.yaml").write_text(CONFIG.replace("desiredState", "desierdState"))
        up.until(lambda: not up.get("config/status")["ok"])
        ran = up.cli("status")
        assert ran.returncode == 3
        assert "config.yaml:5:5" in ran.stdout
        assert "agent/flows/clock" in ran.stdout
        (tmp_path / "config.yaml").write_text(CONFIG)
        up.until(lambda: up.get("config/status")["ok"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_every_signal_that_means_stop_stops(tmp_path: Path, number: int) -> None:
    """Ctrl-C and a service manager end it in order."""
    with agent_on(tmp_path) as up:
        up.until(lambda: up.get("workers"))
        assert up.end(number)[0] == 0


def test_a_worker_that_does_not_stop_is_named_and_cannot_keep_the_process(tmp_path: Path) -> None:
    """An action that never ends and ignores its cancellation: its worker is named, the exit code is 3, the process ends all the same."""
    before = """
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
    with agent_on(tmp_path, before=before) as up:
        up.until(lambda: runs(up))
        code, err = up.end(seconds=10)
        assert code == 3
        assert "did not stop in time: agent/flows/clock" in err


def test_code_that_blocks_the_loop_cannot_keep_the_process(tmp_path: Path) -> None:
    """A blocked event loop cannot answer the signal; a thread ends the process by force, and says so."""
    before = """
import time
from setpoint.cli import stopping
from setpoint.workers.flow import Flow
stopping.LAST_RESORT = 1.0
async def block(self, desired):
    time.sleep(60)
Flow.collect_observed_state = block
"""
    with agent_on(tmp_path, before=before) as up:
        time.sleep(1.0)
        code, err = up.end(seconds=10)
        assert code == 5
        assert "ended by force" in err


def test_a_defect_ends_the_process(tmp_path: Path) -> None:
    """An agent that cannot start for a reason nobody foresaw ends with its traceback, although its threads still run."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    script = f"""
from setpoint.agent import Agent
async def start(self):
    raise RuntimeError("boom")
Agent.start = start
from setpoint.cli.main import main
main(["up", {str(tmp_path / "config.yaml")!r}, "--port", "0"])
"""
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode == 1
    assert "RuntimeError: boom" in ran.stderr


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """Whoever does not want to wait need not."""
    before = (
        "import time\nfrom setpoint.workers.flow import Flow\nasync def block(self, desired):\n    time.sleep(60)\n"
    )
    with agent_on(tmp_path, before=before + "Flow.collect_observed_state = block\n") as up:
        time.sleep(0.5)
        up.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        code, err = up.end(signal.SIGINT, seconds=5)
        assert code == 5
        assert "stopped at once" in err


def refused(folder: Path, *arguments: str, code: int = 1) -> str:
    """What `up` says when it cannot start."""
    command = [sys.executable, "-m", "setpoint.cli.main", "up", *arguments]
    ran = subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "→" in ran.stderr
    return ran.stderr


def test_a_taken_port_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Nothing is started, and --port 0 is offered."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(tmp_path, str(tmp_path / "config.yaml"), "--port", port)
    assert f"port {port} on 127.0.0.1 is taken" in said
    assert "--port 0" in said


def test_the_port_of_the_config_is_used(tmp_path: Path) -> None:
    """Without --port, agent.metricsPort counts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "config.yaml").write_text(CONFIG.replace("agent:\n", f"agent:\n  metricsPort: {port}\n"))
        assert f"port {port} on" in refused(tmp_path, str(tmp_path / "config.yaml"))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("CREATE TABLE x (y)", "is a database of another program"),
        (
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99",
            "was written by Setpoint of a newer version",
        ),
    ],
)
def test_a_store_that_cannot_be_used_is_one_sentence_with_the_way_out(tmp_path: Path, made: str, said: str) -> None:
    """Another program's file, or one of a newer version: neither is touched."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    data = tmp_path / "data"
    data.mkdir()
    with closing(sqlite3.connect(data / "store.sqlite")) as connection:
        connection.executescript(made)
    content = (data / "store.sqlite").read_bytes()
    told = refused(tmp_path, str(file), "--port", "0", "--data", str(data))
    assert said in told
    assert "another data directory" in told.partition("→")[2]
    assert (data / "store.sqlite").read_bytes() == content


def test_what_cannot_be_run_is_one_sentence(tmp_path: Path) -> None:
    """No such file; a data directory that is a file; one that another agent has."""
    file = tmp_path / "config.yaml"
    assert "there is no file" in refused(tmp_path, str(file))
    assert "cannot be looked at: File name too long" in refused(tmp_path, "x" * 300)
    file.write_text(CONFIG)
    assert "cannot be used" in refused(tmp_path, str(file), "--port", "0", "--data", str(file))
    with agent_on(tmp_path) as up:
        said = refused(tmp_path, str(file), "--port", "0", code=4)
        assert f"in use by another agent (pid {up.process.pid}, keeping {file})" in said


def test_a_program_that_has_no_use_for_a_hangup_stops_at_one(tmp_path: Path) -> None:
    """What runs in a terminal and is no service, such as the demo, ends with the terminal."""
    script = """
import asyncio, os, signal
from setpoint.cli.stopping import Stop, leave
async def main():
    stop = Stop(asyncio.get_running_loop())
    os.kill(os.getpid(), signal.SIGHUP)
    await stop.wait()
    leave(7 if stop else 8)
asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert (ran.returncode, ran.stderr) == (7, "stopping; once more to stop at once\n")
