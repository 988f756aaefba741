"""What the components of one flow share: caches and rate limits by label, and the place that the configuration was read from.

A component's fields refer to them by name; the reference is resolved when the fields are checked, by the `Scope` that pydantic hands to
validators. What a reference resolves to is one object for the whole flow. It belongs to the checked configuration, which one flow runs.
"""

from __future__ import annotations

import asyncio
import difflib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from pydantic import Field, ValidationInfo

from setpoint.flows.component import Duration, Fields

Resource = TypeVar("Resource")


class CacheFields(Fields):
    """The section `memory` of a cache: how long an entry stays (seconds), how many there may be, and those there are at the start."""

    default_ttl: Duration = Field(default=300.0, gt=0)
    max_entries: int = Field(default=100_000, ge=1)
    init_values: dict[str, str] = Field(default_factory=dict)


class MemoryCache:
    """Keys, each for `default_ttl` seconds from when it was added; of more than `max_entries` the oldest goes."""

    def __init__(self, fields: CacheFields) -> None:
        self._ttl, self._most = fields.default_ttl, fields.max_entries
        self._until: OrderedDict[str, float] = OrderedDict((key, float("inf")) for key in fields.init_values)

    def add(self, key: str, now: float) -> bool:
        """Adds the key, `now` in monotonic seconds; False where it is there already, which leaves its time as it was."""
        known = self._until
        while known and next(iter(known.values())) <= now:
            known.popitem(last=False)
        if known.get(key, now) > now:
            return False
        known[key] = now + self._ttl
        known.move_to_end(key)
        if len(known) > self._most:
            known.popitem(last=False)
        return True


class LimitFields(Fields):
    """The section `local` of a rate limit: so many messages in each `interval` (seconds)."""

    count: int = Field(default=1000, ge=1)
    interval: Duration = Field(default=1.0, gt=0)


class LocalLimit:
    """Lets `count` messages pass in each interval; whoever comes later waits for the next one, in turn."""

    def __init__(self, fields: LimitFields) -> None:
        self._count, self._interval = fields.count, fields.interval
        self._began = float("-inf")
        self._left = 0

    def take(self, now: float) -> float:
        """Takes a place in the present interval: 0, or the seconds until there may be one again; `now` in monotonic seconds."""
        if now - self._began >= self._interval:
            self._began, self._left = now, self._count
        if self._left:
            self._left -= 1
            return 0.0
        return self._began + self._interval - now

    async def pass_(self, now: Callable[[], float]) -> None:
        """Returns when there is a place."""
        while wait := self.take(now()):  # noqa: ASYNC110  # time itself is waited for
            await asyncio.sleep(wait)


class Scope(msgspec.Struct, frozen=True):
    """What names in a flow's configuration refer to, here: caches and rate limits by label, files from `base` on.

    `caught` says whether the processor stands in a `catch`, where `error()` is the error that led there; `depth` in how many it stands.
    """

    caches: Mapping[str, MemoryCache] = {}
    limits: Mapping[str, LocalLimit] = {}
    base: Path = Path()
    caught: bool = False
    depth: int = 0


EMPTY: Final = Scope()


def scope_of(info: ValidationInfo) -> Scope:
    """The scope that the fields are checked in."""
    return info.context if isinstance(info.context, Scope) else EMPTY


def named(known: Mapping[str, Resource], label: object, what: str) -> Resource:
    """The resource of that label. Raises `ValueError` with the one that was probably meant."""
    if isinstance(label, str) and label in known:
        return known[label]
    near = difflib.get_close_matches(str(label), known, 1)
    section = f"{what.replace(' ', '_')}_resources"
    hint = f"did you mean {near[0]!r}?" if near else f"{section} has {', '.join(sorted(known)) or 'none'}"
    raise ValueError(f"there is no {what} with the label {label!r} ({hint})")
