"""A stand-in for Redpanda's program: takes its command line and config file, listens where they say, and drains when it is told to end.

Kafka's side is the mock cluster of the client library behind a port that passes on; the admin API and the schema registry speak the
documented formats. What it is not is Redpanda.
"""

from __future__ import annotations

import argparse
import signal
import socket
import stat
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from tests.namespace.kafka_mock import mock
from tests.services.redpanda_server import redpanda

ROOT = Path(__file__).parents[2]


def program(folder: Path, *, first: str = "") -> str:
    """Make it a program that can be run. `first` is what its script does before anything else."""
    path = folder / "redpanda"
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        f'#!/bin/sh\n{first}\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.workers.redpanda_stand_in "$@"\n'
    )
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for one in (source, target):
            one.close()


def _serve(port: int, servers: str) -> None:
    """Pass connections on to the mock cluster."""
    host, target = servers.split(":")
    listener = socket.create_server(("127.0.0.1", port))

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            behind = socket.create_connection((host, int(target)))
            for pair in ((client, behind), (behind, client)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--redpanda-cfg", type=Path, required=True)
    parser.add_argument("--smp", type=int, required=True)
    parser.add_argument("--memory", required=True)
    parser.add_argument("--overprovisioned", action="store_true", required=True)
    asked = parser.parse_args()
    config: dict[str, Any] = yaml.safe_load(asked.redpanda_cfg.read_text())
    own, registry = config["redpanda"], config["schema_registry"]["schema_registry_api"]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with ExitStack() as stack:
        cluster = stack.enter_context(mock())
        cluster.topic("umh.messages")
        _serve(own["kafka_api"][0]["port"], cluster.servers)
        for port in (own["admin"][0]["port"], registry[0]["port"]):
            stack.enter_context(redpanda(port))
        print(f"smp {asked.smp}, memory {asked.memory}", flush=True)
        print("INFO  main - application.cc: Successfully started Redpanda!", flush=True)
        ended.wait()
        print("draining", flush=True)
        time.sleep(0.3)
        print("drained", flush=True)


if __name__ == "__main__":
    main()
