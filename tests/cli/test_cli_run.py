"""``setpoint run``: one record, batches and streams through a machine, and what it says of them; ``setpoint new machine``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from setpoint.cli.new import Kind, new
from setpoint.cli.run import run
from setpoint.cli.trouble import FAILED, USAGE, Trouble

EXAMPLES = Path(__file__).parents[2] / "examples" / "records"
MACHINE = """
name: orders
max_transitions: ${MAX:-10}
states:
  read:
    validators: [price >= 0]
    transforms: [{set: {total: price * 2}}]
    arcs: [{target: large, condition: total > 100, priority: 1}, small]
    on_error: {target: refused, condition: "'careful' in record"}
  large: {final: true}
  small: {final: true}
  refused: {final: true, emit_output: false}
"""
RECORDS = [{"price": 1}, {"price": 60}, {"price": -1}, {"price": -1, "careful": True}]
app = typer.Typer()
app.command()(run)


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def ran(*arguments: object, stdin: str | None = None) -> Ran:
    result = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("m.yaml").write_text(MACHINE)
    Path("in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS) + '{"pri')


def test_one_record_is_shown_with_its_path_and_what_became_of_it() -> None:
    """The exit code says whether it succeeded."""
    done = ran("m.yaml", "--data", '{"price": 60}')
    assert done.code == 0
    path, _, data = done.out.partition("\n")
    assert path == "read → large"
    assert json.loads(data) == {"price": 60, "total": 120}


def test_a_record_that_fails_is_shown_with_its_error() -> None:
    """In words, and with --json as data; the exit code is 1."""
    failed = ran("m.yaml", "--data", '{"price": -1}')
    assert failed.code == FAILED
    assert failed.out.startswith("read → failed\n")
    assert "failed: read: Refused: not so: price >= 0" in failed.out
    shown = ran("m.yaml", "--data", '{"price": -1}', "--json")
    assert shown.code == FAILED
    result = json.loads(shown.out)
    assert (result["success"], result["final_state"], result["error"]["type"]) == (False, "failed", "Refused")


def test_a_failure_is_shown_with_what_led_to_it() -> None:
    """The error of a pushed network, and the one that an error arc had caught before."""
    Path("deep.yaml").write_text("""
name: deep
networks:
  - {name: top, states: {a: {arcs: [{target: z, target_network: inner}], on_error: b}, b: {validators: [y > 1]}, z: {final: true}},
     arcs: [{from: b, to: z}]}
  - {name: inner, states: {c: {validators: [x > 1], on_complete: d}, d: {final: true}}}
