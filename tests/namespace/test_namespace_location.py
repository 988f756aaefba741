"""Locations of agents and bridges."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.namespace import LocationError, Topic, location_path, merge

LEVELS = st.dictionaries(
    st.integers(0, 8), st.one_of(st.just(""), st.text("abz09-_", min_size=1).filter(lambda t: t[0] != "_"))
)


@given(LEVELS, LEVELS)
def test_merging_has_a_law(agent: dict[int, str], bridge: dict[int, str]) -> None:
    """Every level up to the highest has a value: the agent's, else the bridge's, else `unknown`; and the path is part of a topic."""
    merged = merge(agent, {str(level): value for level, value in bridge.items()})
    assert merged == merge(agent, bridge)
    assert list(merged) == list(range(max([0, *agent, *bridge]) + 1))
    for level, value in merged.items():
        assert value == (agent.get(level) or bridge.get(level) or "unknown")
    path = location_path(merged)
    assert Topic.build(location_path=path, contract="_raw", name="x").location == tuple(merged.values())


def test_examples() -> None:
    """The agent wins, the bridge fills, holes are unknown, and level 0 is always there."""
    assert merge({0: "acme", 1: ""}, {"0": "other", "1": "cologne", "3": "press"}) == {
        0: "acme",
        1: "cologne",
        2: "unknown",
        3: "press",
    }
    assert location_path({0: "acme", 2: "press"}) == "acme.unknown.press"
    assert location_path({}) == "unknown"


@pytest.mark.parametrize(
    ("agent", "bridge", "reason"),
    [
        ({}, {"line": "x"}, "bridge location key 'line' is not a level number"),
        ({}, {"-1": "x"}, "bridge location key '-1'"),
        ({}, {"01": "x"}, "bridge location key '01'"),
        ({}, {"٣": "x"}, "is not a level number"),
        ({True: "x"}, {}, "agent location key True"),
        ({}, {"1000000000": "x"}, "is too high"),
        ({}, {"1": "a", 1: "b"}, "level 1 is given twice"),
        ({0: "a b"}, {}, "agent location level 0, 'a b', is not valid"),
        ({0: "a.b"}, {}, "agent location level 0, 'a.b', is not valid"),
        ({0: "_a"}, {}, "not starting with '_'"),
        ({}, {"2": "x\n"}, "bridge location level 2"),
        ({}, {"2": 7}, "must be a text, not 7"),
    ],
)
def test_a_fault_names_the_level(agent: dict[int, str], bridge: dict[str, str], reason: str) -> None:
    """A key or a value that cannot be is refused with whose it is and which level."""
    with pytest.raises(LocationError, match=re.escape(reason)):
        merge(agent, bridge)
