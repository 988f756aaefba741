"""Logs: one line an event, for people or for programs, without secrets and without floods.

Every logger of the process ends here, those of structlog and those of the standard library alike, and takes the same way:

    time and level  →  secrets out  →  five alike, then one a minute  →  console or JSON  →  stderr

A peer that flaps for days must not fill the disk. Of events that are alike the first five are written, and while they keep coming one a
minute, with how many were left out before it (``left_out``). Alike are events of the same logger, level and text, about the same worker
(``path``) or problem, with an exception of the same type or none; their other fields may differ. Once none has come for a minute, the
last one that was left out is written after all, as it was and with its own time, and the next begins anew. So no kind of event ever goes
unseen, each one is either written or counted, and the last word on every worker is in the log: a text like ``press: up → failed`` is that
worker's, and other workers' texts have no part in its budget. What is to be written late is written with the next event of any kind;
an agent's heartbeat sees to it that one comes.

A log that cannot be written (closed pipe, full disk) is dropped: logging never stops the program that logs.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TextIO

import structlog

from setpoint.secrets import REDACTED, names_a_secret, without_secrets

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]
Event = MutableMapping[str, Any]

_MAX_DEPTH: Final = 8
_ALIKE: Final = ("logger", "level", "event", "path", "problem")
_LATE: Final = "_late"


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
    """The event as a line, after those that the limiter had held back."""

    def rendered(logger: Any, method: str, event: Event) -> str:
        before = event.pop(_LATE, [])
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


@dataclass(slots=True)
class _Series:
    """Events that are alike, each within the pause after the one before."""

    came: int = 0
    came_at: float = 0.0
    written_at: float = 0.0
    left_out: int = 0  # since one was written
    last: Event | None = None  # the last one left out


class Limiter:
    """Lets the first `burst` of events that are alike through, then one for each `pause` of seconds, and counts the others.

    Remembers `keep` kinds of events at most. For use as a processor of structlog, after those that make texts.
    """

    def __init__(
        self, *, burst: int = 5, pause: float = 60.0, keep: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._pause, self._keep, self._clock = burst, pause, keep, clock
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()  # the one that came last is at the end
        self._late: list[Event] = []

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        """The event, with those that are written late under a key of their own. Raises `DropEvent` for one too many."""
        now = self._clock()
        self._end_series(now)
        kind = _kind(event)
        series = self._series.setdefault(kind, _Series())
        self._series.move_to_end(kind)
        series.came += 1
        series.came_at = now
        if series.came > self._burst and now - series.written_at < self._pause:
            series.left_out += 1
            series.last = {
                key: value for key, value in event.items() if not key.startswith("_")
            }  # nothing of structlog's
            raise structlog.DropEvent
        series.written_at = now
        if series.left_out:
            event["left_out"] = series.left_out
            series.left_out, series.last = 0, None
        if self._late:
            event[_LATE], self._late = self._late, []
        return event

    def _end_series(self, now: float) -> None:
        """Forget what has not come for the pause, or is too much to remember; the last one left out of it is written after all."""
        while self._series:
            kind, series = next(iter(self._series.items()))
            if now - series.came_at < self._pause and len(self._series) <= self._keep:
                return
            del self._series[kind]
            if series.last is not None:
                before = {"left_out": series.left_out - 1} if series.left_out > 1 else {}
                self._late.append({**series.last, **before})


def _kind(event: Event) -> tuple[str, ...]:
    """What two events that are alike have in common."""
    told = str(event.get("exception", "")).rstrip()
    error = told[told.rfind("\n") + 1 :].partition(":")[0]
    return (*(str(event.get(key, "")) for key in _ALIKE), error)
