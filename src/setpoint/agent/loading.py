"""Loading: which configuration is in force, and what became of the file.

A file with any error changes nothing that runs. The last file without one is kept beside the agent's data, so a restart on a bad file
still runs the last good one. Only where there is none (a first start) are the items without error run and the bad ones named. The user's
file is read and never written.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from setpoint.agent.config import Configuration, Problem

Applied = Literal["this file", "the last good file", "the good items of this file", "nothing"]
MAX_BYTES = 10_000_000
SETTLE_S = 1.0
"""Seconds that a file which asks for less than what runs must stay as it is before it is believed."""

log = structlog.get_logger(__name__)


class ProblemView(msgspec.Struct, frozen=True):
    """One problem of the file, as people see it."""

    file: str
    line: int
    column: int
    key: str
    item: str
    message: str
    hint: str
    severity: str
    text: str


class ConfigStatus(msgspec.Struct, frozen=True):
    """What became of the file. `applied` says what runs; `applied_digest` of which text; times are seconds since the epoch."""

    file: str
    ok: bool
    applied: Applied
    read_at: float
    applied_at: float
    digest: str
    applied_digest: str
    problems: list[ProblemView]


class Loader:
    """Reads the file when asked and keeps what is in force. `check` turns text into a configuration with its problems."""

    def __init__(
        self,
        file: Path,
        *,
        last_good: Path,
        check: Callable[[str], Configuration],
        wall: Callable[[], float],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.file = file
        self._last_good = last_good
        self._check = check
        self._wall = wall
        self._pause = pause
        self._text: str | None = None
        self.in_force: Configuration | None = None
        self.status = ConfigStatus(str(file), False, "nothing", 0.0, 0.0, "", "", [])

    def load(self) -> bool:
        """Read the file; True when something new is in force. Never raises for what is in the file, or for its absence."""
        text, trouble = self._read()
        if text is not None and text == self._text:
            return False
        self._text = text
        if text is None:
            self.refuse(trouble)
            return self._fall_back(None) if self.in_force is None else False
        configuration = self._check(text)
        if self._removes(configuration) and not configuration.errors:
            self._pause(SETTLE_S)  # a file that is still being written looks like one from which the rest was deleted
            if self._read()[0] != text:
                self._text = None
                return self.load()
        if configuration.errors:
            self._report(list(configuration.problems), digest=configuration.digest)
            return self._fall_back(configuration) if self.in_force is None else False
        self._keep(text)
        return self._apply(configuration, "this file", list(configuration.problems), configuration.digest)

    def refuse(self, trouble: str) -> None:
        """The file as a whole cannot be used, and why."""
        self._report([Problem(trouble, 1, 1, hint="what runs is left as it is", source=self.file.name)], digest="")

    def _removes(self, configuration: Configuration) -> bool:
        """Whether something that runs is no longer asked for."""
        return self.in_force is not None and not _names(self.in_force) <= _names(configuration)

    def _read(self) -> tuple[str | None, str]:
        try:
            with open(os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return None, "it is not a regular file"
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                return None, f"the file is larger than {MAX_BYTES // 1_000_000} MB"
            return content.decode("utf-8"), ""
        except FileNotFoundError:
            return None, "the file does not exist"
        except UnicodeDecodeError as error:
            return None, f"the file is not UTF-8 text: byte {error.start}"
        except OSError as error:
            return None, f"the file cannot be read: {error.strerror}"

    def _fall_back(self, bad: Configuration | None) -> bool:
        """At a start on a bad file: the last good one if there is one, else the items that are right."""
        problems, digest = list(self.status.problems), self.status.digest
        try:
            last = self._check(self._last_good.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            last = None
        if last is not None and not last.errors:
            self._apply(last, "the last good file", [], digest)
        elif bad is not None and bad.usable:
            self._apply(bad, "the good items of this file", [], digest)
        else:
            return False
        self.status = msgspec.structs.replace(self.status, ok=False, problems=problems, digest=digest)
        return True

    def _apply(self, configuration: Configuration, applied: Applied, problems: list[Problem], digest: str) -> bool:
        self.in_force = configuration
        now = self._wall()
        self.status = ConfigStatus(
            str(self.file),
            True,
            applied,
            now,
            now,
            digest,
            configuration.digest,
            [_view(problem) for problem in problems],
        )
        return True

    def _report(self, problems: list[Problem], *, digest: str) -> None:
        self.status = msgspec.structs.replace(
            self.status,
            ok=False,
            read_at=self._wall(),
            digest=digest,
            problems=[_view(problem) for problem in problems],
        )

    def _keep(self, text: str) -> None:
        """Replace the copy of the last good file in one step. A copy that cannot be written is worth less than the config itself."""
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._last_good.parent, prefix=".last-good-", delete=False
            ) as copy:
                copy.write(text)
                copy.flush()
                os.fsync(copy.fileno())
            os.replace(copy.name, self._last_good)
        except OSError as error:
            log.warning("no copy of the config could be kept for the next start", why=error.strerror)
            for left in self._last_good.parent.glob(".last-good-*"):
                left.unlink(missing_ok=True)


def _names(configuration: Configuration) -> set[tuple[str, str]]:
    return (
        {("bridge", item.name) for item in configuration.bridges}
        | {("flow", item.name) for item in configuration.flows}
        | {("stream_processor", item.name) for item in configuration.stream_processors}
        | {("worker", item.name) for item in configuration.workers}
    )


def _view(problem: Problem) -> ProblemView:
    return ProblemView(
        problem.source,
        problem.line,
        problem.column,
        problem.key,
        problem.item or "",
        problem.message,
        problem.hint,
        problem.severity,
        str(problem),
    )
