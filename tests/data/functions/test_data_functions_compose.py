"""Functions made of functions: chain, all, any, not, with parts that are sync or async, with or without context."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.context import Context
from setpoint.data.definition import Named, Role
from setpoint.data.functions import Functions
from setpoint.data.result import DROP, Several
from setpoint.data.rows import asks_context, is_async
from setpoint.machine import Verdict


def add(record: int) -> int:
    return record + 1


async def double(record: int) -> int:
    await asyncio.sleep(0)
    return record * 2


def tag(record: int, context: Context) -> Any:
    return (record, context.run)


async def fails(record: Any) -> Any:
    raise ValueError("boom")


REGISTERED = {
    "add": add,
    "double": double,
    "tag": tag,
    "fails": fails,
    "yes": lambda record: True,
    "no": lambda record: False,
    "none": lambda record: None,
    "why": lambda record: Verdict(False, "because"),
    "later_yes": lambda record: True,
    "twice": lambda record: Several([record, record]),
    "drop": lambda record: DROP,
    "mapping": lambda record: {"a": 1},
}


def no(reason: str) -> Verdict:
    return Verdict(False, reason)


def composite(parts: list[str], **more: Any) -> Named:
    return Named("validators.CompositeValidator", {"validators": parts, **more})


def run(ref: Named, role: Role, record: Any = 1) -> Any:
    function = Functions(REGISTERED).resolve(ref, role)
    out = function(record, Context(run="r")) if asks_context(function) else function(record)

    async def wait() -> Any:
        return await out

    return asyncio.run(wait()) if is_async(function) else out


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["add", "add"], 3),
        (["add", "double", "add"], 5),
        (["add", "tag"], (2, "r")),
        (["double", "tag"], (2, "r")),
        (["none", "add"], 2),
        (["twice", "add", "twice"], Several([2, 2, 2, 2])),
        (["twice", "drop"], Several([])),
        (["add", "drop", "fails"], DROP),
        ([{"chain": ["add", ["add"]]}, {"name": "add"}], 4),
    ],
)
def test_a_chain_goes_one_after_the_other(parts: list[Any], expected: Any) -> None:
    """Each works on what the one before gave; None leaves the record, several go on each, a dropped one goes nowhere."""
    made = run(Named("chain", {"of": parts}), Role.TRANSFORM)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("ref", "role", "expected"),
    [
        (Named("all", {"of": ["yes", "none"]}), Role.GATE, True),
        (Named("all", {"of": ["yes", "none"]}), Role.CONDITION, None),
        (Named("all", {"of": ["yes", "why", "fails"]}), Role.GATE, Verdict(False, "because")),
        (Named("any", {"of": ["why", "no", "fails"]}), Role.GATE, no("none of these holds: because; refused; ValueError: boom")),
        (Named("any", {"of": ["fails", "yes"]}), Role.VALIDATOR, True),
        (Named("any", {"of": ["no", "yes", "fails"]}), Role.CONDITION, True),
        (Named("not", {"of": "no"}), Role.CONDITION, True),
        (Named("not", {"of": "none"}), Role.CONDITION, True),
        (Named("not", {"of": "none"}), Role.GATE, Verdict(False, "must not be: 'none'")),
        (Named("not", {"of": ["yes", "no"]}), Role.GATE, True),
        (Named("all", {"of": ["mapping", "yes"]}), Role.GATE, {"a": 1}),
        (composite(["why", "yes", "no", "fails"]), Role.GATE, no("because; refused; ValueError: boom")),
        (composite(["why", "no"], stop_on_first_error=True), Role.GATE, no("because")),
        (Named("all", {"of": ["record > 0", {"not": "record > 5"}, {"any": ["no", {"javascript": "record === 1"}]}]}), Role.GATE, True),
    ],
)  # fmt: skip
def test_checks_compose(ref: Named, role: Role, expected: Any) -> None:
    """What counts as no depends on the role, reasons are handed on, and what cannot change the answer is not asked."""
    assert run(ref, role) == expected


def test_an_exception_in_a_condition_is_an_error() -> None:
    """Any of several conditions asks no further than an error: it is neither yes nor no."""
    with pytest.raises(ValueError, match="boom"):
        run(Named("any", {"of": ["no", "fails", "yes"]}), Role.CONDITION)
    with pytest.raises(ValueError, match="boom"):
        run(Named("not", {"of": "fails"}), Role.GATE)


trees = st.recursive(
    st.sampled_from(["yes", "no", "yes", "none"]),
    lambda inner: (
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda part: {"not": part}, inner)
    ),
    max_leaves=8,
)


def truth(tree: Any, none: bool) -> bool:
    match tree:
        case {"all": parts}:
            return all(truth(part, none) for part in parts)
        case {"any": parts}:
            return any(truth(part, none) for part in parts)
        case {"not": part}:
            return not truth(part, none)
    return {"yes": True, "no": False, "none": none}[tree]


@given(trees)
def test_composition_is_that_of_logic(tree: Any) -> None:
    """Any tree says what logic says of its leaves; None is no for a condition, and yes for a gate."""
    assert bool(run(Named("all", {"of": [tree]}), Role.CONDITION)) is truth(tree, none=False)
    said = run(Named("all", {"of": [tree]}), Role.GATE)
    refused = said is False or (isinstance(said, Verdict) and not said.ok)
    assert (not refused) is truth(tree, none=True)
