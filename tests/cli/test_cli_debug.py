"""``setpoint debug``: a record moved by hand, from a terminal and from a pipe; traces and profiles."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from setpoint.cli.debug import debug
from setpoint.cli.debug_session import COMMANDS, Session
from setpoint.cli.trouble import FAILED, USAGE, Trouble

PAGE = (Path(__file__).parents[2] / "docs" / "debugging.md").read_text(encoding="utf-8")
SHOP = re.findall(r'SHOP = """\n(.*?)"""', PAGE, re.DOTALL)[0]
RECORD = '{"price": 50, "quantity": 3}'
app = typer.Typer()
app.command()(debug)


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def ran(*arguments: object, stdin: str = "") -> Ran:
    result = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def typed(*commands: str, record: str = RECORD, options: tuple[str, ...] = ()) -> Ran:
    """What these commands print, from a pipe."""
    return ran("shop.yaml", "--data", record, *options, stdin="".join(f"{command}\n" for command in commands))


def after(command: str, ran: Ran) -> str:
    """What was printed after a command, at its last occurrence."""
    return ran.out.split(f"debug> {command}\n")[-1].split("debug> ")[0]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("shop.yaml").write_text(SHOP)
    Path("in.jsonl").write_text("".join(f'{{"price": {n}, "quantity": 3}}\n' for n in range(50)))


def test_the_session_on_the_page_is_what_it_prints() -> None:
    """Line by line, but for how long it took."""
    (session,) = re.findall(r"```text\n\$ setpoint debug (?:.*?)\n(.*?)```", PAGE, re.DOTALL)
    commands = re.findall(r"^debug> (.*)$", session, re.MULTILINE)
    printed = re.sub(r", after [\d.e+]+ .?s", "", typed(*commands).out)
    assert [line.rstrip() for line in printed.splitlines()] == session.splitlines()


def test_the_command_lines_on_the_page_work() -> None:
    """As they stand there."""
    Path("orders.jsonl").write_text(Path("in.jsonl").read_text())
    lines = re.findall(r"^\$ setpoint debug (.* --profile.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        assert ran(*shlex.split(line)).code == 0
    assert Path("profile.txt").exists()
    assert Path("profile.json").exists()


def test_the_commands_on_the_page_are_those_there_are() -> None:
    """Names and short forms, and all are in help."""
    table = PAGE.partition("| command | short |")[2].partition("## In a program")[0]
    names = set(re.findall(r"`([a-z]{2,}) ?[^`]*`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))))
    assert names == {command.name for command in COMMANDS}
    shown = typed("help").out
    for command in COMMANDS:
        assert re.search(rf"^{command.name} +{command.short}", shown, re.MULTILINE)
    assert max(map(len, after("help", typed("help")).splitlines())) <= 100


def test_an_empty_line_does_the_last_command_again() -> None:
    """As often as it is given."""
    assert "3 ▶ invoiced" in typed("s", "", "").out


def test_nothing_that_is_typed_ends_the_session() -> None:
    """What is wrong is said, the next command is read; from a pipe the exit code is 1."""
    wrong = (
        "frob", "re", "p total +", "p nothing", "p __import__('os')", "p", "watch 1 +", "break nowhere", "break received if )",
        "clear 9", "clear x", "goto 99", "goto", "diff x", "set", "set price.x = 1", "set price = nothing", "n x", "back",
        "forth", "unwatch y", "send", "send approved", "back 0",
    )  # fmt: skip
    shown = typed(*wrong, "p price")
    assert shown.code == FAILED
    for command in wrong:
        assert after(command, shown).startswith("✗ "), command
    assert after("p price", shown) == "50\n"
    assert "there is no command 'frob'" in shown.out
    assert "'re' may be restart or record" in shown.out
    assert typed("p price").code == 0


def test_a_record_is_moved_looked_at_and_changed() -> None:
    """With breakpoints and watches from the command line or typed."""
    shown = typed(
        "c", "where", "tokens", "record", "set gross = gross * 2", "break", "br invoiced", "c", "clear 2", "n", "diff 0",
        "moments", "goto 1", "watch",
        options=("--break", "pricing:rounded if gross > 10", "--watch", "gross"),
    )  # fmt: skip
    assert shown.code == 0
    assert after("c", typed("c", options=("-b", "received->gift"))).startswith("  4 ■ invoiced")
    assert after("c", typed("c", options=("-b", "pricing:rounded if gross > 10", "-w", "gross"))).splitlines() == [
        "  2 ▶ pricing:rounded  breakpoint 1", "      - price", "      - quantity", "      + net = 150", "      + gross = 225.0",
        "      gross: not there → 225.0",
    ]  # fmt: skip
    assert "pushed by received -> invoiced\n      received → pricing:taxed\n" in after("where", shown)
    assert json.loads(after("record", shown)) == {"net": 150, "gross": 225.0}
    assert after("break", shown) == "  1 pricing:rounded if gross > 10  1 hits\n"
    assert "3 ▶ invoiced  breakpoint 2" in shown.out
    assert after("diff 0", shown) == "+ total = 450.0\n"
    assert after("moments", shown).count("\n") == 5


def test_a_record_that_waits_is_sent_its_event() -> None:
    """It stands there, and says for what."""
    Path("wait.yaml").write_text(
        "name: wait\nstates:\n  review: {arcs: [{target: done, event: approved}]}\n  done: {final: true}\n"
    )
    shown = ran("wait.yaml", "--data", "{}", stdin='n\narcs\nsend approved {"by": "Ada"}\nn\nrecord\n')
    assert "◌ waiting  review waits for approved" in shown.out
    assert json.loads(shown.out.partition("record\n")[2]) == {"approved": {"by": "Ada"}}


def test_errors_and_retries_are_shown_where_they_happen() -> None:
    """Those that an arc caught, too; text from a record cannot play with the terminal."""
    Path("bad.yaml").write_text(
        "name: bad\nstates:\n  a: {transforms: [{set: {b: x + 1}}], retry: {attempts: 2}, arcs: [z], on_error: z}\n  z: {final: true}\n"
    )
    shown = ran("bad.yaml", "--data", '{"n": "\\u001b[2J"}', stdin="n\nn\nrecord\np n\n")
    assert "! a: ExpressionError: x + 1: there is no 'x' among n: tried again after 0 ns" in shown.out
    assert "! a: ExpressionError: x + 1: there is no 'x' among n (attempt 2)" in shown.out
    assert "\x1b" not in shown.out


def test_a_trace_shows_all_that_happened() -> None:
    """For people in 80 columns, for programs as JSON Lines; the exit code says whether the record succeeded."""
    shown = ran("shop.yaml", "--data", RECORD, "--trace")
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert [line.split()[2] for line in shown.out.splitlines() if not line.startswith("    " * 5)] == [
        "start", "enter", "exit", "arc", "enter", "exit", "arc", "enter", "exit", "enter", "exit", "end"
    ]  # fmt: skip
    assert "+ gross = 225.0" in shown.out
    lines = ran("shop.yaml", "--input", "in.jsonl", "--record", 50, "--trace", "--json").out.splitlines()
    assert json.loads(lines[1])["after"] == {"price": 49, "quantity": 3}
    failed = ran("shop.yaml", "--data", '{"price": 1}', "--trace")
    assert failed.code == FAILED
    assert "there is no 'quantity' among price" in failed.out


def test_a_profile_is_of_one_record_or_of_all() -> None:
    """As a table, as data, and as files for viewers."""
    shown = ran("shop.yaml", "--input", "in.jsonl", "--profile", "--flame", "flame.txt")
    assert shown.code == 0
    assert re.search(r"^received +50 ", shown.out, re.MULTILINE)
    assert shown.out.endswith("50 records, 0 failed\n")
    for line in Path("flame.txt").read_text().splitlines():
        assert re.fullmatch(r"shop(;[^;]+)* \d+", line)
    data = json.loads(ran("shop.yaml", "--data", RECORD, "--profile", "--json", "--flame", "flame.json").out)
    assert data["runs"] == 1
    assert {row["place"] for row in data["places"]} >= {"received", "pricing:taxed -> rounded"}
    assert json.loads(Path("flame.json").read_text())["profiles"][0]["unit"] == "nanoseconds"
    assert ran("shop.yaml", "--data", "{}", "--profile").code == FAILED
    with pytest.raises(Trouble, match=r"--flame .*: No such file"):
        ran("shop.yaml", "--data", RECORD, "--profile", "--flame", "none/flame.txt")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ((), "there is no record"),
        (("--data", "{}", "--input", "in.jsonl"), "both given"),
        (("--data", "{}", "--record", "2"), "--record is for --input"),
        (("--data", "{}", "--trace", "--profile"), "both given"),
        (("--data", "{}", "--json"), "--json is for"),
        (("--data", "{}", "--flame", "f"), "--flame is for"),
        (("--data", "{}", "--trace", "--break", "gift"), "for the prompt"),
        (("--input", "-"), "commands come from stdin"),
        (("--data", "{"), "--data is not JSON"),
        (("--data", "{}", "--break", "nowhere"), "has no state 'nowhere'"),
        (("--data", "{}", "--watch", "1 +"), "not an expression"),
        (("--data", "{}", "--set", "X=1"), "has no"),
    ],
)
def test_a_wrong_command_line_is_refused(options: tuple[str, ...], fault: str) -> None:
    """With exit code 2, before anything runs."""
    with pytest.raises(Trouble, match=fault) as trouble:
        ran("shop.yaml", *options)
    assert trouble.value.code == USAGE


def test_a_record_that_is_not_there_and_a_file_with_faults_are_said() -> None:
    """The first with how many there are, the second as ``setpoint check`` says it."""
    with pytest.raises(Trouble, match=r"--record 51: in[.]jsonl has 50 records"):
        ran("shop.yaml", "--input", "in.jsonl", "--record", 51)
    with pytest.raises(Trouble, match=r"none[.]jsonl"):
        ran("shop.yaml", "--input", "none.jsonl")
    Path("bad.yaml").write_text("name: bad\nstates: {a: {arcs: [nowhere]}}\n")
    assert ran("bad.yaml", "--data", "{}").code == FAILED


class Terminal:
    """The program at a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._main, worker = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}
        command = [sys.executable, "-m", "setpoint.cli.main", "debug", *arguments]
        self.process = subprocess.Popen(
            command, stdin=worker, stdout=worker, stderr=worker, env=environment, start_new_session=True
        )
        os.close(worker)
        self.shown = ""

    def see(self, text: str, *, interrupt: bool = False) -> None:
        """Wait until this is shown; sending Ctrl-C's signal now and then: readline does not see one that comes while it reads a key."""
        end = time.monotonic() + 30
        while text not in self.shown:
            assert time.monotonic() < end, f"no {text!r} in {self.shown!r}"
            if interrupt:
                os.kill(self.process.pid, signal.SIGINT)
            if select.select([self._main], [], [], 0.3)[0]:
                try:
                    self.shown += os.read(self._main, 4096).decode()
                except OSError:
                    assert text in self.shown, f"ended, and no {text!r} in {self.shown!r}"
        self.shown = self.shown.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._main)


