"""Strategies: what they make is what the declared types allow, and every machine and place they make can be decided on."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from pydantic import BaseModel, Field, TypeAdapter, field_validator
from tests.testing.pump import Pump, PumpSeen, PumpSpec

from setpoint.control import ChildSpec, Snapshot
from setpoint.machine import Machine, Phase, check, decide, explain
from setpoint.testing.strategies import machines, positions, snapshots, specs, truths, values

brief = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Colour(Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Struct(msgspec.Struct, frozen=True):
    level: Annotated[int, msgspec.Meta(ge=0, lt=8)]
    tags: tuple[str, ...] = ()
    inner: Struct | None = None


@dataclasses.dataclass
class Data:
    colour: Colour
    points: list[Point] = dataclasses.field(default_factory=list)
    hidden: int = dataclasses.field(init=False, default=3)


class Model(BaseModel):
    mode: Literal["a", "b"] = "a"
    port: int = Field(ge=1, le=65535)
    name: str = Field(min_length=2, max_length=5)
    code: str = Field(pattern=r"^[A-Z]{3}$")
    ratio: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    data: dict[str, Data | None] = {}
    struct: Struct | None = None
    anything: Any = None
    aliased: int = Field(default=1, alias="alias")

    model_config = {"arbitrary_types_allowed": True}

    @field_validator("port")
    @classmethod
    def _even(cls, port: int) -> int:
        if port % 2:
            raise ValueError("ports are even here")
        return port


KINDS = [Colour, Point, Struct, Data, Model, list[int], set[str], frozenset[int], dict[str, float], tuple[int, str], bytes,
         int | None, Literal[1, "x"], Annotated[float, Field(gt=0, le=1)], list, dict]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_values_are_of_their_type(kind: Any) -> None:
    """With every constraint: what checks input at the edge accepts them."""

    @brief
    @given(values(kind))
    def accepted(value: Any) -> None:
        if kind is Struct:
            assert msgspec.convert(msgspec.to_builtins(value), Struct) == value
        elif kind is Model:
            assert value.port % 2 == 0
            assert Model.model_validate(value, from_attributes=False) is value
        else:
            TypeAdapter(kind, config={"arbitrary_types_allowed": True}).validate_python(
                value
            ) if kind is not Data else None
            assert kind is not Data or isinstance(value.colour, Colour)

    accepted()


def test_odd_values_are_among_them() -> None:
    """Not a number, infinity, empty texts, negative numbers: devices and users do send them."""
    assert find(values(float), lambda x: x != x) is not None
    assert find(values(PumpSpec), lambda spec: spec.least_bar > 1e300).least_bar > 1e300
    assert find(values(PumpSeen), lambda seen: seen.bar < 0).bar < 0
    with pytest.raises(NoSuchExample):
        find(values(PumpSpec), lambda spec: spec.least_bar == float("inf"), settings=settings(max_examples=200))


def test_a_type_that_cannot_be_made_is_named() -> None:
    """With what to do."""

    class Closed:
        def __init__(self, something: Any) -> None:
            raise NotImplementedError

    with pytest.raises(TypeError, match="no strategy for"):
        values(Closed | int)


@brief
@given(snapshots(Pump))
def test_a_snapshot_is_one_that_the_runtime_could_show(s: Snapshot[PumpSpec, PumpSeen]) -> None:
    """Typed parts, a state of the machine, and a desired state that says stopped wherever it is not wanted."""
    assert isinstance(s.desired, PumpSpec)
    assert isinstance(s.observed, PumpSeen)
    assert s.state in Pump.machine.by_name
    assert s.wanted == (s.desired.desired_state == "running")


class Station(Pump):
    "Has children."

    def children(self, desired: PumpSpec, state: str) -> list[ChildSpec]:
        return [ChildSpec("main", "pump"), ChildSpec("spare", "other")]


@settings(brief, max_examples=40)
@given(snapshots(Station, types={"pump": Pump}, peers={"broker": None}))
def test_facts_about_others_are_those_of_their_types(s: Snapshot[PumpSpec, PumpSeen]) -> None:
    """Children by the names the worker gives them, with states and phases of their machine; a name that is not there is missing."""
    assert set(s.children) <= {"main", "spare"}
    assert set(s.peers) <= {"broker"}
    assert s.children["nobody"].state == "missing"
    if "main" in s.children:
        fact = s.children["main"]
        assert fact.phase == (Pump.machine.by_name[fact.state].phase if fact.phase else None)


def test_parts_of_a_snapshot_can_be_given() -> None:
    """For what types do not say."""
    only = snapshots(Pump, observed=st.just(PumpSeen(bar=3.0)), state=st.just("weak"))
    found = find(only, lambda s: True)
    assert (found.observed.bar, found.state) == (3.0, "weak")


@settings(brief, max_examples=50)
@given(st.data())
def test_any_machine_can_be_decided_on_from_any_place(data: st.DataObject) -> None:
    """Machines are valid, places are theirs, and checking, deciding and explaining agree to answer."""
    machine = data.draw(machines())
    position = data.draw(positions(machine, now=50.0))
    truth = data.draw(truths())
    assert isinstance(machine, Machine)
    assert isinstance(check(machine), list)
    decision = decide(machine, position, truth, 50.0)
    assert explain(machine, position, truth, 50.0).next == decision.state


def test_machines_are_varied() -> None:
    """With and without phases, with time, with one state only."""
    seen: set[str] = set()

    @settings(brief, max_examples=150)
    @given(machines())
    def look(machine: Machine) -> None:
        seen.add("alone" if len(machine.states) == 1 else "in company")
        seen.update(state.phase or "no phase" for state in machine.states)
        seen.update("timed" for arc in machine.arcs if arc.when.timed or arc.after is not None)
        seen.update("composed" for arc in machine.arcs if arc.when.parts())

    look()
    assert {"alone", "in company", "no phase", *Phase, "timed", "composed"} <= seen


def test_specs_are_those_of_the_declared_type() -> None:
    """What a user may write."""
    assert isinstance(find(specs(Pump), lambda spec: True), PumpSpec)


def test_without_hypothesis_the_rest_of_the_kit_works() -> None:
    """And what needs it says what to install."""
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from tests.testing.pump import Pump\n"
        "from setpoint.testing import assert_reaches, check_worker\n"
        "assert_reaches(Pump, 'running')\n"
        "try: check_worker(Pump)\n"
        "except ImportError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'setpoint[testing]'" in ran.stdout
