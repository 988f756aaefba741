"""Telling the service manager: the protocol of sd_notify(3), without its library.

A service manager such as systemd names a datagram socket in ``$NOTIFY_SOCKET`` (a path, or ``@`` and a name in the abstract name
space) and reads lines ``KEY=VALUE`` from it: ``READY=1``, ``RELOADING=1``, ``STOPPING=1``, ``STATUS=`` with a line for people. With
``$WATCHDOG_USEC`` it expects ``WATCHDOG=1`` at least so often, and ends a service that keeps silent. Where no socket is named, nobody
is told.

Telling never waits and never raises. What a service has become (ready, reloading, stopping) is kept and told again until the manager has
taken it, since a ``READY=1`` that is lost is a service that never came up; a status or a sign of life is worth nothing later.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final, Self

import structlog

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
STATUS_CHARACTERS: Final = 400
KEEP: Final = 16
"""Changes that wait for a manager which takes none."""

log = structlog.get_logger(__name__)


class Notifier:
    """Tells the service manager at `address`; "" is nobody.

    `watchdog_s` is within how many seconds it wants a sign of life; None: it wants none.
    """

    def __init__(self, address: str = "", *, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._untold: deque[str] = deque(maxlen=KEEP)
        self._trouble = ""

    @classmethod
    def from_environment(cls, env: MutableMapping[str, str]) -> Self:
        """As the environment says. The variables are taken out of it, so that programs started by this one do not speak for it."""
        address, microseconds, pid = (env.pop(name, "") for name in VARIABLES)
        if address and not address.startswith(("/", "@")):
            log.warning("the service manager cannot be told: its socket is of a kind not known here", socket=address)
            address = ""
        meant = not pid or pid == str(os.getpid())
        period = int(microseconds) if microseconds.isdecimal() and len(microseconds) < 20 else 0  # of 64 bits
        return cls(address, watchdog_s=period / 1e6 if address and meant and period else None)

    def __bool__(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def ready(self) -> None:
        """The service is up, or has read its config again."""
        self._become("READY=1")

    def reloading(self) -> None:
        """The service reads its config again; `ready` follows. Says when, as Type=notify-reload asks for (CLOCK_MONOTONIC, µs)."""
        self._become(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._become("STOPPING=1")

    def status(self, text: str) -> bool:
        """One line for people, shown by `systemctl status`; cut where it is too long. False when it could not be told now."""
        line = " ".join(text.split())
        if len(line) > STATUS_CHARACTERS:
            line = line[: STATUS_CHARACTERS - 1] + "…"
        return self._catch_up() and self._send(f"STATUS={line}")

    def alive(self) -> bool:
        """A sign of life. False when it could not be told now."""
        return self._catch_up() and self._send("WATCHDOG=1")

    def _become(self, change: str) -> None:
        self._untold.append(change)
        self._catch_up()

    def _catch_up(self) -> bool:
        while self._untold and self._send(self._untold[0]):
            self._untold.popleft()
        return not self._untold

    def _send(self, message: str) -> bool:
        if not self._address:
            return True
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            self._note(error.strerror or str(error))
            return False
        self._note("")
        return True

    def _note(self, trouble: str) -> None:
        """The log hears of it once, and once more when it is over."""
        if trouble and not self._trouble:
            log.warning("the service manager cannot be told", why=trouble)
        elif self._trouble and not trouble:
            log.info("the service manager can be told again", after=self._trouble)
        self._trouble = trouble

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None
