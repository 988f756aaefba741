"""The index, the queries and the tree: laws over any run of messages, bounds, and patterns."""

import asyncio
import fnmatch
from functools import lru_cache
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.namespace import Message, TopicInfo
from setpoint.namespace.browser import Index, Limits, Node, Query, QueryError, contract_of, loaded, tree

NAMES = [
    f"umh.v1.{name}" for name in ("a._raw.x", "a._raw.x-y", "a._raw.x.z", "a-b._raw.x", "a.b._hist.p.q", "b._raw.x")
]
RUNS = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.binary(max_size=8), st.dictionaries(st.sampled_from("km"), st.sampled_from("12"))
    ),
    max_size=40,
)


def messages(run: list[tuple[str, bytes, dict[str, str]]]) -> list[Message]:
    return [Message(name, payload, headers, 1000 + at, at) for at, (name, payload, headers) in enumerate(run)]


def find(index: Index, query: Query) -> list[str]:
    async def main() -> list[str]:
        return list(await query.find(index))

    return asyncio.run(main())


@given(run=RUNS, cuts=st.lists(st.integers(0, 40)), history=st.integers(1, 4))
def test_each_topic_has_its_last_values_however_they_come(
    run: list[tuple[str, bytes, dict[str, str]]], cuts: list[int], history: int
) -> None:
    """In whatever batches messages come: last values, times, headers, counts and sizes are those of the whole run."""
    index, all_of_it = Index(Limits(100, history)), messages(run)
    edges = sorted({0, len(run), *(cut for cut in cuts if cut < len(run))})
    for start, end in pairwise(edges):
        index.update(all_of_it[start:end], float(end))
        assert index.names() == sorted({name for name, *_ in run[:end]})
    for name in {name for name, *_ in run}:
        mine, entry = [message for message in all_of_it if message.topic == name], index.get(name)
        assert entry is not None
        assert entry.history() == [(message.timestamp_ms, message.payload) for message in mine][-history:]
        assert (entry.headers, entry.count, entry.offset) == (mine[-1].headers, len(mine), mine[-1].offset)
    held = [entry for name in index.names() if (entry := index.get(name))]
    assert index.size == sum(entry.size for entry in held)
    assert index.size == sum(
        len(entry.payload) + len(entry.earlier) + sum(len(key) + len(value) for key, value in entry.headers.items())
        for entry in held
    )


@given(run=RUNS, limit=st.integers(1, 6))
def test_above_the_limit_those_idle_longest_go(run: list[tuple[str, bytes, dict[str, str]]], limit: int) -> None:
    """What is left are the topics written to last, and every one that went is counted."""
    index = Index(Limits(limit))
    for message in messages(run):
        index.update([message], 0.0)
    newest = list(dict.fromkeys(name for name, *_ in reversed(run)))[:limit]
    assert index.names() == sorted(newest)
    assert [index.get(name) is not None for name in NAMES] == [name in newest for name in NAMES]
    added, there = 0, list[str]()
    for name, *_ in run:
        if name not in there:
            added += 1
            there = there[-limit + 1 :] if limit > 1 else []
        else:
            there.remove(name)
        there.append(name)
    assert index.dropped == added - len(newest)


@given(run=RUNS, again=RUNS)
def test_the_columns_are_the_same_whenever_somebody_asks(
    run: list[tuple[str, bytes, dict[str, str]]], again: list[tuple[str, bytes, dict[str, str]]]
) -> None:
    """Asked for in between or only at the end, with topics that come and go: names in order, and the present headers beside them."""
    asked, not_asked = Index(Limits(3)), Index(Limits(3))
    for message in messages(run + again):
        asked.update([message], 0.0)
        asked.columns()
        not_asked.update([message], 0.0)
    assert asked.columns() == not_asked.columns()
    names, headers = asked.columns()
    assert headers == [entry.headers for name in names if (entry := asked.get(name))]


def test_many_that_come_and_go_at_once_are_as_few() -> None:
    """Beyond a few hundred changes the columns are made anew, with the same outcome."""
    index = Index(Limits(1000))
    rounds = [[f"umh.v1.a._raw.x{number}" for number in range(start, start + 700)] for start in (0, 500, 1200)]
    offset = 0
    for names in rounds:
        index.update([Message(name, b"1", {}, 1, offset := offset + 1) for name in names], 0.0)
        assert index.names() == sorted({name for name in chain(*rounds) if index.get(name)})
    assert (len(index), index.dropped) == (1000, 900)


