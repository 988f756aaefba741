"""``setpoint replay``: which recorded decisions would differ, and how a worker came through its recording."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.cli_shop import run_cli

from setpoint.cli.connect import RunningAgent, note_running
from setpoint.control import ChildSpec, Fact, Facts, Snapshot
from setpoint.control.record import Record
from setpoint.control.recorder import Recorder
from setpoint.machine import Position, decide, to_dict
from setpoint.workers.connection import Connection, ConnectionObserved, ConnectionSpec

Capsys = pytest.CaptureFixture[str]
PATH = "agent/bridges/press-1/connection"
SPEC = ConnectionSpec(target="10.0.0.7", port=502)
OPEN = ConnectionObserved(answer="open", detail="10.0.0.7:502 answered")
TIMEOUT = ConnectionObserved(answer="timeout", detail="no answer within 3 s")
FLAKY = ConnectionObserved(answer="open", detail="10.0.0.7:502 answered", changes=5)


def record(place: Path, seen: list[ConnectionObserved], path: str = PATH) -> None:
    """A connection that was observed so, a second apart, from when it was made."""
    recorder = Recorder(place)
    worker = object.__new__(Connection)  # its machine is all that decides
    row = Record(path, None, ChildSpec("connection", "connection", SPEC), worker=worker)
    position = Position("stopped", 0.0)
    nobody = Facts({}, Fact)
    for second, observed in enumerate(seen, start=1):
        for _ in range(5):
            snapshot = Snapshot(path, SPEC, observed, position.state, True, "", nobody, nobody)
            decision = decide(Connection.machine, position, snapshot, float(second))
            recorder.decided(row, snapshot, position, float(second), 1_763_720_000.0 + second, decision)
            if decision.arc is None:
                break
            position = Position(decision.state, float(second))
    recorder.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Up, lost, up again, then flaky."""
    place = tmp_path / "flight"
    record(place, [OPEN, TIMEOUT, OPEN, FLAKY])
    return place


def machine_file(place: Path, **arcs: str) -> Path:
    """The connection's machine as a file, with other guards for the arcs of these events."""
    data = to_dict(Connection.machine)
    del data["hash"]
    for arc in data["arcs"]:
        arc["when"] = arcs.get(arc["event"], arc["when"])
    file = place / "connection.json"
    file.write_text(json.dumps(data))
    return file


def test_the_same_machine_decides_the_same(capsys: Capsys, recording: Path) -> None:
    """No difference: a summary, and exit code 0; with reasons compared, too."""
    for more in ((), ("--reasons",), ("--worker", "press-1/connection")):
        ran = run_cli(capsys, "replay", str(recording), *more)
        assert ran.code == 0, ran.out
        assert "decisions of 1 worker, 2025-11-2" in ran.out
        assert ": 0 differ\n" in ran.out


def test_its_own_export_decides_the_same(capsys: Capsys, recording: Path, tmp_path: Path) -> None:
    """A machine file that nobody changed, with guards and reasons from the code: nothing differs."""
    ran = run_cli(capsys, "replay", str(recording), "--reasons", "--machine", str(machine_file(tmp_path)))
    assert (ran.code, ran.err) == (0, "")


def test_a_changed_machine_file_shows_when_who_and_why(capsys: Capsys, recording: Path, tmp_path: Path) -> None:
    """Each decision that would differ: time, worker, state, then and now, and the arc in question. Exit code 1."""
    file = machine_file(tmp_path, probe_flaky="observed.changes >= 9")
    ran = run_cli(capsys, "replay", str(recording), "--machine", str(file))
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert PATH in lines[0]
    assert lines[0].endswith("in up")
    assert lines[1].strip().startswith("then  probe_flaky → degraded: flaky: 5 changes in 60 s")
    assert lines[2].strip().startswith("now   stays")
    assert "✓ then, ✗ now  probe_flaky when observed.changes >= 9" in ran.out
    assert "– then, ✗ now  observed.changes >= 9" in ran.out
    assert lines[-1].endswith(": 1 differs")


