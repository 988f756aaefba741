"""A plan: a machine that records walk through, one function a state.

A record starts in the initial state. On entering a state its function is called with the record and gives the record that goes on; then
the arcs out of the state are tried in order, their guards asked about that record. In a final state the run ends. Two events have a
meaning of their own:

    an arc ``on="error"``   is taken when the state's function or a guard raised, with the record as it came into the state;
    an arc ``on="dropped"`` is taken when the function returned None;
    all other arcs          are the ways forward.

Where a state has no such arc the record ends in the state `failed` or `dropped`: the machine's own, or one that every plan has. A function
may return `Several` records; each goes on by itself from the same state.

The interpreter exists once, as a generator that yields only what must be awaited. `Plan.run` drives it for plans without async functions,
with no event loop; `Plan.arun` drives the same generator and awaits what it yields. The plan is compiled once: states become rows of a
table, guards plain functions, targets indices. Each state has a second row without its function, where the parts of a split go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from time import perf_counter
from types import CoroutineType
from typing import Any, NamedTuple

from setpoint.data.result import DROPPED, FAILED, SPLIT, Result, Several, StepError
from setpoint.machine import ALWAYS, Arc, Machine

Function = Callable[[Any], Any]
ON_ERROR = "error"
ON_DROPPED = "dropped"

_UNUSUAL = frozenset({type(None), Several, CoroutineType})


class PlanError(ValueError):
    """The machine and the functions do not make a plan: lists every fault, with names."""

    def __init__(self, machine: str, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            f"machine {machine!r} cannot carry records:\n" + "\n".join(f"  - {fault}" for fault in self.faults)
        )


class NoOpenArc(Exception):
    """No arc out of the state was open for the record: give the state an arc without a guard, or one that covers this record."""


class TooManySteps(Exception):
    """The record passed more states, or split into more parts, than the plan allows: the machine has a loop that it does not leave."""


class NotAwaited(Exception):
    """A function that was not declared async returned a coroutine: write it with ``async def``."""


class _GuardFailed(Exception):
    """Carries what a guard raised together with its arc; never leaves this module."""

    def __init__(self, arc: Arc, cause: Exception) -> None:
        self.arc, self.cause = arc, cause


class _Row(NamedTuple):
    """One state, compiled. `only` is the target where the way forward is unconditional, else None."""

    name: str
    function: Function | None = None
    awaited: bool = False
    final: bool = True
    only: int | None = None
    ways: tuple[tuple[Function | None, int, Arc], ...] = ()
    on_error: int = 0
    on_dropped: int = 0
    leaving: int = 0  # the row of the same state without its function


class _Token(NamedTuple):
    """A record about to enter a row; `path` and `error` are what happened to it so far."""

    record: Any
    at: int
    path: tuple[str, ...] = ()
    error: StepError | None = None


Walk = Generator[Awaitable[Any], Any, Result]
Leg = Generator[Awaitable[Any], Any, "Result | list[_Token]"]


class Plan:
    """A machine with a function for each state that does something, checked and compiled.

    `functions` maps names of states to functions, sync or async. `max_steps` bounds the states one record may pass, `max_parts` the records
    that may come of one by splitting. Raises `PlanError` with all faults at once.
    """

    def __init__(
        self, machine: Machine, functions: Mapping[str, Function], *, max_steps: int = 1000, max_parts: int = 10_000
    ) -> None:
        faults = list(_faults(machine, functions))
        if faults:
            raise PlanError(machine.name, faults)
        self.machine = machine
        self.max_steps = max_steps
        self.max_parts = max_parts
        self._rows = _compile(machine, functions)
        self._index = {state.name: number for number, state in enumerate(machine.states)}
        self._start = self._index[machine.initial]
        self.is_async = any(row.awaited for row in self._rows)

    def run(self, record: Any, *, after: str = "") -> Result:
        """Carry one record to its end. Raises `TypeError` for a plan with async functions; faults of steps are in the result.

        `after` names a state whose function is done with the record: it goes on from there. Raises `KeyError` for an unknown state.
        """
        if self.is_async:
            raise TypeError(f"plan {self.machine.name!r} has async functions: use `await plan.arun(record)`")
        try:
            next(self._walk(record, after))
        except StopIteration as stop:
            result: Result = stop.value
            return result
        raise AssertionError("a plan without async functions waits for nothing")

    async def arun(self, record: Any, *, after: str = "") -> Result:
        """Carry one record to its end, awaiting the functions that are async. The result is that of `run`."""
        walk = self._walk(record, after)
        resume: Callable[[Any], Awaitable[Any]] = walk.send
        value: Any = None
        try:
            while True:
                pending = resume(value)
                try:
                    resume, value = walk.send, await pending
                except Exception as error:
                    resume, value = walk.throw, error
        except StopIteration as stop:
            result: Result = stop.value
            return result
        finally:
            walk.close()

    def _walk(self, record: Any, after: str) -> Walk:
        started = perf_counter()
        start = self._index[after] + len(self._index) if after else self._start
        first = yield from self._leg(_Token(record, start), started)
        if isinstance(first, Result):
            return first
        path = (*first[0].path, self._rows[first[0].at].name)
        ends: list[Result] = []
        waiting = first[::-1]
        made = len(first)
        while waiting:
            outcome = yield from self._leg(waiting.pop(), started)
            if isinstance(outcome, Result):
                ends.append(outcome)
                continue
            made += len(outcome)
            waiting += outcome[::-1]
            if made > self.max_parts:
                fault = TooManySteps(f"more than {self.max_parts} records came of one by splitting")
                ends.append(_gave_up(waiting[-1], fault, started))
                break
        return _joined(ends, path, started)

    def _leg(self, token: _Token, started: float) -> Leg:
        """One record to its end, or to where it splits: then the tokens of its parts."""
        rows = self._rows
        record, at, before, error = token
        path = list(before)
        for _ in range(self.max_steps - len(path)):
            name, function, awaited, final, only, ways, on_error, on_dropped, leaving = rows[at]
            path.append(name)
            try:
                if function is not None:
                    out = function(record)
                    if awaited:
                        out = yield out
                    if type(out) in _UNUSUAL:
                        if out:
                            return _parts(out, leaving, path, error)
                        at = on_dropped
                        continue
                    record = out
                if final:
                    return Result(name, record, tuple(path), error is None, error, perf_counter() - started)
                at = only if only is not None else _way(ways, record)
            except Exception as fault:
                error = _error(fault, name, error)
                at = on_error
        gave_up = TooManySteps(
            f"the record passed {self.max_steps} states without an end, lastly {', '.join(path[-6:])}"
        )
        return _gave_up(_Token(record, at, tuple(path), error), gave_up, started)


def _way(ways: tuple[tuple[Function | None, int, Arc], ...], record: Any) -> int:
    """The target of the first open arc."""
    for test, target, arc in ways:
        if test is None:
            return target
        try:
            if test(record):
                return target
        except Exception as fault:
            raise _GuardFailed(arc, fault) from fault
    tried = ", ".join(f"{arc.event} ({arc.when})" for _, _, arc in ways)
    raise NoOpenArc(f"no arc is open for the record; tried: {tried}")


def _parts(records: Any, leaving: int, path: list[str], error: StepError | None) -> list[_Token]:
    """The tokens of a split. They enter the state's second row, which puts the state's name on their paths."""
    if not isinstance(records, Several):
        records.close()
        raise NotAwaited("the function returned a coroutine but is not declared async; write it with `async def`")
    before = tuple(path[:-1])
    return [_Token(record, leaving, before, error) for record in records]


def _error(fault: Exception, state: str, earlier: StepError | None) -> StepError:
    arc = ""
    if isinstance(fault, _GuardFailed):
        arc, fault = str(fault.arc), fault.cause
    return StepError(type(fault).__name__, str(fault), state, arc, earlier, fault)


def _gave_up(token: _Token, fault: Exception, started: float) -> Result:
    error = _error(fault, token.path[-1] if token.path else "", token.error)
    return Result(FAILED, token.record, token.path, False, error, perf_counter() - started)


def _joined(ends: list[Result], path: tuple[str, ...], started: float) -> Result:
    error = next((end.error for end in ends if end.error is not None), None)
    data = tuple(end.data for end in ends)
    return Result(SPLIT, data, path, error is None, error, perf_counter() - started, tuple(ends))


def _compile(machine: Machine, functions: Mapping[str, Function]) -> tuple[_Row, ...]:
    """The rows of all states, then of all states again without their functions, then the two ends every plan has."""
    count = len(machine.states)
    index = {state.name: number for number, state in enumerate(machine.states)}
    failed = index.get(FAILED, 2 * count) if FAILED in index and machine.by_name[FAILED].final else 2 * count
    dropped = index[DROPPED] if DROPPED in index and machine.by_name[DROPPED].final else 2 * count + 1
    rows = []
    for number, state in enumerate(machine.states):
        arcs = machine.outgoing(state.name)
        ways = tuple(
            (_test(arc), index[arc.target.name], arc) for arc in arcs if arc.event not in (ON_ERROR, ON_DROPPED)
        )
        function = functions.get(state.name)
        on_error = next((index[arc.target.name] for arc in arcs if arc.event == ON_ERROR), failed)
        rows.append(
            _Row(
                state.name,
                function,
                function is not None and _is_async(function),
                state.final,
                ways[0][1] if ways and ways[0][0] is None else None,
                ways,
                2 * count if state.final else on_error,  # an end that fails must not lead to itself
                next((index[arc.target.name] for arc in arcs if arc.event == ON_DROPPED), dropped),
                count + number,
            )
        )
    rows += [row._replace(function=None, awaited=False) for row in rows]
    return (*rows, _Row(FAILED), _Row(DROPPED))


def _test(arc: Arc) -> Function | None:
    return None if arc.when is ALWAYS else arc.when.compile(timed=False)


def _is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _faults(machine: Machine, functions: Mapping[str, object]) -> Iterator[str]:
    for name, function in functions.items():
        if name not in machine.by_name:
            yield f"function for state {name!r}: there is no such state (states: {', '.join(machine.by_name)})"
        elif not callable(function):
            yield f"state {name!r}: {function!r} is not a function"
    if not any(state.final for state in machine.states):
        yield "it has no final state: mark one with State(final=True)"
    for state in machine.states:
        forward = [arc for arc in machine.outgoing(state.name) if arc.event not in (ON_ERROR, ON_DROPPED)]
        if not state.final and not forward:
            yield f"state {state.name!r} is not final and has no way forward"
    for arc in machine.arcs:
        if arc.after is not None or arc.when.timed:
            yield f"arc {arc} waits for time (after, held): records do not wait; use it in a control machine"
        if arc.event in (ON_ERROR, ON_DROPPED) and arc.when is not ALWAYS:
            yield f"arc {arc} has a guard: an arc on {arc.event!r} is taken whenever that happens"
