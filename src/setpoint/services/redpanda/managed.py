"""A Redpanda that this program starts: its config file and its command line.

Everything listens on loopback unless it is said otherwise. The keys of the file are those of Redpanda's node configuration; settings of the
cluster are not among them, because Redpanda reads these once, at its first start: `settings` keeps them afterwards. Starting, stopping and
watching the process is for whoever runs processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

INSTALLED: Final = Path("/opt/redpanda/bin/redpanda")
"""Where Redpanda's packages put it."""
LOOPBACK: Final = "127.0.0.1"
DRAIN_S: Final = 30.0
"""Seconds that it gets to end after SIGTERM, in which it drains its clients."""


class Managed(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `directory` has the data and the config file; memory is bytes for each core. Ports as Redpanda's own defaults."""

    directory: Path
    binary: str = ""
    address: str = LOOPBACK
    advertised: str = LOOPBACK
    kafka_port: int = 9092
    admin_port: int = 9644
    rpc_port: int = 33145
    registry_port: int = 8081
    cores: int = 1
    memory_per_core: int = 2 * 1024**3

    @property
    def servers(self) -> str:
        """Where clients of Kafka find it."""
        return f"{self.advertised}:{self.kafka_port}"

    @property
    def admin_url(self) -> str:
        """Where the admin API is."""
        return f"http://{self.advertised}:{self.admin_port}"

    @property
    def registry_url(self) -> str:
        """Where the schema registry is."""
        return f"http://{self.advertised}:{self.registry_port}"

    @property
    def config_file(self) -> Path:
        """The file that `write` writes and `command` names."""
        return self.directory / "redpanda.yaml"

    def ports(self) -> dict[int, str]:
        """What it listens on, and for what."""
        return {
            self.kafka_port: "Kafka",
            self.admin_port: "the admin API",
            self.rpc_port: "its RPC",
            self.registry_port: "the schema registry",
        }

    def program(self) -> tuple[str, str]:
        """The binary to start, and why there is none: one of the two is empty."""
        wanted = self.binary or shutil.which("redpanda") or str(INSTALLED)
        if not Path(wanted).exists():
            hint = "install Redpanda, or give the address of one that runs elsewhere"
            return (
                "",
                f"there is no {wanted}: {hint}" if self.binary else f"there is no redpanda on this machine: {hint}",
            )
        if not Path(wanted).is_file() or not os.access(wanted, os.X_OK):
            return "", f"{wanted} is not a program that can be run"
        return wanted, ""

    def config(self) -> dict[str, Any]:
        """The content of the config file."""

        def at(port: int) -> dict[str, Any]:
            return {"address": self.address, "port": port}

        return {
            "redpanda": {
                "data_directory": str(self.directory / "data"),
                "seed_servers": [],
                "empty_seed_starts_cluster": True,
                "rpc_server": at(self.rpc_port),
                "advertised_rpc_api": {"address": self.advertised, "port": self.rpc_port},
                "kafka_api": [at(self.kafka_port)],
                "advertised_kafka_api": [{"address": self.advertised, "port": self.kafka_port}],
                "admin": [at(self.admin_port)],
                "developer_mode": True,  # else it refuses to start on disks and kernels that are not tuned for it
            },
            "schema_registry": {"schema_registry_api": [at(self.registry_port)]},
            "rpk": {"coredump_dir": str(self.directory / "coredump")},
        }

    def command(self) -> list[str]:
        """The command line. Raises `FileNotFoundError`, with what to do, where there is no binary."""
        program, missing = self.program()
        if missing:
            raise FileNotFoundError(missing)
        memory = f"{self.cores * self.memory_per_core // 1024**2}M"
        return [
            program,
            "--redpanda-cfg",
            str(self.config_file),
            "--smp",
            str(self.cores),
            "--memory",
            memory,
            "--overprovisioned",  # does not poll all the time: it is not alone on the machine
        ]

    def write(self) -> bool:
        """Writes the config file where it is not as it should be; whether it was written. Raises `OSError`."""
        import yaml

        text = yaml.safe_dump(self.config(), sort_keys=False)
        self.directory.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            if self.config_file.read_text() == text:
                return False
        descriptor, name = tempfile.mkstemp(dir=self.directory, prefix=".redpanda-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.config_file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        return True
