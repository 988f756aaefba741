"""JavaScript in flows: what it can do, what it cannot, and that the translated subset does exactly the same."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from setpoint.flows.javascript import Script, ScriptError, Stage

MIB = 1024 * 1024


def script(*codes: str, timeout: float = 0.1) -> Script:
    return Script([Stage(f"stage{n}", code) for n, code in enumerate(codes)], timeout=timeout, memory=8 * MIB)


def test_a_stage_changes_payload_and_meta() -> None:
    """What the function returns is the message; meta values become texts, null and undefined ones go."""
    code = "msg.payload = {n: msg.payload.n * 2}; msg.meta.a = 1.5; msg.meta.b = null; msg.meta.c = [1]; msg.meta.d = true; return msg;"
    assert script(code)({"n": 21}, {"b": "x", "k": "v"}) == [
        ({"n": 42}, {"k": "v", "a": "1.5", "c": "[1]", "d": "true"})
    ]


def test_several_messages_or_none() -> None:
    """A list is several messages, in order; null, undefined and empty lists are none; each stage sees what the last gave."""
    fan = "return msg.payload.map(function (n) { return n === 2 ? null : {payload: n, meta: msg.meta}; });"
    assert script(fan, "msg.payload = msg.payload + 0.5; return msg;")([1, 2, 3], {"k": "v"}) == [
        (1.5, {"k": "v"}),
        (3.5, {"k": "v"}),
    ]
    for nothing in ("return null;", "return;", "", "return [];", "return [null, undefined];"):
        assert script(nothing)(1, {}) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("return missing;", "stage0: ReferenceError"),
        ("throw new Error('boom');", "stage0: Error: boom"),
        ("return 5;", "returned 5; return msg"),
        ("return [[msg]];", "return msg"),
        ("msg.payload = parseFloat('x'); return msg;", "payload became NaN"),
        ("while (true) {}", "more than 100 ms of CPU time"),
        ("var a = []; while (true) a.push(new Array(1000).join('x'));", "more than 100 ms"),
        ("return 'x'.repeat(500 * 1024 * 1024);", "KiB of memory"),
        ("function f() { return f() + 1; } return f();", "stack overflow"),
        ("return require('fs');", "'require' is not defined"),
        ("msg.payload = msg; return msg;", "circular reference"),
    ],
)
def test_a_fault_fails_the_message_with_its_reason(code: str, text: str) -> None:
    """Errors, endless loops, hoarding and things that are not there: each ends as an error of this message, and the next one is fine."""
    guarded = Script(
        [Stage("stage0", "if (msg.payload === 'bad') {" + code + "\n} return msg;")], timeout=0.1, memory=8 * MIB
    )
    with pytest.raises(ScriptError) as caught:
        guarded("bad", {})
    assert text in str(caught.value)
    assert guarded("good", {}) == [("good", {})]


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        (r"/[^a-zA-Z0-9_]/g", True), (r"/^(\w+)-(\w+)$/", True), (r"/(\d{1,3}\.){3}/", True), (r"/^(foo|bar)/", True),
        (r"/a{2,}b*c+/", True),
        (r"/[(a+)]+/", True), (r"/\(a+\)+/", True), (r"/((a){2})*/", True),
        (r"/^(a+)+$/", False), (r"/(a|a)*b/", False), (r"/((a*))*/", False), (r"/(?:x{1,}){20}/", False), (r"/([^a]*a){9,}/", False),
        ("new RegExp('(a' + '+)+$')", False),
    ],
)  # fmt: skip
def test_expressions_that_can_take_for_ever_are_refused(expression: str, allowed: bool) -> None:
    """No time limit reaches into a regular expression: the dangerous ones fail when used, by any method, the usual ones work."""
    for use in ("{}.test(p)", "p.replace({}, '_')", "p.match({})", "p.split({})", "p.search({})", "{}.exec(p)"):
        subject = script("var p = 'a' + msg.payload; " + use.format(expression) + "; return msg;", timeout=1.0)
        if allowed:
            assert subject("b-c", {})
        else:
            with pytest.raises(ScriptError, match="can take for ever"):
                subject("a" * 40 + "b", {})


def test_a_script_that_hoards_from_message_to_message_is_stopped() -> None:
    """What it keeps in its globals is bounded: it fails with the reason and starts over with fresh ones."""
    hoards = script(
        "if (!globalThis.kept) globalThis.kept = []; kept.push(new Array(10000).join('x')); msg.payload = kept.length; return msg;"
    )
    sizes, faults = [], []
    for _ in range(3000):
        try:
            sizes.append(hoards(0, {})[0][0])
        except ScriptError as fault:
            faults.append(str(fault))
    assert faults
    assert set(faults) == {"the script keeps more than 8192 KiB of memory in its globals"}
    assert max(sizes) < 1000


def test_long_texts_are_kept_from_expressions_with_several_repetitions() -> None:
    """One repetition may see long texts, more of them shorter ones."""
    assert script("msg.payload = msg.payload.replace(/x+/g, 'y'); return msg;")("x" * 90_000, {}) == [("y", {})]
    with pytest.raises(ScriptError, match="at most 5000 are safe"):
        script("msg.payload = msg.payload.replace(/x*y*z/g, ''); return msg;")("x" * 6_000, {})


def test_console_is_there_and_silent() -> None:
    """Scripts that log do not fail for it."""
    assert script("console.log('x', msg.payload); console.warn(); return msg;")(1, {}) == [(1, {})]


def test_what_a_script_does_not_touch_keeps_every_digit() -> None:
    """Numbers beyond what JavaScript can hold pass through it unharmed, inside objects as well."""
    touched = script("msg.meta.a = 'x'.toUpperCase(); return msg;")
    assert not touched.translated
    for payload in (2**63 - 1, {"counter": 2**60 + 1}, 1.0, [0.1, 10**18]):
        [(after, meta)] = touched(payload, {})
        assert after is payload
        assert meta == {"a": "X"}


def test_meta_named_like_an_inherited_property_survives() -> None:
    """`__proto__` is a name like any other."""
    meta = {"__proto__": "a", "constructor": "b"}
    assert script("msg.meta.c = 'c'.trim(); return msg;")(1, dict(meta)) == [(1, {**meta, "c": "c"})]


@pytest.mark.parametrize(
    ("code", "translated"),
    [
        ("return msg;", True),
        ("msg.meta.a = \"x\"; // note\n/* more */ msg.meta.b = 'y' + msg.meta.a\nreturn msg", True),
        ("msg.meta.path += '.x'; msg.payload = msg.payload.value; return msg;;", True),
        ("msg.meta.a = `x`; return msg;", False),
        ("msg.meta.a = 'it\\'s'; return msg;", False),
        ("msg.meta.a = 1; return msg;", False),
        ("msg.meta.a = 'x' return msg;", False),
        ("msg.meta.constructor = 'x'; return msg;", False),
        ("msg.meta.a = msg.meta.toString; return msg;", False),
        ("return\nmsg;", False),
        ("return msg; return null;", False),
        ("msg.meta.a = 'x'", False),
        ("msg = null; return msg;", False),
        ("msg.meta = msg.payload; return msg;", False),
        ("msg.meta.a.b = 'x'; return msg;", False),
        ("if (true) return msg;", False),
        ("msg.meta.a = 'x'\n.length; return msg;", False),
        ("<!-- x\nreturn msg;", False),
    ],
)
def test_only_the_subset_is_translated(code: str, translated: bool) -> None:
    """The recogniser is conservative: what it does not know for certain it leaves to JavaScript."""
    assert script(code).translated is translated


names = st.sampled_from(["a", "b", "modbus_tag_name", "length", "$x", "_y"])
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=6)
printable = texts.map(lambda text: "".join(letter for letter in text if letter.isprintable() and letter not in '\\"'))
quoted = printable.map('"{}"'.format) | st.sampled_from(["'x'", '""', "'umh.v1'"])
spaces = st.sampled_from(["", " ", "\n", " /* c */ ", "\t", " // c\n"])
reads = st.one_of(names.map("msg.meta.{}".format), st.just("msg.payload"), names.map("msg.payload.{}".format))
sums = st.lists(quoted | reads, min_size=1, max_size=3).flatmap(
    lambda terms: spaces.map(lambda gap: f"{gap}+{gap}".join(terms))
)
targets = names.map("msg.meta.{}".format) | st.just("msg.payload")
statements = st.builds(
    "{}{}={}{}".format, targets, st.sampled_from([" ", " +"]), sums, st.sampled_from([";", "\n", " ;"])
)
bodies = st.lists(statements, max_size=4).map(lambda lines: "".join(lines) + "return msg;")
tests = st.builds("{} {} {}".format, sums, st.sampled_from(["===", "!=="]), sums) | st.sampled_from(
    ["true", "false", "true && true"]
)
stages = st.builds(lambda code, test: Stage("s", code, test), bodies, st.just("") | tests)
numbers = st.integers() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
scalars = texts | numbers | st.booleans() | st.none()
payloads = (
    scalars
    | st.dictionaries(names, scalars | st.dictionaries(names, scalars, max_size=2), max_size=4)
    | st.lists(scalars, max_size=2)
)
metas = st.dictionaries(names | texts, texts, max_size=5)


@settings(max_examples=250, deadline=None)
@given(st.lists(stages, min_size=1, max_size=3), payloads, metas)
@example([Stage("s", "msg.payload = msg.payload; return msg;")], -0.0, {})
@example([Stage("s", "msg.payload = msg.payload.a; return msg;")], {"a": 1e21}, {})
@example([Stage("s", "msg.payload = msg.payload.a; return msg;")], {"a": 1.0}, {})
@example([Stage("s", "msg.payload = msg.payload.a; msg.meta.b = '' + msg.payload; return msg;")], {"a": 2**53 + 1}, {})
@example([Stage("s", "msg.meta.a = msg.payload; msg.meta.b = msg.meta.a + msg.meta.a; return msg;")], 5, {})
@example([Stage("s", "return msg;")], {"__proto__": 1}, {"__proto__": "x", "2": "y", "1": "z"})
def test_the_subset_means_the_same_in_both_ways(code: list[Stage], payload: Any, meta: dict[str, str]) -> None:
    """For any snippet of the subset and any message: translated or in JavaScript, the same messages or both an error."""
    subject = Script(code, timeout=1.0, memory=8 * MIB)
    assert subject.translated, code

    def outcome(way: Any) -> Any:
        try:
            found = way(payload, dict(meta))
        except ScriptError:
            return "error"
        return [(type(after), after, texts) for after, texts in found]

    assert outcome(subject) == outcome(subject.in_javascript)
