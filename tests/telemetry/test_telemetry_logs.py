"""Logs: formats, secrets, floods and streams that fail."""

import io
import json
import logging
from collections.abc import Iterator

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


@given(st.integers(1, 40), st.integers(1, 10))
def test_every_event_is_either_written_or_counted(count: int, burst: int) -> None:
    """However many identical events come in a second: lines written plus events counted is what came."""
    now = [0.0]
    limiter = Limiter(burst=burst, clock=lambda: now[0])
    written = 0
    for _ in range(count):
        try:
            limiter(None, "", {"event": "flood", "level": "info"})
            written += 1
        except structlog.DropEvent:
            pass
    assert written == min(count, burst)
    now[0] = 1.5
    after = limiter(None, "", {"event": "other", "level": "info"})
    counted = sum(event["left_out"] for event in after.get("_left_out", []))
    assert written + counted == count


def test_the_limiter_forgets_texts_it_has_not_seen_for_a_while() -> None:
    """A million different texts do not fill the memory."""
    limiter = Limiter(keep=10, clock=lambda: 0.0)
    for number in range(1000):
        limiter(None, "", {"event": f"text {number}"})
    assert len(limiter._seen) <= 11


def test_the_count_is_a_line_of_its_own() -> None:
    """What was left out is written before the next event, as one line with the number."""
    stream = io.StringIO()
    configure(format="json", stream=stream)
    log = structlog.get_logger("x")
    for _ in range(7):
        log.info("flood")
    limiter = next(p for p in structlog.get_config()["processors"] if isinstance(p, Limiter))
    limiter._clock = lambda: float("inf")
    log.info("other")
    assert [(line["event"], line.get("left_out")) for line in json_lines(stream)][-2:] == [
        ("flood", 2),
        ("other", None),
    ]


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
