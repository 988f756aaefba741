"""Functions around functions: circuit breakers, rate limits and bulkheads, shared by all that name them."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest

from setpoint.data.fsm import SimpleFSM
from setpoint.data.functions import Functions
from setpoint.data.functions.guards import bulkhead, circuit_breaker, rate_limit
from setpoint.data.resources import BreakerOpen, ResourceBusy, ResourceTimeout
from setpoint.testing import run


class Carrier:
    """Answers, or fails, as it is told; counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None

    def quote(self, record: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return {**record, "price": 7}

    async def aquote(self, record: dict[str, Any]) -> dict[str, Any]:
        return self.quote(record)


TWICE = """
name: quoting
functions:
  ask: {name: circuit_breaker, params: {of: quote, failures: 2, seconds: 60, on: [OSError]}}
states:
  first: {transforms: [ask], on_complete: end, on_error: second}
  second: {transforms: [ask], on_complete: end}
  end: {final: true}
"""


@pytest.mark.parametrize("name", ["quote", "aquote"])
def test_places_that_name_the_same_entry_share_its_breaker(name: str) -> None:
    """Two failures in two states open it; then nobody reaches the function, and the error says so."""
    carrier = Carrier()
    with SimpleFSM(TWICE, functions={"quote": getattr(carrier, name)}) as fsm:
        assert fsm.process({"n": 1}).data == {"n": 1, "price": 7}
        carrier.fault = ConnectionError("down")
        result = fsm.process({"n": 2})
        assert [result.handled[0].type, result.error and result.error.type] == ["ConnectionError", "ConnectionError"]
        assert carrier.asked == 3
        result = fsm.process({"n": 3})
        assert result.error is not None
        assert result.error.type == "BreakerOpen"
        assert result.error.message.startswith("quote failed 2 times in a row; it is asked again in ")
        assert carrier.asked == 3


def test_a_breaker_opens_half_opens_and_closes() -> None:
    """By the clock: one call tries; its failure opens it again, its success closes it."""
    now, carrier = [0.0], Carrier()
    call = circuit_breaker(carrier.quote, label="carrier", failures=2, seconds=30, clock=lambda: now[0])
    carrier.fault = OSError("down")
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            call({})
    with pytest.raises(BreakerOpen, match=r"asked again in 30\.0 s"):
        call({})
    now[0] = 31.0
    with pytest.raises(OSError, match="down"):
        call({})
    with pytest.raises(BreakerOpen):
        call({})
    assert carrier.asked == 3
    now[0], carrier.fault = 62.0, None
    assert call({})["price"] == 7
    carrier.fault = OSError("down")
    with pytest.raises(OSError, match="down"):
        call({})  # one failure opens nothing
    carrier.fault = None
    assert call({})["price"] == 7


def test_only_the_errors_named_count() -> None:
    """A wrong record is not the service's fault; a call that was cancelled is neither."""
    carrier = Carrier()
    call = circuit_breaker(carrier.quote, label="carrier", failures=1, on=["OSError"])
    carrier.fault = ValueError("no such article")
    for _ in range(3):
        with pytest.raises(ValueError, match="article"):
            call({})

    async def scenario() -> None:
        async def hang(record: Any) -> None:
            await asyncio.Event().wait()

        stuck = circuit_breaker(hang, label="carrier", failures=1)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stuck({}), 5)

    run(scenario())


def test_a_rate_limit_spreads_calls() -> None:
    """Two at once, then four a second, in the order in which they came, on the clock of the loop."""

    async def scenario() -> list[tuple[int, float]]:
        loop, seen = asyncio.get_running_loop(), list[tuple[int, float]]()

        async def call(record: int) -> None:
            seen.append((record, round(loop.time() - began, 6)))

        limited = rate_limit(call, label="carrier", per_second=4, burst=2, clock=loop.time)
        began = loop.time()
        await asyncio.gather(*(limited(number) for number in range(6)))
        return seen

    assert run(scenario()) == [(0, 0.0), (1, 0.0), (2, 0.25), (3, 0.5), (4, 0.75), (5, 1.0)]


