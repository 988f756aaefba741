"""A stage: one worker under test in a real supervisor, on virtual time.

    async def story() -> None:
        async with Stage(Press, PressSpec(), types={"valve": Valve}) as stage:
            await stage.reaches("running", within=10)
            stage.want_stopped()
            await stage.reaches("stopped", within=5)

    run(story())

Nothing is imitated but time: the same supervisor that runs in production observes, decides and acts here. What a failed expectation says is
an explanation: where the worker is, why, which ways out are shut by which facts, and everything that happened. Leaving the stage stops
the worker, and fails when it does not stop.

`assert_reaches`, `assert_stays` and `assert_never` are stages of one line, for tests that need no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from setpoint.control import ChildSpec, Limits, Registry, Supervisor, Verb, WorkerDetail
from setpoint.control.record import Record
from setpoint.control.snapshot import NOT_ALIVE
from setpoint.control.worker import snake_case
from setpoint.machine import Phase, State
from setpoint.store import Transition
from setpoint.testing.sources import AnyWorker, Source, class_of, make
from setpoint.testing.virtual import run, wall

Target = str | State | Phase
"""What is expected: a state or its name, or a phase, which stands for all its states."""

ROOT = "stage"
MOVES_SHOWN = 30


class Stage:
    """One worker in a supervisor. Use it as ``async with`` inside `setpoint.testing.run`.

    `worker` is a class, an instance, or a function that makes one; `spec` what the user writes. `limits` are the runtime's, `seed` that of
    its jitter. `types` are the worker types of its children and siblings, by name (see `stand_in`); `beside` its siblings; `reads` whose
    facts it sees as ``snapshot.peers``: siblings by their names, others by path. With ``must_stop=False`` leaving the stage does not
    expect the worker to stop.
    """

    def __init__(
        self,
        worker: Source,
        spec: Any = None,
        *,
        types: Mapping[str, Source] | None = None,
        beside: Sequence[ChildSpec] = (),
        reads: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        must_stop: bool = True,
    ) -> None:
        self._source = worker
        self._types, self._beside = dict(types or {}), beside
        self._limits, self._seed, self._must_stop = limits, seed, must_stop
        kind = class_of(worker)
        self.machine = kind.machine
        own_type = snake_case(kind.__name__)
        if own_type in self._types:  # of its children, which are not under test
            own_type += "_under_test"
        siblings = {each.name for each in beside}
        paths = {name: f"{ROOT}/{path}" if path in siblings else path for name, path in (reads or {}).items()}
        self._spec = ChildSpec("worker", own_type, spec, reads=paths)
        self._moves: list[tuple[float, Transition]] = []
        self._heard = asyncio.Event()
        self._began = 0.0
        self._supervisor: Supervisor | None = None

    async def __aenter__(self) -> Self:
        registry = Registry()
        for name, source in {**self._types, self._spec.worker_type: self._source}.items():
            registry.add(name, lambda source=source: make(source))
        self._began = asyncio.get_running_loop().time()
        self._supervisor = Supervisor(registry, root=ROOT, limits=self._limits, wall=wall, seed=self._seed)
        self._supervisor.listen(self._hear)
        self._want(self._spec)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = await self.supervisor.stop()
        if left and self._must_stop and kind is None:
            raise AssertionError(f"not stopped at the end: {', '.join(left)}\n{self.explanation()}")

    def _hear(self, record: Record, transition: Transition | None) -> None:
        if transition is not None and record.path == self.path:
            self._moves.append((self.now, transition))
        self._heard.set()

    # what is on it

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor. Raises `RuntimeError` outside of ``async with``."""
        if self._supervisor is None:
            raise RuntimeError("nothing is on the stage yet: use it as 'async with Stage(...) as stage'")
        return self._supervisor

    @property
    def path(self) -> str:
        """The path of the worker under test; its children are below it, its siblings beside."""
        return f"{ROOT}/{self._spec.name}"

    @property
    def now(self) -> float:
        """Seconds since the stage was set."""
        return asyncio.get_running_loop().time() - self._began

    @property
    def worker(self) -> AnyWorker:
        """The worker under test. Raises `LookupError` while there is none."""
        record = self.supervisor.records.get(self.path)
        if record is None or record.worker is None:
            raise LookupError(f"there is no worker at {self.path} now")
        return record.worker

    @property
    def view(self) -> WorkerDetail:
        """All that can be seen of it. Raises `KeyError` when it has been removed."""
        return self.supervisor.worker(self.path)

    @property
    def state(self) -> str:
        """The state it is in; "removed" when it is gone."""
        record = self.supervisor.records.get(self.path)
        return record.state if record is not None else "removed"

    @property
    def reason(self) -> str:
        """Why it is in its state; "" when it is gone."""
        return self.view.reason if self.path in self.supervisor.records else ""

    @property
    def history(self) -> list[Transition]:
        """Everything it did on this stage, oldest first."""
        return [move for _, move in self._moves]

    @property
    def visits(self) -> list[tuple[float, str]]:
        """The states of its machine that it came to, in order, each with when."""
        moves = (
            (at, move) for at, move in self._moves if move.source != move.target
        )  # an operator's word moves nothing
        return [(at, move.target) for at, move in moves if move.target not in NOT_ALIVE]

    @property
    def states(self) -> list[str]:
        """The states of its machine that it came to, in order."""
        return [state for _, state in self.visits]

    # what is asked of it

    def want(self, spec: Any) -> None:
        """Give it another spec."""
        self._want(self._with(spec=spec))

    def want_stopped(self) -> None:
        """Tell it to stop, as its parent would."""
        self._want(self._with(enabled=False))

    def want_running(self) -> None:
        """Tell it to run again."""
        self._want(self._with(enabled=True))

    def remove(self) -> None:
        """Ask for it no longer: it is told to stop, and removed when it has."""
        self.supervisor.want(self._beside)

    def tell(self, verb: Verb, *, why: str = "the test says so", state: str = "") -> None:
        """Tell it an operator's verb: pause, resume, restart, retry, disable, enable, force."""
        self.supervisor.tell(self.path, verb, why=why, state=state)

    def _with(self, **changes: Any) -> ChildSpec:
        return replace(self._spec, **changes)

    def _want(self, spec: ChildSpec) -> None:
        self._spec = spec
        self.supervisor.want([*self._beside, spec])

    # what is expected of it

    async def reaches(self, target: Target, *, within: float = 10.0) -> None:
        """Wait until it is in the state, or has been there since this was asked. Raises `AssertionError` with the explanation."""
        self._check(target)
        if not await self._comes(target, within):
            raise AssertionError(
                f"{self.path} did not reach {_named(target)} within {within:g} s\n{self.explanation()}"
            )

    async def stays(self, target: Target, *, for_: float = 60.0) -> None:
        """Expect that it is in the state, or in one of the phase, now and all the time for so many seconds."""
        self._check(target)
        seen, deadline = len(self._moves), self.now + for_
        while self._is(self.state, target) and all(self._is(move.target, target) for _, move in self._moves[seen:]):
            if self.now >= deadline:
                return
            await self._next_news(deadline)
        raise AssertionError(f"{self.path} did not stay {_named(target)} for {for_:g} s\n{self.explanation()}")

    async def never(self, target: Target, *, for_: float = 60.0) -> None:
        """Expect that it is not in the state, nor comes through it, for so many seconds."""
        self._check(target)
        if await self._comes(target, for_):
            raise AssertionError(f"{self.path} was in {_named(target)} within {for_:g} s\n{self.explanation()}")

    async def _comes(self, target: Target, within: float) -> bool:
        """Whether it is in the state, or comes through it, within so many seconds."""
        seen = len(self._moves)
        deadline = self.now + within
        if self._is(self.state, target):
            return True
        while True:
            if any(self._is(move.target, target) for _, move in self._moves[seen:]):
                return True
            seen = len(self._moves)
            if self.now >= deadline:
                return False
            await self._next_news(deadline)

    async def _next_news(self, deadline: float) -> None:
        """Until something people can see has changed, or the time is over."""
        self._heard.clear()
        try:
            async with asyncio.timeout(max(0.0, deadline - self.now)):
                await self._heard.wait()
        except TimeoutError:
            pass

    def _is(self, state: str, target: Target) -> bool:
        if isinstance(target, Phase):
            known = self.machine.by_name.get(state)
            return known is not None and known.phase is target
        return state == str(target)

    def _check(self, target: Target) -> None:
        machine = class_of(self._source).machine
        if not isinstance(target, Phase) and str(target) not in {*machine.by_name, *NOT_ALIVE}:
            raise ValueError(
                f"machine {machine.name!r} has no state {str(target)!r}; it has {', '.join(machine.by_name)}"
            )

    # what is said of it

    def explanation(self) -> str:
        """Where it is, why, which ways out are shut by which facts, and what happened so far."""
        return "\n".join((*self._condition(), *self._ways(), *self._children(), *self._timeline()))

    def _condition(self) -> list[str]:
        if self.path not in self.supervisor.records:
            return ["  it has been removed"]
        view = self.view
        lines = [f"  it is in {view.state!r}, wanted {view.desired}, at {self.now:.2f} s", f"  reason    {view.reason}"]
        lines += [f"  stalled   {view.stalled.reason}"] if view.stalled.ok else []
        lines += [f"  acting    {', '.join(view.acting)}"] if view.acting else []
        lines += [f"  observed  {_short(view.observed)}"] if view.observed is not None else []
        lines += [f"  error     {view.error}"] if view.error else []
        return lines

    def _ways(self) -> list[str]:
        try:
            told = list(self.supervisor.explain(self.path).lines())
        except Exception as error:  # not alive, or its own code raises: the reason above says so
            return [f"  no way out can be explained: {error}"] if not isinstance(error, KeyError) else []
        return ["  ways out", *(f"    {line}" for line in told)] if told else ["  there is no way out of this state"]

    def _children(self) -> list[str]:
        views = [view for view in self.supervisor.workers() if view.path != self.path]
        return ["  others", *(f"    {view.path}: {view.state}: {view.reason}" for view in views)] if views else []

    def _timeline(self) -> list[str]:
        lines = [
            f"    {at:8.2f} s  {move.source} → {move.target}  ({move.event}) {move.reason}" for at, move in self._moves
        ]
        left_out = len(lines) - MOVES_SHOWN
        if left_out > 0:
            lines = [f"    … {left_out} moves before", *lines[left_out:]]
        return ["  what happened", *(lines or ["    nothing"])]


