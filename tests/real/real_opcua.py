"""A program that serves OPC UA, for tests that stop, freeze and kill it: the example's press line, or many variables that all move."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.ports import free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "opcua" / "server.py"


class OpcuaServer:
    """The server as a process of its own, always at the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/plant"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(EXAMPLE), str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != self.url:
            raise RuntimeError("the OPC UA server did not start")

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        """It answers nothing any more, and its sockets stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


@contextmanager
def opcua_server() -> Iterator[OpcuaServer]:
    """A server that runs."""
    made = OpcuaServer()
    made.start()
    try:
        yield made
    finally:
        made.kill()
