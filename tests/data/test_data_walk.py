"""What happens to a record in one state and on the arcs out of it."""

import asyncio
import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import (
    DROP,
    DROPPED,
    FAILED,
    ArcDef,
    Code,
    Context,
    DataMode,
    Definition,
    NetworkDef,
    Plan,
    Result,
    Retry,
    Several,
    StateDef,
)
from setpoint.machine import Verdict, expression


def machine(*states: StateDef, **limits: Any) -> Definition:
    """A machine of one network that ends in `done`."""
    return Definition(
        name="m", networks=(NetworkDef(name="main", states=(*states, StateDef(name="done", final=True))),), **limits
    )


def single(**state: Any) -> Definition:
    """A machine of one state before `done`."""
    arcs = state.pop("arcs", (ArcDef(target="done"),))
    return machine(StateDef(name="work", arcs=arcs, **state))


def failing(*faults: Exception) -> Callable[[Any], Any]:
    """A transform that changes the record, then raises these in turn, then works."""
    left = list(faults)

    def call(record: Any) -> Any:
        record["tries"] = record.get("tries", 0) + 1
        if left:
            raise left.pop(0)
        return record

    return call


def summary(result: Result) -> tuple[str, bool, str]:
    return result.final_state, result.success, result.error.type if result.error else ""


def test_gates_come_before_transforms_and_validators_after() -> None:
    """A gate sees the record as it came, a validator as the transforms left it."""
    seen: list[Any] = []
    definition = single(
        pre_validators=(lambda record: seen.append(("gate", record["n"])),),
        transforms=(lambda record: {"n": record["n"] + 1}, lambda record: {"n": record["n"] * 10}),
        validators=(lambda record: seen.append(("validator", record["n"])),),
    )
    assert Plan(definition).run({"n": 1}).data == {"n": 20}
    assert seen == [("gate", 1), ("validator", 20)]


@pytest.mark.parametrize("answer", [True, None, 0, "", "text", Verdict(True, "fine")])
def test_only_a_no_refuses(answer: Any) -> None:
    """True, None and whatever is no answer at all let the record pass."""
    assert Plan(single(pre_validators=(lambda record: answer,))).run({}).success


def test_a_refusal_has_its_reason() -> None:
    """False names the gate, a verdict its because, an exception itself; an expression its text."""

    def is_adult(record: Any) -> bool:
        return False

    def why(gate: Any) -> Any:
        error = Plan(single(pre_validators=(gate,))).run({"age": 3}).error
        assert error is not None
        return error.type, error.message

    assert why(is_adult) == ("Refused", "is_adult said no")
    assert why(lambda record: Verdict(False, "too young")) == ("Refused", "too young")
    assert why(Code("age >= 18")) == ("Refused", "age >= 18 said no")
    assert why(expression("age >= 18")) == ("Refused", "age >= 18 said no")
    assert why(lambda record: record["name"])[0] == "KeyError"


def test_a_mapping_from_a_gate_is_an_error() -> None:
    """It is not merged, and not taken for a yes."""
    error = Plan(single(validators=(lambda record: {"ok": True},))).run({}).error
    assert error is not None
    assert (error.type, "returned a mapping" in error.message) == ("TypeError", True)


def test_none_from_a_transform_keeps_the_record() -> None:
    """Whether it was changed in place or not; a machine may say instead that None drops."""
    definition = single(transforms=(lambda record: record.update(n=2),))
    assert Plan(definition).run({"n": 1}).data == {"n": 2}
    drops = machine(
        StateDef(name="work", transforms=(lambda record: None,), arcs=(ArcDef(target="done"),)), none="drop"
    )
    assert Plan(drops).run({"n": 1}).final_state == DROPPED


def test_drop_ends_the_record_or_takes_the_arc_for_it() -> None:
    """Dropped is no failure, in a state as on an arc."""
    assert summary(Plan(single(transforms=(lambda record: DROP,))).run({})) == (DROPPED, True, "")
    on_arc = single(arcs=(ArcDef(target="done", transforms=(lambda record: DROP,)),))
    assert summary(Plan(on_arc).run({})) == (DROPPED, True, "")
    routed = single(
        transforms=(lambda record: DROP,), arcs=(ArcDef(target="done"), ArcDef(target="done", kind="dropped"))
    )
    assert summary(Plan(routed).run({})) == ("done", True, "")


