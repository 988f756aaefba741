"""A PostgreSQL of a test's own that it may stop, start, kill and hang, on one port and one data directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from tests.real.ports import free_port
from tests.real.real_servers import no_postgres, postgres_folder


class Postgres:
    """Use `running_postgres`. It asks for no password, except of the user `guarded`."""

    def __init__(self, folder: Path) -> None:
        programs = postgres_folder()
        assert programs is not None, no_postgres()
        self._programs, self.folder, self.port = programs, folder, free_port()
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self._as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        made = [str(programs / "initdb"), "-D", str(folder / "data"), "--no-sync"]
        made += ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run([*self._as_user, *made], cwd=folder, check=True, capture_output=True)
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when it can be used."""
        run = ["-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        run += ["-c", "full_page_writes=off", "-c", "max_connections=20", "-c", "shared_buffers=32MB"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, str(self._programs / "postgres"), *run], cwd=self.folder, stdout=log, stderr=log
            )
        asked = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 20
        while subprocess.run(asked, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """At once: sessions are ended."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a power cut would: the next start recovers."""
        self._end(signal.SIGQUIT)

    def hang(self) -> None:
        """All its processes stand still until `wake`."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def sql(self, text: str) -> list[tuple[object, ...]]:
        """Run a statement as its owner."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        one = psutil.Process(self._process.pid)
        for process in [one, *one.children(recursive=True)]:
            process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A fresh one, running."""
    with tempfile.TemporaryDirectory(prefix="setpoint-pg-") as folder:
        server = Postgres(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
