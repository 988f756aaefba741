"""Acting: the actions that decisions ask for, run with care.

One in flight per worker and name. After an action ended, the next one waits for an observation that *started* after that end, so no
decision is ever made on what was true before the last action. One that succeeded without effect is repeated at a steady pace, one that
failed is tried again after a growing, jittered pause. One that takes too long is abandoned by its token, and counts as failed; hung calls
are counted, replaced, and never waited for.
"""

from __future__ import annotations

from setpoint.control.agenda import Abandon, Act, Agenda, Timer
from setpoint.control.observing import Observing, Outcome
from setpoint.control.record import Record, Running


class Acting:
    """The executors of all workers of one supervisor."""

    def __init__(self, agenda: Agenda, observing: Observing) -> None:
        self._agenda = agenda
        self._observing = observing

    def ask(self, record: Record, name: str) -> None:
        """A decision asks for the action: start it, unless it is in flight, must wait, or too many hang."""
        agenda = self._agenda
        if name in record.running or record.sample_token < record.act_gate or record.worker is None:
            return
        if agenda.now < record.action_retry_at:
            agenda.look(record, record.action_retry_at)
            return
        if len(record.running) + len(record.hung_actions) >= agenda.limits.actions_at_once:
            record.action_error = f"{len(record.hung_actions)} hung calls have not ended; {name} waits for one to end"
            return
        token = agenda.token()
        record.running[name] = Running(token, agenda.now)
        agenda.at(agenda.now + agenda.limits.action_timeout, Timer.ACT_TIMEOUT, record, token)
        agenda.emit(Act(record.path, token, record.worker, name, record.in_force))

    def timed_out(self, record: Record, token: float) -> None:
        """The action did not end in time: abandon it and count it."""
        name = self._name_of(record, token)
        if name is None:
            return
        running = record.running[name]
        self._agenda.emit(Abandon(running.token))
        record.hung_actions.add(running.token)
        self.ended(
            record,
            running.token,
            Outcome(running.started, error=f"no end within {self._agenda.limits.action_timeout:g} s"),
        )

    def ended(self, record: Record, token: int, outcome: Outcome) -> None:
        """An action ended, well or not. Ends of abandoned actions, whose token is old, only free their place."""
        name = self._name_of(record, token)
        if name is None:
            record.hung_actions.discard(token)
            return
        agenda = self._agenda
        running = record.running.pop(name)
        record.act_gate = agenda.token()
        record.tally.action(name, agenda.now - running.started, failed=bool(outcome.error))
        if outcome.error:
            record.action_failures += 1
            record.action_error = f"{name} failed: {outcome.error}"
            record.action_retry_at = agenda.now + agenda.limits.backoff(record.action_failures, agenda.jitter)
        else:
            record.action_failures = 0
            record.action_error = ""
            # should it turn out not to have helped
            record.action_retry_at = running.started + agenda.limits.retry_first
        agenda.mark(record)
        self._observing.now(record)

    @staticmethod
    def unsettled(record: Record) -> bool:
        """Whether what is known of the worker may be older than what was last done to it."""
        return bool(record.running) or record.sample_token < record.act_gate

    @staticmethod
    def _name_of(record: Record, token: float) -> str | None:
        return next((name for name, running in record.running.items() if running.token == token), None)
