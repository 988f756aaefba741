"""Seconds: how long a wait is, and what becomes of it while nobody runs the machine."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args


@dataclass(frozen=True, slots=True)
class Setting:
    """A number of seconds that each instance may set for itself: the field `name` of its desired state, else `default`."""

    name: str
    default: float

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or keyword.iskeyword(self.name):
            raise ValueError(f"Setting({self.name!r}): a setting is named like a field of the desired state")
        if not 0 <= self.default < float("inf"):
            raise ValueError(f"Setting({self.name!r}, {self.default}): seconds must be a finite number of at least 0")

    def of(self, snapshot: Any) -> float:
        """The seconds in force for this snapshot. Raises `ValueError` where the field is no finite number of at least 0."""
        desired = field_of(snapshot, "desired")
        value = None if desired is None else field_of(desired, self.name)
        seconds = self.default if value is None else float(value)
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"desired.{self.name} is {seconds}; expected a finite number of seconds of at least 0")
        return seconds

    def __str__(self) -> str:
        return f"{self.name}={number_text(self.default)}"


def field_of(owner: Any, name: str) -> Any:
    """A mapping's key or an object's attribute; None where there is none."""
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)


def number_text(value: float) -> str:
    """A number as short as it can be written and still be read back as the same: ``5``, ``0.25``."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


Seconds = float | Setting

Resume = Literal["deadline", "remaining", "restart"]
"""How a wait goes on after a time in which nobody ran the machine: that time counts, does not count, or the wait begins again."""
RESUMES: Final[tuple[Resume, ...]] = get_args(Resume)


def seconds_text(seconds: Seconds) -> str:
    """``5``, or ``grace_s=5`` for a `Setting`: the form that is read back."""
    return str(seconds) if isinstance(seconds, Setting) else number_text(seconds)


def seconds_in_force(seconds: Seconds, snapshot: Any) -> float:
    """The number of seconds, looked up in the snapshot where it is a `Setting`."""
    return seconds.of(snapshot) if isinstance(seconds, Setting) else seconds
