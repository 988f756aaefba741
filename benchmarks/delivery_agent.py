"""An agent as a process of its own, and what becomes of numbered messages: what the cases of `delivery.py` are made of."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import yaml

from setpoint.namespace import BrokerError, decode
from setpoint.namespace.embedded import EmbeddedBroker
from setpoint.places import BROKER, LETTERS

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.real.ports import free_port  # noqa: E402

AWAY = 2.0
"""Seconds for which something that is stopped stays away."""
PACE = "2ms"
"""Between two messages of a flow that makes them."""
UNS: dict[str, Any] = {"uns": {}}
GATES = {"config_loading": 0.3, "healthchecks": 0.3, "remain_running": 0.5}
TAG = """
msg.meta.location_path = "acme";
msg.meta.data_contract = "_raw";
msg.meta.tag_name = "n";
msg.payload = msg.payload.n;
return msg;
"""
"""Makes of ``{"n": 7}`` the value 7 of one topic."""


class Missing(Exception):
    """What a case needs and is not here."""


class Outcome(NamedTuple):
    """What became of the messages of one case. `told` is what the agent showed of the trouble."""

    case: str
    sent: int
    arrived: int
    lost: int
    doubled: int
    set_aside: int
    told: str
    note: str = ""

    @property
    def good(self) -> bool:
        return not self.lost and bool(self.told)


def outcome(
    case: str, sent: Iterable[int], arrived: Iterable[int], *, told: str, set_aside: int = 0, note: str = ""
) -> Outcome:
    """Compares what was sent with what arrived. What was set aside has arrived there, and is not lost."""
    wanted, found = set(sent), Counter(arrived)
    lost = len(wanted.difference(found)) - set_aside
    doubled = found.total() - len(found)
    return Outcome(case, len(wanted), len(found), lost, doubled, set_aside, told, note)


def flow(name: str, source: Mapping[str, Any], sink: Mapping[str, Any], *, tag: str = "") -> dict[str, Any]:
    """A flow of a config."""
    benthos: dict[str, Any] = {"input": source, "output": sink}
    if tag:
        benthos["pipeline"] = {"processors": [{"tag_processor": {"defaults": tag}}]}
    component = {"benthos": benthos}
    return {"name": name, "desiredState": "active", "gates": GATES, "dataFlowComponentConfig": component}


def counter(count: int, interval: str = "1ms") -> dict[str, Any]:
    """The numbers from 1 on."""
    return {"generate": {"mapping": "root.n = counter()", "interval": interval, "count": count}}


class Running:
    """`setpoint up` on some flows (and other sections of a config), watched by its API: what it shows is noted every 100 ms."""

    def __init__(
        self,
        folder: Path,
        flows: list[dict[str, Any]],
        *,
        data: Path | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.data = data or folder / "data"
        self.told: list[str] = []
        self._folder, self._env = folder, {**os.environ, **(env or {})}
        self._url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._watched = ""
        config = {"agent": {"location": {0: "acme"}}, "dataFlow": flows, **more}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        self._client = httpx.Client(base_url=f"{self._url}/api/v1/", trust_env=False, timeout=5)
        self._watcher: threading.Thread | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()
        self.kill()
        self._client.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        port = self._url.rpartition(":")[2]
        command = [
            sys.executable,
            "-m",
            "setpoint.cli.main",
            "up",
            str(self._folder / "config.yaml"),
            "--data",
            str(self.data),
        ]
        with (self._folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--port", port], env=self._env, stdout=log, stderr=log)
        self.until(lambda: self.get("workers") is not None)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """In order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(15)
            self._process = None

    def get(self, path: str) -> Any:
        """What the API says; None while it does not."""
        try:
            answer = self._client.get(path)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def state(self, name: str) -> str:
        """State and reason of a worker, and what it says of errors."""
        worker = self.get(f"workers/agent/{name}") or {}
        errors = (worker.get("observed") or {}).get("errors") or ""
        reason = worker.get("reason", "")
        return f"{worker.get('state', '?')}: {reason}" + (f" [{errors}]" if errors and errors not in reason else "")

    def figures(self, name: str) -> dict[str, Any]:
        """What was last observed of a flow."""
        return (self.get(f"workers/agent/{name}") or {}).get("observed") or {}

    def working(self, name: str) -> None:
        """Waits until a flow has passed its start."""
        self.until(lambda: self.state(name).startswith(("active", "idle", "degraded")))

    def letters(self) -> int:
        """How many messages lie in the files of dead letters, each with its reason. They take 60 a minute of each flow."""
        return sum(len(lines(file)) for file in (self.data / LETTERS).glob("*.jsonl"))

    def watch(self, name: str) -> None:
        """Notes from now on what this worker shows, whenever that changes."""

        def look() -> None:
            while not self._ended.wait(0.1):
                shown = self.state(name)
                if not shown.startswith("?") and (not self.told or self.told[-1] != shown):
                    self.told.append(shown)

        self._watcher = threading.Thread(target=look, daemon=True)
        self._watcher.start()

    def trouble(self, *words: str) -> str:
        """Something noted that has all these words in it, rather after the start than in it; nothing where there is none."""
        found = [each for each in self.told if all(word in each for word in words)]
        return next((each for each in found if not each.startswith("starting")), found[-1] if found else "")

    def count(self) -> int:
        """How many messages all topics of the namespace have."""
        topics = self.get("topics")
        return sum(topic["count"] for topic in topics) if isinstance(topics, list) else 0

    def until(self, fact: Callable[[], Any], seconds: float = 60.0) -> None:
        """Waits for a fact. Raises `TimeoutError`, with the end of the log."""
        ends = time.monotonic() + seconds
        while not fact():
            if time.monotonic() > ends:
                raise TimeoutError((self._folder / "agent.log").read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def settled(self, count: Callable[[], int], least: int, seconds: float = 120.0) -> None:
        """Waits until so many are there and no more come for a second; gives up after a while, which the outcome shows."""
        ends = time.monotonic() + seconds
        before, since = -1, time.monotonic()
        while time.monotonic() < ends:
            now = count()
            if now != before:
                before, since = now, time.monotonic()
            elif now >= least and time.monotonic() - since > 1.0:
                return
            time.sleep(0.05)


def logged(data: Path) -> list[int]:
    """The values in the embedded log of an agent that has ended, in their order."""

    async def read() -> list[int]:
        async with EmbeddedBroker(data / BROKER) as broker:
            reader = broker.subscribe(f"delivery-{time.monotonic_ns()}")
            found: list[int] = []
            while messages := await reader.read(1000, timeout=0.5):
                for message in messages:
                    try:
                        found.append(int(decode(message.payload).value))
                    except (ValueError, TypeError, AttributeError, BrokerError):
                        found.append(-1)
            return found

    return asyncio.run(read())


def lines(file: Path) -> list[Any]:
    """What is in a file of JSON Lines; -1 for a line that is none, such as one that a kill cut off."""
    found: list[Any] = []
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append(-1)
    return found


def values(file: Path) -> list[int]:
    """The values of time series in a file; lines that a kill cut off, and that came again, are left out."""
    return [int(line["value"]) for line in lines(file) if isinstance(line, dict)]
