"""A purchase that waits for its approval: for an event, for time, and across processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.patterns.patterns_folder import enter

from setpoint.data.errors import NotTaken
from setpoint.data.fsm import SimpleFSM
from setpoint.data.runs import Runs

DAY = 86_400.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter("approval", tmp_path, monkeypatch)


@pytest.fixture
def now() -> list[float]:
    return [1_800_000_000.0]


def purchases(now: list[float]) -> Any:
    """The machine as a process finds it that starts now."""
    return SimpleFSM("purchase.yaml", runs=Runs("purchases.sqlite", wall=lambda: now[0]))


def test_small_ones_need_nobody(now: list[float]) -> None:
    """They do not wait at all."""
    with purchases(now) as fsm:
        result = fsm.process({"order": "A", "amount": 500}, run="A")
    assert (result.final_state, result.path) == ("ordered", ("asked", "approved", "ordered"))


def test_one_waits_and_goes_on_in_another_process(now: list[float]) -> None:
    """Whatever the time between: what comes with the answer is in the record."""
    with purchases(now) as fsm:
        result = fsm.process({"order": "B", "amount": 9000}, run="B")
        assert (result.final_state, str(result.waits[0])) == ("waiting", "for_approval waits for approved or refused")
    now[0] += 2 * DAY
    with purchases(now) as fsm:
        assert fsm.runs.wake() == []
        result = fsm.runs.send("B", "approved", {"by": "Ada", "role": "head"})
        assert (result.final_state, result.data["approved_by"]) == ("ordered", "Ada")
        assert result.path == ("asked", "for_approval", "approved", "ordered")


def test_an_answer_that_is_not_good_enough_changes_nothing(now: list[float]) -> None:
    """A head of department for what takes a director; an answer to one that has ended; an answer nobody asked for."""
    with purchases(now) as fsm:
        fsm.process({"order": "C", "amount": 30_000}, run="C")
        for event, data in (("approved", {"by": "Ada", "role": "head"}), ("approved", {}), ("applauded", {})):
            with pytest.raises(NotTaken):
                fsm.runs.send("C", event, data)
        assert fsm.runs.send("C", "approved", {"by": "Eve", "role": "director"}).final_state == "ordered"
        with pytest.raises(NotTaken):
            fsm.runs.send("C", "refused", {"by": "Eve", "reason": "changed my mind"})


def test_a_refusal_has_its_reason(now: list[float]) -> None:
    """In the record."""
    with purchases(now) as fsm:
        fsm.process({"order": "D", "amount": 700}, run="D")
        result = fsm.runs.send("D", "refused", {"by": "Bob", "reason": "too dear"})
    assert (result.final_state, result.data["reason"], result.data["refused_by"]) == ("refused", "too dear", "Bob")


def test_time_passes_also_while_nobody_runs(now: list[float]) -> None:
    """After three days it is reminded of, a week later it expires; a reminded one can still be approved."""
    with purchases(now) as fsm:
        for order in "EF":
            fsm.process({"order": order, "amount": 800}, run=order)
        assert fsm.runs.next_wake() == now[0] + 3 * DAY
    now[0] += 3 * DAY
    with purchases(now) as fsm:
        woken = fsm.runs.wake()
        assert [(result.waits[0].state, result.data["reminders"]) for result in woken] == [("reminded", 1)] * 2
        assert fsm.runs.send("E", "approved", {"by": "Ada", "role": "head"}).final_state == "ordered"
    now[0] += 7 * DAY
    with purchases(now) as fsm:
        assert [result.final_state for result in fsm.runs.wake()] == ["expired"]
        assert fsm.runs.wake() == []


def said(*words: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "purchase.py", *words], capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_it_survives_kill_9() -> None:
    """A process that is killed while purchases wait loses none of them, and the command line of the example finds them."""
    asking = (
        "import time\nfrom setpoint.data.fsm import SimpleFSM\n"
        "fsm = SimpleFSM('purchase.yaml', runs='purchases.sqlite')\n"
        "for n in range(20): print(fsm.process({'order': f'o{n}', 'amount': 600}, run=f'o{n}').final_state, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", asking], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(20):
            assert process.stdout.readline() == b"waiting\n"
        os.kill(process.pid, signal.SIGKILL)
    assert said("approve", "o7", "Ada", "head") == (0, "o7 ordered")
    assert said("approve", "o7", "Ada", "head") == (1, "run o7 does not wait for 'approved': it is done")
    code, text = said("show")
    assert (code, text.count("waiting for_approval waits for approved or refused")) == (0, 19)
    assert "o7 done ordered" in text
