"""JavaScript as a function of records: what it gives in each role, what passes through it unharmed, and its limits."""

from __future__ import annotations

import math
import re
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.definition import Code, Role, Unresolved
from setpoint.data.functions import Functions
from setpoint.data.result import DROP, Several
from setpoint.machine import Verdict
from setpoint.scripts import ScriptError

MIB = 1024 * 1024


def of(code: str, role: Role = Role.TRANSFORM, **limits: Any) -> Any:
    return Functions(**limits).resolve(Code(code, "javascript"), role)


@pytest.mark.parametrize(
    ("code", "record", "expected"),
    [
        (
            "record.total = record.price * record.qty; return record;",
            {"price": 2, "qty": 3},
            {"price": 2, "qty": 3, "total": 6},
        ),
        ("record.total = 1", {"a": 2}, {"a": 2, "total": 1}),
        ("return {b: record.a}", {"a": 1}, {"b": 1}),
        ("delete record.a; record.b = undefined", {"a": 1, "b": 2, "c": 3}, {"c": 3}),
        ("record.list.push(record.in.x)", {"list": [1], "in": {"x": 2}}, {"list": [1, 2], "in": {"x": 2}}),
        ("return record + 1", 2, 3),
        ("return record.map(function (n) { return n * 2; })", [1, 2], [2, 4]),
        ("return {n: record.length}", [1, 2], {"n": 2}),
        ("return DROP", {"a": 1}, DROP),
        ("return several([{a: 1}, {a: 2}])", {"a": [1, 2]}, Several([{"a": 1}, {"a": 2}])),
        ("return record", {}, {}),
        ("record['__proto__'] = {x: 1}", {"a": 1}, {"a": 1}),
        ("// a comment\nrecord.a = 2 // another", {"a": 1}, {"a": 2}),
    ],
)
def test_a_transform(code: str, record: Any, expected: Any) -> None:
    """What it returns goes on; what it returned nothing for was changed in place; the caller's record is untouched."""
    before = repr(record)
    made = of(code)(record)
    assert made == expected
    assert type(made) is type(expected)
    assert repr(record) == before


@pytest.mark.parametrize(
    ("code", "role", "record", "expected"),
    [
        ("record.a > 1", Role.CONDITION, {"a": 2}, True),
        ("return record.a > 1;", Role.CONDITION, {"a": 1}, False),
        ("record.tags && record.tags.length", Role.CONDITION, {"tags": []}, False),
        ("record.a", Role.CONDITION, {"a": None}, False),
        ("record.a > 1", Role.GATE, {"a": 1}, False),
        ("({ok: record.a > 1, because: 'a is ' + record.a})", Role.GATE, {"a": 1}, Verdict(False, "a is 1")),
        ("if (record.a) return true; return {ok: false}", Role.VALIDATOR, {"a": 0}, False),
    ],
)
def test_an_answer(code: str, role: Role, record: Any, expected: Any) -> None:
    """Conditions may be expressions; a gate or validator may say why."""
    assert of(code, role)(record) == expected


@pytest.mark.parametrize(
    ("code", "role", "says"),
    [
        (
            "return null",
            Role.TRANSFORM,
            "returned null; return the record, nothing if it was changed in place, or DROP",
        ),
        ("return 5", Role.TRANSFORM, "returned 5; return a record"),
        ("return [record]", Role.TRANSFORM, "return a record, or several([...]) to split it"),
        ("return several(5)", Role.TRANSFORM, "several() takes a list"),
        ("record.x = 1 / 0", Role.TRANSFORM, "became Infinity, which is no value"),
        ("record.x = {y: [NaN]}", Role.TRANSFORM, "became NaN, which is no value"),
        ("typo = 1", Role.TRANSFORM, "'typo' is not defined"),
        ("record.x.y = 1", Role.TRANSFORM, "TypeError"),
        ("throw new Error('mine')", Role.TRANSFORM, "mine"),
        ("record.me = record", Role.TRANSFORM, "circular"),
        ("while (true) {}", Role.TRANSFORM, "more than 50 ms of CPU time"),
        ("var a = []; while (true) a.push(new Array(1000).join('x'))", Role.TRANSFORM, "more than"),
        ("record.x = 'x'.repeat(500 * 1024 * 1024)", Role.TRANSFORM, "KiB of memory"),
        ("record.ok = /(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!')", Role.TRANSFORM, "can take for ever"),
        ("require('fs')", Role.TRANSFORM, "'require' is not defined"),
        ("return 5", Role.GATE, "returned 5; a gate returns true, false, or {ok: false, because: 'a reason'}"),
        ("if (false) return true", Role.CONDITION, "returned nothing"),
    ],
)
def test_a_fault_fails_the_record_with_its_reason(code: str, role: Role, says: str) -> None:
    """Errors, endless loops, hoarding, and what is no record: each raises for this record, and the next one is fine."""
    start = "if (record.fine) return " + ("record" if role is Role.TRANSFORM else "true") + ";\n"
    function = of(start + code, role, script_timeout=0.05)
    with pytest.raises(ScriptError, match=re.escape(says)):
        function({"a": 1})
    assert function({"fine": True})


