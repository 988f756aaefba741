"""Telling the service manager, on real datagram sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from setpoint.services.notify import KEEP, STATUS_CHARACTERS, Notifier


class Manager:
    """The end that a service manager has."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def told(self) -> list[str]:
        """What has come since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(
        f"{tmp_path}/notify" if request.param == "path" else f"@setpoint-test-{os.getpid()}-{time.monotonic_ns()}"
    )
    yield made
    made.socket.close()


def test_each_change_is_a_message_of_its_own(manager: Manager) -> None:
    """READY, STATUS, WATCHDOG, STOPPING as sd_notify(3) has them, to a path and to an abstract name."""
    notifier = Notifier(manager.address)
    notifier.ready()
    assert notifier.status("3 workers: 3 healthy")
    assert notifier.alive()
    notifier.stopping()
    assert manager.told() == ["READY=1", "STATUS=3 workers: 3 healthy", "WATCHDOG=1", "STOPPING=1"]
    notifier.close()


def test_a_reload_says_when_it_began(manager: Manager) -> None:
    """MONOTONIC_USEC is the monotonic clock in microseconds, in the same message as RELOADING."""
    notifier = Notifier(manager.address)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    notifier.ready()
    reloading, ready = manager.told()
    name, _, stamp = reloading.partition("\n")
    assert name == "RELOADING=1"
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert ready == "READY=1"
    notifier.close()


def test_a_status_is_one_line_and_not_too_long(tmp_path: Path) -> None:
    """A line break would forge another variable; what cannot be encoded is replaced."""
    manager = Manager(f"{tmp_path}/notify")
    notifier = Notifier(manager.address)
    notifier.status("bad config\nREADY=1\udcff " + "x" * 5000)
    (told,) = manager.told()
    assert told.startswith("STATUS=bad config READY=1? x")
    assert len(told) == len("STATUS=") + STATUS_CHARACTERS
    assert told.endswith("…")
    notifier.close()
    manager.socket.close()


def test_a_manager_that_takes_nothing_holds_up_nobody_and_hears_of_changes_later(tmp_path: Path) -> None:
    """READY is told as soon as its queue has room, and in order; a sign of life that could not be told is not told later."""
    manager = Manager(f"{tmp_path}/notify")
    notifier = Notifier(manager.address)
    while notifier.alive():  # its queue holds only so many
        pass
    began = time.monotonic()
    notifier.ready()
    notifier.stopping()
    assert not notifier.status("lost")
    assert time.monotonic() - began < 0.5
    assert set(manager.told()) == {"WATCHDOG=1"}
    assert notifier.alive()
    assert manager.told() == ["READY=1", "STOPPING=1", "WATCHDOG=1"]
    notifier.close()
    manager.socket.close()


def test_a_manager_that_is_not_there_is_no_error_and_one_that_comes_hears(tmp_path: Path) -> None:
    """No exception, nothing piles up, and the changes come once its socket is there."""
    notifier = Notifier(f"{tmp_path}/notify")
    for _ in range(3 * KEEP):
        notifier.reloading()
    notifier.ready()
    assert not notifier.alive()
    manager = Manager(f"{tmp_path}/notify")
    told: list[str] = []
    while not notifier.alive():  # its queue does not hold all at once
        told += manager.told()
    told += manager.told()
    assert told[-2:] == ["READY=1", "WATCHDOG=1"]
    assert len(told) == KEEP + 1
    notifier.close()
    manager.socket.close()


def test_an_address_that_is_none_is_no_error() -> None:
    """Longer than a socket's path may be."""
    notifier = Notifier("/" + "x" * 300)
    notifier.ready()
    assert not notifier.alive()
    notifier.close()


def test_nobody_is_told_where_no_manager_is_named() -> None:
    """Outside a service manager all of it does nothing."""
    notifier = Notifier.from_environment({})
    assert not notifier
    assert notifier.watchdog_s is None
    notifier.ready()
    assert notifier.status("x")
    assert notifier.alive()


def test_the_variables_are_taken_out_of_the_environment() -> None:
    """Programs that the agent starts must not speak for it."""
    env = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notifier = Notifier.from_environment(env)
    assert notifier
    assert notifier.watchdog_s == 30.0
    assert env == {"HOME": "/"}


@pytest.mark.parametrize(
    "env",
    [
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "-5"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "9" * 5000},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/x"},
    ],
)
def test_a_watchdog_that_is_not_meant_for_this_process_is_none(env: dict[str, str]) -> None:
    """No manager, no time, no number, or another process's."""
    assert Notifier.from_environment(env).watchdog_s is None


def test_a_kind_of_address_that_is_not_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A manager outside a virtual machine (vsock) cannot be told; the log says so."""
    assert not Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "1000000"})
    assert "vsock:2:1234" in capsys.readouterr().out
