"""``setpoint scenario``: what it prints, how it ends, and that Ctrl-C ends it in order."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
import typer
from typer.testing import CliRunner

from setpoint.cli.scenario import scenario
from setpoint.cli.trouble import Trouble
from setpoint.testing.scenarios import NAMES

APP = typer.Typer()
APP.command()(scenario)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """The command configures the logs of its process, which is also that of other tests."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**config)


def ran(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error output."""
    result = CliRunner().invoke(APP, arguments)
    if isinstance(result.exception, Trouble):
        return result.exception.code, "", f"{result.exception.error}; {result.exception.remedy}"
    return result.exit_code, result.stdout, result.stderr


def test_the_list_has_every_scenario_and_what_it_shows() -> None:
    """A line each; as JSON for programs."""
    code, out, _ = ran("--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(NAMES)
    code, out, _ = ran("--list", "--json")
    assert all(each["shows"] and each["seconds"] > 0 for each in json.loads(out))


def test_it_tells_the_story_live_and_the_verdict_at_the_end() -> None:
    """A line a transition with the mark of its phase, then what was expected, ticked or crossed."""
    code, out, _ = ran("simple", "--virtual")
    assert code == 0
    assert "plant/line-1/filler      ● up" in out
    assert "✓ the line runs only once both stations do" in out
    assert "simple: 9 expectations, all met" in out


def test_a_story_that_is_cut_short_ends_with_1() -> None:
    """What it did not come to was not shown."""
    code, out, _ = ran("cascade", "--virtual", "--duration", "1500ms")
    assert code == 1
    assert "✗ the story came to its end: it was cut short, its 1.5 s were over" in out


@pytest.mark.parametrize("duration", ["-5s", "soon", "5 parsecs", "0", "1e3"])
def test_a_duration_that_is_none_is_wrong_usage(duration: str) -> None:
    """Negative, no number, an unknown unit, endless on virtual time: exit code 2, with what to write instead."""
    code, out, err = ran("simple", "--virtual", "--duration", duration)
    assert (code, out) == (2, "")
    assert err


def test_an_unknown_or_missing_name_is_wrong_usage() -> None:
    """With the nearest name, or where the names are."""
    assert ran("simpel")[0] == 2
    assert "did you mean 'simple'" in ran("simpel")[2]
    assert ran()[0] == 2
    assert "--list" in ran()[2]


def test_json_is_all_there_is_on_standard_output() -> None:
    """One object: the verdict, the checks, the transitions; the store where it was asked for."""
    code, out, _ = ran("simple", "--virtual", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["ok"]
    assert report["checks"][0] == {"text": "plant/line-1 is running within 5 s", "ok": True, "found": "after 0.6 s"}
    assert {"at", "path", "event", "source", "target", "phase", "reason"} <= set(report["moves"][0])
    assert "store" not in report
    assert set(json.loads(ran("simple", "--virtual", "--json", "--dump-store")[1])["store"]) == {
        "plant/line-1",
        "plant/line-1/capper",
        "plant/line-1/filler",
    }


def test_the_store_is_dumped_as_json_beside_the_story() -> None:
    """The dump is the standard output, to be piped on; the story goes to the standard error output."""
    code, out, err = ran("simple", "--virtual", "--dump-store")
    assert code == 0
    line = json.loads(out)["plant/line-1"]
    assert line["state"]["value"]["state"] == "stopped"
    assert line["history"][-1]["target"] == "stopped"
    assert "all met" in err


def test_a_trace_shows_the_guards_behind_each_decision() -> None:
    """What was decided, and each way out with its guards."""
    _, out, _ = ran("simple", "--virtual", "--trace")
    assert "in starting: stays, waiting for stations_run" in out
    assert "✗ stations_run: all stations run" in out


def begin(*arguments: str) -> subprocess.Popen[str]:
    program = "import typer\nfrom setpoint.cli.scenario import scenario\ntyper.run(scenario)"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.real
def test_the_first_ctrl_c_stops_in_order() -> None:
    """In real time: its workers are stopped, the verdict is printed, and it ends with 1 because the story was not told to its end."""
    process = begin("disable")
    assert process.stdout is not None
    while "● up" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "it was told to stop" in out
    assert "✓ told to stop, every worker stops within its budget" in out
    assert "stopping; once more to stop at once" in err


@pytest.mark.real
def test_the_second_ctrl_c_stops_at_once() -> None:
    """Whatever its workers still do."""
    process = begin("timeout")
    assert process.stdout is not None
    while "◐ connecting" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "once more" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 5
    assert "stopped at once" in err
    assert "expectations" not in out


@pytest.mark.real
def test_in_real_time_it_is_the_same_story() -> None:
    """The same expectations, met by real clocks."""
    process = begin("simple")
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, out
    assert "simple: 9 expectations, all met" in out
