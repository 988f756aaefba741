"""The supervisor: the core driven by an event loop.

All state belongs to one asyncio loop; there are no locks. The pump advances the core when a result came in or a timer is due, and carries
out the effects: collections and actions run as tasks of their own and hand their end back by token. A task that was abandoned is
cancelled and forgotten; nothing ever waits for one that does not listen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import structlog

from setpoint.control.agenda import Abandon, Act, Close, Effect, Listener, Observe
from setpoint.control.core import Core
from setpoint.control.deciding import DecisionListener
from setpoint.control.limits import Limits
from setpoint.control.observing import Outcome
from setpoint.control.operator import Verb
from setpoint.control.record import Record
from setpoint.control.registry import AnyWorker, Registry
from setpoint.control.snapshot import Fact, Observation
from setpoint.control.variables import Scope
from setpoint.control.views import WorkerDetail, WorkerView, detail, hidden, view
from setpoint.control.worker import ChildSpec, Context
from setpoint.machine import Explanation, explain
from setpoint.services.blocking import in_thread
from setpoint.store import Journal, MemoryJournal, Store, Transition

log = structlog.get_logger(__name__)

CLOCK_RESOLUTION_S = 1e-6


class Supervisor:
    """Keeps a tree of workers where they are wanted. Use it inside a running event loop: ``want``, then ``stop``.

    What the workers are, observe and do is kept in the `store`, from which a later supervisor goes on; without one their history alone is
    kept, in memory. A `recorder` is told every decision. `variables` and `location` are what specs may name everywhere (see
    `setpoint.control.variables`). `wall` gives wall time in seconds since the epoch; all other time is the loop's own clock, so a loop
    with virtual time makes the whole runtime virtual. `seed` makes its jitter reproducible.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        root: str = "agent",
        limits: Limits | None = None,
        store: Store | None = None,
        recorder: DecisionListener | None = None,
        variables: Mapping[str, Any] | None = None,
        location: Mapping[int, str] | None = None,
        wall: Callable[[], float] = time.time,
        seed: int = 0,
    ) -> None:
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._store = store
        self.journal: Journal = store or MemoryJournal()
        scope = Scope(everywhere=variables or {}, location=location or {})
        self.core = Core(registry, root=root, limits=limits, seed=seed, scope=scope, store=store)
        self.core.life.context = self._context
        self.core.deciding.recorder = recorder
        self.core.listen(self._record)
        self._pending: asyncio.Handle | None = None
        self._pending_at: float = 0.0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._abandoned: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stopped = False
        self._ended = False

    # what people ask of it

    @property
    def records(self) -> Mapping[str, Record]:
        """All workers as the runtime knows them, by path. To be read, in the loop's thread; never to be changed."""
        return MappingProxyType(self.core.family.table)

    def want(self, specs: Sequence[ChildSpec]) -> None:
        """Set the top of the tree: workers that are missing come, others change, those no longer named go. Returns at once.

        Raises `ValueError` when two have the same name, `RuntimeError` after `stop`.
        """
        if self._stopped:
            raise RuntimeError("this supervisor has been stopped; make a new one")
        self._tell_time()
        self.core.want(specs)
        self._kick()

    def put(self, spec: ChildSpec) -> None:
        """Have one more worker at the top of the tree, or another spec for the one of its name. Returns at once.

        Raises `ValueError` when its path is that of another's child, `RuntimeError` after `stop`.
        """
        self.want([*(each for each in self.core.family.asked_for if each.name != spec.name), spec])

    def remove(self, name: str) -> None:
        """Have a worker of the top of the tree no longer. Returns at once. Raises `KeyError` when none of the name is asked for."""
        kept = [each for each in self.core.family.asked_for if each.name != name]
        if len(kept) == len(self.core.family.asked_for):
            raise KeyError(name)
        self.want(kept)

    def read(self, path: str) -> Fact:
        """What is known of the worker at a path: its state, what it observed, and how fresh that is; `missing` when there is none."""
        self._tell_time()
        return self.core.fact(path)

    def workers(self) -> list[WorkerView]:
        """All workers, parents before children, in order of their paths."""
        return [view(record) for _, record in sorted(self.core.family.table.items())]

    def worker(self, path: str) -> WorkerDetail:
        """One worker in full. Raises `KeyError` when there is none at that path."""
        return detail(self.core.family.table[path], self._loop.time())

    def explain(self, path: str) -> Explanation:
        """Why a worker is where it is and what would move it. Raises `KeyError` when there is none at that path, or none alive."""
        record = self.core.family.table[path]
        if record.worker is None or not record.alive:
            raise KeyError(path)
        found = explain(record.worker.machine, record.position, self.core.snapshot(record), self._loop.time())
        return hidden(found, record.secrets) if record.secrets else found

    def tell(self, path: str, verb: Verb, *, why: str, state: str = "") -> None:
        """Carry out an operator's verb (see `setpoint.control.operator`); `why` goes into the worker's history, `state` is for `force`.

        Raises `KeyError` when there is no worker at that path, `NotPossible` when it cannot be done as things are.
        """
        self._tell_time()
        self.core.tell(path, verb, why=why, state=state)
        self._kick()

    async def saved(self, timeout: float = 1.0) -> bool:
        """Wait until all that has happened so far is in the store, for at most so many seconds; False when it is not by then."""
        store = self._store
        return store is None or await in_thread(lambda: store.flush(timeout))

    def listen(self, listener: Listener) -> None:
        """Be told of every transition and change of reason, in the loop's thread. Must return at once."""
        self.core.listen(listener)

    async def changes(self) -> None:
        """Wait until something people can see has changed."""
        self._changed.clear()
        await self._changed.wait()

    async def until(self, condition: Callable[[Supervisor], bool], timeout: float) -> bool:
        """Wait until the condition holds; False when it did not within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not condition(self):
                    await self.changes()
        except TimeoutError:
            return condition(self)
        return True

    async def stop(self, budget: float | None = None) -> list[str]:
        """Tell every worker to stop and wait until all have, within the budget (2 s for each level of the tree by default).

        Workers that others need stop after those, for at most half of the budget; its last tenth is for letting go of what would not stop.
        Returns the paths of those that had not stopped by then; what they still run is abandoned. Always returns.
        """
        if self._ended:
            return self.core.not_at_rest()
        self._stopped = True
        self._tell_time()
        if budget is None:
            budget = self.core.limits.shutdown_per_level * max(1, self.core.family.height())
        ends_at = self._loop.time() + budget
        self.core.shut_down()
        self._kick()
        resting = self.core.resting()
        if not await self.until(lambda _: resting(), 0.5 * budget):
            self._tell_time()
            self.core.hurry()
            self._kick()
            await self.until(lambda _: resting(), 0.4 * budget)
        left = self.core.not_at_rest()
        for path in left:
            log.warning(
                "worker did not stop in time", path=path, state=self.core.family.table[path].state, budget_s=budget
            )
        await self._let_go(max(0.0, ends_at - self._loop.time()))
        return left

    # the pump

    def _kick(self) -> None:
        self._schedule(self._loop.time())

    def _schedule(self, when: float) -> None:
        if self._ended:
            return
        if self._pending is not None:
            if self._pending_at <= when:
                return
            self._pending.cancel()
        self._pending_at = when
        now = self._loop.time()
        self._pending = self._loop.call_soon(self._pump) if when <= now else self._loop.call_at(when, self._pump)

    def _pump(self) -> None:
        self._pending = None
        now, due = self._loop.time(), self.core.agenda.next_due
        if due is not None and now < due < now + CLOCK_RESOLUTION_S:
            now = due  # a loop may run a timer a rounding error early; it shall not run it again and again
        try:
            for effect in self.core.advance(now, self._wall()):
                self._perform(effect)
        finally:  # whatever happens: the next round comes
            due = self.core.agenda.next_due
            if due is not None:
                self._schedule(due)
            self._changed.set()

    def _tell_time(self) -> None:
        self.core.tell_time(self._loop.time(), self._wall())

    # effects

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Observe(path, token, worker, desired):
                self._start(token, lambda: worker.collect_observed_state(desired), self.core.observed, path)
            case Act(path, token, worker, name, desired):
                self._start(token, lambda: getattr(worker, name)(desired), self.core.acted, path)
            case Abandon(token):
                task = self._tasks.pop(token, None)
                if task is not None:
                    task.cancel()
                    self._abandoned.add(task)
                    task.add_done_callback(self._abandoned.discard)
            case Close(path, worker):
                task = self._loop.create_task(self._close(path, worker.close))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def _start(
        self, token: int, call: Callable[[], Awaitable[Any]], hand_back: Callable[[str, int, Outcome], None], path: str
    ) -> None:
        task = self._loop.create_task(self._run(token, call, hand_back, path))
        self._tasks[token] = task

    async def _run(
        self, token: int, call: Callable[[], Awaitable[Any]], hand_back: Callable[[str, int, Outcome], None], path: str
    ) -> None:
        started = self._loop.time()
        try:
            outcome = Outcome(started, value=await call())
        except asyncio.CancelledError:
            outcome = Outcome(started, error="cancelled")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a worker that calls sys.exit() ends its call, not the agent
            outcome = Outcome(started, error=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        self._tasks.pop(token, None)
        self._tell_time()
        hand_back(path, token, outcome)
        self._kick()

    async def _close(self, path: str, close: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self.core.limits.action_timeout):
                await close()
        except (Exception, SystemExit) as error:
            log.warning("worker could not let go of what it holds", path=path, error=f"{type(error).__name__}: {error}")

    async def _let_go(self, timeout: float) -> None:
        """End everything that still runs, without waiting longer for what does not listen."""
        if self._ended:
            return
        self._ended = True
        if self._pending is not None:
            self._pending.cancel()
        for record in self.core.family.table.values():
            if record.worker is not None:
                self._perform(Close(record.path, record.worker))
        for task in self._tasks.values():
            task.cancel()
        waiting = [*self._tasks.values(), *self._closing, *self._abandoned]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)

    # what the core asks of it

    def _context(self, record: Record, worker: AnyWorker) -> Context:
        path = record.path

        def is_it_still() -> bool:  # and not a successor of the same name
            return self.records.get(path) is record and record.worker is worker

        def push(value: Observation) -> None:
            if is_it_still():
                self._tell_time()
                self.core.pushed(path, value)
                self._kick()

        def observe() -> None:
            if is_it_still():
                self._tell_time()
                self.core.observe(path)
                self._kick()

        return Context(path, push, observe, self.read, record.tally.count, record.tally.gauge)

    def _record(self, record: Record, transition: Transition | None) -> None:
        if transition is not None:
            self.journal.append(transition)
