"""Traversal strategies: which arcs are taken, and in which order the work is done."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from setpoint.data import ArcDef, Code, DataMode, Definition, NetworkDef, Plan, Retry, StateDef, Strategy


def machine(*states: StateDef, strategy: Strategy, **more: Any) -> Definition:
    return Definition(name="m", networks=(NetworkDef(name="main", states=states),), strategy=strategy, **more)


def notes(called: list[str], name: str) -> Callable[[Any], Any]:
    return lambda record: called.append(name)


def fan(called: list[str], strategy: Strategy) -> Definition:
    """Two ways of two states each to one end, and a third that is closed."""

    def way(name: str) -> tuple[StateDef, StateDef]:
        first = StateDef(name=f"{name}1", transforms=(notes(called, f"{name}1"),), arcs=(ArcDef(target=f"{name}2"),))
        second = StateDef(name=f"{name}2", transforms=(notes(called, f"{name}2"),), arcs=(ArcDef(target="done"),))
        return first, second

    start = StateDef(
        name="start",
        arcs=(ArcDef(target="b1"), ArcDef(target="a1", priority=1), ArcDef(target="done", condition=Code("n > 5"))),
    )
    return machine(start, *way("a"), *way("b"), StateDef(name="done", final=True), strategy=strategy)


def test_depth_first_takes_one_way() -> None:
    """The open arc of the highest priority, to its end."""
    called: list[str] = []
    result = Plan(fan(called, Strategy.DEPTH_FIRST)).run({"n": 1})
    assert (called, result.final_state, result.parts) == (["a1", "a2"], "done", ())


def test_breadth_first_takes_every_open_way_level_by_level() -> None:
    """Each way has a record of its own, and the results are collected."""
    called: list[str] = []
    plan = Plan(fan(called, Strategy.BREADTH_FIRST))
    record = {"n": 1, "list": [0]}
    result = plan.run(record)
    assert called == ["a1", "b1", "a2", "b2"]
    assert [part.path for part in result.parts] == [("start", "a1", "a2", "done"), ("start", "b1", "b2", "done")]
    lists = [part.data["list"] for part in result.parts]
    assert lists[0] is not lists[1]
    assert lists[0] is not record["list"]
    assert (result.path, result.success) == (("start",), True)
    assert len(plan.run({"n": 9}).parts) == 3
    assert [part.path for part in asyncio.run(plan.arun({"n": 1})).parts] == [part.path for part in result.parts]


def test_one_way_that_fails_does_not_stop_the_others() -> None:
    """The whole is then no success, and says which part failed; parts stand in the order in which they ended."""

    def raises(record: Any) -> Any:
        raise ValueError("here")

    start = StateDef(
        name="start", arcs=(ArcDef(target="done"), ArcDef(target="done", name="bad", transforms=(raises,)))
    )
    definition = machine(start, StateDef(name="done", final=True), strategy=Strategy.BREADTH_FIRST)
    result = Plan(definition).run({})
    assert [part.success for part in result.parts] == [False, True]
    assert (result.success, result.error and result.error.arc) == (False, "start -bad-> done")


class Supply:
    """Resources that may be busy."""

    is_async = False

    def __init__(self, *busy: str) -> None:
        self.busy = set(busy)

    def acquire(self, names: Mapping[str, str], owner: str, state: str = "") -> dict[str, str]:
        return {role: name for role, name in names.items()}

    def release(self, names: Mapping[str, str], owner: str, ok: bool) -> None: ...

    def finish(self, owner: str, ok: bool) -> None: ...

    def drop(self, owner: str) -> None: ...

    def free(self, names: Mapping[str, str]) -> bool:
        return not self.busy & set(names.values())

    def awaiting(self) -> "Supply":
        return self


def test_resource_optimized_takes_the_way_whose_resources_are_free() -> None:
    """Among open arcs of equal priority; where none is free, and among those of another priority, nothing changes."""

    def state(name: str) -> StateDef:
        return StateDef(name=name, resources={"db": name}, arcs=(ArcDef(target="done"),))

    arcs = (
        ArcDef(target="a"),
        ArcDef(target="b", condition=Code("n > 0")),
        ArcDef(target="c"),
        ArcDef(target="d", priority=-1),
    )
    definition = machine(
        StateDef(name="start", arcs=arcs), *map(state, "abcd"), StateDef(name="done", final=True),
        strategy=Strategy.RESOURCE_OPTIMIZED,
    )  # fmt: skip

    def taken(n: int, *busy: str) -> str:
        return Plan(definition, resources=Supply(*busy)).run({"n": n}).path[1]

    assert [taken(1), taken(1, "a"), taken(0, "a"), taken(1, "a", "b", "c"), taken(1, "b")] == ["a", "b", "c", "a", "a"]


def test_stream_optimized_runs_a_state_over_the_whole_chunk() -> None:
    """The order of the calls is by state, and the results are those of any other order."""
    called: list[str] = []

    def calls(name: str) -> Callable[[Any], Any]:
        return lambda record: called.append(f"{name}{record['n']}")

    start = StateDef(
        name="start",
        transforms=(calls("start"),),
        arcs=(ArcDef(target="odd", condition=Code("n % 2 == 1")), ArcDef(target="even")),
    )
    middle = [StateDef(name=name, transforms=(calls(name),), arcs=(ArcDef(target="done"),)) for name in ("odd", "even")]
    done = StateDef(name="done", final=True)
    plan = Plan(machine(start, *middle, done, strategy=Strategy.STREAM_OPTIMIZED))
    records = [{"n": n} for n in range(4)]
    together = plan.run_chunk(records)
    assert called == ["start0", "start1", "start2", "start3", "even0", "even2", "odd1", "odd3"]
    assert [(one.data, one.path) for one in together] == [(one.data, one.path) for one in map(plan.run, records)]


def test_a_chunk_that_is_cancelled_gives_everything_back() -> None:
    """What the walks hold is released, those that stand between states included."""
    released: list[str] = []

    class Counted(Supply):
        def release(self, names: Mapping[str, str], owner: str, ok: bool) -> None:
            released.append("release")

        def finish(self, owner: str, ok: bool) -> None:
            released.append(f"finish {ok}")

    async def hangs(record: Any) -> Any:
        if record == 2:
            await asyncio.Event().wait()

    start = StateDef(
        name="start",
        transforms=(hangs,),
        resources={"db": "db"},
        arcs=(ArcDef(target="done"),),
        retry=Retry(attempts=2),
    )
    definition = machine(
        start, StateDef(name="done", final=True), strategy=Strategy.STREAM_OPTIMIZED, data_mode=DataMode.DIRECT
    )

    class Awaited(Counted):
        is_async = True

        def acquire(self, names: Mapping[str, str], owner: str, state: str = "") -> Any:
            return _later(names)

        def release(self, names: Mapping[str, str], owner: str, ok: bool) -> Any:
            super().release(names, owner, ok)
            return _later(None)

        def finish(self, owner: str, ok: bool) -> Any:
            super().finish(owner, ok)
            return _later(None)

    async def scenario() -> None:
        task = asyncio.ensure_future(Plan(definition, resources=Awaited()).arun_chunk([1, 2, 3]))
        await asyncio.sleep(0.01)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return
        raise AssertionError("it was cancelled")

    asyncio.run(scenario())
    assert released == ["release", "release", "finish False", "finish False"]


async def _later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value