def test_parts_go_on_after_the_function_that_made_them() -> None:
    """The functions that follow it in the state, or on the arc, run for each part."""
    definition = single(
        transforms=(lambda record: Several([1, 2]), lambda record: record * 10),
        arcs=(
            ArcDef(target="done", transforms=(lambda record: Several([record, record + 1]), lambda record: -record)),
        ),
    )
    result = Plan(definition).run(0)
    assert [part.data for part in result.parts] == [-10, -11, -20, -21]
    assert {part.path for part in result.parts} == {("work", "done")}


def test_an_arc_transforms_on_the_way() -> None:
    """Its transforms see the record after the state's own, and only on the arc that is taken."""
    arcs = (
        ArcDef(target="done", condition=Code("n > 5"), transforms=(lambda record: {**record, "size": "large"},)),
        ArcDef(target="done", transforms=(lambda record: {**record, "size": "small"},)),
    )
    plan = Plan(single(transforms=(lambda record: {"n": record["n"] * 2},), arcs=arcs))
    assert plan.run({"n": 3}).data == {"n": 6, "size": "large"}
    assert plan.run({"n": 2}).data == {"n": 4, "size": "small"}


def test_conditions_are_asked_lazily_and_by_priority() -> None:
    """Behind the first open arc nobody is asked, so a condition there may fail without harm."""
    asked: list[str] = []

    def asks(name: str, answer: bool) -> Callable[[Any], bool]:
        return lambda record: asked.append(name) or answer

    arcs = (
        ArcDef(target="done", condition=asks("low", True), priority=-1),
        ArcDef(target="done", condition=asks("first", False)),
        ArcDef(target="done", condition=asks("second", True)),
        ArcDef(target="done", condition=lambda record: record["no such field"]),
    )
    assert Plan(single(arcs=arcs)).run({}).success
    assert asked == ["first", "second"]


def test_a_function_may_ask_for_the_context() -> None:
    """It names the place and the run, and its variables are shared by all functions of the run and by no other run."""
    seen: list[tuple[str, str, str]] = []

    def note(record: Any, context: Context) -> Any:
        seen.append((context.network, context.state, context.arc))
        context.variables["count"] = context.variables.get("count", 0) + 1
        return {"count": context.variables["count"], "run": context.run}

    plan = Plan(single(transforms=(note,), arcs=(ArcDef(target="done", name="go", transforms=(note,)),)))
    first, second = plan.run({}), plan.run({})
    assert seen[:2] == [("main", "work", ""), ("main", "work", "work -go-> done")]
    assert (first.data["count"], second.data["count"]) == (2, 2)
    assert first.data["run"] != second.data["run"]
    assert plan.run({}, variables={"count": 5}, run="mine").data == {"count": 7, "run": "mine"}


def test_an_error_carries_type_message_place_attempt_and_cause() -> None:
    """Nothing about what was raised is lost."""
    fault = LookupError("no such customer")

    def raises(record: Any) -> Any:
        raise fault

    result = Plan(
        single(arcs=(ArcDef(target="done", name="load", transforms=(raises,), retry=Retry(attempts=3)),))
    ).run({"n": 1})
    error = result.error
    assert error is not None
    assert (error.type, error.message, error.state, error.arc, error.attempt) == (
        "LookupError", "no such customer", "work", "work -load-> done", 3,
    )  # fmt: skip
    assert error.exception is fault
    assert str(error) == "work, arc work -load-> done: LookupError: no such customer (attempt 3)"
    assert (result.final_state, result.data, result.path) == (FAILED, {"n": 1}, ("work", "failed"))


def test_an_error_arc_has_conditions_transforms_and_an_order_like_any_other() -> None:
    """The first open one is taken, and what it transforms is the record as it came into the state."""
    arcs = (
        ArcDef(target="done"),
        ArcDef(target="done", kind="error", condition=Code("n > 5")),
        ArcDef(target="done", kind="error", transforms=(lambda record: {**record, "rescued": True},)),
    )
    plan = Plan(single(transforms=(failing(ValueError("x"), ValueError("y")),), arcs=arcs))
    assert plan.run({"n": 1}).data == {"n": 1, "rescued": True}
    result = plan.run({"n": 9})
    assert (result.data, result.success, [error.message for error in result.handled]) == ({"n": 9}, True, ["y"])


