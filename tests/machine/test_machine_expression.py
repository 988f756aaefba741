"""Expressions: a safe subset of Python that means what Python means, whoever wrote the text."""

from __future__ import annotations

import ast
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.machine.samples import thorough

from setpoint.machine import Expression, ExpressionError

numbers = st.integers(-5, 5) | st.sampled_from([0.5, -2.25])
atoms = numbers.map(repr) | st.sampled_from(
    ["x", "y", "box.size", "items[0]", "items[i]", "table['k']", "True", "None", "'text'", "name"]
)


def _grown(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = ["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"]
    return (
        st.builds("({} {} {})".format, parts, st.sampled_from(operators), parts)
        | st.builds("({} < {} <= {})".format, parts, parts, parts)
        | st.builds("({} if {} else {})".format, parts, parts, parts)
        | st.builds("(not {})".format, parts)
        | st.builds("(-{})".format, parts)
        | st.builds("({} in [{}, {}])".format, parts, parts, parts)
        | st.builds("({} is not None)".format, st.sampled_from(["x", "name", "box.size"]))
        | st.builds("abs({})".format, parts)
        | st.builds("max({}, {})".format, parts, parts)
        | st.builds("str({})".format, parts)
    )


class Box:
    def __init__(self, size: int) -> None:
        self.size = size
        self._secret = "hidden"

    def method(self) -> str:
        return "called"


scopes = st.builds(
    lambda x, y, size, name, i: {
        "x": x, "y": y, "box": Box(size), "name": name, "items": [3, 1], "i": i, "table": {"k": 7},
    },
    numbers, numbers, st.integers(-3, 3), st.sampled_from(["", "text", "other"]), st.integers(0, 1),
)  # fmt: skip


@thorough
@given(st.recursive(atoms, _grown, max_leaves=8), scopes)
def test_an_expression_agrees_with_python(text: str, scope: dict[str, Any]) -> None:
    """Same value where Python has one, an ExpressionError where Python raises (or where text meets numbers, which is refused)."""
    try:
        expected = eval(text, {"__builtins__": {"abs": abs, "max": max, "str": str}}, dict(scope))
    except (TypeError, ArithmeticError):
        with pytest.raises(ExpressionError):
            Expression(text)(scope)
        return
    try:
        value = Expression(text)(scope)
    except ExpressionError as error:
        refused = str(error)
        value = expected if "needs numbers" in refused else refused  # 'text' * 3 and 'a' % 1 are Python, and not for us
    assert value == expected


@thorough
@given(st.text() | st.text("abx_.()[]{}'\"\\+-*/%<>=!,: \n\t0123456789andornotifelseisin#@~^&|", max_size=60))
@example("(" * 300)
@example("-" * 3_999 + "x")
@example("not " * 190 + "x")
@example("a" + ".b" * 190)
@example("x" + "[0]" * 120)
@example("'\\ud800'")
@example("\0")
@example("x is 5")
@example("9" * 3_999)
def test_any_text_compiles_or_raises_expression_error(text: str) -> None:
    """There is no third way: no other exception, no warning, no crash."""
    try:
        Expression(text)
    except ExpressionError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "().__class__", "x.__class__.__bases__", "box._secret", "_scope", "box.method()", "(lambda: 1)()", "x := 1",
        "[i for i in x]", "f'{x}'", "'{}'.format(x)", "x ** 9", "x << 9", "open('f')", "eval('1')", "getattr(box, 'size')", "x[1:2]",
        "{'a': 1}", "{1}", "await x", "yield x", "*x", "max(x, key=len)", "b'x'", "1j", "...", "x; y", "x\ny", "_call_len(x)", "x @ y",
        "~x", "x is 5", "5 is None",
    ],
)  # fmt: skip
def test_what_is_not_in_the_subset_is_refused_when_it_is_read(text: str) -> None:
    """No calls of methods, private names, loops, assignment, formatting or powers: escape needs one of them."""
    with pytest.raises(ExpressionError):
        Expression(text)


