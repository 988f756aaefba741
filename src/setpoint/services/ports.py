"""Ports on loopback for the programs that an agent runs: each name has one, keeps it, and gives it back.

What was given out is in a file that is replaced in one step before anybody hears of the port, so that it is the same after ``kill -9``: a
program that goes on without its agent is found again where it was. Nothing is given out twice. A port that somebody else holds at that
moment is passed over; one that somebody takes later, while the program that owns it is down, is moved when the program is started
again, and whoever asks is told from where and why.

The range is that of UMH Core, 20000 to 32767. It ends where Linux begins to take ports for outgoing connections (32768), which would
otherwise take them from us.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import psutil

from setpoint.services.swap import candidate, swap

log = logging.getLogger("setpoint.services")

LOOPBACK: Final = "127.0.0.1"
FIRST_PORT: Final = 20_000
LAST_PORT: Final = 32_767


class NoPort(RuntimeError):
    """No port can be given out: all are taken, or it could not be written down. The message says which, and what to do."""


class Claim(msgspec.Struct, frozen=True):
    """The port of a name. When it had to move: the port it had, and who holds that now."""

    port: int
    moved_from: int | None = None
    reason: str = ""


class Ports:
    """The ports given out by one agent. Its methods write to the disk: call them in a thread where that may block. Any thread may."""

    def __init__(
        self, file: Path, *, first: int = FIRST_PORT, last: int = LAST_PORT, rng: random.Random | None = None
    ) -> None:
        """`file` is where it is written down. `rng` picks: neighbours that also begin in the middle seldom meet.

        A file that cannot be read is kept beside (``.damaged``) and said in `problem`; then all names get new ports, and the programs
        that run are restarted on them. Raises `OSError` when there is a file and it may not be read.
        """
        self._file = file
        self._range = range(first, last + 1)
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self.problem = ""
        """What was wrong with the file; "" when nothing was."""
        self._ports = self._read()

    def port(self, name: str) -> int | None:
        """The port that this name has, or None."""
        return self._ports.get(name)

    def names(self) -> tuple[str, ...]:
        """All names that have a port."""
        return tuple(self._ports)

    def claim(self, name: str, *, running: bool = False) -> Claim:
        """The port of this name: its own, when it has one that is free, else another. It is on the disk when this returns.

        `running`: the program that owns it is up, and it is no wonder that the port is held. Raises `NoPort`.
        """
        with self._lock:
            had = self._ports.get(name)
            if had is not None and (running or is_free(had)):
                return Claim(had)
            return self._give(name, had)

    def move(self, name: str) -> Claim:
        """Another port for this name, because its own is lost though its program runs: Benthos goes on without one. Raises `NoPort`."""
        with self._lock:
            return self._give(name, self._ports.get(name))

    def release(self, name: str) -> None:
        """Give the port back. Idempotent. Raises `NoPort` when it cannot be written down; then the name keeps it."""
        with self._lock:
            if name in self._ports:
                self._put({known: port for known, port in self._ports.items() if known != name})

    def keep_only(self, names: Iterable[str]) -> None:
        """Give back the ports of all other names: what is no longer asked for. Raises `NoPort`."""
        with self._lock:
            wanted = set(names)
            kept = {name: port for name, port in self._ports.items() if name in wanted}
            if len(kept) < len(self._ports):
                self._put(kept)

    def _give(self, name: str, had: int | None) -> Claim:
        port = self._free_one()
        self._put({**self._ports, name: port})
        if had is None:
            return Claim(port)
        reason = f"port {had} of {name} is held by {holder(had) or 'another program'}; moved to {port}"
        log.warning(reason)
        return Claim(port, had, reason)

    def _free_one(self) -> int:
        """From a random place round the whole range: a full one is found to be full, and no luck is needed."""
        taken = set(self._ports.values())
        start = self._rng.randrange(len(self._range))
        for offset in range(len(self._range)):
            port = self._range[(start + offset) % len(self._range)]
            if port not in taken and is_free(port):
                return port
        message = f"all ports from {self._range[0]} to {self._range[-1]} on {LOOPBACK} are taken"
        raise NoPort(f"{message}, {len(taken)} of them by this agent; end what holds them")

    def _read(self) -> dict[str, int]:
        try:
            ports = msgspec.json.decode(self._file.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except (msgspec.MsgspecError, RecursionError) as error:
            return self._damaged(str(error))
        if len(set(ports.values())) < len(ports) or any(port not in self._range for port in ports.values()):
            return self._damaged("a port is in it twice, or is none of ours")
        return ports

    def _damaged(self, why: str) -> dict[str, int]:
        beside = self._file.with_name(f"{self._file.name}.damaged")
        with contextlib.suppress(OSError):
            os.replace(self._file, beside)
        self.problem = (
            f"the ports in {self._file} cannot be read ({why}); it was kept as {beside.name}, and all get new ones"
        )
        log.warning(self.problem)
        return {}

    def _put(self, ports: Mapping[str, int]) -> None:
        """Write all down, then believe it."""
        try:
            content = msgspec.json.format(msgspec.json.encode(ports), indent=1)
            swap(candidate(self._file, content), self._file)
        except OSError as error:
            message = f"the ports cannot be written to {self._file}: {error.strerror or error}"
            raise NoPort(f"{message}; the data directory must be writable and have space left") from None
        self._ports = dict(ports)


def is_free(port: int) -> bool:
    """Whether one could listen on this loopback port now. As servers do, it does not mind connections that are just ending."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Who listens on this port, as ``python3 (pid 4711)``; "" when nobody does or we may not know. Reads all of /proc: some 10 ms."""
    try:
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return f"{psutil.Process(one.pid).name()} (pid {one.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
