"""Faults of definitions: all of them at once, each with its name and place."""

from typing import Any

import pytest

from setpoint.data import (
    ArcDef,
    Code,
    Definition,
    Named,
    NetworkDef,
    Place,
    Plan,
    PlanError,
    Retry,
    Role,
    StateDef,
    Unresolved,
)

DONE = StateDef(name="done", final=True)


def faults(*states: StateDef, resolve: Any = None, **more: Any) -> list[str]:
    networks = more.pop("networks", (NetworkDef(name="main", states=states),))
    with pytest.raises(PlanError) as caught:
        Plan(Definition(name="m", networks=networks, **more), resolve=resolve)
    return list(caught.value.faults)


def arc(**more: Any) -> StateDef:
    return StateDef(name="work", arcs=(ArcDef(**{"target": "done", **more}),))


@pytest.mark.parametrize(
    ("states", "more", "text"),
    [
        ((), {"networks": ()}, "it has no networks"),
        ((), {}, "network 'main' has no states"),
        ((arc(), DONE), {"main": "mian"}, "there is no main network 'mian': did you mean 'main'?"),
        ((arc(), DONE, DONE), {}, "state 'done' is defined 2 times in network 'main'"),
        ((arc(),), {}, "has no final state"),
        ((arc(target="doone"), DONE), {}, "there is no state 'doone': did you mean 'done'?"),
        ((StateDef(name="work"), DONE), {}, "state 'work' is not final and has no way forward"),
        ((arc(), StateDef(name="done", final=True, arcs=(ArcDef(target="work"),))), {}, "would never be taken"),
        (
            (
                StateDef(name="a", start=True, arcs=(ArcDef(target="done"),)),
                StateDef(name="done", final=True, start=True),
            ),
            {},
            "several start",
        ),
        ((StateDef(name="a:b", arcs=(ArcDef(target="done"),)), DONE), {}, "has no colon in it"),
        ((arc(retry=Retry(attempts=0)), DONE), {}, "retry has 0 attempts"),
        ((arc(retry=Retry(attempts=2, delay=-1.0)), DONE), {}, "retry delay is -1.0"),
        ((arc(retry=Retry(attempts=2, jitter=3.0)), DONE), {}, "jitter is 3.0"),
        ((arc(), DONE), {"timeout": 0.0}, "timeout is 0.0"),
        ((arc(), DONE), {"max_transitions": 0}, "max_transitions is 0"),
        (
            (StateDef(name="work", timeout=-1.0, arcs=(ArcDef(target="done"),)), DONE),
            {},
            "state 'work': timeout is -1.0",
        ),
        (
            (StateDef(name="work", arcs=(ArcDef(target="done"), ArcDef(target="work", kind="error"))), DONE),
            {},
            "without end: use retry",
        ),
    ],
)
def test_each_fault_is_named(states: Any, more: Any, text: str) -> None:
    """What would lose a record or never end is found before the first one comes."""
    assert any(text in fault for fault in faults(*states, **more))


def test_functions_that_cannot_be_had_are_faults_with_their_places() -> None:
    """All of them at once, each at the line of its reference, else of its state."""
    place = Place("orders.yaml", 7, 3)
    work = StateDef(
        name="work",
        place=Place("orders.yaml", 5, 1),
        transforms=(Named("totl", place=place), Code("return 1", "javascript")),
        arcs=(ArcDef(target="done", condition=Code("a = 1")),),
    )
    with pytest.raises(PlanError) as caught:
        Plan(Definition(name="m", networks=(NetworkDef(name="main", states=(work, DONE)),)), {"total": len})
    text = str(caught.value)
    assert "orders.yaml:7:3: state 'work': there is no function 'totl': did you mean 'total'?" in text
    assert "orders.yaml:5:1: state 'work': this plan runs no javascript" in text
    assert "arc work -> done" in text
    assert len(caught.value.faults) == 3


def test_a_resolver_is_asked_once_for_each_reference_with_its_role() -> None:
    """A schema is one more gate, the first; guards are not asked for."""
    asked: list[tuple[str, Role]] = []

    def resolve(ref: Any, role: Role) -> Any:
        asked.append((str(ref), role))
        return lambda record: record if role is Role.TRANSFORM else True

    work = StateDef(
        name="work",
        schema={"required": ["a"]},
        pre_validators=(Named("gate"),),
        transforms=(Named("change"),),
        validators=(Named("after"),),
        arcs=(ArcDef(target="done", condition=Named("open")),),
    )
    Plan(Definition(name="m", networks=(NetworkDef(name="main", states=(work, DONE)),)), resolve=resolve)
    assert asked == [
        ("open", Role.CONDITION), ("schema", Role.GATE), ("gate", Role.GATE), ("change", Role.TRANSFORM), ("after", Role.VALIDATOR)
    ]  # fmt: skip


def test_what_a_resolver_gives_must_be_callable() -> None:
    """Anything else is a fault, as is what it refuses."""

    def refuses(ref: Any, role: Role) -> Any:
        raise Unresolved("register it first")

    work = StateDef(name="work", transforms=(Named("x"),), arcs=(ArcDef(target="done"),))
    assert "register it first" in faults(work, DONE, resolve=refuses)[0]
    assert "3 is not a function" in faults(work, DONE, resolve=lambda ref, role: 3)[0]
