"""Queries: which topics somebody means.

Three conditions, all of which must hold: a text that stands in the name; a pattern that fits the whole name; metadata that the last
message carries. In a pattern ``*`` stands for any characters within one segment, ``?`` for one of them, and ``**``, as a segment of its
own, for any number of segments, none among them. ``umh.v1.`` in front may be left out. Case matters, as it does in topics::

    acme.*.press-?._raw.**.temperature

Patterns come from outside. What a wildcard took is given back only where that can help, because the earliest place that fits is always as
good as a later one; so there is no pattern that makes matching take long.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Final

import msgspec

from setpoint.namespace.browser.index import Index
from setpoint.namespace.topic import PREFIX

_SLICE: Final = 2_000
"""Names that are looked at before others get a turn."""


class QueryError(ValueError):
    """The query is not valid: says what is wrong in it and what to write instead."""


class Query(msgspec.Struct, frozen=True):
    """What is looked for; everything, when nothing is said. Raises `QueryError` for a pattern that is none."""

    contains: str = ""
    pattern: str = ""
    metadata: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        _compiled(self.pattern)

    def fits(self, topic: str, headers: Mapping[str, str]) -> bool:
        """Whether the topic is meant, by its name and the headers of its last message."""
        return self._has(headers) and bool(self._by_name([topic]))

    async def find(self, index: Index) -> Sequence[str]:
        """The topics that are meant, in order; looked for a little at a time."""
        names, headers = index.columns()
        if not (self.contains or self.pattern or self.metadata):
            return names
        found: list[str] = []
        for start in range(0, len(names), _SLICE):
            part = names[start : start + _SLICE]
            if self.metadata:
                part = self._by_metadata(part, headers[start : start + _SLICE])
            found += self._by_name(part)
            await asyncio.sleep(0)
        return found

    def _by_metadata(self, names: list[str], headers: list[dict[str, str]]) -> list[str]:
        for key, value in self.metadata.items():
            keep = [each.get(key) == value for each in headers]
            names, headers = list(compress(names, keep)), list(compress(headers, keep))
        return names

    def _by_name(self, names: list[str]) -> list[str]:
        if text := self.contains:
            names = [name for name in names if text in name]
        if self.pattern:
            matches = _compiled(self.pattern).match
            names = [name for name in names if matches(name)]
        return names

    def _has(self, headers: Mapping[str, str]) -> bool:
        return all(headers.get(key) == value for key, value in self.metadata.items())


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression: runs of segments, and between them ``**``, which ends behind a dot like all before it."""
    runs: list[list[str]] = [[]]
    for segment in pattern.removeprefix(PREFIX).split("."):
        if segment == "**":
            if runs[-1] or len(runs) == 1:  # two in a row are one
                runs.append([])
        elif "**" in segment:
            raise QueryError(
                f"pattern {pattern!r}: '**' stands for whole segments; write it between dots, or a single '*'"
            )
        else:
            runs[-1].append(_segment(segment))
    *before, last = [r"\.".join(run) for run in runs]
    if not before:
        return re.compile(rf"{re.escape(PREFIX)}{last}\Z")
    behind = [r"\."] * (len(before) - 1) + [r"\." if last else r"(?:\.|\Z)"]  # nothing need come behind the last
    first, *between = [run and run + end for run, end in zip(before, behind, strict=True)]
    text = re.escape(PREFIX) + first + "".join(rf"(?>.*?(?<=\.){run})" for run in between)
    return re.compile(rf"{text}.*(?<=\.){last}\Z" if last else rf"{text}.*\Z", re.DOTALL)


def _segment(segment: str) -> str:
    """One segment: fixed texts, and ``*`` between them."""
    first, *between = ["".join("[^.]" if c == "?" else re.escape(c) for c in fixed) for fixed in segment.split("*")]
    if not between:
        return first
    return first + "".join(f"(?>[^.]*?{fixed})" for fixed in between[:-1]) + f"[^.]*{between[-1]}"