def test_a_failing_way_out_is_not_taken_again() -> None:
    """An error on an error arc ends the record, with both errors."""

    def raises(record: Any) -> Any:
        raise RuntimeError("the way out")

    arcs = (ArcDef(target="done"), ArcDef(target="done", kind="error", transforms=(raises,)))
    result = Plan(single(transforms=(failing(ValueError("x")),), arcs=arcs)).run({})
    assert summary(result) == (FAILED, False, "RuntimeError")
    assert result.error is not None
    assert result.error.earlier is not None
    assert result.error.earlier.message == "x"


def test_an_end_called_failed_is_no_success() -> None:
    """However the record came there: by an error arc, with its error, or by an ordinary arc."""
    failed = StateDef(name="failed", final=True)
    caught = machine(
        StateDef(
            name="work",
            transforms=(failing(ValueError("x")),),
            arcs=(ArcDef(target="done"), ArcDef(target="failed", kind="error")),
        ),
        failed,
    )
    result = Plan(caught).run({})
    assert summary(result) == (FAILED, False, "ValueError")
    assert summary(Plan(machine(StateDef(name="work", arcs=(ArcDef(target="failed"),)), failed)).run({})) == (
        FAILED,
        False,
        "Failed",
    )


def test_a_failed_record_drifts_on_to_the_states_that_clean_up() -> None:
    """Only functions of states that run on failure are called, and the result is no success wherever it ends."""
    called: list[str] = []

    def notes(name: str) -> Callable[[Any], Any]:
        return lambda record: called.append(name)

    definition = machine(
        StateDef(
            name="work",
            transforms=(failing(ValueError("x")),),
            arcs=(ArcDef(target="more", transforms=(notes("arc"),)),),
        ),
        StateDef(
            name="more",
            transforms=(notes("more"),),
            arcs=(
                ArcDef(target="done", condition=Code("missing > 1")),
                ArcDef(target="tidy", condition=Code("n == 1")),
            ),
        ),
        StateDef(name="tidy", transforms=(notes("tidy"),), run_on_failure=True, arcs=(ArcDef(target="done"),)),
    )
    result = Plan(definition).run({"n": 1})
    assert (summary(result), called) == (("done", False, "ValueError"), ["tidy"])
    assert result.path == ("work", "more", "tidy", "done")


def test_an_error_while_cleaning_up_keeps_the_first() -> None:
    """The record drifts on, and the later error says which came earlier."""
    definition = machine(
        StateDef(name="work", transforms=(failing(ValueError("first")),), arcs=(ArcDef(target="tidy"),)),
        StateDef(
            name="tidy", transforms=(failing(KeyError("second")),), run_on_failure=True, arcs=(ArcDef(target="done"),)
        ),
    )
    result = Plan(definition).run({})
    assert result.error is not None
    assert result.error.earlier is not None
    assert (result.final_state, result.error.type, result.error.earlier.message) == ("done", "KeyError", "first")


def test_retries_happen_only_where_asked_and_for_what_is_named() -> None:
    """By class or by name, subclasses included; attempts count from 1."""

    def outcome(retry: Retry | None, *faults: Exception) -> tuple[str, bool, str]:
        return summary(Plan(single(transforms=(failing(*faults),), retry=retry)).run({}))

    assert outcome(None, KeyError("x")) == (FAILED, False, "KeyError")
    assert outcome(Retry(attempts=2), KeyError("x")) == ("done", True, "")
    assert outcome(Retry(attempts=2), KeyError("x"), KeyError("y")) == (FAILED, False, "KeyError")
    assert outcome(Retry(attempts=3, on=("LookupError",)), KeyError("x"), KeyError("y")) == ("done", True, "")
    assert outcome(Retry(attempts=3, on=(OSError,)), KeyError("x")) == (FAILED, False, "KeyError")


