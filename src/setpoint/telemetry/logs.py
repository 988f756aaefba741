"""Logs: one line an event, for people or for programs, without secrets and without floods.

Every logger of the process ends here, those of structlog and those of the standard library alike, and takes the same way:

    time and level  →  secrets out  →  at most five identical lines a second  →  console or JSON  →  stderr

Two events are identical when logger, level and text are; their fields may differ. What was left out is counted, and the count is written
once the second is over and something else is logged. A log that cannot be written (closed pipe, full disk) is dropped: logging never
stops the program that logs.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from setpoint.secrets import REDACTED, names_a_secret, without_secrets

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]
Event = MutableMapping[str, Any]

_MAX_DEPTH: Final = 8


def configure(*, level: Level = "info", format: Format = "console", stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (stderr by default), from `level` up.

    ``console`` is coloured when the stream is a terminal; ``json`` writes one object a line with ``event``, ``level``, ``logger`` and
    ``timestamp`` (RFC 3339, UTC, milliseconds). May be called again; the last call holds.
    """
    target = stream if stream is not None else sys.stderr
    number = getattr(logging, level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _stamp,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _one_line,
        redact,
        Limiter(),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), structlog.stdlib.ExtraAdder(), *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(format, target)],
    )
    handler = _Handler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Writes a line and flushes; an event that the limiter drops, or that cannot be written, is gone without a word."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except structlog.DropEvent:
            return

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, structlog.DropEvent):
            raise error
        if not isinstance(error, OSError | ValueError):  # ValueError: the stream is closed
            super().handleError(record)


def _one_line(logger: Any, method: str, event: Event) -> Event:
    """Control characters in the text are written as escapes, so that nobody outside can forge a line or move the cursor."""
    text = str(event.get("event", ""))
    event["event"] = text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return event


def _stamp(logger: Any, method: str, event: Event) -> Event:
    now = time.time()
    event["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    return event


def _renderer(format: Format, stream: TextIO) -> Callable[..., str]:
    if format == "json":
        return _lines(structlog.processors.JSONRenderer())
    colours = bool(getattr(stream, "isatty", lambda: False)()) and not os.environ.get("NO_COLOR")
    return _lines(
        structlog.dev.ConsoleRenderer(
            colors=colours, pad_event_to=0, pad_level=False, exception_formatter=structlog.dev.plain_traceback
        )
    )


def _lines(render: Callable[..., Any]) -> Callable[..., str]:
    """The event as a line, after the lines that say what the limiter left out before it."""

    def rendered(logger: Any, method: str, event: Event) -> str:
        before = event.pop("_left_out", [])
        return "\n".join(str(render(logger, method, each)) for each in (*before, event))

    return rendered


def redact(logger: Any, method: str, event: Event) -> Event:
    """Replace what must not be read: values of keys that name a secret, and secrets written inside texts (`setpoint.secrets`)."""
    for key, value in event.items():
        event[key] = _clean(key, value, 0)
    return event


def _clean(key: object, value: Any, depth: int) -> Any:
    if isinstance(key, str) and names_a_secret(key):
        return REDACTED
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return REDACTED if depth > _MAX_DEPTH else {k: _clean(k, v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return REDACTED if depth > _MAX_DEPTH else type(value)(_clean(None, item, depth + 1) for item in value)
    return value


class Limiter:
    """Lets `burst` identical events through in each `window` of seconds, counts the others, and says later how many there were."""

    def __init__(
        self, *, burst: int = 5, window: float = 1.0, keep: int = 1000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._window, self._keep, self._clock = burst, window, keep, clock
        self._seen: OrderedDict[tuple[Any, ...], list[float]] = OrderedDict()  # key: [window began, events in it]
        self._left_out: list[Event] = []

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        """The event, with what was left out before it under ``_left_out``. Raises `DropEvent` for one too many."""
        now = self._clock()
        self._close_windows(now)
        key = (event.get("logger"), event.get("level"), str(event.get("event")))
        entry = self._seen.setdefault(key, [now, 0])
        entry[1] += 1
        if entry[1] > self._burst:
            raise structlog.DropEvent
        if self._left_out:
            event["_left_out"], self._left_out = self._left_out, []
        return event

    def _close_windows(self, now: float) -> None:
        while self._seen:
            key, (began, count) = next(iter(self._seen.items()))
            if now - began < self._window and len(self._seen) <= self._keep:
                return
            del self._seen[key]
            if count > self._burst:
                self._left_out.append(self._summary(key, int(count) - self._burst))

    def _summary(self, key: tuple[Any, ...], count: int) -> Event:
        logger, level, text = key
        summary: Event = {"event": text, "level": level, "logger": logger, "left_out": count}
        return _stamp(None, "", summary)
