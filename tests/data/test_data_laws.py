"""Laws of the interpreter: whatever the machine and the record, every door gives the same, and every run ends."""

import asyncio
import copy
from collections.abc import Callable, Generator
from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from setpoint.data import (
    DROP,
    ArcDef,
    Code,
    DataMode,
    Definition,
    NetworkDef,
    Pause,
    Plan,
    Progress,
    Push,
    Result,
    Retry,
    Several,
    StateDef,
    Strategy,
)
from setpoint.data.runs import codec


def touches(record: Any) -> None:
    record["n"] += 1
    record.setdefault("seen", []).append(record["n"])


def replaces(record: Any) -> Any:
    return {**record, "n": record["n"] * 2 + 1}


def breaks_at_3(record: Any) -> Any:
    record["seen"] = ["half done"]
    if record["n"] % 3 == 0:
        raise ValueError(f"three: {record['n']}")
    return record


def splits(record: Any) -> Any:
    """Parts that share nothing: what they would share in memory they no longer share once they were kept."""
    return Several([{**copy.deepcopy(record), "n": n} for n in range(record["n"] % 4)])


def drops_at_5(record: Any) -> Any:
    return DROP if record["n"] % 5 == 0 else record


def asks(record: Any, context: Any) -> Any:
    context.variables["calls"] = context.variables.get("calls", 0) + 1
    return {**record, "at": context.state + context.arc, "calls": context.variables["calls"]}


def even(record: Any) -> bool:
    return bool(record["n"] % 2 == 0)


def below_100(record: Any) -> bool:
    return bool(record["n"] < 100)


