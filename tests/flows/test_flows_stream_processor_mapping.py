"""What a mapping says: which names an expression uses, and every fault with its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.flows.processors.stream_mapping import alias_fault, read_mapping
from setpoint.flows.processors.stream_names import names_in

SOURCES = ("press", "temp", "run", "$s", "n2")


def uses(text: str) -> tuple[str, ...]:
    derived, faults = read_mapping(SOURCES, {"field": text})
    assert faults == [], [str(fault) for fault in faults]
    return derived[0].uses


def fault(value: Any, sources: tuple[str, ...] = SOURCES) -> str:
    derived, faults = read_mapping(sources, {"field": value})
    assert derived == []
    return str(faults[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("press", {"press"}),
        ("press * 9/5 + 32", {"press"}),
        ("run ? press : temp", {"run", "press", "temp"}),
        ("false && press", {"press"}),
        ("Math.max(press, temp).toFixed(1)", {"press", "temp"}),
        ("press.temp + press?.run", {"press"}),
        ("({press: temp}).press", {"temp"}),
        ("({press, a: run ? temp : 1}).a", {"press", "run", "temp"}),
        ("[1, 2].map(v => v * press)[0]", {"press"}),
        ("[1, 2].map((v, i) => v * i + press)[0]", {"press"}),
        ("`${press} of ${`${temp}`} run`", {"press", "temp"}),
        ("`press \\` ${temp}`", {"temp"}),
        ("`${({a: 4}).a / temp / 2} ${/press/.source} run`", {"temp"}),
        ("'press' + \"temp\" + run", {"run"}),
        ("/press[/]temp/.test(run)", {"run"}),
        ("press / temp / run", {"press", "temp", "run"}),
        ("(press) / temp / n2", {"press", "temp", "n2"}),
        ("press /* temp */ + 1 // run", {"press"}),
        ("0x1e+press", {"press"}),
        ("1e+3 + press", {"press"}),
        ("run?.5:temp", {"run", "temp"}),
        ("$s * 2", {"$s"}),
        ("(() => { let k = press; return k; })()", {"press"}),
        ("typeof press === 'number' ? 1 : 0", {"press"}),
        ("'SN-7'", set()),
        ("= press * 2", {"press"}),
        ("=max(press, temp) if run else 0", {"press", "temp", "run"}),
    ],
)
def test_a_field_uses_the_sources_that_it_reads_on_any_branch(text: str, expected: set[str]) -> None:
    """Not those that are only mentioned: in texts, comments, names of properties, keys."""
    assert set(uses(text)) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("pres * 2", "field: 'pres' is no source; did you mean 'press'?"),
        ("= pres * 2", "field: 'pres' is no source; did you mean 'press'?"),
        ("SN-41", "'SN' is no source; the sources are press, temp, run, $s, n2; a fixed text needs quotes of its own: '\"SN-41\"'"),
        ("press +", "this is not JavaScript: SyntaxError"),
        ("press temp", "this is not JavaScript"),
        ("= press **", "this is no expression"),
        ("= open('x')", "only these functions can be called"),
        ("require('fs')", "'require' is no source"),
        ("msg.payload", "'msg' is no source"),
        ("", "expected an expression"),
        (None, "expected an expression"),
        ([1], "expected an expression"),
        ({}, "expected an expression"),
    ],
)  # fmt: skip
def test_a_fault_says_what_is_wrong_and_what_may_have_been_meant(value: Any, words: str) -> None:
    """Before anything runs."""
    assert words in fault(value)


def test_all_faults_come_at_once_with_the_keys_that_lead_to_them() -> None:
    """Folders deep; what is right beside them is there."""
    mapping = {"a": "press", "b": {"c": {"d": "tmp", "e f": "temp"}, "g": 3, "h.i": "run"}}
    derived, faults = read_mapping(SOURCES, mapping)
    assert [one.path for one in derived] == [("a",), ("b", "g")]
    assert [(found.path, found.message.partition(";")[0]) for found in faults] == [
        (("b", "c", "d"), "'tmp' is no source"),
        (("b", "c", "e f"), "name 'e f' is not valid because of ' '"),
        (("b", "h.i"), "name 'h.i' is not valid because of '.'"),
    ]


@pytest.mark.parametrize("alias", ["2nd", "a-b", "a.b", "", "ä", "class", "lambda", "new"])
def test_an_alias_must_be_able_to_be_a_variable(alias: str) -> None:
    """In both languages."""
    assert alias_fault(alias)
    assert not alias_fault("press_2")


NAMES = st.sampled_from(["press", "temp", "run"])
ATOMS = st.one_of(
    NAMES.map(lambda name: (name, {name})),
    st.sampled_from(["1", "'press'", '"temp"', "`run`", "0x1e", "1e5", "true", "/press/.source"]).map(lambda text: (text, set())),
)  # fmt: skip


def _combined(parts: st.SearchStrategy[tuple[str, set[str]]]) -> st.SearchStrategy[tuple[str, set[str]]]:
    two = st.tuples(parts, parts)
    return st.one_of(
        st.tuples(two, st.sampled_from(["+", "/", " * ", "&&", " ?? ", "/* temp */-"])).map(
            lambda made: (f"({made[0][0][0]}){made[1]}({made[0][1][0]})", made[0][0][1] | made[0][1][1])
        ),
        st.tuples(parts, parts, parts).map(
            lambda made: (f"{made[0][0]} ? ({made[1][0]}) : ({made[2][0]})", made[0][1] | made[1][1] | made[2][1])
        ),
        parts.map(lambda made: (f"[{made[0]}].length", made[1])),
        parts.map(lambda made: (f"`press ${{{made[0]}}} temp`", made[1])),
        parts.map(lambda made: (f"({{press: {made[0]}}}).press", made[1])),
        parts.map(lambda made: (f"[1].map(run => {made[0]})[0]", made[1] | {"run"})),
    )


@given(st.recursive(ATOMS, _combined, max_leaves=8))
def test_names_are_found_in_whatever_is_composed(made: tuple[str, set[str]]) -> None:
    """Law: what an expression is composed of says what it uses."""
    text, expected = made
    assert {name for name in names_in(text).used if name in SOURCES} == expected
    assert read_mapping(SOURCES, {"field": text})[1] == []


@given(st.text(alphabet="ab/`${}[]()'\"\\ ?.:,=>*+0", max_size=30))
def test_any_text_is_read_to_its_end(text: str) -> None:
    """Law: nothing that can be typed makes the reading fail or hang."""
    names_in(text)
    read_mapping(SOURCES, {"field": text})
