"""Laws of the debugger and of events: moving by hand changes nothing, and every door tells the same."""

import asyncio
import contextlib
import copy
import random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.data.test_data_laws import DEPTH_FIRST, RECORDS, asynchronous, definitions

from setpoint.data import Definition, Event, Kind, Plan, Result, Strategy
from setpoint.data.batch import arun_batch, run_batch
from setpoint.data.debug import Debugger
from setpoint.data.stream import StreamError, arun_stream, run_stream

ANY_STRATEGY = st.sampled_from([Strategy.DEPTH_FIRST, Strategy.BREADTH_FIRST])


def told(result: Result, seen: set[int] | None = None) -> Any:
    """A result, comparable: every error once, since each may be the reason of several others."""
    seen = set() if seen is None else seen

    def of(error: Any) -> Any:
        if error is None or id(error) in seen:
            return None
        seen.add(id(error))
        return told_error(error), error.attempt, of(error.earlier), of(error.cause)

    errors = [of(result.error), *map(of, result.handled)]
    return (
        result.final_state,
        result.data,
        result.path,
        result.success,
        errors,
        [told(part, seen) for part in result.parts],
    )


def stepped(debugger: Debugger, choose: random.Random) -> Result:
    """To the end by steps of all kinds."""
    while debugger.result is None:
        choose.choice([debugger.step, debugger.step_arc, debugger.step_over, debugger.step_out])()
    return debugger.result


def as_seen(moment: Any) -> Any:
    """Everything of a moment that one can see."""
    tokens = [(token.record, token.state, token.path, token.arc, token.step) for token in moment.tokens]
    return moment.state, moment.arc, moment.record, moment.path, moment.pushed, tokens, moment.progress.variables


@settings(max_examples=100, deadline=None)
@given(definition=definitions(ANY_STRATEGY), record=RECORDS, seed=st.integers(0, 1000))
def test_a_run_in_the_debugger_gives_what_it_gives_anywhere(definition: Definition, record: Any, seed: int) -> None:
    """Whatever steps it is moved by; and the record it was given is never touched."""
    plan, choose = Plan(definition), random.Random(seed)
    whole = told(plan.run(copy.deepcopy(record)))
    given_record = copy.deepcopy(record)
    with Debugger(plan, given_record) as debugger:
        assert told(stepped(debugger, choose)) == whole
        assert given_record == record
        debugger.restart()
        assert told(debugger.run()) == whole


@settings(max_examples=100, deadline=None)
@given(definition=definitions(ANY_STRATEGY), record=RECORDS, seed=st.integers(0, 1000))
def test_going_back_and_on_changes_nothing(definition: Definition, record: Any, seed: int) -> None:
    """From any moment, in any data mode: every moment is as it was seen, and the run ends as it would have."""
    plan, choose = Plan(definition), random.Random(seed)
    whole = told(plan.run(copy.deepcopy(record)))
    assume(
        "Conflict" not in repr(whole)
    )  # between parts of one record: a copy of a run does not know of changes before it was made
    with Debugger(plan, copy.deepcopy(record)) as debugger:
        seen = {0: as_seen(debugger.moment)}
        for _ in range(60):
            move = choose.choice(["step", "step_arc", "step", "back", "forth"])
            first, last = debugger.moments[0].number, debugger.moments[-1].number
            here = debugger.moment.number
            if (move == "back" and here == first) or (move == "forth" and here == last):
                continue
            if move in ("back", "forth"):
                moment = getattr(debugger, move)(choose.randint(1, 3))
                assert as_seen(moment) == seen[moment.number]
            elif debugger.result is None:
                for gone in [number for number in seen if number > here]:
                    del seen[gone]
                getattr(debugger, move)()
                seen |= {one.number: as_seen(one) for one in debugger.moments if one.number > here}
        assert told(debugger.run()) == whole


