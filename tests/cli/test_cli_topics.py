"""``setpoint topics``: listed, looked for, as a tree, one with its history, and watched until Ctrl-C."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cli.cli_shop import Ran, Running, run_cli, running_shop

from setpoint.cli.topics_shown import nested, rate_text, sparkline
from setpoint.namespace import Message, encode_relational, encode_time_series
from setpoint.namespace.browser import Limits

Capsys = pytest.CaptureFixture[str]
PRESS = "umh.v1.acme.cologne.press-1._raw.motor.speed"
OVEN = "umh.v1.acme.bonn.oven._raw.heat"
ORDER = "umh.v1.acme.cologne._orders.next"


@pytest.fixture(scope="module")
def agent() -> Iterator[Running]:
    with running_shop() as running:
        running.do(running.shop.browser.begin(Limits()))
        told: list[int] = []
        running.shop.browser.listen(lambda messages: told.append(len(messages)))
        wait(lambda: running.shop.browser.following)
        publish(
            running, *[Message(PRESS, encode_time_series(value, 1), {"bridged_by": "press-1"}) for value in (1, 5, 3)]
        )
        publish(
            running, Message(OVEN, encode_time_series("hot\x1b[31m", 1)), Message(ORDER, encode_relational({"id": 7}))
        )
        wait(lambda: sum(told) == 5)
        yield running


def publish(agent: Running, *messages: Message) -> None:
    agent.do(agent.shop.broker.publish(messages))


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(agent: Running, capsys: Capsys, *words: str) -> Ran:
    return run_cli(capsys, "topics", *words, "--url", agent.url)


def listed(ran: Ran) -> list[str]:
    return [line.split()[0] for line in ran.out.splitlines()[1:]]


def test_a_text_is_part_of_the_name_and_wildcards_make_a_pattern(agent: Running, capsys: Capsys) -> None:
    """Without either, all of them, in order, with value, age, rate and count."""
    ran = ask(agent, capsys)
    assert listed(ran) == [OVEN, ORDER, PRESS]
    assert ran.out.splitlines()[0].split() == ["topic", "value", "age", "rate", "messages", "producer"]
    assert listed(ask(agent, capsys, "cologne")) == [ORDER, PRESS]
    assert listed(ask(agent, capsys, "acme.*.press-?.**")) == [PRESS]
    assert listed(ask(agent, capsys, "--meta", "bridged_by=press-1")) == [PRESS]
    assert "\x1b" not in ran.out


def test_what_is_not_there_is_a_negative_answer(agent: Running, capsys: Capsys) -> None:
    """Exit code 1, nothing on stdout but the empty list of JSON."""
    ran = ask(agent, capsys, "nothing")
    assert (ran.code, ran.out) == (1, "")
    assert "there is no such topic" in ran.err
    assert (ask(agent, capsys, "nothing", "--json").out.strip()) == "[]"


def test_a_limit_says_that_there_are_more(agent: Running, capsys: Capsys) -> None:
    """Never a list that looks complete and is not."""
    ran = ask(agent, capsys, "--limit", "2")
    assert (ran.code, listed(ran)) == (0, [OVEN, ORDER])
    assert "more than 2" in ran.err


def test_the_tree_draws_places_and_last_values(agent: Running, capsys: Capsys) -> None:
    """Places with one place below share a line; JSON has every place."""
    ran = ask(agent, capsys, "--tree")
    lines = [re.split(r"(?<=\S)  ", line)[0].rstrip() for line in ran.out.splitlines()]
    assert lines == [
        "acme",
        "├─ bonn.oven._raw.heat",
        "└─ cologne",
        "   ├─ _orders.next",
        "   └─ press-1._raw.motor.speed",
    ]
    assert '{"id": 7}' in ran.out
    assert "\x1b" not in ran.out
    (root,) = json.loads(ask(agent, capsys, "--tree", "--json").out)
    assert [child["name"] for child in root["children"]] == ["bonn", "cologne"]


def test_one_topic_is_shown_with_its_history(agent: Running, capsys: Capsys) -> None:
    """Value, producer, contract, rate and the last values with their course; umh.v1. may be left out."""
    ran = ask(agent, capsys, "show", PRESS.removeprefix("umh.v1."))
    assert ran.code == 0
    for text in (PRESS, "contract  _raw", "producer  press-1", "messages  3", "last 3 ▁█▅"):
        assert text in ran.out, text
    found = json.loads(ask(agent, capsys, "show", PRESS, "--json").out)
    assert [value["value"] for value in found["history"]] == [1, 5, 3]
    ran = ask(agent, capsys, "show", "acme.nothing")
    assert ran.code == 1
    assert "there is no topic 'umh.v1.acme.nothing'" in ran.err


def test_show_alone_is_a_text_like_any_other(agent: Running, capsys: Capsys) -> None:
    """Only with a topic behind it does it mean to show one; options may stand anywhere."""
    publish(agent, Message("umh.v1.acme.showroom._raw.light", encode_time_series(1, 1)))
    wait(lambda: agent.shop.browser.index.get("umh.v1.acme.showroom._raw.light"))
    assert listed(ask(agent, capsys, "show")) == ["umh.v1.acme.showroom._raw.light"]
    assert json.loads(ask(agent, capsys, "--json", "show", PRESS).out)["topic"] == PRESS


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a", "b"], "one pattern, not 2"),
        (["show", "a", "b"], "one pattern, not 3"),
        (["show", "a", "--watch"], "takes no --watch"),
        (["show", "a", "--tree"], "takes no --watch"),
    ],
)
def test_wrong_usage_is_2(agent: Running, capsys: Capsys, words: list[str], says: str) -> None:
    """With what to write instead."""
    ran = ask(agent, capsys, *words)
    assert ran.code == 2
    assert says in ran.err
    assert "→" in ran.err


def test_what_the_agent_refuses_is_said(agent: Running, capsys: Capsys) -> None:
    """A pattern that is none, metadata without a value: one sentence, exit code 1, also when watching."""
    for words in (["a.b**"], ["--meta", "x"], ["a.b**", "--watch"]):
        ran = ask(agent, capsys, *words)
        assert ran.code == 1
        assert ran.err.startswith("setpoint: ")


# watching


@contextmanager
def watching(agent: Running, *words: str, terminal: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, in a pipe or on a terminal."""
    command = [sys.executable, "-m", "setpoint.cli.main", "topics", *words, "--watch", "--url", agent.url]
    out: Any = subprocess.PIPE if terminal is None else terminal
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupted(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    return process.wait(10), said


def keep_publishing(agent: Running, until: Callable[[], bool]) -> None:
    """Write a new value every moment: the watcher sees what comes once it is there."""
    deadline, value = time.monotonic() + 20, 100
    while not until():
        assert time.monotonic() < deadline
        publish(agent, Message(PRESS, encode_time_series(value, 1)), Message(OVEN, encode_time_series(value, 1)))
        value += 1


@pytest.mark.parametrize("json_lines", [False, True])
def test_watching_in_a_pipe_is_a_line_a_change(agent: Running, json_lines: bool) -> None:
    """The moment, the topic and the value, or JSON; Ctrl-C ends it with 0 and without a word."""
    with watching(agent, "press", *(["--json"] if json_lines else [])) as process:
        assert process.stdout is not None
        lines: list[str] = []
        keep_publishing(agent, lambda: bool(select.select([process.stdout], [], [], 0.05)[0]))
        lines = [process.stdout.readline().decode()]
        if json_lines:
            assert json.loads(lines[0])["topic"] == PRESS
        else:
            moment, topic, value = lines[0].rstrip("\n").split("\t")
            assert (moment[-1], topic) == ("Z", PRESS)
            assert int(value) >= 100
        assert interrupted(process) == (0, "")


@pytest.mark.parametrize("words", [[], ["--tree"]])
def test_watching_on_a_terminal_draws_in_place(agent: Running, words: list[str]) -> None:
    """The table or the tree again and again, no wider than the terminal; Ctrl-C ends it with 0."""
    ours, theirs = pty.openpty()
    shown = b""

    def changed() -> bool:
        nonlocal shown
        while select.select([ours], [], [], 0.05)[0]:
            shown += os.read(ours, 65_536)
        return shown.count(b"heat") >= 3 and b"\x1b[" in shown

    with watching(agent, *words, terminal=theirs) as process:
        keep_publishing(agent, changed)
        assert interrupted(process) == (0, "")
    os.close(ours)
    os.close(theirs)
    assert "Ctrl-C ends this" in shown.decode()


def test_an_agent_that_goes_away_ends_the_watching_with_the_reason() -> None:
    """Exit code 1, and what to do."""
    with running_shop() as running:
        running.do(running.shop.browser.begin(Limits()))
        wait(lambda: running.shop.browser.following)
        with watching(running) as process:
            keep = [Message(PRESS, encode_time_series(1, 1))]
            wait(
                lambda: (
                    running.do(running.shop.broker.publish(keep)) and select.select([process.stdout], [], [], 0.05)[0]
                )
            )
            running.do(running.shop.browser.end())
            assert process.wait(10) == 1
            assert process.stderr is not None
            said = process.stderr.read().decode()
            assert "no longer follows the namespace" in said
            assert "Traceback" not in said


# the parts


@pytest.mark.parametrize(
    ("values", "curve"),
    [
        ([1, 2, 3], "▁▅█"),
        ([5, 5], "▁▁"),
        ([1], ""),
        ([1, "a"], ""),
        ([True, False], ""),
        ([-1e308, 1e308], "▁█"),
        ([], ""),
    ],
)
def test_the_course_of_numbers(values: list[Any], curve: str) -> None:
    """Numbers alone have one; extremes of floating point included."""
    assert sparkline(values) == curve


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, ""),
        (1234.5, "1,234/s"),
        (2.0, "2/s"),
        (0.123, "0.123/s"),
        (0.05, "1 in 20 s"),
        (0.001, "1 in 17 min"),
        (0.0, "0"),
    ],
)
def test_rates_read_well(rate: float | None, text: str) -> None:
    """Messages a second, or the time to one message."""
    assert rate_text(rate) == text


def test_a_topic_that_is_a_place_of_others_is_both() -> None:
    """In the tree it has its value and what is below it."""
    (a,) = nested([{"topic": "umh.v1.a"}, {"topic": "umh.v1.a.b"}])
    assert a["topic"] == {"topic": "umh.v1.a"}
    assert a["children"][0]["name"] == "b"
