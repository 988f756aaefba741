"""Logs: formats, secrets, floods and streams that fail."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from setpoint.telemetry import configure
from setpoint.telemetry.logs import REDACTED, Limiter, redact


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_is_one_object_a_line_with_time_level_and_logger() -> None:
    """A program that reads the log gets one object an event, whatever the texts contain."""
    stream = io.StringIO()
    configure(format="json", stream=stream)
    structlog.get_logger("setpoint.x").warning("two\nlines", figure=3, huge=2**80)
    (line,) = json_lines(stream)
    assert line["event"] == "two\\nlines"
    assert (line["level"], line["logger"], line["figure"]) == ("warning", "setpoint.x", 3)
    assert str(line["timestamp"]).endswith("Z")
    assert len(str(line["timestamp"])) == len("2026-01-01T00:00:00.000Z")


def test_console_has_no_colour_where_there_is_no_terminal() -> None:
    """A log that goes to a file or pipe is plain text."""
    stream = io.StringIO()
    configure(format="console", stream=stream)
    structlog.get_logger("setpoint.x").info("started", port=8080)
    assert "\x1b" not in stream.getvalue()
    assert "started" in stream.getvalue()
    assert "port=8080" in stream.getvalue()


def test_nobody_forges_a_line() -> None:
    """Control characters from outside are shown as escapes: no second line, no cursor movement."""
    stream = io.StringIO()
    configure(format="console", stream=stream)
    structlog.get_logger("x").info("hello\n2026 [info] all is well\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_loggers_of_libraries_take_the_same_way() -> None:
    """What a library logs through the standard library has the same shape and is redacted as well."""
    stream = io.StringIO()
    configure(format="json", stream=stream)
    logging.getLogger("some.library").error("login as %s with password=%s failed", "bob", "hunter2")
    (line,) = json_lines(stream)
    assert line["logger"] == "some.library"
    assert "hunter2" not in stream.getvalue()


def test_events_below_the_level_are_not_written() -> None:
    """The level is a floor for both kinds of loggers."""
    stream = io.StringIO()
    configure(level="warning", format="json", stream=stream)
    structlog.get_logger("x").info("no")
    logging.getLogger("y").info("no")
    structlog.get_logger("x").warning("yes")
    assert [line["event"] for line in json_lines(stream)] == ["yes"]


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "API-Key", "apikey", "Authorization", "auth_token", "client_secret", "Set-Cookie"],
)
def test_secrets_are_found_by_their_key_at_any_depth(key: str) -> None:
    """A value under a key that names a secret never reaches the log, however deep it lies."""
    event = redact(None, "", {"event": "e", "config": {"list": [{key: "s3cret"}]}, key: "s3cret"})
    assert event == {"event": "e", "config": {"list": [{key: REDACTED}]}, key: REDACTED}


@pytest.mark.parametrize(
    "text",
    [
        "postgres://bob:s3cret@db/x",
        "Authorization: Bearer s3cret",
        "password=s3cret&x=1",
        "token: s3cret",
        "api_key = s3cret",
    ],
)
def test_secrets_inside_texts_are_found(text: str) -> None:
    """URLs with a password and ``key=value`` texts lose the value and keep the rest."""
    event = redact(None, "", {"event": text})
    assert "s3cret" not in event["event"]
    assert REDACTED in event["event"]


def test_the_traceback_of_an_exception_is_redacted_too() -> None:
    """An exception's text is text like any other, and local variables are never shown."""
    stream = io.StringIO()
    configure(format="console", stream=stream)
    hidden = "local-s3cret"
    try:
        raise ValueError(f"cannot log in with password={hidden}")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    assert "ValueError" in stream.getvalue()
    assert hidden not in stream.getvalue()


class Time:
    """A clock that the tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(limiter: Limiter, **event: object) -> list[dict[str, object]]:
    """What is written when this event comes: nothing, or what was late and the event."""
    try:
        written = limiter(None, "", {"level": "info", "logger": "x", **event})
    except structlog.DropEvent:
        return []
    return [*written.pop("_late", []), dict(written)]


KINDS = ("up → down", "down → up", "up → failed")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0.0, 90.0))), st.integers(1, 7), st.integers(1, 4))
def test_every_event_is_written_or_counted_and_the_last_of_its_kind_is_written(
    story: list[tuple[str, float]], burst: int, keep: int
) -> None:
    """However they come: lines plus counts are what came, and the log's last word of each kind is the true one."""
    time = Time()
    limiter = Limiter(burst=burst, keep=keep, clock=time)
    came: dict[str, list[int]] = {kind: [] for kind in KINDS}
    lines: list[dict[str, object]] = []
    for number, (kind, pause) in enumerate(story):
        time.now += pause
        came[kind].append(number)
        lines += passed(limiter, event=kind, number=number)
    time.now += 61.0
    lines += passed(limiter, event="heartbeat")
    for kind, numbers in came.items():
        mine = [line for line in lines if line["event"] == kind]
        assert sum(1 + int(str(line.get("left_out", 0))) for line in mine) == len(numbers)
        assert [line["number"] for line in mine] == sorted({line["number"] for line in mine})
        assert [line["number"] for line in mine][-1:] == numbers[-1:]


