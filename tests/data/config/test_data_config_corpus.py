"""Malformed configs: by hand (tests/data/corpus), made of a good one key by key, and at random. Each error names its place; none hangs.

A case of the corpus is a title (``===``), a config, and what is expected of it: ``#! line:column key: a part of what is said``.
"""

import copy
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from setpoint.data.config import Loaded, load, problems_of, read, to_config

CORPUS = Path(__file__).parents[1] / "corpus"
GOOD = """\
name: orders
version: "2"
data_mode: {default: copy, state_overrides: {check: direct}}
execution_strategy: depth_first
max_transitions: 50
timeout: 30
functions: {big: amount > 100}
resources:
  - {name: db, type: database, config: {url: "sqlite://"}, pool_size: 2}
networks:
  - name: main
    states:
      - name: check
        is_start: true
        schema: {type: object}
        pre_validators: [known]
        transforms: [trim, {set: {total: price * qty}}]
        resources: [db]
        retry: {attempts: 3, backoff: linear, delay: 0.1}
        arcs:
          - {target: priced, condition: big, target_network: pricing, return_state: priced, priority: 2}
          - {target: priced, transform: {name: rounded, params: {digits: 2}}}
        on_error: broken
      - {name: priced, is_end: true}
      - {name: broken, is_end: true, emit_output: false}
  - name: pricing
    states: {one: {on_complete: two}, two: {final: true}}
"""


class Case(NamedTuple):
    title: str
    text: str
    line: int
    column: int
    said: list[str]


def cases() -> Iterator[Case]:
    for file in sorted(CORPUS.glob("*.txt")):
        for part in file.read_text(encoding="utf-8").split("=== ")[1:]:
            title, _, body = part.partition("\n")
            text, _, expected = body.partition("#! ")
            place, _, said = expected.strip().partition(" ")
            line, column = place.split(":")
            yield Case(f"{file.stem}: {title}", text, int(line), int(column), re.split(": |; ", said))


CASES = list(cases())


def in_time(text: Any, **how: Any) -> Loaded:
    begun = time.process_time()
    loaded = read(text, env={}, **how)
    assert time.process_time() - begun < 2
    assert (loaded.definition is None) == bool(loaded.problems)
    return loaded


def test_the_corpus_is_as_large_as_was_promised() -> None:
    """There are at least 150 malformed configs written by hand, each with a title of its own."""
    assert len({case.title for case in CASES}) == len(CASES) >= 150


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_a_malformed_config_gets_an_error_that_names_the_place(case: Case) -> None:
    """Line, column and key are those of the mistake, and what is said names it, with the remedy where one is expected."""
    loaded = in_time(case.text)
    assert loaded.definition is None
    here = [one for one in loaded.problems if (one.line, one.column) == (case.line, case.column)]
    assert here, "\n".join(map(str, loaded.problems))
    assert any(all(part in str(one) for part in case.said) for one in here), "\n".join(map(str, here))


