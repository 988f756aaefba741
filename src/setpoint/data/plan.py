"""A plan: a definition that was checked and compiled, ready to carry records.

`Plan` is the door to the interpreter. `run` carries a record without an event loop and is there for plans without asynchronous functions;
`arun` drives the same generator and awaits what it yields; `steps` hands it out, to whoever wants to stop between states. Where nothing
out of the ordinary is asked for, all of them take the fast path first.

A plan is made of a `Definition`, or of a `Machine` of the model with a function for each state that does something: the short way for
machines that are written in Python. In that case None from a function drops the record, and it is worked on in place.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import random
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from types import CoroutineType
from typing import Any, Final

from setpoint.data import fast
from setpoint.data.context import Checkpoint, Context, Event, Kind, Listener, Progress, Resources, Sent, Token, nobody
from setpoint.data.definition import Code, Definition, Function, FunctionRef, Named, Resolve, Role, Unresolved
from setpoint.data.drive import adriven, driven, in_step
from setpoint.data.errors import NotAwaited, PlanError
from setpoint.data.faults import Fault, faults_of, meant
from setpoint.data.machines import definition_of
from setpoint.data.result import DROP, Result
from setpoint.data.rows import Compiler, Row, is_async
from setpoint.data.waiting import expect, not_taken
from setpoint.data.walk import Walk
from setpoint.machine import Expression, ExpressionError, Machine

log = logging.getLogger("setpoint.data")

_RUNS: Final = itertools.count(1)
_HERE: Final = os.urandom(6).hex()


class Plan:
    """A definition, checked and compiled. Raises `PlanError` with all faults at once.

    `functions` maps names to functions, `resolve` turns references into functions where that is not enough. `resources`, `events` and
    `checkpoint` are the seams of `context`. `clock` measures, `wall` is the time of day in seconds since the epoch (for records that wait);
    they, `sleep`, `sleep_async` and `rng` are the world's, unless a test says otherwise.
    """

    def __init__(
        self,
        definition: Definition | Machine,
        functions: Mapping[str, Function] | None = None,
        *,
        resolve: Resolve | None = None,
        resources: Resources | None = None,
        events: Listener | None = None,
        checkpoint: Checkpoint | None = None,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        sleep_async: Callable[[float], Any] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        if isinstance(definition, Machine):
            definition, functions = definition_of(definition, functions or {}), {}
        self.definition = definition
        self.clock, self.wall, self.sleep, self.sleep_async = clock, wall, sleep, sleep_async
        self.rng = rng or random.Random()
        self.keeps = definition.none == "keep"
        self.rows = _compiled(definition, resolve or Functions(functions or {}))
        self.numbers = {(row.network, row.name): row.number for row in self.rows}
        main = definition.main_network
        self._start = self.rows[self.numbers[main, definition.network(main).start]]
        self.silent = frozenset(
            state.name for state in definition.network(main).states if state.final and not state.emit_output
        )
        self.resources, self.events, self.checkpoint = resources, events, checkpoint
        self._resolve, self._functions = resolve, functions
        self._wire()

    def _wire(self) -> None:
        """What follows from the seams."""
        resources = self.resources
        named = any(row.resources or any(way.resources for way in row.arcs) for row in self.rows)
        if named and resources is None:
            text = "states or arcs name resources, but the plan was given none: pass resources="
            raise PlanError(self.definition.name, [Fault(text, self.definition.place)])
        outside = (named and resources is not None and resources.is_async) or is_async(self.checkpoint)
        self.is_async = outside or any(row.awaits for row in self.rows)
        # a listener with `kinds` hears only of those
        self.heard = None if self.events is None else frozenset(getattr(self.events, "kinds", Kind))
        self.supply = resources.awaiting() if resources is not None and self.is_async else resources
        self._stretch = fast.layout(self, self._start)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: what it was made of, without the seams."""
        return _remade, (self.definition, self._functions, self._resolve)

    def using(
        self,
        *,
        resources: Resources | None = None,
        events: Listener | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Plan:
        """The same plan with other seams; those that are not given stay. With the listener `nobody` it tells nobody."""
        # not copy.copy: that would go through __reduce__, which leaves the seams behind
        other = object.__new__(Plan)
        other.__dict__.update(self.__dict__)
        other.resources = self.resources if resources is None else resources
        other.events = self.events if events is None else None if events is nobody else events
        other.checkpoint = self.checkpoint if checkpoint is None else checkpoint
        other._wire()
        return other

    def remade(self, definition: Definition) -> Plan:
        """A plan of another definition with the same functions, resources and seams. Raises `PlanError`."""
        return Plan(
            definition, self._functions, resolve=self._resolve, resources=self.resources, events=self.events, checkpoint=self.checkpoint,
            clock=self.clock, wall=self.wall, sleep=self.sleep, sleep_async=self.sleep_async, rng=self.rng,
        )  # fmt: skip

    def run(
        self, record: Any, *, state: str = "", after: str = "", timeout: float | None = None,
        variables: dict[str, Any] | None = None, run: str = "",
    ) -> Result:  # fmt: skip
        """Carry one record to its end. Faults of steps are in the result. Raises `TypeError` for a plan with async functions.

        It enters at `state` (default: the start), or goes on `after` a state whose functions are done with it; both are names of the main
        network, and `KeyError` says which there are. `timeout` is in seconds, `variables` are those that functions share, `run` names it.
        """
        if self.is_async:
            raise TypeError(f"plan {self.definition.name!r} has async functions: use `await plan.arun(record)`")
        if self._stretch is not None and not state and not after and timeout is None and variables is None:
            results: list[Result] = []
            for _ in fast.carry(self, self._stretch, (record,), results.append):
                raise AssertionError("a plan without async functions waits for nothing")
            return results[0]
        return driven(self._walking(record, state, after, timeout=timeout, variables=variables, run=run))

    async def arun(
        self, record: Any, *, state: str = "", after: str = "", timeout: float | None = None,
        variables: dict[str, Any] | None = None, run: str = "",
    ) -> Result:  # fmt: skip
        """Carry one record to its end, awaiting what is to be awaited. Everything else is as in `run`."""
        if self._stretch is not None and not state and not after and timeout is None and variables is None:
            results: list[Result] = []
            await adriven(fast.carry(self, self._stretch, (record,), results.append, waits=True))
            return results[0]
        return await adriven(
            self._walking(record, state, after, timeout=timeout, variables=variables, run=run, waits=True)
        )

    def run_all(self, records: Iterable[Any], done: Callable[[Result], object]) -> None:
        """Carry records one after the other, each as `run` does; `done` is called with each result. Raises what the iterable raises."""
        if self._stretch is None or self.is_async:
            for record in records:
                done(self.run(record))
            return
        for _ in fast.carry(self, self._stretch, records, done):
            raise AssertionError("a plan without async functions waits for nothing")

    def begin(
        self, record: Any, *, state: str = "", after: str = "", variables: dict[str, Any] | None = None, run: str = ""
    ) -> Progress:
        """A run that has not begun, as a checkpoint would keep it; `resume` carries it. Raises `KeyError` as `run` does."""
        return Progress(run or run_name(), (self._token(record, state, after),), variables=variables or {})

    def resume(self, progress: Progress, sent: Sent | None = None, *, timeout: float | None = None) -> Result:
        """Go on with a run that was kept by a checkpoint, with an event for its records that wait, or with those whose time has come.

        Raises as `run` does, and `NotTaken` for an event that lets none of its records go on.
        """
        if self.is_async:
            raise TypeError(f"plan {self.definition.name!r} has async functions: use `await plan.aresume(progress)`")
        return driven(self._resuming(progress, sent, timeout))

    async def aresume(self, progress: Progress, sent: Sent | None = None, *, timeout: float | None = None) -> Result:
        """Go on with a run that was kept by a checkpoint; as `resume`."""
        return await adriven(self._resuming(progress, sent, timeout, waits=True))

    def _resuming(
        self, progress: Progress, sent: Sent | None, timeout: float | None, *, waits: bool = False
    ) -> Generator[Any, Any, Result]:
        if sent is not None:
            expect(self, progress, sent)
        walk = self.walk(run=progress.run, timeout=timeout, variables=dict(progress.variables), waits=waits)
        result = yield from walk.go(progress, sent=sent)
        if sent is not None and not walk.taken:
            raise not_taken(walk) from walk.refusal
        return result

    def steps(
        self, record: Any, *, state: str = "", after: str = "", timeout: float | None = None,
        variables: dict[str, Any] | None = None, run: str = "", waits: bool = False,
    ) -> Generator[Any, Any, Result]:  # fmt: skip
        """The run as a generator that yields a `Pause` before each state and each arc, and awaitables between; it returns the result.

        Send None after a pause, and what the awaitable gave after an awaitable (or throw what it raised).
        """
        return self._walking(
            record, state, after, timeout=timeout, variables=variables, run=run, waits=waits, pausing=True
        )

    def _walking(
        self, record: Any, state: str, after: str, *, timeout: float | None, variables: dict[str, Any] | None, run: str,
        waits: bool = False, pausing: bool = False,
    ) -> Generator[Any, Any, Result]:  # fmt: skip
        walk = self.walk(run=run, timeout=timeout, variables=variables, waits=waits, pausing=pausing)
        return walk.go(Progress(walk.run, (self._token(record, state, after),)))

    def _token(self, record: Any, state: str, after: str) -> Token:
        network = self.definition.main_network
        row = self._row(network, after or state) if after or state else self._start
        return Token(record, network, row.name, (row.label,) if after else (), (len(row.steps) or 1) if after else 0)

    def _row(self, network: str, state: str) -> Row:
        number = self.numbers.get((network, state))
        if number is None:
            names = {name: 0 for where, name in self.numbers if where == network}
            raise KeyError(f"{self.definition.name!r} has no state {state!r}: {meant(state, names)}")
        return self.rows[number]

    def row_of(self, token: Token) -> Row:
        """The row a token stands at."""
        return self.rows[self.numbers[token.network, token.state]]

    def walk(
        self, *, started: float | None = None, run: str = "", timeout: float | None = None,
        variables: dict[str, Any] | None = None, waits: bool = False, pausing: bool = False, context: Context | None = None,
    ) -> Walk:  # fmt: skip
        """A run that has not begun; for the parts of the runtime."""
        walk = Walk(
            self, context or self.context(run, variables), started=self.clock() if started is None else started, timeout=timeout,
            pausing=pausing,
        )  # fmt: skip
        walk.waits = waits or self.is_async
        return walk

    def context(self, run: str = "", variables: dict[str, Any] | None = None) -> Context:
        """What the functions of a run share; for the parts of the runtime."""
        return Context(run=run or run_name(), variables={} if variables is None else variables)

    def run_chunk(self, records: Iterable[Any]) -> list[Result]:
        """Carry records together: each state's functions run over all that are there before the next state's. Raises as `run` does."""
        if self.is_async:
            raise TypeError(f"plan {self.definition.name!r} has async functions: use `await plan.arun_chunk(records)`")
        return driven(in_step([self.steps(record) for record in records]))

    async def arun_chunk(self, records: Iterable[Any]) -> list[Result]:
        """Carry records together, awaiting what is to be awaited."""
        return await adriven(in_step([self.steps(record, waits=True) for record in records]))

    def meaning(self, out: Any) -> Any:
        """What None, `DROP`, `Several` or a coroutine from a transform mean: None where the record stays as it is."""
        if isinstance(out, CoroutineType):
            out.close()
            raise NotAwaited
        if (out is None and not self.keeps) or (out is not None and not out):
            return DROP
        return out

    def told(self, event: Event) -> None:
        """Passes an event on. What the listener raises is its own affair."""
        assert self.events is not None
        try:
            self.events(event)
        except Exception:
            log.exception("a listener failed at %s of state %s", event.kind, event.state)


def run_name() -> str:
    """A name for a run that no other has."""
    return f"{_HERE}-{next(_RUNS)}"


def _remade(definition: Definition, functions: Mapping[str, Function] | None, resolve: Resolve | None) -> Plan:
    return Plan(definition, functions, resolve=resolve)


def _compiled(definition: Definition, resolve: Resolve) -> tuple[Row, ...]:
    faults = list(faults_of(definition))
    if not faults:
        compiler = Compiler(definition, resolve)
        rows = compiler.rows()
        faults = compiler.faults
    if faults:
        raise PlanError(definition.name, faults)
    return rows


class Functions:
    """The resolver of a plan that is given no other: callables as they are, names from a mapping, expressions."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions

    def __call__(self, ref: FunctionRef, role: Role, /) -> Function:
        """The function. Raises `Unresolved`."""
        if isinstance(ref, Named):
            if ref.name not in self._functions:
                raise Unresolved(f"there is no function {ref.name!r}: {meant(ref.name, self._functions)}")
            function = self._functions[ref.name]
            return functools.partial(function, **ref.params) if ref.params else function
        if isinstance(ref, Code):
            return _expression(ref, role)
        if not callable(ref):
            raise Unresolved(f"{ref!r} is not a function")
        return ref


def _expression(code: Code, role: Role) -> Function:
    if code.language != "expression":
        raise Unresolved(f"this plan runs no {code.language} ({code.text[:40]!r}): give it a resolver that does")
    try:
        expression = Expression(code.text)
    except ExpressionError as error:
        raise Unresolved(str(error)) from None
    if role in (Role.GATE, Role.VALIDATOR):
        return lambda record: bool(expression(record))
    return expression
