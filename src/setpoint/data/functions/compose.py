"""Functions made of functions: one after the other, all of them, any of them, not.

Each composition exists once, as a generator that yields what its parts give. Two drivers run it, one for parts that are all synchronous and
one that awaits; so a composition is asynchronous exactly where a part is, and asks for the context exactly where a part does.

What counts as no depends on the role: a condition is closed by anything that is not true, a gate or a validator refuses by False, by a
`Verdict` that is not ok, or by raising. The reason of a refusal is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from inspect import isawaitable
from typing import Any

from setpoint.data.definition import Function, Role
from setpoint.data.functions.calling import is_async, takes_context
from setpoint.data.result import DROP, Several
from setpoint.machine import Verdict

Walk = Generator[Any, Any, Any]
Part = Callable[[Any, Any], Any]


def chain(parts: Sequence[Function]) -> Function:
    """Transforms, one after the other: each works on what the one before gave, and on each part of what that split."""

    def walk(record: Any, context: Any, calls: Sequence[Part]) -> Walk:
        records, split = [record], False
        for call in calls:
            made: list[Any] = []
            for one in records:
                out = yield call(one, context)
                if isinstance(out, Several):
                    split = True
                    made += out
                elif out is not DROP:
                    made.append(one if out is None else out)
            records = made
        if split:
            return Several(records)
        return records[0] if records else DROP

    return composed(walk, parts)


def all_of(parts: Sequence[Function], role: Role, *, every: bool = False) -> Function:
    """Yes if all parts say yes. Asks no further than the first no; with `every` it asks all, to name all that is wrong."""

    def walk(record: Any, context: Any, calls: Sequence[Part]) -> Walk:
        reasons = []
        for call in calls:
            answer = yield from _asked(call(record, context)) if not every else _caught(call, record, context)
            if isinstance(answer, Mapping):
                return answer  # whoever asks says that this is no answer
            if is_no(answer, role):
                if not every:
                    return answer
                reasons.append(_reason(answer))
        return Verdict(False, "; ".join(reasons)) if reasons else True

    return composed(walk, parts)


def any_of(parts: Sequence[Function], role: Role) -> Function:
    """Yes if a part says yes; asks no further than that one. A gate or validator that raises has said no."""

    def walk(record: Any, context: Any, calls: Sequence[Part]) -> Walk:
        reasons = []
        for call in calls:
            is_condition = role is Role.CONDITION
            answer = yield from _asked(call(record, context)) if is_condition else _caught(call, record, context)
            if not is_no(answer, role):
                return answer
            reasons.append(_reason(answer))
        return Verdict(False, f"none of these holds: {'; '.join(reasons)}")

    return composed(walk, parts)


def none_of(part: Function, role: Role, name: str) -> Function:
    """Yes if the part says no. What it raises is raised."""

    def walk(record: Any, context: Any, calls: Sequence[Part]) -> Walk:
        answer = yield calls[0](record, context)
        if isinstance(answer, Mapping):
            return answer
        return True if is_no(answer, role) else Verdict(False, f"must not be: {name}")

    return composed(walk, [part])


def is_no(answer: object, role: Role) -> bool:
    """Whether an answer closes an arc (condition) or refuses a record (gate, validator)."""
    if role is Role.CONDITION or isinstance(answer, Verdict):
        return not answer
    return answer is False


def _asked(pending: Any) -> Walk:
    return (yield pending)


def _caught(call: Part, record: Any, context: Any) -> Walk:
    try:
        return (yield call(record, context))
    except Exception as error:
        return Verdict(False, f"{type(error).__name__}: {error}")


def _reason(answer: object) -> str:
    return (answer.because if isinstance(answer, Verdict) else "") or "refused"


def composed(walk: Callable[[Any, Any, Sequence[Part]], Walk], parts: Sequence[Function]) -> Function:
    """The function whose work is that walk: async where a part is, with the context where a part asks for it."""
    calls = [with_context(part) for part in parts]
    waits, asks = any(map(is_async, parts)), any(map(takes_context, parts))
    if waits:

        async def awaited(record: Any, context: Any) -> Any:
            return await _arun(walk(record, context, calls))

        async def awaited_alone(record: Any) -> Any:
            return await _arun(walk(record, None, calls))

        return awaited if asks else awaited_alone

    def plain(record: Any, context: Any) -> Any:
        return _run(walk(record, context, calls))

    return plain if asks else lambda record: _run(walk(record, None, calls))


def with_context(part: Function) -> Part:
    """The function, to be called with the record and the context whether it asks for that or not."""
    return part if takes_context(part) else lambda record, context: part(record)


def _run(walk: Walk) -> Any:
    value = None
    try:
        while True:
            value = walk.send(value)
    except StopIteration as stop:
        return stop.value


async def _arun(walk: Walk) -> Any:
    step, value = walk.send, None
    try:
        while True:
            pending = step(value)
            step = walk.send
            try:
                value = await pending if isawaitable(pending) else pending
            except Exception as error:
                step, value = walk.throw, error
    except StopIteration as stop:
        return stop.value
    finally:
        walk.close()
