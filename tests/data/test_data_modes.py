"""Data modes: what a state works on, what is left when it fails, and what others see."""

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import ArcDef, DataMode, Definition, NetworkDef, Plan, Retry, StateDef, deep_copy
from setpoint.data.draft import DraftDict, settled


def machine(mode: DataMode, *functions: Any, on_arc: Any = (), retry: Retry | None = None, **states: Any) -> Definition:
    work = StateDef(
        name="work", transforms=functions, retry=retry,
        arcs=(ArcDef(target="done", transforms=on_arc), ArcDef(target="caught", kind="error")),
    )  # fmt: skip
    ends = (StateDef(name="done", final=True), StateDef(name="caught", final=True))
    return Definition(name="m", networks=(NetworkDef(name="main", states=(work, *ends)),), data_mode=mode)


def mutates(record: Any) -> None:
    record["n"] = 1
    record["list"].append(1)


def raises(record: Any) -> Any:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("mode", "touched"), [(DataMode.COPY, False), (DataMode.REFERENCE, True), (DataMode.DIRECT, True)]
)
def test_who_sees_what_a_state_did(mode: DataMode, touched: bool) -> None:
    """A copy is nobody else's; in the other modes the caller's own object has the change, and is the result."""
    record: Any = {"list": []}
    result = Plan(machine(mode, mutates)).run(record)
    assert result.data == {"list": [1], "n": 1}
    assert record == ({"list": [1], "n": 1} if touched else {"list": []})
    assert (result.data is record) == touched


@pytest.mark.parametrize(
    ("mode", "left"), [(DataMode.COPY, False), (DataMode.REFERENCE, False), (DataMode.DIRECT, True)]
)
@pytest.mark.parametrize("on_arc", [False, True])
def test_what_a_failing_state_leaves(mode: DataMode, left: bool, on_arc: bool) -> None:
    """COPY and REFERENCE leave the record as it came in, also when an arc out of the state failed; DIRECT leaves what was done."""
    record: Any = {"list": []}
    definition = machine(mode, mutates, on_arc=(raises,)) if on_arc else machine(mode, mutates, raises)
    result = Plan(definition).run(record)
    expected = {"list": [1], "n": 1} if left else {"list": []}
    assert (result.final_state, result.data, record) == ("caught", expected, expected)


def test_direct_copies_nothing() -> None:
    """Every function is handed the caller's own object."""
    record: Any = {"list": []}
    seen: list[Any] = []
    Plan(machine(DataMode.DIRECT, seen.append, on_arc=(seen.append,))).run(record)
    assert all(one is record for one in seen)


def test_records_that_share_a_part_do_not_touch_each_other() -> None:
    """COPY and REFERENCE keep the change of one record out of the other, which DIRECT does not."""
    for mode, expected in ((DataMode.COPY, [1, 1]), (DataMode.REFERENCE, [1, 1]), (DataMode.DIRECT, [3, 3])):
        shared: list[int] = []
        results: list[Any] = []
        Plan(machine(mode, mutates)).run_all([{"list": shared}, {"list": shared}, {"list": shared}], results.append)
        assert [len(result.data["list"]) for result in results][:2] == expected


def test_a_state_may_have_a_mode_of_its_own() -> None:
    """It overrides the machine's."""
    record: Any = {"list": []}
    work = StateDef(name="work", transforms=(mutates,), data_mode=DataMode.COPY, arcs=(ArcDef(target="done"),))
    states = (work, StateDef(name="done", final=True))
    Plan(Definition(name="m", networks=(NetworkDef(name="main", states=states),), data_mode=DataMode.DIRECT)).run(
        record
    )
    assert record == {"list": []}


def reference_race(retry: Retry | None, second_changes: bool = True) -> tuple[Any, Any, Any]:
    """Two runs over one object: the second begins its state, then the first changes the object, then the second goes on."""
    record: Any = {"n": 0}
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def change(record: Any) -> Any:
        if not begun.is_set():
            begun.set()
            await go_on.wait()
            if not second_changes:
                return record
        record["n"] += 1
        return record

    async def scenario() -> tuple[Any, Any]:
        plan = Plan(machine(DataMode.REFERENCE, change, retry=retry))
        slow = asyncio.ensure_future(plan.arun(record))
        await begun.wait()
        quick = await plan.arun(record)
        go_on.set()
        return quick, await slow

    quick, slow = asyncio.run(scenario())
    return record, quick, slow


def test_the_second_of_two_walks_that_change_one_object_has_a_conflict() -> None:
    """The first change stands, the second is an error of its state; nothing is half done."""
    record, quick, slow = reference_race(None)
    assert (record, quick.success) == ({"n": 1}, True)
    assert (slow.final_state, [error.type for error in slow.handled]) == ("caught", ["Conflict"])


def test_a_conflict_can_be_tried_again() -> None:
    """The next attempt starts from the object as it is now."""
    record, _, slow = reference_race(Retry(attempts=2, on=("Conflict",)))
    assert (record, slow.success, slow.final_state) == ({"n": 2}, True, "done")


def test_a_walk_that_only_reads_has_no_conflict() -> None:
    """It changed nothing, so there is nothing to lose."""
    record, _, slow = reference_race(None, second_changes=False)
    assert (record, slow.final_state) == ({"n": 1}, "done")


def test_one_run_after_the_other_is_no_conflict() -> None:
    """Only runs at the same time can be in each other's way."""
    record: Any = {"list": []}
    plan = Plan(machine(DataMode.REFERENCE, mutates))
    assert [plan.run(record).success for _ in range(3)] == [True] * 3
    assert record["list"] == [1, 1, 1]


