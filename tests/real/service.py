"""An agent as a service manager runs it: a process that tells a datagram socket how it is."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

BY_ORDER_ONLY = """
import asyncio
from setpoint.agent import agent
async def never(file):
    await asyncio.sleep(3600)
    yield
agent.changes_of = never
"""
"""Run in the agent's process: it does not see edits by itself."""


def flow(name: str, *, interval: str = "100ms") -> str:
    """A flow that writes a count into the namespace."""
    return f"""\
  - name: {name}
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {{generate: {{interval: {interval}, mapping: 'root.n = counter()'}}}}
        pipeline:
          processors:
            - tag_processor:
                defaults: |
                  msg.meta.location_path = "acme";
                  msg.meta.data_contract = "_raw";
                  msg.meta.tag_name = "{name}";
                  msg.payload = msg.payload.n;
                  return msg;
        output: {{uns: {{}}}}
"""


def config(*names: str) -> str:
    return "agent: {location: {0: acme}}\ndataFlow:\n" + "".join(flow(name) for name in names)


class Service:
    """The process, what it told its manager, and what it said on stderr."""

    def __init__(self, process: subprocess.Popen[str], manager: socket.socket, folder: Path) -> None:
        self.process, self._manager, self._folder = process, manager, folder
        self.messages: list[str] = []

    @property
    def told(self) -> list[str]:
        """All messages so far, each in one line."""
        while True:
            try:
                self.messages.append(self._manager.recv(65536).decode().replace("\n", " "))
            except BlockingIOError:
                return self.messages

    @property
    def changes(self) -> list[str]:
        """What it became, in order, without status and signs of life."""
        return [each.partition(" ")[0] for each in self.told if not each.startswith(("STATUS=", "WATCHDOG="))]

    @property
    def status(self) -> str:
        """The latest status."""
        lines = [each.removeprefix("STATUS=") for each in self.told if each.startswith("STATUS=")]
        return lines[-1] if lines else ""

    @property
    def said(self) -> str:
        return (self._folder / "err").read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where its API is, once it has said so."""
        shown = self.until(lambda: re.search(r"dashboard  (\S+)\n", (self._folder / "out").read_text()))
        return str(shown[1])

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/api/v1/{path}", trust_env=False, timeout=10).json()

    def until(self, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.said}"
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s; told {self.told[-20:]}, said {self.said[-3000:]}")

    def ready(self) -> None:
        self.until(lambda: "READY=1" in self.told)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = 10.0) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended within {seconds} s: {self.said[-3000:]}") from None


@contextmanager
def service(
    folder: Path, text: str | None = None, *, watchdog_s: float = 0.0, before: str = "", data: Path | None = None
) -> Iterator[Service]:
    """An agent over this config (or the one that is there) on a free port; `before` is Python that runs in its process first."""
    folder.mkdir(exist_ok=True)
    if text is not None:
        (folder / "config.yaml").write_text(text)
    address = f"\0setpoint-service-{os.getpid()}-{time.monotonic_ns()}"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    manager.bind(address)
    arguments = ["up", str(folder / "config.yaml"), "--data", str(data or folder / "data"), "--port", "0"]
    script = f"{before}\nfrom setpoint.cli.main import main\nmain({arguments!r})"
    env = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "NOTIFY_SOCKET": f"@{address[1:]}"}
    if watchdog_s:
        env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", script], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True
        )
    try:
        yield Service(process, manager, folder)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()
        manager.close()


def well(up: Service) -> bool:
    """Its latest status names no flow that is not as it is wanted. The monitor of a busy host may say what it likes."""
    return "healthy" in up.status and "flows/" not in up.status and "starting" not in up.status


def counts(up: Service) -> dict[str, int]:
    """How many messages each topic has; none while the broker is not open yet."""
    topics = up.get("topics")
    return {topic["topic"]: topic["count"] for topic in topics} if isinstance(topics, list) else {}


def signs(up: Service, seconds: float) -> int:
    """How many signs of life come within so many seconds from now."""
    before = up.told.count("WATCHDOG=1")
    time.sleep(seconds)
    return up.told.count("WATCHDOG=1") - before
