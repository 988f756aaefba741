"""The simulator: the control runtime driven without an event loop, on virtual time, with faults, every law checked.

It drives `setpoint.control.core.Core` itself: what the core asks for (observe, act, abandon) is done by running the worker's code by hand,
and time jumps from one event to the next. There is one heap of events and one seed; a run with the same seed takes the same steps.

A run has four parts. The tree comes up with nothing wrong, which says how long that takes. Then faults begin and heal. Then all is well
for long enough that everything must be where it is wanted, and stay. At last the agent is told to stop.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from setpoint.control import ChildSpec, Context, Limits, Observation
from setpoint.control.agenda import Observe
from setpoint.control.core import Core
from setpoint.control.record import Record
from setpoint.control.registry import AnyWorker
from setpoint.machine import Phase
from setpoint.store import MemoryStore, Transition
from setpoint.testing.simulation.calls import Clock, Handle
from setpoint.testing.simulation.carrier import Carrier
from setpoint.testing.simulation.faults import Fault, draw
from setpoint.testing.simulation.kinds import KINDS
from setpoint.testing.simulation.laws import NEVER_DUE, Around, Laws, Move
from setpoint.testing.simulation.neighbours import Neighbours
from setpoint.testing.simulation.scene import Heal, MakeScene

SWEEP_S = 5.0
"""Between two looks at all workers, for what fails to happen."""
STAYS_S = 60.0
"""How long everything must stay where it is wanted, at the end of a run."""
COMES_UP_WITHIN_S = 600.0
STEPS_AT_ONCE = 100_000
"""So many steps without time passing are a runtime that keeps itself busy."""
AGENT_WIDE = tuple(name for name, kind in KINDS.items() if kind.befalls == "agent")
MakeCore = Callable[..., Core]
Change = Callable[[ChildSpec], ChildSpec | None]


class Simulation:
    """One run. Its methods raise `Violation` when a law is broken, `NotSimulated` when a worker needs what virtual time has not.

    `every` is the mean time in seconds between two faults on one family of workers. `faults` are given, else drawn from the seed out of
    `kinds` (all by default). `core` makes the runtime, as `Core` does; with a `store` its workers go on where that says they were.
    """

    def __init__(
        self,
        make_scene: MakeScene,
        *,
        seed: int = 0,
        kinds: Sequence[str] | None = None,
        faults: Sequence[Fault] | None = None,
        every: float = 300.0,
        limits: Limits | None = None,
        core: MakeCore = Core,
        progress: Callable[[float], None] | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        self.seed = seed
        self.limits = limits or Limits()
        self.clock = Clock()
        self.scene = scene = make_scene(random.Random(f"{seed}/world"))
        self.moves: list[Move] = []
        self.told: list[tuple[float, str]] = []  # what befell the run, for people
        self.faults: tuple[Fault, ...] = tuple(faults or ())
        self.comes_up_in = 0.0
        self.told_to_stop_at = NEVER_DUE
        self.store = store or MemoryStore(wall=self.clock.wall)
        self.laws = Laws(self.limits, now=self.clock.time, stops_in=scene.stops_in)
        self.neighbours = Neighbours(scene.root, (spec.name for spec in scene.want), self.clock.time)
        self.carrier = Carrier(self.clock, self.limits, self.laws, self.neighbours)
        self._drawn = faults is None
        self._kinds = kinds
        self._every = every
        self._make_core = core
        self._progress = progress or (lambda at: None)
        self._changes: dict[str, list[Change]] = {}
        self._wanted: dict[str, ChildSpec] = {}
        self._finished: set[str] = set()  # those that asked for their own removal
        self._fuse = 0  # effects until the agent is killed; 0: it is not
        self.core = self._new_core()

    @property
    def ticks(self) -> int:
        """Observations taken so far."""
        return self.carrier.ticks

    # the agent

    def _new_core(self) -> Core:
        """A new agent over the world as it is; what the store remembers of the workers, it goes on with."""
        core = self._make_core(
            self.scene.registry(), root=self.scene.root, limits=self.limits, seed=self.seed, store=self.store
        )
        core.life.context = self._context
        core.listen(self._heard)
        core.tell_time(self.clock.now, self.clock.wall())
        self.core = self.carrier.core = core
        self.want_again()
        return core

    def want_again(self) -> None:
        """Tell the core what is wanted, with the changes that are in force."""
        specs = list(self._changed())
        self._wanted = {spec.name: spec for spec in specs}
        self.neighbours.tree_changed()
        self.core.want(specs)

    def _changed(self) -> Iterable[ChildSpec]:
        for spec in self.scene.want:
            changed: ChildSpec | None = spec
            for change in self._changes.get(spec.name, ()):
                changed = change(changed) if changed is not None else None
            if changed is not None:
                yield changed

    def want(self, specs: Sequence[ChildSpec]) -> None:
        """Ask for another tree from now on."""
        self.scene = replace(self.scene, want=specs)
        self.want_again()

    def change(self, name: str, change: Change) -> Heal:
        """Change the wish for a worker at the top; returns what takes the change back."""
        changes = self._changes.setdefault(name, [])
        changes.append(change)
        self.want_again()

        def take_back() -> None:
            changes.remove(change)
            self.want_again()

        return take_back

    def kill_after(self, effects: int) -> None:
        """Kill the agent once it has done so much more, and start a new one at once."""
        self._fuse = effects

    def _burn(self) -> bool:
        """One effect nearer to being killed; True when it was."""
        self._fuse -= 1
        if not self._fuse:
            self._kill()
        return not self._fuse

    def _kill(self) -> None:
        now = self.clock.now
        self.store = self.store.reopened()
        self.carrier.drop_all()
        for watch in self.neighbours.watches.values():
            watch.renew(None, now)
        for family in self.neighbours.all():
            family.calm = family.obeys = now
        self.told.append((now, "the agent is killed and started again"))
        self._new_core()

    # what faults and models need

    def record(self, path: str) -> Record | None:
        return self.core.family.table.get(path)

    def _context(self, record: Record, worker: AnyWorker) -> Context:
        path = record.path

        def push(value: Observation) -> None:
            if self.record(path) is record and record.worker is worker:
                self.carrier.pushed(path, value)

        def observe() -> None:
            if self.record(path) is record and record.worker is worker:
                self.carrier.tell_time()
                self.core.observe(path)

        return Context(path, push, observe, self.core.fact)

    # the run

    def run(self, seconds: float) -> None:
        """The whole of a run, with faults for so many seconds."""
        self.come_up()
        self.endure(seconds)
        self.recover()
        self.shut_down()

    def come_up(self) -> None:
        """Bring the tree up with nothing wrong, until everything is where it is wanted or says why not; and learn how long that takes."""
        while not all(map(_settled, self.core.family.table.values())) and self.clock.now < COMES_UP_WITHIN_S:
            self.advance(self.clock.now + 1.0)
        self.comes_up_in = self.clock.now
        self.told.append((self.clock.now, "everything is up"))
        self.advance(self.clock.now + 2 * SWEEP_S)
        self.laws.height = self.core.family.height()
        self.laws.bound = self._bound()

    def _bound(self) -> float:
        """How long recovery may take: an action that hangs, the longest pause after a failure, the machines' own waits, and coming up."""
        workers = [record.worker for record in self.core.family.table.values() if record.worker is not None]
        slowest = max((worker.interval + worker.timeout for worker in workers), default=0.0)
        limits = self.limits
        longest = max(limits.action_timeout, limits.restart_timeout) + limits.retry_cap + limits.resume_patience
        return longest + self.scene.waits + self.comes_up_in + 3 * slowest + SWEEP_S

    def endure(self, seconds: float) -> None:
        """Let faults begin and heal for so many seconds."""
        end = self.clock.now + seconds
        if self._drawn:
            every = self._every / max(1, len(self.scene.want))
            rng = random.Random(f"{self.seed}/faults")
            self.faults = tuple(draw(rng, self._targets(), begin=self.clock.now, end=end, every=every, rare=AGENT_WIDE))
        self.arm(self.faults)
        self.advance(max([end, *(fault.end for fault in self.faults)]))

    def arm(self, faults: Iterable[Fault]) -> None:
        """Have these faults begin and heal when their time comes. Raises `KeyError` for a kind that does not exist."""
        for fault in faults:
            if fault.kind not in KINDS and fault.kind not in self.scene.troubles:
                raise KeyError(fault.kind)
            self.clock.call_at(fault.begin, self._begin, fault)

    def _targets(self) -> Mapping[str, Sequence[str]]:
        """What each kind of fault can befall."""
        root = self.scene.root
        befalls = {
            "worker": sorted(self.core.family.table),
            "top": [f"{root}/{spec.name}" for spec in self.scene.want],
            "agent": [root],
        }
        every = {name: befalls[kind.befalls] for name, kind in KINDS.items()}
        every |= {name: list(trouble.targets) for name, trouble in self.scene.troubles.items()}
        return every if self._kinds is None else {name: every[name] for name in self._kinds}

    def recover(self) -> None:
        """Nothing is wrong any more: within the bound everything is where it is wanted, and stays."""
        self.advance(self.clock.now + self.laws.bound + SWEEP_S + STAYS_S)

    def shut_down(self) -> None:
        """Tell the agent to stop. Whoever has not stopped within the budget breaks a law."""
        budget = self.limits.shutdown_per_level * max(1, self.core.family.height())
        for family in self.neighbours.all():
            family.calm = self.clock.now
        self.told_to_stop_at = self.clock.now
        self.told.append((self.clock.now, "the agent is told to stop"))
        self.carrier.tell_time()
        self.core.shut_down()
        self.advance(self.clock.now + budget / 2)
        self.core.hurry()
        self.advance(self.clock.now + budget / 2)
        for path in self.core.not_at_rest():
            state = self.core.family.table[path].state
            self.laws.breach("clean-exit", self.neighbours.watch(path), f"is {state} after the budget of {budget:g} s")
        self._raise_if_broken()
        self.close()

    def close(self) -> None:
        """Drop what still runs."""
        self.carrier.drop_all()

    def advance(self, until: float) -> None:
        """Let virtual time go on until then. Raises `Violation`."""
        clock, laws, heap, steps = self.clock, self.laws, self.clock.heap, 0
        if not heap:
            clock.call_later(SWEEP_S, self._sweep)
        with clock.running():
            while True:
                now, at = clock.now, heap[0][0]
                due = self.core.agenda.next_due
                if due is None:
                    due = NEVER_DUE
                inside = due < at
                if inside:
                    at = due
                if at > now:
                    if at > until:
                        break
                    clock.now, now, steps = at, at, 0
                steps += 1
                if inside:
                    self._go_on(now)
                else:
                    self._happen(heapq.heappop(heap)[2])
                if laws.broken is not None or steps > STEPS_AT_ONCE:
                    self._give_up(steps)
            clock.now = max(clock.now, until)

    def _go_on(self, now: float) -> None:
        """The core looks at what is due, and what it asks for is done."""
        carrier = self.carrier
        for effect in self.core.advance(now, now + self.clock.offset):
            if type(effect) is Observe:
                carrier.observe(effect, now)
            else:
                carrier.perform(effect)
            if self._fuse and self._burn():
                return

    def _happen(self, handle: Handle) -> None:
        """Something outside of the core happens."""
        if not handle.cancelled:
            self.carrier.tell_time()
            handle.callback(*handle.arguments)

    def _give_up(self, steps: int) -> None:
        if steps > STEPS_AT_ONCE:
            watch = self.neighbours.watch(self.scene.root)
            self.laws.breach("comes-to-rest", watch, f"{steps} steps without time passing")
        self._raise_if_broken()

    def _raise_if_broken(self) -> None:
        if self.laws.broken is not None:
            self.close()
            self.laws.broken.seed, self.laws.broken.faults = self.seed, self.faults
            raise self.laws.broken

    def _sweep(self) -> None:
        """Every few seconds: look for what fails to happen."""
        self.clock.call_later(SWEEP_S, self._sweep)
        self.laws.sweep(self.neighbours.watches.values())
        for name in self._wanted:
            path = f"{self.scene.root}/{name}"
            if path not in self.core.family.table and path not in self._finished:
                self.laws.breach("not-removed", self.neighbours.watch(path), "is wanted and not there")
        self._progress(self.clock.now)

    # what the core tells

    def _heard(self, record: Record, transition: Transition | None) -> None:
        watch, now = self.neighbours.watch(record.path), self.clock.now
        if watch.record is not record:
            self.laws.appears(watch)
            watch.renew(record, now)
        if record.wanted != watch.wanted:
            watch.wanted, watch.wanted_at, watch.settled = record.wanted, now, False
        if transition is None:
            watch.settled = False  # something about it is not as it was: it is looked at again
            return
        self.store.append(transition)
        self.moves.append(Move.of(transition, record, now))
        self.laws.moves(watch, record, transition, self._wanted)
        if transition.target == "to_be_created":
            watch.renew(record, now)
        elif transition.target == "removed":
            watch.renew(None, now)
            if record.finished:
                self._finished.add(record.path)

    # faults

    def _begin(self, fault: Fault) -> None:
        trouble = self.scene.troubles.get(fault.kind)
        world = trouble is not None or KINDS[fault.kind].world
        paths = trouble.affects(fault.target) if trouble is not None else [fault.target]
        around = self.neighbours.around(paths, self.core.family.table)
        for family in around:
            family.disturb(self.clock.now, +world)
        heal = trouble.begin(fault.target, fault.level) if trouble is not None else KINDS[fault.kind].begin(self, fault)
        self.told.append((self.clock.now, f"{fault.kind} begins: {fault.target}"))
        self.clock.call_later(fault.seconds, self._heal, fault, heal, around, world)

    def _heal(self, fault: Fault, heal: Heal, around: Sequence[Around], world: bool) -> None:
        heal()
        for family in around:
            family.disturb(self.clock.now, -world)
        self.told.append((self.clock.now, f"{fault.kind} heals: {fault.target}"))


def _settled(record: Record) -> bool:
    """It is where it is wanted, or says why it cannot be."""
    target = Phase.HEALTHY if record.wanted else Phase.STOPPED
    return record.phase is target or bool(record.stalled) or (not record.wanted and not record.alive)
