"""The cluster's configuration, kept as wanted without a fight.

Only the keys that are wanted are looked at and written; all others are an operator's own. What was written is read back: a value that reads
differently was not taken. And somebody else may want another value: what was as wanted, and is not any more, was changed by them. It is set
again, `GIVE_UP_AFTER` times in all; then it is left as it is, and said. A new wish begins anew.

Values are compared as Redpanda writes them: 3600000 is 3600000, whether it comes as a number or as a text, and null is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from setpoint.services.redpanda.admin import Admin

GIVE_UP_AFTER: Final = 3
"""Times that somebody else may change a value back before it is left to them."""


class TopicDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What topics are like that do not say otherwise: retention (ms; bytes, 0: no limit), compression, cleanup, segments (ms).

    Defaults as documented for UMH Core, except `cleanup_policy`: with `compact` alone, as there, nothing is ever deleted by age.
    """

    retention_ms: int = 604_800_000
    retention_bytes: int = 0
    compression: str = "snappy"
    cleanup_policy: str = "delete"
    segment_ms: int = 3_600_000

    def settings(self) -> dict[str, Any]:
        """The keys of the cluster's configuration that say so."""
        return {
            "log_retention_ms": self.retention_ms or -1,
            "retention_bytes": self.retention_bytes or None,
            "log_compression_type": self.compression,
            "log_cleanup_policy": self.cleanup_policy,
            "log_segment_ms": self.segment_ms,
        }


class SettingsReport(msgspec.Struct, frozen=True):
    """What one look found and did. `fault` is why the settings are not as wanted, or nothing."""

    written: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()
    restart_needed: bool = False

    @property
    def fault(self) -> str:
        """What is not as wanted, and why."""
        restart = ("Redpanda must be restarted for its settings to take effect",) if self.restart_needed else ()
        return "; ".join((*self.refused, *self.left_alone, *restart))


class ClusterSettings:
    """Keeps the configuration of one cluster. It remembers what it has seen as wanted, and who changed it back how often."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._wanted: dict[str, str] = {}
        self._as_wanted: set[str] = set()
        self._changed_back: dict[str, int] = {}

    async def keep(self, wanted: Mapping[str, Any]) -> SettingsReport:
        """Looks, and sets what is not as wanted. Raises `AdminError` where the admin API cannot be asked."""
        self._wish(wanted)
        now = await self._admin.settings()
        off = [key for key in wanted if as_written(now.get(key)) != self._wanted[key]]
        self._count(off, wanted)
        to_set = [key for key in off if self._changed_back.get(key, 0) < GIVE_UP_AFTER]
        refused: tuple[str, ...] = ()
        restart = False
        if to_set:
            await self._admin.change_settings({key: wanted[key] for key in to_set})
            now = await self._admin.settings()
            refused = self._read_back(to_set, now)
            restart = await self._admin.restart_needed()
        left = tuple(self._left_alone(key, now) for key in off if key not in to_set)
        return SettingsReport(tuple(to_set), refused, left, restart)

    def _wish(self, wanted: Mapping[str, Any]) -> None:
        """A key that is wanted otherwise than before is a new wish."""
        written = {key: as_written(value) for key, value in wanted.items()}
        for key in self._wanted.keys() | written.keys():
            if self._wanted.get(key) != written.get(key):
                self._as_wanted.discard(key)
                self._changed_back.pop(key, None)
        self._wanted = written

    def _count(self, off: list[str], wanted: Mapping[str, Any]) -> None:
        for key in wanted:
            if key not in off:
                self._as_wanted.add(key)
            elif key in self._as_wanted:
                self._as_wanted.discard(key)
                self._changed_back[key] = self._changed_back.get(key, 0) + 1

    def _read_back(self, written: list[str], now: Mapping[str, Any]) -> tuple[str, ...]:
        self._as_wanted.update(key for key in written if as_written(now.get(key)) == self._wanted[key])
        return tuple(
            f"{key} was set to {self._wanted[key]} and reads {as_written(now.get(key))}"
            for key in written
            if key not in self._as_wanted
        )

    def _left_alone(self, key: str, now: Mapping[str, Any]) -> str:
        times = self._changed_back[key]
        return (
            f"{key} is {as_written(now.get(key))}, not {self._wanted[key]}: somebody changed it back {times} times, "
            "so it is left to them; change it in the config, or stop what sets it"
        )


def as_written(value: Any) -> str:
    """A value as text: what a number and its text, and a truth value and its text, have in common."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
