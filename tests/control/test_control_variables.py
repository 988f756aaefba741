"""Variables: specs as plain data with templates, rendered with what is in scope at each place of the tree."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from tests.control.samples import Process, Spec, reach

from setpoint.control import ChildSpec, Registry, Supervisor
from setpoint.control.variables import Scope, SpecError, as_type, rendered
from setpoint.testing import run, wall


class Address(BaseModel):
    host: str
    port: int
    where: str = ""


class Device(Process):
    "A process that is given an address; its children get what is said with `below`."

    spec_type = Address
    derived = 0

    def derive_desired_state(self, spec: Any) -> Any:
        type(self).derived += 1
        return spec

    def children(self, desired: Any, state: str) -> list[ChildSpec]:
        return []


class Rack(Process):
    "Has two devices, each with variables of its own."

    def children(self, desired: Spec, state: str) -> list[ChildSpec]:
        spec = {
            "host": "{{ .IP }}",
            "port": "{{ .PORT }}",
            "where": "{{ .location_path }}/{{ .global.plant }}/{{ .internal.name }}",
        }
        return [
            ChildSpec("one", "device", spec, variables={"IP": "10.0.0.1"}),
            ChildSpec("two", "device", spec, variables={"IP": "10.0.0.2", "PORT": 503}),
        ]


def rack(**variables: Any) -> ChildSpec:
    return ChildSpec("rack", "rack", Spec(), variables=variables)


def plant(**variables: Any) -> Supervisor:
    registry = Registry()
    for name, worker in {"device": Device, "rack": Rack}.items():
        registry.add(name, worker)
    return Supervisor(registry, root="top", wall=wall, variables=variables, location={0: "acme", 1: "cologne"})


def test_variables_flow_down_the_tree_and_the_nearest_wins() -> None:
    """User, global, internal and location variables reach every child, as values of their own type."""

    async def main() -> None:
        s = plant(plant="north")
        s.want([rack(PORT=502)])
        await reach(s, "top/rack/two", "running")
        one, two = s.records["top/rack/one"].desired, s.records["top/rack/two"].desired
        assert (one.host, one.port, one.where) == ("10.0.0.1", 502, "acme.cologne/north/one")
        assert (two.host, two.port) == ("10.0.0.2", 503)
        await s.stop()

    run(main())


def test_a_changed_variable_derives_anew_exactly_those_whose_specs_change_by_it() -> None:
    """Deriving is cached by content."""

    async def main() -> None:
        s = plant(plant="north")
        s.want([rack(PORT=502)])
        await reach(s, "top/rack/two", "running")
        Device.derived = 0
        s.want([rack(PORT=502, UNUSED=1)])
        await asyncio.sleep(2)
        assert Device.derived == 0
        s.want([rack(PORT=1502)])
        await asyncio.sleep(2)
        assert Device.derived == 1
        assert s.records["top/rack/one"].desired.port == 1502
        await s.stop()

    run(main())


def test_a_missing_variable_concerns_its_worker_alone_and_says_which_there_are() -> None:
    """The siblings run; the spec that cannot be rendered is a config error."""

    async def main() -> None:
        s = plant(plant="north")
        s.want([rack()])
        await reach(s, "top/rack/two", "running")
        assert "PORT" in s.worker("top/rack/one").stalled.reason
        assert s.worker("top/rack/one").stalled.reason.startswith("config error: SpecError: port: ")
        s.want([rack(PORT=1)])
        await reach(s, "top/rack/one", "running")
        await s.stop()

    run(main())


def test_plain_data_becomes_the_type_that_the_worker_declares() -> None:
    """With defaults filled in, and every fault named with its place."""
    assert as_type({"host": "h", "port": "502"}, Address) == Address(host="h", port=502)
    assert as_type(None, Spec) == Spec()
    with pytest.raises(SpecError, match=r"host: Field required; port: Input should be a valid integer"):
        as_type({"port": "many"}, Address)
    given = Address(host="h", port=1)
    assert as_type(given, Address) is given
    assert as_type({"a": 1}, Any) == {"a": 1}


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("{{ .a", "the spec: "),
        ({"x": ["{{ .missing }}"]}, r"x\[0\]: "),
        ({"x": "{{ .internal.nothing }}"}, "x: "),
    ],
)
def test_what_is_wrong_in_a_template_is_said_with_its_place(spec: Any, fault: str) -> None:
    """Nothing is rendered as if it were there."""
    with pytest.raises(SpecError, match=fault):
        rendered(spec, Scope(), {})


def test_names_that_the_runtime_gives_cannot_be_taken() -> None:
    """`global`, `internal` and `location_path` are reserved; a location has numbered levels."""
    with pytest.raises(SpecError, match="'internal' is reserved"):
        Scope().below({"internal": 1})
    with pytest.raises(SpecError, match="'location'"):
        Scope().below({"location": {"site": "x"}})
    assert Scope(location={0: "acme"}).below({"location": {"1": "line-1"}}).names({})["location_path"] == "acme.line-1"


def test_a_spec_that_is_nested_without_end_is_refused() -> None:
    """Input from an enemy costs nothing."""
    deep: Any = "{{ .x }}"
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(SpecError, match="nested deeper"):
        rendered(deep, Scope(), {})


def test_a_part_that_stands_in_many_places_is_looked_at_once() -> None:
    """Anchors in YAML make such values: eight lists, each with eight of the one below, are sixteen million texts, or eight."""
    looks = 0

    class Text(str):
        def __contains__(self, part: object) -> bool:
            nonlocal looks
            looks += 1
            assert looks <= 8, "a part that stands in many places is looked at in each of them"
            return False

    value: Any = [Text("x") for _ in range(8)]
    for _ in range(7):
        value = [value] * 8
    assert rendered({"v": value}, Scope(), {}) == {"v": value}


@pytest.mark.parametrize(
    ("text", "fault"),
    [("x", "more values than are allowed"), ("{{ .internal.name }}", "more work than is allowed")],
)
def test_a_spec_that_is_more_than_it_seems_is_refused(text: str, fault: str) -> None:
    """With a template in it every place is rendered by itself, up to a limit."""
    value: Any = [text] * 8
    for _ in range(7):
        value = [value] * 8
    with pytest.raises(SpecError, match=fault):
        rendered({"v": value, "w": "{{ .internal.name }}"}, Scope(), {"name": "x"})
