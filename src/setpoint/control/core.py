"""The core: the loop that keeps have = want, with no clock and no I/O of its own.

    results and new specs come in  →  they mark workers  →  advance(now) evaluates what is marked or due  →  effects go out

Cost is in proportion to what changed: a worker whose observation, spec, children and peers are the same is not looked at. An exception
in a worker's own code concerns that worker alone: it is counted, shown, and tried again ever more slowly behind an open circuit.

Each matter has a room of its own: `life` (how a worker comes and goes), `intent` (whether it shall run), `deciding`, `observing`,
`acting`, `family` (the table of all workers), `operator` (what people tell it), `remembering` (what outlives the agent).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from setpoint.control.acting import Acting
from setpoint.control.agenda import Agenda, Effect, Listener, Timer
from setpoint.control.deciding import Deciding
from setpoint.control.family import Family
from setpoint.control.intent import Intent
from setpoint.control.life import Life
from setpoint.control.limits import Limits
from setpoint.control.observing import Observing, Outcome
from setpoint.control.operator import Operator, Verb
from setpoint.control.record import FOREVER, PUBLIC_SCOPE, Record
from setpoint.control.registry import Registry
from setpoint.control.remembering import Remembering
from setpoint.control.snapshot import Fact, Observation, Snapshot
from setpoint.control.tally import Lag
from setpoint.control.variables import Scope
from setpoint.control.worker import ChildSpec
from setpoint.store import Store, Transition

CLOCK_WAS_SET_S = 2.0
"""The wall clock was set when it and the monotonic one have moved apart by more than this."""


class Core:
    """The control runtime of one tree of workers. Single-threaded; a call happens at the time last given to `advance` or `tell_time`.

    `scope` is what specs at the top may name. With a `store` the workers go on where its last run left them.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        root: str = "agent",
        limits: Limits | None = None,
        seed: int = 0,
        scope: Scope = PUBLIC_SCOPE,
        store: Store | None = None,
    ) -> None:
        self.registry = registry
        self.limits = limits or Limits()
        self.lag = Lag()
        self.agenda = agenda = Agenda(self.limits, seed)
        self.family = Family(agenda, root, scope)
        self._remembering = Remembering(agenda, self.family, store)
        self._observing = Observing(agenda)
        self._acting = Acting(agenda, self._observing)
        self.deciding = Deciding(agenda, self.family, self._acting)
        self._intent = Intent(agenda, self.family, self._observing)
        self.life = Life(agenda, self.family, self._observing, self.deciding, registry, self._remembering)
        self._operator = Operator(agenda, self._observing, self.deciding)
        self._rings: dict[Timer, Callable[[Record, float], None]] = {
            Timer.LOOK: self._look,
            Timer.RESYNC: self._resync,
            Timer.COLLECT: self._observing.rings,
            Timer.STALE: self._observing.check_stale,
            Timer.ACT_TIMEOUT: self._acting.timed_out,
        }
        self.deciding.want_children = self._want_children
        self._observing.told = self._observation_changed

    # what comes in

    def tell_time(self, now: float, wall: float) -> None:
        """Tell the time: `now` in monotonic seconds, `wall` in seconds since the epoch."""
        agenda = self.agenda
        agenda.now, agenda.wall = now, wall
        if abs((wall - now) - agenda.offset) > CLOCK_WAS_SET_S:
            agenda.offset = wall - now
            for record in self.family.table.values():  # what is stored counts from wall times
                record.remembered = ()
                agenda.mark(record)

    def listen(self, listener: Listener) -> None:
        """Have every change that people can see told to the listener."""
        self.agenda.listen(listener)

    def want(self, specs: Sequence[ChildSpec]) -> None:
        """Set the top of the tree. Raises `ValueError` when two workers have the same name."""
        self.family.want_at_top(specs)
        self._remembering.only(None, {spec.name for spec in specs})

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
        if record is not None and record.worker is not None and record.state not in ("to_be_created", "removed"):
            self._observing.now(record)

    def acted(self, path: str, token: int, outcome: Outcome) -> None:
        """An action asked for by an `Act` effect ended."""
        if record := self.family.table.get(path):
            self._acting.ended(record, token, outcome)

    def tell(self, path: str, verb: Verb, *, why: str, state: str = "") -> None:
        """An operator's verb. Raises `KeyError` when there is no such worker, `NotPossible` when it cannot be done."""
        record = self.family.table[path]
        self._operator.tell(record, verb, why=why, state=state)
        self._remembering.standing(record)
        wall = self.agenda.wall
        moved_to = state or record.state
        self.agenda.tell(
            record, Transition(path, wall, f"operator_{verb}", record.state, moved_to, why, type=record.type)
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
        agenda = self.agenda
        self.tell_time(now, wall)
        while due := agenda.take_due():
            self._ring(*due)
        if not agenda.any_changed:
            return agenda.effects()
        looks: dict[str, int] = {}
        while record := agenda.next_changed():
            looks[record.path] = look = looks.get(record.path, 0) + 1
            if look <= self.limits.looks_at_once:
                self._evaluate(record)
            else:  # workers that keep changing each other must not keep the others waiting
                agenda.look(record, now + self.limits.retry_first)
        return agenda.effects()

    def _ring(self, at: float, order: int, kind: Timer, record: Record, token: float) -> None:
        late = self.agenda.now - at
        self.lag.add(late)
        if self.family.table.get(record.path) is record:
            record.lag = late
            self._rings[kind](record, token)

    def _look(self, record: Record, token: float) -> None:
        record.look_at = FOREVER
        self.agenda.mark(record)

    def _resync(self, record: Record, token: float) -> None:
        record.resyncs = False
        self.agenda.mark(record)
        self._plan_resync(record)

    def _plan_resync(self, record: Record) -> None:
        if record.resyncs:
            return
        record.resyncs = True
        pause = self.limits.resync * self.agenda.jitter.uniform(0.75, 1.25)
        self.agenda.at(self.agenda.now + pause, Timer.RESYNC, record)

    def _evaluate(self, record: Record) -> None:
        """Everything about one worker whose inputs changed, or whose time has come."""
        self._intent.settle(record)
        if not record.circuit.reason or self.agenda.now >= record.circuit.retry_at:
            try:
                if self._live(record):
                    record.circuit.close()
            except (Exception, SystemExit) as error:  # a worker that calls sys.exit() is no reason to leave
                self._fault(record, error)
        else:
            record.unwatched()
            self.agenda.look(record, record.circuit.retry_at)
        if record.removing:
            self.life.wind_up(record)
        elif record.restarting:
            self.life.anew(record)
        self._announce(record)

    def _live(self, record: Record) -> bool:
        """Everything that runs the worker's own code. False when there was nothing to try it on."""
        life = self.life
        if record.worker is None and self.agenda.shutting_down:
            return True
        life.make(record)
        if record.spec_changed and life.derive(record):
            self._intent.settle(record)
            if record.alive:
                self._observing.now(record)
        if not record.alive and not self._begin(record):
            return True
        decided = self.deciding.step(record)
        self._want_children(record)
        return decided

    def _want_children(self, record: Record) -> None:
        """Have the children that the worker wants in its present state, if that may have changed."""
        if record.children_due and not record.removing:
            assert record.worker is not None
            wanted = record.worker.children(record.desired, record.state)
            self.family.want(record, wanted)
            record.children_due = False
            self._remembering.only(record, {spec.name for spec in wanted})

    def _begin(self, record: Record) -> bool:
        """True once it is alive."""
        if record.derived:
            self.life.begin(record)
        if record.alive:
            self._plan_resync(record)
        return record.alive

    def _fault(self, record: Record, error: BaseException) -> None:
        """The worker's own code raised: count it, open its circuit after several, try again in any case."""
        agenda, circuit = self.agenda, record.circuit
        text = f"{type(error).__name__}: {error}"
        retry_at = circuit.fault(agenda.now, text, self.limits, agenda.jitter, at_once=record.worker is None)
        record.reason = text
        agenda.look(record, retry_at)

    def _announce(self, record: Record) -> None:
        """Tell those that look at the worker, people, and the store, of what has changed about it."""
        self._remembering.standing(record)
        before = record.told
        told = (record.position.state, record.reason, record.stalled or record.waits_for, record.wanted)
        if told == before:
            return
        record.told = told
        self.family.announce(record)
        if self.agenda.shutting_down:
            for other in self.family.waiting_on(record):
                self.agenda.mark(other)
        if before[0] == told[0]:
            self.agenda.tell(record, None)

    def _observation_changed(self, record: Record) -> None:
        self.family.announce_observation(record)
        self._remembering.observed(record)

    # what others may see

    def snapshot(self, record: Record) -> Snapshot[Any, Any]:
        """All that a decision of this worker may depend on, as it is now."""
        return self.deciding.snapshot(record)

    def fact(self, path: str) -> Fact:
        """What may be known of the worker at a path; a fact with state `missing` when there is none."""
        return self.deciding.fact(path)

    def resting(self) -> Callable[[], bool]:
        """A question to be asked again and again while everything stops: whether every worker is at rest or cannot be asked any more."""
        left = list(self.family.table.values())

        def all_rest() -> bool:
            while left and (left[-1].at_rest or left[-1].circuit.open):
                left.pop()
            return not left

        return all_rest

    def not_at_rest(self) -> list[str]:
        return [record.path for record in self.family.table.values() if not record.at_rest]