def test_a_method_cannot_be_had_even_as_a_value() -> None:
    """Nothing callable ever comes out of a scope."""
    with pytest.raises(ExpressionError, match="there is no 'method' in Box"):
        Expression("box.method == 1")({"box": Box(1)})


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("round(1, -1000000000)", {}),
        ("round(x, 1000000000)", {"x": 1}),
        ("x + x", {"x": "a" * 60_000}),
        ("x * 1000000000", {"x": "a"}),
        ("x * 1000000000", {"x": [1]}),
        ("int(x)", {"x": "9" * 10_000}),
        ("str(x)", {"x": 10**5_000}),
        ("1 % 0", {}),
        ("1e308 * 10 // 1 + int(1e308 * 10)", {}),
    ],
)
def test_no_expression_runs_away(text: str, scope: dict[str, Any]) -> None:
    """Time and memory are bounded: what would explode is refused at once."""
    start = time.process_time()
    with pytest.raises(ExpressionError):
        Expression(text)(scope)
    assert time.process_time() - start < 5


def test_size_is_bounded() -> None:
    """Neither a long text nor one of many parts is compiled."""
    with pytest.raises(ExpressionError, match="longer than"):
        Expression("x + " * 2_000 + "x")
    with pytest.raises(ExpressionError, match="more than 400 parts"):
        Expression("x + " * 300 + "x")


def test_what_is_missing_is_never_silently_false() -> None:
    """A name, attribute, key or index that is not there raises, with the expression and the name."""
    for text, scope in (
        ("gone", {}),
        ("box.gone", {"box": Box(1)}),
        ("a.b.gone", {"a": {"b": {}}}),
        ("items[9]", {"items": []}),
        ("table['x']", {"table": {}}),
        ("table['x']", {"table": defaultdict(int)}),
        ("box[0]", {"box": Box(1)}),
        ("table[items]", {"table": {}, "items": []}),
    ):
        with pytest.raises(ExpressionError, match=r"there is no|cannot index"):
            Expression(text)(scope)


def test_asking_changes_nothing() -> None:
    """A defaultdict does not grow by being asked."""
    table: defaultdict[str, int] = defaultdict(int)
    with pytest.raises(ExpressionError):
        Expression("table['x'] > 1")({"table": table})
    assert not table


def test_objects_and_mappings_are_read_alike() -> None:
    """`order.size` is a key of a dictionary or an attribute of an object."""
    assert Expression("order.size > 1")({"order": {"size": 2}})
    assert Expression("order.size > 1")({"order": Box(2)})
    assert Expression("size > 1")(Box(2))


def test_names_lists_what_is_read() -> None:
    """Dotted where it is dotted; functions are not names."""
    assert Expression("len(a.b) > c and d[e.f].g").names == {"a.b", "c", "d", "e.f"}


def test_the_functions_do_what_they_say() -> None:
    """Text functions take text only."""
    scope = {"name": " Press-1 "}
    assert Expression("lower(strip(name)) == 'press-1' and startswith(strip(name), 'Press')")(scope)
    assert Expression("upper('a') + 'b' == 'Ab' and endswith('ab', 'b')")(scope)
    assert Expression("round(2.567, 1) == 2.6 and round(2.5) == 2")(scope)
    with pytest.raises(ExpressionError, match=r"lower\(\) needs text"):
        Expression("lower(5)")(scope)


def test_expressions_are_values() -> None:
    """Equal and hashed by their text."""
    assert Expression(" x > 1 ") == Expression("x > 1")
    assert len({Expression("x"), Expression("x")}) == 1
    assert isinstance(Expression("x").tree, ast.expr)


def test_what_generators_and_frames_are_made_of_cannot_be_reached() -> None:
    """A record that holds one does not open a way to the program's own names."""

    def endless() -> Iterator[int]:
        yield 1

    running = endless()
    next(running)
    for text in ("g.gi_frame.f_globals", "g.gi_code.co_name", "g.gi_running"):
        with pytest.raises(ExpressionError, match="there is no 'gi_"):
            Expression(text)({"g": running})
