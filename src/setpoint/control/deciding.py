"""Deciding: from a snapshot to a move along an arc, or to staying and acting.

A worker's machine is asked again until it stays. Nothing is decided on old news: a paused or stale worker does not decide, and no
worker moves into a stopped state on what was seen before its last action ended. A worker that begins to start again and again is held
back, ever longer; one in a state with a signal has its wish carried out by the runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from setpoint.control.acting import Acting
from setpoint.control.agenda import Agenda
from setpoint.control.family import Family
from setpoint.control.record import NEVER, Record
from setpoint.control.snapshot import Fact, Facts, Figures, Snapshot
from setpoint.machine import Decision, Phase, Position, State, decide
from setpoint.secrets import without_secrets
from setpoint.store import Transition


class DecisionListener(Protocol):
    """Is told of every decision, with all it depended on. Must return at once."""

    def decided(
        self,
        record: Record,
        snapshot: Snapshot[Any, Any],
        position: Position,
        now: float,
        wall: float,
        outcome: Decision | str,
    ) -> None:
        """`position` is the one before the decision; `outcome` is the decision, or the error where the machine raised."""


class Deciding:
    """The decisions of all workers of one supervisor."""

    def __init__(self, agenda: Agenda, family: Family, acting: Acting) -> None:
        self._agenda = agenda
        self._family = family
        self._acting = acting
        self.recorder: DecisionListener | None = None
        self.want_children: Callable[[Record], None] = lambda record: None
        """Called before each decision, which shall see the children that its state has."""

    def step(self, record: Record) -> bool:
        """Decide until it stays; then act, and note when time alone could change the decision. False when it may not decide."""
        assert record.worker is not None
        if record.forced:
            forced, record.forced = record.forced, ""
            self.move(record, "forced", forced, "forced by the operator")
        if self._is_paused(record) or (record.stale and record.wanted):
            record.acts = False
            record.unwatched()
            return False
        for _ in range(self._agenda.limits.moves_at_once):
            fault = self._children_fault(record) if record.children_due else None
            decision = self._decide(record)
            if (
                decision.arc is not None
                and decision.arc.target.phase is Phase.STOPPED
                and self._acting.unsettled(record)
            ):
                decision = self._not_stopped_yet(record)
            if decision.arc is None:
                self._stay(record, decision)
                if fault is not None:
                    raise fault
                return True
            self.move(record, decision.arc.event, decision.state, decision.reason)
        self._agenda.look(record, self._agenda.now + self._agenda.limits.retry_first)
        return True

    def _children_fault(self, record: Record) -> BaseException | None:
        """Have the children that the present state wants; what is wrong with them must not keep the worker from deciding."""
        try:
            self.want_children(record)
        except (Exception, SystemExit) as error:
            return error
        return None

    def _decide(self, record: Record) -> Decision:
        assert record.worker is not None
        snapshot, now = self.snapshot(record), self._agenda.now
        if self.recorder is None:
            return decide(record.worker.machine, record.position, snapshot, now)
        position = record.position
        outcome: Decision | str = ""
        try:
            outcome = decide(record.worker.machine, position, snapshot, now)
            return outcome
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.recorder.decided(record, snapshot, position, now, self._agenda.wall, outcome)

    def _is_paused(self, record: Record) -> bool:
        """Paused by an operator, which does not hold up a removal or the end of the agent."""
        return bool(record.paused) and not record.removing and not self._agenda.shutting_down

    def _not_stopped_yet(self, record: Record) -> Decision:
        """It looks stopped, but by news from before its last action: what is still starting would be left behind."""
        state = _state_of(record)
        waits_for = f"{' and '.join(record.running)} to end" if record.running else "a fresh observation"
        return Decision(
            state.name, None, (state.act,) if state.act else (), f"waiting for {waits_for}", record.position.held
        )

    def _stay(self, record: Record, decision: Decision) -> None:
        record.acts = bool(decision.effects)
        for name in decision.effects:
            self._acting.ask(record, name)
        error = record.action_error
        told = error.split(": ", 2)[-1] in decision.reason  # what failed is often what the worker observes as well
        reason = decision.reason if told else f"{decision.reason} ({error})"
        record.reason = without_secrets(reason, record.secrets) if record.secrets else reason
        if decision.held or record.position.held:
            record.position = record.position._replace(held=decision.held)
        if decision.wake_at is not None:
            self._agenda.look(record, decision.wake_at)
        assert record.worker is not None
        signal = record.worker.machine.by_name[record.position.state].signal
        if signal and not record.removing:
            self._obey(record, signal)

    def _obey(self, record: Record, signal: str) -> None:
        """Carry out what the state asks of the runtime: to make the worker anew, or to take it away."""
        if signal == "removal":
            record.finished = record.removing = True
            self._agenda.mark(record)
        elif self._agenda.now < record.action_retry_at:
            self._agenda.look(record, record.action_retry_at)
        elif not record.restarting and record.wanted:
            self.restart(record, f"{record.state} asks for it: {record.reason}")

    def restart(self, record: Record, why: str) -> None:
        """Have the worker stop and be made anew; within a time, whatever it does."""
        record.restarting = why
        record.restart_by = self._agenda.now + self._agenda.limits.restart_timeout
        self._agenda.look(record, record.restart_by)
        self._agenda.mark(record)

    def move(self, record: Record, event: str, target: str, reason: str) -> None:
        """Put the worker into a state, and tell everybody."""
        source = record.position.state
        now = self._agenda.now
        if record.secrets:
            reason = without_secrets(reason, record.secrets)
        record.tally.left(source, now - record.position.entered_at)
        came_from = record.phase
        record.position = Position(target, now)
        record.since, record.reason = self._agenda.wall, reason
        record.transitions += 1
        record.retry = False
        record.children_due = True
        record.forget_action_failures()
        if record.alive:
            self._hold_back(record, came_from)
            if Phase.STOPPING in (came_from, _state_of(record).phase):
                for child in self._family.children_of(
                    record
                ):  # they stop with it, also when it is wanted again meanwhile
                    self._agenda.mark(child)
        self._agenda.tell(record, Transition(record.path, record.since, event, source, target, reason, record.type))

    def _hold_back(self, record: Record, came_from: Phase | None) -> None:
        """Count a start that follows upon another; after several, what it would do next waits, ever longer."""
        state, limits, now = _state_of(record), self._agenda.limits, self._agenda.now
        begins_again = False
        if state.phase is Phase.STARTING and state.act:
            begins_again = came_from not in (None, Phase.STOPPED, Phase.STARTING) or state.name in record.starting
            record.starting = (state.name,) if begins_again else (*record.starting, state.name)
        elif state.phase is not Phase.STARTING:
            record.starting = ()
        if not (begins_again or state.signal == "restart"):
            return
        record.restarts = record.restarts + 1 if now < record.calm_at else 1
        pause = 0.0
        if record.restarts > limits.restarts:
            pause = limits.backoff(record.restarts - limits.restarts, self._agenda.jitter)
            record.action_retry_at = now + pause
            record.action_error = f"started {record.restarts} times in a row; the next try waits {pause:.0f} s"
        record.calm_at = now + pause + limits.restart_window

    # what a decision may depend on

    def snapshot(self, record: Record) -> Snapshot[Any, Any]:
        """All that a decision of this worker may depend on, as it is now."""
        if record.facts is None:
            record.facts = Facts(record.children, self._facts_for(record), record.gone)
        if record.peers is None:
            record.peers = Facts(record.given.reads, self._facts_for(record))
        return Snapshot(
            record.path,
            record.in_force,
            record.observed,
            record.position.state,
            record.wanted,
            record.error,
            record.facts,
            record.peers,
            record.retry,
            self._figures(record),
        )

    def _figures(self, record: Record) -> Figures:
        now, tally = self._agenda.now, record.tally
        return Figures(
            now - record.position.entered_at,
            _to_the_millisecond(now - record.sampled_at) if record.has_observed else 0.0,
            record.starts,
            record.transitions,
            record.restarts if now < record.calm_at else 0,
            tally.abandoned,
            record.action_failures,
            tally.actions,
            _to_the_millisecond(record.lag),
        )

    def _facts_for(self, reader: Record) -> Callable[[str], Fact]:
        observed = reader.worker is not None and reader.worker.sees_observations
        return lambda path: self.fact(path, observed=observed)

    def fact(self, path: str, *, observed: bool = True) -> Fact:
        """What may be known of the worker at a path; a fact with state `missing` when there is none."""
        record = self._family.table.get(path)
        return record.fact(self._agenda.now, observed=observed) if record is not None else Fact(path)


def _to_the_millisecond(seconds: float) -> float:
    """Shorter to write down, and as good to decide on."""
    return int(seconds * 1000.0) / 1000.0


def _state_of(record: Record) -> State:
    assert record.worker is not None
    return record.worker.machine.by_name[record.position.state]


def forget_failures(record: Record) -> None:
    """As if nothing had failed yet: no wait is left."""
    record.forget_action_failures()
    record.hung, record.hung_reason = 0, ""
    record.restarts, record.calm_at = 0, NEVER
