"""What a log says: lines of both forms, whole or cut, which of them are errors, and for how long."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.services.benthos import LogErrors, LogLine, parse

LINES = [
    (
        r'level=error msg="Failed to connect to mqtt: dial \"x\"" @service=bento label="" path=root.input',
        LogLine("error", 'Failed to connect to mqtt: dial "x"', "root.input"),
    ),
    (
        '{"@service":"bento","label":"sink","level":"error","msg":"full","path":"root.output"}',
        LogLine("error", "full", "sink"),
    ),
    (
        'level=error msg="Config lint error" @service=bento lint="a.yaml(1,37) expected query"',
        LogLine("error", "Config lint error: a.yaml(1,37) expected query"),
    ),
    ("level=info msg=ready", LogLine("info", "ready")),
    ('time="2026-11-21T18:50:48Z" level=warning msg="slow" path=root', LogLine("warning", "slow", "root")),
    ("Configuration file read error: no such file", LogLine("", "Configuration file read error: no such file")),
    ("a message that went to standard output", LogLine("", "a message that went to standard output")),
    ('{"level":"odd","msg":"x"}', LogLine("", '{"level":"odd","msg":"x"}')),
    ('level=error msg="half a li', LogLine("error", "half a li")),
    ('{"@service":"bento","level":"error","msg":"half a li', LogLine("error", "half a li")),
    ('rror msg="the other half" path=root.input', LogLine("", 'rror msg="the other half" path=root.input')),
    ("[1, 2]", LogLine("", "[1, 2]")),
    ("", LogLine("", "")),
]


@pytest.mark.parametrize(("text", "line"), LINES)
def test_a_line_is_understood_as_far_as_it_can_be(text: str, line: LogLine) -> None:
    """Level, message with its details, and component; what is cut or strange is plain text."""
    assert parse(text) == line


@pytest.mark.parametrize(
    ("text", "error", "config", "port"),
    [
        ("level=error msg=boom", True, False, False),
        ("level=fatal msg=boom", True, False, False),
        ('level=warning msg="Failed to send message: refused"', True, False, False),
        ('level=warn msg="connection lost"', True, False, False),
        ('level=warning msg="a deprecated field"', False, False, False),
        ('level=info msg="failed to is only a word here"', False, False, False),
        ("Configuration file read error: a.yaml: (4,1) unable to infer output type", True, True, False),
        ("Failed to create logger: log format 'x' not recognized", True, False, False),
        ("Config lint error: a.yaml", True, True, False),
        ('level=error msg="Config lint error" lint="x"', True, True, False),
        ('level=error msg="Service closing due to: failed to init output"', True, True, False),
        (
            'level=error msg="HTTP Server error: listen tcp 127.0.0.1:20000: bind: address already in use"',
            True,
            False,
            True,
        ),
        ("the words Config lint error in a message", False, False, False),
    ],
)
def test_errors_are_those_of_the_contract(text: str, error: bool, config: bool, port: bool) -> None:
    """Errors, warnings with certain words, and what is said before there is a logger."""
    line = parse(text)
    assert (line.error, line.config_error, line.port_error) == (error, config, port)


@pytest.mark.parametrize("unit", ["x", '"', "\\", "a=", 'a="', '{"', "level=", '"a":"', "[", "x.", "\u2028"])
def test_a_line_of_a_megabyte_is_read_at_once(unit: str) -> None:
    """Only its beginning is looked at, and no pattern runs away on it."""
    started = time.perf_counter()
    for head in ("level=error ", '{"level":"error",', ""):
        assert len(parse(head + unit * (1_000_000 // len(unit))).message) <= 4_096
    assert time.perf_counter() - started < 1.0


@given(st.text())
def test_no_line_is_an_exception(text: str) -> None:
    """Whatever a program writes."""
    assert parse(text).level in ("", "trace", "debug", "info", "warning", "error", "fatal")


words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1).filter(str.strip)


@given(words)
def test_both_forms_say_the_same(message: str) -> None:
    """A message is the same in logfmt and in JSON."""
    assert parse(f'level=error msg="{message}" path=root') == LogLine("error", message.strip(), "root")
    assert parse(json.dumps({"level": "error", "msg": message, "path": "root"})) == LogLine(
        "error", message.strip(), "root"
    )


def test_errors_clear_after_the_window() -> None:
    """Each when its own time has passed."""
    errors = LogErrors(window_s=600.0)
    errors.add("level=error msg=one", at=1_000.0)
    errors.add("level=info msg=fine", at=1_001.0)
    errors.add("level=error msg=two", at=1_300.0)

    def messages(now: float) -> list[str]:
        return [line.message for _, line in errors.found(now=now)]

    assert messages(1_300.0) == ["one", "two"]
    assert messages(1_600.0) == ["two"]
    assert messages(1_900.0) == []


def test_errors_from_before_the_process_do_not_count() -> None:
    """A restart is a new beginning; so is another config."""
    errors = LogErrors()
    errors.add("level=error msg=old", at=10.0)
    errors.add("level=error msg=new", at=20.0)
    assert [line.message for _, line in errors.found(now=21.0, since=15.0)] == ["new"]
    errors.forget()
    assert errors.found(now=21.0) == []


def test_a_flood_of_errors_costs_no_memory() -> None:
    """The last hundred are enough to say what is wrong."""
    errors = LogErrors()
    for number in range(10_000):
        errors.add(f"level=error msg={number}", at=float(number) / 1000)
    found = errors.found(now=10.0)
    assert len(found) == 100
    assert found[-1][1].message == "9999"
