"""Locations: where in the plant something stands, as numbered levels.

Level 0 is the enterprise, then (by ISA-95) site, area, line, work cell, and on as far as a plant needs. The agent
says where it stands; a bridge adds the levels below. Where both name a level the agent wins, so that no bridge can
pretend to stand elsewhere; a bridge fills the levels the agent left out or empty. Up to the highest level that anyone
mentions there are no holes: a level without a value is called ``unknown``, and level 0 always exists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

UNKNOWN: Final = "unknown"
MAX_LEVEL: Final = 99
"""Highest level number; a mistyped key must not create a location of a million levels."""

_NUMBER: Final = re.compile(r"0|[1-9][0-9]*")
_VALUE: Final = re.compile(r"[A-Za-z0-9-][A-Za-z0-9_-]*")


class LocationError(ValueError):
    """A location level is not valid: names the level, says what is wrong and what is expected."""


def merge(agent: Mapping[int, str], bridge: Mapping[str, str] | Mapping[int, str]) -> dict[int, str]:
    """The levels of a bridge below its agent, complete from 0 to the highest one mentioned.

    Raises `LocationError` for a key that is not a level number and for a value that cannot be part of a topic.
    """
    upper, lower = _levels(agent, "agent"), _levels(bridge, "bridge")
    highest = max((0, *upper, *lower))
    return {level: upper.get(level) or lower.get(level) or UNKNOWN for level in range(highest + 1)}


def location_path(levels: Mapping[int, str]) -> str:
    """The levels joined with dots, as topics have them: ``acme.cologne``. Holes become ``unknown``. Raises `LocationError`."""
    return ".".join(merge(levels, {}).values())


def _levels(location: Mapping[str, str] | Mapping[int, str], whose: str) -> dict[int, str]:
    levels: dict[int, str] = {}
    for key, value in location.items():
        level = _number(key, whose)
        if level in levels:
            raise LocationError(f"{whose} location level {level} is given twice; keep one of them")
        levels[level] = _checked(value, f"{whose} location level {level}")
    return levels


def _number(key: object, whose: str) -> int:
    text = "" if isinstance(key, bool) else str(key)
    if not _NUMBER.fullmatch(text):
        raise LocationError(f"{whose} location key {key!r} is not a level number; expected 0, 1, 2 …")
    if len(text) > len(str(MAX_LEVEL)):
        raise LocationError(f"{whose} location level {text[:20]} is too high; at most {MAX_LEVEL} is allowed")
    return int(text)


def _checked(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise LocationError(f"{what} must be a text, not {value!r}; put it in quotes")
    if not value.strip():
        return ""
    if not _VALUE.fullmatch(value):
        raise LocationError(
            f"{what}, {value!r}, is not valid; expected letters, digits, '-' and '_', not starting with '_'"
        )
    return value
