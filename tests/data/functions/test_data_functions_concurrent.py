"""Several calls for one record at the same time: `together` and `each`, on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from setpoint.data import DROP, Several
from setpoint.data.fsm import SimpleFSM
from setpoint.testing import run


def machine(transform: str, **functions: Any) -> SimpleFSM:
    text = f"name: m\nstates:\n  a: {{transforms: [{transform}], on_complete: b}}\n  b: {{final: true}}\n"
    return SimpleFSM(text, functions=functions)


def carried(fsm: SimpleFSM, record: Any) -> tuple[Any, float]:
    """The result, and the seconds that it took on the loop's clock."""

    async def scenario() -> tuple[Any, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        result = await fsm.aprocess(record)
        return result, round(loop.time() - began, 6)

    return run(scenario())


async def profile(record: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(3)
    return {**record, "name": "Ada"}


async def orders(record: dict[str, Any]) -> None:
    await asyncio.sleep(2)
    record["orders"] = [1, 2]
    del record["draft"]


def stamp(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "seen": True}


def test_calls_overlap_and_are_joined() -> None:
    """Three seconds and two seconds take three; each added its own fields, one took a field away; the record given is untouched."""
    fsm = machine(
        "{name: together, params: {of: [profile, orders, stamp]}}", profile=profile, orders=orders, stamp=stamp
    )
    mine = {"id": 1, "draft": 1}
    result, seconds = carried(fsm, mine)
    assert result.data == {"id": 1, "name": "Ada", "orders": [1, 2], "seen": True}
    assert seconds == 3
    assert mine == {"id": 1, "draft": 1}


def test_a_part_that_fails_ends_the_others() -> None:
    """Its own error is that of the state, so retries by class work; the others are cancelled, not left running."""
    ended = []

    async def slow(record: Any) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append("slow")

    async def broken(record: Any) -> None:
        await asyncio.sleep(1)
        raise ConnectionError("down")

    result, seconds = carried(machine("{name: together, params: {of: [slow, broken]}}", slow=slow, broken=broken), {})
    assert (result.error.type, result.error.message, seconds) == ("ConnectionError", "down", 1)
    assert ended == ["slow"]


def test_parts_that_contradict_each_other_are_an_error() -> None:
    """Two that set the same field to different values; to the same value they agree."""

    def setting(value: int) -> Any:
        async def call(record: dict[str, Any]) -> dict[str, Any]:
            return {**record, "score": value}

        return call

    functions = {"one": setting(1), "same": setting(1), "two": setting(2)}
    result, _ = carried(machine("{name: together, params: {of: [one, two]}}", **functions), {})
    assert "two parts changed the field 'score'" in result.error.message
    result, _ = carried(machine("{name: together, params: {of: [one, same]}}", **functions), {})
    assert result.data == {"score": 1}


def test_parts_that_could_not_overlap_are_refused() -> None:
    """No function of them is async: it is said when the machine is made."""
    with pytest.raises(ValueError, match="none of its functions is async"):
        machine("{name: together, params: {of: [stamp, stamp]}}", stamp=stamp)


async def price(record: dict[str, Any]) -> Any:
    await asyncio.sleep(1)
    if record["sku"] == "none":
        raise LookupError("no such article")
    if record["sku"] == "gone":
        return DROP
    if record["sku"] == "set":
        return Several([{"sku": "left"}, {"sku": "right"}])
    record["price"] = len(record["sku"]) * record["rate"]
    return None


def items(*skus: str) -> list[dict[str, Any]]:
    return [{"sku": sku} for sku in skus]


def test_each_item_has_its_call_and_the_answers_are_in_order() -> None:
    """Seven items, three at a time, take three seconds; what they were lent of the record is not in the answers."""
    fsm = machine("{name: each, params: {of: price, field: order.items, also: [rate], at_once: 3}}", price=price)
    record = {"rate": 2, "order": {"items": items("a", "bb", "gone", "set", "ccc", "d", "e"), "id": 5}}
    result, seconds = carried(fsm, record)
    assert [(item["sku"], item.get("price")) for item in result.data["order"]["items"]] == [
        ("a", 2), ("bb", 4), ("left", None), ("right", None), ("ccc", 6), ("d", 2), ("e", 2),
    ]  # fmt: skip
    assert all("rate" not in item for item in result.data["order"]["items"])
    assert result.data["order"]["id"] == 5
    assert seconds == 3
    assert record["order"]["items"] == items("a", "bb", "gone", "set", "ccc", "d", "e")  # type: ignore[index]


def test_what_fails_fails_the_whole_or_is_put_aside() -> None:
    """As the file says: the first error, with the rest cancelled; or all others, and the failures with their reasons."""
    record = {"rate": 1, "items": items("a", "none", "b")}
    strict = machine("{name: each, params: {of: price, field: items, also: [rate]}}", price=price)
    assert carried(strict, record)[0].error.message == "no such article"
    aside = "{name: each, params: {of: price, field: items, into: priced, also: [rate], failures: unknown}}"
    lenient = machine(aside, price=price)
    result, _ = carried(lenient, record)
    assert [item["sku"] for item in result.data["priced"]] == ["a", "b"]
    assert result.data["unknown"] == [{"item": {"sku": "none"}, "type": "LookupError", "reason": "no such article"}]
    assert result.data["items"] == record["items"]


def test_values_that_are_no_records_and_functions_that_do_not_wait() -> None:
    """A value stands in the field `item`; a machine without async functions stays one."""
    fsm = machine("{name: each, params: {of: {set: {double: n * 2}}, field: numbers, item: n}}")
    assert not fsm.plan.is_async
    assert fsm.process({"numbers": [1, 2]}).data == {"numbers": [{"n": 1, "double": 2}, {"n": 2, "double": 4}]}
    assert fsm.process({"numbers": []}).data == {"numbers": []}
    assert "numbers: is missing" in str(fsm.process({}).error)
    assert "numbers: is an int, not a list" in str(fsm.process({"numbers": 3}).error)


@pytest.mark.parametrize("mode", ["copy", "reference", "direct"])
def test_in_every_data_mode(mode: str) -> None:
    """The same record comes out, and only `direct` may touch the caller's."""
    both = "{name: each, params: {of: price, field: items, also: [rate]}}, {name: together, params: {of: [profile, stamp]}}"
    text = f"name: m\ndata_mode: {mode}\nstates:\n  a: {{transforms: [{both}], on_complete: b}}\n  b: {{final: true}}\n"
    fsm = SimpleFSM(text, functions={"price": price, "profile": profile, "stamp": stamp})
    mine = {"rate": 2, "items": items("a", "bb")}
    result, _ = carried(fsm, mine)
    expected = {"rate": 2, "items": [{"sku": "a", "price": 2}, {"sku": "bb", "price": 4}], "name": "Ada", "seen": True}
    assert result.data == expected
    if mode == "copy":
        assert mine == {"rate": 2, "items": items("a", "bb")}


def test_fields_that_are_lent_must_be_there() -> None:
    """Else the error names them."""
    fsm = machine("{name: each, params: {of: {set: {x: 1}}, field: l, also: [token]}}")
    assert "token: is missing" in str(fsm.process({"l": [1]}).error)


def test_a_time_out_ends_all_calls() -> None:
    """Of a state: nothing goes on behind the back of a record that has failed."""
    running = []

    async def hang(record: Any) -> None:
        running.append(1)
        try:
            await asyncio.sleep(1000)
        finally:
            running.pop()

    text = """
name: m
states:
  a: {timeout: 5, transforms: [{name: each, params: {of: hang, field: l}}], on_complete: b, on_timeout: late}
  b: {final: true}
  late: {final: true}
"""
    result, seconds = carried(SimpleFSM(text, functions={"hang": hang}), {"l": [1, 2, 3]})
    assert (result.final_state, seconds, running) == ("late", pytest.approx(5, abs=0.01), [])
