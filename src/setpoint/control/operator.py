"""The operator's verbs: what a person may tell a worker, over the head of its spec. Each is noted in its history, with who and why.

    pause    decide and act no more; observing goes on          resume   the end of that
    disable  stop, and stay stopped                             enable   the end of that
    restart  stop, be made anew, then go on as wanted
    retry    forget failures and waits: try again now
    force    move to a state, whatever the guards say

Verbs are kept as wishes beside the spec and obeyed by the same evaluation as everything else; none of them reaches into a worker.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal

from setpoint.control.agenda import Agenda
from setpoint.control.circuit import Circuit
from setpoint.control.deciding import Deciding, forget_failures
from setpoint.control.observing import Observing
from setpoint.control.record import Record

Verb = Literal["pause", "resume", "disable", "enable", "restart", "retry", "force"]
VERBS: tuple[Verb, ...] = ("pause", "resume", "disable", "enable", "restart", "retry", "force")


class NotPossible(ValueError):
    """The verb cannot be carried out on this worker as it is; says why and what can."""


class Operator:
    """Carries out verbs on rows of the table."""

    def __init__(self, agenda: Agenda, observing: Observing, deciding: Deciding) -> None:
        self._agenda = agenda
        self._observing = observing
        self._deciding = deciding

    def tell(self, record: Record, verb: Verb, *, why: str, state: str = "") -> None:
        """Carry out a verb; the worker is evaluated next. `state` is for `force`. Raises `NotPossible`."""
        match verb:
            case "pause":
                record.paused = why or "no reason given"
            case "resume":
                record.paused = ""
                if record.restarting:
                    self._deciding.restart(record, record.restarting)  # its time to stop begins now
            case "disable":
                record.disabled = why or "no reason given"
            case "enable":
                record.disabled = ""
            case "restart":
                self._restart(record, why or "no reason given")
            case "retry":
                self._retry(record)
            case "force":
                self._force(record, state)
        self._agenda.mark(record)

    def _restart(self, record: Record, why: str) -> None:
        if not record.alive or not record.wanted:
            raise NotPossible(f"{record.path} is {record.state} and not wanted running; there is nothing to restart")
        if record.paused:
            raise NotPossible(f"{record.path} is paused ({record.paused}); resume it first")
        self._deciding.restart(record, f"restarted by the operator: {why}")

    def _retry(self, record: Record) -> None:
        """Failures are forgotten, so every wait that they caused is over; the machine sees `retry` until it has moved."""
        record.circuit = Circuit()
        record.spec_changed = record.spec_changed or bool(record.spec_error)
        forget_failures(record)
        record.retry = record.alive
        if record.worker is not None and record.state != "to_be_created":
            self._observing.now(record)

    def _force(self, record: Record, state: str) -> None:
        if record.worker is None or not record.alive:
            raise NotPossible(f"{record.path} is {record.state}: it has no machine of its own yet")
        names = list(record.worker.machine.by_name)
        if state not in names:
            near = get_close_matches(state, names, n=1)
            raise NotPossible(
                f"{record.path} has no state {state!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}")
            )
        record.forced = state