@settings(max_examples=40, deadline=None)
@given(definition=definitions(), record=RECORDS)
def test_an_asynchronous_machine_is_moved_alike(definition: Definition, record: Any) -> None:
    """In a loop of its own, and with the twins in a running one."""
    whole = told(Plan(definition).run(copy.deepcopy(record)))
    slow = Plan(asynchronous(definition))
    with Debugger(slow, copy.deepcopy(record)) as debugger:
        assert told(stepped(debugger, random.Random(1))) == whole

    async def awaited(plan: Plan) -> Result:
        with Debugger(plan, copy.deepcopy(record)) as debugger:
            await debugger.astep_arc()
            return await debugger.arun()

    assert told(asyncio.run(awaited(slow))) == whole
    assert told(asyncio.run(awaited(Plan(definition)))) == whole


def line(event: Event) -> Any:
    """An event, comparable between runs."""
    error = event.error and (event.error.type, event.error.message, event.error.state, event.error.arc)
    path = event.token.path if event.token else None
    record = repr(event.record)
    return event.kind, event.network, event.state, event.arc, event.target, event.attempt, record, error, path


@settings(max_examples=60, deadline=None)
@given(definition=definitions(st.one_of(DEPTH_FIRST, ANY_STRATEGY)), record=RECORDS)
def test_every_door_tells_the_same(definition: Definition, record: Any) -> None:
    """Alone, in a batch, in a stream, all together, awaited, in the debugger: the same events in the same order, for each record."""
    heard: list[Any] = []
    plan = Plan(definition, events=lambda event: heard.append(line(event)))

    def after(carry: Any) -> list[Any]:
        heard.clear()
        with contextlib.suppress(StreamError):  # all parts of a record that was split failed: more errors than records
            carry()
        return list(heard)

    def fresh() -> Any:
        return copy.deepcopy(record)

    alone = after(lambda: plan.run(fresh()))
    assert (alone[0][0], alone[-1][0]) == (Kind.START, Kind.END)
    assert after(lambda: asyncio.run(plan.arun(fresh()))) == alone
    assert after(lambda: plan.run_chunk([fresh()])) == alone
    assert after(lambda: run_batch(plan, [fresh(), fresh()])) == alone * 2
    assert after(lambda: asyncio.run(arun_batch(plan, [fresh()]))) == alone
    assert after(lambda: run_stream(plan, [fresh(), fresh()])) == alone * 2
    assert after(lambda: asyncio.run(arun_stream(plan, [fresh()]))) == alone
    with Debugger(plan, fresh()) as debugger:
        assert after(debugger.run) == alone
    with Debugger(plan, fresh()) as debugger:
        assert after(lambda: stepped(debugger, random.Random(2))) == alone


@settings(max_examples=100, deadline=None)
@given(definition=definitions(ANY_STRATEGY), record=RECORDS)
def test_whatever_is_in_a_result_was_told(definition: Definition, record: Any) -> None:
    """Every error, caught or not, and its causes; states of a path were entered, and what was left was entered before."""
    events: list[Event] = []
    result = Plan(definition, events=events.append).run(record)
    errors = {told_error(event.error) for event in events if event.kind is Kind.ERROR}

    seen: set[int] = set()

    def check(error: Any) -> None:
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            assert told_error(error) in errors
            check(error.earlier)
            check(error.cause)

    for end in result.ends():
        check(end.error)
        for error in end.handled:
            check(error)
    entered = [(event.network, event.state) for event in events if event.kind is Kind.ENTER]
    main = definition.main_network
    start = definition.network(main).start
    assert entered[:1] in ([], [(main, start)])
    for event in events:
        if event.kind is Kind.EXIT:
            assert (event.network, event.state) in entered
        if event.kind in (Kind.ENTER, Kind.EXIT, Kind.ARC, Kind.ERROR) and event.network:
            assert event.token is not None
            assert isinstance(event.record, dict)


def told_error(error: Any) -> Any:
    return error.type, error.message, error.state, error.arc
