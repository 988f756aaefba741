"""Plans: records walk through a machine, and every way it can go is in the result."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import DROPPED, FAILED, SPLIT, Plan, PlanError, Result, Several
from setpoint.data.machines import definition_of
from setpoint.machine import Arc, Machine, State, expression, guard

read, check, store = State(name="read"), State(name="check"), State(name="store")
done, small, broken = State(name="done", final=True), State(name="small", final=True), State(name="broken", final=True)


@guard
def large(record: Any) -> bool:
    "the amount is at least 100"
    return bool(record["amount"] >= 100)


def machine(*more: Arc, name: str = "orders") -> Machine:
    arcs = [
        read.to(check, on="read"),
        check.to(store, on="accept", when=large),
        check.to(small, on="set_aside", when=~large),
        store.to(done, on="stored"),
    ]
    return Machine(name, [read, check, store, done, small, broken], [*arcs, *more])


def doubled(record: Any) -> Any:
    return {**record, "amount": record["amount"] * 2}


def test_a_record_takes_the_first_open_arc_to_one_of_several_ends() -> None:
    """The functions change the record on entering their states, and guards see what they gave."""
    plan = Plan(machine(), {"read": doubled})
    result = plan.run({"amount": 50})
    assert (result.final_state, result.data, result.success) == ("done", {"amount": 100}, True)
    assert result.path == ("read", "check", "store", "done")
    assert result.duration >= 0
    assert plan.run({"amount": 49}).final_state == "small"


def test_guards_may_be_expressions_over_the_record() -> None:
    """An expression guard reads the record's keys."""
    plan = Plan(
        Machine(
            "m", [read, done, small], [read.to(done, on="a", when=expression("amount > 3")), read.to(small, on="b")]
        ),
        {},
    )
    assert plan.run({"amount": 4}).final_state == "done"
    assert plan.run({"amount": 3}).final_state == "small"


def test_priority_wins_over_order_of_definition() -> None:
    """Of two open arcs the one of higher priority is taken."""
    plan = Plan(Machine("m", [read, done, small], [read.to(small, on="a"), read.to(done, on="b", priority=1)]), {})
    assert plan.run({}).final_state == "done"


def test_a_failure_says_what_raised_and_where() -> None:
    """An exception in a function ends the record in `failed`, never as a success, with type, message, state and cause."""
    fault = ValueError("no such customer")

    def fails(record: Any) -> Any:
        raise fault

    result = Plan(machine(), {"check": fails}).run({"amount": 1})
    assert (result.final_state, result.success, result.data) == (FAILED, False, {"amount": 1})
    assert result.error is not None
    assert (result.error.type, result.error.message, result.error.state) == ("ValueError", "no such customer", "check")
    assert result.error.exception is fault
    assert result.path == ("read", "check", "failed")


def test_a_guard_that_raises_names_its_arc() -> None:
    """A fault in a guard is a fault of the record, with the arc in it."""
    result = Plan(machine(), {}).run({})
    assert result.error is not None
    assert (result.error.type, result.error.state, result.error.arc) == ("KeyError", "check", "check -accept-> store")


def test_an_error_arc_handles_the_error_and_never_hides_it() -> None:
    """A record that an error arc carried to an ordinary end is a success that says what was handled; one that fails again keeps both."""

    def spoils(record: Any) -> Any:
        raise RuntimeError("first")

    def again(record: Any) -> Any:
        assert record == {"amount": 1}
        raise LookupError("second")

    plan = Plan(machine(check.to(store, on="error")), {"check": spoils})
    result = plan.run({"amount": 1})
    assert (result.final_state, result.success, result.error) == ("done", True, None)
    assert [(error.state, error.message) for error in result.handled] == [("check", "first")]

    twice = Plan(machine(check.to(store, on="error")), {"check": spoils, "store": again})
    result = twice.run({"amount": 1})
    assert result.final_state == FAILED
    assert result.error is not None
    assert result.error.earlier is not None
    assert (result.error.message, result.error.earlier.message) == ("second", "first")


