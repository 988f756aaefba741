"""Payloads: time series and relational."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.namespace import PayloadError, TimeSeries, decode, encode_relational, encode_time_series

NUMBERS = st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.one_of(st.booleans(), NUMBERS, st.text())
OBJECTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | VALUES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_size=4,
)


@given(VALUES, st.integers(0, 2**53))
def test_a_time_series_is_what_was_encoded(value: Any, timestamp_ms: int) -> None:
    """Decoding gives the value, its type and its time back."""
    payload = encode_time_series(value, timestamp_ms)
    assert json.loads(payload) == {"timestamp_ms": timestamp_ms, "value": value}
    decoded = decode(payload)
    assert isinstance(decoded, TimeSeries)
    assert (decoded.timestamp_ms, decoded.value) == (timestamp_ms, value)
    assert type(decoded.value) is type(value)


@given(OBJECTS)
def test_any_json_object_is_relational(obj: dict[str, Any]) -> None:
    """Decoding gives the object back."""
    assert decode(encode_relational(obj)) == obj


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(VALUES | st.none(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_anything_else_is_a_fault(payload: bytes) -> None:
    """Whatever the bytes, decoding gives an object or a `PayloadError`."""
    try:
        decoded = decode(payload)
    except PayloadError:
        return
    assert isinstance(json.loads(payload), dict)
    assert isinstance(decoded, (dict, TimeSeries))


def test_a_whole_number_may_be_written_as_a_float() -> None:
    """A timestamp such as 1.7e12 is a whole number of milliseconds."""
    assert decode(b'{"value": 1, "timestamp_ms": 1.7e12}') == TimeSeries(1_700_000_000_000, 1)


def test_one_key_more_makes_it_relational() -> None:
    """Only exactly the two keys make a time series."""
    assert decode(b'{"timestamp_ms": 1, "value": null, "unit": "K"}') == {"timestamp_ms": 1, "value": None, "unit": "K"}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not valid JSON"),
        (b'{"timestamp_ms": 1, "value": 1} x', "not valid JSON"),
        (b'{"timestamp_ms": 1, "value": NaN}', "not valid JSON"),
        (b'{"timestamp_ms": 1, "value": 1e999}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"[1]", "expected a JSON object, not list"),
        (b"3.5", "expected a JSON object, not float"),
        (b'{"timestamp_ms": 1, "value": null}', "value must be a number, a text or a truth value, not null"),
        (b'{"timestamp_ms": 1, "value": {"a": 1}}', "value must be a number"),
        (b'{"timestamp_ms": "1", "value": 1}', "timestamp_ms must be a whole number of milliseconds, not '1'"),
        (b'{"timestamp_ms": 1.5, "value": 1}', "timestamp_ms must be a whole number of milliseconds, not 1.5"),
        (b'{"timestamp_ms": true, "value": 1}', "timestamp_ms must be a whole number of milliseconds, not True"),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "nests deeper than 64"),
        (b'{"a": ' + b"[" * 500_000, "not valid JSON"),
        (b'{"a": "' + b"x" * 1_048_576 + b'"}', "at most 1048576"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_fault_says_what_is_wrong(payload: bytes, reason: str) -> None:
    """The message names the contract and the reason."""
    with pytest.raises(PayloadError, match=f"payload of contract _pump.*{reason}"):
        decode(payload, "_pump")


def test_nesting_up_to_the_limit_is_fine() -> None:
    """64 levels, and any number of brackets beside each other."""
    assert decode(b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}")
    assert decode(b'{"a": [' + b",".join([b"[]"] * 1000) + b"]}")


@pytest.mark.parametrize("value", [math.nan, math.inf, None, [1], "\ud800"], ids=repr)
def test_a_value_that_json_cannot_say_is_refused(value: Any) -> None:
    """Rather than written as null, or as something else."""
    with pytest.raises(PayloadError, match="value"):
        encode_time_series(value, 1)
    with pytest.raises(PayloadError):
        encode_relational({"a": [value if value not in (None, [1]) else object()]})


@pytest.mark.parametrize("timestamp_ms", [True, 1.5, "1", None], ids=repr)
def test_a_timestamp_must_be_a_whole_number(timestamp_ms: Any) -> None:
    """Anything else is refused."""
    with pytest.raises(PayloadError, match="timestamp_ms"):
        encode_time_series(1, timestamp_ms)


def test_objects_that_cannot_be_written_are_refused() -> None:
    """What is no object, is too large, too deep or contains itself gives a `PayloadError`."""
    endless: dict[str, Any] = {}
    endless["a"] = endless
    deep: dict[str, Any] = {}
    for _ in range(64):
        deep = {"a": deep}
    for obj in (endless, deep, {"a": "x" * 1_048_576}, [1]):
        with pytest.raises(PayloadError):
            encode_relational(obj)  # type: ignore[arg-type]