def _named(target: Target) -> str:
    return f"the phase {target.value}" if isinstance(target, Phase) else repr(str(target))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def assert_reaches(worker: Source, target: Target, *, within: float = 10.0, spec: Any = None, **stage: Any) -> None:
    """Run the worker on virtual time and expect that it comes to the state, or a state of the phase, within so many seconds.

    `spec` is what the user writes; other arguments are those of `Stage`. Raises `AssertionError` with the explanation.
    """
    _play(worker, spec, stage, lambda on: on.reaches(target, within=within))


def assert_stays(
    worker: Source, target: Target, *, for_: float = 60.0, within: float = 10.0, spec: Any = None, **stage: Any
) -> None:
    """Run the worker and expect that it comes to the state within so many seconds and then stays there for so many."""

    async def story(on: Stage) -> None:
        await on.reaches(target, within=within)
        await on.stays(target, for_=for_)

    _play(worker, spec, stage, story)


def assert_never(worker: Source, target: Target, *, for_: float = 60.0, spec: Any = None, **stage: Any) -> None:
    """Run the worker for so many seconds and expect that it never comes to the state."""
    _play(worker, spec, stage, lambda on: on.never(target, for_=for_))


def _play(worker: Source, spec: Any, arguments: dict[str, Any], story: Callable[[Stage], Awaitable[None]]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("a loop is running already: use 'async with Stage(...) as stage' and await its methods")

    async def main() -> None:
        async with Stage(worker, spec, **{"must_stop": False, **arguments}) as stage:
            await story(stage)

    run(main())
