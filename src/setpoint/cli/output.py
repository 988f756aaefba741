"""Output: how values become text on a terminal.

Whatever comes from an agent is untrusted: a device's error text may carry escape sequences. `clean` makes every text harmless, and nothing
is ever read as markup. On a terminal tables fit its width; in a pipe each row is one whole line without colour.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from setpoint.cli.trouble import USAGE, Trouble

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {
    "healthy": "green",
    "degraded": "yellow",
    "failed": "bold red",
    "starting": "cyan",
    "stopping": "cyan",
    "stopped": "dim",
}
MARKS = {"healthy": "●", "degraded": "▲", "failed": "✖", "starting": "◐", "stopping": "◑", "stopped": "○"}
"""A shape for each phase, because colour alone does not reach everybody."""
NO_MARK = "·"
PIPE_WIDTH = 10_000
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|)")


def console(*, stderr: bool = False) -> Console:
    """Where a command writes. Honours NO_COLOR."""
    from rich.console import Console

    target = sys.stderr if stderr else sys.stdout
    piped = not target.isatty()
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, width=PIPE_WIDTH if piped else None, soft_wrap=piped
    )


def is_terminal() -> bool:
    return sys.stdout.isatty()


def clean(text: object) -> str:
    """The text with everything that is not printable written as an escape."""
    plain = str(text)
    return plain if plain.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in plain)


def print_json(data: Any) -> None:
    """The data as indented JSON, with escapes for what the output's encoding cannot say."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(data, indent=2)
    print(text)


def state_text(state: str, phase: str) -> Text:
    """A state in the colour and with the mark of its phase."""
    from rich.text import Text

    return Text(f"{MARKS.get(phase, NO_MARK)} {clean(state)}", style=STYLES.get(phase, "dim"))


def ago(moment: str, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 moment was: ``12 s``, ``3 min``; "" where there is none."""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return ""
    return duration(((now or datetime.now(UTC)) - then).total_seconds())


def duration(seconds: float) -> str:
    """A duration in one unit, rounded down: ``0 s``, ``59 s``, ``1 min``, ``23 h``, ``400 d``."""
    seconds = max(0.0, seconds)
    for unit, size, limit in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} d"


def seconds_of(text: str) -> float:
    """A duration that somebody typed, in seconds: ``5s``, ``500ms``, ``2h``, ``7d``; a bare number is seconds. Raises `Trouble`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        remedy = "give a number of at least 0 with ms, s, m (or min), h or d, such as 5s"
        raise Trouble(f"{text!r} is no duration", remedy, code=USAGE)
    return float(match[1]) * _UNITS[match[2]]


def moment(at: float) -> str:
    """Seconds since 1970 as an RFC 3339 moment; as they are where that is no time that there is."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return str(at)


def clock(moment: str) -> str:
    """An RFC 3339 moment in local time: the time of day if it is today's, else with the date."""
    try:
        then = datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return clean(moment)
    today = datetime.now(UTC).astimezone().date()
    return then.strftime("%H:%M:%S" if then.date() == today else "%Y-%m-%d %H:%M:%S")
