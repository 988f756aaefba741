"""`supervise`: a tree of workers in a terminal, from a script. Real processes, real signals, real time: kept few and short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio
import time
from setpoint.control import ChildSpec, Observation, Registry, Worker, wanted
from setpoint.control.running import supervise
from setpoint.machine import Phase, State

class Stubborn(Worker[None, None, Observation]):
    off = State(Phase.STOPPED)
    on = State(Phase.HEALTHY, act="work", reason="{reason}")
    arcs = [off.to(on, on="start", when=wanted), on.to(off, on="stop", when=~wanted)]

    async def collect_observed_state(self, desired):
        return Observation()

    async def work(self, desired):
        if {blocks}:
            time.sleep(60)
        while {ignores}:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

registry = Registry()
registry.add("stubborn", Stubborn)
supervise([ChildSpec("one", "stubborn")], registry)
print("after", flush=True)
"""


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program that has said its first lines; killed in the end, if it is still there."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read its lines up to one with the text in it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError(f"it ended before it said {text!r}: {lines}")


@pytest.mark.real
def test_the_example_lives_and_ends_with_ctrl_c() -> None:
    """A line for each transition of parent and child, a clean end, exit code 0."""
    with running("examples/hello_worker.py") as process:
        lines = wait_for(process, "smoking → burning")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)
        assert process.returncode == 0
        lines += out.splitlines()
        assert any("hello/small" in line and "lighting → burning" in line for line in lines)
        assert sum("→ out" in line and "stop" in line for line in lines) == 2
        assert err.splitlines() == ["stopping; once more to stop at once"]


@pytest.mark.real
def test_a_call_that_ignores_its_end_is_left_behind_and_said() -> None:
    """The process ends within the budget, with code 1, and names who did not stop; what is not printable comes as an escape."""
    program = PROGRAM.format(reason="\\x1b[31mred", ignores="True", blocks="False")
    with running("-c", program) as process:
        lines = wait_for(process, "off → on")
        assert "\\x1b[31mred" in lines[-1]
        time.sleep(0.2)  # real time: the action has to be under way
        process.send_signal(signal.SIGTERM)
        before = time.monotonic()
        out, err = process.communicate(timeout=15)
        assert time.monotonic() - before < 10
        assert process.returncode == 1
        assert "did not stop in time: agent/one" in err
        assert "a call ignores its cancellation" in err
        assert "after" not in out


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    """As any process: nothing is waited for, a call that ignores its cancellation neither."""
    with running("-c", PROGRAM.format(reason="working", ignores="True", blocks="False")) as process:
        wait_for(process, "off → on")
        process.send_signal(number)
        assert process.stderr is not None
        assert "once more" in process.stderr.readline()
        before = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=10) == -number
        assert time.monotonic() - before < 1.5


@pytest.mark.real
def test_the_second_signal_ends_it_also_while_something_blocks_the_loop() -> None:
    """Nobody is there to say that it stops; the second signal still does what it does."""
    with running("-c", PROGRAM.format(reason="working", ignores="False", blocks="True")) as process:
        wait_for(process, "off → on")
        time.sleep(0.2)  # real time: the action has to be under way
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # two signals at once may arrive as one
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT
        assert time.monotonic() - before < 2.0


@pytest.mark.real
def test_the_script_goes_on_after_a_clean_end() -> None:
    """`supervise` returns."""
    with running("-c", PROGRAM.format(reason="working", ignores="False", blocks="False")) as process:
        wait_for(process, "off → on")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=15)
        assert out.splitlines()[-1] == "after"
        assert process.returncode == 0
