"""Push arcs: through another network and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import ArcDef, DataMode, Definition, NetworkDef, Plan, PlanError, Push, Retry, StateDef

DONE = StateDef(name="done", final=True)


def child(*transforms: Any, name: str = "sub", **state: Any) -> NetworkDef:
    return NetworkDef(
        name=name, states=(StateDef(name="work", transforms=transforms, arcs=(ArcDef(target="done"),), **state), DONE)
    )


def machine(push: Push, *networks: NetworkDef, arc: Any = None, **limits: Any) -> Definition:
    """`start` pushes, then `back`; errors are caught in `caught`."""
    leads = ArcDef(target="back", push=push, **(arc or {}))
    main = NetworkDef(
        name="main",
        states=(
            StateDef(name="start", arcs=(leads, ArcDef(target="caught", kind="error"))),
            StateDef(name="back", arcs=(ArcDef(target="done"),)),
            StateDef(name="other", arcs=(ArcDef(target="done"),)),
            DONE,
            StateDef(name="caught", final=True),
        ),
    )
    return Definition(name="m", networks=(main, *networks), **limits)


def adds(record: Any) -> Any:
    return {**record, "n": record["n"] + 1}


def test_a_record_goes_through_the_network_and_comes_back() -> None:
    """Its path names the states of other networks with the network's name, and it arrives at the arc's target."""
    result = Plan(machine(Push(network="sub"), child(adds))).run({"n": 1})
    assert result.path == ("start", "sub:work", "sub:done", "back", "done")
    assert (result.data, result.final_state) == ({"n": 2}, "done")


def test_names_of_states_belong_to_their_network() -> None:
    """A final state of the child called like a state of the parent ends the child and nothing else."""
    sub = NetworkDef(
        name="sub", states=(StateDef(name="start", arcs=(ArcDef(target="back"),)), StateDef(name="back", final=True))
    )
    assert Plan(machine(Push(network="sub"), sub)).run({}).path == ("start", "sub:start", "sub:back", "back", "done")


def test_a_return_state_comes_before_the_target() -> None:
    """Where both are given the record enters the return state; the child may be entered at any state."""
    push = Push(network="sub", state="done", return_state="other")
    assert Plan(machine(push, child())).run({}).path == ("start", "sub:done", "other", "done")


def test_the_transforms_of_the_arc_run_before_the_push() -> None:
    """What goes in is what they gave."""
    result = Plan(machine(Push(network="sub"), child(adds), arc={"transforms": (lambda record: {"n": 10},)})).run(
        {"n": 1}
    )
    assert result.data == {"n": 11}


def test_mappings_say_what_goes_in_and_what_comes_out() -> None:
    """The child sees only what is mapped; its fields are laid over the parent's record, along dotted paths."""
    seen: list[Any] = []
    push = Push(
        network="sub",
        data_mapping={"order.id": "id", "n": "deep.n"},
        result_mapping={"id": "order.seen", "deep.n": "result"},
    )
    record = {"n": 1, "order": {"id": 7, "text": "x"}}
    result = Plan(machine(push, child(lambda one: seen.append(dict(one))))).run(record)
    assert seen == [{"id": 7, "deep": {"n": 1}}]
    assert result.data == {"n": 1, "order": {"id": 7, "text": "x", "seen": 7}, "result": 1}
    assert record == {"n": 1, "order": {"id": 7, "text": "x"}}


@given(
    record=st.dictionaries(st.sampled_from("abcdef"), st.integers() | st.lists(st.integers(), max_size=2), min_size=1),
    names=st.permutations("uvwxyz"),
    mode=st.sampled_from(list(DataMode)),
    isolation=st.sampled_from(["copy", "reference", "none", "serialize"]),
)
def test_a_mapping_and_its_inverse_give_the_record_back(
    record: Any, names: list[str], mode: DataMode, isolation: Any
) -> None:
    """A child that does nothing, entered by a mapping and left by its inverse, changes nothing."""
    into = dict(zip(record, names, strict=False))
    push = Push(
        network="sub",
        isolation=isolation,
        data_mapping=into,
        result_mapping={child: parent for parent, child in into.items()},
    )
    result = Plan(machine(push, child(), data_mode=mode)).run(record)
    assert (result.success, result.data) == (True, record)


@pytest.mark.parametrize(
    ("isolation", "touched"), [("copy", False), ("reference", False), ("none", True), ("serialize", False)]
)
def test_isolation_says_whether_the_child_shares_the_parents_record(isolation: Any, touched: bool) -> None:
    """With none the child works on the parent's own object; reference copies only what the child changes."""
    record: Any = {"n": 1, "list": [1], "other": {"a": 1}}
    other = record["other"]
    seen: list[Any] = []

    def changes(one: Any) -> None:
        one["list"].append(2)
        seen.append(one)

    push = Push(network="sub", isolation=isolation, result_mapping={"list": "result"})
    result = Plan(machine(push, child(changes), data_mode=DataMode.DIRECT)).run(record)
    assert (record["list"] == [1, 2]) == touched
    assert result.data["result"] == [1, 2]
    assert (seen[0] is record) == touched
    if isolation == "reference":
        assert record["other"] is other


