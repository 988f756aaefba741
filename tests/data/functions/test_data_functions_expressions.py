"""Expressions as functions of records: what they mean in each role, and that no text gets out of them, grows or runs on."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from setpoint.data.definition import Code, Named, Role, Unresolved
from setpoint.data.functions import Functions
from setpoint.machine import Verdict


def of(text: str, role: Role = Role.CONDITION) -> Any:
    return Functions().resolve(Code(text), role)


def test_a_name_is_a_field_and_record_is_the_record() -> None:
    """Fields by name, the whole record by ``record``, also where the record is no mapping."""
    assert of("price * qty > 5")({"price": 2, "qty": 3}) is True
    assert of("record['unit price'] > 3")({"unit price": 4}) is True
    assert of("record.price > 3 and price < 5")({"price": 4}) is True
    assert of("record > 3")(4) is True
    assert of("len(record) == 2")({"record": 1, "b": 2}) is True


def test_a_gate_refuses_what_is_not_true_and_says_so() -> None:
    """Also where Python's answer is empty or None, which by itself would not refuse."""
    for role in (Role.GATE, Role.VALIDATOR):
        assert of("name and age >= 18", role)({"name": "", "age": 20}) == Verdict(False, "not so: name and age >= 18")
        assert of("name and age >= 18", role)({"name": "x", "age": 20}) is True


def test_a_transform_by_expression_gives_a_record() -> None:
    """Its value goes on; a value that is no record is an error that says how to set a field."""
    assert of("order", Role.TRANSFORM)({"order": {"id": 1}}) == {"id": 1}
    with pytest.raises(TypeError, match=r"gave an int.*write \{set: \{field: expression\}\}"):
        of("price * 2", Role.TRANSFORM)({"price": 2})


def test_a_field_that_is_not_there_is_an_error() -> None:
    """It is never silently false."""
    with pytest.raises(ValueError, match="there is no 'qty'"):
        of("qty > 1")({})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("total = price * qty", "is not an expression"),
        ("import os", "is not an expression"),
        ("price > 3; qty", "is not an expression"),
        ("__import__('os')", "only these functions can be called"),
        ("_scope", "private"),
        ("record.__class__", "private"),
        ("().__class__.__bases__", "private"),
        ("open('/etc/passwd')", "only these functions can be called"),
        ("name.upper()", "only these functions can be called"),
        ("[x for x in record]", "not allowed"),
        ("lambda: 1", "not allowed"),
        ("f'{record}'", "not allowed"),
        ("9 ** 9 ** 9", "not allowed"),
        ("1 << 99999999", "not allowed"),
        ("(y := 3)", "not allowed"),
        ("", "empty"),
        ("(" * 300 + ")" * 300, "not an expression"),
        ("1" + "+1" * 3000, "longer than 4,000 characters"),
    ],
)
def test_what_is_no_expression_is_found_at_load(text: str, says: str) -> None:
    """Statements, private names, calls of anything else, and what could grow without bound."""
    with pytest.raises(Unresolved, match=says):
        of(text)
    with pytest.raises(Unresolved, match=r"set fields write \{set: \{field: expression\}\}"):
        of(text, Role.TRANSFORM)
    with pytest.raises(Unresolved, match="set: total: "):
        Functions().resolve(Named("set", {"total": text}), Role.TRANSFORM)


def test_what_a_record_holds_is_not_called_and_its_methods_are_not_reached() -> None:
    """A function in a record is no function of expressions, and methods of values are not there."""
    with pytest.raises(Unresolved, match="only these functions"):
        of("callback(1)")
    with pytest.raises(ValueError, match="there is no 'append'"):
        of("items.append")({"items": [1]})


FRAGMENTS = r"""a b record text items 1 0.1 'x' '' None True ( ) [ ] { } , : . + - * ** / // % << @ == < in not is and or if else for
    lambda = := ; __class__ __init__ _x format str int len max upper round open exec eval import await yield f'{a}' b'x' ... 1j gi_frame
    f_globals # \ ß _get _scope _call_str _item"""
words = st.sampled_from([*FRAGMENTS.split(), "9" * 60, " ", "\n", "\x00"])


class Trap:
    """A value with a secret: an expression that gets hold of it, or calls anything, has broken out."""

    called = False
    _secret = "secret"

    def method(self) -> None:
        Trap.called = True

    def __call__(self, *given: Any) -> None:
        Trap.called = True


@settings(max_examples=500, deadline=None)
@given(st.lists(words, max_size=14).map(" ".join) | st.lists(words, max_size=14).map("".join) | st.text(max_size=40))
@example("str(" * 90 + "a" + ")" * 90)
@example("text+" * 150 + "text")
@example("*".join(["b"] * 190))
@example("'%s' % record")
@example("int(text * 9999)")
def test_no_text_breaks_out_grows_or_runs_on(text: str) -> None:
    """Any text is refused at load, or evaluates within a moment to something small, or raises an `ExpressionError`."""
    record = {"a": 7, "b": 10**300, "text": "x" * 1000, "items": [1, "two", Trap()], "record": Trap()}
    before = len(repr(record))
    started = time.thread_time()
    try:
        value = of(text)(record)
    except ValueError:
        pass
    else:
        assert not callable(value) or isinstance(value, Trap)
        assert len(str(value)) < 200_000 if not isinstance(value, int) else value.bit_length() < 1_000_000
        assert value is not Trap._secret
    assert time.thread_time() - started < 0.5
    assert not Trap.called
    assert len(repr(record)) == before
    assert not gc.garbage