def test_json_has_every_difference(capsys: Capsys, recording: Path, tmp_path: Path) -> None:
    """For programs: the summary, and each difference with both decisions and the guards."""
    file = machine_file(tmp_path, probe_flaky="observed.changes >= 9")
    ran = run_cli(capsys, "replay", str(recording), "--machine", str(file), "--json")
    answer = json.loads(ran.out)
    assert ran.code == 1
    assert answer["differing"]["decision"] == 1
    assert answer["from"] == "2025-11-21T10:13:21.000+00:00"
    first = answer["differences"][0]
    assert (first["path"], first["state"], first["kind"]) == (PATH, "up", "decision")
    assert (first["then"]["event"], first["now"]["event"]) == ("probe_flaky", "")
    assert {"guard": "observed.changes >= 9", "then": None, "now": False, "because": ""} in first["guards"]


PUMP = """\
from pydantic import BaseModel
from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, guard

class Wish(BaseModel):
    desired_state: str = "running"

class Seen(Observation, frozen=True):
    answer: str = ""

@guard
def open_enough(s: Snapshot[Wish, Seen]) -> bool:
    "it is open"
    return s.observed.answer in {answers}

class Connection(Worker[Wish, Wish, Seen]):
    stopped = State(Phase.STOPPED)
    up = State(Phase.HEALTHY)
    arcs = [stopped.to(up, on="start", when=open_enough)]
"""


