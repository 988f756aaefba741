"""How functions are called: decided by their signature, once, and in every role the same."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from setpoint.data.context import Context
from setpoint.data.definition import Named, Role, Unresolved
from setpoint.data.functions import Functions
from setpoint.data.rows import asks_context, is_async
from setpoint.machine import Verdict

CONTEXT = Context(run="r1", state="here")


def resolved(given: object, role: Role = Role.TRANSFORM, **params: Any) -> Callable[..., Any]:
    return Functions({"f": given}).resolve(Named("f", params), role)


def called(given: object, role: Role = Role.TRANSFORM, record: Any = 1, **params: Any) -> Any:
    """Calls it as the interpreter does: which looks at the resolved function's signature, and at nothing else."""
    function = resolved(given, role, **params)
    out = function(record, CONTEXT) if asks_context(function) else function(record)
    if is_async(function):
        return asyncio.run(wait(out))
    assert not inspect.isawaitable(out)
    return out


async def wait(pending: Any) -> Any:
    return await pending


async def later(record: int, context: Context) -> Any:
    return record, context.run


async def later_alone(record: int, *, factor: int = 2) -> int:
    return record * factor


async def later_by_name(record: int, *, context: Context, factor: int) -> Any:
    return record * factor, context.run


class Doubler:
    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    def transform(self, record: int) -> int:
        return record * self.factor


class Waiter:
    async def __call__(self, record: int, factor: int = 2) -> int:
        return record * factor


@pytest.mark.parametrize(
    ("given", "params", "expected"),
    [
        (lambda record: record + 1, {}, 2),
        (lambda record, context: (record, context.run), {}, (1, "r1")),
        (lambda record, anything: (record, anything.run), {}, (1, "r1")),
        (lambda record, ctx=None: (record, ctx.run), {}, (1, "r1")),
        (lambda record, factor=3: record * factor, {}, 3),
        (lambda record, factor: record * factor, {"factor": 4}, 4),
        (lambda record, factor, context: (record * factor, context.run), {"factor": 4}, (4, "r1")),
        (lambda record, *, context, factor=1: (record * factor, context.run), {"factor": 4}, (4, "r1")),
        (lambda record, *, context: (record, context.run), {}, (1, "r1")),
        (lambda record, **more: (record, more), {"a": 1}, (1, {"a": 1})),
        (lambda *records: records, {}, (1,)),
        (partial(lambda factor, record: record * factor, 5), {}, 5),
        (later, {}, (1, "r1")),
        (later_alone, {}, 2),
        (later_alone, {"factor": 5}, 5),
        (later_by_name, {"factor": 5}, (5, "r1")),
        (partial(later_alone, factor=7), {}, 7),
        (Waiter(), {}, 2),
        (Waiter(), {"factor": 6}, 6),
        (Waiter, {}, 2),
        (Doubler, {}, 2),
        (Doubler, {"factor": 5}, 5),
        (Doubler(3), {}, 3),
        (str, {}, "1"),
        (abs, {}, 1),
    ],
)
def test_a_function_is_called_as_its_signature_says(given: object, params: dict[str, Any], expected: Any) -> None:
    """With the record, or the record and the context; sync or async; as function, class or object; settings by name."""
    if given is str:
        given = lambda record: str(record)  # noqa: E731  # a class is made with its params, so text is made otherwise
    assert called(given, **params) == expected


def test_a_context_is_known_by_its_annotation() -> None:
    """A second parameter with a default is the context where it is annotated so, in words or as a class."""

    def quoted(record: Any, around: Context | None = None) -> Any:
        return around and around.run

    assert called(quoted) == "r1"
    quoted.__annotations__["around"] = Context
    assert called(quoted) == "r1"
    quoted.__annotations__["around"] = int
    assert called(quoted) is None


def test_a_function_that_raises_is_not_called_again() -> None:
    """A TypeError of the function itself is not taken for a wrong way of calling it."""
    calls = []

    def fails(record: Any) -> Any:
        calls.append(record)
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        called(fails)
    assert calls == [1]


class Checker:
    def __init__(self, limit: int) -> None:
        self.limit = limit

    def validate(self, record: int) -> bool:
        return record < self.limit


class Positive:
    def test(self, record: int) -> tuple[bool, str]:
        return record > 0, "must be positive"


class PositiveLater:
    async def test(self, record: int, context: Context) -> tuple[bool, str]:
        return record > 0, context.state


def test_objects_are_used_by_the_method_for_their_role() -> None:
    """`validate` serves gates, validators and conditions; so does `test`, whose pair becomes a verdict: a pair would always be true."""
    for role in (Role.GATE, Role.VALIDATOR, Role.CONDITION):
        assert called(Checker, role, 5, limit=6) is True
        assert called(Checker(5), role, 5) is False
        assert called(Positive, role, -1) == Verdict(False, "must be positive")
        assert called(PositiveLater, role, -1) == Verdict(False, "here")
        assert called(PositiveLater, role, 1)
    with pytest.raises(Unresolved, match="has no method transform, so it cannot be a transform"):
        called(Checker(5), Role.TRANSFORM)


def test_what_can_be_no_function_is_refused_at_registration() -> None:
    """Generators, functions without room for the record, and things that are no functions, each with its name."""

    def generator(record: Any) -> Any:
        yield record

    for given, says in (
        (generator, "is a generator function"),
        (lambda: 1, "takes no positional parameter"),
        (5, "is no function"),
    ):
        with pytest.raises(TypeError, match=f"f.*{says}"):
            Functions({"f": given})