def test_a_child_that_cannot_go_through_json_is_an_error_of_the_arc() -> None:
    """`serialize` says so instead of passing something else."""
    result = Plan(machine(Push(network="sub", isolation="serialize"), child())).run({"x": object()})
    assert (result.final_state, result.handled[0].arc) == ("caught", "start -> back")


def test_a_failing_child_is_an_error_of_the_arc() -> None:
    """It is caught in the parent, with the record as it came into the parent's state, and the child's error as its cause."""

    def raises(record: Any) -> Any:
        record["n"] = 99
        raise ValueError("inside")

    result = Plan(machine(Push(network="sub"), child(raises))).run({"n": 1})
    assert (result.final_state, result.success, result.data) == ("caught", True, {"n": 1})
    error = result.handled[0]
    assert (error.type, error.message, error.state, error.arc) == ("ValueError", "inside", "start", "start -> back")
    assert error.cause is not None
    assert (error.cause.state, error.cause.arc) == ("sub:work", "")


def test_a_child_that_ends_in_failed_has_failed() -> None:
    """Its own end `failed` is an error of the arc as well."""
    sub = NetworkDef(
        name="sub", states=(StateDef(name="work", arcs=(ArcDef(target="failed"),)), StateDef(name="failed", final=True))
    )
    result = Plan(machine(Push(network="sub"), sub)).run({})
    assert (result.final_state, result.handled[0].type) == ("caught", "Failed")


def test_an_arc_that_pushes_can_be_tried_again() -> None:
    """The child starts again from the record that went in, also where it works on the parent's own."""
    left = [ValueError("once"), ValueError("twice")]

    def works(record: Any) -> Any:
        record["tries"] = record.get("tries", 0) + 1
        if left:
            raise left.pop()
        return record

    for isolation in ("copy", "none"):
        left[:] = [ValueError("once"), ValueError("twice")]
        definition = machine(
            Push(network="sub", isolation=isolation),
            child(works),
            arc={"retry": Retry(attempts=3)},
            data_mode=DataMode.DIRECT,
        )
        result = Plan(definition).run({})
        assert (result.final_state, result.data) == ("done", {"tries": 1})
        left[:] = [ValueError(str(number)) for number in range(3)]
        assert Plan(definition).run({}).handled[0].attempt == 3


def test_a_field_that_is_not_there_is_named() -> None:
    """On the way in as on the way out, as an error of the arc."""
    for push in (
        Push(network="sub", data_mapping={"no.such": "x"}),
        Push(network="sub", result_mapping={"no.such": "x"}),
    ):
        error = Plan(machine(push, child())).run({}).handled[0]
        assert (error.type, error.state) == ("KeyError", "start")
        assert "no.such" in error.message


def test_networks_push_into_networks_to_any_depth_up_to_the_limit() -> None:
    """Each level comes back to its own; a network that pushes into itself without end is an error."""

    def deeper(record: Any) -> bool:
        return bool(record["n"] < 30)

    sub = NetworkDef(
        name="sub",
        states=(
            StateDef(
                name="work", transforms=(adds,),
                arcs=(ArcDef(target="done", condition=deeper, push=Push(network="sub")), ArcDef(target="done")),
            ),
            DONE,
        ),
    )  # fmt: skip
    definition = machine(Push(network="sub"), sub)
    result = Plan(definition).run({"n": 0})
    assert (result.final_state, result.data) == ("done", {"n": 30})
    shallow = machine(Push(network="sub"), sub, max_depth=5)
    result = Plan(shallow).run({"n": 0})
    assert (result.final_state, result.handled[0].type) == ("caught", "TooDeep")


def test_reference_puts_the_childs_result_into_the_callers_object() -> None:
    """A parent in REFERENCE mode changes its object when the child is back, and not when it failed."""
    record: Any = {"n": 1}
    Plan(machine(Push(network="sub"), child(adds), data_mode=DataMode.REFERENCE)).run(record)
    assert record == {"n": 2}

    def raises(one: Any) -> Any:
        raise ValueError

    definition = machine(
        Push(network="sub"),
        child(raises),
        arc={"transforms": (lambda one: one.update(n=50),)},
        data_mode=DataMode.REFERENCE,
    )
    assert Plan(definition).run(record).final_state == "caught"
    assert record == {"n": 2}


def test_wrong_networks_and_states_are_faults_of_the_plan() -> None:
    """Each is named, with what was probably meant."""
    with pytest.raises(PlanError) as caught:
        Plan(machine(Push(network="subb"), child()))
    assert "did you mean 'sub'" in str(caught.value)
    with pytest.raises(PlanError) as caught:
        Plan(machine(Push(network="sub", state="wrk", return_state="bak"), child()))
    assert "did you mean 'work'" in str(caught.value)
    assert "did you mean 'back'" in str(caught.value)
