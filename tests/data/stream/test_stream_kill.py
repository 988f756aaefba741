"""A real process, really killed: what it leaves is resumed as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.data.stream.stream_samples import numbers, plan, read_lines, sorted_out, write_lines

from setpoint.data.stream import open_sink, run_stream

SCRIPT = """
import sys
from setpoint.data.stream import open_sink, run_stream
from tests.data.stream.stream_samples import double, plan, sorted_out
print("going", flush=True)
run_stream(plan(double, sorted_out), sys.argv[1], open_sink(sys.argv[2], mode=sys.argv[3]), chunk_size=5, resume=True)
"""


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_stream_that_is_killed_again_and_again(tmp_path: Path, mode: str) -> None:
    """Each record and each dead letter is there exactly once. (`benchmarks/stream.py --kills 200` does this for longer.)"""
    source = write_lines(tmp_path / "in.jsonl", numbers(15_000))
    out = tmp_path / "out.jsonl"
    rng = random.Random(7)
    killed = 0
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(source), str(out), mode],
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [".", "src", os.environ.get("PYTHONPATH", "")])),
            },
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0.005, 0.05))
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        child.stdout.close()
    assert killed
    from tests.data.stream.stream_samples import double

    report = run_stream(plan(double, sorted_out), source, open_sink(out, mode=mode), resume=True)
    assert report.read == 15_000
    whole = tmp_path / "whole" / "out.jsonl"
    expected = run_stream(plan(double, sorted_out), source, whole)
    assert report.counts == expected.counts
    assert out.read_bytes() == whole.read_bytes()
    assert len(read_lines(tmp_path / "out.jsonl.dead.jsonl")) == 1500


def test_standard_input_and_output(tmp_path: Path) -> None:
    """A stream in a pipe writes what has come before more comes."""
    script = "from setpoint.data.stream import run_stream; from tests.data.stream.stream_samples import plan; run_stream(plan(), '-', '-')"
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [".", "src", os.environ.get("PYTHONPATH", "")]))},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b'{"a":2}\n')
    child.stdin.flush()
    assert child.stdout.readline() == b'{"a":2,"b":4}\n'
    child.stdin.write(b'{"a":3}\n{"a":4}')
    child.stdin.close()
    assert child.stdout.read() == b'{"a":4,"b":8}\n'
    child.stdout.close()
    assert child.wait() == 0


def test_a_stream_in_processes(tmp_path: Path) -> None:
    """The same file, by several processes."""
    source = write_lines(tmp_path / "in.jsonl", numbers(2000))
    here = run_stream(plan(sorted_out), source, tmp_path / "here.jsonl")
    there = run_stream(plan(sorted_out), source, tmp_path / "there.jsonl", processes=2)
    assert there.counts == here.counts
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
