"""The laws: what must hold at every moment of every run, whatever goes wrong.

Each law is checked from outside, by what the core does and shows, with books of the simulator's own: the core is not asked whether it
kept its rules. Most are checked where they can be broken (an action starts, a worker moves); those about things that fail to happen are
checked every few seconds for all workers.

    one-action        never two actions of one name in flight for one worker
    fresh-news        no action on an observation that started before the last action ended, or that has gone stale
    along-an-arc      a move follows an arc of the machine, or was forced by the operator
    reason            a worker that is neither well nor stopped says why
    looked-at         every worker is measured on time: a sibling's fault never costs it more than one interval
    said-stalled      a worker nobody can see any more says so
    not-removed       nothing that is wanted is removed
    stops-in-time     told to stop, with a world that obeys, it stops within its budget
    reaches-target    with nothing wrong around it, a worker reaches its target within the bound, or says stalled and why
    keeps-target      ... and stays there
    comes-to-rest     time goes on: the core does not keep itself busy at one moment
    clean-exit        the agent, told to stop, leaves nobody behind

A worker is judged by the last three of these only while all is *calm* around it: no fault on it, its family, or the workers it reads or
needs, for longer than the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from setpoint.control import LIFECYCLE, ChildSpec, Limits
from setpoint.control.intent import wants_stop
from setpoint.control.record import Record
from setpoint.control.views import reason_text
from setpoint.machine import Phase
from setpoint.store import Transition
from setpoint.testing.simulation.faults import Fault

FOREVER = NEVER_DUE = float("inf")
GRACE_INTERVALS = 2.5
"""A worker is measured again after half an interval to one and a half; one more is the grace."""
MOVES_SHOWN = 12
FAULTS_SHOWN = 12
LIFE = frozenset(state.name for state in LIFECYCLE.states if state.phase is None)
SAY_WHY = (Phase.STARTING, Phase.DEGRADED, Phase.STOPPING, Phase.FAILED)
REST = (Phase.HEALTHY, Phase.STOPPED)


class Move(NamedTuple):
    """One move of one worker; `at` is in seconds of virtual time, `phase` is that of the target, "" outside of the worker's machine."""

    at: float
    path: str
    event: str
    source: str
    target: str
    reason: str
    phase: str

    @staticmethod
    def of(transition: Transition, record: Record, at: float) -> Move:
        event, source, target, reason = transition.event, transition.source, transition.target, transition.reason
        return Move(at, record.path, event, source, target, reason, (record.phase or "") if record.alive else "")

    def __str__(self) -> str:
        return f"{self.at:10.2f}  {self.path}: {self.source} → {self.target} ({self.event}: {self.reason})"


class Violation(Exception):
    """A law was broken: which one, when, by whom, in which run, and what happened before."""

    def __init__(self, law: str, path: str, text: str, *, at: float, moves: Sequence[Move]) -> None:
        super().__init__(law, path, text)
        self.law, self.path, self.text, self.at, self.moves = law, path, text, at, tuple(moves)
        self.seed = 0
        self.faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.law}: {self.path} at {self.at:.2f} s, seed {self.seed}: {self.text}"]
        faults = [fault for fault in self.faults if fault.begin <= self.at]
        lines += [f"  and {len(faults) - FAULTS_SHOWN} faults before"] if len(faults) > FAULTS_SHOWN else []
        lines += [f"  fault {fault}" for fault in faults[-FAULTS_SHOWN:]]
        lines += [f"  {move}" for move in self.moves]
        return "\n".join(lines)


class Around:
    """What is known of the world around one family of workers; seconds."""

    __slots__ = ("calm", "obeys", "troubles")

    def __init__(self, now: float) -> None:
        self.calm = self.obeys = now  # since when nothing has changed, and since when the world behaves
        self.troubles = 0  # faults of the world that have not healed

    def disturb(self, now: float, troubles: int) -> None:
        """Something changes; so many faults of the world more."""
        self.calm = now
        self.troubles += troubles
        if troubles < 0:
            self.obeys = now


