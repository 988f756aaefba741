"""Runs that are kept, killed at random moments: all of them end, and what was done is not done again.

``SETPOINT_KILLS`` says how often (default 6).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from setpoint.data.runs import Runs

pytestmark = pytest.mark.real

KILLS = int(os.environ.get("SETPOINT_KILLS", "6"))
RUNS = 40
WORK = """
import asyncio, os, sys, time
from setpoint.data.fsm import SimpleFSM

way = sys.argv[1]
log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def noted(record, context):
    os.write(log, f"{record['n']} {context.state}\\n".encode())
    return {**record, context.state: record.get(context.state, 0) + 1}

def here(record, context):
    time.sleep(0.005)
    return noted(record, context)

async def later(record, context):
    await asyncio.sleep(0.1)
    return noted(record, context)

states = {name: {"transforms": ["mark"], "on_complete": after} for name, after in zip("abcd", "bcde")}
config = {"name": "m", "states": {**states, "e": {"final": True}}}
fsm = SimpleFSM(config, functions={"mark": here if way == "sync" else later}, runs="runs.sqlite")
fsm.runs.recover()
if way == "sync":
    for n in range(%d):
        fsm.process({"n": n}, run=f"r{n}")
else:
    async def main():
        await asyncio.gather(*(fsm.aprocess({"n": n}, run=f"r{n}") for n in range(%d)))
    asyncio.run(main())
""" % (RUNS, RUNS)  # noqa: UP031  # braces are code there


@pytest.mark.parametrize("way", ["sync", "async"])
def test_no_state_is_left_out_or_repeated_without_need(way: str, tmp_path: Path) -> None:
    """A kill costs at most one repetition for each run that was at work then."""
    (tmp_path / "work.py").write_text(WORK)
    dice = random.Random(7)
    kills = 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    while True:
        child = subprocess.Popen([sys.executable, "work.py", way], cwd=tmp_path, env=environment)
        try:
            assert child.wait(dice.uniform(0.2, 0.7) if kills < KILLS else 60) == 0
            break
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
    done = Counter(tuple(line.split()) for line in (tmp_path / "log").read_text().splitlines())
    repeated = sum(done.values()) - len(done)
    print(f"{way}: {kills} kills, {len(done)} states, {repeated} repeated")
    assert set(done) == {(str(n), state) for n in range(RUNS) for state in "abcd"}
    assert repeated <= kills * (1 if way == "sync" else RUNS)
    runs = Runs(tmp_path / "runs.sqlite")
    try:
        assert runs.count() == {"done": RUNS}
        for row in runs.find(limit=RUNS):
            result = runs.result(row.id)
            assert result is not None
            assert {state: result.data[state] for state in "abcd"} == dict.fromkeys("abcd", 1)
    finally:
        runs.close()
