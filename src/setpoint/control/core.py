"""The core: the loop that keeps have = want, with no clock and no I/O of its own.

    results and new specs come in  →  they mark workers  →  advance(now) evaluates what is marked or due  →  effects go out

Cost is in proportion to what changed: a worker whose observation, spec, children and peers are the same is not looked at. An exception
in a worker's own code concerns that worker alone: it is counted, shown, and tried again ever more slowly behind an open circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from setpoint.control.acting import Acting
from setpoint.control.agenda import Agenda, Due, Effect, Timer
from setpoint.control.family import Family
from setpoint.control.intent import wants_stop
from setpoint.control.limits import Limits
from setpoint.control.observing import Observing, Outcome
from setpoint.control.operator import Operator, Verb
from setpoint.control.record import FOREVER, Record
from setpoint.control.registry import Registry
from setpoint.control.snapshot import Fact, Facts, Observation, Snapshot
from setpoint.control.tally import Lag
from setpoint.control.worker import ChildSpec, Context
from setpoint.machine import Decision, Phase, Position, decide
from setpoint.store import Transition

log = structlog.get_logger(__name__)

Listener = Callable[[Record, Transition | None], None]
"""Told of every change people can see: a transition, or None where only the reason or condition changed."""


class Core:
    """The control runtime of one tree of workers. Single-threaded; a call happens at the time last given to `advance` or `tell_time`."""

    def __init__(self, registry: Registry, *, root: str = "agent", limits: Limits | None = None, seed: int = 0) -> None:
        self.registry = registry
        self.limits = limits or Limits()
        self.agenda = Agenda(self.limits, seed)
        self.family = Family(self.agenda, root)
        self._observing = Observing(self.agenda)
        self._observing.told = self.family.announce_observation
        self._acting = Acting(self.agenda, self._observing)
        self._operator = Operator(self.agenda, self._observing)
        self._listeners: list[Listener] = []
        self.lag = Lag()
        self.context: Callable[[Record], Context] = lambda record: Context(
            record.path, lambda value: None, lambda: None
        )

    # what comes in

    def tell_time(self, now: float, wall: float) -> None:
        """Tell the time: `now` in monotonic seconds, `wall` in seconds since the epoch."""
        self.agenda.now, self.agenda.wall = now, wall

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def want(self, specs: Sequence[ChildSpec]) -> None:
        """Set the top of the tree. Raises `ValueError` when two workers have the same name."""
        self.family.want_at_top(specs)

    def observed(self, path: str, token: int, outcome: Outcome) -> None:
        """A collection asked for by an `Observe` effect ended."""
        if record := self.family.table.get(path):
            self._observing.result(record, token, outcome)

    def pushed(self, path: str, value: Observation) -> None:
        """A worker handed over an observation by itself."""
        if record := self.family.table.get(path):
            self._observing.pushed(record, value)

    def observe(self, path: str) -> None:
        """Somebody wants a worker measured now."""
        record = self.family.table.get(path)
        if record is not None and record.worker is not None:
            self._observing.now(record)

    def acted(self, path: str, token: int, outcome: Outcome) -> None:
        """An action asked for by an `Act` effect ended."""
        if record := self.family.table.get(path):
            self._acting.ended(record, token, outcome)

    def tell(self, path: str, verb: Verb, *, why: str, state: str = "") -> None:
        """An operator's verb. Raises `KeyError` when there is no such worker, `NotPossible` when it cannot be done."""
        record = self.family.table[path]
        self._operator.tell(record, verb, why=why, state=state)
        self._tell(
            record, Transition(path, self.agenda.wall, f"operator_{verb}", record.state, state or record.state, why)
        )

    def shut_down(self) -> None:
        """Tell every worker to stop, those that others need when the others have."""
        self.agenda.shutting_down = True
        self.family.plan_shutdown()
        for record in self.family.table.values():
            self.agenda.mark(record)

    def hurry(self) -> None:
        """At shutdown: nobody waits for anybody any more."""
        for record in self.family.table.values():
            record.stops_after = frozenset()
            self.agenda.mark(record)

    # the loop

    def advance(self, now: float, wall: float) -> list[Effect]:
        """Bring everything up to `now`; returns what the outside shall do."""
        self.tell_time(now, wall)
        for due in self.agenda.due():
            self.lag.add(now - due.at)
            self._ring(due)
        looks: dict[str, int] = {}
        for record in self.agenda.changed():
            looks[record.path] = look = looks.get(record.path, 0) + 1
            if look <= self.limits.looks_at_once:
                self._evaluate(record)
            else:  # workers that keep changing each other must not keep the others waiting
                self.agenda.look(record, now + self.limits.retry_first)
        return self.agenda.effects()

    def _ring(self, due: Due) -> None:
        record = due.record
        if self.family.table.get(record.path) is not record:
            return
        match due.kind:
            case Timer.LOOK:
                record.look_at = FOREVER
                self.agenda.mark(record)
            case Timer.RESYNC:
                self.agenda.mark(record)
                self._plan_resync(record)
            case Timer.OBSERVE:
                self._observing.due(record, due.token)
            case Timer.OBSERVE_TIMEOUT:
                self._observing.timed_out(record, due.token)
            case Timer.STALE:
                self._observing.check_stale(record)
            case Timer.ACT_TIMEOUT:
                self._acting.timed_out(record, due.token)

    def _evaluate(self, record: Record) -> None:
        before = (record.position.state, record.reason, record.stalled, record.wanted)
        self._settle_intent(record)
        if not record.circuit.open or self.agenda.now >= record.circuit.retry_at:
            try:
                if self._live(record):
                    record.circuit.close()
            except (Exception, SystemExit) as error:  # a worker that calls sys.exit() is no reason to leave
                self._fault(record, error)
        else:
            self.agenda.look(record, record.circuit.retry_at)
        if record.removing:
            self._wind_up(record)
        if before != (record.position.state, record.reason, record.stalled, record.wanted):
            self.family.announce(record)
            if self.agenda.shutting_down:
                self._release(record)
            if before[0] == record.position.state:
                self._tell(record, None)

    def _release(self, record: Record) -> None:
        """At shutdown: whoever waits for this worker to come to rest looks again."""
        for needed in record.needs:
            if needed in self.family.table:
                self.agenda.mark(self.family.table[needed])

    def _settle_intent(self, record: Record) -> None:
        """Whether it is wanted running: by the agent, its parent, whoever enabled it, and its own desired state."""
        wanted = (
            not (self.agenda.shutting_down and not self.family.still_needed(record))
            and not record.removing
            and record.enabled
            and not record.disabled
            and not record.restarting
            and (record.parent is None or record.parent.wanted)
            and not wants_stop(record.desired)
        )
        if wanted != record.wanted:
            record.wanted = wanted
            record.circuit.try_now(self.agenda.now)
            for child in self.family.children_of(record):
                self.agenda.mark(child)
            if record.alive:
                self._observing.now(record)

    def _live(self, record: Record) -> bool:
        """Everything that runs the worker's own code. False when there was nothing to try it on."""
        if record.worker is None:
            worker = self.registry.create(record.type)
            worker.context = self.context(record)
            record.worker = worker
        if record.spec_changed:
            self._derive(record)
        if record.derived and not record.alive:
            self._bring_to_life(record)
        if not record.alive:
            return True
        decided = self._step(record)
        if record.restarting and record.at_rest and not record.wanted:
            record.restarting = False
            self.agenda.mark(record)
        if record.children_due and not record.removing:
            assert record.worker is not None
            self.family.want(record, record.worker.children(record.desired, record.state))
            record.children_due = False
        return decided

    def _derive(self, record: Record) -> None:
        assert record.worker is not None
        record.spec_changed = False
        try:
            desired = record.worker.derive_desired_state(record.spec)
            if record.worker.interval <= 0 or record.worker.timeout <= 0:
                raise ValueError(
                    f"interval {record.worker.interval} and timeout {record.worker.timeout} must be above 0 s"
                )
            differs = bool(desired != record.desired)
        except (Exception, SystemExit) as error:
            record.spec_error = f"{type(error).__name__}: {error}"
            if not record.alive:
                record.reason = f"config error: {record.spec_error}"
            return
        record.spec_error = ""
        record.seen_generation = record.generation
        record.derived = True
        if differs:
            record.desired = desired
            record.children_due = True
            self._settle_intent(record)
            if record.alive:
                self._observing.now(record)

    def _bring_to_life(self, record: Record) -> None:
        """From `to_be_created` over `creating` to the machine's initial state, once there is a first good observation."""
        assert record.worker is not None
        if record.state == "to_be_created" and not record.removing:
            self._move(record, "create", "creating", "waiting for the first observation")
            self._observing.begin(record)
        if record.state == "creating":
            if record.has_observed and not record.removing:
                initial = record.worker.initial_state()
                if initial not in record.worker.machine.by_name:
                    raise ValueError(
                        f"initial_state() says {initial!r}, which is no state of machine {record.worker.machine.name!r}"
                    )
                self._move(record, "create_done", initial, "created")
                self._plan_resync(record)
            elif record.error:
                record.reason = f"waiting for the first observation: {record.error}"

    def _plan_resync(self, record: Record) -> None:
        self.agenda.at(
            self.agenda.now + self.limits.resync * self.agenda.jitter.uniform(0.75, 1.25), Timer.RESYNC, record
        )

    def _step(self, record: Record) -> bool:
        """Decide until it stays; then act, and note when time alone could change the decision. False when it may not decide."""
        assert record.worker is not None
        if record.forced:
            forced, record.forced = record.forced, ""
            self._move(record, "forced", forced, "forced by the operator")
        if self._is_paused(record) or (record.stale and record.wanted):
            record.acts = False
            return False
        for _ in range(self.limits.moves_at_once):
            decision = decide(record.worker.machine, record.position, self.snapshot(record), self.agenda.now)
            if (
                decision.arc is not None
                and decision.arc.target.phase is Phase.STOPPED
                and self._acting.unsettled(record)
            ):
                decision = self._not_stopped_yet(record)
            if decision.arc is None:
                self._stay(record, decision)
                return True
            self._move(record, decision.arc.event, decision.state, decision.reason)
        self.agenda.look(record, self.agenda.now + self.limits.retry_first)
        return True

    def _is_paused(self, record: Record) -> bool:
        """Paused by an operator, which does not hold up a removal or the end of the agent."""
        return bool(record.paused) and not record.removing and not self.agenda.shutting_down

    def _not_stopped_yet(self, record: Record) -> Decision:
        """It looks stopped, but by news from before its last action: what is still starting would be left behind."""
        assert record.worker is not None
        state = record.worker.machine.by_name[record.state]
        waits_for = f"{' and '.join(record.running)} to end" if record.running else "a fresh observation"
        return Decision(
            state.name, None, (state.act,) if state.act else (), f"waiting for {waits_for}", record.position.held
        )

    def _stay(self, record: Record, decision: Decision) -> None:
        record.acts = bool(decision.effects)
        for name in decision.effects:
            self._acting.ask(record, name)
        record.reason = f"{decision.reason} ({record.action_error})" if record.action_error else decision.reason
        if decision.held or record.position.held:
            record.position = record.position._replace(held=decision.held)
        if decision.wake_at is not None:
            self.agenda.look(record, decision.wake_at)

    def _move(self, record: Record, event: str, target: str, reason: str) -> None:
        source = record.position.state
        record.tally.left(source, self.agenda.now - record.position.entered_at)
        record.position = Position(target, self.agenda.now)
        record.since, record.reason = self.agenda.wall, reason
        record.transitions += 1
        record.retry = False
        record.children_due = True
        record.action_failures, record.action_error, record.action_retry_at = 0, "", float("-inf")
        self._tell(record, Transition(record.path, self.agenda.wall, event, source, target, reason))

    def _tell(self, record: Record, transition: Transition | None) -> None:
        for listener in self._listeners:
            try:
                listener(record, transition)
            except Exception:  # of whoever listens, not of the worker
                log.exception("a listener failed", path=record.path)

    def _fault(self, record: Record, error: BaseException) -> None:
        """The worker's own code raised: count it, open its circuit after several, try again in any case."""
        agenda, circuit = self.agenda, record.circuit
        text = f"{type(error).__name__}: {error}"
        retry_at = circuit.fault(agenda.now, text, self.limits, agenda.jitter, at_once=record.worker is None)
        record.reason = text
        agenda.look(record, retry_at)

    def _wind_up(self, record: Record) -> None:
        """Removal: after a graceful stop, and after its children. One that cannot be asked is removed as it is, and that is said."""
        self.family.remove_children(record)
        cannot = "" if record.at_rest else self._cannot_be_asked(record)
        if record.children or not (record.at_rest or cannot):
            return
        self._move(
            record, "remove", "removing", f"removed without being stopped: {cannot}" if cannot else "no longer wanted"
        )
        self._move(record, "remove_done", "removed", "removed")
        self.family.forget(record)

    def _cannot_be_asked(self, record: Record) -> str:
        """Why a worker that is to go cannot be brought to rest: its code keeps failing, or nobody sees any more what it does."""
        if record.circuit.open:
            return record.circuit.reason
        blind_for = self.agenda.now - max(record.sampled_at, record.position.entered_at)
        if record.hung_reason and not record.running and blind_for > self.limits.action_timeout:
            return record.hung_reason
        self.agenda.look(record, self.agenda.now + self.limits.action_timeout)
        return ""

    # what others may see

    def snapshot(self, record: Record) -> Snapshot[Any, Any]:
        """All that a decision of this worker may depend on, as it is now."""
        if record.facts is None:
            record.facts = Facts(record.children, self._facts_for(record))
        if record.peers is None:
            record.peers = Facts(record.reads, self._facts_for(record))
        return Snapshot(
            record.path,
            record.in_force,
            record.observed,
            record.state,
            record.wanted,
            record.error,
            record.facts,
            record.peers,
            record.retry,
        )

    def _facts_for(self, reader: Record) -> Callable[[str], Fact]:
        observed = reader.worker is not None and reader.worker.sees_observations
        return lambda path: self.fact(path, observed=observed)

    def fact(self, path: str, *, observed: bool = True) -> Fact:
        """What may be known of the worker at a path; a fact with state `missing` when there is none."""
        record = self.family.table.get(path)
        return record.fact(observed=observed) if record is not None else Fact(path)

    @property
    def at_rest(self) -> bool:
        """Every worker is stopped or cannot be asked any more."""
        return all(record.at_rest or record.circuit.open for record in self.family.table.values())

    def not_at_rest(self) -> list[str]:
        return [record.path for record in self.family.table.values() if not record.at_rest]
