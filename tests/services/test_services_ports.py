"""Ports: kept across ends of every kind, given to one name only, moved when somebody else has them."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.services.ports import FIRST_PORT, LAST_PORT, LOOPBACK, NoPort, Ports, holder, is_free


@contextmanager
def listening(port: int = 0, host: str = LOOPBACK) -> Iterator[int]:
    """Somebody else has the port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, port))
        other.listen(1)
        yield other.getsockname()[1]


def free_run(length: int) -> int:
    """The first of so many free ports in a row."""
    rng = random.Random()
    while True:
        first = rng.randrange(FIRST_PORT, LAST_PORT - length)
        if all(is_free(first + offset) for offset in range(length)):
            return first


def test_a_name_keeps_its_port(tmp_path: Path) -> None:
    """The same at each claim, and for the next agent on the same data."""
    ports = Ports(tmp_path / "ports.json")
    first = ports.claim("flow/a")
    assert FIRST_PORT <= first.port <= LAST_PORT
    assert (first.moved_from, first.reason) == (None, "")
    assert ports.claim("flow/a") == first
    assert Ports(tmp_path / "ports.json").claim("flow/a") == first


def test_a_port_that_was_given_back_is_forgotten(tmp_path: Path) -> None:
    """By name, or all that nobody asks for any more; both may be said twice."""
    ports = Ports(tmp_path / "ports.json")
    for name in "abc":
        ports.claim(name)
    ports.release("a")
    ports.release("a")
    ports.keep_only(["c", "d"])
    assert ports.names() == Ports(tmp_path / "ports.json").names() == ("c",)
    assert ports.port("b") is None


def test_ports_that_others_hold_are_passed_over(tmp_path: Path) -> None:
    """Also those held on all interfaces; the last free one is found, and then the message says that there is none."""
    first = free_run(3)
    ports = Ports(tmp_path / "ports.json", first=first, last=first + 2)
    with listening(first), listening(first + 1, "0.0.0.0"):
        assert ports.claim("a").port == first + 2
        with pytest.raises(
            NoPort, match=rf"all ports from {first} to {first + 2} .* are taken, 1 of them by this agent"
        ):
            ports.claim("b")
    assert ports.claim("b").port in (first, first + 1)


def test_a_port_that_was_taken_meanwhile_moves_with_a_reason(tmp_path: Path) -> None:
    """The reason names the port, who has it and where it went; the name keeps the new one."""
    ports = Ports(tmp_path / "ports.json")
    had = ports.claim("a").port
    with listening(had):
        moved = ports.claim("a")
        assert moved.port != had
        assert moved.moved_from == had
        assert moved.reason.startswith(f"port {had} of a is held by ")
        assert f"(pid {os.getpid()}); moved to {moved.port}" in moved.reason
    assert Ports(tmp_path / "ports.json").claim("a").port == moved.port


def test_the_port_of_a_program_that_runs_is_its_own(tmp_path: Path) -> None:
    """It is held by the program itself; only `move` takes it away."""
    ports = Ports(tmp_path / "ports.json")
    had = ports.claim("a").port
    with listening(had):
        assert ports.claim("a", running=True).port == had
        assert ports.move("a").moved_from == had


def test_connections_that_are_ending_do_not_hold_a_port() -> None:
    """A server that has just ended leaves some behind; a program that is restarted gets its port back."""
    with listening() as port, socket.create_connection((LOOPBACK, port)) as client:
        pass
    del client
    assert is_free(port)
    assert holder(port) == ""


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["claim", "release", "move", "again"]), st.integers(0, 6)), max_size=20))
def test_no_port_is_given_out_twice(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    """Whatever the order of claims, moves and releases, and wherever an agent ends between them."""
    file = tmp_path_factory.mktemp("ports") / "ports.json"
    ports = Ports(file)
    expected: dict[str, int] = {}
    for verb, number in steps:
        name = f"flow {number}"
        if verb == "again":
            ports = Ports(file)
        elif verb == "release":
            ports.release(name)
            expected.pop(name, None)
        else:
            expected[name] = (ports.claim if verb == "claim" else ports.move)(name).port
        assert {known: ports.port(known) for known in ports.names()} == expected
        assert len(set(expected.values())) == len(expected)


def test_threads_get_ports_of_their_own(tmp_path: Path) -> None:
    """Claims that come at once are served one after the other."""
    ports = Ports(tmp_path / "ports.json")
    threads = [threading.Thread(target=ports.claim, args=(f"flow {number}",)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given_out = [ports.port(f"flow {number}") for number in range(30)]
    assert None not in given_out
    assert len(set(given_out)) == 30


CLAIM_FOR_EVER = """
import sys, itertools
from pathlib import Path
from setpoint.services.ports import Ports
ports = Ports(Path(sys.argv[1]))
for number in itertools.count():
    print(f"flow{number} {ports.claim(f'flow{number}').port}", flush=True)
"""


def test_what_was_heard_of_survives_kill_9(tmp_path: Path) -> None:
    """Every port that anybody was told of is known to the next agent; nothing half written is left in the way."""
    file = tmp_path / "ports.json"
    for _ in range(3):
        file.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", CLAIM_FOR_EVER, str(file)], stdout=subprocess.PIPE, text=True
        ) as agent:
            assert agent.stdout is not None
            told = [agent.stdout.readline() for _ in range(12)]
            agent.send_signal(signal.SIGKILL)
            told += [line for line in agent.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        after = Ports(file)
        assert after.problem == ""
        assert {name: after.port(name) for name, _ in map(str.split, told)} == {
            name: int(port) for name, port in map(str.split, told)
        }


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"a": "x"}', '{"a": 20001, "b": 20001}', '{"a": 80}', "[" * 100_000]
)
def test_a_damaged_file_is_kept_and_said(tmp_path: Path, content: str) -> None:
    """New ports for all, the old file beside, and the reason in `problem`."""
    file = tmp_path / "ports.json"
    file.write_text(content)
    ports = Ports(file)
    assert "cannot be read" in ports.problem
    assert ports.names() == ()
    assert (tmp_path / "ports.json.damaged").read_text() == content
    port = ports.claim("a").port
    assert Ports(file).port("a") == port


def test_a_directory_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    """Nothing is given out that could not be written down, and nothing taken back."""
    folder = tmp_path / "data"
    ports = Ports(folder / "ports.json")
    port = ports.claim("a").port
    folder.rename(tmp_path / "gone")
    folder.write_text("a file where the directory was")
    for call in (ports.claim, ports.release):
        with pytest.raises(NoPort, match=r"cannot be written to .*ports.json: .*; the data directory must be writable"):
            call("b" if call == ports.claim else "a")
    assert (ports.port("a"), ports.port("b")) == (port, None)


ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from setpoint.services.ports import NoPort, Ports
file = Path(sys.argv[1])
ports = Ports(file)
ports.claim("a")
before = file.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
try:
    ports.claim("b")
except NoPort as error:
    assert ports.port("b") is None and file.read_bytes() == before and [file] == list(file.parent.iterdir())
    sys.exit(str(error))
"""


def test_a_full_disk_is_a_reason(tmp_path: Path) -> None:
    """The file stays as it was, and no half of a new one is left."""
    file = tmp_path / "ports.json"
    agent = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, str(file)], capture_output=True, text=True, check=False
    )
    assert (agent.returncode, agent.stdout) == (1, "")
    assert "cannot be written" in agent.stderr.splitlines()[-1]
    assert "Traceback" not in agent.stderr
