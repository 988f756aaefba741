"""``setpoint runs``: what was run, and what brings it on."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from setpoint.cli.main import app
from setpoint.cli.trouble import Trouble

APPROVAL = """
name: approval
states:
  asked:
    arcs:
      - {target: small, condition: amount < 10}
      - {target: granted, event: approved, condition: approved.by == "Ada"}
      - {target: late, after: 0.01}
  small: {final: true}
  granted: {on_complete: done}
  done: {final: true}
  late: {final: true}
"""
SQUARES = """
name: squares
states: {a: {transforms: [{set: {square: n * n}}], on_complete: b}, b: {final: true}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with machines, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "approval.yaml").write_text(APPROVAL)
    (tmp_path / "squares.yaml").write_text(SQUARES)
    return tmp_path


@pytest.fixture
def setpoint(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command: its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def test_a_record_that_waits_is_listed_and_brought_on(setpoint: Any) -> None:
    """The command that carried it says how, and ends with 3; the event takes it to its end."""
    code, out = setpoint("run", "approval.yaml", "--data", '{"amount": 20}', "--name", "big")
    assert (code, "setpoint runs send big approved" in out) == (3, True)
    code, out = setpoint("runs", "--status", "waiting")
    assert (code, "asked waits for approved" in out) == (0, True)
    code, out = setpoint("runs", "send", "big", "approved", "--data", '{"by": "Ada"}')
    assert (code, out.splitlines()[0]) == (0, "asked → granted → done")
    code, out = setpoint("runs", "show", "bi")
    assert code == 0
    assert "→ granted" in out


def test_an_event_that_is_not_taken_changes_nothing(setpoint: Any) -> None:
    """It is said why, and the run still waits."""
    setpoint("run", "approval.yaml", "--data", '{"amount": 20}', "--name", "big")
    with pytest.raises(Trouble, match="its condition says no"):
        app(["runs", "send", "big", "approved", "--data", '{"by": "Bob"}'])
    with pytest.raises(Trouble, match="it waits for: approved"):
        app(["runs", "send", "big", "refused"])
    assert setpoint("runs", "--status", "waiting")[0] == 0


def test_time_is_looked_after_by_wake(setpoint: Any) -> None:
    """All runs whose time has come go on."""
    setpoint("run", "approval.yaml", "--data", '{"amount": 20}', "--name", "big")
    import time

    time.sleep(0.02)
    assert setpoint("runs", "wake") == (0, "big: asked → late\n")
    assert setpoint("runs", "wake") == (0, "")


def test_runs_are_shown_to_programs(setpoint: Any, folder: Path) -> None:
    """A stream with its counts and ends, a batch with the result of each record."""
    (folder / "in.jsonl").write_text('{"n": 2}\n{"n": "x"}\n')
    assert setpoint("run", "squares.yaml", "-i", "in.jsonl", "-o", "out.jsonl", "--name", "s")[0] == 1
    assert setpoint("run", "squares.yaml", "-i", "in.jsonl", "-o", "out2.jsonl", "--batch", "--name", "b")[0] == 1
    code, out = setpoint("runs", "--json", "--machine", "squares")
    rows = {row["run"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["s"]["counts"] == {"read": 2, "emitted b": 1, "failed failed": 1}
    assert rows["s"]["about"]["input"] == "in.jsonl"
    code, out = setpoint("runs", "show", "b", "--json")
    assert code == 1
    assert [one["final_state"] for one in json.loads(out)["results"]] == ["b", "failed"]


def test_what_failed_is_tried_again_from_there(setpoint: Any, folder: Path) -> None:
    """The machine may have been repaired meanwhile: the run goes on with the version it began with, unless that is the same."""
    (folder / "m.yaml").write_text(
        "name: m\nstates: {a: {transforms: [{set: {q: 1 / n}}], on_complete: b}, b: {final: true}}"
    )
    assert setpoint("run", "m.yaml", "--data", '{"n": 0}', "--name", "r")[0] == 1
    code, out = setpoint("runs", "retry", "r")
    assert (code, "division by zero" in out) == (1, True)
    code, out = setpoint("runs", "show", "r", "--json")
    assert json.loads(out)["error"].startswith("a: ")


def test_runs_can_be_stopped_and_forgotten(setpoint: Any) -> None:
    """What was stopped says why; what is unfinished is not forgotten by its age."""
    for name in ("one", "two"):
        setpoint("run", "approval.yaml", "--data", '{"amount": 20}', "--name", name)
    assert setpoint("runs", "stop", "one", "--because", "nobody wants it")[0] == 0
    assert "nobody wants it" in setpoint("runs", "show", "one")[1]
    assert setpoint("runs", "prune", "--older-than", "0") == (0, "1 run forgotten\n")
    assert "two" in setpoint("runs")[1]


def test_a_batch_goes_on_where_it_broke_off(setpoint: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--resume`` finds the run by the machine, the input and the output."""
    (folder / "in.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(2500)))
    from setpoint.data.runs.many import BatchRun

    keep = BatchRun.keep

    def once(self: Any, first: int, results: Any) -> None:
        keep(self, first, results)
        if first == 1000:
            raise KeyboardInterrupt

    monkeypatch.setattr(BatchRun, "keep", once)
    with pytest.raises(Trouble, match="interrupted"):
        app(["run", "squares.yaml", "-i", "in.jsonl", "-o", "out.jsonl", "--batch"])
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    [row] = json.loads(setpoint("runs", "--json")[1])
    assert row["status"] == "interrupted"
    assert setpoint("run", "squares.yaml", "-i", "in.jsonl", "-o", "out.jsonl", "--batch", "--resume")[0] == 0
    assert [json.loads(line)["square"] for line in (folder / "out.jsonl").read_text().splitlines()] == [
        n * n for n in range(2500)
    ]
    [row] = json.loads(setpoint("runs", "--json")[1])
    assert row["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["runs", "show", "nothing"], "there are no runs at"),
        (["runs"], "there are no runs at"),
    ],
)
def test_without_runs_it_is_said(arguments: list[str], error: str) -> None:
    """With what would make some."""
    with pytest.raises(Trouble, match=error):
        app(arguments)


def test_a_wrong_name_or_word_is_said(setpoint: Any) -> None:
    """With what there is."""
    setpoint("run", "squares.yaml", "--data", '{"n": 1}', "--name", "r")
    for arguments, error in (
        (["runs", "show", "x"], "there is no run 'x'"),
        (["runs", "--status", "gone"], "there are running, waiting"),
        (["runs", "--since", "yesterday"], "is no duration"),
        (["runs", "stop", "r"], "is done"),
    ):
        with pytest.raises(Trouble, match=error):
            app(arguments)


def test_runs_that_cannot_be_kept_are_carried_all_the_same(setpoint: Any, folder: Path) -> None:
    """A folder that cannot be written is no reason not to carry a record; it is said."""
    (folder / ".setpoint").write_text("no folder")
    code, out = setpoint("run", "squares.yaml", "--data", '{"n": 3}')
    assert (code, '"square": 9' in out) == (0, True)


def test_a_name_is_used_once(setpoint: Any) -> None:
    """Whoever asks again gets the result that it had."""
    setpoint("run", "squares.yaml", "--data", '{"n": 3}', "--name", "r")
    assert '"square": 9' in setpoint("run", "squares.yaml", "--data", '{"n": 4}', "--name", "r")[1]


def test_runs_are_forgotten_by_their_age(setpoint: Any) -> None:
    """In any unit; a bare number is days."""
    setpoint("run", "squares.yaml", "--data", '{"n": 3}')
    assert setpoint("runs", "prune", "--older-than", "1h") == (0, "0 runs forgotten\n")
    assert setpoint("runs", "prune", "--older-than", "1") == (0, "0 runs forgotten\n")
    assert setpoint("runs", "prune", "--older-than", "0s") == (0, "1 run forgotten\n")
    with pytest.raises(Trouble, match="no duration"):
        app(["runs", "prune", "--older-than", "soon"])


def test_moments_are_written_alike_everywhere(setpoint: Any) -> None:
    """Until when a record waits is an RFC 3339 moment for machines, in the result as in the list."""
    shown = json.loads(setpoint("run", "approval.yaml", "--data", '{"amount": 20}', "--name", "big", "--json")[1])
    [row] = json.loads(setpoint("runs", "--json")[1])
    assert shown["waits"][0]["until"] == row["until"]
    assert row["until"].endswith("Z")


def test_the_list_says_what_came_of_a_stream(setpoint: Any, folder: Path) -> None:
    """In the words in which setpoint run said it."""
    (folder / "in.jsonl").write_text('{"n": 1}\n{"n": "x"}\n')
    setpoint("run", "squares.yaml", "--input", "in.jsonl", "--output", "out.jsonl")
    assert "2 read, 1 written: b, 1 failed" in setpoint("runs")[1]


def test_nothing_is_tried_again_that_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    """What came of it is shown, and that it was not done again."""
    for arguments in (["run", "squares.yaml", "--data", '{"n": 3}', "--name", "nine"], ["runs", "retry", "nine"]):
        with pytest.raises(SystemExit):
            app(arguments)
    shown = capsys.readouterr()
    assert "run nine is done: there is nothing to try again" in shown.err
    assert shown.out.count('"square": 9') == 2


def test_a_machine_that_cannot_be_read_does_not_keep_others_from_being_woken(setpoint: Any, folder: Path) -> None:
    """Nor one whose file is gone; each of their runs is named, and still waits."""
    for name in ("good", "broken", "gone"):
        (folder / f"{name}.yaml").write_text(APPROVAL.replace("approval", name))
        setpoint("run", f"{name}.yaml", "--data", '{"amount": 20}', "--name", name)
    (folder / "broken.yaml").write_text("name: [")
    (folder / "gone.yaml").unlink()
    code, out = setpoint("runs", "wake")
    assert (code, sorted(line.split(":")[0] for line in out.splitlines())) == (1, ["broken", "gone", "good"])
    assert "good: asked → late" in out
    assert len(json.loads(setpoint("runs", "--status", "waiting", "--json")[1])) == 2


def test_one_run_that_cannot_go_on_does_not_keep_others_from_being_woken(setpoint: Any, folder: Path) -> None:
    """What is kept of it is damaged; it is said which it is."""
    for name in ("one", "two"):
        setpoint("run", "approval.yaml", "--data", '{"amount": 20}', "--name", name)
    changed(folder, "UPDATE progress SET data = x'0100' WHERE run = 'one'")
    code, out = setpoint("runs", "wake")
    assert (code, "one: what is kept of where run one stood cannot be read" in out) == (1, True)
    assert "two: asked → late" in out
    with pytest.raises(Trouble, match="cannot be read"):
        app(["runs", "send", "one", "approved"])


def changed(folder: Path, statement: str) -> None:
    """Somebody else writes into the file of the runs."""
    connection = sqlite3.connect(folder / ".setpoint" / "runs.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


def test_rows_that_make_no_sense_are_shown_with_the_others(setpoint: Any, folder: Path) -> None:
    """In the table, one by one, and as JSON."""
    for name in ("one", "two"):
        setpoint("run", "squares.yaml", "--data", '{"n": 3}', "--name", name)
    changed(
        folder,
        "UPDATE runs SET about = '{', counts = 'x', started = 1e300, error = CAST(x'ff' AS TEXT) WHERE id = 'one'",
    )
    changed(folder, "UPDATE steps SET at = 1e300 WHERE run = 'one'")
    for arguments in (("runs",), ("runs", "--json"), ("runs", "show", "one"), ("runs", "show", "one", "--json")):
        code, out = setpoint(*arguments)
        assert (code, "one" in out) == (0, True)


INTERRUPTING = """
def square(record):
    if record["n"] == 1500 and not open("second").read():
        raise KeyboardInterrupt
    return {"n": record["n"], "square": record["n"] ** 2}
"""


def test_an_interrupted_batch_is_written_once(setpoint: Any, folder: Path) -> None:
    """What it came to is written when it is whole: a table would have the first of its records twice."""
    connection = sqlite3.connect(folder / "out.db")
    connection.execute("CREATE TABLE t (n INTEGER, square INTEGER)")
    connection.close()
    (folder / "interrupting.py").write_text(INTERRUPTING)
    (folder / "second").write_text("")
    (folder / "m.yaml").write_text(SQUARES.replace("{set: {square: n * n}}", '"interrupting:square"'))
    (folder / "in.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(2500)))
    command = ["run", "m.yaml", "--trust", "-i", "in.jsonl", "-o", "sqlite:///out.db#t", "--batch"]
    with pytest.raises(Trouble, match="1,500 of 2,500 records were carried, nothing is written"):
        app(command)
    (folder / "second").write_text("x")
    assert setpoint(*command, "--resume")[0] == 0
    connection = sqlite3.connect(folder / "out.db")
    assert connection.execute("SELECT count(*), count(DISTINCT n) FROM t").fetchone() == (2500, 2500)
    connection.close()


def test_a_batch_that_could_not_be_written_is_not_carried_again(setpoint: Any, folder: Path) -> None:
    """``--resume`` writes the results that are kept."""
    (folder / "counting.py").write_text(
        "def square(record):\n    open('calls', 'a').write('x')\n    return {'square': record['n'] ** 2}\n"
    )
    (folder / "m.yaml").write_text(SQUARES.replace("{set: {square: n * n}}", '"counting:square"'))
    (folder / "in.jsonl").write_text('{"n": 2}\n{"n": 3}\n')
    (folder / "out.jsonl").mkdir()
    command = ["run", "m.yaml", "--trust", "-i", "in.jsonl", "-o", "out.jsonl", "--batch"]
    with pytest.raises(Trouble):
        app(command)
    (folder / "out.jsonl").rmdir()
    assert setpoint(*command, "--resume")[0] == 0
    assert (folder / "out.jsonl").read_text() == '{"square":4}\n{"square":9}\n'
    assert (folder / "calls").read_text() == "xx"


def test_runs_of_another_folder_are_not_resumed(setpoint: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where folders share a file of runs, the same names in another folder are other files."""
    where = ["--runs", str(folder / "shared.sqlite")]
    machine = str(folder / "m.yaml")
    (folder / "interrupting.py").write_text(INTERRUPTING)
    Path(machine).write_text(SQUARES.replace("{set: {square: n * n}}", '"interrupting:square"'))
    command = ["run", machine, "--trust", "-i", "in.jsonl", "-o", "out.jsonl", "--batch", *where]
    for name, second, first in (("x", "", 0), ("y", "x", 5000)):
        (folder / name).mkdir()
        (folder / name / "second").write_text(second)
        (folder / name / "in.jsonl").write_text("".join(f'{{"n": {first + n}}}\n' for n in range(2000)))
    monkeypatch.chdir(folder / "x")
    with pytest.raises(Trouble, match="interrupted"):
        app(command)
    monkeypatch.chdir(folder / "y")
    assert setpoint(*command, "--resume")[0] == 0
    assert json.loads((folder / "y" / "out.jsonl").read_text().splitlines()[0])["n"] == 5000


def test_what_cannot_be_kept_is_said(setpoint: Any, folder: Path) -> None:
    """In one sentence: a record that holds an object, a name that is no text."""
    (folder / "odd.py").write_text("def odd(record):\n    return {'it': object()}\n")
    (folder / "m.yaml").write_text(SQUARES.replace("{set: {square: n * n}}", '"odd:odd"'))
    with pytest.raises(Trouble, match=r"record\.it is a object"):
        app(["run", "m.yaml", "--trust", "--data", "{}"])
    with pytest.raises(Trouble, match="part of it is no character"):
        app(["run", "squares.yaml", "--data", '{"n": 1}', "--name", "\udcff"])
    with pytest.raises(Trouble, match="part of it is no character"):
        app(["runs", "show", "\udcff"])
