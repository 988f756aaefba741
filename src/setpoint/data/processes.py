"""Carries records in several processes, for plans whose functions keep a processor busy.

The plan is sent once to each process, when it starts; records go there and results come back in lots. What is sent must be picklable:
functions that are importable (defined at the top level of a module) or known by name to the registry, not lambdas or closures.

Each record stands for itself here too. One that cannot be sent fails alone. When a process dies (killed, out of memory, a crash in an
extension) the lots that were at work are carried once more, record by record, in fresh processes: the record that kills again fails, the
others do not. The functions may then have been called twice for those.

Where somebody listens, events come back with the results and are told in this process: those of a record in order, lot after lot. What
happened in a process that died is not told.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from setpoint.data.result import FAILED, Result, StepError

if TYPE_CHECKING:
    from setpoint.data.context import Event
    from setpoint.data.plan import Plan

AHEAD: Final = 3
"""Lots out for each process: enough that none waits for the next."""


class NotShippable(ValueError):
    """The plan cannot be sent to another process: define its functions at the top level of a module, or carry it in this process."""


class ProcessDied(RuntimeError):
    """The process that carried the record died: it was killed, ran out of memory, or crashed."""


class Lot(NamedTuple):
    """Results of records that were sent together, and where the first of them stands in the whole."""

    first: int
    results: list[Result]


class Pool:
    """So many processes with a plan. Use it as a context manager. Raises `NotShippable`, `TypeError` for a plan with async functions."""

    def __init__(self, plan: Plan, processes: int) -> None:
        if processes < 1:
            raise ValueError(f"processes={processes}: there must be at least one")
        if plan.is_async:
            raise TypeError(f"plan {plan.definition.name!r} has async functions: use concurrency, not processes")
        if plan.definition.resources:
            raise NotShippable(
                f"plan {plan.definition.name!r} uses resources, which cannot go to other processes: carry it in this one"
            )
        self._shipped, self._told = shipped(plan), plan.told
        self._heard = plan.events is not None
        self.processes = processes
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def carry(self, records: Sequence[Any]) -> list[Result]:
        """The results of these records, in order."""
        size = max(1, min(500, -(-len(records) // (self.processes * 2))))
        lots = ((at, records[at : at + size]) for at in range(0, len(records), size))
        return [result for lot in self.lots(lots, ordered=True) for result in lot.results]

    def lots(self, lots: Iterable[tuple[int, Sequence[Any]]], *, ordered: bool) -> Iterator[Lot]:
        """The results of lots, in order or as they are done. Takes only so many lots ahead as the processes need."""
        waiting: deque[tuple[int, Sequence[Any], Future[bytes]]] = deque()
        source = iter(lots)
        more = True
        while more or waiting:
            while more and len(waiting) < self.processes * AHEAD:
                lot = next(source, None)
                if lot is None:
                    more = False
                else:
                    waiting.append((*lot, self._send(lot[1])))
            if waiting:
                yield from self._receive(waiting, ordered=ordered)

    def close(self) -> None:
        """Ends the processes; what they have in hand is not waited for."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            for process in list((executor._processes or {}).values()):
                process.terminate()
            executor.shutdown(wait=True, cancel_futures=True)

    def _receive(self, waiting: deque[tuple[int, Sequence[Any], Future[bytes]]], *, ordered: bool) -> Iterator[Lot]:
        index = 0 if ordered else _first_done([future for _, _, future in waiting])
        first, records, future = waiting[index]
        del waiting[index]
        try:
            yield Lot(first, self._arrived(future))
        except BrokenProcessPool:
            self.close()
            others = list(waiting)
            waiting.clear()
            yield Lot(first, [self._alone(record) for record in records])
            for at, lot, done in others:
                whole = done.done() and not done.cancelled() and done.exception() is None
                yield Lot(at, self._arrived(done) if whole else [self._alone(record) for record in lot])

    def _arrived(self, future: Future[bytes]) -> list[Result]:
        """The results of a lot, once it was told what had happened to its records."""
        results: list[Result]
        results, told = pickle.loads(future.result())
        for event in told:
            self._told(pickle.loads(event))
        return results

    def _alone(self, record: Any) -> Result:
        """The result of a record in a process where nothing else is at work."""
        try:
            return self._arrived(self._send([record]))[0]
        except BrokenProcessPool:
            self.close()
            died = ProcessDied("the process that carried it died: it was killed, ran out of memory, or crashed")
            return _failure(record, died)

    def _send(self, records: Sequence[Any]) -> Future[bytes]:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(
                self.processes, mp_context=context, initializer=_install, initargs=(self._shipped, self._heard)
            )
        try:
            return self._executor.submit(_carry, _packed(records))
        except BrokenProcessPool as error:
            future: Future[bytes] = Future()
            future.set_exception(error)
            return future