def test_a_peer_that_flaps_for_a_day_writes_one_line_a_minute_and_kind() -> None:
    """Twice a second for a day: 172,800 events become a line a minute, each with the number of those before it."""
    time = Time()
    limiter = Limiter(clock=time)
    lines = []
    for second in range(86_400):
        time.now = float(second)
        lines += passed(limiter, event="press: up → down") + passed(limiter, event="press: down → up")
    assert len(lines) <= 2 * (5 + 24 * 60)
    assert lines[-1]["left_out"] == 59


def test_a_failure_amid_a_flood_of_others_is_written_at_once() -> None:
    """Budgets are of a kind: what floods the log takes nothing from a transition that comes for the first time."""
    limiter = Limiter(clock=Time())
    for _ in range(1000):
        passed(limiter, event="press-1: up → down")
    assert [line["event"] for line in passed(limiter, event="press-2: up → failed")] == ["press-2: up → failed"]


def test_the_end_of_a_flapping_is_written_as_it_was() -> None:
    """The last event left out comes after all, with its own fields, once there has been peace for a minute."""
    time = Time()
    limiter = Limiter(clock=time)
    for second in range(30):
        time.now = float(second)
        passed(limiter, event="press: up → down", reason=f"reason {second}", timestamp=f"12:00:{second:02}")
    time.now = 80.0
    assert [line["event"] for line in passed(limiter, event="heartbeat")] == ["heartbeat"]
    time.now = 90.0
    late, beat = passed(limiter, event="heartbeat")
    assert (late["reason"], late["timestamp"], late["left_out"]) == ("reason 29", "12:00:29", 24)
    assert beat["event"] == "heartbeat"


@pytest.mark.parametrize(
    "other",
    [
        {"path": "agent/b"},
        {"problem": "config.yaml:7: unknown key"},
        {"level": "error"},
        {"logger": "y"},
        {"exception": "Traceback (most recent call last):\n  ...\nValueError: a"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_an_event_is_about_is_part_of_its_kind(other: dict[str, str]) -> None:
    """Forty problems of a config, or forty workers that did not stop, are forty lines."""
    limiter = Limiter(clock=Time())
    same = {"event": "it happened", "path": "agent/a"}
    for _ in range(9):
        passed(limiter, **same)
    assert passed(limiter, **same, detail="another") == []
    assert len(passed(limiter, **{**same, **other})) == 1


def test_errors_are_told_apart_by_their_type_not_their_text() -> None:
    """A traceback that names another address or number each time is still the same error."""
    limiter = Limiter(clock=Time())
    told = [len(passed(limiter, event="failed", exception=f"...\nOSError: port {port}")) for port in range(9)]
    assert told == [1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_the_limiter_forgets_texts_it_has_not_seen_for_a_while() -> None:
    """A million different texts do not fill the memory."""
    limiter = Limiter(keep=10, clock=lambda: 0.0)
    for number in range(1000):
        limiter(None, "", {"event": f"text {number}"})
    assert len(limiter._series) <= 11


@pytest.mark.parametrize("logger", [structlog.get_logger("x"), logging.getLogger("x")], ids=["ours", "a library's"])
def test_what_is_late_is_a_line_of_its_own(logger: Any) -> None:
    """It is written before the next event, whole, whichever way it came."""
    stream = io.StringIO()
    configure(format="json", stream=stream)
    limiter = next(p for p in structlog.get_config()["processors"] if isinstance(p, Limiter))
    limiter._clock = time = Time()
    for _ in range(7):
        logger.warning("flood")
    time.now = 61.0
    logger.warning("other")
    late, other = json_lines(stream)[-2:]
    assert (late["event"], late["left_out"], late["level"], late["logger"]) == ("flood", 1, "warning", "x")
    assert other["event"] == "other"
    assert set(late) == set(other) | {"left_out"}


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    """A full disk or closed pipe behind the log is no reason for the program to fail."""
    configure(format="json", stream=FullDisk())
    structlog.get_logger("x").error("lost")
    closed = io.StringIO()
    configure(format="json", stream=closed)
    closed.close()
    structlog.get_logger("x").error("lost")