class Watch:
    """The simulator's own book on one worker. Orders are places in the one order of all starts and ends; the rest are seconds."""

    __slots__ = (
        "acted", "around", "due_by", "eyes", "good", "good_at", "hands", "hung", "in_flight", "looking", "moves", "path", "record",
        "settled", "wanted", "wanted_at",
    )  # fmt: skip

    def __init__(self, path: str, around: Around, now: float) -> None:
        self.path = path
        self.around = around
        self.eyes: Any = None  # what a fault puts around its observations
        self.hands: Any = None
        self.moves: deque[Move] = deque(maxlen=MOVES_SHOWN)
        self.renew(None, now)

    def renew(self, record: Record | None, now: float) -> None:
        """A new agent, or a new worker at this path."""
        self.record = record
        self.in_flight: dict[str, int] = {}
        self.looking = 0  # token of the observation in flight
        self.good = self.acted = 0
        self.good_at = now
        self.due_by = FOREVER
        self.hung = 0
        self.settled = False
        self.wanted, self.wanted_at = True, now


class Laws:
    """Checks one run. `broken` is the first violation, once there is one."""

    def __init__(self, limits: Limits, *, now: Callable[[], float], stops_in: float) -> None:
        self._limits = limits
        self._now = now
        self._stops_in = stops_in
        self.bound = FOREVER  # until the run knows how long its tree takes to come up
        self.height = 1  # levels of the tree
        self.broken: Violation | None = None

    def breach(self, law: str, watch: Watch, text: str) -> None:
        if self.broken is None:
            self.broken = Violation(law, watch.path, text, at=self._now(), moves=watch.moves)

    def is_calm(self, watch: Watch) -> bool:
        return not watch.around.troubles and self._now() - max(watch.around.calm, watch.wanted_at) > self.bound

    # where laws can be broken

    def looks_late(self, watch: Watch) -> None:
        self.breach("looked-at", watch, f"was due to be measured by {watch.due_by:.2f} s")

    def acts(self, watch: Watch, record: Record, name: str, desired: object) -> None:
        """An action is about to start, decided on for this desired state."""
        if name in watch.in_flight:
            self.breach("one-action", watch, f"{name} starts while {name} is in flight")
        if watch.good <= watch.acted:
            self.breach("fresh-news", watch, f"{name} starts on an observation from before the last action ended")
        age = self._now() - watch.good_at
        stops = wants_stop(desired) or not record.wanted  # to stop what nobody sees is allowed
        if age > self.fresh_for(record) + 1e-6 and not stops:
            self.breach("fresh-news", watch, f"{name} starts on an observation {age:.1f} s old")

    def fresh_for(self, record: Record) -> float:
        interval = record.worker.interval if record.worker is not None else 0.0
        return max(self._limits.stale_after, 3 * interval)

    def moves(self, watch: Watch, record: Record, transition: Transition, wanted: Mapping[str, ChildSpec]) -> None:
        """A worker has moved."""
        now = self._now()
        watch.moves.append(Move.of(transition, record, now))
        if transition.event.startswith("operator_"):  # a note, not a move
            if transition.event == "operator_resume":
                watch.wanted_at = now  # while it was paused it was not to do what it was told
            return
        if transition.event == "remove" and not record.finished:
            self._removes(watch, record, wanted)
        if transition.source in LIFE or transition.target in LIFE or record.worker is None:
            return
        if transition.event == "forced":
            watch.wanted_at = now  # the way to its target begins anew
        elif not _has_arc(record, transition):
            self.breach("along-an-arc", watch, f"{transition.source} → {transition.target} is no arc of its machine")
        phase = record.worker.machine.by_name[transition.target].phase
        if phase is Phase.STOPPED and not record.wanted:
            self._stopped(watch, record)
        if watch.settled and self.is_calm(watch) and phase not in REST:
            self.breach("keeps-target", watch, f"left {transition.source} for {transition.target}: {transition.reason}")

    def appears(self, watch: Watch) -> None:
        """There is a new row where there was one."""
        if watch.record is not None:
            self.breach("not-removed", watch, "was taken away without a word, and put there anew")

    def _removes(self, watch: Watch, record: Record, wanted: Mapping[str, ChildSpec]) -> None:
        parent = record.parent
        if parent is None:
            names = wanted
        elif parent.removing or not parent.alive or parent.worker is None or parent.circuit.failures:
            return  # nobody can say what it wants
        else:
            try:
                names = {child.name: child for child in parent.worker.children(parent.desired, parent.state)}
            except Exception:  # its parent is under a fault
                return
        spec = names.get(record.name)
        if spec is not None and spec.worker_type == record.type:
            self.breach("not-removed", watch, "is removed although it is wanted")

    def _stopped(self, watch: Watch, record: Record) -> None:
        took = self._now() - watch.wanted_at
        if watch.wanted is False and took > self._budget(watch, record):
            self.breach(
                "stops-in-time", watch, f"took {took:.1f} s to stop; its budget is {self._budget(watch, record):.1f} s"
            )

    def _budget(self, watch: Watch, record: Record) -> float:
        """How long it may take to stop: without end while something is wrong, longer while what was wrong has its after-effects."""
        if watch.around.troubles or record.paused:
            return FOREVER
        if watch.wanted_at - watch.around.obeys > self.bound:
            return self._stops_in * self.height
        return max(watch.around.obeys, watch.wanted_at) + self.bound - watch.wanted_at

    # what fails to happen

    def sweep(self, watches: Iterable[Watch]) -> None:
        """Look at every worker."""
        for watch in watches:
            if watch.record is not None:
                self._look_at(watch, watch.record)

    def _look_at(self, watch: Watch, record: Record) -> None:
        now = self._now()
        if now > watch.due_by:
            self.looks_late(watch)
        if watch.settled and now - watch.good_at < self._limits.stale_after:
            return  # it was well when it was last looked at, and nothing has been told of it since
        if record.alive:
            self._look_at_words(watch, record, now)
            if not record.wanted and not record.at_rest and now - watch.wanted_at > self._budget(watch, record):
                took = now - watch.wanted_at
                self.breach("stops-in-time", watch, f"is {record.state} {took:.1f} s after it was told to stop")
        if self.is_calm(watch):
            self._look_at_target(watch, record, record.stalled)

    def _look_at_words(self, watch: Watch, record: Record, now: float) -> None:
        """Whether it says what there is to say."""
        blind_for = now - watch.good_at
        if blind_for > self.fresh_for(record) + 1.0 and not record.stalled:
            self.breach("said-stalled", watch, f"the last good observation is {blind_for:.1f} s old")
        if record.phase in SAY_WHY and not reason_text(record):
            self.breach("reason", watch, f"is {record.state} and does not say why")

    def _look_at_target(self, watch: Watch, record: Record, stalled: str) -> None:
        target = Phase.HEALTHY if record.wanted else Phase.STOPPED
        there = record.phase is target and not stalled and record.generation == record.seen_generation
        # what heals must not only be said to be broken: an open circuit or a stale worker has to come back
        failed = record.alive and record.phase is Phase.FAILED
        excused = bool(stalled) and bool(record.spec_error or record.paused or record.blocked or failed)
        watch.settled = there
        if not there and not excused and not (not record.wanted and not record.alive):
            calm = self._now() - watch.around.calm
            self.breach(
                "reaches-target",
                watch,
                f"is {record.state} after {calm:.0f} s with nothing wrong: {reason_text(record)}",
            )


def _has_arc(record: Record, transition: Transition) -> bool:
    assert record.worker is not None
    arcs = record.worker.machine.outgoing(transition.source)
    return any(arc.event == transition.event and arc.target.name == transition.target for arc in arcs)