@given(mode=st.sampled_from(list(DataMode)), faults=st.integers(0, 3), on_arc=st.booleans())
def test_each_attempt_starts_from_the_record_as_it_was(mode: DataMode, faults: int, on_arc: bool) -> None:
    """What an attempt did to the record before it failed is gone in the next, in every mode and at any depth."""
    seen: list[Any] = []
    work = failing(*[ValueError("again")] * faults)

    def spoils(record: Any) -> Any:
        seen.append(copy.deepcopy(record))
        record["list"].append(1)
        return work(record)

    retry = Retry(attempts=4)
    definition = (
        single(data_mode=mode, arcs=(ArcDef(target="done", transforms=(spoils,), retry=retry),))
        if on_arc
        else single(data_mode=mode, transforms=(spoils,), retry=retry)
    )
    result = Plan(definition).run({"list": []})
    assert seen == [{"list": []}] * (faults + 1)
    assert (result.success, result.data) == (True, {"list": [1], "tries": 1})


@pytest.mark.parametrize(
    ("backoff", "waits"), [("fixed", [1.0, 1.0, 1.0]), ("linear", [1.0, 2.0, 3.0]), ("exponential", [1.0, 2.0, 3.5])]
)
def test_the_wait_between_attempts(backoff: Any, waits: list[float]) -> None:
    """Fixed, linear, or exponential up to the limit; slept in the plan's own time."""
    slept: list[float] = []
    retry = Retry(attempts=4, backoff=backoff, delay=1.0, max_delay=3.5)
    Plan(single(transforms=(failing(*[ValueError()] * 3),), retry=retry), sleep=slept.append).run({})
    assert slept == waits


def test_jitter_spreads_the_wait() -> None:
    """Within the part of it that was given."""
    slept: list[float] = []
    retry = Retry(attempts=50, delay=1.0, jitter=0.25)
    Plan(
        single(transforms=(failing(*[ValueError()] * 49),), retry=retry), sleep=slept.append, rng=random.Random(1)
    ).run({})
    assert all(0.75 <= wait <= 1.25 for wait in slept)
    assert max(slept) - min(slept) > 0.3


def test_an_asynchronous_plan_waits_without_blocking() -> None:
    """The pause between attempts is awaited."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    async def work(record: Any) -> Any:
        return again(record)

    again = failing(ValueError())
    plan = Plan(single(transforms=(work,), retry=Retry(attempts=2, delay=9.0)), sleep_async=wait)
    assert asyncio.run(plan.arun({})).success
    assert waited == [9.0]


class Clock:
    """Time that passes only when a function says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> Callable[[Any], Any]:
        def call(record: Any) -> Any:
            self.now += seconds
            return {**record, "late": True}

        return call


def test_a_state_that_takes_too_long_fails_and_its_late_answer_is_thrown_away() -> None:
    """It leaves by the arc for time-outs, else by that for errors; arcs for other errors alone are no way out of a time-out's place."""
    clock = Clock()
    arcs = (ArcDef(target="done"), ArcDef(target="late", kind="timeout"), ArcDef(target="done", kind="error"))
    late = StateDef(name="late", final=True)
    work = StateDef(name="work", timeout=1.0, transforms=(clock.takes(2.0),), arcs=arcs)
    result = Plan(machine(work, late), clock=clock).run({})
    assert (result.final_state, result.data, result.handled[0].type) == ("late", {}, "TimedOut")
    arcs = (ArcDef(target="done"), ArcDef(target="late", kind="timeout"))
    broken = StateDef(name="work", timeout=1.0, transforms=(failing(ValueError()),), arcs=arcs)
    assert summary(Plan(machine(broken, late), clock=clock).run({})) == (FAILED, False, "ValueError")


def test_a_time_out_bounds_one_attempt() -> None:
    """Each has its own time."""
    clock = Clock()
    takes = iter([2.0, 0.5])
    work = StateDef(
        name="work", timeout=1.0, retry=Retry(attempts=2), arcs=(ArcDef(target="done"),),
        transforms=(lambda record: clock.takes(next(takes))(record),),
    )  # fmt: skip
    assert Plan(machine(work), clock=clock).run({}).success


