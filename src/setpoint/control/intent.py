"""Intent: whether a worker shall run, by everybody who has a say in it.

It runs while the agent does, its parent wants it, is wanted itself and is not just stopping, no operator disabled it, it is not on its
way to being made anew or removed, its siblings that come first have started, and its own desired state does not say stop.

A desired state may have a field `desired_state`; the value "stopped" means what it says. A worker that reads the field itself, instead of
`snapshot.wanted`, still stops when its parent or the agent says so: it then sees the field as "stopped".
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel

from setpoint.machine import Phase

if TYPE_CHECKING:
    from setpoint.control.agenda import Agenda
    from setpoint.control.family import Family
    from setpoint.control.observing import Observing
    from setpoint.control.record import Record

STOPPED = "stopped"


def wants_stop(desired: Any) -> bool:
    """Whether the desired state itself says stop."""
    return getattr(desired, "desired_state", None) == STOPPED


def stopped_version(desired: Any) -> Any:
    """The same desired state with `desired_state` set to "stopped", where it has that field."""
    if wants_stop(desired) or not hasattr(desired, "desired_state"):
        return desired
    if isinstance(desired, BaseModel):
        return desired.model_copy(update={"desired_state": STOPPED})
    if isinstance(desired, msgspec.Struct):
        return msgspec.structs.replace(desired, desired_state=STOPPED)
    if dataclasses.is_dataclass(desired) and not isinstance(desired, type):
        return dataclasses.replace(desired, desired_state=STOPPED)
    return desired


class Intent:
    """Settles for each worker of one supervisor whether it shall run."""

    def __init__(self, agenda: Agenda, family: Family, observing: Observing) -> None:
        self._agenda = agenda
        self._family = family
        self._observing = observing

    def settle(self, record: Record) -> None:
        """Whether it is wanted running; whom that concerns looks again."""
        told = self._told_to_run(record)
        if told and record.given.after and not record.started:
            record.waits_for, record.blocked = self._family.waits_for_siblings(record)
        else:
            record.waits_for = record.blocked = ""
        record.started = wanted = told and not record.waits_for
        if wanted == record.wanted:
            return
        record.wanted = wanted
        record.circuit.try_now(self._agenda.now)
        for child in self._family.children_of(record):
            self._agenda.mark(child)
        if record.alive:
            self._observing.now(record)

    def _told_to_run(self, record: Record) -> bool:
        return (
            not (self._agenda.shutting_down and not self._family.still_needed(record))
            and not record.removing
            and record.given.enabled
            and not record.disabled
            and not record.restarting
            and (record.parent is None or (record.parent.wanted and record.parent.phase is not Phase.STOPPING))
            and not wants_stop(record.desired)
        )