def test_reference_copies_only_what_is_reached() -> None:
    """A part that no function looked into is the caller's own afterwards, and one that was only read as well."""
    record: Any = {"big": [1, 2, 3], "read": {"a": [1]}, "changed": {"a": [1]}}
    big, read = record["big"], record["read"]

    def works(one: Any) -> None:
        assert one["read"]["a"] == [1]
        one["changed"]["a"].append(2)

    Plan(machine(DataMode.REFERENCE, works)).run(record)
    assert record == {"big": [1, 2, 3], "read": {"a": [1]}, "changed": {"a": [1, 2]}}
    assert (record["big"] is big, record["read"] is read) == (True, True)


def test_a_record_that_is_no_dict_goes_on_as_a_copy() -> None:
    """There are no drafts of other objects; the caller's is not touched."""

    class Order:
        amount = 1

    def raise_it(order: Any) -> None:
        order.amount = 2

    order = Order()
    result = Plan(machine(DataMode.REFERENCE, raise_it)).run(order)
    assert (order.amount, result.data.amount) == (1, 2)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False) | st.binary(max_size=2)
    | st.tuples(st.integers()) | st.sets(st.integers(), max_size=2),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), below, max_size=3),
    max_leaves=12,
)  # fmt: skip


def containers(value: Any) -> list[int]:
    """The identities of everything changeable in it."""
    if isinstance(value, dict):
        return [id(value), *(one for item in value.values() for one in containers(item))]
    if isinstance(value, list):
        return [id(value), *(one for item in value for one in containers(item))]
    return [id(value)] if isinstance(value, set) else []


@given(value=VALUES)
def test_a_deep_copy_is_equal_and_shares_nothing_changeable(value: Any) -> None:
    """What `copy.deepcopy` promises."""
    made = deep_copy(value)
    assert made == value
    assert not set(containers(made)) & set(containers(value))


def test_a_deep_copy_keeps_cycles_and_aliases() -> None:
    """A part that is there twice is there twice in the copy, and a record that contains itself does so too."""
    part: list[Any] = [1]
    record: Any = {"a": part, "b": [part]}
    record["self"] = record
    made = deep_copy(record)
    assert made["self"] is made
    assert made["a"] is made["b"][0]
    assert made["a"] is not part


def change(value: Any, draw: Any) -> None:
    """Some changes to a draft, reached in various ways; `draw` makes the same choices for the same input."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        item = value[key]
        if isinstance(item, dict | list) and draw(st.booleans()):
            change(item, draw)
    what = draw(st.integers(0, 9))
    if isinstance(value, dict):
        _change_dict(value, what)
    else:
        _change_list(value, what)


def _change_dict(value: Any, what: int) -> None:  # noqa: C901
    if what == 0:
        value["new"] = [1]
    elif what == 1 and value:
        value.popitem()
    elif what == 2:
        value.update(x=1)
    elif what == 3:
        for item in value.values():
            if isinstance(item, list):
                item.append("v")
    elif what == 4:
        for _, item in value.items():
            if isinstance(item, dict):
                item["i"] = 1
    elif what == 5:
        found = value.setdefault("s", [])
        if isinstance(found, list):
            found.append(1)
    elif what == 6:
        value["merged"] = {**value}
    elif what == 7:
        value["copied"] = copy.copy(value)


def _change_list(value: Any, what: int) -> None:  # noqa: C901
    if what == 0:
        value.append([1])
    elif what == 1 and value:
        value.pop()
    elif what == 2:
        value.reverse()
    elif what == 3:
        for item in value:
            if isinstance(item, dict):
                item["l"] = 1
    elif what == 4:
        value[:] = [*value, *value[:1]]
    elif what == 5:
        value += [0]
    elif what == 6:
        value.insert(0, list(value))
    elif what == 7:
        value *= 2


@given(value=st.dictionaries(st.text(max_size=3), VALUES, max_size=4), data=st.data())
def test_a_draft_behaves_like_a_copy_and_leaves_its_origin_alone(value: Any, data: st.DataObject) -> None:
    """Whatever is done to the draft, the original stays, and what comes out is what a deep copy would have become."""
    before, model = copy.deepcopy(value), copy.deepcopy(value)
    choices: list[Any] = []

    def draws(strategy: Any) -> Any:
        choices.append(data.draw(strategy))
        return choices[-1]

    made = DraftDict(value)
    change(made, draws)
    replay = iter(choices)
    change(model, lambda strategy: next(replay))
    assert value == before
    out = settled(made)
    assert out == model
    assert (out is value) == (not made.changed())
    assert not any(isinstance(one, DraftDict) for one in _inside(out))


def _inside(value: Any) -> list[Any]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(one for item in below for one in _inside(item))]


def test_a_draft_goes_wherever_a_dict_goes() -> None:
    """Through JSON, pickle, deepcopy, comparison and merging, always as plain data."""
    origin: Any = {"a": [1, {"b": 2}], "c": {"d": 3}}
    made = DraftDict(origin)
    assert json.loads(json.dumps(made)) == origin
    assert type(pickle.loads(pickle.dumps(made))) is dict
    assert type(copy.deepcopy(made)["a"]) is list
    assert made == origin
    assert (made | {"e": 1})["c"] is not origin["c"]
    assert ({"e": 1} | made)["c"] is not origin["c"]
    assert dict(made)["c"] is not origin["c"]
    assert made.get("c") is not origin["c"]
    assert made.get("zzz", 7) == 7
    assert sorted(made) == ["a", "c"]
    assert [*made["a"]][1] is not origin["a"][1]
    assert (made["a"] + [5])[1] is not origin["a"][1]
    assert made["a"][-1]["b"] == 2
