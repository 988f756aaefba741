"""Functions of every kind in one plan: what resolves here runs there, sync and async."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from setpoint.data import ArcDef, Code, Context, Definition, Named, NetworkDef, Plan, PlanError, StateDef
from setpoint.data.functions import Functions


def definition(*transforms: Any, gates: tuple[Any, ...] = (), condition: Any = None, schema: Any = None) -> Definition:
    ready = StateDef(name="ready", pre_validators=gates, transforms=transforms, schema=schema, arcs=(
        ArcDef(target="good", condition=condition), ArcDef(target="other")))  # fmt: skip
    ends = (StateDef(name="good", final=True), StateDef(name="other", final=True))
    return Definition(name="m", networks=(NetworkDef(name="main", states=(ready, *ends)),))


FUNCTIONS = Functions()


@FUNCTIONS.register
def tag(record: dict[str, Any], context: Context, *, label: str) -> dict[str, Any]:
    return {**record, label: context.state}


@FUNCTIONS.register
async def later(record: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {**record, "later": True}


def test_every_kind_of_function_runs_in_a_plan() -> None:
    """Registered, built in, composed, an expression, JavaScript: each sees what the one before gave."""
    steps = (
        Named("tag", {"label": "seen"}),
        Named("set", {"total": "price * qty"}),
        Named("transformers.normalize", {"name": "uppercase"}),
        Code("record.js = record.total + 1", "javascript"),
        Named("chain", {"of": [{"name": "enrich", "params": {"n": 1}}, {"set": {"n": "n + 1"}}]}),
    )
    plan = Plan(definition(*steps, condition=Code("total > 5 and js == 7")), resolve=FUNCTIONS.resolve)
    result = plan.run({"price": 2, "qty": 3, "name": "x"})
    assert (result.final_state, result.success) == ("good", True)
    assert result.data == {"price": 2, "qty": 3, "name": "X", "seen": "ready", "total": 6, "js": 7, "n": 2}


def test_async_functions_make_the_plan_async_also_in_compositions() -> None:
    """A composition with an asynchronous part is one."""
    plan = Plan(definition(Named("chain", {"of": ["later", {"set": {"n": 1}}]})), resolve=FUNCTIONS.resolve)
    assert plan.is_async
    assert asyncio.run(plan.arun({})).data == {"later": True, "n": 1}


@pytest.mark.parametrize(
    ("gates", "schema", "says"),
    [
        ((Named("range_check", {"n": {"min": 1}}),), None, "n: 0 is below 1"),
        ((Code("n > 0"),), None, "not so: n > 0"),
        ((Code("({ok: record.n > 0, because: 'n is ' + record.n})", "javascript"),), None, "n is 0"),
        ((Named("all", {"of": ["n >= 0", {"not": "n == 0"}]}),), None, "must not be: 'n == 0'"),
        ((), {"type": "object", "properties": {"n": {"minimum": 1}}}, "n: 0 is below 1"),
    ],
)
def test_a_refusal_keeps_its_reason(gates: tuple[Any, ...], schema: Any, says: str) -> None:
    """Whatever says no, its reason is in the result's error."""
    plan = Plan(definition(gates=gates, schema=schema), resolve=FUNCTIONS.resolve)
    refused = plan.run({"n": 0})
    assert not refused.success
    assert refused.error is not None
    assert refused.error.type == "Refused"
    assert says in refused.error.message
    assert plan.run({"n": 1}).success


def test_all_wrong_references_are_faults_of_the_plan() -> None:
    """They are reported together, and no record runs."""
    wrong = definition(Named("tga"), Named("tag"), Code("x = 1"), gates=(Named("range_check", {"n": 5}),))
    with pytest.raises(PlanError) as caught:
        Plan(wrong, resolve=FUNCTIONS.resolve)
    assert len(caught.value.faults) == 4
    assert "did you mean 'tag'?" in str(caught.value)
