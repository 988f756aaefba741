"""Wrong references: each is refused when the machine is loaded, by a message that says what is wrong and what to do."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.definition import NOWHERE, Named, Place, Role, Unresolved
from setpoint.data.functions import Functions, read_reference

CORPUS = yaml.safe_load(Path(__file__).with_name("wrong_references.yaml").read_text(encoding="utf-8"))


class Limit:
    def __init__(self, most: int) -> None:
        if most < 0:
            raise ValueError("most must not be negative")
        self.most = most

    def validate(self, record: int) -> bool:
        return record <= self.most


def double(record: int, factor: int = 2) -> int:
    return record * factor


def scale(record: int, *, by: int) -> int:
    return record * by


def is_valid(record: Any) -> bool:
    return bool(record)


FUNCTIONS = Functions({"double": double, "scale": scale, "is_valid": is_valid, "Limit": Limit})


def load(given: object, role: Role, place: Place = NOWHERE) -> Any:
    ref = read_reference(given, role, known=FUNCTIONS.__contains__, registered=FUNCTIONS, place=place)
    return FUNCTIONS.resolve(ref, role)


@pytest.mark.parametrize("wrong", CORPUS, ids=lambda wrong: str(wrong["ref"])[:60])
def test_a_wrong_reference_is_refused(wrong: dict[str, Any]) -> None:
    """At load, never by becoming something else."""
    with pytest.raises(Unresolved) as caught:
        load(wrong["ref"], Role(wrong["role"]))
    assert wrong["says"] in str(caught.value)


def test_a_reference_carries_its_place() -> None:
    """What is read from a file keeps where it stood, for whoever reports the fault."""
    ref = read_reference({"name": "double"}, Role.TRANSFORM, known=bool, place=Place("etl.yaml", 3, 5))
    assert ref == Named("double", {}, Place("etl.yaml", 3, 5))


keys = st.sampled_from(
    ["name", "params", "expression", "javascript", "python", "set", "all", "any", "not", "chain", "of", "x"]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
names = st.sampled_from(
    ["double", "range_check", "schema", "map_fields", "unique", "os:system", "gate", "set", "chain"]
)
data = st.recursive(
    leaves | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=3), inner, max_size=3),
)


@given(data, st.sampled_from(list(Role)))
def test_any_data_is_a_reference_or_refused(given_data: Any, role: Role) -> None:
    """Whatever stands in a file, nothing but `Unresolved` comes of reading it."""
    with suppress(Unresolved):
        assert callable(load(given_data, role))


@given(names, st.dictionaries(st.text(max_size=4) | st.sampled_from(["fields", "schema", "a"]), data, max_size=3))
def test_any_params_are_taken_or_refused(name: str, params: dict[str, Any]) -> None:
    """Whatever settings a function built in is given, it is made or refused."""
    for role in (Role.GATE, Role.TRANSFORM):
        with suppress(Unresolved):
            assert callable(FUNCTIONS.resolve(Named(name, params), role))