SLOW = """
name: slow
states:
  a: {transforms: ["slow:sleeps"], on_complete: b}
  b: {final: true}
"""


SLEEPS = """
import time
def sleeps(record):
    print("asleep", flush=True)
    time.sleep(0 if "quick" in record else 60)
    return record
"""


def test_at_a_terminal_control_c_breaks_off_a_command_and_control_d_leaves() -> None:
    """The run stands where it stood, the session goes on; a line that is being typed is thrown away."""
    Path("slow.yaml").write_text(SLOW)
    Path("slow.py").write_text(SLEEPS)
    terminal = Terminal("slow.yaml", "--data", "{}", "--trust")
    try:
        terminal.see("debug> ")
        terminal.type("n\n")
        terminal.see("asleep")
        terminal.see("interrupted: the run stands at moment 0", interrupt=True)
        terminal.see("debug> ")
        terminal.type("set quick = true\n")
        for text in ("\nquick = true", "debug> "):
            terminal.see(text)
        terminal.type("frob")
        terminal.see("frob")
        terminal.see("quit or Ctrl-D leaves", interrupt=True)
        terminal.see("debug> ")
        terminal.type("n\n")
        for text in ("\x1b[1;36m▶ b", "debug> "):
            terminal.see(text)
        terminal.type("\x04")
        assert terminal.process.wait(20) == 0
    finally:
        terminal.close()


def test_every_command_is_done_by_something() -> None:
    """The list and the code say the same."""
    done = {name.removeprefix("do_") for name in dir(Session) if name.startswith("do_")}
    assert done == {command.name for command in COMMANDS} - {"quit"}
