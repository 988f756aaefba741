"""PostgreSQL and Redis on loopback for the tests that need them: started from the system's packages, in folders of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.ports import free_port


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are: Debian keeps them out of the path, one folder a version."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


def no_postgres() -> str:
    """Why there is no PostgreSQL to test with; "" when there is one."""
    if postgres_folder() is None:
        return "no PostgreSQL is installed: apt-get install postgresql"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


def no_redis() -> str:
    """Why there is no Redis to test with; "" when there is one."""
    return "" if shutil.which("redis-server") else "no Redis is installed: apt-get install redis-server"


@contextmanager
def postgres() -> Iterator[str]:
    """A fresh PostgreSQL; its URL. It keeps nothing on purpose (fsync is off)."""
    programs = postgres_folder()
    assert programs is not None, no_postgres()
    with tempfile.TemporaryDirectory(prefix="setpoint-pg-") as folder:
        data, port = Path(folder) / "data", free_port()
        as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        made = [
            programs / "initdb",
            "-D",
            data,
            "--no-sync",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run([*as_user, *map(str, made)], cwd=folder, check=True, capture_output=True)
        run = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", "", "-F"]
        asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]

        def ready() -> bool:  # it listens before it can be used
            return subprocess.run(asked, check=False).returncode == 0

        with _running([*as_user, *map(str, run)], folder=folder, ready=ready, stop=signal.SIGINT):
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"


@contextmanager
def redis() -> Iterator[str]:
    """A fresh Redis in memory; its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="setpoint-redis-") as folder:
        run = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with _running(run, folder=folder, ready=lambda: _listens(port), stop=signal.SIGTERM):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _running(command: list[str], *, folder: str, ready: Callable[[], bool], stop: signal.Signals) -> Iterator[None]:
    """The program, from when it is ready until it has ended."""
    with (Path(folder) / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{(Path(folder) / 'server.log').read_text()}")
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