def late(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, asynchronous."""

    async def call(record: Any) -> Any:
        return function(record)

    async def call_with(record: Any, context: Any) -> Any:
        return function(record, context)

    made = call_with if function is asks else call
    made.__name__ = function.__name__
    return made


TRANSFORMS = st.lists(st.sampled_from([touches, replaces, breaks_at_3, splits, drops_at_5, asks]), max_size=2).map(
    tuple
)
CHECKS = st.lists(st.sampled_from([below_100, even, Code("n < 1000")]), max_size=1).map(tuple)
CONDITIONS = st.sampled_from([None, None, even, below_100, Code("n % 3 == 1"), Code("missing > 1")])
RETRIES = st.sampled_from([None, None, None, Retry(attempts=2), Retry(attempts=3, on=("ValueError",))])
MODES = st.sampled_from([None, None, *DataMode])


@st.composite
def arcs(draw: Any, names: list[str], networks: list[str]) -> ArcDef:
    network = draw(st.sampled_from([None, None, None, *networks]))
    push = None
    if network:
        isolation = draw(st.sampled_from(["copy", "reference", "none", "serialize"]))
        mapping = draw(st.sampled_from([{}, {"n": "n"}]))
        push = Push(
            network=network,
            isolation=isolation,
            data_mapping=mapping,
            result_mapping=draw(st.sampled_from([{}, {"n": "back.n"}])),
        )
    return ArcDef(
        target=draw(st.sampled_from(names)),
        kind=draw(st.sampled_from(["way", "way", "way", "error", "dropped"])),
        condition=draw(CONDITIONS),
        transforms=draw(TRANSFORMS),
        priority=draw(st.integers(0, 2)),
        push=push,
        retry=draw(RETRIES),
    )


@st.composite
def networks(draw: Any, name: str, below: list[str]) -> NetworkDef:
    count = draw(st.integers(2, 4))
    names = [f"s{number}" for number in range(count)] + [draw(st.sampled_from(["end", "failed"])), "done"]
    states = []
    for number, state in enumerate(names):
        final = number >= count
        ways = draw(st.lists(arcs(names, below), min_size=0, max_size=3))
        kept = [arc for arc in ways if not (arc.kind == "error" and arc.target == state and arc.condition is None)]
        ahead = ArcDef(target=names[draw(st.integers(number + 1, count + 1))], priority=-1) if not final else None
        states.append(
            StateDef(
                name=state,
                final=final,
                pre_validators=draw(CHECKS),
                transforms=draw(TRANSFORMS),
                arcs=tuple(arc for arc in kept if arc.kind != "way") if final else (*kept, ahead),
                retry=draw(RETRIES),
                data_mode=draw(MODES),
                run_on_failure=draw(st.integers(0, 5)) == 0,
            )
        )
    return NetworkDef(name=name, states=tuple(states))


DEPTH_FIRST = st.just(Strategy.DEPTH_FIRST)


@st.composite
def definitions(draw: Any, strategies: Any = DEPTH_FIRST) -> Definition:
    return Definition(
        name="any",
        networks=(draw(networks("main", ["sub"])), draw(networks("sub", []))),
        max_transitions=draw(st.sampled_from([3, 7, 25])),
        max_parts=draw(st.sampled_from([4, 30])),
        data_mode=draw(st.sampled_from(list(DataMode))),
        strategy=draw(strategies),
    )


RECORDS = st.fixed_dictionaries({"n": st.integers(0, 12), "deep": st.just({"list": [1, 2]})})


def told(result: Result) -> Any:
    def of(error: Any) -> Any:
        return error and (
            error.type,
            error.message,
            error.state,
            error.arc,
            error.attempt,
            of(error.earlier),
            of(error.cause),
        )

    return (
        result.final_state,
        result.data,
        result.path,
        result.success,
        of(result.error),
        [of(error) for error in result.handled],
        [told(part) for part in result.parts],
    )


def stepped(walk: Generator[Any, Any, Result]) -> Result:
    """The run as a debugger drives it."""
    try:
        met = walk.send(None)
        while True:
            assert isinstance(met, Pause)
            met = walk.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result


def asynchronous(definition: Definition) -> Definition:
    """The same machine with every function asynchronous."""

    def changed(refs: Any) -> Any:
        return tuple(late(ref) if callable(ref) else ref for ref in refs)

    def arc(one: ArcDef) -> ArcDef:
        condition = late(one.condition) if callable(one.condition) else one.condition
        return msgspec.structs.replace(one, condition=condition, transforms=changed(one.transforms))

    def state(one: StateDef) -> StateDef:
        return msgspec.structs.replace(
            one,
            pre_validators=changed(one.pre_validators),
            transforms=changed(one.transforms),
            arcs=tuple(map(arc, one.arcs)),
        )

    made = tuple(
        msgspec.structs.replace(network, states=tuple(map(state, network.states))) for network in definition.networks
    )
    return msgspec.structs.replace(definition, networks=made)


@settings(max_examples=80, deadline=None)
@given(definition=definitions(), record=RECORDS)
def test_every_door_gives_the_same(definition: Definition, record: Any) -> None:
    """Alone, among others, awaited, step by step, all together: one machine and one record, one result."""

    def fresh() -> Any:
        return copy.deepcopy(record)

    plan = Plan(definition)
    alone = told(plan.run(fresh()))
    batch: list[Result] = []
    plan.run_all([fresh(), fresh()], batch.append)
    assert [told(one) for one in batch] == [alone, alone]
    assert told(stepped(plan.steps(fresh()))) == alone
    assert told(asyncio.run(plan.arun(fresh()))) == alone
    assert [told(one) for one in plan.run_chunk([fresh(), fresh()])] == [alone, alone]
    events: list[Any] = []
    assert told(plan.using(events=events.append).run(fresh())) == alone
    assert (events[0].kind, events[-1].kind) == ("start", "end")


@settings(max_examples=60, deadline=None)
@given(definition=definitions(), record=RECORDS)
def test_asynchronous_functions_change_nothing(definition: Definition, record: Any) -> None:
    """A machine whose functions are all asynchronous gives what it gives with plain ones."""
    slow = Plan(asynchronous(definition))
    assert told(asyncio.run(slow.arun(copy.deepcopy(record)))) == told(Plan(definition).run(copy.deepcopy(record)))


@settings(max_examples=60, deadline=None)
@given(definition=definitions(), record=RECORDS)
def test_copy_never_touches_the_input(definition: Definition, record: Any) -> None:
    """Where every state works on copies the caller's object is the same afterwards, at any depth, whatever happened."""
    states = tuple(
        msgspec.structs.replace(
            network, states=tuple(msgspec.structs.replace(state, data_mode=DataMode.COPY) for state in network.states)
        )
        for network in definition.networks
    )
    before = copy.deepcopy(record)
    Plan(msgspec.structs.replace(definition, networks=states)).run(record)
    assert record == before


@settings(max_examples=60, deadline=None)
@given(definition=definitions(st.sampled_from([Strategy.DEPTH_FIRST, Strategy.BREADTH_FIRST])), record=RECORDS)
def test_every_run_ends_and_says_how(definition: Definition, record: Any) -> None:
    """Within its limits, in an end there is; a success is exactly what has no error, for the whole and each part."""
    result = Plan(definition).run(record)
    finals = {state.name for state in definition.networks[0].states if state.final}
    for end in result.ends():
        assert end.final_state in finals | {"failed", "dropped"}
        assert end.success == (end.error is None)
        assert sum(1 for _ in end.path) <= (definition.max_transitions + 2) + 1
    assert result.success == all(end.success for end in result.ends())
    assert len(result.parts) <= definition.max_parts + 3


@settings(max_examples=60, deadline=None)
@given(definition=definitions(), record=RECORDS, stop=st.integers(0, 6))
def test_a_run_goes_on_from_any_checkpoint(definition: Definition, record: Any, stop: int) -> None:
    """Kept between two states, sent through bytes and resumed, it ends as if nothing had happened."""
    reference = Plan(definition)
    whole = told(reference.run(copy.deepcopy(record)))
    assume("Conflict" not in str(whole))  # parts that shared a record in memory no longer do once they were kept
    kept: list[bytes] = []

    def keep(progress: Progress) -> None:
        kept.append(codec.encoded(progress))

    assert told(reference.using(checkpoint=keep).run(copy.deepcopy(record))) == whole
    if kept:
        resumed = reference.resume(codec.decoded_progress(kept[min(stop, len(kept) - 1)]))
        assert told(resumed) == whole
