"""What is asked of one process: plain data, checked when it is made.

A process runs in the foreground, as the leader of a session and group of its own, in a folder of its own that holds `files`. Its output and
its errors go to its log. It is stopped by `stop_signal`, and by SIGKILL after `stop_timeout_s`; what is left of its group when it has ended
is killed. Of the agent's environment it sees only what any program needs (`INHERITED`), so that secrets of the agent stay there.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from setpoint.services.processes.formats import MARK

INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""What processes see of the environment of the agent that started the tree."""
MAX_NAME: Final = 200
"""Bytes of a name: folders of that name, and what s6 adds to it, must be possible."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProcessError(Exception):
    """A process could not be managed; the text says which, why, and what to do."""


class ReadyCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that succeeds once the process can be used. It is run every `interval_s` until it does, and ended after `timeout_s`."""

    command: tuple[str, ...]
    interval_s: float = 0.2
    timeout_s: float = 2.0


class ProcessSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One process. Raises `ProcessError` where a value cannot work, naming all of them.

    `ready` tells how it says that it can be used: not at all (it is ready as soon as it runs), by a newline on file descriptor 3
    (``notify``), or by a command that succeeds. `log_bytes` and `log_files` bound the log on the disk: a current file and so many older
    ones of so many bytes.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    ready: Literal["notify"] | ReadyCheck | None = None
    restart: Literal["always", "on-failure", "never"] = "always"
    stop_signal: str = "TERM"
    stop_timeout_s: float = 5.0
    log_bytes: int = 1_000_000
    log_files: int = 5

    def __post_init__(self) -> None:
        given: object = self.command  # typed code cannot pass a text; untyped code can
        if isinstance(given, str):
            raise ProcessError(f"{self.command!r} is one text; give the program and each argument on its own")
        faults = [*_command_faults("command", self.command), *_named_faults(self), *_figure_faults(self)]
        if isinstance(self.ready, ReadyCheck):
            faults += _command_faults("ready.command", self.ready.command)
            faults += _within("ready.interval_s", self.ready.interval_s, 0.01, 3600)
            faults += _within("ready.timeout_s", self.ready.timeout_s, 0.01, 3600)
        if faults:
            raise ProcessError(f"this process cannot be run: {'; '.join(faults)}")

    @property
    def stop_number(self) -> int:
        """The stop signal as the kernel numbers it."""
        return signal.Signals[f"SIG{self.stop_signal}"].value

    @property
    def stop_ms(self) -> int:
        """Milliseconds from the stop signal to SIGKILL."""
        return max(1, round(self.stop_timeout_s * 1000))


def check_name(name: str) -> str:
    """The name. Raises `ProcessError` for one that cannot be a folder's, or could be another folder's."""
    fault = name_fault(name)
    if fault:
        shown = ascii(name) if len(name) <= 80 else f"{name[:80]!a}…"
        raise ProcessError(f"{shown} cannot be the name of a process: {fault}")
    return name


def name_fault(name: str) -> str:
    """Why a name cannot be a folder's; nothing when it can."""
    if not name or name != name.strip():
        return "it is empty, or begins or ends with a space"
    if not name.isprintable():
        return "it has characters that cannot be printed"
    if "/" in name or ".." in name or name[0] in ".@":
        return "it must not contain / or .., nor begin with . or @"
    if len(name.encode()) > MAX_NAME:
        return f"it takes {len(name.encode())} bytes in UTF-8; at most {MAX_NAME} are possible"
    return ""


def _command_faults(where: str, command: tuple[str, ...]) -> Iterator[str]:
    if not command or not command[0]:
        yield f"{where} names no program"
    if any("\0" in word for word in command):
        yield f"{where} has a NUL character"


def _named_faults(spec: ProcessSpec) -> Iterator[str]:
    for name, value in spec.environment.items():
        if not _VARIABLE.fullmatch(name):
            yield f"{name!r} cannot be the name of a variable"
        if name == MARK:
            yield f"the variable {name} is set by the supervisor"
        if "\0" in value:
            yield f"the variable {name} has a NUL character"
    for name in spec.files:
        if name_fault(name):
            yield f"{name!r} cannot be the name of a file: {name_fault(name)}"
    try:
        msgspec.json.encode(spec)
    except UnicodeEncodeError:
        yield "it has characters that UTF-8 has no form for"
    if f"SIG{spec.stop_signal}" not in signal.Signals.__members__:
        yield f"{spec.stop_signal!r} is not the name of a signal, such as TERM or INT"


def _figure_faults(spec: ProcessSpec) -> Iterator[str]:
    yield from _within("stop_timeout_s", spec.stop_timeout_s, 0.001, 3600)
    yield from _within("log_bytes", spec.log_bytes, 4096, 250_000_000)
    yield from _within("log_files", spec.log_files, 1, 1000)


def _within(name: str, value: float, least: float, most: float) -> Iterator[str]:
    if not least <= value <= most:
        yield f"{name} is {value:g}; it must be from {least:g} to {most:g}"