@pytest.mark.parametrize("by", ["file", "module"])
def test_python_files_and_classes_decide_as_well(
    capsys: Capsys, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A file with a worker class, or module:Class; states that it does not have are differences of their own."""
    (tmp_path / f"pump_by_{by}.py").write_text(PUMP.format(answers=["never"]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    what = str(tmp_path / "pump_by_file.py") if by == "file" else "pump_by_module:Connection"
    ran = run_cli(capsys, "replay", str(recording), "--machine", what)
    assert ran.code == 1, ran.err
    assert "now   machine 'connection' has no state 'starting'" in ran.out
    assert "now   stays" in ran.out
    assert "of an unknown state" in ran.out.splitlines()[-1]


def test_many_alike_are_shown_once(capsys: Capsys, tmp_path: Path) -> None:
    """The same difference again and again is one text with its number; --limit bounds how many texts there are."""
    seen = [ConnectionObserved(answer="open", latency_ms=float(number)) for number in range(40)]
    record(tmp_path / "flight", [*seen, TIMEOUT])
    file = machine_file(tmp_path, probe_down="observed.answer == 'open'")
    ran = run_cli(capsys, "replay", str(tmp_path / "flight"), "--machine", str(file))
    assert ran.out.count("then  stays") == 1
    assert "in up: 39 more like this" in ran.out
    ran = run_cli(capsys, "replay", str(tmp_path / "flight"), "--machine", str(file), "--limit", "1")
    assert "1 more is not shown" in ran.out
    assert ran.code == 1


def test_show_tells_how_a_worker_came_through(capsys: Capsys, recording: Path) -> None:
    """Each recorded decision of one worker with what had changed, oldest first."""
    ran = run_cli(capsys, "replay", str(recording), "--show", "press-1/connection")
    assert ran.code == 0
    assert "observed.answer: open → timeout" in ran.out
    assert "probe_down → down: timeout: no answer within 3 s" in ran.out
    assert ran.out.index("start_done → up") < ran.out.index("probe_down → down")
    only = run_cli(capsys, "replay", str(recording), "--show", "connection", "--limit", "1").out
    assert len([line for line in only.splitlines() if not line.startswith("    ")]) == 1
    rows = json.loads(run_cli(capsys, "replay", str(recording), "--show", "connection", "--json").out)
    assert rows[0]["position"]["state"] == "stopped"


def test_damage_is_told_and_the_rest_replayed(capsys: Capsys, recording: Path) -> None:
    """A torn end is named as a gap; what can be read decides the exit code."""
    record(recording, [OPEN], path="agent/other")
    first, second = sorted(recording.iterdir())
    second.write_bytes(second.read_bytes()[:-5])
    ran = run_cli(capsys, "replay", str(recording))
    assert ran.code == 0
    assert "1 gap" in ran.out
    assert "decisions-00000002.jsonl.gz: it ends in the middle of a batch" in ran.out
    first.write_bytes(b"")
    ran = run_cli(capsys, "replay", str(recording))
    assert ran.code == 2
    assert "no decision of any worker; decisions-00000001.jsonl.gz: nothing is in it" in ran.err


def test_an_enemys_texts_are_harmless(capsys: Capsys, recording: Path) -> None:
    """Escape sequences and impossible times of a made-up file reach no terminal."""
    head = {"format": 1, "program": "", "started": 0}
    entry = {
        "=path": "evil\x1b[2J",
        "=type": "x",
        "=machine": {"name": "\x1b]0;x\x07"},
        "=clocks": {"at": 1e300, "now": 0.0},
        "=position": {"state": "\x1b[31m", "entered_at": 0.0},
        "=snapshot": {},
        "=decision": {"state": "y", "reason": "\x1b[5m", "event": "\x07"},
    }
    file = recording / "evil.jsonl.gz"
    file.write_bytes(gzip.compress(f"{json.dumps(head)}\n{json.dumps([0, entry])}\n".encode()))
    for more in ((), ("--show", "evil\x1b[2J")):
        ran = run_cli(capsys, "replay", str(file), *more)
        assert "\x1b" not in ran.out + ran.err
        assert "\\x1b" in ran.out


def test_the_running_agents_recording_is_the_default(
    capsys: Capsys, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name: the recording in the data directory of the agent that runs; without an agent, that is said."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ran = run_cli(capsys, "replay")
    assert ran.code == 2
    assert "no agent of yours is running" in ran.err
    (tmp_path / "plant" / ".setpoint").mkdir(parents=True)
    recording.rename(tmp_path / "plant" / ".setpoint" / "flight")
    config = str(tmp_path / "plant" / "config.yaml")
    note_running(RunningAgent("http://x", os.getpid(), config), os.environ)
    assert run_cli(capsys, "replay").code == 0
    (tmp_path / "plant" / ".setpoint").rename(tmp_path / "elsewhere")
    note_running(RunningAgent("http://x", os.getpid(), config, str(tmp_path / "elsewhere")), os.environ)
    assert run_cli(capsys, "replay").code == 0


def mistakes(tmp_path: Path) -> dict[str, tuple[list[str], str]]:
    flight = str(tmp_path / "flight")
    needs = tmp_path / "needs.json"
    data: dict[str, Any] = to_dict(Connection.machine)
    del data["hash"]
    data["guards"]["phase_of_the_moon"] = ""
    data["arcs"][0]["when"] = "phase_of_the_moon"
    needs.write_text(json.dumps(data))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"name": "pump", "states": {"off": "stopped"}}))
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "empty.py").write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    return {
        "no such recording": ([str(tmp_path / "nothing")], "there is no file or directory"),
        "no recording there": ([str(empty)], "there is no recording in"),
        "no such worker": ([flight, "--worker", "press-9"], "no decision of worker 'press-9'"),
        "no such machine file": ([flight, "--machine", "nothing.json"], "nothing.json cannot be read"),
        "no such module": ([flight, "--machine", "nothing_there:Class"], "nothing_there:Class cannot be imported"),
        "file that raises": ([flight, "--machine", str(tmp_path / "broken.py")], "ZeroDivisionError"),
        "file without a worker": ([flight, "--machine", str(tmp_path / "empty.py")], "there is no worker class"),
        "guard of nobody": (
            [flight, "--machine", str(needs)],
            "Python guards that nothing here has: phase_of_the_moon",
        ),
        "another machine": ([flight, "--machine", str(other)], "no decision of any worker with machine pump"),
    }


def test_what_cannot_be_answered_is_no_answer(capsys: Capsys, recording: Path, tmp_path: Path) -> None:
    """Exit code 2 and a sentence: neither 'same' nor 'differs' may be read from a mistake."""
    for mistake, (arguments, text) in mistakes(tmp_path).items():
        ran = run_cli(capsys, "replay", *arguments)
        assert (ran.code, mistake) == (2, mistake)
        assert text in ran.err


def test_a_recording_is_found_from_the_data_directory_and_from_the_config(
    capsys: Capsys, recording: Path, tmp_path: Path
) -> None:
    """As `check --against` finds a store."""
    data = tmp_path / ".setpoint"
    data.mkdir()
    moved = recording.rename(data / "flight")
    asked = [moved, data, tmp_path, tmp_path / "config.yaml"]
    assert {run_cli(capsys, "replay", str(place)).code for place in asked} == {0}
