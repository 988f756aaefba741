"""The mapping of `generate`: literals, names and a few functions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.flows.inputs.mapping import Mapping, World


def first(text: str, random: float = 0.0) -> tuple[Any, dict[str, str]]:
    return Mapping(text).start(World(lambda: 1_700_000_000.25, lambda: random))()


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("root = 42", 42),
        ('root = "a\\"b" # a comment', 'a"b'),
        ('root = {"a": [1, -2.5e3, true, null], \n "b": {}}', {"a": [1, -2500.0, True, None], "b": {}}),
        ("root.a.b = 1\nroot.a.c = false", {"a": {"b": 1, "c": False}}),
        ('root = {"x": 1}\n\nroot."y z" = 2', {"x": 1, "y z": 2}),
        ("root = timestamp_unix_milli()", 1_700_000_000_250),
        ("root = timestamp_unix()", 1_700_000_000),
        ("root = now()", "2023-11-14T22:13:20.250000Z"),
    ],
)
def test_literals_names_and_functions(text: str, payload: Any) -> None:
    """What a mapping says is what the message carries."""
    assert first(text)[0] == payload


def test_meta_is_set_as_text() -> None:
    """Meta values are texts; others are written as JSON."""
    assert first('root = 1\nmeta umh_topic = "a"\nmeta n = counter()') == (1, {"umh_topic": "a", "n": "1"})


def test_each_counter_counts_by_itself() -> None:
    """Two counters in one mapping do not share their count."""
    make = Mapping("root.a = counter()\nroot.b = counter()").start(World(lambda: 0.0, lambda: 0.0))
    assert [make()[0] for _ in range(3)] == [{"a": n, "b": n} for n in (1, 2, 3)]


@given(low=st.integers(-1000, 1000), span=st.integers(0, 1000), random=st.floats(0, 1, exclude_max=True))
def test_random_integers_stay_within_their_bounds(low: int, span: int, random: float) -> None:
    """Both bounds are included and never passed."""
    assert low <= first(f"root = random_int(min: {low}, max: {low + span})", random)[0] <= low + span
    assert first(f"root = random_int(min:{low},max:{low})", random)[0] == low
