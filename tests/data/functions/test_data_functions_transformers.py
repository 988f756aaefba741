"""Built-in transformers, as a file names them: what they make of a record, and that they leave the one they are given alone."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.definition import Named, Role
from setpoint.data.functions import Functions
from setpoint.data.result import Several


def changed(name: str, params: Mapping[str, Any], record: Any) -> Any:
    return Functions().resolve(Named(name, params), Role.TRANSFORM)(record)


@pytest.mark.parametrize(
    ("name", "params", "record", "expected"),
    [
        ("map_fields", {"a": "x"}, {"a": 1, "b": 2}, {"b": 2, "x": 1}),
        ("map_fields", {"a": "b", "b": "a"}, {"a": 1, "b": 2}, {"b": 1, "a": 2}),
        ("map_fields", {"in.a": "x", "b": "out.b.c"}, {"in": {"a": 1, "k": 2}, "b": 3}, {"in": {"k": 2}, "x": 1, "out": {"b": {"c": 3}}}),
        ("map_fields", {"nothing": "x"}, {"a": 1}, {"a": 1}),
        ("transformers.FieldMapper", {"field_map": {"a": "x"}, "drop_unmapped": True}, {"a": 1, "b": 2}, {"x": 1}),
        ("FieldMapper", {"field_map": {"a": "x"}, "copy_unmapped": False}, {"a": 1, "b": 2}, {"x": 1}),
        ("normalize", {"a": "trim", "*": "uppercase"}, {"a": " x ", "b": "y", "n": 1}, {"a": "x", "b": "Y", "n": 1}),
        ("normalize", {"a": ["trim", "lowercase"], "in.b": "trim"}, {"a": " X", "in": {"b": " y"}}, {"a": "x", "in": {"b": "y"}}),
        ("ValueNormalizer", {"normalizations": {"*": "trim"}, "fields": ["a"]}, {"a": " x", "b": " y"}, {"a": "x", "b": " y"}),
        ("normalize", {"a": "snake_case"}, {"a": "orderIDNumber of Customer-1"}, {"a": "order_id_number_of_customer_1"}),
        ("normalize", {"a": "camel_case"}, {"a": "order_id Größe"}, {"a": "orderIdGröße"}),
        ("normalize", {"a": "pascal_case"}, {"a": "fooBar_baz"}, {"a": "FooBarBaz"}),
        ("normalize", {"a": "camel_case"}, {"a": ""}, {"a": ""}),
        ("normalize", {"a": "remove_special"}, {"a": "Größe_1: 5 m²!"}, {"a": "Größe1 5 m²"}),
        ("normalize", {"a": "normalize_spaces"}, {"a": "  a \n b  "}, {"a": "a b"}),
        ("convert_types", {"n": "int", "f": "float", "s": "str"}, {"n": "5", "f": "2.5", "s": 3}, {"n": 5, "f": 2.5, "s": "3"}),
        ("convert_types", {"a": "bool", "b": "bool", "c": "bool"}, {"a": "Yes", "b": "off", "c": "maybe"}, {"a": True, "b": False, "c": "maybe"}),  # noqa: E501
        ("convert_types", {"d": "datetime"}, {"d": "2026-01-02T03:04:05Z"}, {"d": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}),
        ("convert_types", {"d": "date", "e": "decimal"}, {"d": "2026-01-02", "e": 0.1}, {"d": date(2026, 1, 2), "e": Decimal("0.1")}),
        ("convert_types", {"j": "json", "l": "list", "m": "list"}, {"j": "[1]", "l": (1, 2), "m": "ab"}, {"j": [1], "l": [1, 2], "m": ["ab"]}),  # noqa: E501
        ("convert_types", {"n": "int"}, {"n": None}, {"n": None}),
        ("convert_types", {"n": "int"}, {"n": "five"}, {"n": "five"}),
        ("convert_types", {"n": lambda text: len(text)}, {"n": "five"}, {"n": 4}),
        ("convert_types", {"in.n": "int"}, {"in": {"n": "5"}}, {"in": {"n": 5}}),
        ("enrich", {"a": 1, "b": 2}, {"a": 0}, {"a": 0, "b": 2}),
        ("DataEnricher", {"enrichments": {"a": 1}, "overwrite": True}, {"a": 0}, {"a": 1}),
        ("enrich", {"n": lambda record: record["a"] + 1}, {"a": 1}, {"a": 1, "n": 2}),
        ("filter_fields", {"include": ["b", "in.x"]}, {"in": {"x": 1, "y": 2}, "b": 3, "c": 4}, {"in": {"x": 1}, "b": 3}),
        ("filter_fields", {"exclude": ["b", "in.x"]}, {"in": {"x": 1, "y": 2}, "b": 3, "c": 4}, {"in": {"y": 2}, "c": 4}),
        ("filter_fields", {"include": []}, {"a": 1}, {}),
        ("replace_values", {"a": {"N/A": None, 1: "one"}}, {"a": 1, "b": 1}, {"a": "one", "b": 1}),
        ("replace_values", {"a": {1: "one"}}, {"a": True}, {"a": True}),
        ("ValueReplacer", {"replacements": {"a": {1: 2}}, "default_replacements": {"": None}}, {"a": "", "b": "", "c": [1]}, {"a": "", "b": None, "c": [1]}),  # noqa: E501
        ("flatten", {"fields": ["a"]}, {"a": [[1], [2, [3]], 4]}, {"a": [1, 2, [3], 4]}),
        ("flatten", {"fields": ["a"], "depth": 0}, {"a": [[1], [2, [[3]]]]}, {"a": [1, 2, 3]}),
        ("flatten", {"fields": ["a"], "depth": 2}, {"a": [[1], [2, [3, [4]]]]}, {"a": [1, 2, 3, [4]]}),
        ("split_on", {"split_field": "a"}, {"a": [1, 2], "b": 3}, {"records": [{"a": 1, "b": 3}, {"a": 2, "b": 3}]}),
        ("split_on", {"split_field": "a", "output_field": "parts"}, {"a": []}, {"parts": []}),
        ("set", {"total": "price * qty", "big": "total > 10"}, {"price": 4, "qty": 3}, {"price": 4, "qty": 3, "total": 12, "big": True}),
        ("set", {"a.b": "'x'", "n": 5, "l": [1]}, {"a": {"c": 1}}, {"a": {"c": 1, "b": "x"}, "n": 5, "l": [1]}),
    ],
)  # fmt: skip
def test_a_transformer_makes(name: str, params: Mapping[str, Any], record: Any, expected: Any) -> None:
    """Each gives the documented record, fields in their order, and leaves the one it was given as it was."""
    before = copy.deepcopy(record)
    made = changed(name, params, record)
    assert made == expected
    assert {key: type(value) for key, value in made.items()} == {key: type(value) for key, value in expected.items()}
    assert record == before


def test_a_split_may_be_real() -> None:
    """Without an output field the record itself becomes several, which share nothing that one of them could change."""
    parts = changed(
        "split_on", {"split_field": "lines.all", "output_field": None}, {"lines": {"all": [1, 2]}, "tags": ["x"]}
    )
    assert isinstance(parts, Several)
    assert parts == [{"lines": {"all": 1}, "tags": ["x"]}, {"lines": {"all": 2}, "tags": ["x"]}]
    assert parts[0]["tags"] is not parts[1]["tags"]


@pytest.mark.parametrize(
    ("name", "params", "record", "says"),
    [
        ("set", {"a": 1}, [1], "a list, not a mapping"),
        ("set", {"a.b": 1}, {"a": 5}, "cannot set 'a.b': 'a' is an int"),
        ("set", {"a": "b"}, {}, "there is no 'b'"),
        ("TypeConverter", {"conversions": {"n": "int"}, "strict": True}, {"n": "five"}, "n: cannot convert 'five'"),
        ("split_on", {"split_field": "a"}, {}, "a: is missing"),
        ("split_on", {"split_field": "a"}, {"a": "text"}, "a: is a str, not a list"),
        ("map_fields", {"a": "b.c"}, {"a": 1, "b": [1]}, "'b' is a list"),
    ],
)
def test_what_cannot_be_done_raises(name: str, params: Mapping[str, Any], record: Any, says: str) -> None:
    """A transformer that cannot work on a record says why, and gives nothing."""
    with pytest.raises((TypeError, ValueError), match=re.escape(says)):
        changed(name, params, record)


def test_values_of_a_file_are_not_shared_between_records() -> None:
    """A list written in the file is a new list in every record."""
    for name, params in {"enrich": {"tags": []}, "set": {"tags": []}, "replace_values": {"tags": {0: []}}}.items():
        make = Functions().resolve(Named(name, params), Role.TRANSFORM)
        start = {"tags": 0} if name == "replace_values" else {}
        make(start)["tags"].append("one")
        assert make(start)["tags"] == []


def test_a_field_set_from_another_is_its_own() -> None:
    """Two fields never share a list because one was set from the other."""
    made = changed("set", {"b": "a"}, {"a": [1]})
    made["b"].append(2)
    assert made == {"a": [1], "b": [1, 2]}


words = st.lists(st.text("abcXYZ0", min_size=1, max_size=6), min_size=1, max_size=4)


@given(words, st.sampled_from("_- ."))
def test_normalizations_are_stable(parts: list[str], mark: str) -> None:
    """Normalizing what is normalized changes nothing."""
    for name in ("snake_case", "lowercase", "trim", "remove_special", "normalize_spaces", "uppercase"):
        once = changed("normalize", {"a": name}, {"a": mark.join(parts)})
        assert changed("normalize", {"a": name}, once) == once


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(), max_size=6), st.permutations(list("abcdef")))
def test_renaming_back_gives_the_record_again(record: dict[str, int], names: list[str]) -> None:
    """A renaming of all fields, and then its inverse, is nothing."""
    there = dict(zip("abcdef", names, strict=True))
    back = {new: old for old, new in there.items()}
    assert changed("map_fields", back, changed("map_fields", there, record)) == record