def test_too_many_bytes_let_topics_go_and_history_first() -> None:
    """One topic keeps few large values; all together keep no more than they may; the newest is always kept."""
    index = Index(Limits(100, 10), held_bytes=50_000)
    index.update([Message("umh.v1.a._raw.x", b"x" * 6000, {}, 1, number) for number in range(10)], 0.0)
    entry = index.get("umh.v1.a._raw.x")
    assert entry is not None
    assert len(entry.history()) == 3
    index.update([Message(f"umh.v1.a._raw.y{number}", b"y" * 9000, {}, 1, 10 + number) for number in range(10)], 0.0)
    assert index.size <= 50_000
    assert index.names() == [f"umh.v1.a._raw.y{number}" for number in range(5, 10)]
    index.update([Message("umh.v1.a._raw.huge", b"z" * 90_000, {}, 1, 30)], 0.0)
    assert index.names() == ["umh.v1.a._raw.huge"]


def test_an_old_message_changes_nothing() -> None:
    """What the index has already, by its offset, does not count again."""
    index = Index()
    index.update([Message("umh.v1.a._raw.x", b"new", {}, 1, 7)], 0.0)
    index.update([Message("umh.v1.a._raw.x", b"old", {}, 1, 6), Message("umh.v1.a._raw.x", b"new", {}, 1, 7)], 0.0)
    entry = index.get("umh.v1.a._raw.x")
    assert entry is not None
    assert (entry.payload, entry.count) == (b"new", 1)


@pytest.mark.parametrize("per_second", [0.05, 1.0, 20.0])
def test_the_rate_is_that_of_the_last_half_minute_or_so(per_second: float) -> None:
    """Steady messages give their rate, from the first seconds on; silence lets it fall towards nothing."""
    index, name, now = Index(), "umh.v1.a._raw.x", 0.0
    for number in range(round(400 * per_second)):
        now = number / per_second
        index.update([Message(name, b"1", {}, 1, number)], now)
        entry = index.get(name)
        assert entry is not None
        if now > 100 / per_second:
            assert entry.rate(now + 0.5 / per_second) == pytest.approx(per_second, rel=0.1)
    assert entry is not None
    assert entry.rate(now + 300) < per_second / 1000


def test_what_a_broker_says_is_an_index_with_counts_and_without_rates() -> None:
    """The newest are kept where there are too many."""
    infos = [TopicInfo(name, b"1", {"k": "v"}, 5, 100 - at, 3) for at, name in enumerate(sorted(NAMES))]

    async def main() -> Index:
        return await loaded(infos, Limits(4), 10.0)

    index = asyncio.run(main())
    assert index.names() == sorted(NAMES)[:4]
    entry = index.get(sorted(NAMES)[0])
    assert entry is not None
    assert (entry.count, entry.rate(60.0), entry.headers) == (3, 0.0, {"k": "v"})
    assert index.dropped == 2


# queries

SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "aab", "ba", "abab"]), min_size=1, max_size=6).map(".".join)
PATTERNS = st.lists(
    st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*b", "a*b", "*a*", "*a?b*"]), min_size=1, max_size=6
).map(".".join)


def plainly(pattern: str, topic: str) -> bool:
    """Whether a pattern fits, by its definition."""
    wanted, found = pattern.split("."), topic.split(".")

    @lru_cache(None)
    def fits(i: int, j: int) -> bool:
        if i == len(wanted):
            return j == len(found)
        if wanted[i] == "**":
            return fits(i + 1, j) or (j < len(found) and fits(i, j + 1))
        return j < len(found) and fnmatch.fnmatchcase(found[j], wanted[i]) and fits(i + 1, j + 1)

    return fits(0, 0)


@given(pattern=PATTERNS, topic=SEGMENTS)
def test_patterns_mean_what_they_say(pattern: str, topic: str) -> None:
    """The compiled pattern agrees with the definition, with and without the prefix in front."""
    assert Query(pattern=pattern).fits(f"umh.v1.{topic}", {}) == plainly(pattern, topic)
    assert Query(pattern=f"umh.v1.{pattern}").fits(f"umh.v1.{topic}", {}) == plainly(pattern, topic)


@given(text=st.text(st.characters(exclude_characters="*?."), max_size=20))
def test_other_characters_of_a_pattern_mean_themselves(text: str) -> None:
    """Nothing but the wildcards is special, whatever regular expressions make of it."""
    assert Query(pattern=f"a.{text}").fits(f"umh.v1.a.{text}", {})
    assert not Query(pattern=f"a.{text}").fits(f"umh.v1.a.{text}x", {})


