"""Apache Kafka on loopback, as one node in KRaft mode: formatted, started, stopped, killed and started again by the tests.

`scripts/real-parts` brings its jars. Every Kafka here has a folder and ports of its own, and keeps what was written when it is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.real.ports import free_port

CLUSTER = "c2V0cG9pbnQtdGVzdHMtaWQ"
"""Any 16 bytes in base 64 name a cluster."""
_JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "4194304",
}


def jars() -> Path | None:
    """Where the jars of Kafka are."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return max((cache / "setpoint").glob("kafka-*.*[0-9]"), default=None)


def no_kafka() -> str:
    """Why there is no Kafka to test with; "" when there is one."""
    if shutil.which("java") is None:
        return "no Java is installed: apt-get install openjdk-17-jre-headless"
    return "" if jars() else "Kafka is not here: scripts/real-parts fetches it"


class Kafka:
    """One node. `settings` go into its server.properties; a listener of your own replaces the plain one."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, *, protocol: str = "PLAINTEXT") -> None:
        self.folder = folder
        self.data = folder / "data"
        port = free_port()
        self.servers = f"127.0.0.1:{port}"
        listeners = f"{protocol}://{self.servers},CONTROLLER://127.0.0.1:{port + 1}"
        self._settings = {
            **_SETTINGS,
            "listeners": listeners,
            "advertised.listeners": listeners,
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{port + 1}",
            "inter.broker.listener.name": protocol,
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocol}:{protocol}",
            "log.dirs": str(self.data),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def format(self) -> None:
        """Prepare the folder, once."""
        lines = [f"{name}={value}" for name, value in self._settings.items()]
        (self.folder / "server.properties").write_text("\n".join(lines))
        tool = [
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            f"--cluster-id={CLUSTER}",
            "-c",
            "server.properties",
        ]
        subprocess.run(
            [*_JAVA, "-Xmx128M", "-cp", f"{jars()}/*", *tool], cwd=self.folder, check=True, capture_output=True
        )

    def start(self, within: float = 60.0) -> None:
        """Start it and wait until it lets clients in."""
        command = [*_JAVA, "-Xmx384M", "-cp", f"{jars()}/*", "kafka.Kafka", "server.properties"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        host, port = self.servers.split(":")
        ends = time.monotonic() + within
        while self._process.poll() is None and time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)
        said = (self.folder / "log").read_text(errors="replace")[-2000:]
        self.kill()
        raise RuntimeError(f"Kafka did not start:\n{said}")

    def pause(self) -> None:
        """Have it hang: it holds its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self._gone(10.0)

    def stop(self) -> None:
        """As an operator stops it; killed where that takes too long."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._gone(20.0)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _gone(self, within: float) -> None:
        if self._process is not None:
            self._process.wait(within)
            self._process = None


@contextmanager
def kafka(settings: Mapping[str, str] | None = None, *, protocol: str = "PLAINTEXT") -> Iterator[Kafka]:
    """A running Kafka of one's own."""
    with tempfile.TemporaryDirectory(prefix="setpoint-kafka-", ignore_cleanup_errors=True) as folder:
        made = Kafka(Path(folder), settings, protocol=protocol)
        made.format()
        made.start()
        try:
            yield made
        finally:
            made.kill()