""")
    said = ran("deep.yaml", "--data", '{"x": 1, "y": 1}').out
    assert "failed: b: Refused: not so: y > 1" in said
    assert "after: a, arc" in said
    assert "because: inner:c: Refused: not so: x > 1" in said


def test_a_stream_goes_to_a_file_with_its_accounting() -> None:
    """Records in the file, the accounting here, the dead letters named; 1 because one failed and one was no record."""
    done = ran("m.yaml", "--input", "in.jsonl", "--output", "out.jsonl")
    assert done.code == FAILED
    assert lines(Path("out.jsonl")) == [{"price": 1, "total": 2}, {"price": 60, "total": 120}]
    counted = [" ".join(line.split()) for line in done.out.splitlines()]
    assert counted[0] == "4 read"
    assert {"1 written: small", "1 written: large", "1 left out: refused", "1 failed", "1 malformed"} <= set(counted)
    assert "dead letters: out.jsonl.dead.jsonl" in done.out
    assert [letter["kind"] for letter in lines(Path("out.jsonl.dead.jsonl"))] == ["failed", "malformed"]


def test_a_stream_through_pipes_keeps_records_and_accounting_apart() -> None:
    """Records on stdout, the accounting and the first dead letters on stderr; 0 when everything came through."""
    done = ran("m.yaml", "-i", "-", stdin='{"price": 1}\n')
    assert (done.code, done.out) == (0, '{"price":1,"total":2}\n')
    assert "1  read" in done.err
    failed = ran("m.yaml", "-i", "-", "--json", stdin='{"price": -1}\nx\n')
    assert (failed.code, failed.out) == (FAILED, "")
    report = json.loads(failed.err)
    assert (report["read"], report["malformed"], report["failed"], report["success"]) == (1, 1, {"failed": 1}, False)
    named = ran("m.yaml", "-i", "-", stdin='{"price": -1}\n')
    assert "failed in read: not so: price >= 0" in named.err


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_batch_writes_what_a_stream_writes(workers: tuple[str, ...]) -> None:
    """The same records, accounting and dead letters."""
    streamed = ran("m.yaml", "-i", "in.jsonl", "-o", "stream.jsonl")
    done = ran("m.yaml", "-i", "in.jsonl", "-o", "batch.jsonl", "--batch", *workers)
    assert done.code == streamed.code == FAILED
    assert Path("batch.jsonl").read_text() == Path("stream.jsonl").read_text()
    assert sorted(done.out.splitlines()[:6]) == sorted(streamed.out.splitlines()[:6])
    kinds = [sorted(letter["kind"] for letter in lines(Path(f"{way}.jsonl.dead.jsonl"))) for way in ("batch", "stream")]
    assert kinds[0] == kinds[1] == ["failed", "malformed"]


def test_a_batch_shows_the_result_of_each_record() -> None:
    """In the order of the records."""
    done = ran("m.yaml", "--data", json.dumps(RECORDS), "--batch", "--json")
    assert done.code == FAILED
    results = json.loads(done.out)["results"]
    assert [result["final_state"] for result in results] == ["small", "large", "failed", "refused"]
    assert [result["success"] for result in results] == [True, True, False, True]


def test_faults_of_the_file_are_printed_as_check_prints_them() -> None:
    """All of them, each with its place; no record is carried."""
    Path("bad.yaml").write_text("name: m\nstats: {}\nstates: {a: {on_complete: c}, b: {final: true}}\n")
    done = ran("bad.yaml", "-i", "in.jsonl", "-o", "out.jsonl")
    assert done.code == FAILED
    assert "error: bad.yaml:2:1: stats: unknown key; did you mean 'states'?" in done.err
    assert "bad.yaml:3:27" in done.err
    assert not Path("out.jsonl").exists()


def test_python_beside_the_file_needs_trust() -> None:
    """Without it the error names the line and the option; with it the module is imported."""
    Path("run_rules.py").write_text("def twice(record):\n    return {'n': record['n'] * 2}\n")
    state = "{transforms: [{module: run_rules, name: twice}], on_complete: b}"
    Path("p.yaml").write_text(f"name: p\nstates:\n  a: {state}\n  b: {{final: true}}\n")
    refused = ran("p.yaml", "--data", '{"n": 2}')
    assert refused.code == FAILED
    assert "p.yaml:3:" in refused.err
    assert "--trust" in refused.err
    trusted = ran("p.yaml", "--data", '{"n": 2}', "--trust", "--json")
    assert json.loads(trusted.out)["data"] == {"n": 4}


def test_settings_are_the_variables_of_the_file() -> None:
    """One that nothing asks for is refused rather than ignored."""
    looping = (
        "name: l\nmax_transitions: ${MAX}\nstates: {a: {arcs: [{target: b, condition: never}, a]}, b: {final: true}}"
    )
    Path("l.yaml").write_text(looping)
    assert "took 7 arcs" in ran("l.yaml", "--data", '{"never": false}', "--set", "MAX=7").out
    with pytest.raises(Trouble, match="has no") as raised:
        ran("l.yaml", "--data", "{}", "--set", "MAX=7", "--set", "MAXI=7")
    assert raised.value.code == USAGE


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "there are no records"),
        (["--data", "{}", "--input", "in.jsonl"], "both given"),
        (["--input", "in.jsonl", "--batch", "--stream"], "both given"),
        (["--data", "{"], "is not JSON"),
        (["--data", "{}", "--batch"], "is a list of records"),
        (["--data", "{}", "--workers", "2"], "is for many records"),
        (["--data", "{}", "--set", "MAX"], "expected NAME=VALUE"),
        (["--input", "in.jsonl", "--resume"], "--resume is for a stream"),
        (["--input", "in.jsonl", "--output", "-", "--resume"], "was interrupted here"),
    ],
)
def test_a_wrong_command_line_is_said(arguments: list[str], error: str) -> None:
    """With exit code 2 and a remedy."""
    with pytest.raises(Trouble, match=error) as raised:
        ran("m.yaml", *arguments)
    assert raised.value.code == USAGE
    assert raised.value.remedy


@pytest.mark.parametrize("way", [[], ["--batch"]])
def test_input_and_output_that_cannot_be_are_said(way: list[str]) -> None:
    """As a sentence with exit code 1."""
    for source, sink in (
        ("gone.jsonl", "out.jsonl"),
        ("in.jsonl", "out.foo"),
        ("in.jsonl", "in.jsonl/out.jsonl"),
        ("in.jsonl", "sqlite:///none.db#t"),
    ):
        with pytest.raises(Trouble) as raised:
            ran("m.yaml", "-i", source, "-o", sink, *way)
        assert raised.value.code == FAILED


@pytest.mark.parametrize("word", ["def", "async def"])
def test_ctrl_c_leaves_what_is_done_and_resume_goes_on(word: str) -> None:
    """For plain and async functions: it says so, ends with 1, and the resumed stream gives each record once."""
    sleep = "await asyncio.sleep(0.05)" if "async" in word else "time.sleep(0.05)"
    Path("run_slow.py").write_text(
        f"import asyncio, pathlib, time\n{word} wait(record):\n"
        "    if record['n'] >= 4000 and not pathlib.Path('go').exists():\n"
        f"        pathlib.Path('here').touch()\n        {sleep}\n    return record\n"
    )
    state = "{transforms: [{module: run_slow, name: wait}], on_complete: b}"
    Path("s.yaml").write_text(f"name: s\nstates:\n  a: {state}\n  b: {{final: true}}\n")
    Path("n.jsonl").write_text("".join(f'{{"n":{n}}}\n' for n in range(90_000)))
    program = "import typer\nfrom setpoint.cli.run import run\napp = typer.Typer()\napp.command()(run)\napp()\n"
    command = [sys.executable, "-c", program, "s.yaml", "--trust", "-i", "n.jsonl", "-o", "out.jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        give_up = time.monotonic() + 30
        while not Path("here").exists() and time.monotonic() < give_up:
            os.sched_yield()  # at least the first of the chunks before this record is committed by then
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 1, err
    assert "interrupted: what is counted here is kept; --resume goes on from there" in out, err
    assert not Path("out.jsonl").exists()
    Path("go").touch()
    resumed = ran("s.yaml", "--trust", "-i", "n.jsonl", "-o", "out.jsonl", "--resume", "--json")
    assert resumed.code == 0
    report = json.loads(resumed.out)
    assert (report["resumed"], report["read"]) == (True, 90_000)
    assert Path("out.jsonl").read_text() == Path("n.jsonl").read_text()


def test_the_example_runs() -> None:
    """Large orders are discounted, and one that orders nothing is left out."""
    done = ran(EXAMPLES / "orders.yaml", "-i", EXAMPLES / "orders.jsonl", "-o", "priced.jsonl")
    assert done.code == 0
    assert [(order["customer"], order["total"]) for order in lines(Path("priced.jsonl"))] == [
        ("Ada", 60),
        ("Grace", 1800.0),
        ("Barbara", 15.0),
    ]


def test_a_new_machine_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is, without a fault; records take each of its ways. Nothing is overwritten; no module's name is in its way."""
    from setpoint.data.config import problems_of

    new(Kind.machine, "random")
    assert "setpoint run random.yaml" in capsys.readouterr().out
    assert problems_of(Path("random.yaml")) == []
    for amount, end in ((120, "to_approve"), (1, "accepted"), (0, "refused")):
        done = ran("random.yaml", "--data", json.dumps({"customer": "Ada", "amount": amount}), "--json")
        assert json.loads(done.out)["final_state"] == end
    with pytest.raises(Trouble, match="is there already"):
        new(Kind.machine, "random")


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On one line of stderr, which is empty again at the end; nothing of it goes into a pipe."""
    from setpoint.cli.told import Meter

    for terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        meter = Meter()
        meter.batch(3, 10)
        meter.clear()
        assert capsys.readouterr().err == ("\r\033[K3 of 10\r\033[K" if terminal else "")


@pytest.mark.parametrize("way", [(), ("--batch",), ("--dead-letters", "in.jsonl", "--output", "out.jsonl")])
def test_the_input_is_never_written_over(way: tuple[str, ...]) -> None:
    """Records that fail would be gone; by whatever name the file is called."""
    before = Path("in.jsonl").read_text()
    to = () if "--output" in way else ("--output", Path("in.jsonl").absolute())
    with pytest.raises(Trouble, match="would replace what is read") as refused:
        ran("m.yaml", "--input", "in.jsonl", *to, *way)
    assert refused.value.code == USAGE
    assert Path("in.jsonl").read_text() == before


def test_a_resource_with_wrong_settings_is_named_with_its_place() -> None:
    """As setpoint check names it, and no record is carried."""
    Path("wrong.yaml").write_text(
        "name: m\nresources:\n  shop: {type: http, config: {baseurl: http://127.0.0.1}}\nstates: {a: {resources: [shop], final: true}}\n"
    )
    refused = ran("wrong.yaml", "--data", "{}")
    assert refused.code == FAILED
    assert "wrong.yaml:3:" in refused.err
    assert "did you mean 'base_url'?" in refused.err
    assert "no record was carried" in refused.err


def test_what_is_wrong_with_an_end_is_said_once() -> None:
    """Its name is not repeated; of a URL no file is asked for."""
    with pytest.raises(Trouble) as unknown:
        ran("m.yaml", "--input", "in.jsonl", "--output", "out.foo")
    assert unknown.value.error.startswith("--output out.foo: the format cannot be told")
    with pytest.raises(Trouble) as setting:
        ran("m.yaml", "--input", "in.jsonl", "--output", "sqlite:///x.db#t?moed=insert")
    assert "there is no setting 'moed'" in setting.value.error
    assert not setting.value.remedy
    with pytest.raises(Trouble) as nothing:
        ran("m.yaml", "--input", "sqlite:///x.db", "--output", "out.jsonl")
    assert nothing.value.remedy == "sqlite:///x.db#TABLE"


def test_the_accounting_begins_with_what_there_is_most_of() -> None:
    """Always in the same order, whichever record came first."""
    Path("many.jsonl").write_text("".join(json.dumps({"price": price}) + "\n" for price in (60, 1, 2)))
    told = ran("m.yaml", "--input", "many.jsonl", "--output", "out.jsonl").out
    assert told.index("2  written: small") < told.index("1  written: large")


def test_a_new_machine_says_its_own_name() -> None:
    """In its commands and as its name."""
    new(Kind.machine, "order_desk")
    text = Path("order_desk.yaml").read_text()
    assert "setpoint run order_desk.yaml" in text
    assert "name: order_desk\n" in text


def test_a_name_that_is_taken_is_no_new_run() -> None:
    """The record that comes with it is not carried, and that is said."""
    first = ran("m.yaml", "--data", '{"price": 60}', "--name", "one")
    again = ran("m.yaml", "--data", '{"price": 1}', "--name", "one")
    assert (first.err, again.out) == ("", first.out)
    assert "run one is there already" in again.err