def test_a_bulkhead_bounds_calls_and_refuses_what_does_not_fit() -> None:
    """Two at once, three that wait in order, two refused; a place given up by a cancelled call is another's."""

    async def scenario() -> None:
        running, most, order, gate = 0, 0, list[int](), asyncio.Event()

        async def call(record: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            order.append(record)
            try:
                await gate.wait()
            finally:
                running -= 1
            return record

        held = bulkhead(call, label="press", at_once=2, waiting=3)
        tasks = [asyncio.create_task(held(number)) for number in range(7)]
        await asyncio.sleep(1)
        assert [task.done() for task in tasks] == [False] * 5 + [True] * 2
        with pytest.raises(ResourceBusy, match="press is busy: 2 at once, and 3 that wait, are all that it takes"):
            await tasks[6]
        tasks[0].cancel()  # one that runs
        tasks[3].cancel()  # one that waits
        await asyncio.sleep(1)
        assert order == [0, 1, 2]
        gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [answer for answer in done if isinstance(answer, int)] == [1, 2, 4]
        assert (most, running) == (2, 0)
        assert await held(8) == 8

    run(scenario())


def test_a_bulkhead_of_threads() -> None:
    """The same for functions that block: one at once, one that waits for a moment only."""
    inside, leave, answers = threading.Event(), threading.Event(), list[Any]()

    def call(record: str) -> str:
        inside.set()
        leave.wait(10)
        return record

    held = bulkhead(call, label="press", at_once=1, waiting=1, timeout=0.05)
    thread = threading.Thread(target=lambda: answers.append(held("a")))
    thread.start()
    assert inside.wait(10)
    with pytest.raises(ResourceTimeout, match="press"):
        held("b")
    leave.set()
    thread.join(10)
    assert answers == ["a"]
    assert held("c") == "c"


def test_resources_may_have_a_bounded_queue_too() -> None:
    """``max_waiting`` of any resource: whoever does not fit is refused at once, with the reason in the result."""
    machine = {
        "name": "m",
        "resources": {"press": {"type": "custom", "pool_size": 1, "config": {"max_waiting": 1}}},
        "states": {"a": {"transforms": ["work"], "resources": ["press"], "on_complete": "b"}, "b": {"final": True}},
    }

    async def work(record: dict[str, Any]) -> None:
        await asyncio.sleep(1)

    async def scenario() -> list[str]:
        async with SimpleFSM(machine, functions={"work": work}, resources={"press": object()}) as fsm:
            results = await asyncio.gather(*(fsm.aprocess({"n": n}) for n in range(4)))
            return [result.error.type if result.error else "" for result in results]

    assert run(scenario()) == ["", "", "ResourceBusy", "ResourceBusy"]


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("{name: circuit_breaker, params: {failures: 2}}", "needs the params of"),
        ("{name: circuit_breaker, params: {of: quote, failures: 0}}", "at least one failure"),
        ("{name: circuit_breaker, params: {of: quote, seconds: 0}}", "seconds is more than 0"),
        ("{name: circuit_breaker, params: {of: quote, clock: 3}}", "no param 'clock'"),
        ("{name: circuit_breaker, params: {of: qoute}}", "did you mean 'quote'"),
        ("{name: circut_breaker, params: {of: quote}}", "did you mean 'circuit_breaker'"),
        ("{name: rate_limit, params: {of: quote}}", "needs the params per_second"),
        ("{name: rate_limit, params: {of: quote, per_second: 0}}", "allows some calls a second"),
        ("{name: bulkhead, params: {of: quote, at_once: 0}}", "size is at least 1"),
        ("{name: bulkhead, params: {of: quote, waiting: -1}}", "at least 0"),
        ("{name: bulkhead, params: {of: []}}", "has no parts"),
    ],
)
def test_wrong_settings_are_found_when_the_machine_is_made(reference: str, reason: str) -> None:
    """Each with what to do about it."""
    text = f"name: m\nstates:\n  a: {{transforms: [{reference}], on_complete: b}}\n  b: {{final: true}}\n"
    with pytest.raises(ValueError, match=reason):
        SimpleFSM(text, functions={"quote": Carrier().quote})


def test_guards_stand_around_any_kind_of_function() -> None:
    """Around conditions and compositions, one in the other; a registry with guards in use goes to other processes."""
    functions = Functions({"quote": quote, "big": big})
    fsm = SimpleFSM(
        """
name: m
states:
  a:
    transforms: [{name: bulkhead, params: {of: {name: circuit_breaker, params: {of: [quote, quote], label: carrier}}}}]
    arcs: [{target: b, condition: {name: rate_limit, params: {of: big, per_second: 1000}}}, c]
  b: {final: true}
  c: {final: true}
""",
        functions=functions,
    )
    assert [fsm.process({"price": n}).final_state for n in (1, 5)] == ["c", "b"]
    plan = pickle.loads(pickle.dumps(fsm.plan))
    assert plan.run({"price": 5}).data == {"price": 7}
    each = "name: m\nstates:\n  a: {validators: [{name: each, params: {of: quote, field: x}}], on_complete: b}\n"
    with pytest.raises(ValueError, match="each changes records, so it cannot be a validator"):
        SimpleFSM(each + "  b: {final: true}\n", functions=functions)


def quote(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "price": record["price"] + 1}


def big(record: dict[str, Any]) -> bool:
    return bool(record["price"] > 5)