@pytest.mark.parametrize(
    ("code", "role", "says"),
    [
        ("record.a = ;", Role.TRANSFORM, "cannot be read: SyntaxError"),
        ("function (", Role.GATE, "cannot be read: SyntaxError"),
        ("", Role.TRANSFORM, "the JavaScript is empty"),
        ("if (record.a) { record.b }", Role.CONDITION, "never returns, so it says neither yes nor no"),
        ("await record", Role.TRANSFORM, "cannot be read"),
    ],
)
def test_wrong_code_is_found_at_load(code: str, role: Role, says: str) -> None:
    """What does not parse, or can give no answer, is refused before any record."""
    with pytest.raises(Unresolved, match=re.escape(says)):
        of(code, role)


def test_what_a_script_does_not_change_stays_what_it_was() -> None:
    """Large integers, nan, times and the very objects pass through; only fields that it changed are taken over."""
    record = {
        "big": 2**63 + 1,
        "nan": math.nan,
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "one": 1.0,
        "in": {"big": 2**60 + 1},
        "n": 1,
    }
    made = of("record.n += 1")(record)
    assert made == {**record, "n": 2}
    assert made["in"] is record["in"]
    assert isinstance(made["one"], float)
    assert of("return record")(record) is record


def test_keys_that_are_no_texts_are_refused_where_it_matters() -> None:
    """JavaScript has texts as keys only, so a changed record with others would come out wrong."""
    with pytest.raises(ScriptError, match="has the key 5"):
        of("record.a = 1")({5: "x"})


@pytest.mark.parametrize("record", [{"a": object()}, {"a": "\ud800"}, {"a": 2**99999}])
def test_a_record_that_is_no_json_is_an_error(record: Any) -> None:
    """What cannot be given to JavaScript says so."""
    with pytest.raises(ScriptError, match="cannot pass through JavaScript"):
        of("return record")(record)
    cyclic: dict[str, Any] = {}
    cyclic["me"] = cyclic
    with pytest.raises(ScriptError, match="cannot pass through JavaScript"):
        of("return record")(cyclic)


def test_a_script_may_be_used_from_several_threads() -> None:
    """Each thread has an engine of its own."""
    double, made = of("return {n: record.n * 2}"), {}

    def work(number: int) -> None:
        made[number] = [double({"n": n})["n"] for n in range(number, number + 200)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {number: [2 * n for n in range(number, number + 200)] for number in range(3)}


def test_memory_kept_between_records_is_limited() -> None:
    """A script that hoards in globals fails once it keeps more than it may, and starts over."""
    code = "globalThis.kept = globalThis.kept || []; kept.push(new Array(5000).join('x')); return {n: kept.length}"
    hoard = of(code, script_memory=MIB)
    with pytest.raises(ScriptError, match="keeps more than 1024 KiB"):
        [hoard({}) for _ in range(1000)]
    assert hoard({}) == {"n": 1}


texts = st.text(st.characters(codec="utf-8"), max_size=4)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
untouched, copied = of("return record"), of("return Object.assign({}, record)")


@given(st.dictionaries(texts, plain, max_size=4))
def test_identity_is_identity(record: dict[str, Any]) -> None:
    """A script that changes nothing gives the record itself, whatever its keys; one that copies it gives the same fields."""
    assert untouched(record) is record
    assert copied({key: value for key, value in record.items() if key != "__proto__"}) == {
        key: value for key, value in record.items() if key != "__proto__"
    }