def test_a_step_that_returns_none_drops_the_record() -> None:
    """Dropped is an end of its own: no success is claimed for the rest of the way, and no error either."""
    result = Plan(machine(), {"check": lambda record: None}).run({"amount": 1})
    assert (result.final_state, result.success, result.error) == (DROPPED, True, None)
    assert result.path == ("read", "check", "dropped")
    routed = Plan(machine(check.to(broken, on="dropped")), {"check": lambda record: None})
    assert routed.run({}).final_state == "broken"


def test_no_open_arc_is_an_error_with_the_ways_tried() -> None:
    """A record that fits no arc does not vanish and does not wait."""
    plan = Plan(Machine("m", [read, done], [read.to(done, on="go", when=large)]), {})
    result = plan.run({"amount": 1})
    assert result.error is not None
    assert result.error.type == "NoOpenArc"
    assert "go (large)" in result.error.message


def test_a_loop_ends_with_an_error() -> None:
    """A record that circles is stopped at the limit and told where it circled."""
    plan = Plan(
        Machine("m", [read, check, done], [read.to(check, on="a"), check.to(read, on="b"), read.to(done, on="c")]), {}
    )
    result = plan.run({})
    assert (result.final_state, result.success, len(result.path)) == (FAILED, False, 1001)
    assert result.error is not None
    assert result.error.type == "TooManyTransitions"
    assert "read, check" in result.error.message


def test_each_part_of_a_split_goes_on_by_itself() -> None:
    """One part may fail while its siblings succeed; the whole is then no success, and the order is kept."""

    def split(record: Any) -> Any:
        return Several({"amount": amount} for amount in record["amounts"])

    result = Plan(machine(), {"check": split}).run({"amounts": [200, "x", 5]})
    assert result.final_state == SPLIT
    assert result.path == ("read", "check")
    assert [part.final_state for part in result.ends()] == ["done", "failed", "small"]
    assert result.parts[0].path == ("read", "check", "store", "done")
    assert result.success is False
    assert result.error is not None
    assert result.error.type == "TypeError"


def test_an_endless_split_is_stopped() -> None:
    """Splitting in a loop is bounded in number, not only in depth."""
    loop = Machine("m", [read, check, done], [read.to(check, on="a"), check.to(read, on="b"), read.to(done, on="c")])
    definition = msgspec.structs.replace(
        definition_of(loop, {"read": lambda record: Several([record, record])}), max_parts=100
    )
    result = Plan(definition).run(1)
    assert result.error is not None
    assert result.error.type == "TooManyParts"


def test_a_split_into_nothing_is_a_drop() -> None:
    """An empty `Several` is no record at all."""
    assert Plan(machine(), {"check": lambda record: Several()}).run({}).final_state == DROPPED


@given(
    amounts=st.lists(st.integers(0, 300), max_size=6), slow=st.sets(st.sampled_from(["read", "check", "store", "done"]))
)
def test_sync_and_async_runs_give_the_same(amounts: list[int], slow: set[str]) -> None:
    """Whatever is declared async, the same record gives the same result from the same interpreter."""

    def split(record: Any) -> Any:
        return Several({"amount": amount} for amount in record["amounts"])

    def fails_at_7(record: Any) -> Any:
        if record["amount"] % 7 == 0:
            raise ValueError("seven")
        return None if record["amount"] % 5 == 0 else record

    functions = {"read": lambda record: record, "check": split, "store": fails_at_7, "done": doubled}

    def late(function: Any) -> Any:
        async def call(record: Any) -> Any:
            return function(record)

        return call

    def told(result: Result) -> Any:
        error = result.error and (result.error.type, result.error.message, result.error.state)
        return (
            result.final_state,
            result.data,
            result.path,
            result.success,
            error,
            [told(part) for part in result.parts],
        )

    plan = Plan(machine(), functions)
    mixed = Plan(
        machine(), {name: late(function) if name in slow else function for name, function in functions.items()}
    )
    assert told(asyncio.run(mixed.arun({"amounts": amounts}))) == told(plan.run({"amounts": amounts}))


