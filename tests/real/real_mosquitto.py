"""Mosquitto on loopback for the tests that need it: in a folder of its own, stopped and started as a test likes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.real.ports import free_port


def mosquitto_program() -> str:
    """Where Mosquitto is: Debian keeps it out of most paths. Empty where it is not."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or ""


def no_mosquitto() -> str:
    """Why there is no Mosquitto to test with; "" when there is one."""
    return "" if mosquitto_program() else "no Mosquitto is installed: apt-get install mosquitto"


class Mosquitto:
    """A broker that keeps its sessions over a restart. `more` are further lines of its configuration."""

    def __init__(self, folder: Path, more: Sequence[str] = ("allow_anonymous true",)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            *more,
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            "log_dest stdout",
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._folder / "mosquitto.log").open("ab") as log:
            command = [mosquitto_program(), "-c", str(self._folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Mosquitto did not start:\n{(self._folder / 'mosquitto.log').read_text()}")
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """With a goodbye: it writes what it has in its sessions."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It answers nothing any more, and its sockets stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def mosquitto(folder: Path, more: Sequence[str] = ("allow_anonymous true",)) -> Iterator[Mosquitto]:
    """A broker that runs."""
    made = Mosquitto(folder, more)
    made.start()
    try:
        yield made
    finally:
        made.thaw() if made._process else None
        made.stop()


def certificates(folder: Path) -> None:
    """An authority (ca.pem), a certificate for 127.0.0.1 (server.pem), one for a client (client.pem) and a stranger's authority."""
    for name in ("ca", "stranger"):
        _openssl(
            folder, "req", "-x509", "-days", "2", "-subj", f"/CN={name}", *_NEW, f"{name}.key", "-out", f"{name}.pem"
        )
    for name, more in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "subjectAltName=DNS:client")):
        _openssl(folder, "req", "-subj", f"/CN={name}", *_NEW, f"{name}.key", "-out", f"{name}.csr")
        (folder / f"{name}.ext").write_text(more)
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext"]
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")


_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