def shipped(plan: Plan) -> bytes:
    """The plan as it is sent. Raises `NotShippable`, naming what cannot be."""
    try:
        return pickle.dumps(plan)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotShippable(
            f"plan {plan.definition.name!r} cannot be sent to another process: {error}. Define its functions at the top level of a "
            "module (no lambda, no function inside a function), or leave out `processes`"
        ) from error


_run: Callable[[Any], Result] | None = None
_events: list[bytes] = []


def _install(plan: bytes, heard: bool) -> None:
    """In the new process: make the plan ready, and leave Ctrl-C to the process that started this one."""
    global _run  # noqa: PLW0603  # one plan for each process, as the executor's initializer leaves it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready: Plan = pickle.loads(plan)
    _run = (ready.using(events=_note) if heard else ready).run


def _note(event: Event) -> None:
    """Keeps an event as it is sent, at once: its record goes on changing."""
    token = event.token and msgspec.structs.replace(event.token, handled=(), failing=None)  # told before
    event = msgspec.structs.replace(event, error=event.error and _by_itself(event.error), token=token)
    try:
        _events.append(pickle.dumps(event))
    except Exception:  # it cannot be sent: as text, then
        _events.append(pickle.dumps(msgspec.structs.replace(event, record=repr(event.record)[:200], token=None)))


def _by_itself(error: StepError) -> StepError:
    """The error with what caused it, without exception objects and without the errors before it, which were told before it."""
    return msgspec.structs.replace(error, exception=None, earlier=None, cause=error.cause and _by_itself(error.cause))


def _carry(packed: list[bytes] | bytes) -> bytes:
    """In the process: the results of a lot, and the events of its records."""
    if _run is None:
        raise RuntimeError("no plan was sent to this process")
    records = pickle.loads(packed) if isinstance(packed, bytes) else map(_unpacked, packed)
    _events.clear()
    results = [record if isinstance(record, Result) else _home(_run(record)) for record in records]
    try:
        return pickle.dumps((results, _events))
    except Exception:  # one of the records cannot be sent; find out which
        return pickle.dumps(([_sendable(result) for result in results], _events))


def _packed(records: Sequence[Any]) -> list[bytes] | bytes:
    """The records as they are sent; where they cannot be together, each by itself or as the failure that it is."""
    try:
        return pickle.dumps(records)
    except Exception:
        return [_packed_alone(record) for record in records]


def _packed_alone(record: Any) -> bytes:
    try:
        return pickle.dumps(record)
    except Exception as error:
        fault = TypeError(f"the record cannot be sent to another process: {error}")
        return pickle.dumps(_failure(repr(record)[:200], fault))


def _unpacked(data: bytes) -> Any:
    return pickle.loads(data)


def _sendable(result: Result) -> Result:
    try:
        pickle.dumps(result)
    except Exception as error:
        return _failure(None, TypeError(f"the result cannot be sent back: {error}"))
    return result


def _home(result: Result) -> Result:
    """The result without exception objects: they need not be picklable, and their tracebacks mean nothing elsewhere."""
    if result.error is None and not result.handled and not result.parts:
        return result
    known: dict[int, StepError] = {}
    return msgspec.structs.replace(
        result,
        error=result.error and _bare(result.error, known),
        handled=tuple(_bare(error, known) for error in result.handled),
        parts=tuple(_home(part) for part in result.parts),
    )


def _bare(error: StepError, known: dict[int, StepError]) -> StepError:
    """The error without exception objects; each once, since an error may be both what came earlier and the reason of a cause."""
    if id(error) not in known:
        known[id(error)] = msgspec.structs.replace(
            error, exception=None, earlier=error.earlier and _bare(error.earlier, known), cause=error.cause and _bare(error.cause, known)
        )  # fmt: skip
    return known[id(error)]


def _failure(record: Any, fault: Exception) -> Result:
    return Result(FAILED, record, (), False, StepError(type(fault).__name__, str(fault), ""))


def _first_done(futures: Sequence[Future[bytes]]) -> int:
    from concurrent.futures import FIRST_COMPLETED, wait

    done = wait(futures, return_when=FIRST_COMPLETED).done
    return next(index for index, future in enumerate(futures) if future in done)
