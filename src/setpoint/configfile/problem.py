"""One thing that is wrong with a file: what, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (`error`: its item is not used) or without effect (`warning`).

    Line and column are 0 where they are not known.
    """

    message: str
    line: int
    column: int
    key: str = ""
    """Where in the file, as a path of keys: ``protocolConverter[1].name``."""
    item: str | None = None
    """Name of the item it belongs to."""
    hint: str = ""
    """What to do about it."""
    severity: Severity = "error"
    source: str = "config.yaml"

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        text = "; ".join(part for part in (self.message, self.hint) if part)
        return ": ".join(part for part in (place, self.key, text) if part)