def test_a_pattern_that_is_meant_to_take_long_does_not() -> None:
    """A thousand characters of wildcards over a long topic that just does not fit come back at once."""
    topic = "umh.v1." + ".".join(["a" * 20] * 48)
    for pattern in (".".join(["**.*a*a*"] * 100) + ".b", "*a" * 400 + "b", ".".join(["**", "a*"] * 150) + ".b"):
        assert not Query(pattern=pattern).fits(topic, {})


def test_two_stars_inside_of_a_segment_are_refused() -> None:
    """The message says what to write instead."""
    with pytest.raises(QueryError, match=r"'a\.b\*\*': '\*\*' stands for whole segments"):
        Query(pattern="a.b**")


def test_all_conditions_must_hold() -> None:
    """Text, pattern and metadata choose together; nothing asked for is everything; what is found is in order."""
    index = Index()
    index.update([Message(name, b"1", {"k": str(at % 2), "all": "1"}, 1, at) for at, name in enumerate(NAMES)], 0.0)
    assert find(index, Query()) == sorted(NAMES)
    assert find(index, Query("x-y")) == ["umh.v1.a._raw.x-y"]
    assert find(index, Query(pattern="a.**")) == [
        "umh.v1.a._raw.x",
        "umh.v1.a._raw.x-y",
        "umh.v1.a._raw.x.z",
        "umh.v1.a.b._hist.p.q",
    ]
    assert find(index, Query("x", "a*._raw.*", {"k": "1", "all": "1"})) == ["umh.v1.a-b._raw.x", "umh.v1.a._raw.x-y"]
    assert find(index, Query(metadata={"k": "2"})) == []
    index.update([Message(NAMES[0], b"1", {"k": "2"}, 1, 99)], 0.0)
    assert find(index, Query(metadata={"k": "2"})) == [NAMES[0]]


# the tree


def whole(names: list[str], **options: int) -> list[Node]:
    async def main() -> list[Node]:
        return await tree(names, **options)

    return asyncio.run(main())


def leaves(nodes: list[Node]) -> list[str]:
    found = []
    for node in nodes:
        found += [f"umh.v1.{node.path}"] * node.is_topic + leaves(node.children or [])
    return found


@given(names=st.sets(st.lists(st.sampled_from(["a", "b", "a-b", "_raw", "z"]), min_size=1, max_size=5).map(".".join)))
def test_the_tree_has_every_topic_once_and_counts_them(names: set[str]) -> None:
    """Also where one topic is a place of others, and where names sort between a place and what is below it."""
    topics = sorted(f"umh.v1.{name}" for name in names)
    nodes = whole(topics, depth=9, limit=10_000)
    assert sorted(leaves(nodes)) == topics
    assert sum(node.topics for node in nodes) == len(topics)

    def check(node: Node) -> None:
        below = [
            topic for topic in topics if topic == f"umh.v1.{node.path}" or topic.startswith(f"umh.v1.{node.path}.")
        ]
        assert node.topics == len(below)
        assert len({child.name for child in node.children or []}) == len(node.children or [])
        for child in node.children or []:
            check(child)

    for node in nodes:
        check(node)


def test_the_kinds_of_places() -> None:
    """Locations, then the contract, then the virtual path; what is only a topic is a topic."""
    (a,) = whole(["umh.v1.a.b._raw._v.x"], depth=9)
    kinds = []
    node: Node | None = a
    while node:
        kinds.append((node.name, node.kind))
        node = node.children[0] if node.children else None
    assert kinds == [("a", "location"), ("b", "location"), ("_raw", "contract"), ("_v", "path"), ("x", "topic")]
    assert contract_of("umh.v1.a.b._raw._v.x") == "_raw"
    assert contract_of("umh.v1.a") == ""


def test_a_tree_that_is_too_large_has_its_upper_places() -> None:
    """At most so many nodes, those further up first; the others can be asked for."""
    names = sorted(f"umh.v1.e{e}.s{s}._raw.x{x}" for e in range(3) for s in range(4) for x in range(50))
    nodes = whole(names, depth=9, limit=20)
    assert [node.topics for node in nodes] == [200, 200, 200]
    assert [len(node.children or []) for node in nodes] == [4, 4, 4]
    assert sum(child.children is not None for node in nodes for child in node.children or []) == 5
    assert len(whole(names, limit=2)) == 2
