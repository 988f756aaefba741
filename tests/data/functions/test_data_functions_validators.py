"""Built-in validators, as a file names them: what they let pass, what they refuse, and what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.definition import Named, Role
from setpoint.data.functions import Functions
from setpoint.machine import Verdict

NAN = math.nan


def answer(name: str, params: Mapping[str, Any], record: Any) -> str:
    """What the validator says: nothing where it lets the record pass."""
    said = Functions().resolve(Named(name, params), Role.VALIDATOR)(record)
    assert said is True or (isinstance(said, Verdict) and not said.ok and said.because)
    return "" if said is True else said.because


@pytest.mark.parametrize(
    ("name", "params", "record", "says"),
    [
        ("required_fields", {"fields": ["a", "b.c"]}, {"a": 1, "b": {"c": 2}}, ""),
        ("required_fields", {"fields": ["a", "b.c"]}, {"b": {}}, "a: is missing; b.c: is missing"),
        ("required_fields", {"fields": ["a"]}, {"a": None}, "a: is None"),
        ("required_fields", {"fields": ["a"], "allow_none": True}, {"a": None}, ""),
        ("required_fields", {"fields": "a"}, {}, "a: is missing"),
        ("required_fields", {"fields": ["a.b"]}, {"a.b": 1}, ""),
        ("validators.RangeValidator", {"field_ranges": {"n": {"min": 0, "max": 10}}}, {"n": 10}, ""),
        ("range_check", {"n": {"min": 0, "max": 10}}, {"n": 11}, "n: 11 is above 10"),
        ("range_check", {"n": {"min": 0}}, {"n": -0.5}, "n: -0.5 is below 0"),
        ("range_check", {"n": {"min": 0}}, {"n": NAN}, "n: nan is not a number"),
        ("range_check", {"n": {"min": 0}}, {"n": True}, "n: True is not a number"),
        ("range_check", {"n": {"min": 0}}, {"n": "1"}, "n: '1' is not a number"),
        ("range_check", {"n": {"min": 0}}, {}, ""),
        ("pattern", {"code": "[A-Z]{3}"}, {"code": "ABCD"}, ""),
        ("pattern", {"code": "[A-Z]{3}$"}, {"code": "xABC"}, "code: 'xABC' does not match [A-Z]{3}$"),
        ("pattern", {"code": "[A-Z]{3}"}, {"code": 5}, "code: is an int, not text"),
        ("PatternValidator", {"field_patterns": {"c": "abc"}, "flags": "ignorecase"}, {"c": "ABC"}, ""),
        ("PatternValidator", {"field_patterns": {"c": "abc"}, "flags": 2}, {"c": "ABC"}, ""),
        ("type_check", {"n": "int", "s": ["str", "none"]}, {"n": 1, "s": None}, ""),
        ("type_check", {"n": "int"}, {"n": True}, "n: is a bool, not int"),
        ("type_check", {"n": "number"}, {"n": 1}, ""),
        ("type_check", {"s": ["str", "none"]}, {"s": 1}, "s: is an int, not str or none"),
        ("type_check", {"n": int}, {"n": "1"}, "n: is a str, not int"),
        ("TypeValidator", {"field_types": {"n": "int"}, "strict": True}, {"n": 1, "x": 1}, "x: is not an expected field"),
        ("TypeValidator", {"field_types": {"n": "int"}}, {"n": 1, "x": 1}, ""),
        ("length", {"tags": {"min": 1, "max": 2}}, {"tags": []}, "tags: has a length of 0, below 1"),
        ("length", {"tags": {"exact": 2}}, {"tags": [1, 2, 3]}, "tags: has a length of 3, not 2"),
        ("length", {"tags": {"min": 1}}, {"tags": 5}, "tags: is an int, which has no length"),
        ("unique", {"fields": ["tags"]}, {"tags": [1, True, "1", [1], [True]]}, ""),
        ("unique", {"fields": ["tags"]}, {"tags": [{"a": [1]}, {"a": [1.0]}]}, "tags: has {'a': [1.0]} more than once"),
        ("unique", {"fields": ["rows"], "key": "id"}, {"rows": [{"id": 1}, {"id": 2}]}, ""),
        ("unique", {"fields": ["rows"], "key": "id"}, {"rows": [{"id": 1}, {"id": 1}]}, "rows: has 1 more than once"),
        ("unique", {"fields": ["rows"], "key": "id"}, {"rows": [{}]}, "rows: has an item without 'id'"),
        ("unique", {"fields": ["tags"]}, {"tags": "aa"}, "tags: is a str, not a list"),
        ("depends_on", {"card": ["name", "zip"]}, {"card": 1, "zip": 2}, "card: needs name, which is missing"),
        ("depends_on", {"card": "name"}, {}, ""),
        ("schema", {"schema": {"age": {"type": "int", "min": 18}}}, {"age": 17}, "age: 17 is below 18"),
        ("gate", {"age": True}, {}, "age: is missing"),
    ],
)  # fmt: skip
def test_a_validator_answers(name: str, params: Mapping[str, Any], record: Any, says: str) -> None:
    """Each answers True, or a verdict whose reason names the field and the value."""
    assert answer(name, params, record) == says


@pytest.mark.parametrize("record", [None, 5, "text", [{"a": 1}]])
def test_a_record_without_fields_is_refused(record: Any) -> None:
    """A record that is no mapping is refused by what it is, never an error inside the validator."""
    every = {
        "required_fields": {"fields": ["a"]},
        "range_check": {"a": {"min": 1}},
        "gate": {"a": True},
        "depends_on": {"a": "b"},
    }
    for name, params in every.items():
        assert "not a mapping of fields" in answer(name, params, record)
    assert "not a mapping" in answer("TypeValidator", {"field_types": {"a": "int"}, "strict": True}, record)


def test_a_verdict_names_a_few_faults_and_counts_the_rest() -> None:
    """A record with very many faults gives a reason of readable length."""
    said = answer("required_fields", {"fields": [f"f{n}" for n in range(100)]}, {})
    assert said.endswith("f7: is missing; and 92 more")


def test_a_pydantic_model_is_a_schema() -> None:
    """A caller in Python may register a model; its faults are named with their places."""
    from pydantic import BaseModel

    class Order(BaseModel):
        amount: int

    assert answer("schema", {"schema": Order}, {"amount": "5"}) == ""
    assert answer("schema", {"schema": Order}, {"amount": "x"}).startswith("amount: Input should be a valid integer")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
records = st.dictionaries(st.sampled_from(["a", "b", "a.b", "c"]), values, max_size=4)


@given(records)
def test_no_validator_raises_or_changes_the_record(record: dict[str, Any]) -> None:
    """Whatever is in a record, a validator gives an answer, and leaves the record as it is."""
    before = repr(record)
    for name, params in {
        "required_fields": {"fields": ["a", "a.b"]},
        "range_check": {"a": {"min": 0, "max": 5}, "a.b": {"min": 1}},
        "pattern": {"a": "x"},
        "type_check": {"a": "int", "b": ["list", "dict"]},
        "length": {"a": {"min": 1}},
        "unique": {"fields": ["a", "b"]},
        "depends_on": {"a": ["b", "c.d"]},
        "gate": {"a": {"enum": [1, "x"], "required": True}},
    }.items():
        answer(name, params, record)
    assert repr(record) == before