def test_the_good_config_is_good() -> None:
    """The config that the mutations start from has no fault."""
    assert in_time(GOOD).problems == ()


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the keys of a config stand that are not free: all but names of states, functions, params and the like."""
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in entries:
        if isinstance(value, dict) and not (
            path and path[-1] in ("set", "params", "config", "functions", "schema", "state_overrides", "states")
        ):
            yield (*path, key)
        yield from _paths(child, (*path, key))


GOOD_DATA = yaml.safe_load(GOOD)
PATHS = list(_paths(GOOD_DATA))


def _key(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _mutated(path: tuple[str | int, ...], change: Any) -> Any:
    data = copy.deepcopy(GOOD_DATA)
    at = data
    for step in path[:-1]:
        at = at[step]
    change(at, path[-1])
    return data


@pytest.mark.parametrize("path", PATHS, ids=map(_key, PATHS))
def test_every_key_is_known_by_its_name(path: tuple[str | int, ...]) -> None:
    """A key with a letter too many is an error under the path of that key, which suggests what was meant."""

    def misspell(at: Any, key: Any) -> None:
        at[f"{key}q"] = at.pop(key)

    loaded = in_time(_mutated(path, misspell))
    wrong = [one for one in loaded.problems if one.key == f"{_key(path)}q"]
    assert wrong, loaded.problems
    assert f"did you mean {path[-1]!r}?" in wrong[0].hint


@pytest.mark.parametrize("path", PATHS, ids=map(_key, PATHS))
def test_no_key_takes_just_anything(path: tuple[str | int, ...]) -> None:
    """A value of a kind that no key takes is an error that names the key, or one below it."""

    def spoil(at: Any, key: Any) -> None:
        at[key] = [[["?"]]]

    loaded = in_time(_mutated(path, spoil))
    assert any(one.key.startswith(_key(path)) for one in loaded.problems), loaded.problems


@pytest.mark.parametrize("number", range(len(GOOD.splitlines())))
def test_a_line_that_is_spoiled_is_the_line_that_is_named(number: int) -> None:
    """With an unknown key in the place of a line, an error names that line, or one of the next two where it breaks the YAML."""
    lines = GOOD.splitlines()
    indent = len(lines[number]) - len(lines[number].lstrip(" -"))
    lines[number] = f"{lines[number][:indent]}zzz: 1"
    loaded = in_time("\n".join(lines) + "\n")
    assert any(number < one.line <= number + 3 for one in loaded.problems), "\n".join(map(str, loaded.problems))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutations_never_raise(data: st.DataObject) -> None:
    """Whatever is cut, doubled or put into a good config: it loads, or its errors point into the file; checking it never raises either."""
    signs = [
        ": ",
        "\n",
        "\n  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "|\n",
        "\t",
        "${",
        "${X",
        "$$",
        "&a",
        "*a",
        "<<: ",
        "$include: x",
        "\x00",
        "é",
        "!!int ",
    ]
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        text = text[:start] + data.draw(st.sampled_from([*signs, text[start:end] * 2, ""])) + text[end:]
    loaded = in_time(text if "\n" in text else text + "\n")
    for problem in loaded.problems:
        assert problem.message
        assert problem.line <= len(text.splitlines()) + 1
    if loaded.definition is not None:
        problems_of(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a", "states", "${X}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PATHS), JSON)
def test_any_value_under_any_key_loads_or_is_refused(path: tuple[str | int, ...], value: Any) -> None:
    """A value of any kind under any key gives a machine that can be written and read again, or errors; never an exception."""

    def put(at: Any, key: Any) -> None:
        at[key] = value

    loaded = in_time(_mutated(path, put))
    if loaded.definition is not None:
        assert to_config(load(to_config(loaded.definition), env={})) == to_config(loaded.definition)


@pytest.mark.parametrize(
    "text",
    [
        "name: m\nstates: " + "[" * 5_000,
        "name: m\nstates: " + "{a: " * 5_000,
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
        "name: m\nversion: '" + "${A:-" * 3_000 + "}" * 3_000 + "'\nstates: {a: {final: true}}\n",
        "name: m\nstates:\n  a: {transforms: [{set: {x: '" + "(" * 3_000 + "1" + ")" * 3_000 + "'}}], final: true}\n",
        "name: m\nfunctions:\n"
        + "".join(f"  f{n}: {{all: [f{n - 1}, f{n - 1}]}}\n" for n in range(1, 60))
        + "states: {a: {final: true}}\n",
    ],
    ids=["lists", "mappings", "aliases", "variables", "parentheses", "functions"],
)
def test_an_enemy_s_file_does_not_hang(text: str) -> None:
    """Files that grow beyond measure when they are read are refused, or read, in time."""
    in_time(text)


def test_data_that_contains_itself_is_refused() -> None:
    """A mapping inside of itself ends as an error."""
    data: dict[str, Any] = {"name": "m"}
    data["states"] = data
    assert "contains itself" in str(in_time(data).problems[0])
