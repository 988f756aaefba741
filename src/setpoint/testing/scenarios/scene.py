"""The scene: what a scenario is, and what its story is told with.

A scenario is a story about real workers: a coroutine that makes a registry, has a supervisor keep some workers, changes the world around
them, and says what must come of it. The scene gives it the supervisor, time, and two ways to expect something: `expect` notes whether a
fact holds; `reaches` and `until` wait for it, and end the story when it does not come, because what would follow has no ground.

The same story runs on a loop with virtual time, where it takes milliseconds, and in real time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec

from setpoint.control import Registry, Snapshot, Supervisor
from setpoint.control.record import Record
from setpoint.machine import Decision, Position, explain
from setpoint.store import MemoryStore, Transition
from setpoint.testing.virtual import EPOCH, VirtualLoop

SEED = 7
"""Of the jitter of every supervisor, so that a story told twice on virtual time is the same."""


class Move(msgspec.Struct, frozen=True, tag="move"):
    """News: a worker moved. `at` is in seconds since the story began, `phase` that of the state it moved to."""

    at: float
    path: str
    event: str
    source: str
    target: str
    phase: str
    reason: str


class Remark(msgspec.Struct, frozen=True, tag="remark"):
    """News: what the story says of itself."""

    at: float
    text: str


class Decided(msgspec.Struct, frozen=True, tag="decision"):
    """News: a worker was decided on in a state; `lines` say what came of it and how each guard was judged."""

    at: float
    path: str
    state: str
    lines: list[str]


class Check(msgspec.Struct, frozen=True):
    """One expectation: what was expected, whether it held, and what was found."""

    text: str
    ok: bool
    found: str = ""


News = Move | Remark | Decided
Story = Callable[["Scene"], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """A story with a name, the sentence that says what it shows, and about how long it takes in real time, in seconds."""

    name: str
    shows: str
    story: Story
    seconds: float


class Unmet(Exception):
    """Something the rest of the story rests on did not come about; the check that says so is on the scene."""


class Scene:
    """What a story is told with. Made inside the running event loop that tells the time."""

    def __init__(self, tell: Callable[[News], None], *, trace: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._tell = tell
        self._recorder = Tracer(tell, lambda: self.now) if trace else None
        self._supervisor: Supervisor | None = None
        self.virtual = isinstance(self._loop, VirtualLoop)
        self.store = MemoryStore(keep=10_000, wall=self.wall)
        self.checks: list[Check] = []
        self.moves: list[Move] = []
        self.cleanup = AsyncExitStack()
        """What has to be let go of after the workers have stopped."""

    # the runtime

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of the story. Raises `RuntimeError` before `supervise`."""
        if self._supervisor is None:
            raise RuntimeError("the story has no supervisor yet; call scene.supervise(registry) first")
        return self._supervisor

    @property
    def supervised(self) -> bool:
        return self._supervisor is not None

    def supervise(self, registry: Registry, *, root: str = "plant", **options: Any) -> Supervisor:
        """Make the supervisor of the story; `options` are those of `Supervisor`. Raises `RuntimeError` when there is one."""
        if self._supervisor is not None:
            raise RuntimeError("the story has a supervisor already; change what it wants")
        self._supervisor = Supervisor(
            registry, root=root, store=self.store, recorder=self._recorder, wall=self.wall, seed=SEED, **options
        )
        self._supervisor.listen(self._note)
        return self._supervisor

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a part of the world beside the story, until the story is over. What it raises, the performance raises at its end."""
        task = self._loop.create_task(work)
        self.cleanup.callback(_end, task)
        return task

    # time

    @property
    def now(self) -> float:
        """Seconds since the story began."""
        return self._loop.time() - self._began

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        await asyncio.sleep(seconds)

    def wall(self) -> float:
        """Seconds since the epoch, virtual where time is."""
        return EPOCH + self._loop.time() if self.virtual else time.time()

    # what is said, and what must hold

    def say(self, text: str) -> None:
        """Tell whoever watches what the story does next."""
        self._tell(Remark(self.now, text))

    def expect(self, text: str, ok: object, found: object = "") -> None:
        """Note whether something holds that the scenario shows."""
        self.checks.append(Check(text, bool(ok), str(found)))

    async def reaches(self, path: str, state: str, *, within: float, text: str = "") -> None:
        """Wait for a worker to be in a state. Raises `Unmet` when it is not within so many seconds."""
        await self.until(
            text or f"{path} is {state} within {within:g} s",
            lambda: self.state(path) == state,
            within=within,
            found=lambda: self.where(path),
        )

    async def settles(self, path: str, state: str, *, within: float) -> None:
        """Wait as `reaches` does, where nothing is shown by it: it is noted only when it does not come."""
        if not await self.supervisor.until(lambda _: self.state(path) == state, within):
            self.expect(f"{path} is {state} within {within:g} s", False, self.where(path))
            raise Unmet(path)

    async def until(
        self, text: str, condition: Callable[[], object], *, within: float, found: Callable[[], object] | None = None
    ) -> None:
        """Wait for something to hold. Raises `Unmet` when it does not within so many seconds."""
        began = self.now
        ok = await self.supervisor.until(lambda _: bool(condition()), within)
        self.expect(text, ok, f"after {self.now - began:.1f} s" if ok else (found() if found else "it did not"))
        if not ok:
            raise Unmet(text)

    # what has happened

    def state(self, path: str) -> str:
        """Where a worker is; "gone" when there is none at that path."""
        record = self.supervisor.records.get(path)
        return record.state if record else "gone"

    def where(self, path: str) -> str:
        """Where a worker is, and why."""
        if path not in self.supervisor.records:
            return "there is no such worker"
        worker = self.supervisor.worker(path)
        return f"{worker.state}: {worker.reason}" if worker.reason else worker.state

    def visited(self, path: str) -> list[str]:
        """The states a worker moved to, in order."""
        return [move.target for move in self.moves if move.path == path]

    def moment(self, path: str, state: str) -> float:
        """When a worker last moved to a state, in seconds since the story began. Raises `LookupError` when it never did."""
        for move in reversed(self.moves):
            if move.path == path and move.target == state:
                return move.at
        raise LookupError(f"{path} was never {state}")

    def _note(self, record: Record, transition: Transition | None) -> None:
        if transition is None:
            return
        move = Move(
            self.now,
            record.path,
            transition.event,
            transition.source,
            transition.target,
            record.phase or "",
            transition.reason,
        )
        self.moves.append(move)
        self._tell(move)

    def stored(self) -> dict[str, Any]:
        """What the store holds of every worker that was ever in the story: its documents by kind, and its history."""
        documents = self.store.load()
        paths = dict.fromkeys([*documents, *(move.path for move in self.moves)])
        return {
            path: {
                **{kind: msgspec.to_builtins(document) for kind, document in documents.get(path, {}).items()},
                "history": msgspec.to_builtins(self.store.history(path, limit=10_000)),
            }
            for path in sorted(paths)
        }


def _end(task: asyncio.Task[None]) -> None:
    if not task.done():
        task.cancel()
    elif not task.cancelled():
        task.result()


class Tracer:
    """A recorder that tells every decision that is another one than the worker's previous one, with its guards as they were judged."""

    def __init__(self, tell: Callable[[News], None], now: Callable[[], float]) -> None:
        self._tell, self._now = tell, now
        self._latest: dict[str, object] = {}

    def decided(
        self,
        record: Record,
        snapshot: Snapshot[Any, Any],
        position: Position,
        now: float,
        wall: float,
        outcome: Decision | str,
    ) -> None:
        """One decision: what `decide` said of the snapshot, or what it raised."""
        said = (position.state, outcome) if isinstance(outcome, str) else (position.state, outcome[:4])
        if record.worker is None or said == self._latest.get(record.path):
            return
        self._latest[record.path] = said
        lines = [f"raised {outcome}"]
        if not isinstance(outcome, str):
            lines = [_outcome(outcome), *explain(record.worker.machine, position, snapshot, now).lines()]
        self._tell(Decided(self._now(), record.path, position.state, lines))


def _outcome(decision: Decision) -> str:
    """A decision in a line."""
    if decision.arc is not None:
        return f"moves by {decision.arc.event} to {decision.state}"
    does = f", acts: {', '.join(decision.effects)}" if decision.effects else ""
    return f"stays{does}" + (f", {decision.reason}" if decision.reason else "")
