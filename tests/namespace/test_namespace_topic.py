"""Topics and topic filters."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.namespace import Topic, TopicError, TopicFilter
from setpoint.namespace.topic import CACHE_SIZE, _parse

SEGMENT = st.text("abzAZ09-_", min_size=1, max_size=5)
LEVEL = SEGMENT.filter(lambda text: not text.startswith("_"))
CONTRACT = st.builds("_{}".format, st.text("abz09-_", max_size=4).map(lambda text: text + "v"))
TOPIC = st.builds(
    Topic,
    location=st.lists(LEVEL, min_size=1, max_size=4).map(tuple),
    contract=CONTRACT,
    virtual_path=st.lists(SEGMENT, max_size=3).map(tuple),
    name=SEGMENT,
)


@given(TOPIC)
def test_a_topic_is_its_text(topic: Topic) -> None:
    """Writing a topic and parsing it gives the same topic, and so does building it of its parts."""
    assert Topic.parse(str(topic)) == topic
    assert topic == Topic.build(
        location_path=topic.location_path,
        contract=topic.contract,
        virtual_path=".".join(topic.virtual_path),
        name=topic.name,
    )


@given(st.one_of(st.text(), st.text("a_.-/ ü").map("umh.v1.".__add__)))
def test_any_text_is_a_topic_or_a_fault(text: str) -> None:
    """Whatever the text, parsing gives a topic that is written the same, or a `TopicError`."""
    try:
        topic = Topic.parse(text)
    except TopicError:
        return
    assert str(topic) == text


@given(st.text("a_.- "), st.text("a_.- "), st.text("a_.- "), st.text("a_.- "))
def test_parts_never_leak_into_each_other(location: str, contract: str, virtual: str, name: str) -> None:
    """A built topic, read back, has the parts it was built of: no dot in a part moves a boundary."""
    try:
        built = Topic.build(location_path=location, contract=contract, virtual_path=virtual, name=name)
    except TopicError:
        return
    assert Topic.parse(str(built)) == built
    assert (built.location_path, built.contract, ".".join(built.virtual_path), built.name) == (
        location,
        contract,
        virtual,
        name,
    )


def test_the_parts_of_a_topic() -> None:
    """Location up to the first segment with an underscore, then contract, virtual path and name."""
    assert Topic.parse("umh.v1.acme.cologne._pump_v1.motor._x.speed") == Topic(
        ("acme", "cologne"), "_pump_v1", ("motor", "_x"), "speed"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not start with 'umh.v1.'"),
        ("umh.v2.acme._raw.x", "does not start with 'umh.v1.'"),
        ("umh.v1.acme.x", "has no contract"),
        ("umh.v1._raw.x", "has no location before '_raw'"),
        ("umh.v1.acme._raw", "has no name after the contract '_raw'"),
        ("umh.v1.acme..cologne._raw.x", "location level 1 is empty"),
        ("umh.v1.ac me._raw.x", "location level 0 'ac me' is not valid because of ' '"),
        ("umh.v1.acme._.x", "contract '_' is not valid"),
        ("umh.v1.acme._räw.x", "contract '_räw' is not valid because of 'ä'"),
        ("umh.v1.acme._raw.a..x", "virtual path segment 1 is empty"),
        ("umh.v1.acme._raw.a.b/c.x", "virtual path segment 1 'b/c' is not valid because of '/'"),
        ("umh.v1.acme._raw.", "name is empty"),
        ("umh.v1.acme._raw.x\n", r"name 'x\n' is not valid"),
        ("umh.v1.acme._raw." + "x" * 1024, "has 1041 characters; at most 1024"),
    ],
)
def test_a_fault_says_which_part_and_why(text: str, reason: str) -> None:
    """The message names the part that is wrong, where it is, and what is expected."""
    with pytest.raises(TopicError, match=re.escape(reason)):
        Topic.parse(text)


@pytest.mark.parametrize(
    ("location", "contract", "name", "reason"),
    [
        ("acme._x", "_raw", "x", "location level 1 '_x'"),
        ("acme", "raw", "x", "contract 'raw'"),
        ("acme", "_raw.y", "x", "contract '_raw.y' is not valid because of '.'"),
        ("acme", "_raw", "x.y", "name 'x.y' is not valid because of '.'"),
        ("", "_raw", "x", "location level 0 is empty"),
        ("a" * 1024, "_raw", "x", "at most 1024"),
    ],
)
def test_building_checks_each_part(location: str, contract: str, name: str, reason: str) -> None:
    """A part that cannot stand in its place is refused by name."""
    with pytest.raises(TopicError, match=re.escape(reason)):
        Topic.build(location_path=location, contract=contract, name=name)


def test_the_cache_is_bounded() -> None:
    """However many topics there are, only so many are remembered."""
    for number in range(CACHE_SIZE + 10):
        Topic.parse(f"umh.v1.a._raw.x{number}")
    assert _parse.cache_info().currsize == CACHE_SIZE
    _parse.cache_clear()


def test_a_filter_matches_from_the_start() -> None:
    """Any of the patterns, from the first character, need not reach the end."""
    wanted = TopicFilter([r"umh\.v1\.acme", r".*\.temperature$"])
    assert wanted.matches("umh.v1.acme._raw.x")
    assert wanted.matches("umh.v1.other._raw.temperature")
    assert not wanted.matches("x.umh.v1.acme._raw.x")
    assert not wanted.matches("umh.v1.other._raw.temperature2")


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        ([], "no topic pattern"),
        (["ok", "(a"], "'(a' is not a valid regular expression"),
        (["[[:alpha:]]"], "is not a valid regular expression"),
        ([None], "must be a text, not NoneType"),
        ("umh", "must be a list"),
    ],
)
def test_a_bad_filter_is_refused(patterns: list[str], reason: str) -> None:
    """A pattern that cannot work, or that Python reads differently from others, is named; so is a filter that lets nothing through."""
    with pytest.raises(TopicError, match=re.escape(reason)):
        TopicFilter(patterns)
