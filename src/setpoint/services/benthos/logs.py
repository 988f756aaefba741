"""What the log of a Benthos says: each line with its level, message and component, and which errors still count.

Lines come in two forms, both written by logrus: logfmt (``level=error msg="…" path=root.input``) and JSON. What comes before a logger is
there, is plain text (``Configuration file read error: …``). Anything may be cut: a line that is still being written, one that was rotated
away in its middle, one of a megabyte. What cannot be read is a line without a level, and no error.

An error counts for a window (10 min in UMH Core's contract), and never from before the process began: a restart is a new beginning.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Final, Literal

import msgspec

from setpoint.services.benthos.limits import ERRORS_KEPT, LINE_CHARACTERS, LOG_WINDOW_S

Level = Literal["", "trace", "debug", "info", "warning", "error", "fatal"]

_LEVELS: Final[dict[str, Level]] = {
    "trace": "trace",
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "fatal": "fatal",
    "panic": "fatal",
}
_PAIR: Final = re.compile(r'(?<![\w@.-])([\w@.-]+)=(?:"((?:[^"\\]|\\.)*)"?|(\S*))')
_CUT_PAIR: Final = re.compile(r'"([\w@.-]+)":"((?:[^"\\]|\\.)*)')
"""Of a line in JSON that does not end."""
_ESCAPE: Final = re.compile(r"\\(.)")
FATAL_BEGINNINGS: Final = ("configuration file read error:", "failed to create logger:", "config lint error")
"""Beginnings of lines without a level that are errors, in small letters (contract). Benthos 4.76 writes the last one with a level."""
BAD_WARNINGS: Final = ("failed to", "connection lost", "unable to")
"""In the message of a warning, these make it an error (contract), in whatever case: Bento writes "Failed to send message"."""
CONFIG_WORDS: Final = (
    "configuration file read error",
    "config lint error",
    "unable to infer",
    "service closing due to",
)
"""Errors of the config: they come again however often it is started. The first three are of the contract; the last is what Bento says
when a component cannot be made, such as a resource that does not exist."""
HTTP_WORDS: Final = ("http server error", "bind:")
"""In one line: the port could not be had. Bento goes on without its HTTP server (seen with 1.20)."""


class LogLine(msgspec.Struct, frozen=True):
    """One line. `message` has the details that its logger put beside it; `component` is a label or a path, "" where there is none."""

    level: Level
    message: str
    component: str = ""

    @property
    def error(self) -> bool:
        """Whether the contract counts it as an error."""
        if self.level in ("error", "fatal"):
            return True
        small = self.message.lower()
        if self.level == "warning":
            return any(words in small for words in BAD_WARNINGS)
        return not self.level and small.startswith(FATAL_BEGINNINGS)

    @property
    def config_error(self) -> bool:
        """Whether it says that the config cannot work."""
        small = self.message.lower()
        return self.error and any(words in small for words in CONFIG_WORDS)

    @property
    def port_error(self) -> bool:
        """Whether it says that the HTTP server could not listen."""
        small = self.message.lower()
        return self.error and all(words in small for words in HTTP_WORDS)

    def __str__(self) -> str:
        return f"{self.component}: {self.message}" if self.component else self.message


def parse(line: str) -> LogLine:
    """The line, understood as far as it can be. Never raises; looks at `LINE_CHARACTERS` of it."""
    text = line[:LINE_CHARACTERS].strip()
    fields = _json(text) if text.startswith("{") else _logfmt(text)
    level = _LEVELS.get(fields.get("level", "").lower(), "")
    message = fields.get("msg") or fields.get("message") or ""
    if not level or not message:
        return LogLine("", text)
    details = [fields[key] for key in ("lint", "error", "err") if fields.get(key) and fields[key] not in message]
    return LogLine(level, ": ".join([message.strip(), *details]), fields.get("label") or fields.get("path", ""))


def _json(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return dict(_CUT_PAIR.findall(text))
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _logfmt(text: str) -> dict[str, str]:
    if "level=" not in text:
        return {}
    fields: dict[str, str] = {}
    for key, quoted, bare in _PAIR.findall(text):
        fields.setdefault(key, _unquoted(quoted) if quoted else bare)
    return fields


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), text)


class LogErrors:
    """The errors in one log that still count. `at` and `now` are seconds of the same clock, that of the log's time stamps."""

    def __init__(self, *, window_s: float = LOG_WINDOW_S) -> None:
        self._window = window_s
        self._found: deque[tuple[float, LogLine]] = deque(maxlen=ERRORS_KEPT)

    def add(self, text: str, *, at: float) -> LogLine:
        """A line that was written then. Returns it as understood."""
        line = parse(text)
        if line.error:
            self._found.append((at, line))
        return line

    def forget(self) -> None:
        """Another config, another log: nothing of the old one counts."""
        self._found.clear()

    def found(self, *, now: float, since: float = float("-inf")) -> list[tuple[float, LogLine]]:
        """The errors that count now, oldest first: of the window, and of the process that began at `since`."""
        return [(at, line) for at, line in self._found if at >= since and now - at < self._window]

    def clears_at(self, at: float) -> float:
        """When an error of that time counts no more."""
        return at + self._window
