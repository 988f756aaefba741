"""Resources through the doors of the data runtime: what a record of a machine gets, keeps and leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.data.resources.resource_samples import Async, Ledger, Sync

from setpoint.data.context import Context
from setpoint.data.definition import ArcDef, Definition, NetworkDef, ResourceDef, Retry, StateDef, Strategy
from setpoint.data.fsm import SimpleFSM

IT = {"it": "it"}


def write(record: dict[str, Any], context: Context) -> None:
    """Writes the record's number and the state, then fails where the record says so."""
    context.require("it").write(f"{record['n']} {context.state}")
    if record.get("fails") == context.state:
        raise ValueError("as the record says")


def machine(
    *, transactions: Any = "record", retry: Retry | None = None, caught: bool = False, then: Any = None
) -> Definition:
    work = (write, then) if then else (write,)
    error = (ArcDef(target="done", kind="error"),) if caught else ()
    states = (
        StateDef(name="first", start=True, transforms=(write,), resources=IT, arcs=(ArcDef(target="second"),)),
        StateDef(name="second", transforms=work, resources=IT, retry=retry, arcs=(ArcDef(target="done"), *error)),
        StateDef(name="done", final=True),
    )
    resources = (ResourceDef(name="it", type="custom", pool_size=2, timeout=1),)
    return Definition(
        name="m",
        networks=(NetworkDef(name="main", states=states),),
        resources=resources,
        transactions=transactions,
    )


def test_a_record_that_fails_leaves_nothing_and_one_that_succeeds_all() -> None:
    """One transaction over all states of the record."""
    ledger = Ledger()
    fsm = SimpleFSM(machine(), resources={"it": ledger})
    assert fsm.process({"n": 1}).success
    assert not fsm.process({"n": 2, "fails": "second"}).success
    assert ledger.entries == ["1 first", "1 second"]
    fsm.close()


def test_a_caught_error_keeps_what_was_done_before_it() -> None:
    """The failed state is undone, the run is committed."""
    ledger = Ledger()
    fsm = SimpleFSM(machine(caught=True), resources={"it": ledger})
    result = fsm.process({"n": 1, "fails": "second"})
    assert result.success
    assert ledger.entries == ["1 first"]
    fsm.close()


@pytest.mark.parametrize(("transactions", "expected"), [("record", 2), ("none", 3)])
def test_a_retry_writes_once(transactions: str, expected: int) -> None:
    """Each attempt is undone before the next; without transactions what the first attempt wrote stays."""
    ledger, failing = Ledger(), [ValueError("only once")]

    def fail_once(record: dict[str, Any], context: Context) -> None:
        if context.state == "second" and failing:
            raise failing.pop()

    definition = machine(transactions=transactions, retry=Retry(attempts=2), then=fail_once)
    fsm = SimpleFSM(definition, resources={"it": ledger})
    assert fsm.process({"n": 1}).success
    assert len(ledger.entries) == expected
    fsm.close()


def test_a_commit_that_fails_is_a_failure_of_the_run() -> None:
    """The record came to its end, but what it wrote is not there: no success."""
    ledger = Ledger()
    ledger.fail_commit = True
    fsm = SimpleFSM(machine(), resources={"it": ledger})
    result = fsm.process({"n": 1})
    assert not result.success
    assert result.error is not None
    assert "disk is full" in result.error.message
    assert ledger.entries == []
    fsm.close()


def test_a_resource_that_cannot_be_had_is_an_error_of_the_state() -> None:
    """Never left out: the record does not run without it."""
    provider = Sync()
    provider.failing = 1
    fsm = SimpleFSM(machine(transactions="none"), resources={"it": provider})
    result = fsm.process({"n": 1})
    assert not result.success
    assert result.error is not None
    assert (result.error.type, result.error.state) == ("ResourceUnavailable", "first")
    fsm.close()


def test_a_batch_is_one_transaction() -> None:
    """Its failed records are undone alone; the others are written when the batch ends."""
    ledger = Ledger()
    fsm = SimpleFSM(machine(transactions="batch"), resources={"it": ledger})
    results = fsm.process_batch([{"n": 1}, {"n": 2, "fails": "second"}, {"n": 3}])
    assert [result.success for result in results] == [True, False, True]
    assert ledger.entries == ["1 first", "1 second", "3 first", "3 second"]
    fsm.close()


async def hold(record: dict[str, Any], context: Context) -> None:
    """Notes which handle the record has in a state, and lets the others run."""
    record.setdefault("had", []).append(context.require("it"))
    await asyncio.sleep(0)


def asynchronous() -> Definition:
    states = (
        StateDef(name="first", start=True, transforms=(hold,), resources=IT, arcs=(ArcDef(target="done"),)),
        StateDef(name="done", final=True),
    )
    resources = (ResourceDef(name="it", type="custom", pool_size=2, timeout=5),)
    return Definition(name="a", networks=(NetworkDef(name="main", states=states),), resources=resources)


@pytest.mark.parametrize("kind", [Sync, Async])
def test_records_at_once_keep_to_the_limit(kind: type[Sync]) -> None:
    """Thirty records over two handles: all succeed, never more than two handles exist, none is left out."""
    provider = kind()

    async def scenario() -> None:
        fsm = SimpleFSM(asynchronous(), resources={"it": provider})
        results = await asyncio.gather(*(fsm.aprocess({"n": number}) for number in range(30)))
        assert all(result.success for result in results)
        assert {handle for result in results for handle in result.data["had"]} == {1, 2}
        await fsm.aclose()

    asyncio.run(scenario())
    assert provider.most == 2
    assert not provider.alive


def test_a_cancelled_record_gives_back_what_it_has() -> None:
    """Cancelled in the middle of a state: the only handle goes to the next record."""

    async def stuck(record: dict[str, Any], context: Context) -> None:
        if record["n"] == 0:
            await asyncio.Event().wait()

    async def scenario() -> None:
        definition = asynchronous()
        (network,) = definition.networks
        first, done = network.states
        first = msgspec.structs.replace(first, transforms=(stuck,))
        network = msgspec.structs.replace(network, states=(first, done))
        resource = msgspec.structs.replace(definition.resources[0], pool_size=1)
        fsm = SimpleFSM(
            msgspec.structs.replace(definition, networks=(network,), resources=(resource,)), resources={"it": Async()}
        )
        task = asyncio.create_task(fsm.aprocess({"n": 0}))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await fsm.aprocess({"n": 1})).success
        await fsm.aclose()

    asyncio.run(scenario())


def test_the_free_resource_is_chosen() -> None:
    """With resource_optimized the arc whose resource is free now is taken before its equal that would have to wait."""
    targets = tuple(
        StateDef(name=name, resources={"it": name}, arcs=(ArcDef(target="done"),), transforms=(lambda r: r,))
        for name in "ab"
    )
    start = StateDef(name="start", start=True, arcs=(ArcDef(target="a"), ArcDef(target="b")))
    states = (start, *targets, StateDef(name="done", final=True))
    resources = tuple(ResourceDef(name=name, type="custom", pool_size=1, timeout=1) for name in "ab")
    definition = Definition(
        name="m",
        networks=(NetworkDef(name="main", states=states),),
        resources=resources,
        strategy=Strategy.RESOURCE_OPTIMIZED,
    )
    fsm = SimpleFSM(definition, resources={"a": Sync(), "b": Sync()})
    assert fsm.process({}).path == ("start", "a", "done")
    supply: Any = fsm.plan.resources
    supply.acquire({"x": "a"}, "somebody")
    assert fsm.process({}).path == ("start", "b", "done")
    supply.release({"x": "a"}, "somebody", True)
    fsm.close()