def test_a_plan_with_async_functions_does_not_run_without_a_loop() -> None:
    """`run` refuses it and says what to call."""

    async def later(record: Any) -> Any:
        return record

    plan = Plan(machine(), {"read": later})
    assert plan.is_async
    with pytest.raises(TypeError, match=r"await plan\.arun"):
        plan.run({})


def test_a_coroutine_from_a_function_not_declared_async_is_an_error() -> None:
    """It is never taken for a record."""

    async def later(record: Any) -> Any:
        return record

    result = Plan(machine(), {"read": lambda record: later(record)}).run({})
    assert result.error is not None
    assert result.error.type == "NotAwaited"


def test_cancelling_an_async_run_cancels_the_step_it_is_in() -> None:
    """Cancellation is not an error of the record: it goes through."""

    async def scenario() -> None:
        entered = asyncio.Event()

        async def hangs(record: Any) -> Any:
            entered.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(Plan(machine(), {"read": hangs}).arun({}))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_all_faults_of_a_plan_are_reported_at_once() -> None:
    """Unknown states, traps and clocks are found when the plan is made."""
    wait = Machine("m", [read, check], [read.to(check, on="error"), Arc("late", read, check, after=3.0)])
    with pytest.raises(PlanError) as caught:
        Plan(wait, {"chek": doubled, "read": 3})  # type: ignore[dict-item]
    text = str(caught.value)
    for part in (
        "'chek'",
        "3 is not a function",
        "no final state",
        "'check' is not final",
        "records do not wait",
    ):
        assert part in text


def test_a_record_may_go_on_after_a_state() -> None:
    """The function of that state is not called again; an unknown state is a mistake of the caller."""
    seen: list[str] = []

    def sees(name: str) -> Any:
        return lambda record: seen.append(name) or record

    plan = Plan(machine(), {name: sees(name) for name in ("read", "check", "store")})
    result = plan.run({"amount": 100}, after="read")
    assert (result.path, seen) == (("read", "check", "store", "done"), ["check", "store"])
    assert asyncio.run(plan.arun({"amount": 100}, after="check")).path == ("check", "store", "done")
    with pytest.raises(KeyError):
        plan.run({}, after="nowhere")


def test_parts_of_parts_keep_their_order() -> None:
    """Splitting twice gives the records in the order in which they would be read aloud."""
    plan = Plan(
        machine(),
        {"read": lambda record: Several(record), "check": lambda record: Several({"amount": n} for n in record)},
    )
    assert [part.data["amount"] for part in plan.run([[1, 2], [3], [400, 5]]).parts] == [1, 2, 3, 400, 5]


def test_what_was_handled_before_a_split_goes_with_every_part() -> None:
    """An error that an arc caught is told by each part, and once by the whole."""

    def spoils(record: Any) -> Any:
        raise RuntimeError("first")

    plan = Plan(
        machine(read.to(check, on="error")), {"read": spoils, "check": lambda record: Several([record, record])}
    )
    result = plan.run({"amount": 1})
    assert [(part.final_state, part.success, part.handled[0].message) for part in result.parts] == [
        ("small", True, "first")
    ] * 2
    assert [error.message for error in result.handled] == ["first"]


def test_an_end_that_fails_does_not_lead_to_itself() -> None:
    """A function of the state `failed` that raises ends the record there, with both errors."""

    def raises(record: Any) -> Any:
        raise ValueError(record)

    end = State(name="failed", final=True)
    plan = Plan(Machine("m", [read, done, end], [read.to(done, on="go")]), {"read": raises, "failed": raises})
    result = plan.run("x")
    assert (result.final_state, result.path) == (FAILED, ("read", "failed", "failed"))
    assert result.error is not None
    assert result.error.earlier is not None
    assert (result.error.state, result.error.earlier.state) == ("failed", "read")
