"""Schemas in both forms: what fits, what does not and where, and that wrong schemas are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.functions import compile_record_schema


def faults(schema: Mapping[str, Any], record: Any) -> list[str]:
    return [str(fault) for fault in compile_record_schema(schema)(record)]


@pytest.mark.parametrize(
    ("schema", "record", "expected"),
    [
        ({"a": True}, {"a": None}, []),
        ({"a": True}, {}, ["a: is missing"]),
        ({"a": "str"}, {}, []),
        ({"a": "str"}, {"a": 1}, ["a: is an int, not str"]),
        ({"a": ["int", "none"]}, {"a": None}, []),
        ({"a": {"required": True, "type": "int", "min": 1, "max": 3}}, {"a": 4}, ["a: 4 is above 3"]),
        ({"a": {"min": 0}}, {"a": "x"}, ["a: 'x' is not a number"]),
        ({"a": {"min": 0}}, {}, []),
        ({"a": {"pattern": "[0-9]+"}}, {"a": "x1"}, ["a: 'x1' does not match [0-9]+"]),
        ({"a": {"enum": [1, "x"]}}, {"a": True}, ["a: True is not one of 1, 'x'"]),
        ({"a.b": {"required": True}}, {"a": {"b": 1}}, []),
        ({"type": "str"}, {"type": "x"}, []),
        ({"type": {"enum": ["a"]}}, {"type": "b"}, ["type: 'b' is not one of 'a'"]),
    ],
)
def test_the_form_of_fields(schema: Mapping[str, Any], record: Any, expected: list[str]) -> None:
    """Presence and value are asked independently; absent fields pass unless they are required."""
    assert faults(schema, record) == expected


def of(field: object, **more: object) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": field}, **more}


@pytest.mark.parametrize(
    ("schema", "good", "bad", "says"),
    [
        ({"type": "object"}, {}, [], "is a list, not object"),
        ({"required": ["a"]}, {"a": None}, {}, "a: is missing"),
        (of({"type": "integer"}), {"a": 5.0}, {"a": 5.5}, "a: is a float, not integer"),
        (of({"type": "integer"}), {"a": 5}, {"a": True}, "a: is a bool, not integer"),
        (of({"type": ["string", "null"]}), {"a": None}, {"a": 1}, "a: is an int, not string or null"),
        (of({"minimum": 1}), {"a": 1}, {"a": 0}, "a: 0 is below 1"),
        (of({"minimum": 1}), {"a": "x"}, {"a": float("nan")}, "a: nan is below 1"),
        (of({"maximum": 1}), {"a": 1}, {"a": 2}, "a: 2 is above 1"),
        (of({"exclusiveMinimum": 1}), {"a": 1.1}, {"a": 1}, "a: 1 is not above 1"),
        (of({"exclusiveMaximum": 1}), {"a": 0}, {"a": 1}, "a: 1 is not below 1"),
        (of({"multipleOf": 0.1}), {"a": 0.3}, {"a": 0.35}, "a: 0.35 is no multiple of 0.1"),
        (of({"multipleOf": 3}), {"a": 10**400 * 3}, {"a": 10**400}, "no multiple of 3"),
        (of({"enum": [1, [2]]}), {"a": [2.0]}, {"a": True}, "a: True is not 1, [2]"),
        (of({"const": False}), {"a": False}, {"a": 0}, "a: 0 is not False"),
        (of({"pattern": "b+"}), {"a": "abb"}, {"a": "ac"}, "a: 'ac' does not match b+"),
        (of({"minLength": 2, "maxLength": 3}), {"a": "ab"}, {"a": "a"}, "a: has a length of 1, below 2"),
        (of({"items": {"type": "integer"}, "maxItems": 2}), {"a": [1]}, {"a": [1, "x"]}, "a.1: is a str, not integer"),
        (of({"minItems": 1}), {"a": [1]}, {"a": []}, "a: has a length of 0, below 1"),
        (of({"uniqueItems": True}), {"a": [1, True]}, {"a": [1, 1.0]}, "a: has an item twice"),
        (of({"prefixItems": [{"type": "string"}], "items": False}), {"a": ["x"]}, {"a": ["x", 1]}, "a.1: is not allowed"),
        (of({}, additionalProperties=False), {"a": 1}, {"b": 1}, "b: is not among the properties"),
        (of({}, additionalProperties={"type": "string"}), {"b": "x"}, {"b": 1}, "b: is an int, not string"),
        ({"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False}, {"x_a": 1}, {"x_a": "1"}, "x_a: is a str"),  # noqa: E501
        ({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}, {"a": 1}, {"A": 1}, "A: 'A' does not match"),
        ({"type": "object", "minProperties": 1}, {"a": 1}, {}, "has a length of 0, below 1"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}, "b: is missing beside a"),
        (of({"format": "date-time"}), {"a": "2026-01-02T03:04:05Z"}, {"a": "2026-01-02"}, "is not a date-time"),
        (of({"format": "email"}), {"a": "x@y.org"}, {"a": "x@@y"}, "is not a email"),
        (of({"format": "uuid"}), {"a": "12345678-1234-5678-1234-567812345678"}, {"a": "x"}, "is not a uuid"),
        (of({"format": "ipv4"}), {"a": "127.0.0.1"}, {"a": "127.0.0.256"}, "is not a ipv4"),
        (of({"format": "uri"}), {"a": "https://a/b"}, {"a": "a b"}, "is not a uri"),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, {}, "fits none of anyOf"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, {"a": 1, "b": 1}, "fits 2 of oneOf, not one"),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 1}, {"a": 1}, "b: is missing"),
        (of({"not": {"type": "string"}}), {"a": 1}, {"a": "x"}, "a: is what it must not be"),
        (of({"$ref": "#/$defs/positive"}, **{"$defs": {"positive": {"exclusiveMinimum": 0}}}), {"a": 1}, {"a": 0}, "a: 0 is not above 0"),
        (of({"type": "array", "items": {"$ref": "#"}}), {"a": [{"a": []}]}, {"a": [{"a": 1}]}, "a.0.a: is an int, not array"),
    ],
)  # fmt: skip
def test_json_schema(schema: Mapping[str, Any], good: Any, bad: Any, says: str) -> None:
    """Each keyword lets a record pass that fits, and refuses one that does not, with the place."""
    assert faults(schema, good) == []
    assert says in "; ".join(faults(schema, bad))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ([], "a schema is a mapping, not a list"),
        ({"a": 5}, "field 'a': expected true, a type, or a mapping"),
        ({"a": False}, "field 'a'"),
        ({"a": "strng"}, "there is no type 'strng' (did you mean 'string'?)"),
        ({"a": {"minimum": 1}}, "field 'a': there is no 'minimum'"),
        ({"a": {"min": "1"}}, "field 'a': min: a bound is a number, not '1'"),
        ({"a": {"min": float("nan")}}, "a bound is a number"),
        ({"a": {"required": "yes"}}, "required is true or false"),
        ({"a": {"pattern": "("}}, "field 'a': pattern: '(' is not a regular expression"),
        ({"a": {"enum": 1}}, "expected a list of values"),
        (of({"typ": "string"}), "#/properties/a: there is no keyword 'typ' here (did you mean 'type'?)"),
        (of({"type": "int"}), "#/properties/a/type: there is no type 'int'"),
        (of({"minimum": "1"}), "#/properties/a/minimum: expected a number"),
        (of({"minLength": -1}), "#/properties/a/minLength: expected a whole number"),
        (of({"multipleOf": 0}), "#/properties/a/multipleOf: expected a number above 0"),
        (of({"enum": "x"}), "#/properties/a/enum: expected a list"),
        (of({"pattern": "("}), "#/properties/a/pattern: '(' is not a regular expression"),
        (of({"format": "colour"}), "there is no format 'colour'"),
        (of({"$ref": "#/$defs/x"}), "there is nothing at '#/$defs/x'"),
        (of({"$ref": "other.json"}), "only references within the schema"),
        (of({"items": 5}), "#/properties/a/items: a schema is a mapping, true or false, not an int"),
        (of({"anyOf": []}), "#/properties/a/anyOf: expected a list of schemas"),
        (of({"uniqueItems": "yes"}), "#/properties/a/uniqueItems: expected true or false"),
        ({"type": "object", "required": "a"}, "#/required: expected a list of names"),
        ({"type": "object", "properties": []}, "#/properties: expected a mapping"),
        (of({"contains": {}}), "there is no keyword 'contains' here"),
    ],
)
def test_a_wrong_schema_is_refused(schema: Any, says: str) -> None:
    """What is wrong is found when the schema is compiled, with its place; nothing that is not read is accepted."""
    with pytest.raises(ValueError, match=re.escape(says)):
        compile_record_schema(schema)


def test_a_record_without_end_is_refused() -> None:
    """A cyclic record under a recursive schema is refused; it neither hangs nor crashes."""
    record: dict[str, Any] = {}
    record["a"] = [record]
    assert faults(of({"type": "array", "items": {"$ref": "#"}}), record) == ["is nested too deeply to be checked"]


def test_all_faults_are_given_at_once() -> None:
    """A record that is wrong in several ways has all of them named."""
    assert len(faults(of({"type": "string"}, required=["b", "c"]), {"a": 1})) == 3


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), plain, max_size=4))
def test_a_record_fits_the_schema_that_says_it_is_itself(record: dict[str, Any]) -> None:
    """`const` and `enum` of the record's own values always hold, and `not` of them never does."""
    itself = {
        "type": "object",
        "properties": {key: {"const": value} for key, value in record.items()},
        "required": list(record),
    }
    assert faults(itself, record) == []
    assert bool(faults({"anyOf": [{"not": itself}]}, record))
