"""The whole program as processes: a plant on the network, an agent, kill -9, and the agent again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.real.ports import free_port

pytestmark = pytest.mark.real

CONFIG = """\
agent: {{location: {{0: acme}}}}
protocolConverter:
  - name: press
    desiredState: active
    protocolConverterServiceConfig:
      location: {{1: press}}
      variables: {{IP: 127.0.0.1, PORT: "{port}"}}
      config:
        connection: {{nmap: {{target: "{{{{ .IP }}}}", port: "{{{{ .PORT }}}}"}}}}
        dataflowcomponent_read:
          benthos:
            input:
              modbus:
                controller: "tcp://{{{{ .IP }}}}:{{{{ .PORT }}}}"
                slaveIDs: [1]
                timeBetweenReads: 50ms
                addresses: [{{name: temperature, register: holding, address: 0, type: FLOAT32}}]
            pipeline:
              processors:
                - tag_processor:
                    defaults: |
                      msg.meta.location_path = "{{{{ .location_path }}}}";
                      msg.meta.data_contract = "_raw";
                      msg.meta.tag_name = msg.meta.modbus_tag_name;
                      return msg;
            output: {{uns: {{}}}}
"""
PLANT = Path(__file__).parents[2] / "examples" / "plant" / "plant.py"


@contextmanager
def running(*command: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone when the block is left, however it is left."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **env}
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def plant() -> Iterator[int]:
    """The simulated plant on ports of its own; gives the first press's port."""
    with running(sys.executable, str(PLANT), "--port-base", "0", "--drop-every", "0") as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().rsplit(":", 1)[1])


@contextmanager
def agent(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = ("-m", "setpoint.cli.main", "up", str(folder / "config.yaml"), "--data", str(folder / "data"))
    with running(sys.executable, *command, "--port", str(port), XDG_RUNTIME_DIR=str(folder)) as process:
        yield process


def ask(port: int, path: str) -> Any:
    """What the agent's API says, or None while it does not answer."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=5.0).json()
    except httpx.TransportError:
        return None


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def written(port: int) -> int:
    topics = ask(port, "topics")
    return sum(topic["count"] for topic in topics) if isinstance(topics, list) else 0


def test_a_killed_agent_loses_nothing_it_wrote_and_goes_on(tmp_path: Path) -> None:
    """After kill -9 every message that was in the namespace is there, new ones follow, and the history goes on."""
    with plant() as device:
        (tmp_path / "config.yaml").write_text(CONFIG.format(port=device))
        port = free_port()
        with agent(tmp_path, port) as first:
            until(lambda: written(port) >= 20)
            before = written(port)
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
        with agent(tmp_path, port):
            assert until(lambda: written(port)) >= before
            until(lambda: written(port) >= before + 20)
            moves = ask(port, "workers/agent/bridges/press/history?limit=200")
            assert [move["event"] for move in moves].count("create") == 2
            status = ask(port, "config/status")
            assert status["ok"]


def test_an_agent_told_to_stop_stops_cleanly_and_soon(tmp_path: Path) -> None:
    """SIGTERM: flows deliver, the broker closes last, exit code 0."""
    with plant() as device:
        (tmp_path / "config.yaml").write_text(CONFIG.format(port=device))
        port = free_port()
        with agent(tmp_path, port) as process:
            until(lambda: written(port) >= 5)
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=15)
            assert process.returncode == 0, output


def test_a_bridge_follows_its_device_off_the_network_and_back(tmp_path: Path) -> None:
    """The device goes: `degraded_connection` with the reason. It comes back on the same port: active again, by itself."""
    port = free_port()
    device = free_port()
    (tmp_path / "config.yaml").write_text(CONFIG.format(port=device))

    def state() -> str:
        bridge = ask(port, "workers/agent/bridges/press") or {}
        return f"{bridge.get('state')}: {bridge.get('reason')}"

    base = ("--port-base", str(device), "--drop-every", "0")
    with agent(tmp_path, port):
        waits = f"starting: waiting for connection: closed: 127.0.0.1:{device} refuses connections"
        until(lambda: state() == f"starting_connection: {waits}")
        explanation = ask(port, "workers/agent/bridges/press/explain")
        assert f"127.0.0.1:{device} refuses connections" in json.dumps(explanation)
        with running(sys.executable, str(PLANT), *base):
            until(lambda: state().startswith("active"))
        gone = until(lambda: state() if state().startswith("degraded_connection") else "")
        assert gone == f"degraded_connection: connection degraded: closed: 127.0.0.1:{device} refuses connections"
        with running(sys.executable, str(PLANT), *base):
            until(lambda: state().startswith("active"), 60)