def test_a_run_that_takes_too_long_ends() -> None:
    """No arc leads on from that, no retry, and nothing more is called."""
    clock = Clock()
    called: list[str] = []
    work = StateDef(
        name="work",
        transforms=(clock.takes(3.0),),
        retry=Retry(attempts=5),
        arcs=(
            ArcDef(target="done", transforms=(lambda record: called.append("arc"),)),
            ArcDef(target="done", kind="error"),
        ),
    )
    plan = Plan(machine(work), clock=clock)
    result = plan.run({}, timeout=2.0)
    assert (summary(result), called) == ((FAILED, False, "TimedOut"), [])
    assert plan.run({}, timeout=4.0).success
    assert summary(Plan(machine(work, timeout=2.0), clock=clock).run({})) == (FAILED, False, "TimedOut")


def test_an_asynchronous_step_is_cancelled_when_its_time_is_up() -> None:
    """It does not hang the run, and it learns of it; a TimeoutError of its own is an error like any other."""
    cancelled: list[bool] = []

    async def hangs(record: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def own(record: Any) -> Any:
        raise TimeoutError("of the database")

    result = asyncio.run(Plan(single(transforms=(hangs,), timeout=0.01)).arun({}))
    assert (summary(result), cancelled) == ((FAILED, False, "TimedOut"), [True])
    assert summary(asyncio.run(Plan(single(transforms=(hangs,))).arun({}, timeout=0.01))) == (FAILED, False, "TimedOut")
    assert summary(asyncio.run(Plan(single(transforms=(own,), timeout=5.0)).arun({}))) == (
        FAILED,
        False,
        "TimeoutError",
    )


def test_a_condition_that_is_not_declared_async_is_no_yes() -> None:
    """A coroutine is true in Python; here it is an error."""

    async def later(record: Any) -> bool:
        return False

    result = Plan(single(arcs=(ArcDef(target="done", condition=lambda record: later(record)),))).run({})
    assert summary(result) == (FAILED, False, "NotAwaited")


def test_a_run_may_enter_elsewhere_or_go_on_after_a_state() -> None:
    """By name; an unknown one is a mistake of the caller, who is told what was probably meant."""
    plan = Plan(
        machine(
            StateDef(name="first", arcs=(ArcDef(target="second"),)),
            StateDef(name="second", arcs=(ArcDef(target="done"),)),
        )
    )
    assert plan.run({}, state="second").path == ("second", "done")
    assert plan.run({}, after="first").path == ("first", "second", "done")
    with pytest.raises(KeyError, match="did you mean 'second'"):
        plan.run({}, state="secnd")


def test_an_exhausted_iterator_is_reported_as_what_it_is() -> None:
    """StopIteration from a function is an error like any other, with and without a loop, and can be retried by its name."""

    def takes(record: Any) -> Any:
        return next(iter([]))

    async def later(record: Any) -> Any:
        return takes(record)

    assert summary(Plan(single(transforms=(takes,))).run({})) == (FAILED, False, "StopIteration")
    assert summary(Plan(single(transforms=(takes,)), events=lambda event: None).run({})) == (
        FAILED,
        False,
        "StopIteration",
    )
    assert summary(asyncio.run(Plan(single(transforms=(later,))).arun({}))) == (FAILED, False, "StopIteration")
    retried = Plan(single(transforms=(takes,), retry=Retry(attempts=3, on=("StopIteration",)))).run({}).error
    assert retried is not None
    assert retried.attempt == 3


def test_an_exception_without_a_text_is_an_error_all_the_same() -> None:
    """The record ends in `failed`; the run does not break."""

    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def raises(record: Any) -> Any:
        raise Silent

    error = Plan(single(transforms=(raises,))).run({}).error
    assert error is not None
    assert (error.type, error.message) == ("Silent", "it could not be written as text: RuntimeError")


def test_records_of_any_kind_are_carried_or_refused_and_never_break_the_run() -> None:
    """Cyclic, very deep, with keys and values of any type, or no mapping at all."""
    cyclic: dict[Any, Any] = {1: float("nan"), None: b"x", (1, 2): {3}}
    cyclic["self"] = cyclic
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    plan = Plan(single(transforms=(lambda record: record,)))
    result = plan.run(cyclic)
    assert result.success
    assert result.data["self"] is result.data
    assert summary(plan.run({"deep": deep})) == (FAILED, False, "RecursionError")
    for record in (None, 7, "text", [1, 2], object(), 1.5):
        assert plan.run(record).final_state == "done"
